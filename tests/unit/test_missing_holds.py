"""A legal hold whose object was deleted outright is missed by checks and collections, until it is placed again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from holdfast.domain.errors import DamagedError, UnreachableError, UsageError
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import SnapshotSummary
from holdfast.repository import layout
from holdfast.repository.collecting.plans import Plans
from holdfast.repository.collecting.report import CollectionReport
from holdfast.repository.collecting.rules import CollectionRules
from holdfast.repository.registers.holds import Hold
from holdfast.repository.repo import Repository
from holdfast.storage import Buffer, ObjectInfo, Storage
from holdfast.storage.memory import MemoryStorage
from holdfast.storage.wrap import Through
from holdfast.workflows.collect import apply_collection
from holdfast.workflows.holding import add_hold, list_holds, put_back_holds, release_hold
from holdfast.workflows.removal import bury, removed
from holdfast.workflows.reports import Finding
from holdfast.workflows.verify import verify
from repositories import make_repository
from snapshots import now, take

RULES = CollectionRules(share=1.0)


def at(**later: float) -> Callable[[], datetime]:
    moment = now() + timedelta(**later)
    return lambda: moment


def collect(repository: Repository, *, days: float = 0) -> CollectionReport:
    return apply_collection(repository, rules=RULES, clock=at(days=days))


def remove(repository: Repository, summary: SnapshotSummary) -> None:
    bury(repository, {summary.snapshot: "test"}, by="us", clock=now)


def place(repository: Repository, *summaries: SnapshotSummary, until: datetime | None = None) -> Hold:
    snapshots = [item.snapshot for item in summaries]
    return add_hold(repository, snapshots, by="Legal", why="case 7", until=until, clock=now)


def delete(repository: Repository, hold: Hold) -> str:
    name = layout.hold_placed(hold.hold)
    repository.storage.delete(name)
    return name


def findings(repository: Repository, **later: float) -> tuple[Finding, ...]:
    return verify(repository, None, level=0, clock=at(**later)).findings


def data_of(repository: Repository, snapshot: SnapshotId) -> set[str]:
    return {info.name for info in repository.storage.list(layout.data_prefix(snapshot))}


@pytest.fixture
def repository() -> Repository:
    return make_repository(MemoryStorage())


@pytest.fixture
def kept(repository: Repository) -> SnapshotSummary:
    """The older one of two snapshots."""
    summary = take(repository, {"a": [b"1\n"]})
    take(repository, {"a": [b"2\n"]})
    return summary


def test_a_deleted_hold_is_named_with_what_to_do(repository: Repository, kept: SnapshotSummary) -> None:
    """By its object, with who placed it over what, and the command that mends it. The snapshot itself is sound."""
    hold = place(repository, kept)
    assert findings(repository) == ()
    name = delete(repository, hold)
    report = verify(repository, None, level=3)
    (finding,) = report.findings
    assert finding.object_name == name
    assert finding.snapshots == ()
    for words in (kept.snapshot, "Legal", "case 7", f"holdfast hold put-back {hold.hold}"):
        assert words in finding.problem


def test_a_hold_that_has_ended_is_not_missed(repository: Repository, kept: SnapshotSummary) -> None:
    """Neither a released one, nor one whose time is over, nor one that the journal does not know."""
    released, timed = place(repository, kept), place(repository, kept, until=at(hours=1)())
    release_hold(repository, released.hold, by="us", why="closed", clock=now)
    unknown = replace(released, hold=released.hold[:-1] + ("0" if released.hold[-1] != "0" else "1"))
    repository.holds.place(unknown)
    for hold in (released, timed, unknown):
        delete(repository, hold)
    repository.storage.delete(layout.hold_released(released.hold))
    assert findings(repository, hours=2) == ()
    (finding,) = findings(repository)
    assert finding.object_name == layout.hold_placed(timed.hold)


def test_holds_that_a_collection_forgets_are_not_missed(
    repository: Repository, kept: SnapshotSummary
) -> None:
    """It says so in the journal first: no clock that goes wrong makes them missing afterwards."""
    place(repository, kept, until=at(hours=1)())
    released = place(repository, kept)
    release_hold(repository, released.hold, by="us", why="closed", clock=now)
    bury(repository, {kept.snapshot: "test"}, by="us", clock=at(hours=2))
    collect(repository, days=1)
    assert collect(repository, days=9).collected == (kept.snapshot,)
    assert list_holds(repository) == ()
    assert findings(repository) == ()
    collect(repository)


@pytest.mark.parametrize("plans", ["none", "new", "old"])
def test_a_collection_stops_at_a_missing_hold(
    repository: Repository, kept: SnapshotSummary, plans: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the entry is read again, or a plan has taken its place, or an earlier version wrote the plan:
    nothing is deleted, and what to do is said."""
    hold = place(repository, kept)
    if plans == "old":
        write = Plans.write
        monkeypatch.setattr(Plans, "write", lambda self, plan: write(self, replace(plan, holds=None)))
    if plans != "none":
        take(repository, {"a": [b"3\n"]})
        collect(repository)
    name = delete(repository, hold)
    remove(repository, kept)
    before = {info.name for info in repository.storage.list("")}
    for days in (0, 8, 16):
        with pytest.raises(DamagedError, match=name) as caught:
            collect(repository, days=days)
        assert f"holdfast hold put-back {hold.hold}" in (caught.value.hint or "")
    assert {info.name for info in repository.storage.list("")} == before


def test_a_hold_is_put_back_just_as_it_was(repository: Repository, kept: SnapshotSummary) -> None:
    """With its snapshot, if that was removed since; then checks and collections are content."""
    first, second = place(repository, kept, until=at(days=999)()), place(repository, kept)
    for hold in (first, second):
        delete(repository, hold)
    remove(repository, kept)
    with pytest.raises(UsageError, match="no missing hold is named '00'"):
        put_back_holds(repository, ["00"], by="us", clock=now)
    assert put_back_holds(repository, [first.hold], by="us", clock=now) == (first,)
    assert removed(repository) == ()
    assert put_back_holds(repository, [], by="us", clock=now) == (second,)
    assert set(list_holds(repository)) == {first, second}
    assert put_back_holds(repository, [], by="us", clock=now) == ()
    assert findings(repository) == ()
    for days in (0, 8):
        collect(repository, days=days)
    assert data_of(repository, kept.snapshot)


def test_a_missing_hold_can_be_released(repository: Repository, kept: SnapshotSummary) -> None:
    """By its name: then nothing misses it, and its snapshot goes as the policy says."""
    hold = place(repository, kept)
    delete(repository, hold)
    ended = release_hold(repository, hold.hold, by="us", why="case closed", clock=now)
    assert ended.released is not None
    assert findings(repository) == ()
    remove(repository, kept)
    collect(repository)
    assert collect(repository, days=8).collected == (kept.snapshot,)
    assert findings(repository) == ()


class Meanwhile(Through):
    """Does something else just before it is asked whether an object is there."""

    def __init__(self, inside: Storage) -> None:
        super().__init__(inside)
        self.before: dict[str, Callable[[], None]] = {}
        self.hides = ""
        self.fails = ""

    def stat(self, name: str) -> ObjectInfo:
        if name in self.before:
            self.before.pop(name)()
        return super().stat(name)

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        for info in super().list(prefix, after=after):
            if prefix == self.hides and self.before:
                self.before.pop(prefix)()
            if prefix != self.hides:
                yield info

    def create(self, name: str, data: Buffer) -> None:
        if self.fails and name.startswith(self.fails):
            raise UnreachableError("no answer")
        super().create(name, data)


def beside(storage: Meanwhile, repository: Repository) -> Repository:
    return Repository(storage=storage, keyring=repository.keyring, config=repository.config)


def test_a_hold_that_ends_beside_a_check_or_a_collection_is_not_missed(
    repository: Repository, kept: SnapshotSummary
) -> None:
    """It was released, and forgotten, after the journal was read: that is looked at again."""
    storage = Meanwhile(repository.storage)
    for look in (findings, collect):
        hold = place(repository, kept)

        def end(hold: Hold = hold) -> None:
            ended = release_hold(repository, hold.hold, by="us", why="closed", clock=now)
            repository.holds.forget(ended)

        if look is findings:
            storage.before[layout.hold_placed(hold.hold)] = end
        else:
            storage.hides, storage.before[layout.HOLDS] = layout.HOLDS, end
        found = look(beside(storage, repository))
        assert not storage.before
        assert look is collect or found == ()


def test_a_hold_that_no_listing_shows_yet_keeps_its_snapshot(
    repository: Repository, kept: SnapshotSummary
) -> None:
    """The journal knows it, and it is asked for by name."""
    remove(repository, kept)
    collect(repository)
    place(repository, kept)
    storage = Meanwhile(repository.storage)
    storage.hides = layout.HOLDS
    blind = beside(storage, repository)
    remove(blind, kept)
    for days in (0, 8, 16):
        assert collect(blind, days=days).plan.held == (kept.snapshot,)
    assert data_of(repository, kept.snapshot)


def test_a_hold_that_was_never_placed_is_not_missed(repository: Repository, kept: SnapshotSummary) -> None:
    """The command failed before the object was there, or before the journal spoke of it: no check complains."""
    for fails, stands in ((layout.HOLDS, 0), (layout.JOURNAL, 1)):
        storage = Meanwhile(repository.storage)
        storage.fails = fails
        with pytest.raises(UnreachableError):
            place(beside(storage, repository), kept)
        assert len(list_holds(repository)) == stands
        assert findings(repository) == ()
