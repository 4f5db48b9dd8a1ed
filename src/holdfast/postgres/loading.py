"""Rows in: tables loaded by a few connections, each table's rows committed only when all of them have arrived.

Invariant: nothing of a table is committed before every byte of it came from the supplier without complaint and
the server counted exactly the rows that the manifest counts.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import psycopg

from holdfast.domain.errors import InterruptedRunError, RestoreFailedError
from holdfast.domain.events import Listener, RowsMoved, TableFinished
from holdfast.domain.tables import QualifiedName
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.connection import Connection
from holdfast.postgres.names import literal, qualified, quote
from holdfast.postgres.rebuild_plan import RowSupplier, TableLoad
from holdfast.postgres.target_connection import failed

# Below this, a new file for the table costs more than freezing its rows saves.
FREEZE_FROM_BYTES = 1024 * 1024
_CANCEL_SECONDS = 5.0


@dataclass(slots=True, eq=False)
class Worker:
    """One thread's connection to the target, opened when first needed; `cancel` may come from any thread."""

    address: ServerAddress
    open: Callable[[], Connection]
    _connection: Connection | None = None

    @property
    def connection(self) -> Connection:
        if self._connection is None:
            self._connection = self.open()
        return self._connection

    def hand_over(self) -> Connection:
        """Give the connection away; the next use opens another one."""
        connection = self.connection
        self._connection = None
        return connection

    def cancel(self) -> None:
        if (connection := self._connection) is not None:
            cancel(connection)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def run(self, statement: str, *, doing: str) -> None:
        """One or several statements in the current transaction, or one of their own."""
        try:
            self.connection.execute(statement.encode(self.connection.info.encoding))
        except psycopg.Error as error:
            raise failed(error, self.address, doing=doing) from error

    @contextlib.contextmanager
    def transaction(self, *, doing: str) -> Iterator[Connection]:
        try:
            with self.connection.transaction():
                yield self.connection
        except psycopg.Error as error:
            raise failed(error, self.address, doing=doing) from error


def cancel(connection: Connection) -> None:
    """Make the running statement fail soon, if there is one; never raises."""
    with contextlib.suppress(psycopg.Error, OSError):
        connection.cancel_safe(timeout=_CANCEL_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """Loads tables from one supplier. `frozen` says of a table whether its rows may be frozen while they load."""

    address: ServerAddress
    encoding: str
    supply: RowSupplier
    listener: Listener
    stopping: threading.Event
    frozen: Callable[[QualifiedName], bool]
    emptied: bool = True

    def load(self, worker: Worker, tables: Sequence[TableLoad]) -> None:
        """Whole tables, all in one transaction; big ones are truncated first, so that their rows come frozen."""
        filled = [table for table in tables if table.rows]
        if filled:
            with worker.transaction(doing=f"loading {_listed(filled)}") as connection:
                for table in filled:
                    freeze = table.plain_bytes >= FREEZE_FROM_BYTES and self.frozen(table.name)
                    if freeze:
                        statement = f"TRUNCATE TABLE ONLY {qualified(table.name)}"
                        connection.execute(statement.encode(connection.info.encoding))
                    self._copy(connection, table, range(len(table.parts)), freeze=freeze)
        for table in tables:
            self._finished(table)

    def load_through(self, worker: Worker, root: QualifiedName, tables: Sequence[TableLoad]) -> None:
        """Partitions whose rows have to be dealt out anew, through their root, all in one transaction."""
        with worker.transaction(doing=f"loading {root}") as connection:
            for table in tables:
                self._copy(connection, table, range(len(table.parts)), freeze=False, into=root)
        for table in tables:
            self._finished(table)

    def load_extensions(self, worker: Worker, tables: Sequence[TableLoad]) -> None:
        """Tables of extensions that their users fill, in this order, all in one transaction.

        CREATE EXTENSION may have put rows there already. Those that the captured condition covers came with the
        snapshot, changed or not, so the target's are deleted first: last table first, for their foreign keys.
        """
        with worker.transaction(doing=f"loading {_listed(tables)}") as connection:
            for table in reversed(tables):
                # The condition is a WHERE clause, as the extension's author wrote it.
                statement = f"DELETE FROM ONLY {qualified(table.name)} {table.condition}"  # noqa: S608
                connection.execute(statement.encode(connection.info.encoding))
            for table in tables:
                self._copy(connection, table, range(len(table.parts)), freeze=False)
        for table in tables:
            self._finished(table)

    def split(self, table: TableLoad, streams: int) -> SplitLoad:
        return SplitLoad(loader=self, table=table, parts=tuple(cut_evenly(table, streams)))

    def _finished(self, table: TableLoad) -> None:
        self.listener(TableFinished(table=table.name, rows=table.rows, bytes=table.plain_bytes))

    def _copy(
        self,
        connection: Connection,
        table: TableLoad,
        parts: range,
        *,
        freeze: bool,
        into: QualifiedName | None = None,
    ) -> None:
        expected = sum(part.rows for part in table.parts[parts.start : parts.stop])
        if not expected:
            return
        columns = f" ({', '.join(map(quote, table.columns))})" if table.columns else ""
        options = f"ENCODING {literal(self.encoding)}" + (", FREEZE" if freeze else "")
        statement = f"COPY {qualified(into or table.name)}{columns} FROM STDIN ({options})"
        with connection.cursor() as cursor:
            try:
                with cursor.copy(statement.encode(connection.info.encoding)) as copy:
                    for piece in self._pieces(table, parts):
                        copy.write(piece)
            except psycopg.Error as error:
                raise failed(error, self.address, doing=_place(error, table)) from error
            loaded = cursor.rowcount
        if loaded != expected:
            raise RestoreFailedError(
                f"table {table.name}: the snapshot has {expected} rows here, the server took {loaded}",
                hint="run holdfast verify --level 3 on the snapshot",
            )

    def _pieces(self, table: TableLoad, parts: range) -> Iterator[bytes]:
        for piece in self.supply(table, parts):
            if self.stopping.is_set():
                raise InterruptedRunError("stopped on request")
            yield piece
            # COPY text writes a newline within a value as \n: each newline byte ends a row.
            self.listener(RowsMoved(table=table.name, rows=piece.count(b"\n"), bytes=len(piece)))


@dataclass(slots=True, kw_only=True)
class SplitLoad:
    """One table loaded by several streams at once.

    Each stream's transaction stays open until the last stream has all its rows; only then are they committed.
    """

    loader: Loader
    table: TableLoad
    parts: tuple[range, ...]
    _open: list[Connection] = field(default_factory=list)
    _left: int = -1
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, worker: Worker, number: int) -> None:
        doing = f"loading table {self.table.name}"
        try:
            worker.connection.execute("BEGIN")
            self.loader._copy(worker.connection, self.table, self.parts[number], freeze=False)
            with self._lock:
                self._left = (len(self.parts) if self._left < 0 else self._left) - 1
                if self._left:
                    self._open.append(worker.hand_over())
                    return
            for connection in [*self._open, worker.connection]:
                connection.execute("COMMIT")
        except psycopg.Error as error:
            raise failed(error, worker.address, doing=doing) from error
        self.close()
        self.loader._finished(self.table)

    def close(self) -> None:
        """What is still open was not committed, and is rolled back by that."""
        with self._lock:
            while self._open:
                self._open.pop().close()


def cut_evenly(table: TableLoad, streams: int) -> Iterator[range]:
    """The table's parts in as many runs of about the same size."""
    size, start, seen = table.plain_bytes / streams, 0, 0
    made = 0
    for number, part in enumerate(table.parts, start=1):
        seen += part.plain_bytes
        if made < streams - 1 and seen >= size * (made + 1):
            yield range(start, number)
            start = number
            made += 1
    if start < len(table.parts):
        yield range(start, len(table.parts))


def _place(error: psycopg.Error, table: TableLoad) -> str:
    """`loading table app.events at row 17`: the server's context, without the values that it shows."""
    context = error.diag.context or ""
    _, found, rest = context.partition(", line ")
    digits = rest.split(",")[0].split(":")[0] if found else ""
    return f"loading table {table.name}" + (f" at row {digits}" if digits.isdecimal() else "")


def _listed(tables: Iterable[TableLoad]) -> str:
    names = [str(table.name) for table in tables]
    return f"table {names[0]}" if len(names) == 1 else f"{len(names)} tables, {names[0]} to {names[-1]}"
