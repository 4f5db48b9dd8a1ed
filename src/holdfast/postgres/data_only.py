"""Rows into tables that are there already: all checked before the first row, no trigger fired, no key broken.

Invariant: the tables are empty and have the snapshot's columns before anything is loaded, and every valid foreign
key of theirs holds afterwards: checked by the server row by row, or by one query per key at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import psycopg

from holdfast.domain.errors import RefusedError, RestoreFailedError
from holdfast.domain.tables import QualifiedName, SequenceValue
from holdfast.postgres.connection import Connection
from holdfast.postgres.loading import Loader, Worker
from holdfast.postgres.names import qualified
from holdfast.postgres.queries import query
from holdfast.postgres.rebuild_plan import RebuildPlan, TableLoad
from holdfast.postgres.tasks import Task

_ORDINARY = "r"
_EMPTY_CHECKED_TOGETHER = 100
_REPLICA = "SET session_replication_role = replica"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    oid: int
    relkind: str
    columns: frozenset[str]
    stubborn_triggers: tuple[str, ...]
    triggers: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class DataOnly:
    """One loading of rows only. `check` comes first and refuses what cannot be done safely."""

    plan: RebuildPlan
    loader: Loader
    _found: dict[QualifiedName, _Found] = field(default_factory=dict)
    _after: dict[QualifiedName, frozenset[QualifiedName]] = field(default_factory=dict)
    _as_replica: bool = False

    def check(self, connection: Connection) -> None:
        """Raise `RefusedError` unless every table is there, empty, with the snapshot's columns, and can be loaded
        without firing triggers; unless every sequence is there and no large object is."""
        names = [table.name for table in self.plan.tables]
        roots = {table.load_via for table in self.plan.tables if table.load_via is not None}
        self._found = _look_up(connection, [*names, *roots])
        for table in self.plan.tables:
            self._check_table(table)
        self._check_empty(connection)
        self._check_others(connection)
        self._as_replica = _may_be_replica(connection)
        if self._as_replica:
            self._refuse_triggers(
                {name: found.stubborn_triggers for name, found in self._found.items()},
                "fire even on replicas",
                "disable them while rows are restored",
            )
        else:
            self._refuse_triggers(
                {name: found.triggers for name, found in self._found.items()},
                "would fire",
                "connect as a superuser, or disable them while rows are restored",
            )
            self._order(connection)

    def tasks(self) -> list[Task[Worker]]:
        """One task per table, or per partitioned root through which tables are loaded, and one for extensions."""
        groups: dict[QualifiedName, list[TableLoad]] = {}
        extensions: list[TableLoad] = []
        for table in self.plan.tables:
            if table.extension is not None:
                extensions.append(table)
            else:
                groups.setdefault(table.load_via or table.name, []).append(table)
        member_of = {table.name: root for root, tables in groups.items() for table in tables}
        tasks: list[Task[Worker]] = []
        for root, tables in groups.items():
            after = {
                member_of[other]
                for table in tables
                for other in self._after.get(table.name, ())
                if other in member_of
            } - {root}
            tasks.append(
                Task(
                    key=root,
                    run=partial(self._load, root, tables),
                    rank=min(table.tier.rank for table in tables),
                    cost=float(sum(table.plain_bytes for table in tables)),
                    after=frozenset(after),
                )
            )
        if extensions:
            tasks.append(Task(key="extensions", run=partial(self._load_extensions, extensions)))
        return tasks

    def sequences(self, connection: Connection) -> Sequence[SequenceValue]:
        """All of the snapshot's, or those that belong to the chosen tables."""
        if self.plan.only_tables is None:
            return self.plan.sequences
        oids = [found.oid for found in self._found.values()]
        text = query("target_owned_sequences", connection.info.server_version)
        owned = {
            QualifiedName(schema=schema, name=name)
            for schema, name in connection.execute(text.encode(), (oids,))
        }
        return [item for item in self.plan.sequences if item.name in owned]

    def check_foreign_keys(self, worker: Worker) -> None:
        """Rows came in without the server looking: see that every key of the loaded tables holds."""
        if not self._as_replica:
            return
        connection = worker.connection
        oids = [found.oid for found in self._found.values()]
        text = query("target_foreign_keys", connection.info.server_version)
        for table, name, check in connection.execute(text.encode(), (oids,)).fetchall():
            broken = connection.execute(check.encode(connection.info.encoding)).fetchone()
            if broken is None or broken[0]:
                raise RestoreFailedError(
                    f"rows of {table} break its foreign key {name}",
                    hint="restore the tables that it refers to as well",
                )

    def _load(self, root: QualifiedName, tables: Sequence[TableLoad], worker: Worker) -> None:
        self._prepare(worker)
        if tables[0].load_via is not None:
            self.loader.load_through(worker, root, tables)
        else:
            self.loader.load(worker, tables)

    def _load_extensions(self, tables: Sequence[TableLoad], worker: Worker) -> None:
        self._prepare(worker)
        order = in_order(worker.connection, [table.name for table in tables])
        by_name = {table.name: table for table in tables}
        self.loader.load_extensions(worker, [by_name[name] for name in order])

    def _prepare(self, worker: Worker) -> None:
        if self._as_replica:
            worker.run(_REPLICA, doing="preparing to load rows")

    def _check_table(self, table: TableLoad) -> None:
        found = self._found.get(table.name)
        if found is None or found.relkind != _ORDINARY:
            raise RefusedError(
                f"the target has no table {table.name} to load rows into",
                hint="leave out --data-only to restore the definitions too",
            )
        lacking = [column for column in table.columns if column not in found.columns]
        if lacking:
            raise RefusedError(
                f"table {table.name} on the target lacks column {', '.join(lacking)} of the snapshot",
                hint="bring its definition to what it was when the snapshot was taken",
            )

    def _check_empty(self, connection: Connection) -> None:
        tables = [table for table in self.plan.tables if table.extension is None]
        for start in range(0, len(tables), _EMPTY_CHECKED_TOGETHER):
            batch = tables[start : start + _EMPTY_CHECKED_TOGETHER]
            tests = ", ".join(f"EXISTS (SELECT FROM ONLY {qualified(table.name)})" for table in batch)
            row = connection.execute(f"SELECT {tests}".encode(connection.info.encoding)).fetchone() or ()
            for table, filled in zip(batch, row, strict=True):
                if filled:
                    raise RefusedError(
                        f"table {table.name} on the target is not empty",
                        hint="empty it, or choose other tables; nothing was changed",
                    )

    def _check_others(self, connection: Connection) -> None:
        names = [qualified(item.name) for item in self.sequences(connection)]
        row = connection.execute(
            "SELECT name FROM pg_catalog.unnest(%s::text[]) AS name WHERE pg_catalog.to_regclass(name) IS NULL",
            (names,),
        ).fetchone()
        if row is not None:
            raise RefusedError(
                f"the target has no sequence {row[0]}",
                hint="leave out --data-only to restore the definitions too",
            )
        if self.plan.large_objects:
            row = connection.execute("SELECT oid FROM pg_catalog.pg_largeobject_metadata LIMIT 1").fetchone()
            if row is not None:
                raise RefusedError(
                    f"the target has large objects already, {row[0]} among them",
                    hint="remove them, or choose tables to restore",
                )

    def _refuse_triggers(
        self, triggers: Mapping[QualifiedName, tuple[str, ...]], what: str, hint: str
    ) -> None:
        named = [f"{trigger} of {name}" for name, found in triggers.items() for trigger in found]
        if named:
            raise RefusedError(f"triggers on the target {what}: {', '.join(named[:5])}", hint=hint)

    def _order(self, connection: Connection) -> None:
        """The server checks each row's keys as it comes: referenced tables have to be loaded first."""
        names = [table.name for table in self.plan.tables]
        edges = _references(connection, {name: self._found[name].oid for name in names})
        if _sorted(names, edges) is None:
            raise RefusedError(
                "foreign keys on the target go round in a circle, so no order of loading satisfies them",
                hint="connect as a superuser, or drop the keys while rows are restored",
            )
        self._after = edges


def in_order(connection: Connection, names: Sequence[QualifiedName]) -> list[QualifiedName]:
    """Tables that others refer to first; as given where keys go round in a circle."""
    found = _look_up(connection, names)
    edges = _references(connection, {name: item.oid for name, item in found.items()})
    return _sorted(names, edges) or list(names)


def _look_up(connection: Connection, names: Iterable[QualifiedName]) -> dict[QualifiedName, _Found]:
    names = list(names)
    text = query("target_tables", connection.info.server_version)
    rows = connection.execute(text.encode(), ([name.schema for name in names], [name.name for name in names]))
    return {
        QualifiedName(schema=schema, name=name): _Found(
            oid=oid,
            relkind=relkind,
            columns=frozenset(columns),
            stubborn_triggers=tuple(stubborn),
            triggers=tuple(triggers),
        )
        for schema, name, relkind, oid, columns, stubborn, triggers in rows
        if oid is not None
    }


def _references(
    connection: Connection, oids: Mapping[QualifiedName, int]
) -> dict[QualifiedName, frozenset[QualifiedName]]:
    names = {oid: name for name, oid in oids.items()}
    listed = list(names)
    text = query("target_references", connection.info.server_version)
    found: dict[QualifiedName, set[QualifiedName]] = {}
    for referring, referred in connection.execute(text.encode(), (listed, listed)):
        found.setdefault(names[referring], set()).add(names[referred])
    return {name: frozenset(others) for name, others in found.items()}


def _sorted(
    names: Sequence[QualifiedName], edges: Mapping[QualifiedName, frozenset[QualifiedName]]
) -> list[QualifiedName] | None:
    """Each name after those that it refers to; None if that cannot be."""
    left, done = list(names), list[QualifiedName]()
    settled: set[QualifiedName] = set()
    while left:
        ready = [name for name in left if edges.get(name, frozenset()) <= settled]
        if not ready:
            return None
        done += ready
        settled |= set(ready)
        left = [name for name in left if name not in settled]
    return done


def _may_be_replica(connection: Connection) -> bool:
    """Whether this role may load as replication does: without firing triggers, foreign keys' included."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("SET LOCAL session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True
