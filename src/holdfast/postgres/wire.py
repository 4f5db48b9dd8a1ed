"""The wires that bulk rows travel on, and which one to take.

Two implementations: `AsyncpgWire`, which joins rows in C, and `LibpqWire`, which can do all that libpq can but
handles every row on its own (six times the CPU). Both are used by one thread at a time; only `abort` may be
called from another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from holdfast.domain.errors import InterruptedRunError
from holdfast.domain.tables import QualifiedName
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.connection import SETTINGS, connect, server_encoding, settings_statement
from holdfast.postgres.dial import needs_libpq
from holdfast.postgres.failures import translate

Sink = Callable[[bytes], object]
Given = TypeVar("Given")


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeTable:
    """All rows of a table as they lie there, without its children's: cheaper for the server than a query, since
    it plans nothing. `columns` must not be empty."""

    name: QualifiedName
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOut:
    """One COPY of `rows`, a table's or a query's, TO STDOUT as text.

    `sink` gets pieces of whole rows, `finished` their number as the server counted them: after the last piece and
    before the next COPY begins. What either raises ends the COPY and is raised. `doing` says in messages what
    failed.
    """

    rows: WholeTable | str
    sink: Sink
    finished: Callable[[int], object]
    doing: str


class Wire(Protocol):
    """One connection with `SETTINGS`. Every verb blocks; failures of the server or the network are translated.

    After a failure the transaction is over and has to be rolled back by the caller; after `abort` every verb
    raises `InterruptedRunError`.
    """

    server_version: int

    def execute(self, sql: str) -> None:
        """One or several statements without results."""

    def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of one query; numbers, text and bytea only."""

    def copy_out(self, copies: Iterable[CopyOut], *, encoding: str) -> None:
        """All of them, one after the other. A failure names the one that failed; what was finished before, was."""

    def abort(self) -> None:
        """Make the running verb fail soon, and all later ones at once. From any thread; never raises."""

    def close(self) -> None:
        """Safe to repeat; never raises."""


def open_wire(
    address: ServerAddress, *, application_name: str, settings: dict[str, str], many: bool = False
) -> Wire:
    """The fastest wire that can serve this address; `settings` beside `SETTINGS`. `many`: for many small tables,
    which libpq brings fastest (`batch.py`).

    An address that is not pinned yet is tried with libpq first, which finds out which host and whether TLS.
    """
    from holdfast.postgres.asyncpg_wire import AsyncpgWire
    from holdfast.postgres.libpq_wire import LibpqWire

    statement = settings_statement({**SETTINGS, **settings})
    fast = not many and not needs_libpq(address)
    if address.tls is not None and fast:
        wire = AsyncpgWire.open(address, application_name=application_name, statement=statement)
        if wire.encoding != "SQL_ASCII":
            return wire
        wire.close()
    connection = connect(address, application_name=application_name)
    if (
        address.tls is None
        and not many
        and not needs_libpq(address)
        and server_encoding(connection) != "SQL_ASCII"
    ):
        pinned = address.pinned(connection)
        connection.close()
        return AsyncpgWire.open(pinned, application_name=application_name, statement=statement)
    try:
        connection.execute(statement)
    except Exception as error:
        connection.close()
        raise translate(error, address, doing="preparing a connection") from error
    return LibpqWire(connection, address)


class Stopped(Exception):  # noqa: N818 - no error: a way out of a COPY
    """Carries what a sink raised past psycopg, so that it is not taken for psycopg's."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def give(take: Callable[[Given], object], given: Given) -> None:
    """Call what is not ours; what it raises comes out as `Stopped`."""
    try:
        take(given)
    except BaseException as error:
        raise Stopped(error) from error


def rows_counted(status: str | None) -> int:
    """From a command's status, `COPY 42`."""
    word, _, count = (status or "").partition(" ")
    if word != "COPY" or not count.isdigit():
        raise ValueError(f"not the status of a COPY: {status!r}")
    return int(count)


def aborted() -> InterruptedRunError:
    return InterruptedRunError("stopped on request")
