"""Bulk rows by asyncpg on uvloop: one connection and one event loop, driven by whichever thread calls.

The only asyncio in the engine. The loop runs while a verb runs, and at no other time.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

import asyncpg

from holdfast.postgres.address import ServerAddress
from holdfast.postgres.dial import keywords_for
from holdfast.postgres.failures import refusal, translate
from holdfast.postgres.wire import CopyOut, WholeTable, aborted, rows_counted

try:
    from uvloop import new_event_loop
except ImportError:  # where there is no uvloop (Windows), at half the speed
    from asyncio import new_event_loop  # type: ignore[assignment]

Result = TypeVar("Result")
Output = Callable[[bytes], Coroutine[Any, Any, None]]

_CLOSE_SECONDS = 5.0

# The server sends 8 KiB at a time, and each wake of the loop costs the same whatever it brings. After a small
# piece, letting the socket's buffer fill for a millisecond makes the next one bigger, while the server goes on
# sending: 1.28 GB came in 10 thousand pieces instead of 87 thousand, for 2.5 instead of 5.5 processor seconds, and
# sooner. Small tables never wait.
_FULL_PIECE_BYTES = 192 * 1024
_NAP_SECONDS = 0.001
_NAP_AFTER_BYTES = 256 * 1024
_FOREIGN = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, EOFError)


class _ForeignError(Exception):
    """Carries what a sink or a source of pieces raised past asyncpg, so that it is not taken for asyncpg's."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


class AsyncpgWire:
    """See `Wire`. Opened by `open`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, address: ServerAddress) -> None:
        self._loop = loop
        self._address = address
        self._connection: asyncpg.Connection[Any] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._aborted = False
        self.server_version = 0
        self.encoding = ""

    @classmethod
    def open(cls, address: ServerAddress, *, application_name: str, statement: str) -> AsyncpgWire:
        """Connect to a pinned address and run `statement` (settings)."""
        wire = cls(new_event_loop(), address)
        try:
            wire._dial(application_name)
            wire.execute(statement)
        except BaseException:
            wire.close()
            raise
        return wire

    def _dial(self, application_name: str) -> None:
        keywords = keywords_for(self._address, application_name=application_name)
        try:
            connection = self._loop.run_until_complete(asyncpg.connect(**keywords))
        except (TimeoutError, *_FOREIGN, ValueError) as error:
            raise refusal(error, self._address) from error
        self._connection = connection
        self.encoding = connection.get_settings().server_encoding
        version = connection.get_server_version()
        self.server_version = version.major * 10_000 + version.minor
        if not self._address.host.startswith("/"):
            _keep_alive(connection)

    def execute(self, sql: str) -> None:
        self._run(self._open_connection().execute(sql), "running a statement")

    def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        records = self._run(self._open_connection().fetch(sql), "running a query")
        return [tuple(record) for record in records]

    def copy_out(self, copies: Iterable[CopyOut], *, encoding: str) -> None:
        for copy in copies:
            copy.finished(self._hand_out(copy, encoding))

    def _hand_out(self, copy: CopyOut, encoding: str) -> int:
        sink = copy.sink
        remainder = b""
        arrived = 0

        async def pass_on(data: bytes) -> None:
            nonlocal remainder, arrived
            try:
                # The server sends one message a row, so this never happens today; the protocol allows it.
                if remainder or data[-1] != 10:
                    head, newline, remainder = (remainder + data).rpartition(b"\n")
                    data = head + newline
                if data:
                    sink(data)
            except BaseException as error:
                raise _ForeignError(error) from error
            arrived += len(data)
            if len(data) < _FULL_PIECE_BYTES and arrived > _NAP_AFTER_BYTES:
                await asyncio.sleep(_NAP_SECONDS)

        rows = rows_counted(self._run(self._copying(copy.rows, pass_on, encoding), copy.doing))
        if remainder:
            raise translate(EOFError("the last row has no end"), self._address, doing=copy.doing)
        return rows

    def _copying(self, rows: WholeTable | str, output: Output, encoding: str) -> Coroutine[Any, Any, str]:
        connection = self._open_connection()
        if isinstance(rows, str):
            return connection.copy_from_query(rows, output=output, format="text", encoding=encoding)
        return connection.copy_from_table(
            rows.name.name,
            schema_name=rows.name.schema,
            columns=rows.columns,
            output=output,
            format="text",
            encoding=encoding,
        )

    def abort(self) -> None:
        self._aborted = True
        # The loop may be closed, or close under our hands: then there is nothing left to stop.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def close(self) -> None:
        if self._loop.is_closed():
            return
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*_FOREIGN, asyncio.TimeoutError):
                self._loop.run_until_complete(connection.close(timeout=_CLOSE_SECONDS))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def _open_connection(self) -> asyncpg.Connection[Any]:
        if self._connection is None:
            raise aborted() if self._aborted else ValueError("the connection is closed")
        return self._connection

    def _run(self, coroutine: Coroutine[Any, Any, Result], doing: str) -> Result:
        """Drive the loop until it is done. Cancelled (by `abort`), asyncpg asks the server to stop, too."""

        async def watched() -> Result:
            self._task = asyncio.current_task()
            if self._aborted:
                coroutine.close()
                raise aborted()
            try:
                return await coroutine
            finally:
                self._task = None

        try:
            return self._loop.run_until_complete(watched())
        except _ForeignError as carried:
            raise carried.error  # noqa: B904 - as it was raised, with its own cause
        except (asyncio.CancelledError, *_FOREIGN) as error:
            if self._aborted:
                raise aborted() from error
            raise translate(error, self._address, doing=doing) from error


def _keep_alive(connection: asyncpg.Connection[Any]) -> None:
    """As `connection.conninfo_for` does for libpq. Best effort: not every system has every option."""
    transport: Any = getattr(connection, "_transport", None)  # asyncpg has no public way to its socket
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None:
        return
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    with contextlib.suppress(OSError):
        for level, option, value in options:
            sock.setsockopt(level, option, value)
