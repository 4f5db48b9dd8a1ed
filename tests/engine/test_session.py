"""Taking a snapshot: locks before the snapshot, nothing missed, and plain words when something is in the way."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from holdfast.domain.coverage import CoverageStatus, is_partial
from holdfast.domain.errors import (
    InterruptedRunError,
    RefusedError,
    SourceLostError,
    TableBusyError,
    UnreachableError,
)
from holdfast.domain.events import Event, Noticed
from holdfast.domain.ids import SnapshotId
from holdfast.domain.ranges import WHOLE
from holdfast.domain.tables import QualifiedName, TablePatterns
from holdfast.postgres import session as session_module
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.catalog import Relation
from holdfast.postgres.connection import Connection
from holdfast.postgres.copy import RangeReader, ReadSpec
from holdfast.postgres.locks import lock_tables
from holdfast.postgres.poolers import direct_address_hint
from holdfast.postgres.session import Selection, SourceSession, Taken, open_source
from postgres_servers import Database, ServerPool, own_server
from transaction_pooler import TransactionPooler

SNAPSHOT = SnapshotId("01" + "c" * 24)


def address_of(database: Database, user: str | None = None) -> ServerAddress:
    return ServerAddress.parse(database.dsn_as(user) if user else database.dsn)


@contextmanager
def opened(database: Database, patience: float = 5.0, **options: object) -> Iterator[SourceSession]:
    address = address_of(database)
    with open_source(address, snapshot=SNAPSHOT, lock_timeout_seconds=patience, **options) as session:  # type: ignore[arg-type]
        yield session


def names(taken: Taken) -> set[str]:
    return {str(table.name) for table in taken.tables}


def rows_of(taken: Taken, name: str) -> int:
    """What a worker reads under the snapshot."""
    spec = ReadSpec(
        address=taken.address,
        exported=taken.exported,
        client_encoding=taken.client_encoding,
        application_name="test",
    )
    table = next(table for table in taken.tables if table.name.name == name)
    with RangeReader.open(spec) as reader:
        reader.lock([table])
        return reader.read(table, WHOLE, lambda piece: None)


def test_a_snapshot_says_when_and_where_it_was_taken(
    major: int, make_database: Callable[..., Database]
) -> None:
    """Lineage and instant are what the server says of itself, on every major."""
    database = make_database(major=major)
    database.execute("CREATE TABLE t (id int)")
    with opened(database) as session:
        taken = session.take(Selection())
    system, oid = database.rows(
        "SELECT (SELECT system_identifier::text FROM pg_control_system()), "
        "(SELECT oid::int8 FROM pg_database WHERE datname = current_database())"
    )[0]
    assert (taken.lineage.system_identifier, taken.lineage.database_oid) == (system, oid)
    assert (taken.lineage.timeline, taken.lineage.is_known) == (1, True)
    assert 0 < taken.instant.xmin <= taken.instant.xmax
    assert taken.instant.wal_lsn is not None
    assert not taken.instant.on_standby
    assert taken.instant.taken_at.tzinfo is not None
    assert session.server_version // 10_000 == major
    assert taken.database.server_version == session.server_version
    assert taken.client_encoding == "UTF8"


@contextmanager
def once_blocked(database: Database, act: Callable[[], object]) -> Iterator[None]:
    """Do something from another thread as soon as somebody in the database waits for a lock."""

    def watch() -> None:
        try:
            database.wait_for_blocked()
        finally:
            act()

    with ThreadPoolExecutor(1) as pool:
        acting = pool.submit(watch)
        yield
        acting.result()


def test_tables_stay_locked_until_the_session_closes(database: Database) -> None:
    """Nobody may alter them meanwhile, and writing goes on."""
    database.execute("CREATE TABLE t (id int)")
    alter = "SET lock_timeout TO '100ms'; ALTER TABLE t ADD COLUMN x int"
    with opened(database) as session:
        taken = session.take(Selection())
        with pytest.raises(psycopg.errors.LockNotAvailable):
            database.execute(alter)
        database.execute("INSERT INTO t VALUES (1)")
        assert rows_of(taken, "t") == 0
    database.execute("ALTER TABLE t ADD COLUMN x int")  # waits until the server has seen the session's end


def test_a_table_that_stays_locked_names_who_blocks_it(database: Database) -> None:
    """The error has the process, its query and the table; the wait is announced; nothing stays locked."""
    database.execute("CREATE TABLE t (id int)", "CREATE TABLE u (id int)")
    events: list[Event] = []
    with database.connect() as blocker, opened(database, patience=8.0, listener=events.append) as session:
        blocker.execute("SET application_name TO 'the migration'")
        blocker.execute("BEGIN; LOCK TABLE u IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TableBusyError) as caught:
            session.take(Selection())
        assert database.rows("SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass") == [(0,)]
        pid = str(blocker.info.backend_pid)
        for word in ("public.u", pid, "the migration", "LOCK TABLE u IN ACCESS EXCLUSIVE MODE", "postgres"):
            assert word in caught.value.message
        assert pid in (caught.value.hint or "")
        assert any(isinstance(event, Noticed) and pid in event.message for event in events)
        blocker.execute("ROLLBACK")
        assert names(session.take(Selection())) == {"public.t", "public.u"}


def test_a_lock_that_is_let_go_in_time_only_delays(database: Database) -> None:
    """Waiting and trying again, within the patience given."""
    database.execute("CREATE TABLE t (id int)")
    with database.connect() as blocker, opened(database, patience=3600.0) as session:
        blocker.execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        with once_blocked(database, lambda: blocker.execute("COMMIT")):
            assert names(session.take(Selection())) == {"public.t"}


def test_a_prepared_transaction_in_the_way_is_named(database: Database) -> None:
    """It has no process, so the hint is another one."""
    database.execute("CREATE TABLE t (id int)")
    with database.connect() as blocker:
        blocker.execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; PREPARE TRANSACTION 'left behind'")
        try:
            with opened(database, patience=0.3) as session, pytest.raises(TableBusyError) as caught:
                session.take(Selection())
        finally:
            blocker.execute("ROLLBACK PREPARED 'left behind'")
    assert "prepared transaction" in caught.value.message
    assert "pg_prepared_xacts" in (caught.value.hint or "")


def test_waiting_for_a_lock_can_be_interrupted(database: Database) -> None:
    """Long before the patience is over."""
    database.execute("CREATE TABLE t (id int)")
    interrupted = threading.Event()
    with database.connect() as blocker, opened(database, patience=3600.0, interrupted=interrupted) as session:
        blocker.execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        with once_blocked(database, interrupted.set), pytest.raises(InterruptedRunError):
            session.take(Selection())


def while_locking(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Let `act` happen between reading the catalog and locking, the first time."""
    waiting = [act]

    def locking(connection: Connection, tables: tuple[Relation, ...]) -> None:
        if waiting:
            waiting.pop()()
        lock_tables(connection, tables)

    monkeypatch.setattr(session_module, "lock_tables", locking)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("CREATE TABLE new (id int)", {"public.t", "public.u", "public.new"}),
        ("DROP TABLE u", {"public.t"}),
        ("ALTER TABLE u RENAME TO v", {"public.t", "public.v"}),
        ("CREATE SCHEMA s; ALTER TABLE u SET SCHEMA s", {"public.t", "s.u"}),
        ("DROP TABLE u; CREATE VIEW u AS SELECT 1", {"public.t"}),
        (
            "ALTER TABLE u RENAME TO x; ALTER TABLE t RENAME TO u; ALTER TABLE x RENAME TO t",
            {"public.t", "public.u"},
        ),
        ("DROP TABLE u; CREATE TABLE u (other int)", {"public.t", "public.u"}),
    ],
)
def test_what_changes_before_the_locks_is_not_missed(
    database: Database, monkeypatch: pytest.MonkeyPatch, change: str, expected: set[str]
) -> None:
    """Created, dropped, renamed, moved or replaced in between: taking starts over and has all, locked."""
    database.execute("CREATE TABLE t (id int)", "CREATE TABLE u (id int)")
    while_locking(monkeypatch, lambda: database.execute(change))
    with opened(database) as session:
        taken = session.take(Selection())
        assert names(taken) == expected
        oids = {table.oid for table in taken.tables}
        held = database.rows("SELECT relation::int8 FROM pg_locks WHERE mode = 'AccessShareLock' AND granted")
        assert oids <= {oid for (oid,) in held}


def test_what_changes_forever_is_given_up_on(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new table at every attempt: an error, not an endless loop, and not a snapshot without it."""
    count = iter(range(1000))

    def locking(connection: Connection, tables: tuple[Relation, ...]) -> None:
        lock_tables(connection, tables)
        database.execute(f"CREATE TABLE t{next(count)} (id int)")

    monkeypatch.setattr(session_module, "lock_tables", locking)
    with opened(database) as session, pytest.raises(TableBusyError, match="is new"):
        session.take(Selection())


def test_a_truncate_before_the_lock_is_seen_by_the_snapshot(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It commits between reading the catalog and locking: the snapshot is younger, so it shows what came after.

    Were the snapshot taken first, the table would read as empty although it never was.
    """
    database.execute("CREATE TABLE t (id int)", "INSERT INTO t SELECT generate_series(1, 10)")
    replace = "BEGIN; TRUNCATE t; INSERT INTO t SELECT generate_series(1, 5); COMMIT"
    while_locking(monkeypatch, lambda: database.execute(replace))
    with opened(database) as session:
        taken = session.take(Selection())
        assert rows_of(taken, "t") == 5
        filenode = database.rows("SELECT pg_relation_filenode('t')::int8")[0][0]
        assert taken.tables[0].filenode == filenode


def test_no_statement_before_the_last_lock_takes_a_snapshot(database: Database) -> None:
    """A transaction that waited for its lock sees what the lock's holder committed while it waited."""
    database.execute("CREATE TABLE t (id int)", "INSERT INTO t SELECT generate_series(1, 10)")
    with database.connect() as truncating, opened(database, patience=3600.0) as session:
        truncating.execute("BEGIN; TRUNCATE t; INSERT INTO t VALUES (1)")
        with once_blocked(database, lambda: truncating.execute("COMMIT")):
            taken = session.take(Selection())
        assert rows_of(taken, "t") == 1


def test_a_killed_session_is_a_lost_source(database: Database) -> None:
    """`check` says so from then on, and a worker's later locks are nobody's promise any more."""
    database.execute("CREATE TABLE t (id int)")
    with opened(database) as session:
        session.take(Selection())
        session.check()
        name = f"holdfast/{SNAPSHOT}"
        kill = f"SELECT pg_terminate_backend(pid, 180000) FROM pg_stat_activity WHERE application_name = '{name}'"
        assert database.rows(kill) == [(True,)]
        time.sleep(0.6)  # so long `check` relies on what it heard
        for _ in range(2):
            with pytest.raises(SourceLostError) as caught:
                session.check()
        assert caught.value.hint


def test_an_idle_snapshot_is_not_timed_out(database: Database) -> None:
    """Whatever the database's own timeouts are."""
    database.execute(
        "CREATE TABLE t (id int)",
        f"ALTER DATABASE {database.name} SET idle_in_transaction_session_timeout TO '200ms'",
        f"ALTER DATABASE {database.name} SET statement_timeout TO '200ms'",
        f"ALTER DATABASE {database.name} SET idle_session_timeout TO '200ms'",
        f"ALTER DATABASE {database.name} SET transaction_timeout TO '200ms'",
    )
    with opened(database) as session:
        taken = session.take(Selection())
        time.sleep(0.8)
        session.check()
        assert rows_of(taken, "t") == 0


def test_rows_left_out_on_request_are_named_as_such(database: Database) -> None:
    """Their definitions stay wanted, so nothing is partial; and the tables are not even locked."""
    database.execute("CREATE TABLE t (id int)", "CREATE TABLE log (id int)")
    excluded = Selection(exclude_rows=TablePatterns(patterns=("public.lo*",)))
    with opened(database) as session:
        taken = session.take(excluded)
        database.execute("SET lock_timeout TO '1s'; ALTER TABLE log ADD COLUMN x int")
    assert names(taken) == {"public.t"}
    entry = next(entry for entry in taken.coverage if entry.name == "public.log")
    assert (entry.status, "public.lo*" in entry.reason) == (CoverageStatus.NOT_CONFIGURED, True)
    assert not is_partial(taken.coverage)
    assert taken.undefinable == ()


def test_sequences_are_read_after_the_snapshot(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """No row of the snapshot can hold a value that a restored sequence gives again."""
    database.execute("CREATE SEQUENCE s", "CREATE TABLE t (id int DEFAULT nextval('s'))")
    database.execute("CREATE SEQUENCE unused START 7")
    while_locking(monkeypatch, lambda: database.execute("INSERT INTO t SELECT FROM generate_series(1, 5)"))
    with opened(database) as session:
        taken = session.take(Selection())
    values = {value.name.name: (value.last_value, value.is_called) for value in taken.sequences}
    assert values == {"s": (5, True), "unused": (7, False)}


def test_many_tables_are_taken_in_few_round_trips(make_database: Callable[..., Database]) -> None:
    """Six hundred tables: queries for all of them, not for each."""
    database = make_database()
    create = "DO $$ BEGIN FOR i IN {}..{} LOOP EXECUTE 'CREATE TABLE t' || i || ' (id int)'; END LOOP; END $$"
    database.execute(*(create.format(start, start + 149) for start in range(0, 600, 150)))
    statements: list[object] = []
    with opened(database) as session:
        run = session._connection.execute

        def counting(query: object, *rest: object, **more: object) -> object:
            statements.append(query)
            return run(query, *rest, **more)  # type: ignore[call-overload]

        session._connection.execute = counting  # type: ignore[assignment]
        taken = session.take(Selection())
    assert len(taken.tables) == 600
    assert len(statements) < 40


# -- a standby ---------------------------------------------------------------------------------------------------


def test_a_standby_is_read_as_well(pg: ServerPool, server_folder: Path) -> None:
    """With its replayed position; unlogged tables do not reach it, which is said."""
    primary = own_server(
        folder=server_folder / "primary", settings={"wal_level": "replica", "max_wal_senders": "4"}
    )
    (server_folder / "primary").mkdir(mode=0o711)
    with primary:
        with psycopg.connect(primary.dsn(), autocommit=True) as connection:
            connection.execute("CREATE TABLE t (id int)")
            connection.execute("INSERT INTO t SELECT generate_series(1, 100)")
            connection.execute("CREATE UNLOGGED TABLE u (id int)")
        copy = server_folder / "copy"
        copy.mkdir(mode=0o711)
        dump = primary.toolset.path("pg_basebackup")
        subprocess.run(
            [dump, "-D", copy / "data", "-d", primary.dsn(), "-X", "stream", "-R", "-c", "fast", "--no-sync"],
            check=True,
            capture_output=True,
        )
        _hand_over(copy / "data", primary.data)
        with own_server(folder=copy) as standby:
            address = ServerAddress.parse(standby.dsn())
            with open_source(address, snapshot=SNAPSHOT) as session:
                taken = session.take(Selection())
                assert rows_of(taken, "t") == 100
    assert taken.instant.on_standby
    assert taken.instant.wal_lsn is not None
    assert taken.lineage.is_known
    entry = next(entry for entry in taken.coverage if entry.name == "public.u")
    assert (entry.status, entry.remedy) == (CoverageStatus.NOT_CAPTURABLE, "back up from the primary")


def _hand_over(folder: Path, like: Path) -> None:
    """To the user that the servers run as."""
    owner = like.stat()
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


# -- what cannot hold a snapshot ---------------------------------------------------------------------------------


def test_a_pooler_in_transaction_mode_is_refused(database: Database) -> None:
    """Also an idle one with a single client, where every statement happens to hit the same server connection."""
    database.execute("CREATE TABLE t (id int)")
    with TransactionPooler(database.server.port, sessions=False) as pooler:
        address = address_of(database).with_options(port=str(pooler.port))
        with pytest.raises(RefusedError, match="transaction mode") as caught:
            open_source(address, snapshot=SNAPSHOT)
    assert "address of the server itself" in (caught.value.hint or "")


def test_a_pooler_in_session_mode_is_no_obstacle(database: Database) -> None:
    """Every client keeps its server connection, so locks and snapshots stay."""
    database.execute("CREATE TABLE t (id int)", "INSERT INTO t VALUES (1)")
    with TransactionPooler(database.server.port, sessions=True) as pooler:
        address = address_of(database).with_options(port=str(pooler.port))
        with open_source(address, snapshot=SNAPSHOT) as session:
            assert rows_of(session.take(Selection()), "t") == 1


@pytest.mark.parametrize(
    ("host", "hint"),
    [
        ("aws-0-eu-central-1.pooler.supabase.com", "port 5432"),
        ("ep-cool-darkness-123456-pooler.eu-central-1.aws.neon.tech", "ep-cool-darkness-123456.eu-central-1"),
        ("db-x.b.db.ondigitalocean.com", "25060"),
        ("pgbouncer.internal", "server itself"),
    ],
)
def test_the_hint_names_the_address_to_use_instead(host: str, hint: str) -> None:
    """Of the providers that are known."""
    assert hint in direct_address_hint(ServerAddress.parse(f"host={host} port=6543 user=u"))


def test_connections_that_reach_different_servers_are_refused(pg: ServerPool, database: Database) -> None:
    """A balancer in front of several servers: they cannot share a snapshot."""
    database.execute("CREATE TABLE t (id int)")
    other = own_server()
    with other:
        with psycopg.connect(other.dsn(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database.name}".encode())
        with Balancer([pg().port, other.port]) as balancer:
            address = address_of(database).with_options(port=str(balancer.port))
            with open_source(address, snapshot=SNAPSHOT) as session, pytest.raises(RefusedError) as caught:
                session.take(Selection())
    assert "different servers" in caught.value.message


class Balancer:
    """Hands each TCP connection to the next server in turn."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = ports
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Balancer:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        turn = 0
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._ports[turn % len(self._ports)]))
            turn += 1
            self._sockets += [client, server]
            for ends in ((client, server), (server, client)):
                thread = threading.Thread(target=self._pump, args=ends, daemon=True)
                self._threads.append(thread)
                thread.start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def test_too_small_a_lock_table_is_named(server_folder: Path) -> None:
    """The server's own hint, as ours: raise max_locks_per_transaction."""
    small = {"max_locks_per_transaction": "10", "max_connections": "12", "max_prepared_transactions": "0"}
    with own_server(folder=server_folder, settings=small) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            for start in range(0, 1500, 100):
                connection.execute(
                    f"DO $$ BEGIN FOR i IN {start}..{start + 99} LOOP "
                    "EXECUTE 'CREATE TABLE t' || i || ' ()'; END LOOP; END $$".encode()
                )
        session = open_source(ServerAddress.parse(server.dsn()), snapshot=SNAPSHOT)
        with session, pytest.raises(UnreachableError) as caught:
            session.take(Selection())
    assert "max_locks_per_transaction" in (caught.value.hint or "")


def test_qualified_names_are_what_is_taken(database: Database) -> None:
    """Names that need quoting are locked and described like others."""
    odd = 'a "b"\n.c; DROP'
    with database.connect() as connection:
        connection.execute(psycopg.sql.SQL("CREATE TABLE {} (id int)").format(psycopg.sql.Identifier(odd)))
    with opened(database) as session:
        taken = session.take(Selection())
    assert taken.tables[0].name == QualifiedName(schema="public", name=odd)
