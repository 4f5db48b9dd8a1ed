"""What a database holds, and what this role may read of it.

Every topic is one query for the whole database, never one per table: ten thousand tables take about a second.
Invariant: nothing here waits for a lock, but for what `describe_tables` asks about tables that are locked already.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar

from psycopg.rows import class_row

from holdfast.domain.tables import Column, QualifiedName, SequenceValue, Table
from holdfast.postgres.connection import Connection
from holdfast.postgres.fingerprints import ColumnFacts, TypeFacts, Types
from holdfast.postgres.names import qualified
from holdfast.postgres.partitions import Partition, load_roots
from holdfast.postgres.queries import query

Row = TypeVar("Row")

SEQUENCES_PER_STATEMENT = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The server, and the role that asks."""

    server_version: int
    server_version_text: str
    on_standby: bool
    role: str
    superuser: bool
    bypass_rls: bool
    block_size: int
    reads_large_objects: bool
    compatible_large_objects: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table (r), partitioned table (p), sequence (S), materialized view (m) or foreign table (f).

    `extension` is set for members of extensions; only configuration relations of these are listed. `filtered`:
    row-level security would hide rows from this role.
    """

    oid: int
    schema: str
    name: str
    kind: str
    persistence: str
    filenode: int
    rows_estimate: float
    heap: bool
    access_method: str
    populated: bool
    extension: str | None
    configuration: bool
    condition: str
    schema_usable: bool | None
    readable: bool | None
    filtered: bool | None

    @property
    def qualified_name(self) -> QualifiedName:
        return QualifiedName(schema=self.schema, name=self.name)

    @property
    def is_system(self) -> bool:
        """In a schema that pg_dump leaves alone; configuration tables of extensions may live there."""
        return self.schema in ("pg_catalog", "information_schema") and self.extension is None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSize:
    """`filenode` is the one the relation has now, whatever a snapshot shows."""

    oid: int
    filenode: int | None
    main_bytes: int
    toast_bytes: int


def ask(connection: Connection, name: str, kind: type[Row], *parameters: Any) -> list[Row]:
    """The rows of a named query as values whose fields are its columns."""
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(_text(connection, name), parameters or None).fetchall()


def ask_rows(connection: Connection, name: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """The rows of a named query as tuples."""
    return connection.execute(_text(connection, name), parameters or None).fetchall()


def _text(connection: Connection, name: str) -> str:
    return query(name, connection.info.server_version)


def read_server(connection: Connection) -> Server:
    return ask(connection, "server", Server)[0]


def read_relations(connection: Connection) -> list[Relation]:
    return ask(connection, "relations", Relation)


def read_sizes(connection: Connection, oids: Collection[int]) -> dict[int, TableSize]:
    """Of locked tables only."""
    rows = ask_rows(connection, "sizes", list(oids))
    return {
        oid: TableSize(oid=oid, filenode=filenode, main_bytes=main, toast_bytes=toast)
        for oid, filenode, main, toast in rows
    }


def describe_tables(
    connection: Connection,
    chosen: Sequence[Relation],
    relations: Iterable[Relation],
    sizes: Mapping[int, TableSize],
    server: Server,
) -> tuple[Table, ...]:
    """All that a backup must know of the chosen tables, which are locked. `relations` are all there are."""
    oids = [relation.oid for relation in chosen]
    columns = {
        oid: [ColumnFacts(*row[1:]) for row in rows]
        for oid, rows in groupby(ask_rows(connection, "columns", oids), key=itemgetter(0))
    }
    types = Types(ask(connection, "types", TypeFacts, oids), server_version=server.server_version)
    roots = load_roots(ask(connection, "partitions", Partition), types)
    tops = frozenset(roots.values())
    names = {relation.oid: relation.qualified_name for relation in relations if relation.oid in tops}
    tables = []
    for relation in chosen:
        facts = columns.get(relation.oid, [])
        fingerprint, unprovable = types.fingerprint(facts, relation.condition, heap=relation.heap)
        size = sizes[relation.oid]
        root = roots.get(relation.oid)
        tables.append(
            Table(
                oid=relation.oid,
                name=relation.qualified_name,
                columns=tuple(
                    Column(attnum=fact.attnum, name=fact.name, type_name=fact.type_name)
                    for fact in facts
                    if not fact.dropped and not fact.generated
                ),
                filenode=size.filenode,
                heap=relation.heap,
                unlogged=relation.persistence == "u",
                pages=size.main_bytes // server.block_size,
                size_bytes=size.main_bytes + size.toast_bytes,
                rows_estimate=relation.rows_estimate,
                fingerprint=fingerprint,
                unprovable=unprovable,
                condition=relation.condition,
                extension=relation.extension,
                load_via=None if root is None else names.get(root),
            )
        )
    return tuple(tables)


def read_sequences(connection: Connection, chosen: Sequence[Relation]) -> tuple[SequenceValue, ...]:
    """Where each sequence stands now. Sequences are outside of snapshots: read them after it was taken, and no
    row can hold a value that a restored sequence will give again."""
    values: dict[int, tuple[int, bool]] = {}
    if connection.info.server_version >= 180_000:
        rows = ask_rows(connection, "sequence_data", [relation.oid for relation in chosen])
        values = {oid: (last, called) for oid, last, called in rows if last is not None}
    rest = [relation for relation in chosen if relation.oid not in values]
    for start in range(0, len(rest), SEQUENCES_PER_STATEMENT):
        statement = " UNION ALL ".join(
            f"SELECT {relation.oid}::int8, s.last_value, s.is_called "  # noqa: S608 - names are quoted
            f"FROM {qualified(relation.qualified_name)} AS s"
            for relation in rest[start : start + SEQUENCES_PER_STATEMENT]
        )
        for oid, last, called in connection.execute(statement).fetchall():
            values[oid] = (last, called)
    return tuple(
        SequenceValue(
            oid=relation.oid,
            name=relation.qualified_name,
            last_value=values[relation.oid][0],
            is_called=values[relation.oid][1],
        )
        for relation in chosen
    )


def order_matviews(connection: Connection, relations: Iterable[Relation]) -> tuple[QualifiedName, ...]:
    """The populated materialized views, each after those it reads from."""
    views = {
        relation.oid: relation.qualified_name
        for relation in relations
        if relation.kind == "m" and relation.populated and not relation.is_system
    }
    if not views:
        return ()
    sorter = TopologicalSorter[int](dict.fromkeys(sorted(views, key=views.__getitem__), ()))
    for reader, read in ask_rows(connection, "matview_order"):
        if reader in views and read in views:
            sorter.add(reader, read)
    try:
        return tuple(views[oid] for oid in sorter.static_order())
    except CycleError as error:  # impossible without changing the catalog by hand
        raise ValueError(f"materialized views read from each other: {error.args[1]}") from error
