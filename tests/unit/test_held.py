"""Holds are seen where snapshots are listed; what was sealed anew beside its held original counts once."""

from __future__ import annotations

import io
from datetime import timedelta

from holdfast.cli.documents import document_of
from holdfast.cli.render import render, text_of
from holdfast.domain.ids import SnapshotId
from holdfast.domain.policy import RetentionPolicy
from holdfast.repository import layout
from holdfast.repository.keys.secrets import Secrets
from holdfast.repository.registers.verifications import Verification, record_verification
from holdfast.repository.repo import Repository, open_repository
from holdfast.storage.memory import MemoryStorage
from holdfast.workflows.holding import add_hold, list_holds, release_hold
from holdfast.workflows.listing import list_snapshots, show
from holdfast.workflows.prune import judge_sources
from holdfast.workflows.removal import undelete
from holdfast.workflows.replicate import ReplicateOptions
from holdfast.workflows.reseal import reseal
from holdfast.workflows.rotation import compromised
from repositories import PASSPHRASE, make_repository
from snapshots import now, take

OURS = Secrets(passphrase=PASSPHRASE)
TWO = RetentionPolicy(keep_last=2)


def text(report: object) -> str:
    stream = io.StringIO()
    render(stream, text_of(report))
    return stream.getvalue()


def hold(repository: Repository, snapshot: SnapshotId) -> str:
    return add_hold(repository, [snapshot], by="us", why="case", until=None, clock=now).hold


def test_list_and_show_mark_what_is_held() -> None:
    """By the ids of the holds that stand, in JSON and in words; one that was released or has ended is no mark."""
    repository = make_repository(MemoryStorage())
    free, kept = (take(repository, {"a": [rows]}).snapshot for rows in (b"1\n", b"2\n"))
    first, second = hold(repository, kept), hold(repository, kept)
    add_hold(repository, [free], by="us", why="case", until=now() + timedelta(hours=1), clock=now)
    release_hold(repository, second, by="us", why="closed", clock=now)

    report = list_snapshots(repository, clock=lambda: now() + timedelta(hours=2))
    held = {item["snapshot"]: item["held"] for item in document_of(report)["snapshots"]}
    assert held == {free: [], kept: [first]}
    (line,) = (line for line in text(report).splitlines() if ", held" in line)
    assert kept.startswith(line.split()[0])

    shown = show(repository, kept)
    assert document_of(shown)["held"] == [first]
    assert any(line.split() == ["held", "by", first] for line in text(shown).splitlines())
    assert document_of(show(repository, free, clock=lambda: now() + timedelta(hours=2)))["held"] == []


def test_a_hold_that_cannot_be_read_is_told() -> None:
    """Whether a snapshot is held nobody knows then: that is no reason to say that it is not."""
    repository = make_repository(MemoryStorage())
    kept = take(repository, {"a": [b"1\n"]}).snapshot
    name = layout.hold_placed(hold(repository, kept))
    repository.storage.replace(name, b"rubbish")
    assert [item.object_name for item in list_snapshots(repository).unreadable] == [name]
    shown = show(repository, kept)
    assert [item.object_name for item in shown.unreadable] == [name]
    assert "UNREADABLE" in text(shown)


def resealed() -> tuple[Repository, list[SnapshotId], SnapshotId]:
    """Three snapshots, of which the middle one is held: sealed anew, it stands beside its copy."""
    storage = MemoryStorage()
    before = make_repository(storage)
    taken = [take(before, {"a": [f"{n}\n".encode()]}).snapshot for n in range(3)]
    hold(before, taken[1])
    compromised(before, [], [OURS], now=now())
    repository = open_repository(storage, OURS)
    report = reseal(repository, by="us", clock=now, options=ReplicateOptions(jobs=1))
    assert [snapshot for snapshot, _ in report.kept] == [taken[1]]
    copies = {item.original: item.copy for item in report.resealed}
    return repository, taken, copies[taken[1]]


def kept(repository: Repository, policy: RetentionPolicy) -> dict[SnapshotId, tuple[str, ...]]:
    (judgement,) = judge_sources(repository, lambda _: policy, sources=(), now=now())
    return {verdict.snapshot: verdict.reasons for verdict in judgement.verdicts if verdict.kept}


def test_a_held_original_and_its_copy_are_told_apart_and_count_once() -> None:
    """The copy takes the place; the original is kept by its hold alone, and takes none from the oldest."""
    repository, taken, copy = resealed()
    original = taken[1]
    listed = {item["snapshot"]: item for item in document_of(list_snapshots(repository))["snapshots"]}
    assert len(listed) == 4
    assert (listed[original]["replaced_by"], listed[copy]["replaces"]) == (copy, original)
    assert {item["replaced_by"] for item in listed.values()} == {None, copy}
    assert f"{copy} replaces {original}" in text(list_snapshots(repository))

    three = kept(repository, RetentionPolicy(keep_last=3))
    assert len(three) == 4
    assert "last 2 of 3" in three[copy]
    assert [reason for reason in three[original] if not reason.startswith("held")] == []
    (oldest,) = set(three) - {original, copy} - {max(three)}
    assert "last 3 of 3" in three[oldest]


def test_once_released_the_original_goes_and_the_copy_stays() -> None:
    """The hold of the copy is its own."""
    repository, taken, copy = resealed()
    for item in list_holds(repository):
        release_hold(repository, item.hold, by="us", why="closed", clock=now)
    found = kept(repository, TWO)
    assert copy in found
    assert taken[1] not in found
    assert len(found) == 2


def test_a_copy_that_is_not_good_replaces_nothing() -> None:
    """Its original is judged as if there were none."""
    repository, taken, copy = resealed()
    for item in list_holds(repository):
        release_hold(repository, item.hold, by="us", why="closed", clock=now)
    check = Verification(record="0" * 26, level=3, at=now(), passed=(), failed=(copy,))
    record_verification(repository, check, journal_hint=0)
    assert taken[1] in kept(repository, TWO)


def test_an_undeleted_original_goes_again_since_its_copy_stands() -> None:
    """Bringing it back gives it no place beside its copy."""
    repository, taken, _ = resealed()
    undelete(repository, [taken[0]], by="us", clock=now)
    assert taken[0] not in kept(repository, RetentionPolicy(keep_last=9))
