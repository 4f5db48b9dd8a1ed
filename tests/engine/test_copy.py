"""Rows out and in: every byte, every row, every encoding; and clean ends when something breaks off."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from holdfast.domain.errors import (
    InterruptedRunError,
    SourceLostError,
    TableBusyError,
)
from holdfast.domain.ids import SnapshotId
from holdfast.domain.ranges import WHOLE, PageRange, cut
from holdfast.domain.tables import Column, QualifiedName, Table
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.asyncpg_wire import AsyncpgWire
from holdfast.postgres.connection import connect
from holdfast.postgres.copy import RangeReader, ReadSpec
from holdfast.postgres.libpq_wire import LibpqWire
from holdfast.postgres.session import Selection, Taken, open_source
from patience import PATIENCE_SECONDS, wait_until
from postgres_servers import Database

SNAPSHOT = SnapshotId("01" + "b" * 24)
WIRES = ("asyncpg", "libpq")


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> str:
    """Both wires obey the same contract."""
    name: str = request.param
    return name


def address_of(database: Database, wire: str = "asyncpg") -> ServerAddress:
    """Pinned; `requirepeer` is what asyncpg cannot do, and over TCP libpq passes over it."""
    address = ServerAddress.parse(database.dsn)
    if wire == "libpq":
        address = address.with_options(requirepeer="anyone")
    with connect(address, application_name="test") as connection:
        return address.pinned(connection)


def spec_of(database: Database, wire: str = "asyncpg", exported: str | None = None) -> ReadSpec:
    with database.connect() as connection:
        encoding = (connection.pgconn.parameter_status(b"server_encoding") or b"").decode()
    return ReadSpec(
        address=address_of(database, wire),
        exported=exported,
        client_encoding=encoding,
        application_name="test",
    )


@contextmanager
def taken(database: Database) -> Iterator[Taken]:
    """A snapshot of the whole database, held."""
    with open_source(ServerAddress.parse(database.dsn), snapshot=SNAPSHOT) as session:
        yield session.take(Selection())


def table(name: str, *columns: str, schema: str = "public") -> Table:
    return Table(
        oid=0,
        name=QualifiedName(schema=schema, name=name),
        columns=tuple(Column(attnum=i, name=column, type_name="text") for i, column in enumerate(columns, 1)),
        filenode=None,
        heap=True,
        unlogged=False,
        pages=0,
        size_bytes=0,
        rows_estimate=-1,
    )


def read_all(reader: RangeReader, wanted: Table, pages: PageRange = WHOLE) -> tuple[int, bytes]:
    pieces: list[bytes] = []
    rows = reader.read(wanted, pages, pieces.append)
    assert all(piece.endswith(b"\n") for piece in pieces)
    return rows, b"".join(pieces)


def plain_copy(database: Database, query: str) -> bytes:
    statement = f"COPY ({query}) TO STDOUT".encode()
    with database.connect() as connection, connection.cursor() as cursor, cursor.copy(statement) as copy:
        return b"".join(bytes(piece) for piece in copy)


def test_the_fast_wire_is_taken_where_it_can_be(database: Database) -> None:
    """asyncpg by default, libpq where asked for what asyncpg cannot do."""
    with RangeReader.open(spec_of(database)) as fast, RangeReader.open(spec_of(database, "libpq")) as slow:
        assert isinstance(fast._wire, AsyncpgWire)
        assert isinstance(slow._wire, LibpqWire)


def test_ranges_together_are_the_table(database: Database, wire: str) -> None:
    """Every row is in exactly one range, in the order of the heap, and pieces hold whole rows."""
    database.execute(
        "CREATE TABLE t (id int, body text)",
        r"INSERT INTO t SELECT g, repeat(E'line\n\ttab\\ ' || g, 7) FROM generate_series(1, 20000) g",
        "DELETE FROM t WHERE id % 7 = 0",
        "VACUUM t",
        "INSERT INTO t SELECT -g, NULL FROM generate_series(1, 500) g",
    )
    pages = int(str(database.rows("SELECT pg_relation_size('t') / 8192")[0][0]))
    wanted = table("t", "id", "body")
    with RangeReader.open(spec_of(database, wire)) as reader:
        reader.lock([wanted])
        whole_rows, whole = read_all(reader, wanted)
        parts = [read_all(reader, wanted, pages=part) for part in cut(pages=pages, pages_per_range=37)]
    assert len(parts) > 5
    assert whole == plain_copy(database, "SELECT * FROM t")
    assert b"".join(data for _, data in parts) == whole
    assert sum(rows for rows, _ in parts) == whole_rows == whole.count(b"\n") == 17643


def test_the_last_range_is_open_ended(database: Database) -> None:
    """Rows on pages added after the size was asked are read as well."""
    database.execute("CREATE TABLE t (id int)", "INSERT INTO t SELECT generate_series(1, 1000)")
    with RangeReader.open(spec_of(database)) as reader:
        database.execute("INSERT INTO t SELECT generate_series(1, 100000)")
        assert read_all(reader, table("t", "id"), PageRange(first=0, end=None))[0] == 101000
        assert read_all(reader, table("t", "id"), PageRange(first=5, end=None))[0] < 100000


def test_a_table_without_columns_has_rows(database: Database, wire: str) -> None:
    """Each is an empty line, of the whole table and of a range."""
    database.execute("CREATE TABLE t ()", "INSERT INTO t DEFAULT VALUES")
    database.execute(*["INSERT INTO t SELECT FROM t"] * 4)
    with RangeReader.open(spec_of(database, wire)) as reader:
        assert read_all(reader, table("t")) == (16, b"\n" * 16)
        assert read_all(reader, table("t"), PageRange(first=0, end=1)) == (16, b"\n" * 16)


def test_an_empty_table_gives_no_pieces(database: Database, wire: str) -> None:
    """The sink is not called at all."""
    database.execute("CREATE TABLE t (id int)")
    with RangeReader.open(spec_of(database, wire)) as reader:
        assert read_all(reader, table("t", "id")) == (0, b"")


def load(database: Database, statement: bytes, pieces: Iterable[bytes], *, encoding: str) -> None:
    """COPY them in, by plain psycopg."""
    with database.connect() as connection:
        connection.execute(f"SET client_encoding TO '{encoding}'")
        with connection.cursor().copy(statement) as copy:
            for piece in pieces:
                copy.write(piece)


def test_one_row_of_a_hundred_megabytes(database: Database) -> None:
    """A row may be as large as a range is meant to be six times over; both ways, and byte for byte."""
    wire = "asyncpg"
    database.execute("CREATE TABLE t (id int, body text)", "CREATE TABLE u (id int, body text)")
    database.execute("INSERT INTO t SELECT 1, repeat('0123456789', 10000000); INSERT INTO t VALUES (2, 'x')")
    pieces: list[bytes] = []
    with RangeReader.open(spec_of(database, wire)) as reader:
        assert reader.read(table("t", "id", "body"), WHOLE, pieces.append) == 2
    assert sum(map(len, pieces)) == 100_000_000 + len("1\t\n2\tx\n")
    load(database, b"COPY u FROM STDIN", pieces, encoding="UTF8")
    query = "SELECT string_agg(md5(body), ',' ORDER BY id) FROM "
    assert database.rows(query + "t") == database.rows(query + "u")


def test_children_and_other_tables_rows_are_not_read(database: Database) -> None:
    """ONLY, always: rows of children are read with the children."""
    database.execute("CREATE TABLE p (id int); CREATE TABLE c () INHERITS (p)", "INSERT INTO p VALUES (1)")
    database.execute("INSERT INTO c VALUES (2)")
    with RangeReader.open(spec_of(database)) as reader:
        assert read_all(reader, table("p", "id")) == (1, b"1\n")


def test_an_extensions_condition_limits_every_range(database: Database) -> None:
    """Also one with an OR in it, which must not swallow the range."""
    database.execute("CREATE TABLE t (id int)", "INSERT INTO t SELECT generate_series(1, 5000)")
    limited = replace(table("t", "id"), condition="WHERE id = 1 OR id = 5000")
    with RangeReader.open(spec_of(database)) as reader:
        assert read_all(reader, limited) == (2, b"1\n5000\n")
        assert read_all(reader, limited, PageRange(first=3, end=None)) == (1, b"5000\n")


def test_settings_of_the_database_do_not_change_what_is_read(database: Database, wire: str) -> None:
    """Dates, floats, bytea and money are written in one way, whatever ALTER DATABASE says."""
    database.execute(
        "CREATE TABLE t (a timestamptz, b float8, c bytea, d interval)",
        "INSERT INTO t VALUES ('2020-02-03 04:05:06+02', 0.1::float8 + 0.2, '\\x00ff', '1 mon -2 days')",
        f"ALTER DATABASE {database.name} SET DateStyle TO 'German'",
        f"ALTER DATABASE {database.name} SET TimeZone TO 'Asia/Kathmandu'",
        f"ALTER DATABASE {database.name} SET extra_float_digits TO -15",
        f"ALTER DATABASE {database.name} SET bytea_output TO 'escape'",
        f"ALTER DATABASE {database.name} SET IntervalStyle TO 'iso_8601'",
        f"ALTER DATABASE {database.name} SET enable_tidscan TO off",
    )
    with RangeReader.open(spec_of(database, wire)) as reader:
        assert read_all(reader, table("t", "a", "b", "c", "d")) == (
            1,
            b"2020-02-03 02:05:06+00\t0.30000000000000004\t\\\\x00ff\t1 mon -2 days\n",
        )


def test_rows_come_in_the_order_of_the_heap(database: Database) -> None:
    """An index that holds all columns is no short cut, nor are parallel workers: drills compare the order."""
    database.execute(
        "CREATE TABLE t (id int PRIMARY KEY)",
        "INSERT INTO t SELECT g FROM generate_series(200000, 1, -1) g",
        "VACUUM ANALYZE t",
        f"ALTER DATABASE {database.name} SET parallel_setup_cost TO 0",
        f"ALTER DATABASE {database.name} SET parallel_tuple_cost TO 0",
        f"ALTER DATABASE {database.name} SET min_parallel_table_scan_size TO 0",
        f"ALTER DATABASE {database.name} SET enable_seqscan TO off",
    )
    with RangeReader.open(spec_of(database)) as reader:
        rows, data = read_all(reader, table("t", "id"))
    assert rows == 200000
    assert data == b"".join(b"%d\n" % number for number in range(200000, 0, -1))


# -- encodings ---------------------------------------------------------------------------------------------------


def test_a_latin1_database_is_read_byte_for_byte(make_database: Callable[..., Database], wire: str) -> None:
    """No conversion on the way out, and names in that encoding are found."""
    database = make_database(encoding="LATIN1", locale="C")
    every = "".join(chr(code) for code in (*range(1, 128), *range(160, 256)))
    with database.connect() as connection:
        connection.execute("SET client_encoding TO 'UTF8'")
        connection.execute('CREATE TABLE "täble" ("cölumn" text)'.encode())
        connection.execute('INSERT INTO "täble" VALUES (%s)', (every,))
    with taken(database) as found, RangeReader.open(spec_of(database, wire, found.exported)) as reader:
        assert [item.name.name for item in found.tables] == ["täble"]
        assert found.client_encoding == "LATIN1"
        _, data = read_all(reader, found.tables[0])
    assert bytes(range(160, 256)) in data
    target = make_database(encoding="UTF8", locale="C")
    with target.connect() as connection:
        connection.execute('CREATE TABLE "täble" ("cölumn" text)'.encode())
    load(target, 'COPY "täble" FROM STDIN'.encode("latin-1"), [data], encoding="LATIN1")
    assert target.rows('SELECT * FROM "täble"') == [(every,)]


def test_a_sql_ascii_database_keeps_bytes_of_no_encoding(make_database: Callable[..., Database]) -> None:
    """Bytes that are valid in no one encoding, in values and in names, out and in again."""
    database = make_database(encoding="SQL_ASCII", locale="C")
    target = make_database(encoding="SQL_ASCII", locale="C")
    raw = bytes(range(128, 256))
    for each in (database, target):
        with each.connect() as connection:
            connection.execute("SET client_encoding TO 'SQL_ASCII'")
            connection.execute(b'CREATE TABLE "n\xff\xe9\xc3" ("c\xfe" text)')
            connection.execute(b'CREATE TABLE "caf\xc3\xa9" (id int)')
    with database.connect() as connection:
        connection.execute("SET client_encoding TO 'SQL_ASCII'")
        connection.execute(b'INSERT INTO "n\xff\xe9\xc3" VALUES (\'' + raw + b"')")
    with taken(database) as found, RangeReader.open(spec_of(database, exported=found.exported)) as reader:
        odd = next(item for item in found.tables if item.name.name.startswith("n"))
        assert odd.name.name.encode("latin-1") == b"n\xff\xe9\xc3"
        reader.lock(found.tables)
        rows, data = read_all(reader, odd)
    assert (rows, data) == (1, raw + b"\n")
    load(target, b'COPY "n\xff\xe9\xc3" FROM STDIN', [data], encoding="SQL_ASCII")
    with target.connect() as connection:
        connection.execute("SET client_encoding TO 'SQL_ASCII'")
        assert connection.execute(b'SELECT "c\xfe" FROM "n\xff\xe9\xc3"').fetchone() == (raw,)


# -- breaking off ------------------------------------------------------------------------------------------------


class EnoughError(Exception):
    """What a test's own sink or source raises."""


def test_a_failing_sink_ends_the_reading_and_no_more(database: Database, wire: str) -> None:
    """What the sink raised comes out as it was, and the reader goes on with the same snapshot."""
    database.execute("CREATE TABLE t (id int)", "INSERT INTO t SELECT generate_series(1, 300000)")
    wanted = table("t", "id")
    with taken(database) as found, RangeReader.open(spec_of(database, wire, found.exported)) as reader:
        database.execute("DELETE FROM t WHERE id <= 1000")

        def fail(piece: bytes) -> None:
            raise EnoughError

        with pytest.raises(EnoughError):
            reader.read(wanted, WHOLE, fail)
        assert read_all(reader, wanted)[0] == 300000


def test_abort_ends_a_running_read_from_another_thread(database: Database, wire: str) -> None:
    """Soon, also when the server is busy without sending anything; and for good."""
    with RangeReader.open(spec_of(database, wire)) as reader:
        sleeping = (
            "SELECT 1 FROM pg_stat_activity"
            " WHERE query LIKE '%pg_sleep(3600)::text%' AND state = 'active' AND pid <> pg_backend_pid()"
        )

        def abort_once_it_runs() -> None:
            try:
                wait_until(lambda: database.rows(sleeping), "the query")
            finally:
                reader.abort()

        aborting = threading.Thread(target=abort_once_it_runs)
        aborting.start()
        with pytest.raises(InterruptedRunError):
            reader.query("SELECT pg_catalog.pg_sleep(3600)::text")
        aborting.join()
        with pytest.raises(InterruptedRunError):
            reader.query("SELECT 1")
    database.wait_for_none(sleeping)


def test_a_killed_backend_is_a_lost_source(database: Database, wire: str) -> None:
    """In the middle of a COPY: the error says which table, and that it can be run again."""
    database.execute(
        "CREATE TABLE t (body text)",
        "ALTER TABLE t ALTER body SET STORAGE PLAIN",
        # More than all the buffers between the server and us can take: it cannot have ended when it is killed.
        "INSERT INTO t SELECT repeat('x', 2000) FROM generate_series(1, 15000)",
    )
    with RangeReader.open(spec_of(database, wire)) as reader:
        pid = reader.query("SELECT pg_catalog.pg_backend_pid()")[0][0]
        killed: list[object] = []

        def kill(piece: bytes) -> None:
            if not killed:
                killed.append(database.rows(f"SELECT pg_terminate_backend({pid}, 180000)"))

        with pytest.raises(SourceLostError, match=r"public\.t") as caught:
            reader.read(table("t", "body"), WHOLE, kill)
        assert killed == [[(True,)]]
        assert caught.value.hint
        with pytest.raises(SourceLostError):
            reader.query("SELECT 1")


def test_a_queued_exclusive_lock_is_not_waited_for(database: Database, wire: str) -> None:
    """The session that holds the snapshot has its lock; a worker queueing behind an ALTER would wait forever."""
    database.execute("CREATE TABLE t (id int)", "INSERT INTO t VALUES (1)")
    with taken(database) as found, RangeReader.open(spec_of(database, wire, found.exported)) as reader:
        altering = threading.Thread(target=database.execute, args=("ALTER TABLE t ADD COLUMN x int",))
        altering.start()
        database.wait_for_blocked()
        watchdog = threading.Timer(PATIENCE_SECONDS, reader.abort)
        watchdog.start()
        with pytest.raises(TableBusyError):
            reader.lock(found.tables)
        watchdog.cancel()
        assert found.tables[0].columns[0].name == "id"
    altering.join()
    with taken(database) as found, RangeReader.open(spec_of(database, wire, found.exported)) as reader:
        reader.lock(found.tables)
        assert read_all(reader, found.tables[0]) == (1, b"1\t\\N\n")


def test_a_snapshot_of_another_database_is_refused(make_database: Callable[..., Database], wire: str) -> None:
    """A wrong token is an error, never somebody else's rows."""
    database = make_database()
    reader = RangeReader.open(spec_of(database, wire, "00000003-00000001-1"))
    with reader, pytest.raises(SourceLostError, match="snapshot"):
        reader.query("SELECT 1")


def test_large_objects_are_read_in_pieces(database: Database, wire: str) -> None:
    """Offset and length are honoured, and past the end there is nothing."""
    with database.connect() as connection:
        connection.execute("SELECT lo_from_bytea(4711, decode(repeat('00ff10', 100000), 'hex'))")
    with taken(database) as found, RangeReader.open(spec_of(database, wire, found.exported)) as reader:
        assert [item.oid for item in found.large_objects] == [4711]
        with database.connect() as connection:
            connection.execute("SELECT lo_unlink(4711)")
        whole = reader.read_large_object(4711, 0, 1_000_000)
        assert whole == bytes.fromhex("00ff10") * 100000
        assert reader.read_large_object(4711, 299_990, 100) == whole[-10:]
        assert reader.read_large_object(4711, 300_000, 100) == b""


def test_readers_of_any_major_agree(make_database: Callable[..., Database], major: int) -> None:
    """Every version reads the same rows of the same table in the same way."""
    database = make_database(major=major)
    database.execute(
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, a text, d int)",
        "ALTER TABLE t ADD COLUMN g int GENERATED ALWAYS AS (1) STORED",
        "ALTER TABLE t DROP COLUMN d",
        "INSERT INTO t (a) SELECT repeat('x', g) FROM generate_series(1, 3000) g",
    )
    with taken(database) as found, RangeReader.open(spec_of(database, exported=found.exported)) as reader:
        reader.lock(found.tables)
        assert [column.name for column in found.tables[0].columns] == ["id", "a"]
        parts = [
            read_all(reader, found.tables[0], pages)
            for pages in cut(pages=found.tables[0].pages, pages_per_range=50)
        ]
    rows = b"".join(data for _, data in parts).splitlines()
    assert sorted(rows) == sorted(b"%d\t%s" % (number, b"x" * number) for number in range(1, 3001))
