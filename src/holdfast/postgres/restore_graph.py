"""One restore's rows, indexes and foreign keys as tasks: what waits for what, what may not run beside what.

Small tables share tasks, so that ten thousand of them cost hundreds of round trips instead of tens of thousands.
Vital tables come first; of what is equally vital, the longest chains.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from holdfast.domain.tables import QualifiedName, Tier
from holdfast.postgres.archive import Archive, Entry
from holdfast.postgres.building import Builder, constraint_steps, foreign_key_steps, weight
from holdfast.postgres.loading import FREEZE_FROM_BYTES, Loader, SplitLoad, Worker
from holdfast.postgres.rebuild_plan import RebuildPlan, TableLoad
from holdfast.postgres.selection import Phases
from holdfast.postgres.table_index import Key, TableIndex
from holdfast.postgres.tasks import Task

BATCH_TABLES = 100
BATCH_ENTRIES = 150
BATCH_BYTES = 8 * 1024 * 1024
SPLIT_FROM_BYTES = 64 * 1024 * 1024
TWO_STEPS_FROM_BYTES = 32 * 1024 * 1024
BYTES_PER_SECOND = 45e6
# A table whose rows and longest build take longer than everything divided by the workers is loaded by several of
# them, at the price that its rows do not come frozen.
LONG_SHARE = 1.0
FOREIGN_KEYS_RANK = len(Tier)


@dataclass(slots=True)
class RestoreGraph:
    """Builds the tasks. `splits` are the split loads, to be closed when all is over."""

    plan: RebuildPlan
    archive: Archive
    loader: Loader
    builder: Builder
    extension_order: Sequence[QualifiedName] = ()
    tasks: list[Task[Worker]] = field(default_factory=list)
    splits: list[SplitLoad] = field(default_factory=list)
    tiers: dict[Key, Tier] = field(default_factory=dict)
    _loads: dict[QualifiedName, frozenset[Key]] = field(default_factory=dict)
    _entry_task: dict[int, Key] = field(default_factory=dict)

    def add_all(self, phases: Phases) -> None:
        index = TableIndex.of(self.archive, self.plan.tables)
        self._add_loads(index, phases)
        self._add_builds(index, [entry for entry in phases.builds if entry.id not in self._entry_task])
        self._add_foreign_keys(index, phases.foreign_keys)

    # Rows

    def _add_loads(self, index: TableIndex, phases: Phases) -> None:
        shares = _Shares.of(index, phases.builds, self.plan)
        via_root: dict[QualifiedName, list[TableLoad]] = {}
        extension: dict[QualifiedName, TableLoad] = {}
        small: dict[Tier, list[TableLoad]] = {}
        for table in self.plan.tables:
            if table.extension is not None:
                extension[table.name] = table
            elif table.load_via is not None:
                via_root.setdefault(table.load_via, []).append(table)
            elif table.plain_bytes < FREEZE_FROM_BYTES:
                small.setdefault(table.tier, []).append(table)
            else:
                self._add_big(index, table, shares)
        for root, tables in via_root.items():
            self._add_through(index, root, tables)
        if extension:
            self._add_extensions(extension)
        own = index.own_builds(phases.builds)
        for tier in sorted(small, key=lambda tier: tier.rank):
            for batch in _batches(small[tier], own):
                self._add_batch(index, tier, batch, own)

    def _add_big(self, index: TableIndex, table: TableLoad, shares: _Shares) -> None:
        locks = index.locks(table.name)
        streams = self._streams(table, shares)
        cost = table.plain_bytes / BYTES_PER_SECOND
        if streams < 2:
            key: Key = ("load", table.name)
            run = partial(_load, self.loader, [table])
            self._add(Task(key=key, run=run, cost=cost, exclusive=locks.own, shared=locks.family), table.tier)
            self._loads[table.name] = frozenset({key})
            return
        split = self.loader.split(table, streams)
        self.splits.append(split)
        keys: list[Key] = []
        for number in range(len(split.parts)):
            keys.append(("load", table.name, number))
            self._add(
                Task(
                    key=keys[-1],
                    run=partial(_load_part, split, number),
                    cost=cost / streams,
                    shared=locks.own | locks.family,
                ),
                table.tier,
            )
        self._loads[table.name] = frozenset(keys)

    def _streams(self, table: TableLoad, shares: _Shares) -> int:
        """More than one only for a table that would still be at it when all else is done."""
        if self.plan.keep_order or table.plain_bytes < SPLIT_FROM_BYTES or not shares.is_long(table):
            return 1
        return min(self.plan.jobs, len(table.parts))

    def _add_through(self, index: TableIndex, root: QualifiedName, tables: Sequence[TableLoad]) -> None:
        key: Key = ("load", root)
        tier = min((table.tier for table in tables), key=lambda tier: tier.rank)
        locks = index.locks(root)
        task = Task(
            key=key,
            run=partial(_load_through, self.loader, root, tables),
            cost=sum(table.plain_bytes for table in tables) / BYTES_PER_SECOND,
            exclusive=locks.own | locks.family,
        )
        self._add(task, tier)
        for member in {*index.members(root), *(table.name for table in tables)}:
            self._loads[member] = frozenset({key})

    def _add_extensions(self, tables: Mapping[QualifiedName, TableLoad]) -> None:
        ordered = [tables[name] for name in self.extension_order if name in tables]
        ordered += [table for name, table in tables.items() if name not in self.extension_order]
        tier = min((table.tier for table in ordered), key=lambda tier: tier.rank)
        key: Key = ("load", "extensions")
        cost = sum(table.plain_bytes for table in ordered) / BYTES_PER_SECOND
        self._add(Task(key=key, run=partial(_load_extensions, self.loader, ordered), cost=cost), tier)
        for table in ordered:
            self._loads[table.name] = frozenset({key})

    def _add_batch(
        self,
        index: TableIndex,
        tier: Tier,
        batch: Sequence[TableLoad],
        own: Mapping[QualifiedName, Sequence[Entry]],
    ) -> None:
        key: Key = ("load", "batch", batch[0].name)
        entries = [entry for table in batch for entry in own.get(table.name, ())]
        locks = [index.locks(table.name) for table in batch]
        task = Task(
            key=key,
            run=partial(_load_batch, self.loader, self.builder, batch, entries),
            cost=0.02 * len(batch) + 0.005 * len(entries),
            exclusive=frozenset().union(*(lock.own for lock in locks)),
            shared=frozenset().union(*(lock.family for lock in locks)),
        )
        self._add(task, tier)
        for table in batch:
            self._loads[table.name] = frozenset({key})
        for entry in entries:
            self._entry_task[entry.id] = key

    # Indexes and constraints

    def _add_builds(self, index: TableIndex, entries: Sequence[Entry]) -> None:
        for entry in entries:
            tables = index.tables_of(entry)
            bytes_ = max((index.size(name) for name in tables), default=0)
            steps = constraint_steps(entry) if bytes_ >= TWO_STEPS_FROM_BYTES else None
            if steps is None or not all(name in index.loads for name in tables):
                self._add_build(index, entry, ("build", entry.id), bytes_)
                continue
            create = replace(entry, definition=steps[0], kind="INDEX")
            self._add_build(index, create, ("create", entry.id), bytes_)
            adopt = replace(entry, definition=steps[1])
            self._add_build(index, adopt, ("build", entry.id), 0)

    def _add_build(self, index: TableIndex, entry: Entry, key: Key, bytes_: int) -> None:
        tables = index.tables_of(entry)
        exclusive, shared = index.build_locks(entry)
        task = Task(
            key=key,
            run=partial(_build, self.builder, [entry]),
            cost=weight(entry) * bytes_ / BYTES_PER_SECOND,
            # A parent's statement may lock its partitions, and a split load keeps its locks until it is whole.
            after=self._needs(entry, index.with_members(tables)),
            exclusive=exclusive,
            shared=shared - exclusive,
        )
        tier = min((index.tier(name) for name in tables), key=lambda tier: tier.rank, default=Tier.NORMAL)
        self._add(task, tier)
        self._entry_task[entry.id] = key

    def _needs(self, entry: Entry, tables: Iterable[QualifiedName]) -> frozenset[Key]:
        needs = {
            self._entry_task[other] for other in (entry.id, *entry.dependencies) if other in self._entry_task
        }
        for name in tables:
            needs |= self._loads.get(name, frozenset())
        return frozenset(needs)

    # Foreign keys

    def _add_foreign_keys(self, index: TableIndex, entries: Sequence[Entry]) -> None:
        small: list[Entry] = []
        for entry in entries:
            tables = index.tables_of(entry)
            steps = foreign_key_steps(entry)
            bytes_ = max((index.size(name) for name in tables), default=0)
            if bytes_ < TWO_STEPS_FROM_BYTES:
                small.append(entry)
            else:
                self._add_big_key(index, entry, steps, bytes_ / BYTES_PER_SECOND)
        for start in range(0, len(small), BATCH_TABLES):
            batch = small[start : start + BATCH_TABLES]
            tables = {name for entry in batch for name in index.tables_of(entry)}
            self._add_key(index, ("keys", start), batch, tables, cost=0.01 * len(batch))

    def _add_big_key(
        self, index: TableIndex, entry: Entry, steps: tuple[str, str] | None, cost: float
    ) -> None:
        tables = index.tables_of(entry)
        if steps is None:
            self._add_key(index, ("keys", entry.id), [entry], tables, cost=cost)
            return
        added = replace(entry, definition=steps[0])
        self._add_key(index, ("keys", entry.id), [added], tables, cost=0.0)
        own = index.subject_locks(entry)
        others = frozenset[Key]().union(*(index.locks(name).all for name in tables)) - own
        task = Task(
            key=("validate", entry.id),
            run=partial(_build, self.builder, [replace(entry, definition=steps[1])]),
            rank=FOREIGN_KEYS_RANK,
            cost=cost,
            after=frozenset({("keys", entry.id)}),
            exclusive=own,
            shared=others,
        )
        self.tasks.append(task)

    def _add_key(
        self,
        index: TableIndex,
        key: Key,
        entries: Sequence[Entry],
        tables: Collection[QualifiedName],
        *,
        cost: float,
    ) -> None:
        needs = frozenset[Key]().union(
            *(self._needs(entry, index.with_members(index.tables_of(entry))) for entry in entries)
        )
        self.tasks.append(
            Task(
                key=key,
                run=partial(_build, self.builder, entries),
                rank=FOREIGN_KEYS_RANK,
                cost=cost,
                after=needs,
                exclusive=frozenset[Key]().union(*(index.locks(name).all for name in tables)),
            )
        )

    def _add(self, task: Task[Worker], tier: Tier) -> None:
        self.tiers[task.key] = tier
        self.tasks.append(replace(task, rank=tier.rank))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shares:
    """What each table takes from its first row to its longest build, against what all take together."""

    seconds: Mapping[QualifiedName, float]
    each: float

    @classmethod
    def of(cls, index: TableIndex, builds: Iterable[Entry], plan: RebuildPlan) -> _Shares:
        loading = {table.name: table.plain_bytes / BYTES_PER_SECOND for table in plan.tables}
        longest: dict[QualifiedName, float] = {}
        total = sum(loading.values())
        for entry in builds:
            for name in index.tables_of(entry):
                seconds = weight(entry) * loading.get(name, 0.0)
                longest[name] = max(seconds, longest.get(name, 0.0))
                total += seconds
        return cls(
            seconds={name: seconds + longest.get(name, 0.0) for name, seconds in loading.items()},
            each=total / max(plan.jobs, 1),
        )

    def is_long(self, table: TableLoad) -> bool:
        return self.seconds[table.name] > LONG_SHARE * self.each


def _batches(
    tables: Sequence[TableLoad], own: Mapping[QualifiedName, Sequence[Entry]]
) -> Iterator[list[TableLoad]]:
    batch: list[TableLoad] = []
    totals: Counter[str] = Counter()
    for table in sorted(tables, key=lambda table: -table.plain_bytes):
        entries = len(own.get(table.name, ()))
        if batch and (
            len(batch) >= BATCH_TABLES
            or totals["entries"] + entries > BATCH_ENTRIES
            or totals["bytes"] + table.plain_bytes > BATCH_BYTES
        ):
            yield batch
            batch, totals = [], Counter()
        batch.append(table)
        totals.update(entries=entries, bytes=table.plain_bytes)
    if batch:
        yield batch


def _load(loader: Loader, tables: Sequence[TableLoad], worker: Worker) -> None:
    loader.load(worker, tables)


def _load_part(split: SplitLoad, number: int, worker: Worker) -> None:
    split.run(worker, number)


def _load_through(loader: Loader, root: QualifiedName, tables: Sequence[TableLoad], worker: Worker) -> None:
    loader.load_through(worker, root, tables)


def _load_extensions(loader: Loader, tables: Sequence[TableLoad], worker: Worker) -> None:
    loader.load_extensions(worker, tables)


def _load_batch(
    loader: Loader,
    builder: Builder,
    tables: Sequence[TableLoad],
    entries: Sequence[Entry],
    worker: Worker,
) -> None:
    loader.load(worker, tables)
    if entries:
        builder.build(worker, entries)


def _build(builder: Builder, entries: Sequence[Entry], worker: Worker) -> None:
    builder.build(worker, entries)
