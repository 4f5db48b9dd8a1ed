"""Collection: what removed snapshots leave behind goes after two plans a grace apart, and nothing else does."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from holdfast.domain.errors import (
    DamagedError,
    FencedError,
    LockedObjectError,
    RefusedError,
    UnreachableError,
    UsageError,
)
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import BlobRef, ChunkRef, SnapshotSummary
from holdfast.repository import layout
from holdfast.repository.collecting.plans import Plans
from holdfast.repository.collecting.report import CollectionReport
from holdfast.repository.collecting.rules import CollectionRules
from holdfast.repository.collecting.survey import take_survey
from holdfast.repository.registers.graves import Ending, Fate
from holdfast.repository.registers.outcomes import Aborted
from holdfast.repository.registers.writers import Purpose
from holdfast.repository.repo import Repository
from holdfast.repository.runs.pins import reading
from holdfast.repository.runs.predecessors import find_predecessors
from holdfast.repository.runs.reuse import thin_packs
from holdfast.repository.seal import ObjectType
from holdfast.storage import Buffer, ObjectInfo, Storage
from holdfast.storage.memory import MemoryStorage
from holdfast.workflows.collect import apply_collection, plan_collection
from holdfast.workflows.holding import add_hold, list_holds, release_hold
from holdfast.workflows.listing import list_snapshots
from holdfast.workflows.parent import load_parent
from holdfast.workflows.removal import bury, held, removed, undelete
from holdfast.workflows.verify import verify
from repositories import make_repository
from snapshots import begin, blobs_of, commit, leave, now, take

RULES = CollectionRules(share=1.0)
GRACE = RULES.grace


def at(**later: float) -> Callable[[], datetime]:
    moment = now() + timedelta(**later)
    return lambda: moment


def remove(repository: Repository, *summaries: SnapshotSummary) -> None:
    bury(repository, {item.snapshot: "test" for item in summaries}, by="tests", clock=now)


def collect(repository: Repository, *, days: float = 0, rules: CollectionRules = RULES) -> CollectionReport:
    return apply_collection(repository, rules=rules, clock=at(days=days))


def collect_twice(repository: Repository) -> CollectionReport:
    """A plan, and then a collection a grace later."""
    collect(repository)
    return collect(repository, days=8)


def names(repository: Repository, prefix: str = "") -> set[str]:
    return {info.name for info in repository.storage.list(prefix)}


def assert_whole(repository: Repository, *summaries: SnapshotSummary) -> None:
    """These, and only these, are there, and every row of them can be read."""
    listed = [item.summary.snapshot for item in list_snapshots(repository).snapshots]
    assert listed == [item.snapshot for item in summaries]
    assert verify(repository, None, level=3).findings == ()


@pytest.fixture
def repository() -> Repository:
    return make_repository(MemoryStorage())


def test_a_removed_snapshot_goes_with_all_that_only_it_needs(repository: Repository) -> None:
    """Two collections a grace apart delete its objects and its registers; what others share stays, readable."""
    first = take(repository, {"a": [b"1\n"], "b": [b"2\n"]})
    second = take(repository, {"a": [b"1\n"], "b": [b"3\n"]}, on=first)
    shared = {chunk.blob.object_name for chunk in _chunks(repository, second)} & names(
        repository, layout.data_prefix(first.snapshot)
    )
    assert shared
    remove(repository, first)
    report = collect_twice(repository)
    assert report.swept == (first.snapshot,)
    assert report.collected == (first.snapshot,)
    assert report.deleted.objects > 0
    assert names(repository, layout.data_prefix(first.snapshot)) == shared
    left = {name for name in names(repository) if first.snapshot in name} - shared
    assert {name for name in left if not name.startswith(layout.meta_prefix(first.snapshot))} == set()
    assert_whole(repository, second)


def _chunks(repository: Repository, summary: SnapshotSummary) -> Iterator[ChunkRef]:
    root = repository.root(summary)
    for _, manifest in repository.tables(root.tables):
        yield from manifest.chunks()


def test_what_the_first_of_two_shared_goes_with_the_second(repository: Repository) -> None:
    """An object whose writer is long forgotten goes when the last snapshot that needs it goes."""
    first = take(repository, {"a": [b"1\n"], "b": [b"2\n"]})
    second = take(repository, {"a": [b"1\n"], "b": [b"3\n"]}, on=first)
    third = take(repository, {"a": [b"9\n"]})
    remove(repository, first)
    collect_twice(repository)
    remove(repository, second)
    apply_collection(repository, rules=RULES, clock=at(days=9))
    report = apply_collection(repository, rules=RULES, clock=at(days=17))
    assert report.collected == (second.snapshot,)
    assert report.plan.unknown == ()
    assert {n.split("/")[1] for n in names(repository, "data/")} == {third.snapshot}
    assert {n.split("/")[1] for n in names(repository, "meta/")} == {third.snapshot}
    assert_whole(repository, third)


def test_nothing_goes_before_the_grace_has_passed(repository: Repository) -> None:
    """A collection deletes nothing that no plan of a grace ago names, however often it runs."""
    first = take(repository, {"a": [b"1\n"]})
    remove(repository, first)
    before = names(repository, "data/") | names(repository, "meta/")
    for days in (0, 1, 2, 6.9):
        report = collect(repository, days=days)
        assert report.deleted.objects == 0
        assert report.plan.garbage.objects == len(before)
    assert names(repository, "data/") | names(repository, "meta/") == before
    undelete(repository, [first.snapshot], by="tests", clock=now)
    assert_whole(repository, first)


def test_an_undelete_within_the_grace_brings_a_snapshot_back(repository: Repository) -> None:
    """It is listed and restorable again, later collections leave it alone, and it can be removed again."""
    first = take(repository, {"a": [b"1\n"]})
    remove(repository, first)
    assert [item.summary.snapshot for item in removed(repository)] == [first.snapshot]
    assert list_snapshots(repository).snapshots == ()
    with pytest.raises(UsageError, match="was removed"):
        repository.summary(first.snapshot)
    collect(repository)
    undelete(repository, [first.snapshot], by="tests", clock=now)
    assert removed(repository) == ()
    report = collect(repository, days=8)
    assert report.deleted.objects == 0
    assert_whole(repository, first)
    remove(repository, first)
    collect(repository, days=9)
    assert collect(repository, days=17).collected == (first.snapshot,)
    assert names(repository, "data/") == set()


def test_an_undelete_after_the_sweep_is_refused(repository: Repository) -> None:
    """Once its fate is swept, nobody hears that a snapshot is back; nor when its registers are gone."""
    first = take(repository, {"a": [b"1\n"]})
    remove(repository, first)
    repository.graves.decide(
        Fate(snapshot=first.snapshot, round=1, at=now(), by="collection", ending=Ending.SWEPT)
    )
    with pytest.raises(RefusedError, match="was swept"):
        undelete(repository, [first.snapshot], by="tests", clock=now)
    collect_twice(repository)
    with pytest.raises(UsageError, match="no snapshot"):
        undelete(repository, [first.snapshot], by="tests", clock=now)


def test_an_undelete_that_slept_through_the_sweep_is_refused(repository: Repository) -> None:
    """It read the tombstone, slept until the registers were cleared, and creates the fate anew: still refused."""
    first = take(repository, {"a": [b"1\n"]})
    remove(repository, first)
    standing = repository.graves.standing
    answers = [standing(first.snapshot)]
    collect_twice(repository)

    class Sleeping(type(repository.graves)):  # type: ignore[misc]
        def standing(self, snapshot: SnapshotId) -> object:
            return answers.pop()

    repository.graves = Sleeping(repository.storage, repository.sealer)
    with pytest.raises(RefusedError, match="was swept"):
        undelete(repository, [first.snapshot], by="tests", clock=now)


def test_a_collector_that_slept_through_an_undelete_sweeps_nothing(repository: Repository) -> None:
    """It lost the race for the fate, so the snapshot and all it needs stay."""
    first = take(repository, {"a": [b"1\n"]})
    remove(repository, first)
    collect(repository)
    woken = at(days=8)
    fell_asleep: list[int] = []

    def clock() -> datetime:
        # The survey asks when it begins, and again after all listings and before any fate.
        if names(repository, layout.FATES) == set() and len(fell_asleep) == 2:
            undelete(repository, [first.snapshot], by="tests", clock=now)
        fell_asleep.append(1)
        return woken()

    report = apply_collection(repository, rules=RULES, clock=clock)
    assert dict(report.kept_back) == {first.snapshot: Ending.UNDELETED}
    assert report.deleted.objects == 0
    assert_whole(repository, first)


def test_a_hold_keeps_a_snapshot_from_removal_and_release_lets_it_go(repository: Repository) -> None:
    """A held snapshot cannot be removed; after the release it can; both are on record."""
    first = take(repository, {"a": [b"1\n"]})
    hold = add_hold(repository, [first.snapshot], by="ann", why="case 7", until=None, clock=now)
    assert held(repository, now())[first.snapshot] == (hold,)
    with pytest.raises(RefusedError, match="case 7"):
        remove(repository, first)
    release_hold(repository, hold.hold[:20], by="bob", why="settled", clock=now)
    (listed,) = list_holds(repository)
    assert listed.released is not None
    assert (listed.by, listed.released.by) == ("ann", "bob")
    assert held(repository, now()) == {}
    remove(repository, first)
    assert collect_twice(repository).collected == (first.snapshot,)
    assert list_holds(repository) == ()


def test_a_late_hold_brings_a_removed_snapshot_back(repository: Repository) -> None:
    """A hold on a removed snapshot wins its fate, if it comes before the sweep; afterwards it is refused."""
    first, second = take(repository, {"a": [b"1\n"]}), take(repository, {"b": [b"1\n"]})
    remove(repository, first)
    collect(repository)
    add_hold(repository, [first.snapshot], by="ann", why="case 7", until=None, clock=now)
    assert collect(repository, days=8).deleted.objects == 0
    assert_whole(repository, first, second)
    remove(repository, second)
    repository.graves.decide(
        Fate(snapshot=second.snapshot, round=1, at=now(), by="collection", ending=Ending.SWEPT)
    )
    with pytest.raises(RefusedError, match=second.snapshot):
        add_hold(repository, [second.snapshot], by="ann", why="case 8", until=None, clock=now)


def test_a_hold_that_the_collection_finds_keeps_a_tombstoned_snapshot(repository: Repository) -> None:
    """A removal that slipped in beside the hold is not swept while the hold stands, and has no fate."""
    first = take(repository, {"a": [b"1\n"]})
    add_hold(repository, [first.snapshot], by="ann", why="x", until=now() + timedelta(days=30), clock=now)
    repository.graves.bury(first.snapshot, at=now(), by="tests", reason="slipped in")
    report = collect_twice(repository)
    assert report.plan.held == (first.snapshot,)
    assert report.deleted.objects == 0
    collect(repository, days=31)
    assert collect(repository, days=39).collected == (first.snapshot,)


def test_a_copied_hold_is_no_release(repository: Repository) -> None:
    """Whoever can write the storage, but has no keys, cannot end a hold by copying its own record."""
    first = take(repository, {"a": [b"1\n"]})
    hold = add_hold(repository, [first.snapshot], by="ann", why="x", until=None, clock=now)
    storage = repository.storage
    storage.create(layout.hold_released(hold.hold), storage.get(layout.hold_placed(hold.hold)))
    with pytest.raises(DamagedError, match="released"):
        collect(repository)


def test_what_a_running_backup_relies_on_is_not_swept(repository: Repository) -> None:
    """A run that announced itself before the removal pins its parent until it is decided."""
    first = take(repository, {"a": [b"1\n"], "b": [b"2\n"]})
    with begin(repository) as run:
        assert first.snapshot in run.record.relies_on
        remove(repository, first)
        report = collect_twice(repository)
        assert dict(report.plan.pinned) == {first.snapshot: (run.snapshot,)}
        assert report.deleted.objects == 0
        second = commit(run, {"a": [b"1\n"], "b": [b"3\n"]}, known=blobs_of(repository, first))
    apply_collection(repository, rules=RULES, clock=at(days=9))
    assert apply_collection(repository, rules=RULES, clock=at(days=17)).collected == (first.snapshot,)
    assert_whole(repository, second)


def test_a_run_that_comes_after_the_tombstone_does_not_build_on_it(repository: Repository) -> None:
    """The parent is the next older snapshot of the source, and a tombstone that came in between is seen."""
    first, second = take(repository, {"a": [b"1\n"]}), take(repository, {"a": [b"2\n"]})
    assert find_predecessors(repository, "shop", now=now()).parent == second
    remove(repository, second)
    assert find_predecessors(repository, "shop", now=now()).parent == first
    with begin(repository) as run:
        remove(repository, first)
        assert not run.still_stands(first.snapshot)


def test_a_parent_that_was_collected_meanwhile_does_not_stand(repository: Repository) -> None:
    """No tombstone and no outcome either: swept and forgotten between the choice and the announcement."""
    first = take(repository, {"a": [b"1\n"]})
    predecessors = find_predecessors(repository, "shop", now=now())
    assert predecessors.parent == first
    remove(repository, first)
    collect_twice(repository)
    with begin(repository) as run:
        assert run.without_tombstone(first.snapshot)
        assert not run.still_stands(first.snapshot)


def test_objects_of_a_running_backup_are_spared(repository: Repository) -> None:
    """What an undecided writer stored is nobody's garbage, however long it takes."""
    take(repository, {"a": [b"1\n"]})
    with begin(repository) as run:
        leave(run, b"7\n")
        report = collect_twice(repository)
        assert report.plan.spared.objects == 1
        assert report.plan.unknown == ()
        commit(run, {"a": [b"7\n"]})


def _die(repository: Repository, *, finished: bool, rows: bytes = b"7\n") -> SnapshotId:
    """A run that stored a chunk and died long ago: killed on another host, or ended by itself."""
    with begin(repository) as run:
        leave(run, rows)
        if finished:
            run.give_up()
        else:
            elsewhere = replace(run.record, host=replace(run.record.host, boot="another boot"))
            repository.writers.beat(elsewhere, now=now())
    return run.snapshot


@pytest.mark.parametrize("finished", [True, False])
def test_leftovers_of_dead_runs_are_reclaimed(repository: Repository, finished: bool) -> None:
    """A dead run is fenced, given up, and its objects go. Its outcome stays only if it may be asleep."""
    whole = take(repository, {"a": [b"1\n"]})
    dead = _die(repository, finished=finished)
    assert collect(repository, days=0.5).fenced == ()
    assert collect(repository, days=2).fenced == (dead,)
    assert collect(repository, days=4).given_up == (dead,)
    assert names(repository, layout.data_prefix(dead)) != set()
    collect(repository, days=5)
    report = collect(repository, days=12.5)
    assert report.deleted.objects == 1
    left = {name for name in names(repository) if dead in name}
    assert left == (set() if finished else {layout.outcome(dead)})
    again = collect(repository, days=30)
    assert again.given_up == ()
    assert {name for name in names(repository) if dead in name} == left
    assert_whole(repository, whole)


def test_a_sleeping_writer_that_was_fenced_cannot_commit(repository: Repository) -> None:
    """It was silent for longer than anybody waits; after its leftovers are gone it wakes up, and is told."""
    with begin(repository) as run:
        leave(run, b"7\n")
        elsewhere = replace(run.record, host=replace(run.record.host, boot="another boot"))
        repository.writers.beat(elsewhere, now=now())
        for days in (2, 4, 5, 13):
            collect(repository, days=days)
        assert names(repository, layout.data_prefix(run.snapshot)) == set()
        assert names(repository, layout.WRITERS) == set()
        with pytest.raises(FencedError):
            commit(run, {"a": [b"7\n"]})
    assert list_snapshots(repository).snapshots == ()


def test_adopted_chunks_stay_when_their_run_is_collected(repository: Repository) -> None:
    """What a newer snapshot adopted from a dead run is live by name; only the rest of the run goes."""
    dead = _die(repository, finished=True)
    predecessors = find_predecessors(repository, "shop", now=now())
    identity = repository.sealer.identify(ObjectType.CHUNK, b"7\n")
    with begin(repository) as run:
        left = run.adopt(predecessors.crashed)
        ref = left.take(repository.storage, repository.sealer, identity, 2)
        assert ref is not None
        whole = commit(run, {"a": [b"7\n"]}, known={identity: ref})
    for days in (2, 3, 11, 19):
        collect(repository, days=days)
    assert names(repository, layout.data_prefix(dead)) == {ref.object_name}
    assert_whole(repository, whole)


def test_a_run_given_up_is_not_adopted(repository: Repository) -> None:
    """Once the collection has buried an aborted run, no later run takes its chunks."""
    dead = _die(repository, finished=True)
    with begin(repository) as first:
        first.adopt(find_predecessors(repository, "shop", now=now()).crashed)
        leave(first, b"8\n")
        first.give_up()
    repository.graves.bury(dead, at=now(), by="collection", reason="aborted")
    with begin(repository) as second:
        left = second.adopt(find_predecessors(repository, "shop", now=now()).crashed)
        assert left.snapshots() == {first.snapshot}


def test_a_run_that_stored_nothing_leaves_nothing(repository: Repository) -> None:
    """A source that is down for weeks must not fill the repository with dead runs."""
    before = names(repository)
    for _ in range(3):
        with begin(repository) as run:
            run.give_up()
    assert names(repository) == before


def test_what_is_being_restored_is_not_swept(repository: Repository) -> None:
    """A reader pins; one that comes after the removal is refused; when it has ended, the snapshot goes."""
    first = take(repository, {"a": [b"1\n"]})
    with reading(repository, [first.snapshot], purpose=Purpose.RESTORE, clock=now) as pin:
        assert pin.warning is None
        remove(repository, first)
        report = collect_twice(repository)
        assert list(report.plan.pinned) == [first.snapshot]
        assert report.deleted.objects == 0
    with (
        pytest.raises(UsageError, match="was removed"),
        reading(repository, [first.snapshot], purpose=Purpose.COPY, clock=now),
    ):
        pass
    assert names(repository, layout.WRITERS) == set()
    collect(repository, days=9)
    assert collect(repository, days=17).collected == (first.snapshot,)


def test_a_reader_that_died_pins_no_longer_than_a_day(repository: Repository) -> None:
    """Its record is removed when it has been silent, and no outcome is left of it."""
    first = take(repository, {"a": [b"1\n"]})
    with begin(repository) as run:
        record = replace(
            run.record,
            host=replace(run.record.host, boot="another boot"),
            purpose=Purpose.RESTORE,
            relies_on=(first.snapshot,),
        )
        repository.writers.beat(record, now=now())
    remove(repository, first)
    assert list(collect(repository).plan.pinned) == [first.snapshot]
    assert dict(collect(repository, days=2).plan.pinned) == {}
    assert collect(repository, days=10).collected == (first.snapshot,)
    assert {name for name in names(repository) if record.snapshot in name} == set()


def test_two_collectors_at_once_do_no_harm(repository: Repository) -> None:
    """The second one, which surveyed before the first one swept, deletes only what is gone anyway."""
    first = take(repository, {"a": [b"1\n"], "b": [b"2\n"]})
    second = take(repository, {"a": [b"1\n"], "b": [b"3\n"]}, on=first)
    remove(repository, first)
    collect(repository)
    calls = []

    def clock() -> datetime:
        calls.append(1)
        if len(calls) == 2:  # the survey's own moment: everything is listed, nothing decided
            collect(repository, days=8)
            take(repository, {"a": [b"1\n"], "b": [b"4\n"]}, on=second)
        return now() + timedelta(days=8, minutes=1)

    report = apply_collection(repository, rules=RULES, clock=clock)
    assert set(report.swept) <= {first.snapshot}
    assert len(list_snapshots(repository).snapshots) == 2
    assert verify(repository, None, level=3).findings == ()
    collect(repository, days=9)
    assert names(repository, layout.FATES) == set()


def test_an_unreadable_register_stops_the_collection_by_name(repository: Repository) -> None:
    """Tombstone, fate, hold, plan, writer, outcome, root, table manifest: damaged, nothing is deleted."""
    first, second = take(repository, {"a": [b"1\n"]}), take(repository, {"a": [b"2\n"]})
    remove(repository, first)
    collect(repository)
    add_hold(repository, [second.snapshot], by="ann", why="x", until=None, clock=now)
    undecided = begin(repository)
    (table,) = names(repository, layout.meta_prefix(second.snapshot)) - {layout.root(second.snapshot)}
    victims = [
        layout.tombstone(first.snapshot, 1),
        *names(repository, layout.HOLDS),
        *names(repository, layout.PLANS),
        layout.writer(undecided.snapshot),
        layout.outcome(second.snapshot),
        layout.root(second.snapshot),
        table,
    ]
    storage = repository.storage
    for victim in victims:
        before = storage.get(victim)
        storage.replace(victim, before[:-1] + bytes([before[-1] ^ 1]))
        objects = names(repository)
        days = 0 if victim.startswith(layout.WRITERS) else 8  # one that stays damaged for a day is fenced
        with pytest.raises(DamagedError, match=victim):
            collect(repository, days=days)
        assert names(repository) == objects
        storage.replace(victim, before)


class Hiding:
    """A storage whose listings leave out some names."""

    def __init__(self, storage: MemoryStorage, hidden: Callable[[str], bool]) -> None:
        self._storage = storage
        self._hidden = hidden

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        return (info for info in self._storage.list(prefix, after=after) if not self._hidden(info.name))

    def __getattr__(self, name: str) -> object:
        return getattr(self._storage, name)


def _through(repository: Repository, storage: object) -> Repository:
    return Repository(storage=storage, keyring=repository.keyring, config=repository.config)  # type: ignore[arg-type]


@pytest.mark.parametrize("planned", [True, False])
def test_a_snapshot_that_vanished_from_a_listing_stops_the_collection(
    repository: Repository, planned: bool
) -> None:
    """Journal or earlier plan know it: its objects would look dead, so nothing is deleted."""
    first, second = take(repository, {"a": [b"1\n"]}), take(repository, {"a": [b"2\n"]})
    remove(repository, first)
    if planned:
        collect(repository)
    before = names(repository)
    assert isinstance(repository.storage, MemoryStorage)
    lying = _through(
        repository, Hiding(repository.storage, lambda name: name == layout.outcome(second.snapshot))
    )
    with pytest.raises(RefusedError, match=second.snapshot):
        apply_collection(lying, rules=RULES, clock=at(days=8))
    assert names(repository) == before


def test_unknown_objects_are_reported_and_left(repository: Repository) -> None:
    """Names nobody knows, and objects of runs nobody knows, are named and never deleted."""
    first = take(repository, {"a": [b"1\n"]})
    ghost = "data/" + "0" * 26 + "/aa/aabb"
    strange = {ghost, "data/what", "future/thing", "meta/xx/yy"}
    for name in strange:
        repository.storage.create(name, b"?")
    remove(repository, first)
    report = collect_twice(repository)
    assert set(report.plan.unknown) == strange
    assert strange <= names(repository)
    assert report.collected == (first.snapshot,)


def test_more_than_the_share_is_refused(repository: Repository) -> None:
    """A fifth of all objects or bytes is the most that goes at once, unless more is allowed."""
    first = take(repository, {"a": [b"1\n"]})
    take(repository, {"a": [b"2\n"]})
    remove(repository, first)
    collect(repository)
    before = names(repository)
    with pytest.raises(RefusedError, match="50%"):
        collect(repository, days=8, rules=CollectionRules())
    assert names(repository) == before
    assert collect(repository, days=8).collected == (first.snapshot,)


class Locked:
    """A storage that does not let some objects go."""

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage
        self.locked: set[str] = set()

    def delete(self, name: str) -> None:
        if name in self.locked:
            raise LockedObjectError(name, until=now() + timedelta(days=3))
        self._storage.delete(name)

    def __getattr__(self, name: str) -> object:
        return getattr(self._storage, name)


def test_locked_objects_are_later_not_an_error() -> None:
    """What is locked stays, and with it the manifests that know of it; when the lock has ended, all goes."""
    storage = Locked(MemoryStorage())
    repository = _through(make_repository(storage), storage)  # type: ignore[arg-type]
    first, second = take(repository, {"a": [b"1\n"]}), take(repository, {"a": [b"2\n"]})
    storage.locked = names(repository, layout.data_prefix(first.snapshot))
    remove(repository, first)
    report = collect_twice(repository)
    assert report.later.objects == 1
    assert report.later_until is not None
    assert report.collected == ()
    assert layout.root(first.snapshot) in names(repository)
    storage.locked = {layout.outcome(first.snapshot)}
    report = collect(repository, days=9)
    assert report.deleted.objects > 0
    assert report.collected == ()
    assert_whole(repository, second)
    storage.locked = set()
    assert collect(repository, days=10).collected == (first.snapshot,)
    assert_whole(repository, second)


def test_a_single_writer_storage_is_collected_when_nobody_writes() -> None:
    """Where create-once cannot be had: refused beside a backup, and a backup is refused beside it."""
    repository = make_repository(MemoryStorage(), single_writer=True)
    first = take(repository, {"a": [b"1\n"]})
    remove(repository, first)
    with begin(repository), pytest.raises(RefusedError, match="cannot have two writers"):
        collect(repository)
    seen: list[int] = []

    def clock() -> datetime:
        if not seen:
            seen.append(1)
            return now()
        with pytest.raises(RefusedError, match="is collecting, removing or holding snapshots"):
            begin(repository)
        seen.append(1)
        return now()

    for info in list(repository.storage.list(layout.WRITERS)):
        repository.storage.delete(info.name)
    apply_collection(repository, rules=RULES, clock=clock)
    assert len(seen) > 2
    assert collect(repository, days=8).collected == (first.snapshot,)
    assert names(repository, layout.WRITERS) == set()


def test_registers_do_not_grow(repository: Repository) -> None:
    """After many rounds of snapshots, removals and collections, only what the standing ones need is left."""
    summary = take(repository, {"a": [b"0\n"]})
    for day in range(1, 30):
        new = take(repository, {"a": [f"{day}\n".encode()]}, on=summary)
        verify(repository, None, level=0)
        remove(repository, summary)
        collect(repository, days=day)
        summary = new
    collect(repository, days=40)
    collect(repository, days=48)
    counts = {prefix: len(names(repository, prefix)) for prefix in ("outcomes/", "tombstones/", "fates/")}
    assert counts == {"outcomes/": 1, "tombstones/": 0, "fates/": 0}
    assert len(names(repository, "gc/")) <= 18
    assert len(names(repository, "writers/")) == 0
    assert len(names(repository, "verify/")) <= 2
    assert_whole(repository, summary)


def test_the_report_says_what_goes_and_why_the_rest_stays(repository: Repository) -> None:
    """What is freed is told by snapshot; what is not, by the snapshot that keeps it."""
    first = take(repository, {"a": [b"1\n"], "b": [b"2\n"]})
    second = take(repository, {"a": [b"1\n"], "b": [b"3\n"]}, on=first)
    plan = plan_collection(repository, rules=RULES, clock=now, burying=[first.snapshot])
    assert names(repository, layout.PLANS) == set()
    assert list(plan.freed) == [first.snapshot]
    assert plan.freed[first.snapshot] == plan.garbage
    assert {(item.snapshot, item.keeper) for item in plan.kept} == {(first.snapshot, second.snapshot)}
    assert sum(item.amount.size_bytes for item in plan.kept) + plan.garbage.size_bytes == sum(
        info.size_bytes
        for prefix in (layout.data_prefix(first.snapshot), layout.meta_prefix(first.snapshot))
        for info in repository.storage.list(prefix)
    )
    assert plan.due_at is None
    remove(repository, first)
    collect(repository)
    plan = plan_collection(repository, rules=RULES, clock=now)
    assert plan.due_at is not None
    assert timedelta(days=6.9) < plan.due_at - now() < timedelta(days=7.1)


def test_a_plan_holds_what_it_names(repository: Repository) -> None:
    """Written and read back, a plan is the same."""
    first = take(repository, {"a": [b"1\n"]})
    remove(repository, first)
    collect(repository)
    (plan,) = Plans(repository.storage, repository.sealer).every()
    assert plan.graves == {first.snapshot: 1}
    assert plan.objects == names(repository, "data/") | names(repository, "meta/")
    assert plan.snapshots == {first.snapshot}


def test_a_committed_outcome_whose_writer_may_sleep_is_kept(repository: Repository) -> None:
    """The writer died, or sleeps, between the outcome and the end: its register must not open again."""
    first = take(repository, {"a": [b"1\n"]})
    with begin(repository) as other:
        pass
    record = replace(other.record, snapshot=first.snapshot, host=replace(other.record.host, boot="x"))
    repository.writers.announce(record)
    repository.writers.retire(other.record, now=now())
    remove(repository, first)
    report = collect_twice(repository)
    assert report.deleted.objects > 0
    assert report.collected == ()
    assert layout.outcome(first.snapshot) in names(repository)
    assert list_snapshots(repository).snapshots == ()
    assert verify(repository, None, level=3).findings == ()


def test_a_run_that_was_killed_right_after_its_commit_leaves_nothing(repository: Repository) -> None:
    """Its process has surely ended: once it was silent for a day, its registers are cleared like any other's."""
    first = take(repository, {"a": [b"1\n"]})
    with begin(repository) as other:
        pass
    repository.writers.retire(other.record, now=now())
    with subprocess.Popen(["true"]) as ended:
        pass
    host = replace(other.record.host, pid=ended.pid)
    repository.writers.announce(replace(other.record, snapshot=first.snapshot, host=host))
    second = take(repository, {"a": [b"2\n"]})
    remove(repository, first)
    collect(repository, days=0.5)
    assert layout.writer(first.snapshot) in names(repository)
    for days in (2, 9, 10):
        collect(repository, days=days)
    assert {name for name in names(repository) if first.snapshot in name} == set()
    assert_whole(repository, second)


def test_a_writer_whose_clock_ran_ahead_does_not_pin_for_years(repository: Repository) -> None:
    """Its heartbeat lies in the future; the storage's clock tells that it is silent."""
    first = take(repository, {"a": [b"1\n"]})
    with begin(repository) as run:
        host = replace(run.record.host, boot="another boot")
        elsewhere = replace(run.record, host=host, relies_on=(first.snapshot,))
        repository.writers.beat(elsewhere, now=now() + timedelta(days=3650))
    second = take(repository, {"a": [b"2\n"]})
    remove(repository, first)
    assert collect(repository, days=0.5).fenced == ()
    assert collect(repository, days=2).fenced == (run.snapshot,)
    assert collect(repository, days=10).swept == (first.snapshot,)
    assert_whole(repository, second)


def test_a_foreign_object_among_the_writers_is_named(repository: Repository) -> None:
    """What wrote it nobody knows, so nothing is deleted."""
    remove(repository, take(repository, {"a": [b"1\n"]}))
    repository.storage.create("writers/readme.txt", b"x")
    with pytest.raises(DamagedError, match=r"writers/readme\.txt"):
        collect(repository)


class Interposed(MemoryStorage):
    """A storage in which somebody else acts right before a tombstone is written."""

    meanwhile: Callable[[], object] | None = None

    def create(self, name: str, data: Buffer) -> None:
        if self.meanwhile is not None and name.startswith(layout.TOMBSTONES):
            act, self.meanwhile = self.meanwhile, None
            act()
        super().create(name, data)


def test_a_hold_that_comes_while_a_snapshot_is_removed_keeps_it() -> None:
    """The removal saw no hold, and the hold no tombstone: the second look of the removal sees it."""
    storage = Interposed()
    repository = make_repository(storage)
    first, second = (take(repository, {"a": [row]}) for row in (b"1\n", b"2\n"))
    third = take(repository, {"a": [b"3\n"]})
    storage.meanwhile = lambda: add_hold(
        repository, [first.snapshot], by="law", why="suit", until=None, clock=now
    )
    with pytest.raises(RefusedError, match=f"{first.snapshot} came under the hold.*suit; 1 others"):
        remove(repository, first, second)
    assert first.snapshot in held(repository, now())
    assert_whole(repository, first, third)
    assert [item.summary.snapshot for item in removed(repository)] == [second.snapshot]


def test_a_damaged_record_of_a_dead_writer_does_not_stop_collections_for_ever(repository: Repository) -> None:
    """A living writer replaces its record every minute; one that stays damaged for a day is fenced."""
    whole = take(repository, {"a": [b"1\n"]})
    dead = _die(repository, finished=True)
    repository.storage.replace(layout.writer(dead), b"rubbish")
    with pytest.raises(DamagedError, match=layout.writer(dead)):
        collect(repository, days=0.5)
    assert collect(repository, days=2).fenced == (dead,)
    for days in (4, 5, 13):
        collect(repository, days=days)
    assert names(repository, layout.data_prefix(dead)) == set()
    assert_whole(repository, whole)


class Recording:
    """A storage that remembers which prefixes were listed."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.listed: list[str] = []

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        self.listed.append(prefix)
        return self._storage.list(prefix, after=after)

    def __getattr__(self, name: str) -> object:
        return getattr(self._storage, name)


def test_registers_are_read_in_the_one_safe_order(repository: Repository) -> None:
    """Journal, tombstones, writers, outcomes, fates, holds, objects: two plans a grace apart make up for much, but
    a writer that commits, or a hold that is placed, must be seen in one of them."""
    remove(repository, take(repository, {"a": [b"1\n"]}))
    storage = Recording(repository.storage)
    take_survey(_through(repository, storage), clock=now)
    order = [
        layout.PLANS,
        layout.JOURNAL,
        layout.TOMBSTONES,
        layout.WRITERS,
        layout.OUTCOMES,
        layout.FATES,
        layout.HOLDS,
        layout.DATA,
        layout.META,
    ]
    seen = [prefix for prefix in dict.fromkeys(storage.listed) if prefix in order]
    assert seen == order


def test_aborting_is_on_record(repository: Repository) -> None:
    """The fence says who was silent since when."""
    dead = _die(repository, finished=False)
    collect(repository, days=2)
    outcome = repository.outcomes.read(dead)
    assert isinstance(outcome, Aborted)
    assert "silent since" in outcome.reason


def test_a_thin_pack_dies_whole(repository: Repository) -> None:
    """Of a pack of which less than 30 % is live, nothing is reused; of a fuller one, everything."""
    rows = [os.urandom(2000).hex().encode() + b"\n" for _ in range(10)]
    first = take(repository, {"a": rows})
    fuller = take(repository, {"a": rows[:5]}, on=first)
    (pack,) = names(repository, layout.data_prefix(first.snapshot))
    assert pack in load_parent(repository, fuller).sizes
    thin = take(repository, {"a": rows[:2]}, on=first)
    assert pack in {chunk.blob.object_name for chunk in _chunks(repository, thin)}
    assert pack not in load_parent(repository, thin).sizes


def test_of_a_pack_every_blob_counts_once() -> None:
    """A blob that is named often does not make its pack look full."""
    blob = BlobRef(
        object_name="x",
        offset=0,
        length=10,
        object_bytes=100,
        object_md5="",
        identity=b"",
        plain_bytes=10,
    )
    assert thin_packs([blob] * 9) == {"x"}
    assert thin_packs([replace(blob, offset=10 * place) for place in range(3)]) == set()


def test_a_damaged_record_of_a_writer_does_not_stop_backups() -> None:
    """It is passed over with a warning that names it; only where one may write alone, it is refused."""
    for single in (False, True):
        repository = make_repository(MemoryStorage(), single_writer=single)
        dead = _die(repository, finished=True)
        repository.storage.replace(layout.writer(dead), b"rubbish")
        if single:
            with pytest.raises(RefusedError, match=layout.writer(dead)):
                begin(repository)
            continue
        with begin(repository) as run:
            commit(run, {"a": [b"1\n"]})
        assert any(layout.writer(dead) in text for text in run.warnings)


class Clinging(Locked):
    """A storage that cannot delete or replace records of writers for a while."""

    def delete(self, name: str) -> None:
        if name.startswith(layout.WRITERS):
            raise UnreachableError("the network is down")
        super().delete(name)


def test_a_snapshot_is_committed_although_its_record_could_not_be_removed() -> None:
    """The outcome stands, so the backup has succeeded; the failure to tidy up is a warning."""
    memory = MemoryStorage()
    make = make_repository(memory)
    repository = _through(make, Clinging(memory))
    with begin(repository) as run:
        summary = commit(run, {"a": [b"1\n"]})
    assert any("committed" in text for text in run.warnings)
    assert_whole(make, summary)
