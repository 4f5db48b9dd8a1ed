"""Bulk rows by libpq, through psycopg: for what asyncpg cannot do (see `dial.needs_libpq`, and SQL_ASCII)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import psycopg

from holdfast.postgres.address import ServerAddress
from holdfast.postgres.batch import Batch
from holdfast.postgres.connection import Connection
from holdfast.postgres.failures import translate
from holdfast.postgres.wire import CopyOut, Stopped, aborted

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

    def copy_out(self, copies: Iterable[CopyOut], *, encoding: str) -> None:
        waiting = list(copies)
        if not waiting:
            return
        batch = Batch(self._connection, waiting, encoding=encoding, is_aborted=lambda: self._aborted)
        with self._translating(lambda: batch.doing):
            batch.run()

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
