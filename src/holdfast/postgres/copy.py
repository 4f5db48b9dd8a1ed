"""Rows out of a source and into a target, as COPY text.

Reading happens under one exported snapshot, in the database's own encoding, so what comes out is what was stored,
byte for byte. The number of rows is what the server says it sent; a restore compares it with what the target's
server says it got. (Counting newlines here as well cost a tenth of a backup's processor time, and could only find
a fault that breaks the protocol anyway.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from holdfast.domain.errors import SourceLostError, UnreachableError
from holdfast.domain.ranges import WHOLE, PageRange
from holdfast.domain.tables import QualifiedName, Table
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.connection import READING
from holdfast.postgres.failures import sqlstate_of
from holdfast.postgres.names import literal, qualified, quote
from holdfast.postgres.wire import CopyOut, WholeTable, Wire, open_wire

Result = TypeVar("Result")

LOCKS_PER_STATEMENT = 500
# Invalid, or (since 17) undefined.
_NO_SUCH_SNAPSHOT = ("22023", "42704")
_WHERE = re.compile(r"^\s*WHERE\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSpec:
    """All that a reader needs, as plain data. `exported` is the snapshot to read under; None: one of its own,
    taken with the first statement. `client_encoding` is the encoding in which rows are handed out."""

    address: ServerAddress
    exported: str | None
    client_encoding: str
    application_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One range that is wanted: `sink` gets its rows as in `RangeReader.read`, then `finished` their number."""

    table: Table
    pages: PageRange
    sink: Callable[[bytes], object]
    finished: Callable[[int], object]


class RangeReader:
    """Reads tables in ranges. One connection, one thread at a time; `abort` from any.

    The transaction begins with the first `lock` or `read`. After a failure it is rolled back, and the next call
    begins a new one under the same snapshot.
    """

    def __init__(self, wire: Wire, spec: ReadSpec) -> None:
        self._wire = wire
        self._spec = spec
        self._begun = False

    @classmethod
    def open(cls, spec: ReadSpec, *, many: bool = False) -> RangeReader:
        """`many`: for `read_all` of many small ranges, which is cheaper then; that of big ones is dearer."""
        wire = open_wire(
            spec.address, application_name=spec.application_name, settings=dict(READING), many=many
        )
        return cls(wire, spec)

    def lock(self, tables: Iterable[Table | QualifiedName]) -> None:
        """Lock them against change without waiting; the session that exported the snapshot holds them already.

        Waiting would deadlock, unseen by the server, if somebody else's exclusive lock were queued behind that
        session's. Raises `TableBusyError`.
        """
        names = [qualified(table.name if isinstance(table, Table) else table) for table in tables]
        for start in range(0, len(names), LOCKS_PER_STATEMENT):
            listed = ", ONLY ".join(names[start : start + LOCKS_PER_STATEMENT])
            statement = f"LOCK TABLE ONLY {listed} IN ACCESS SHARE MODE NOWAIT"
            self._do(partial(self._wire.execute, statement))

    def read(self, table: Table, pages: PageRange, sink: Callable[[bytes], object]) -> int:
        """All rows of `table` on these pages, in the order of the heap; returns their number.

        `sink` gets pieces of whole rows, 8 to 256 KiB as a rule. What it raises ends the reading and is raised.
        """
        counted: list[int] = []
        self.read_all([Reading(table=table, pages=pages, sink=sink, finished=counted.append)])
        return counted[0]

    def read_all(self, readings: Iterable[Reading]) -> None:
        """One after the other, in order. A failure names the table that failed; what was finished before, was."""
        copies = (
            CopyOut(
                rows=rows_of(reading.table, reading.pages),
                sink=reading.sink,
                finished=reading.finished,
                doing=f"reading table {reading.table.name}",
            )
            for reading in readings
        )
        self._do(lambda: self._wire.copy_out(copies, encoding=self._spec.client_encoding))

    def read_large_object(self, oid: int, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; fewer at its end, none past it."""
        rows = self.query(f"SELECT pg_catalog.lo_get({int(oid)}, {int(offset)}, {int(length)})")
        data: bytes = rows[0][0]
        return data

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """A small query under the same snapshot; numbers, text and bytea only."""
        return self._do(lambda: self._wire.fetch(sql))

    @property
    def server_version(self) -> int:
        return self._wire.server_version

    def abort(self) -> None:
        """Make the running call fail soon with `InterruptedRunError`, and all later ones. From any thread."""
        self._wire.abort()

    def close(self) -> None:
        self._wire.close()

    def __enter__(self) -> RangeReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _do(self, step: Callable[[], Result]) -> Result:
        try:
            if not self._begun:
                self._begin()
            return step()
        except BaseException:
            self._begun = False
            raise

    def _begin(self) -> None:
        statement = "ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        if self._spec.exported is not None:
            statement += f"; SET TRANSACTION SNAPSHOT {literal(self._spec.exported)}"
        try:
            self._wire.execute(statement)
        except UnreachableError as error:
            if sqlstate_of(error.__cause__) in _NO_SUCH_SNAPSHOT:
                raise SourceLostError(
                    f"the snapshot to read under is gone: {error.message}", hint="run it again"
                ) from error
            raise
        self._begun = True


def rows_of(table: Table, pages: PageRange) -> WholeTable | str:
    """What to copy: the table as it lies there, where that is all that is wanted, or else a query."""
    if pages == WHOLE and table.columns and not table.condition:
        return WholeTable(name=table.name, columns=tuple(column.name for column in table.columns))
    return range_query(table, pages)


def range_query(table: Table, pages: PageRange) -> str:
    """The rows of one range. The last range is open-ended, since a relation's size is not an MVCC boundary."""
    conditions = []
    if table.condition:  # a whole WHERE clause, as the extension's author wrote it
        conditions.append(f"({_WHERE.sub('', table.condition)})")
    conditions += page_conditions(pages)
    columns = ", ".join(quote(column.name) for column in table.columns)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {columns} FROM ONLY {qualified(table.name)}{where}"  # noqa: S608 - quoted by names


def page_conditions(pages: PageRange) -> list[str]:
    """What a row's place must fulfil to be in the range; nothing for a whole table."""
    conditions = []
    if pages.first > 0:
        conditions.append(f"ctid >= '({pages.first},0)'::pg_catalog.tid")
    if pages.end is not None:
        conditions.append(f"ctid < '({pages.end},0)'::pg_catalog.tid")
    return conditions
