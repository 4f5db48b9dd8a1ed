"""A journal entry that is lost for good stops collections until an operator accepts it; it is told ever after."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from holdfast.domain.errors import DamagedError, RefusedError, UsageError
from holdfast.domain.ids import SnapshotId
from holdfast.repository import layout
from holdfast.repository.collecting.report import CollectionReport
from holdfast.repository.collecting.rules import CollectionRules
from holdfast.repository.registers import segments
from holdfast.repository.repo import Repository
from holdfast.storage.memory import MemoryStorage
from holdfast.workflows.acceptance import Acceptance, accept_losses
from holdfast.workflows.collect import apply_collection
from holdfast.workflows.removal import bury
from holdfast.workflows.reports import VerifyReport
from holdfast.workflows.verify import verify
from repositories import make_repository
from snapshots import begin, now, take

RULES = CollectionRules(share=1.0)


@pytest.fixture
def repository() -> Repository:
    return make_repository(MemoryStorage())


def collect(repository: Repository, *, days: float = 0) -> CollectionReport:
    def clock() -> datetime:
        return now() + timedelta(days=days)

    return apply_collection(repository, rules=RULES, clock=clock)


def accept(
    repository: Repository, first: int, last: int | None = None, lost: tuple[SnapshotId, ...] = ()
) -> Acceptance:
    return accept_losses(
        repository, [(first, last or first)], lost=lost, by="us", reason="a disk failed", clock=now
    )


def check(repository: Repository) -> VerifyReport:
    return verify(repository, None, level=0)


def position_of(repository: Repository, kind: str) -> int:
    """Of the newest entry of a kind."""
    entries = [step.entry for step in repository.journal.walk() if step.entry is not None]
    return max(entry.position for entry in entries if entry.kind == kind)


def harm(repository: Repository, position: int) -> str:
    name = layout.journal(position)
    repository.storage.replace(name, b"rubbish")
    return name


def remove(repository: Repository, snapshot: SnapshotId) -> None:
    bury(repository, {snapshot: "test"}, by="us", clock=now)


@pytest.mark.parametrize("is_gone", [False, True])
def test_collections_stop_at_a_damaged_entry_until_it_is_accepted(
    repository: Repository, *, is_gone: bool
) -> None:
    """Altered or missing: the refusal says what to do; then snapshots go again, and the loss is told each time."""
    old = take(repository, {"a": [b"1\n"]})
    take(repository, {"a": [b"2\n"]})
    remove(repository, old.snapshot)
    position = position_of(repository, "buried")
    take(repository, {"a": [b"3\n"]})
    name = harm(repository, position)
    if is_gone:
        repository.storage.delete(name)
    with pytest.raises(DamagedError, match=name) as caught:
        collect(repository)
    assert f"--accept {position}" in (caught.value.hint or "")
    assert name in {finding.object_name for finding in check(repository).findings}

    accepted = accept(repository, position)
    assert [(loss.first, loss.last, loss.object_name) for loss in accepted.losses] == [
        (position, position, name)
    ]
    assert (accepted.losses[0].digest == "") is is_gone
    assert accepted.snapshots == ()
    (warning,) = collect(repository).warnings
    assert f"journal entry {position} is damaged; accepted as lost" in warning
    assert collect(repository, days=8).collected == (old.snapshot,)
    report = check(repository)
    assert report.findings == ()
    (told,) = report.accepted
    assert told.object_name == name
    assert "by us: a disk failed" in told.problem


def test_an_accepted_entry_that_changes_again_is_damage_again(repository: Repository) -> None:
    """What was accepted is what was left of the object then, and nothing else."""
    old = take(repository, {"a": [b"1\n"]})
    remove(repository, old.snapshot)
    position = position_of(repository, "buried")
    take(repository, {"a": [b"2\n"]})
    name = harm(repository, position)
    accept(repository, position)
    repository.storage.replace(name, b"other rubbish")
    report = check(repository)
    assert ([finding.object_name for finding in report.findings], report.accepted) == ([name], ())
    with pytest.raises(DamagedError, match=name):
        collect(repository)
    accept(repository, position)
    assert check(repository).findings == ()


def test_a_lost_entry_of_a_collection_is_made_up_for(repository: Repository) -> None:
    """What it said was collected is named by the acceptance: neither collections nor checks miss it any more."""
    old = take(repository, {"a": [b"1\n"]})
    take(repository, {"a": [b"2\n"]})
    remove(repository, old.snapshot)
    collect(repository)
    assert collect(repository, days=8).collected == (old.snapshot,)
    position = position_of(repository, "collected")
    name = harm(repository, position)
    with pytest.raises(DamagedError, match=name):
        collect(repository, days=9)
    assert accept(repository, position).snapshots == (old.snapshot,)
    collect(repository, days=10)
    report = check(repository)
    assert report.findings == ()
    assert [told.object_name for told in report.accepted] == [name]


def test_a_lost_announcement_of_a_commit_harms_no_snapshot(repository: Repository) -> None:
    """Its outcome is there, sealed, and says the same."""
    summary = take(repository, {"a": [b"1\n"]})
    position = position_of(repository, "committing")
    harm(repository, position)
    assert summary.snapshot in {item for finding in check(repository).findings for item in finding.snapshots}
    accept(repository, position)
    report = verify(repository, None, level=3)
    assert (report.findings, report.snapshots) == ((), (summary.snapshot,))


def test_a_snapshot_that_lost_its_outcome_with_the_entry_must_be_named(repository: Repository) -> None:
    """That is how somebody would hide a removed snapshot: refused, until the operator says that it is lost; and
    even then nothing that it wrote is deleted."""
    hidden = take(repository, {"a": [b"1\n"]})
    position = position_of(repository, "committing")
    old = take(repository, {"a": [b"2\n"]})
    take(repository, {"a": [b"3\n"]})
    remove(repository, old.snapshot)
    harm(repository, position)
    repository.storage.delete(layout.outcome(hidden.snapshot))
    with begin(repository), pytest.raises(RefusedError, match=hidden.snapshot) as caught:
        accept(repository, position)
    assert f"--lost {hidden.snapshot}" in (caught.value.hint or "")
    assert layout.outcome(hidden.snapshot) in (caught.value.hint or "")
    with pytest.raises(UsageError, match="is not lost"):
        accept(repository, position, lost=(hidden.snapshot, old.snapshot))
    with pytest.raises(DamagedError):
        collect(repository)

    assert accept(repository, position, lost=(hidden.snapshot,)).snapshots == (hidden.snapshot,)
    before = {info.name for info in repository.storage.list(layout.DATA) if hidden.snapshot in info.name}
    collect(repository)
    report = collect(repository, days=8)
    assert report.collected == (old.snapshot,)
    assert before
    assert before <= set(report.plan.unknown)
    assert before <= {info.name for info in repository.storage.list(layout.DATA)}


def test_only_damaged_entries_can_be_accepted(repository: Repository) -> None:
    """Not one that is whole, that is not there yet, or that was accepted before."""
    take(repository, {"a": [b"1\n"]})
    position = position_of(repository, "committing")
    take(repository, {"a": [b"2\n"]})
    for wrong, words in (
        (position, "is whole"),
        (99, "there is no journal entry 99"),
        (0, "no journal entry 0"),
    ):
        with pytest.raises(UsageError, match=words):
            accept(repository, wrong)
    harm(repository, position)
    with pytest.raises(UsageError, match="is whole"):
        accept(repository, position, position + 1)
    accept(repository, position)
    with pytest.raises(UsageError, match="was accepted as lost before"):
        accept(repository, position)


def test_a_damaged_segment_is_accepted_as_a_whole(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its positions are one loss, of one object."""
    monkeypatch.setattr(segments, "SEGMENT_ENTRIES", 10)
    monkeypatch.setattr(segments, "KEEP_SINGLE", 10)
    summary = take(repository, {"a": [b"1\n"]})
    for number in range(40):
        repository.journal.append("noted", {"number": number}, at=now())
    assert repository.journal.fold().segments
    name = layout.segment(11)
    repository.storage.replace(name, b"rubbish")
    with pytest.raises(DamagedError, match=name):
        collect(repository)
    (loss,) = accept(repository, 11, 20).losses
    assert (loss.first, loss.last, loss.object_name) == (11, 20, name)
    collect(repository)
    report = check(repository)
    assert report.findings == ()
    assert {told.object_name for told in report.accepted} == {name}
    assert report.snapshots == (summary.snapshot,)
