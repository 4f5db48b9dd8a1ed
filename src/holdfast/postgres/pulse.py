"""A connection that has to live, without work, for as long as others work."""

from __future__ import annotations

import threading
import time

import psycopg

from holdfast.domain.errors import HoldfastError, SourceLostError
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.connection import Connection
from holdfast.postgres.failures import translate

PING_SECONDS = 30.0

_FRESH_SECONDS = 0.5


class Pulse:
    """Keeps an idle connection alive, and remembers if it dies. psycopg lets threads take turns on it."""

    def __init__(self, connection: Connection, address: ServerAddress) -> None:
        self._connection = connection
        self._address = address
        self._failure: HoldfastError | None = None
        self._asked_at = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="holdfast-pulse", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises `SourceLostError` if the connection has died. From any thread."""
        if time.monotonic() - self._asked_at > _FRESH_SECONDS:
            self._ask()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _beat(self) -> None:
        while self._failure is None and not self._stopped.wait(PING_SECONDS):
            self._ask()

    def _ask(self) -> None:
        if self._failure is not None:
            return
        try:
            self._connection.execute("SELECT 1")
            self._asked_at = time.monotonic()
        except psycopg.Error as error:
            failure = translate(error, self._address, doing="holding the snapshot")
            if not isinstance(failure, SourceLostError):
                failure = SourceLostError(failure.message, hint=failure.hint)
            failure.__cause__ = error
            self._failure = failure
