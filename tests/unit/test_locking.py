"""A whole snapshot stays locked for a period after its commit, whatever it reuses, and few requests see to it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import snapshots
from holdfast.domain.errors import DamagedError, LockedObjectError, StorageUnusableError
from holdfast.domain.ids import SnapshotId, make_snapshot_id
from holdfast.repository import layout
from holdfast.repository.registers.outcomes import Committed
from holdfast.repository.repo import Repository
from holdfast.repository.runs.predecessors import find_predecessors
from holdfast.repository.runs.run import Run
from holdfast.storage.memory import MemoryStorage
from holdfast.storage.memory_locks import MemoryLocks
from holdfast.storage.object_lock import Locking, LockMode, LockPolicy
from repositories import make_repository

PERIOD = timedelta(days=30)
POLICY = LockPolicy(mode=LockMode.GOVERNANCE, period=PERIOD, prefixes=layout.LOCKED)


@dataclass
class Bench:
    """A repository whose storage locks by a clock of its own; `extended` are the names that were extended."""

    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    extended: list[str] = field(default_factory=list)
    objects: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        bench = self

        class Watched(MemoryLocks):
            def extend(self, name: str, *, until: datetime) -> None:
                super().extend(name, until=until)
                bench.extended.append(name)

        self.memory = MemoryStorage()
        self.locks = Watched(self.memory, POLICY, clock=lambda: self.now)
        self.repository: Repository = make_repository(Locking(self.memory, self.locks))

    def take(
        self,
        *,
        reuse: list[str],
        base: SnapshotId | None,
        adopted: tuple[SnapshotId, ...] = (),
        lasting: timedelta = timedelta(0),
        call: bool = True,
    ) -> Committed:
        """A run that writes one object at its begin, takes its time, and reuses others."""
        self.extended.clear()
        with snapshots.begin(self.repository) as run:
            own = layout.new_data_object(run.snapshot)
            self.repository.storage.create(own, b"rows")
            self.now += lasting
            self.objects = [*reuse, own]
            if call:
                run.keep_locked(self.objects, base=base, adopted=adopted)
            summary = snapshots.commit(run, {})
        outcome = self.repository.outcomes.read(summary.snapshot)
        assert isinstance(outcome, Committed)
        return outcome

    def must_be_locked(self, outcome: Committed) -> None:
        """All that the snapshot needs, for a period from now and as long as it claims."""
        names = [*self.objects, summary_root(outcome), layout.outcome(outcome.snapshot), layout.CONFIG]
        names += [info.name for info in self.memory.list(layout.KEYS)]
        for name in names:
            until = self.locks.locked_until(name)
            assert until is not None, name
            assert until >= self.now + PERIOD, name
            assert outcome.locked_until is not None
            assert until >= outcome.locked_until, name


def summary_root(outcome: Committed) -> str:
    return outcome.summary.root.object_name


def test_young_objects_are_reused_without_a_request() -> None:
    """Every five minutes, nothing is extended: the base's one date says enough."""
    bench = Bench()
    before = bench.take(reuse=[], base=None)
    for _ in range(20):
        bench.now += timedelta(minutes=5)
        after = bench.take(reuse=bench.objects, base=before.snapshot)
        assert bench.extended == []
        bench.must_be_locked(after)
        before = after


def test_old_objects_are_extended_together_with_config_and_keys() -> None:
    """When less than a period is left of the oldest, everything reused is extended, once."""
    bench = Bench()
    first = bench.take(reuse=[], base=None)
    bench.now += PERIOD / 2 + timedelta(seconds=1)
    reused = list(bench.objects)
    second = bench.take(reuse=reused, base=first.snapshot)
    keys = [info.name for info in bench.memory.list(layout.KEYS)]
    assert sorted(bench.extended) == sorted([*reused, layout.CONFIG, *keys])
    bench.must_be_locked(second)
    bench.now += timedelta(minutes=5)
    bench.must_be_locked(bench.take(reuse=bench.objects, base=second.snapshot))
    assert bench.extended == []


def test_a_full_reading_keeps_config_and_keys_locked() -> None:
    """It reuses nothing, and still needs these to be opened one day."""
    bench = Bench()
    bench.take(reuse=[], base=None)
    bench.now += PERIOD * 2
    bench.must_be_locked(bench.take(reuse=[], base=None))


def test_a_base_whose_locks_nobody_knows_is_extended() -> None:
    """Taken before there were locks, or by a run that did not say: everything reused is extended."""
    bench = Bench()
    silent = bench.take(reuse=[], base=None, call=False)
    assert silent.locked_until is None
    reused = list(bench.objects)
    after = bench.take(reuse=reused, base=silent.snapshot)
    assert set(reused) < set(bench.extended)
    bench.must_be_locked(after)


def test_what_is_adopted_from_a_crashed_run_is_extended() -> None:
    """It never belonged to the base, so the base's date says nothing of it."""
    bench = Bench()
    crashed = make_snapshot_id(datetime.now(UTC), os.urandom(10))
    left = layout.new_data_object(crashed)
    bench.repository.storage.create(left, b"left")
    bench.now += PERIOD
    base = bench.take(reuse=[], base=None)
    after = bench.take(reuse=[*bench.objects, left], base=base.snapshot, adopted=(crashed,))
    assert bench.extended == [left]
    bench.must_be_locked(after)


def test_a_long_run_claims_no_more_than_its_first_object_has() -> None:
    """What it wrote at its begin ends its lock earlier than what it extends at its end."""
    bench = Bench()
    bench.must_be_locked(bench.take(reuse=[], base=None, lasting=timedelta(days=2)))


def test_a_reused_object_that_is_gone_stops_the_commit() -> None:
    """A snapshot without one of its objects must not exist."""
    bench = Bench()
    lost = layout.new_data_object(make_snapshot_id(datetime.now(UTC), os.urandom(10)))
    with pytest.raises(DamagedError, match=f"object {lost} is missing"):
        bench.take(reuse=[lost], base=None)
    assert list(bench.repository.outcomes.names()) == []


def test_our_own_clock_has_no_say() -> None:
    """A run on a host that lives in the year 2031 locks for a period, not for five years."""
    bench = Bench()
    snapshot = make_snapshot_id(datetime.now(UTC), os.urandom(10))
    run = Run.begin(
        bench.repository,
        snapshot=snapshot,
        source="shop",
        predecessors=find_predecessors(bench.repository, "shop", now=datetime.now(UTC)),
        level=1,
        clock=lambda: datetime(2031, 1, 1, tzinfo=UTC),
    )
    with run:
        run.keep_locked([], base=None)
        snapshots.commit(run, {"t": [b"1\n"]})
    outcome = bench.repository.outcomes.read(snapshot)
    assert isinstance(outcome, Committed)
    assert outcome.locked_until == bench.now + POLICY.longest
    assert bench.locks.locked_until(layout.outcome(snapshot)) == bench.now + POLICY.longest


def test_without_locks_nothing_is_asked_or_claimed() -> None:
    """A repository in a folder is written as ever."""
    repository = make_repository(MemoryStorage())
    with snapshots.begin(repository) as run:
        run.keep_locked(["data/none/of/this"], base=None)
        summary = snapshots.commit(run, {})
    outcome = repository.outcomes.read(summary.snapshot)
    assert isinstance(outcome, Committed)
    assert outcome.locked_until is None


def test_a_storage_that_keeps_no_locks_stops_the_run_before_it_writes() -> None:
    """The record that announces a run would otherwise be left behind."""
    bench = Bench()

    class Without(MemoryLocks):
        def now(self) -> datetime:
            raise StorageUnusableError("no locks here")

    bench.repository.storage = Locking(bench.memory, Without(bench.memory, POLICY, clock=lambda: bench.now))
    with pytest.raises(StorageUnusableError, match="no locks here"):
        snapshots.begin(bench.repository)
    assert list(bench.memory.list(layout.WRITERS)) == []


def test_nothing_of_a_locked_snapshot_can_be_deleted() -> None:
    """The promise, tried on every object but the writer's record and the pointers to the newest."""
    bench = Bench()
    bench.take(reuse=[], base=None)
    bench.now += PERIOD
    for info in list(bench.memory.list("")):
        if info.name.startswith(layout.LOCKED):
            with pytest.raises(LockedObjectError):
                bench.repository.storage.delete(info.name)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_at_every_commit_everything_is_locked_for_a_period(data: st.DataObject) -> None:
    """Whatever is reused, however long runs and pauses are, and whether or not a run read in full."""
    bench = Bench()
    last: Committed | None = None
    known: list[str] = []
    for _ in range(data.draw(st.integers(1, 8))):
        bench.now += timedelta(hours=data.draw(st.integers(0, 40 * 24)))
        full = last is None or data.draw(st.booleans())
        reuse = [] if full else data.draw(st.lists(st.sampled_from(known), unique=True))
        lasting = timedelta(hours=data.draw(st.integers(0, 24)))
        last = bench.take(reuse=reuse, base=None if full or last is None else last.snapshot, lasting=lasting)
        known = bench.objects
        bench.must_be_locked(last)
