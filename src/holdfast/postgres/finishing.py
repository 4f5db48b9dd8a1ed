"""What comes after the rows and the indexes: large objects, sequences, materialized views, statistics, and the
database's own settings.

Invariant: what the server refuses for want of rights is named in `left_out`; every other failure is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from holdfast.domain.errors import HoldfastError, RestoreFailedError
from holdfast.domain.manifest import DatabaseFacts
from holdfast.domain.tables import QualifiedName, SequenceValue
from holdfast.postgres.building import is_refusal, shorten
from holdfast.postgres.loading import Worker
from holdfast.postgres.names import literal, qualified, quote
from holdfast.postgres.rebuild_plan import LargeObjectLoad, LargeObjectSupplier
from holdfast.postgres.target_connection import failed

# Each object holds a lock until its transaction ends, and a default server has 6400 of them for everybody.
PER_TRANSACTION = 200
ANALYZED_TOGETHER = 50
ANALYZED_ALONE_BYTES = 4 * 1024 * 1024
DATABASE = ':"database"'


def load_large_objects(worker: Worker, supply: LargeObjectSupplier) -> None:
    """Make them with their numbers and bytes, and give them their owners and grants."""
    batch: list[LargeObjectLoad] = []
    for item in supply():
        batch.append(item)
        if len(batch) == PER_TRANSACTION:
            _load_batch(worker, batch)
            batch = []
    if batch:
        _load_batch(worker, batch)


def _load_batch(worker: Worker, batch: Sequence[LargeObjectLoad]) -> None:
    with worker.transaction(doing=f"restoring large objects {batch[0].oid} to {batch[-1].oid}") as connection:
        for item in batch:
            connection.execute(f"SELECT pg_catalog.lo_create({item.oid:d})".encode())
            size = 0
            for piece in item.pieces:
                connection.execute(
                    "SELECT pg_catalog.lo_put(%s::oid, %s::bigint, %b)", (item.oid, size, piece)
                )
                size += len(piece)
            if size != item.size_bytes:
                raise RestoreFailedError(
                    f"large object {item.oid}: the snapshot says {item.size_bytes} bytes, {size} came",
                    hint="run holdfast verify --level 3 on the snapshot",
                )
            for statement in item.statements:
                connection.execute(statement.encode(connection.info.encoding))


def set_sequences(worker: Worker, sequences: Sequence[SequenceValue]) -> None:
    for start in range(0, len(sequences), PER_TRANSACTION):
        batch = sequences[start : start + PER_TRANSACTION]
        calls = ", ".join(
            f"pg_catalog.setval({literal(qualified(item.name))}::pg_catalog.regclass, "
            f"{item.last_value:d}, {str(item.is_called).lower()})"
            for item in batch
        )
        worker.run(f"SELECT {calls}", doing=f"setting sequences {batch[0].name} to {batch[-1].name}")


def refresh(worker: Worker, views: Sequence[QualifiedName]) -> None:
    """In the order given, which is that of their dependencies."""
    for name in views:
        worker.run(
            f"REFRESH MATERIALIZED VIEW {qualified(name)}", doing=f"refreshing materialized view {name}"
        )


def analyze(worker: Worker, tables: Sequence[QualifiedName], warnings: list[str]) -> None:
    """Gather statistics. A table that cannot be analyzed is restored all the same: that is a warning."""
    try:
        worker.run(f"ANALYZE {', '.join(map(qualified, tables))}", doing=f"analyzing table {tables[0]}")
    except HoldfastError as error:
        if not is_refusal(error):
            raise
        if len(tables) == 1:
            warnings.append(error.message)
            return
        for table in tables:
            analyze(worker, [table], warnings)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseStatements:
    """The database's settings, grants, comment and labels."""

    facts: DatabaseFacts

    @property
    def have_comment(self) -> bool:
        return any(text.upper().lstrip().startswith("COMMENT ON DATABASE") for text in self.facts.statements)

    def run(self, worker: Worker, *, acl: bool) -> list[str]:
        """Run them; return those that are not allowed here, in words."""
        left_out: list[str] = []
        name = quote(worker.connection.info.dbname)
        for text in self.facts.statements:
            statement = text.replace(DATABASE, name)
            if not acl and statement.upper().lstrip().startswith(("GRANT", "REVOKE")):
                continue
            try:
                worker.connection.execute(statement.encode(worker.connection.info.encoding))
            except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject):
                left_out.append(f"setting of the database, not possible here: {shorten(statement)}")
            except psycopg.Error as error:
                raise failed(error, worker.address, doing=f"running {shorten(statement)}") from error
        return left_out
