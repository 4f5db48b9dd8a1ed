"""One consistent instant of a source, held for as long as a backup reads.

The order matters: a TRUNCATE or rewrite that commits between a snapshot and a table's lock makes that table read
as empty. So all tables are locked first, then the snapshot is taken, then the catalog is read again under it.
Invariant: whatever `take` returns was locked before its snapshot, and stays so until the session closes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

import psycopg
from psycopg import errors

from holdfast.domain.coverage import CoverageEntry, CoverageStatus
from holdfast.domain.errors import (
    InterruptedRunError,
    RefusedError,
    TableBusyError,
    UnreachableError,
)
from holdfast.domain.events import Listener, Noticed, ignore
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import (
    DatabaseFacts,
    Instant,
    Lineage,
    Role,
    RoleMembership,
)
from holdfast.domain.tables import QualifiedName, SequenceValue, Table
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.catalog import (
    Relation,
    Server,
    ask_rows,
    describe_tables,
    order_matviews,
    read_relations,
    read_sequences,
    read_server,
    read_sizes,
)
from holdfast.postgres.connection import Connection, connect, server_encoding
from holdfast.postgres.definition_proof import DefinitionsSeen, look_at_definitions
from holdfast.postgres.failures import translate
from holdfast.postgres.instants import read_lineage, take_instant
from holdfast.postgres.large_objects import FoundLargeObject, read_large_objects
from holdfast.postgres.locks import MOVED, MovedError, lock_tables
from holdfast.postgres.names import literal, quote
from holdfast.postgres.poolers import direct_address_hint, refuse_transaction_pooling
from holdfast.postgres.pulse import Pulse
from holdfast.postgres.roles import password_gap, read_database, read_memberships, read_roles
from holdfast.postgres.stock import Selection, Stock, take_stock

__all__ = ["Selection", "SourceSession", "Taken", "connect", "open_source"]

OLDEST_SERVER = 130_000
DEFAULT_LOCK_TIMEOUT_SECONDS = 60.0

# Waits for locks, and pauses between them in which all is let go, so that whoever alters a table gets its turn.
_WAITS = (1.0, 2.0, 4.0, 5.0)
_PAUSES = (0.1, 0.3, 1.0, 2.0)
_RESTARTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What one instant of the source holds. `exported` is the snapshot's token for other connections, and
    `address` the very server they must reach. `undefinable` are tables that pg_dump may not lock, so that
    their definitions are missing, too."""

    address: ServerAddress
    exported: str
    instant: Instant
    lineage: Lineage
    database: DatabaseFacts
    tables: tuple[Table, ...]
    sequences: tuple[SequenceValue, ...]
    large_objects: tuple[FoundLargeObject, ...]
    matviews: tuple[QualifiedName, ...]
    roles: tuple[Role, ...]
    memberships: tuple[RoleMembership, ...]
    coverage: tuple[CoverageEntry, ...]
    undefinable: tuple[QualifiedName, ...]
    client_encoding: str


def open_source(
    address: ServerAddress,
    *,
    snapshot: SnapshotId,
    lock_timeout_seconds: float = DEFAULT_LOCK_TIMEOUT_SECONDS,
    listener: Listener = ignore,
    interrupted: threading.Event | None = None,
) -> SourceSession:
    """Connect, and make sure that a snapshot can be held here.

    `lock_timeout_seconds` is the patience with locks in all. Raises `UnreachableError`, `LackingRightsError`, or
    `RefusedError` for poolers in transaction mode.
    """
    name = f"holdfast/{snapshot}"
    connection = connect(address, application_name=name)
    try:
        pinned = address.pinned(connection)
        refuse_transaction_pooling(connection, pinned, application_name=name)
        server = read_server(connection)
        if server.server_version < OLDEST_SERVER:
            raise UnreachableError(
                f"{address.display()} runs PostgreSQL {server.server_version_text}; 13 is the oldest that is read",
                hint="upgrade the server, or back it up with its own pg_dump",
            )
    except psycopg.Error as error:
        connection.close()
        raise translate(error, address, doing="looking at the source") from error
    except BaseException:
        connection.close()
        raise
    return SourceSession(
        connection,
        pinned,
        server,
        application_name=name,
        patience_seconds=lock_timeout_seconds,
        listener=listener,
        interrupted=interrupted or threading.Event(),
    )


class SourceSession:
    """The connection that holds the locks and the snapshot. Closing it lets them go.

    `check` may be called from any thread; the rest belongs to one.
    """

    def __init__(
        self,
        connection: Connection,
        address: ServerAddress,
        server: Server,
        *,
        application_name: str,
        patience_seconds: float,
        listener: Listener,
        interrupted: threading.Event,
    ) -> None:
        self.address = address
        self.server = server
        self.server_version = server.server_version
        self.client_encoding = server_encoding(connection)
        self._connection = connection
        self._application_name = application_name
        self._patience_seconds = patience_seconds
        self._listener = listener
        self._interrupted = interrupted
        self._pulse: Pulse | None = None

    def take(self, selection: Selection) -> Taken:
        """Lock, take the snapshot, read the catalog under it.

        Raises `TableBusyError` naming who blocks, `InterruptedRunError`, or what a lost connection raises.
        """
        deadline = time.monotonic() + self._patience_seconds
        restarts = waits = 0
        while True:
            self._stop_if_interrupted()
            try:
                with self._translating("taking a snapshot"):
                    longest = _WAITS[min(waits, len(_WAITS) - 1)]
                    taken = self._attempt(selection, min(longest, max(deadline - time.monotonic(), 0.05)))
                self._pulse = Pulse(self._connection, self.address)
                return taken
            except MovedError as moved:
                restarts += 1
                if restarts > _RESTARTS:
                    raise TableBusyError(
                        f"the tables changed {restarts} times while they were locked: {moved}",
                        hint="run it again when no migration is running",
                    ) from moved
            except TableBusyError as busy:
                pause = _PAUSES[min(waits, len(_PAUSES) - 1)]
                if time.monotonic() + pause >= deadline:
                    raise
                waits += 1
                if waits == 1:
                    self._listener(Noticed(message=f"waiting: {busy.message}"))
                self._interrupted.wait(pause)

    def look_at_definitions(self, *, parent_xmin: int | None) -> DefinitionsSeen:
        """Whether they can have changed since the snapshot with this xmin. After `take`, under its snapshot."""
        try:
            return look_at_definitions(self._connection, self.server, parent_xmin=parent_xmin)
        except psycopg.Error as error:
            raise translate(error, self.address, doing="looking at the catalogs") from error

    def check(self) -> None:
        """Raises `SourceLostError` if the connection has died, and with it the locks and the snapshot."""
        if self._pulse is not None:
            self._pulse.check()

    def close(self) -> None:
        """Let everything go. Safe to repeat."""
        if self._pulse is not None:
            self._pulse.stop()
        self._connection.close()

    def __enter__(self) -> SourceSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _stop_if_interrupted(self) -> None:
        if self._interrupted.is_set():
            raise InterruptedRunError("interrupted; nothing was committed")

    @contextmanager
    def _translating(self, doing: str) -> Iterator[None]:
        """Foreign errors become ours, and a failed attempt's locks are let go."""
        try:
            yield
        except BaseException as error:
            if not self._connection.closed:
                try:
                    self._connection.execute("ROLLBACK")
                except psycopg.Error:
                    self._connection.close()
            if isinstance(error, psycopg.Error):
                raise translate(error, self.address, doing=doing) from error
            raise

    def _attempt(self, selection: Selection, wait_seconds: float) -> Taken:
        connection = self._connection
        before = take_stock(read_relations(connection), self.server, selection)
        timeout = f"SET lock_timeout TO '{int(wait_seconds * 1000)}ms'"
        connection.execute(timeout)
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        lock_tables(connection, before.tables)
        exported, instant = take_instant(connection, self.server)
        relations = read_relations(connection)
        stock = take_stock(relations, self.server, selection)
        locked = {oid for (oid,) in ask_rows(connection, "locked")}
        for relation in stock.tables:
            if relation.oid not in locked:
                raise MovedError(f"{relation.qualified_name} is new")
        sizes = read_sizes(connection, [relation.oid for relation in stock.tables])
        for relation in stock.tables:
            if sizes[relation.oid].filenode != relation.filenode:
                raise MovedError(f"{relation.qualified_name} was rewritten")
        tables = describe_tables(connection, stock.tables, relations, sizes, self.server)
        large_objects, closed = read_large_objects(connection, self.server)
        roles = read_roles(connection)
        return Taken(
            address=self.address,
            exported=exported,
            instant=instant,
            lineage=read_lineage(connection, self.server),
            database=read_database(connection, self.server),
            tables=tables,
            sequences=self._read_sequences(exported, stock.sequences),
            large_objects=large_objects,
            matviews=order_matviews(connection, relations),
            roles=roles,
            memberships=read_memberships(connection),
            coverage=(*stock.entries, *closed, *self._other_coverage(stock, roles)),
            undefinable=stock.undefinable,
            client_encoding=self.client_encoding,
        )

    def _read_sequences(self, exported: str, sequences: Sequence[Relation]) -> tuple[SequenceValue, ...]:
        """On a second connection under the same snapshot: its locks are let go at once, and it proves that other
        connections reach the server that has the snapshot."""
        with connect(self.address, application_name=self._application_name) as beside:
            beside.execute("SET lock_timeout TO '5s'")
            beside.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                beside.execute(f"SET TRANSACTION SNAPSHOT {literal(exported)}")
            except (errors.InvalidParameterValue, errors.UndefinedObject) as error:
                raise RefusedError(
                    f"two connections to {self.address.display()} reach different servers, or databases",
                    hint=direct_address_hint(self.address),
                ) from error
            try:
                values = read_sequences(beside, sequences)
            except MOVED as error:
                raise MovedError(str(error).splitlines()[0]) from error
            beside.execute("ROLLBACK")
        return values

    def _other_coverage(self, stock: Stock, roles: Sequence[Role]) -> Iterator[CoverageEntry]:
        yield from other_gaps(self._connection, self.server)
        yield from password_gap(roles)
        for kind, count in (("sequences", len(stock.sequences)), ("roles", len(roles))):
            if count:
                yield CoverageEntry(kind=kind, name=f"{count} {kind}", status=CoverageStatus.CAPTURED)


def other_gaps(connection: Connection, server: Server) -> Iterator[CoverageEntry]:
    """What pg_dump passes over for roles that are no superusers."""
    if server.superuser:
        return
    for (name,) in ask_rows(connection, "subscriptions"):
        yield CoverageEntry(
            kind="subscription",
            name=name,
            status=CoverageStatus.NOT_CAPTURABLE,
            reason="only superusers may read how it connects",
            remedy="write down its CREATE SUBSCRIPTION statement, or back up as a superuser",
        )
    for foreign_server, user in ask_rows(connection, "hidden_user_mappings"):
        yield CoverageEntry(
            kind="user mapping",
            name=f"{user} on {foreign_server}",
            status=CoverageStatus.NOT_CAPTURABLE,
            reason="its options are not shown to this role",
            remedy=f"after a restore run ALTER USER MAPPING FOR {user if user == 'PUBLIC' else quote(user)} "
            f"SERVER {quote(foreign_server)} OPTIONS (…)",
        )
