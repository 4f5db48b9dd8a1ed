"""Prune, undelete, holds and moments from the command line, over snapshots of many days."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import snapshots
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import SnapshotState
from holdfast.repository.repo import Repository
from holdfast.storage.spec import StorageSpec
from program import Finished
from repositories import PASSPHRASE, make_repository

Inside = Callable[..., Finished]
Write = Callable[[str, str], Path]

TODAY = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
BERLIN = "Europe/Berlin"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: Inside) -> Repository:
    """An empty repository `repo` beside the program."""
    monkeypatch.setenv("HOLDFAST_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv("HOLDFAST_REPOSITORY", "./repo")
    return make_repository(StorageSpec(url=str(tmp_path / "repo")).open(create_root=True))


@pytest.fixture
def take(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SnapshotId]:
    """`take(days, …)`: a snapshot at noon (UTC) so many days ago; each holds the same rows and one line more."""

    def take_snapshot(days: float, source: str = "shop", **facts: Any) -> SnapshotId:
        at = TODAY - timedelta(days=days)
        monkeypatch.setattr(snapshots, "now", lambda: at)
        with snapshots.begin(repository, source) as run:
            return snapshots.commit(run, {"users": [b"1\n" * 1000, f"{days}\n".encode()]}, **facts).snapshot

    return take_snapshot


Take = Callable[..., SnapshotId]


def verdicts(document: dict[str, Any], source: str = "shop") -> dict[str, bool]:
    (found,) = (item for item in document["sources"] if item["source"] == source)
    return {verdict["snapshot"]: verdict["kept"] for verdict in found["verdicts"]}


def test_prune_shows_acts_and_is_undone(inside: Inside, take: Take) -> None:
    """Verdicts first, nothing changed; --apply removes; undelete brings back what was removed."""
    old, newer, newest = take(12), take(11), take(10)
    shown = inside("prune", "shop", "--keep-last", "2", "--json")
    assert (shown.code, shown.document["applied"], shown.document["collection"]) == (0, False, None)
    assert verdicts(shown.document) == {newest: True, newer: True, old: False}
    assert len(inside("list", "--json").document["snapshots"]) == 3

    text = inside("prune", "shop", "--keep-last", "2")
    assert "REMOVE" in text.stdout
    assert "newest good, last 1 of 2" in text.stdout
    assert "time zone UTC" in text.stdout
    assert "1 snapshot of 3 would be removed" in text.stdout
    assert "nothing was changed: run it again with --apply" in text.stdout

    applied = inside("prune", "shop", "--keep-last", "2", "--apply")
    assert applied.code == 0, applied.stderr
    assert "1 snapshot of 3 removed" in applied.stdout
    assert "to undo: holdfast undelete SNAPSHOT, until " in applied.stdout
    assert "deleted now: 0 objects" in applied.stdout
    assert [item["snapshot"] for item in inside("list", "--json").document["snapshots"]] == [newer, newest]
    (removed,) = inside("list", "--removed", "--json").document["removed"]
    assert (removed["snapshot"], removed["can_come_back"]) == (old, True)
    assert "no rule of last 2 keeps it" in removed["reason"]
    refused = inside("show", old)
    assert (refused.code, f"undelete {old}" in refused.stderr) == (2, True)

    back = inside("undelete", old[:14])
    assert (back.code, f"snapshot {old} is back" in back.stdout) == (0, True)
    assert len(inside("list", "--json").document["snapshots"]) == 3
    assert inside("list", "--removed").stdout == "no removed snapshots\n"
    assert inside("undelete", old).code == 2
    assert inside("prune", "shop", "--keep-last", "2", "--json").document["removable"] == [old]


def test_what_was_removed_long_enough_ago_is_deleted(
    inside: Inside, repository: Repository, take: Take
) -> None:
    """A second prune after the grace (here none) deletes the objects; undelete says that they are gone."""
    old = take(12)
    take(11)
    options = ("prune", "shop", "--keep-last", "1", "--grace", "0h", "--allow-share", "0.9", "--apply")
    assert inside(*options).code == 0
    second = inside(*options, "--json")
    assert second.code == 0, second.stdout
    assert second.document["collection"]["deleted"]["objects"] > 0
    assert list(repository.storage.list(f"data/{old}/")) == []
    assert inside("undelete", old).code in (2, 5)
    assert inside("verify", "--all", "--level", "3").code == 0


def test_sources_without_a_policy_are_kept_and_said_so(inside: Inside, write: Write, take: Take) -> None:
    """The settings' policy for one source, the default for another, none for a stranger and safety snapshots."""
    for days in (3, 2, 1):
        for source in ("shop", "crm", "stranger", "before-restore-shop"):
            take(days, source)
    settings = """
        [retention]
        keep_last = 2
        [sources.shop]
        [sources.shop.retention]
        keep_last = 1
        time_zone = "Europe/Berlin"
        [sources.crm]
    """
    write("holdfast.toml", settings)
    document = inside("prune", "--json").document
    policies = {item["source"]: (item["policy"], item["time_zone"]) for item in document["sources"]}
    assert policies == {
        "shop": ("last 1", BERLIN),
        "crm": ("last 2", "UTC"),
        "stranger": (None, None),
        "before-restore-shop": (None, None),
    }
    assert len(document["removable"]) == 3
    assert "stranger: no retention policy; 3 snapshots kept" in inside("prune").stdout
    write("holdfast.toml", settings.replace("keep_last = 2", 'keep_last = 2\nsafety = "36h"'))
    document = inside("prune", "before-restore-shop", "--json").document
    assert sum(verdicts(document, "before-restore-shop").values()) == 1
    write("holdfast.toml", settings.replace("keep_last = 2", 'keep_last = 2\nsafety = "60h"'))
    document = inside("prune", "before-restore-shop", "--json").document
    assert 2 <= sum(verdicts(document, "before-restore-shop").values()) <= 3


def test_a_policy_given_by_hand_needs_a_source(inside: Inside, take: Take) -> None:
    """It must not fall upon whatever else is in the repository."""
    take(2), take(1), take(1, "crm")
    assert inside("prune", "--keep-last", "1").code == 2
    assert inside("prune", "--all-sources").code == 2
    assert inside("prune", "nope", "--keep-last", "1").code == 2
    assert len(inside("prune", "--all-sources", "--keep-last", "1", "--json").document["sources"]) == 2
    refused = inside("prune", "shop", "--keep-within", "3m")
    assert (refused.code, "no length of time" in refused.stderr) == (2, True)


def test_nothing_is_judged_while_an_outcome_is_unreadable(inside: Inside, take: Take, tmp_path: Path) -> None:
    """It could be the one that must stay: exit code 4, nothing removed."""
    take(3), take(2)
    newest = take(1)
    outcome = tmp_path / "repo" / "outcomes" / newest
    outcome.chmod(0o600)
    outcome.write_bytes(outcome.read_bytes()[:-1] + b"x")
    assert inside("prune", "shop", "--keep-last", "1", "--apply").code == 4
    assert not (tmp_path / "repo" / "tombstones").exists()


def test_holds_keep_until_they_are_released(inside: Inside, take: Take) -> None:
    """Placed with who, why and until when; prune keeps what is held and says so; released, it may go."""
    old, newest = take(12), take(11)
    placed = inside(
        "hold", "add", old, "--reason", "case 7", "--by", "Anna", "--until", "2999-12-31", "--json"
    )
    assert placed.code == 0, placed.stdout
    hold = placed.document
    assert (hold["by"], hold["reason"], hold["stands"], hold["snapshots"]) == ("Anna", "case 7", True, [old])
    shown = inside("prune", "shop", "--keep-last", "1")
    assert "held by Anna until " in shown.stdout
    assert "case 7" in shown.stdout
    assert "0 snapshots of 2 would be removed" in shown.stdout
    assert "stands" in inside("hold", "list").stdout
    assert inside("hold", "add", newest, "--reason", " ").code == 2
    assert inside("hold", "add", newest, "--reason", "x", "--until", "yesterday").code == 2
    assert inside("hold", "release", "01zz", "--reason", "x").code == 2
    released = inside("hold", "release", hold["hold"], "--reason", "case closed", "--by", "Ben", "--json")
    assert released.document["released"]["by"] == "Ben"
    assert "ended" in inside("hold", "list").stdout
    assert inside("prune", "shop", "--keep-last", "1", "--json").document["removable"] == [old]


def test_a_hold_that_was_deleted_is_named_and_put_back(inside: Inside, take: Take, tmp_path: Path) -> None:
    """Exit code 4 from hold list, verify and prune, which name it and the command that places it again."""
    old, _ = take(12), take(10)
    hold = inside("hold", "add", old, "--reason", "case 9", "--by", "Anna", "--json").document
    placed = tmp_path / "repo" / "holds" / hold["hold"] / "placed"
    other = inside("hold", "add", old, "--reason", "case 10", "--json").document
    placed.unlink()
    command = f"holdfast hold put-back {hold['hold']}"
    checked = inside("verify", "--level", "0")
    assert checked.code == 4
    assert command in checked.stdout
    listed = inside("hold", "list")
    assert (listed.code, "MISSING" in listed.stdout, command in listed.stdout) == (4, True, True)
    listed = inside("hold", "list", "--json")
    assert (listed.code, listed.document["holds"]) == (4, [other, {**hold, "missing": True}])
    for options in ([], ["--apply"]):
        pruned = inside("prune", "shop", "--keep-last", "1", *options)
        assert pruned.code == 4
        assert command in pruned.stderr
    assert len(inside("list", "--json").document["snapshots"]) == 2
    assert inside(*command.split()[1:], "--json").document["holds"] == [hold]
    assert placed.exists()
    assert inside("hold", "list", "--json").document["holds"] == [hold, other]
    assert inside("verify", "--level", "0").code == 0
    assert "no hold is missing" in inside("hold", "put-back").stdout
    assert inside("prune", "shop", "--keep-last", "1").code == 0


def test_a_hold_brings_a_removed_snapshot_back(inside: Inside, take: Take) -> None:
    """Late, but not too late."""
    old = take(12)
    take(11)
    assert inside("prune", "shop", "--keep-last", "1", "--apply").code == 0
    assert inside("hold", "add", old, "--reason", "case 8").code == 0
    assert len(inside("list", "--json").document["snapshots"]) == 2


def at(days: float, minutes: float = 0) -> str:
    return f"{TODAY - timedelta(days=days) + timedelta(minutes=minutes):%Y-%m-%d %H:%M:%S} UTC"


def test_a_moment_means_the_newest_snapshot_not_after_it(inside: Inside, take: Take) -> None:
    """Its distance is stated; exactly at the moment counts; a second before does not; removed ones are passed."""
    old, newer = take(3), take(2)
    for asked, meant, seconds in (
        (at(3, 3.2), old, 192.0),
        (at(2, -1 / 60), old, 86399.0),
        (at(2), newer, 0.0),
        (at(1), newer, 86400.0),
    ):
        shown = inside("show", "--at", asked, "--json")
        assert (shown.document["snapshot"], shown.document["at"]["seconds_before"]) == (meant, seconds), asked
        assert inside("list", "--at", asked, "--json").document["snapshots"][0]["snapshot"] == meant
    said = inside("show", "--at", at(3, 3.2)).stderr
    assert f"snapshot {old} of shop was taken 3 min 12 s before" in said
    assert " UTC, at " in said
    assert inside("prune", "shop", "--keep-last", "1", "--apply").code == 0
    assert inside("show", "--at", at(3, 5)).code == 5


def test_a_moment_before_the_history_is_refused(inside: Inside, take: Take) -> None:
    """Never silently another snapshot: exit code 5, before any target is looked at."""
    oldest = take(3)
    refused = inside("restore", "--at", at(4), "--to", "postgresql://nobody@127.0.0.1:1/none")
    assert (refused.code, "does not reach back" in refused.stderr) == (5, True)
    assert oldest in refused.stderr
    assert inside("show", "--at", "2999-01-01 00:00").code == 2
    assert inside("show", "--at", "2 hours ago").code == 2
    assert inside("show", oldest, "--at", at(1)).code == 2
    assert inside("restore", "--to", "postgresql://nobody@127.0.0.1:1/none").code == 2


def test_a_moment_of_several_sources_is_refused(inside: Inside, take: Take) -> None:
    """Unless one is named; safety snapshots are not meant unless named."""
    shop, safety = take(3), take(2.5, "before-restore-shop")
    assert inside("show", "--at", at(2), "--json").document["snapshot"] == shop
    crm = take(2.2, "crm")
    refused = inside("show", "--at", at(2))
    assert (refused.code, "several sources here: crm, shop" in refused.stderr) == (2, True)
    for source, meant in (("shop", shop), ("crm", crm), ("before-restore-shop", safety)):
        chosen = inside("show", "--at", at(2), "--source", source, "--json").document
        assert chosen["snapshot"] == meant
    assert inside("show", "--at", at(2), "--source", "nope").code == 2
    assert inside("verify", "--at", at(2), "--source", "crm", "--json").document["snapshot_ids"] == [crm]
    assert len(inside("list", "--at", at(2), "--json").document["snapshots"]) == 3


def test_a_partial_snapshot_is_taken_and_said(inside: Inside, take: Take) -> None:
    """The newest not after the moment, although something is missing in it."""
    take(3)
    partial = take(2, state=SnapshotState.PARTIAL)
    shown = inside("show", "--at", at(1))
    assert partial in shown.stdout
    assert "it is PARTIAL" in shown.stderr


def test_lists_of_a_range_of_time(inside: Inside, take: Take) -> None:
    """Days are whole days; the end is left out of the range, the beginning is in it."""
    taken = [take(days) for days in (4, 3, 2, 1)]

    def listed(*options: str) -> list[str]:
        return [item["snapshot"] for item in inside("list", *options, "--json").document["snapshots"]]

    day = f"{TODAY - timedelta(days=3):%Y-%m-%d}"
    assert listed("--since", f"{day} UTC") == taken[1:]
    assert listed("--until", f"{day} UTC") == taken[:2]
    assert listed("--since", f"{day} UTC", "--until", f"{day} UTC") == [taken[1]]
    assert listed("--since", at(3), "--until", at(2)) == [taken[1]]
    assert inside("list", "--at", at(1), "--since", day).code == 2
    assert inside("list", "--removed", "--since", day).code == 2


def test_a_lost_journal_entry_is_accepted_from_the_command_line(
    inside: Inside, repository: Repository, take: Take
) -> None:
    """It needs a reason, stops prunes until then, and is shown by every check afterwards."""
    take(3)
    position = max(step.position for step in repository.journal.walk())
    name = f"journal/{position:012d}"
    take(2)
    repository.storage.replace(name, b"rubbish")
    stopped = inside("prune", "shop", "--keep-last", "1", "--apply")
    assert (stopped.code, f"--accept {position} --reason" in stopped.stderr) == (4, True)
    assert inside("verify", "--level", "0", "--accept", str(position)).code == 2
    assert inside("verify", "--level", "0", "--reason", "a disk failed").code == 2
    assert inside("verify", "--accept", "x", "--reason", "a disk failed").code == 2
    assert inside("verify", "--level", "0").code == 4

    done = inside("verify", "--level", "0", "--accept", str(position), "--reason", "a disk failed")
    assert done.code == 0, done.stdout + done.stderr
    assert f"accepted as lost: journal entries {position}" in done.stderr
    assert f"accepted object {name} is damaged" in done.stdout
    assert inside("prune", "shop", "--keep-last", "1", "--apply").code == 0
    document = inside("verify", "--level", "0", "--json").document
    assert [item["object"] for item in document["accepted"]] == [name]
    assert document["findings"] == []
