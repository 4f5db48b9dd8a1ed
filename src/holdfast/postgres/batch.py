"""Many small tables out by one statement of many COPYs: no round trip and no coroutine for each of them.

Invariant: rows are given to the sink of the very COPY that sent them, and a COPY counts as finished only when the
server has said so, with its number of rows. Nothing is held but a piece, so a table that has grown meanwhile does
no harm: it only takes longer this way.
"""

from __future__ import annotations

import contextlib
import selectors
from collections.abc import Callable, Sequence

import psycopg
from psycopg import errors
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from holdfast.domain.errors import HoldfastError
from holdfast.postgres.connection import Connection
from holdfast.postgres.names import literal, qualified, quote
from holdfast.postgres.wire import CopyOut, WholeTable, aborted, give, rows_counted

COPIES_PER_STATEMENT = 250

_PIECE_BYTES = 256 * 1024
_LOOK_SECONDS = 1.0
_CANCEL_SECONDS = 5.0


class Batch:
    """Some COPYs on one connection, run once. `doing` is at any time that of the COPY that is on its way.

    After a failure the connection has no statement running, or is lost.
    """

    def __init__(
        self,
        connection: Connection,
        copies: Sequence[CopyOut],
        *,
        encoding: str,
        is_aborted: Callable[[], bool],
    ) -> None:
        self._connection = connection
        self._pgconn: PGconn = connection.pgconn
        self._copies = copies
        self._encoding = encoding
        self._is_aborted = is_aborted
        self._selector = selectors.DefaultSelector()
        self.doing = copies[0].doing

    def run(self) -> None:
        """Raises what sinks raise, what psycopg would raise, or `InterruptedRunError`."""
        with self._selector:
            self._selector.register(self._pgconn.socket, selectors.EVENT_READ)
            for start in range(0, len(self._copies), COPIES_PER_STATEMENT):
                self._run(self._copies[start : start + COPIES_PER_STATEMENT])

    def _run(self, copies: Sequence[CopyOut]) -> None:
        options = f"TO STDOUT (FORMAT text, ENCODING {literal(self._encoding)})"
        statement = "; ".join(f"COPY {_copied(copy.rows)} {options}" for copy in copies)
        self.doing = copies[0].doing
        try:
            self._send(statement.encode(self._connection.info.encoding))
            for copy in copies:
                self.doing = copy.doing
                self._receive(copy)
            self._expect(None)
        except BaseException as error:
            self._stop(error)
            raise

    def _send(self, statement: bytes) -> None:
        self._pgconn.send_query(statement)
        while self._pgconn.flush():
            self._wait(selectors.EVENT_READ | selectors.EVENT_WRITE)

    def _receive(self, copy: CopyOut) -> None:
        self._expect(ExecStatus.COPY_OUT)
        piece = bytearray()
        while (row := self._row()) is not None:
            piece += row
            if len(piece) >= _PIECE_BYTES:
                give(copy.sink, bytes(piece))
                piece.clear()
        result = self._expect(ExecStatus.COMMAND_OK)
        if piece:
            give(copy.sink, bytes(piece))
        status = (result.command_status if result else None) or b""
        give(copy.finished, rows_counted(status.decode()))

    def _row(self) -> memoryview | None:
        while True:
            count, row = self._pgconn.get_copy_data(1)
            if count > 0:
                return row
            if count < 0:
                return None
            self._wait()

    def _wait(self, events: int = selectors.EVENT_READ) -> None:
        """Until something has arrived, or there is room to send."""
        self._selector.modify(self._pgconn.socket, events)
        while not self._selector.select(_LOOK_SECONDS):
            if self._is_aborted():
                raise aborted()
        self._pgconn.consume_input()

    def _result(self) -> PGresult | None:
        while self._pgconn.is_busy():
            self._wait()
        return self._pgconn.get_result()

    def _expect(self, status: ExecStatus | None) -> PGresult | None:
        """The next result, if it has this status; None: there is to be no more."""
        if self._is_aborted():
            raise aborted()
        result = self._result()
        found = None if result is None else ExecStatus(result.status)
        if found is status:
            return result
        if result is None or self._pgconn.status == ConnStatus.BAD:
            raise psycopg.OperationalError(self._pgconn.get_error_message() or "the server stopped too soon")
        if found is ExecStatus.FATAL_ERROR:
            raise errors.error_from_result(result, encoding=self._connection.info.encoding)
        raise psycopg.OperationalError(f"the server answered with {found} where {status} was due")

    def _stop(self, error: BaseException) -> None:
        """Leave nothing running. What the server ended itself needs no cancelling."""
        if self._is_aborted():
            return
        with contextlib.suppress(psycopg.Error, OSError, HoldfastError):
            if not isinstance(error, psycopg.Error):
                self._connection.cancel_safe(timeout=_CANCEL_SECONDS)
            while (result := self._result()) is not None:
                if result.status == ExecStatus.COPY_OUT:
                    while self._row() is not None:
                        pass


def _copied(rows: WholeTable | str) -> str:
    """What COPY is told to copy."""
    if isinstance(rows, str):
        return f"({rows})"
    return f"{qualified(rows.name)} ({', '.join(map(quote, rows.columns))})"
