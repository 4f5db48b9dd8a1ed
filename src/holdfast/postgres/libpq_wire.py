"""Bulk rows by libpq, through psycopg: for what asyncpg cannot do (see `dial.needs_libpq`, and SQL_ASCII)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from holdfast.domain.tables import QualifiedName
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.batch import Batch, CopyOut
from holdfast.postgres.connection import Connection
from holdfast.postgres.failures import translate
from holdfast.postgres.names import literal, qualified, quote
from holdfast.postgres.wire import Sink, Stopped, aborted, give

_PIECE_BYTES = 256 * 1024
_CANCEL_SECONDS = 5.0


class LibpqWire:
    """See `Wire`. Takes over an open connection that has its settings."""

    def __init__(self, connection: Connection, address: ServerAddress) -> None:
        self._connection = connection
        self._address = address
        self._aborted = False
        self.server_version = connection.info.server_version

    def execute(self, sql: str) -> None:
        with self._translating("running a statement"):
            self._connection.execute(sql)

    def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        with self._translating("running a query"):
            return self._connection.execute(sql).fetchall()

    def copy_out(self, query: str, *, encoding: str, sink: Sink, doing: str) -> int:
        return self._hand_out(f"({query})", encoding, sink, doing)

    def copy_table_out(
        self, name: QualifiedName, columns: Sequence[str], *, encoding: str, sink: Sink, doing: str
    ) -> int:
        return self._hand_out(f"{qualified(name)} ({', '.join(map(quote, columns))})", encoding, sink, doing)

    def copy_batch_out(self, copies: Sequence[CopyOut], *, encoding: str) -> None:
        """All of them, in order; see `Batch`. A failure names the one that failed."""
        if not copies:
            return
        batch = Batch(self._connection, copies, encoding=encoding, is_aborted=lambda: self._aborted)
        with self._translating(lambda: batch.doing):
            batch.run()

    def _hand_out(self, what: str, encoding: str, sink: Sink, doing: str) -> int:
        statement = f"COPY {what} TO STDOUT (FORMAT text, ENCODING {literal(encoding)})"
        with self._translating(doing), self._connection.cursor() as cursor:
            with cursor.copy(statement) as copy:
                piece = bytearray()
                for row in copy:
                    piece += row
                    if len(piece) >= _PIECE_BYTES:
                        give(sink, bytes(piece))
                        piece = bytearray()
                if piece:
                    give(sink, bytes(piece))
            return cursor.rowcount

    def abort(self) -> None:
        self._aborted = True
        with contextlib.suppress(psycopg.Error, OSError):
            self._connection.cancel_safe(timeout=_CANCEL_SECONDS)

    def close(self) -> None:
        self._connection.close()

    @contextlib.contextmanager
    def _translating(self, doing: str | Callable[[], str]) -> Any:
        if self._aborted:
            raise aborted()
        try:
            yield
        except Stopped as carried:
            raise carried.error  # noqa: B904 - as it was raised, with its own cause
        except (psycopg.Error, OSError) as error:
            if self._aborted:
                raise aborted() from error
            done = doing if isinstance(doing, str) else doing()
            raise translate(error, self._address, doing=done) from error
