"""One restore's rows, indexes and foreign keys as tasks: what waits for what, what may not run beside what.

Small tables share tasks, so that ten thousand of them cost hundreds of round trips instead of tens of thousands.
Vital tables come first; of what is equally vital, the longest chains.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from holdfast.domain.tables import QualifiedName, Tier
from holdfast.postgres.archive import Archive, Entry
from holdfast.postgres.building import Builder, constraint_steps, foreign_key_steps, weight
from holdfast.postgres.loading import FREEZE_FROM_BYTES, Loader, SplitLoad, Worker
from holdfast.postgres.rebuild_plan import RebuildPlan, TableLoad
from holdfast.postgres.selection import Phases, families, name_of
from holdfast.postgres.tasks import Task

BATCH_TABLES = 100
BATCH_ENTRIES = 200
BATCH_BYTES = 8 * 1024 * 1024
SPLIT_FROM_BYTES = 64 * 1024 * 1024
TWO_STEPS_FROM_BYTES = 32 * 1024 * 1024
BYTES_PER_SECOND = 45e6
# A table whose rows and longest build take longer than everything divided by the workers is loaded by several of
# them, at the price that its rows do not come frozen.
LONG_SHARE = 1.0
FOREIGN_KEYS_RANK = len(Tier)

Key = Hashable


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
        index = _Index.of(self.archive, self.plan.tables)
        self._add_loads(index, phases)
        self._add_builds(index, [entry for entry in phases.builds if entry.id not in self._entry_task])
        self._add_foreign_keys(index, phases.foreign_keys)

    # Rows

    def _add_loads(self, index: _Index, phases: Phases) -> None:
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

    def _add_big(self, index: _Index, table: TableLoad, shares: _Shares) -> None:
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

    def _add_through(self, index: _Index, root: QualifiedName, tables: Sequence[TableLoad]) -> None:
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
        index: _Index,
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

    def _add_builds(self, index: _Index, entries: Sequence[Entry]) -> None:
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

    def _add_build(self, index: _Index, entry: Entry, key: Key, bytes_: int) -> None:
        tables = index.tables_of(entry)
        exclusive, shared = index.build_locks(entry)
        task = Task(
            key=key,
            run=partial(_build, self.builder, [entry]),
            cost=weight(entry) * bytes_ / BYTES_PER_SECOND,
            after=self._needs(entry, tables),
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

    def _add_foreign_keys(self, index: _Index, entries: Sequence[Entry]) -> None:
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

    def _add_big_key(self, index: _Index, entry: Entry, steps: tuple[str, str] | None, cost: float) -> None:
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
        index: _Index,
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
    def of(cls, index: _Index, builds: Iterable[Entry], plan: RebuildPlan) -> _Shares:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Locks:
    own: frozenset[Key]
    family: frozenset[Key]

    @property
    def all(self) -> frozenset[Key]:
        return self.own | self.family


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    """The archive's tables by name, by entry and by partitioned root."""

    archive: Archive
    tops: Mapping[int, int]
    parents: frozenset[int]
    loads: Mapping[QualifiedName, TableLoad]
    by_name: Mapping[QualifiedName, int]
    below: Mapping[int, Sequence[QualifiedName]]

    @classmethod
    def of(cls, archive: Archive, tables: Iterable[TableLoad]) -> _Index:
        tops = families(archive)
        inner = {
            other
            for entry in archive.entries
            if entry.kind == "TABLE ATTACH"
            for other in entry.dependencies
            if (needed := archive.by_id.get(other)) is not None
            and (needed.schema, needed.tag) != (entry.schema, entry.tag)
        }
        below: dict[int, list[QualifiedName]] = {}
        for member, top in tops.items():
            below.setdefault(top, []).append(name_of(archive.by_id[member]))
        return cls(
            archive=archive,
            below=below,
            tops=tops,
            parents=frozenset(inner),
            loads={table.name: table for table in tables},
            by_name={name_of(entry): entry.id for entry in archive.entries if entry.kind == "TABLE"},
        )

    def size(self, name: QualifiedName) -> int:
        table = self.loads.get(name)
        if table is not None:
            return table.plain_bytes
        return sum(self.loads[member].plain_bytes for member in self.members(name) if member in self.loads)

    def tier(self, name: QualifiedName) -> Tier:
        found = [self.loads[member].tier for member in [name, *self.members(name)] if member in self.loads]
        return min(found, key=lambda tier: tier.rank, default=Tier.NORMAL)

    def members(self, root: QualifiedName) -> Sequence[QualifiedName]:
        """Everything below this topmost table, if it is one."""
        return self.below.get(self.by_name.get(root, 0), ())

    def with_members(self, names: Iterable[QualifiedName]) -> set[QualifiedName]:
        return {member for name in names for member in (name, *self.members(name))}

    def tables_of(self, entry: Entry) -> set[QualifiedName]:
        """The tables that an index or a constraint is of; through its indexes, for INDEX ATTACH."""
        found: set[QualifiedName] = set()
        for identifier in entry.dependencies:
            needed = self.archive.by_id.get(identifier)
            if needed is None:
                continue
            if needed.kind in {"TABLE", "MATERIALIZED VIEW", "FOREIGN TABLE"}:
                found.add(name_of(needed))
            elif entry.kind == "INDEX ATTACH" and needed.kind in {"INDEX", "CONSTRAINT"}:
                found |= self.tables_of(needed)
        return found

    def locks(self, name: QualifiedName) -> _Locks:
        identifier = self.by_name.get(name)
        family: frozenset[Key] = frozenset()
        if identifier is not None and (identifier in self.tops or identifier in self.parents):
            family = frozenset({("family", self.tops.get(identifier, identifier))})
        return _Locks(own=frozenset({("table", name)}), family=family)

    def build_locks(self, entry: Entry) -> tuple[frozenset[Key], frozenset[Key]]:
        """CREATE INDEX shares its table with others of its kind; a constraint has it alone, and a parent's
        constraint all of its family, whose tables the server locks too."""
        names = self.tables_of(entry)
        own = frozenset[Key]().union(*(self.locks(name).own for name in names))
        family = frozenset[Key]().union(*(self.locks(name).family for name in names))
        if entry.kind == "INDEX":
            return frozenset(), own | family
        if entry.kind == "INDEX ATTACH":
            return frozenset(("attach", key) for key in family), own | family
        if any(self.by_name.get(name) in self.parents for name in names):
            return own | family, frozenset()
        return own, family

    def subject_locks(self, entry: Entry) -> frozenset[Key]:
        """The locks of the table that a foreign key is on: its tag begins with that table's name."""
        for name in self.tables_of(entry):
            if name.schema == entry.schema and entry.tag.startswith(f"{name.name} "):
                return self.locks(name).own
        return frozenset[Key]().union(*(self.locks(name).own for name in self.tables_of(entry)))

    def own_builds(self, builds: Sequence[Entry]) -> dict[QualifiedName, list[Entry]]:
        """For each table outside of families: the builds that wait for nothing but that table."""
        found: dict[QualifiedName, list[Entry]] = {}
        settled: set[int] = set()
        known = {entry.id for entry in builds}
        for entry in builds:
            names = self.tables_of(entry)
            if entry.kind == "INDEX ATTACH" or len(names) != 1:
                continue
            (name,) = names
            if name not in self.loads or self.by_name.get(name) in self.parents:
                continue
            if all(other in settled for other in entry.dependencies if other in known):
                found.setdefault(name, []).append(entry)
                settled.add(entry.id)
        return found


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
