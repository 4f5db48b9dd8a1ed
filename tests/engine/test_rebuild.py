"""Restores, straight from a live database: what comes back, in which order, and how each failure ends."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from engine.rebuilding import Taken, take
from engine.torture.build import available, build, create_database, drop_database
from engine.torture.compare import compare
from holdfast.domain.errors import (
    DamagedError,
    InterruptedRunError,
    LackingRightsError,
    RefusedError,
    RestoreFailedError,
)
from holdfast.domain.events import RowsMoved, TableFinished, TierReadable
from holdfast.domain.tables import QualifiedName, Tier
from holdfast.postgres import loading, restore_graph
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.rebuild_plan import RebuildMode, TableLoad
from holdfast.postgres.target import Target, Tolerated
from holdfast.postgres.tools import find_tools
from patience import wait_until
from postgres_servers import Database, ServerPool, servers_at_hand

MakeDatabase = Callable[..., Database]

SHOP = """
CREATE SCHEMA shop;
CREATE TYPE shop.status AS ENUM ('new', 'paid');
CREATE FUNCTION shop.stamp() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN NEW.note := 'touched'; RETURN NEW; END $$;
CREATE TABLE shop.customers (id serial PRIMARY KEY, email text UNIQUE NOT NULL);
CREATE TABLE shop.orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer int REFERENCES shop.customers, status shop.status DEFAULT 'new', note text);
CREATE TABLE shop.logs (at timestamptz DEFAULT now(), line text);
CREATE INDEX ON shop.orders (status);
CREATE TRIGGER stamp BEFORE INSERT ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.stamp();
CREATE VIEW shop.open AS SELECT * FROM shop.orders WHERE status = 'new';
CREATE MATERIALIZED VIEW shop.totals AS SELECT status, count(*) FROM shop.orders GROUP BY 1;
INSERT INTO shop.customers (email) SELECT 'c' || i FROM generate_series(1, 300) i;
ALTER TABLE shop.orders DISABLE TRIGGER USER;
INSERT INTO shop.orders (customer, status, note) SELECT i, 'paid', 'n' FROM generate_series(1, 300) i;
ALTER TABLE shop.orders ENABLE TRIGGER USER;
INSERT INTO shop.logs (line) SELECT 'line ' || i FROM generate_series(1, 5000) i;
REFRESH MATERIALIZED VIEW shop.totals;
SELECT setval('shop.customers_id_seq', 4711);
"""

ORDERS = QualifiedName(schema="shop", name="orders")
CUSTOMERS = QualifiedName(schema="shop", name="customers")
LOGS = QualifiedName(schema="shop", name="logs")


def newest_pg_dump() -> Path:
    toolset = max(
        (item for item in find_tools() if "pg_dump" in item.programs), key=lambda item: item.version
    )
    return toolset.path("pg_dump")


@pytest.fixture
def shop(database: Database) -> Database:
    database.execute(SHOP)
    return database


@pytest.fixture
def taken(shop: Database, tmp_path: Path) -> Taken:
    return take(shop.dsn, tmp_path, parts=4)


@pytest.fixture
def target(make_database: MakeDatabase) -> Database:
    return make_database(name_prefix="target")


@pytest.fixture
def role(database: Database) -> Iterator[str]:
    """A role that can log in and create databases and roles, and nothing else."""
    name = f"plain_{secrets.token_hex(4)}"
    database.execute(f"CREATE ROLE {name} LOGIN CREATEDB CREATEROLE")
    yield name
    for (other,) in database.rows("SELECT datname FROM pg_database WHERE datallowconn"):
        with psycopg.connect(database.server.dsn(str(other)), autocommit=True) as connection:
            connection.execute(f"REASSIGN OWNED BY {name} TO CURRENT_USER".encode())
            connection.execute(f"DROP OWNED BY {name} CASCADE".encode())
    database.execute(f"DROP ROLE {name}")


@pytest.fixture
def every_table_is_big(monkeypatch: pytest.MonkeyPatch) -> None:
    """All tables take the ways of big ones: truncated or split, constraints and foreign keys in two steps."""
    monkeypatch.setattr(restore_graph, "SPLIT_FROM_BYTES", 0)
    monkeypatch.setattr(restore_graph, "TWO_STEPS_FROM_BYTES", 0)
    monkeypatch.setattr(restore_graph, "FREEZE_FROM_BYTES", 0)
    monkeypatch.setattr(loading, "FREEZE_FROM_BYTES", 0)


def is_incomplete(database: Database) -> bool:
    return Target(ServerAddress.parse(database.dsn)).unfinished_restore() is not None


# What comes back


@pytest.mark.parametrize("share", [0.0, 100.0], ids=["split", "whole"])
@pytest.mark.usefixtures("every_table_is_big")
def test_every_case_survives_the_ways_of_big_tables(
    share: float,
    pg: ServerPool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """Parallel streams, frozen rows, keys made of unique indexes, foreign keys checked later: the torture
    database comes back without a difference."""
    monkeypatch.setattr(restore_graph, "LONG_SHARE", share)
    server, name = pg().dsn(), f"torture_{secrets.token_hex(4)}"
    request.addfinalizer(lambda: drop_database(server, name))
    request.addfinalizer(lambda: drop_database(server, f"{name}_back"))
    source, target = create_database(server, name), pg().dsn(f"{name}_back")
    abilities = available(source)
    build(source, major=abilities.major, contrib=abilities.contrib, features=abilities.features)
    found = take(source, tmp_path, parts=4).restore(target, jobs=3)
    assert found.left_out == ()
    assert compare(source, target, pg_dump=newest_pg_dump()) == []


def test_rows_sequences_views_and_statistics_come_back(
    taken: Taken, shop: Database, target: Database
) -> None:
    """Rows without triggers fired, sequences where they stood, materialized views filled, statistics at hand, and
    no mark left."""
    rebuilt = taken.restore(target.dsn)
    assert (rebuilt.tables, rebuilt.rows) == (3, 5600)
    for query in (
        "SELECT * FROM shop.orders ORDER BY id",
        "SELECT * FROM shop.logs ORDER BY line",
        "SELECT * FROM shop.totals ORDER BY 1",
        "SELECT last_value, is_called FROM shop.customers_id_seq",
    ):
        assert target.rows(query) == shop.rows(query)
    assert target.rows("SELECT reltuples FROM pg_class WHERE relname = 'logs'") == [(5000.0,)]
    assert target.rows(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
    ) == [(None,)]
    assert not is_incomplete(target)


def test_vital_tables_come_first(shop: Database, target: Database, tmp_path: Path) -> None:
    """The critical table is loaded and indexed before bigger ones, and its tier is announced with its time."""
    taken = take(shop.dsn, tmp_path, tiers={"shop.customers": Tier.CRITICAL, "shop.logs": Tier.LOW})
    rebuilt = taken.restore(target.dsn, jobs=1)
    finished = [event.table for event in taken.events if isinstance(event, TableFinished)]
    assert finished == [CUSTOMERS, ORDERS, LOGS]
    tiers = [event.tier for event in taken.events if isinstance(event, TierReadable)]
    assert tiers == [Tier.CRITICAL, Tier.NORMAL, Tier.LOW]
    first = next(number for number, event in enumerate(taken.events) if isinstance(event, TierReadable))
    assert not any(
        isinstance(event, RowsMoved) and event.table != CUSTOMERS for event in taken.events[:first]
    )
    seconds = [item.seconds for item in rebuilt.tiers]
    assert seconds == sorted(seconds)


@pytest.mark.usefixtures("every_table_is_big")
def test_kept_order_reads_back_byte_for_byte(taken: Taken, target: Database) -> None:
    """Loaded with one stream, a plain COPY gives exactly the text that went in."""
    taken.restore(target.dsn, keep_order=True, jobs=3)
    with psycopg.connect(target.dsn, options="-c TimeZone=UTC") as connection:
        for name in (LOGS, CUSTOMERS):
            with connection.cursor().copy(f"COPY {name} TO STDOUT".encode()) as copy:
                assert b"".join(bytes(row) for row in copy) == b"".join(taken.rows[name])


def test_definitions_alone_come_without_rows(taken: Taken, target: Database) -> None:
    """Schema only: tables, indexes, keys and triggers, and nothing in them."""
    taken.restore(target.dsn, mode=RebuildMode.SCHEMA_ONLY)
    assert target.rows("SELECT count(*) FROM shop.logs") == [(0,)]
    assert target.rows(
        "SELECT count(*) FROM pg_constraint WHERE contype IN ('p', 'u', 'f') "
        "AND connamespace = 'shop'::regnamespace"
    ) == [(4,)]
    assert target.rows("SELECT relispopulated FROM pg_class WHERE relname = 'totals'") == [(False,)]
    assert not is_incomplete(target)


def test_some_tables_bring_what_they_need(taken: Taken, target: Database) -> None:
    """A chosen table comes with its type, sequence, index, trigger and function; its foreign key to a table that
    was not chosen is left out by name; nothing else comes."""
    tables = tuple(table for table in taken.plan.tables if table.name == ORDERS)
    rebuilt = taken.restore(target.dsn, tables=tables, only_tables=frozenset({ORDERS}))
    assert target.rows("SELECT count(*), max(note) FROM shop.orders") == [(300, "n")]
    assert [
        name
        for (name,) in target.rows(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'v', 'm')"
            " AND relnamespace = 'shop'::regnamespace"
        )
    ] == ["orders"]
    assert any("orders_customer_fkey" in text for text in rebuilt.left_out)
    target.execute("INSERT INTO shop.orders (status) VALUES ('new')")
    assert target.rows("SELECT id, note FROM shop.orders WHERE status = 'new'") == [(301, "touched")]


def test_chosen_tables_keep_the_keys_among_them(taken: Taken, target: Database) -> None:
    """Both ends of a foreign key chosen: it comes too, and so does the default of a serial column."""
    chosen = frozenset({ORDERS, CUSTOMERS})
    tables = tuple(table for table in taken.plan.tables if table.name in chosen)
    rebuilt = taken.restore(target.dsn, tables=tables, only_tables=chosen)
    assert not any("fkey" in text for text in rebuilt.left_out)
    assert target.rows("SELECT nextval('shop.customers_id_seq')") == [(4712,)]
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        target.execute("INSERT INTO shop.orders (customer) VALUES (9999)")


def test_a_chosen_table_brings_the_functions_behind_its_index(
    database: Database, target: Database, tmp_path: Path
) -> None:
    """What a function calls stands in no catalog: functions that are named in its text come too, and nothing
    that would bring another table."""
    database.execute(
        "CREATE TABLE other (i int)",
        "CREATE FUNCTION inner_one(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT lower($1)'",
        "CREATE FUNCTION reader(text) RETURNS SETOF other LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION outer_one(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS "
        "'BEGIN RETURN public.inner_one($1); /* not reader */ END'",
        "CREATE TABLE t (x text); CREATE INDEX ON t (outer_one(x)); INSERT INTO t VALUES ('A')",
    )
    taken = take(database.dsn, tmp_path)
    name = QualifiedName(schema="public", name="t")
    tables = tuple(table for table in taken.plan.tables if table.name == name)
    taken.restore(target.dsn, tables=tables, only_tables=frozenset({name}))
    assert target.rows("SELECT x FROM t WHERE outer_one(x) = 'a'") == [("A",)]
    assert target.rows("SELECT proname FROM pg_proc WHERE oid >= 16384 ORDER BY 1") == [
        ("inner_one",),
        ("outer_one",),
    ]


def test_large_objects_come_back_with_owner_and_grants(
    database: Database, target: Database, tmp_path: Path
) -> None:
    """Same number, same bytes, same comment, same grants."""
    database.execute(
        "SELECT lo_from_bytea(4711, repeat('x', 20000)::bytea)",
        "COMMENT ON LARGE OBJECT 4711 IS 'a picture'",
        "GRANT SELECT ON LARGE OBJECT 4711 TO PUBLIC",
    )
    take(database.dsn, tmp_path).restore(target.dsn)
    query = """SELECT oid, lomacl::text, obj_description(oid, 'pg_largeobject'), md5(lo_get(oid))
                 FROM pg_largeobject_metadata"""
    assert target.rows(query) == database.rows(query)
    assert len(target.rows(query)) == 1


def test_event_triggers_come_last_and_do_not_fire(
    database: Database, target: Database, tmp_path: Path
) -> None:
    """An event trigger that forbids all DDL does not stop the restore that brings it, and works afterwards."""
    database.execute(
        "CREATE TABLE t (i int PRIMARY KEY); CREATE MATERIALIZED VIEW v AS SELECT 1 AS one",
        """CREATE FUNCTION forbid() RETURNS event_trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE 'no DDL here'; END $$""",
        """CREATE EVENT TRIGGER forbid ON ddl_command_end EXECUTE FUNCTION forbid();
           COMMENT ON EVENT TRIGGER forbid IS 'kept'""",
    )
    take(database.dsn, tmp_path).restore(target.dsn)
    with pytest.raises(psycopg.errors.RaiseException, match="no DDL here"):
        target.execute("CREATE TABLE other (i int)")
    assert target.rows("SELECT obj_description(oid, 'pg_event_trigger') FROM pg_event_trigger") == [("kept",)]


def test_missing_roles_are_made_without_a_password(
    database: Database, target: Database, tmp_path: Path
) -> None:
    """A role that is not there comes back with its options, and cannot log in until it has a password again."""
    name = f"owner_{secrets.token_hex(4)}"
    database.execute(
        f"CREATE ROLE {name} LOGIN CREATEDB PASSWORD 'secret'",
        f"CREATE ROLE {name}_group; GRANT {name}_group TO {name}",
        f"CREATE TABLE t (i int); ALTER TABLE t OWNER TO {name}; GRANT SELECT ON t TO {name}_group",
    )
    taken = take(database.dsn, tmp_path)
    database.execute(
        f"DROP TABLE t; DROP ROLE {name}; DROP ROLE {name}_group",
    )
    try:
        rebuilt = taken.restore(target.dsn)
        assert any(name in text and "cannot log in" in text for text in rebuilt.warnings)
        assert target.rows(f"SELECT rolcanlogin, rolcreatedb FROM pg_roles WHERE rolname = '{name}'") == [
            (False, True)
        ]
        assert target.rows(f"SELECT pg_has_role('{name}', '{name}_group', 'MEMBER')") == [(True,)]
        assert target.rows("SELECT tableowner FROM pg_tables WHERE tablename = 't'") == [(name,)]
    finally:
        target.execute("DROP TABLE IF EXISTS t", f"DROP ROLE IF EXISTS {name}, {name}_group")


def test_a_newer_pg_restore_serves_an_older_server(make_database: MakeDatabase, tmp_path: Path) -> None:
    """pg_restore 17 and later sets a parameter that older servers lack: that one complaint is expected."""
    older, newest = min(servers_at_hand()), max(servers_at_hand())
    if older >= 17 or newest < 17:
        pytest.skip("needs a server before 17 and client programs from 17")
    source, target = (make_database(major=older) for _ in range(2))
    source.execute(SHOP)
    tools = tuple(tools for tools in find_tools() if tools.major == newest)
    taken = take(source.dsn, tmp_path, tools=tools)
    taken.rebuild(target.dsn, toolsets=tools).run()
    assert target.rows("SELECT count(*) FROM shop.logs") == [(5000,)]


def test_with_the_expected_complaint_any_other_still_counts(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Beside the expected complaint, a definition that the server refuses ends the restore by name."""
    older, newest = min(servers_at_hand()), max(servers_at_hand())
    if older >= 17 or newest < 17:
        pytest.skip("needs a server before 17 and client programs from 17")
    source, target = (make_database(major=older) for _ in range(2))
    source.execute(
        "CREATE TABLE t (i int, CHECK (current_setting('holdfast.x', true) IS NULL))",
        "CREATE VIEW v AS SELECT pg_size_pretty(1::bigint)",
    )
    tools = tuple(tools for tools in find_tools() if tools.major == newest)
    taken = take(source.dsn, tmp_path, tools=tools)
    damaged = taken.plan.archive.read_bytes().replace(b"pg_size_pretty", b"pg_size_ugly!!")
    taken.plan.archive.write_bytes(damaged)
    with pytest.raises(RestoreFailedError, match=r"VIEW public\.v"):
        taken.rebuild(target.dsn, toolsets=tools).run()
    assert is_incomplete(target)


# How failures end


@pytest.mark.usefixtures("every_table_is_big")
@pytest.mark.parametrize("share", [0.0, 100.0], ids=["split", "whole"])
def test_a_damaged_chunk_stops_before_its_table_is_committed(
    share: float, taken: Taken, target: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supplier's error arrives as it was; no row of that table is there, however many streams it had; the
    target says that it is incomplete, and no further restore goes into it."""
    monkeypatch.setattr(restore_graph, "LONG_SHARE", share)

    def damage(table: TableLoad, part: int) -> None:
        if table.name == LOGS and part == len(table.parts) - 1:
            time.sleep(0.5)  # the other streams are done by now
            raise DamagedError("chunk 7 is damaged", object_name="data/7")

    taken.on_piece = damage
    with pytest.raises(DamagedError, match="chunk 7 is damaged"):
        taken.restore(target.dsn, jobs=2)
    assert target.rows("SELECT count(*) FROM shop.logs") == [(0,)]
    assert is_incomplete(target)
    taken.on_piece = lambda table, part: None
    with pytest.raises(RefusedError, match="incomplete restore of snapshot 01test begun at") as refused:
        taken.restore(target.dsn)
    assert f"--replace {target.name}" in (refused.value.hint or "")


def test_missing_rows_are_noticed(taken: Taken, target: Database) -> None:
    """Fewer rows than the manifest counts is an error that names the table, not a shorter table."""
    text = taken.rows[CUSTOMERS][0]
    taken.rows[CUSTOMERS][0] = text[text.index(b"\n") + 1 :]
    with pytest.raises(RestoreFailedError, match=r"table shop\.customers: the snapshot has \d+ rows here"):
        taken.restore(target.dsn)
    assert target.rows("SELECT count(*) FROM shop.customers") == [(0,)]
    assert is_incomplete(target)


def test_rows_that_the_server_refuses_are_named(taken: Taken, target: Database) -> None:
    """A value that is none of its type: the error says which table and which row."""
    taken.rows[ORDERS][0] = taken.rows[ORDERS][0].replace(b"paid", b"owed", 1)
    with pytest.raises(RestoreFailedError, match=r"loading table shop\.orders at row 1 failed: .*owed"):
        taken.restore(target.dsn)


@pytest.mark.parametrize("big", [False, True])
def test_a_constraint_that_fails_is_named_with_its_statement(
    big: bool, taken: Taken, target: Database, request: pytest.FixtureRequest
) -> None:
    """Rows that break a unique constraint: the error names it and its statement, and the mark stays."""
    if big:
        request.getfixturevalue("every_table_is_big")
    taken.rows[CUSTOMERS][0] = taken.rows[CUSTOMERS][0].replace(b"\tc2\n", b"\tc3\n")
    with pytest.raises(
        RestoreFailedError, match=r"customers_email_key.* failed: .*the statement was: "
    ) as failed:
        taken.restore(target.dsn)
    assert "UNIQUE" in failed.value.message
    assert is_incomplete(target)


@pytest.mark.parametrize("big", [False, True])
def test_a_foreign_key_that_fails_is_named(
    big: bool, taken: Taken, target: Database, request: pytest.FixtureRequest
) -> None:
    """A row that refers to nothing is found, also where the key is added first and checked later."""
    if big:
        request.getfixturevalue("every_table_is_big")
    taken.rows[ORDERS][0] = taken.rows[ORDERS][0].replace(b"1\t1\tpaid", b"1\t999\tpaid", 1)
    with pytest.raises(RestoreFailedError, match=r"orders_customer_fkey.* failed"):
        taken.restore(target.dsn)
    assert is_incomplete(target)


def test_an_interruption_ends_within_seconds(shop: Database, target: Database, tmp_path: Path) -> None:
    """Asked to stop while an index is being built for a long time, it cancels that and says so."""
    shop.execute(
        "CREATE FUNCTION slow(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(1); RETURN $1; END $$",
        "CREATE TABLE waiting (line text)",
        "CREATE INDEX slowly ON waiting (slow(line))",
    )
    taken = take(shop.dsn, tmp_path)
    waiting = QualifiedName(schema="public", name="waiting")
    load = next(table for table in taken.plan.tables if table.name == waiting)
    taken.rows[waiting] = [b"x\n" * 5000]
    part = replace(load.parts[0], rows=5000, plain_bytes=10_000)
    tables = tuple(replace(table, parts=(part,)) if table is load else table for table in taken.plan.tables)
    rebuild = taken.rebuild(target.dsn, tables=tables)
    alive = "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'holdfast/%'"

    def interrupt_once_it_builds() -> None:
        building = f"{alive} AND datname = current_database() AND query LIKE '%CREATE INDEX%'"
        try:
            wait_until(lambda: target.rows(building), "the index's building")
        finally:
            rebuild.interrupted.set()

    interrupting = threading.Thread(target=interrupt_once_it_builds)
    interrupting.start()
    with pytest.raises(InterruptedRunError):
        rebuild.run()
    interrupting.join()
    assert is_incomplete(target)
    target.wait_for_none(alive)


def test_an_extension_that_the_target_lacks_is_named_before_anything_changes(
    taken: Taken, target: Database
) -> None:
    """The host has no such extension: refused by name, and the target is as it was."""
    data = taken.plan.archive.read_bytes()
    assert b"CREATE SCHEMA shop;" in data
    for old, new in ((b"SCHEMA\x02", b"EXTENSION\x02"),):
        data = data.replace(old, new)
    index = data.index(b"CREATE SCHEMA shop;")
    start = data.rindex(b"SCHEMA", 0, index)
    length = data[start - 4 : start]
    assert length == (6).to_bytes(4, "little")
    data = data[: start - 4] + (9).to_bytes(4, "little") + b"EXTENSION" + data[start + 6 :]
    taken.plan.archive.write_bytes(data)
    with pytest.raises(RestoreFailedError, match="has no extension shop to offer"):
        taken.restore(target.dsn)
    assert target.rows("SELECT count(*) FROM pg_namespace WHERE oid >= 16384") == [(0,)]


def test_an_unreadable_archive_is_refused(taken: Taken, target: Database) -> None:
    """Definitions that are not whole end the restore before anything is touched."""
    taken.plan.archive.write_bytes(taken.plan.archive.read_bytes()[:1000])
    with pytest.raises(RestoreFailedError, match="definitions of snapshot 01test cannot be read"):
        taken.restore(target.dsn)
    assert not is_incomplete(target)


# Targets


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("CREATE TABLE public.left_over (i int)", "table public.left_over"),
        ("CREATE SCHEMA old", "schema old"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "function public.f"),
        ("CREATE TYPE mood AS ENUM ('sad')", "type public.mood"),
        ("CREATE TYPE pair AS (a int, b int)", "composite type public.pair"),
        ("CREATE SEQUENCE s", "sequence public.s"),
        ("CREATE EXTENSION citext", "extension public.citext"),
        ("SELECT lo_create(42)", "large object 42"),
        ("CREATE PUBLICATION p", "publication p"),
        ("CREATE CAST (int8 AS bytea) WITH INOUT", "cast bigint to bytea"),
    ],
)
def test_a_target_that_holds_anything_is_refused(statement: str, named: str, target: Database) -> None:
    """Whatever is in it, it is not empty, and the refusal names it."""
    if "EXTENSION" in statement and "citext" not in available(target.dsn).contrib:
        pytest.skip("no citext here")
    if "bytea" in statement and target.server.major >= 18:
        statement, named = "CREATE CAST (uuid AS int8[]) WITH INOUT", "cast uuid to bigint[]"
    target.execute(statement)
    with pytest.raises(RefusedError, match="is not empty") as refused:
        Target(ServerAddress.parse(target.dsn)).check_ready(source_version=target.server.major * 10_000)
    assert named in refused.value.message
    assert f"--replace {target.name}" in (refused.value.hint or "")


def test_what_a_provider_puts_into_every_database_can_be_tolerated(target: Database) -> None:
    """Named schemas with all in them count as nothing; whatever else is there still counts."""
    ready = Target(ServerAddress.parse(target.dsn))
    target.execute(
        "CREATE SCHEMA auth; CREATE TABLE auth.users (i int); CREATE FUNCTION auth.uid() RETURNS int "
        "LANGUAGE sql AS 'SELECT 1'"
    )
    tolerate = Tolerated(schemas=frozenset({"auth"}))
    ready.check_ready(source_version=150_000, tolerate=tolerate)
    target.execute("CREATE TABLE mine (i int)")
    with pytest.raises(RefusedError, match=r"it holds table public\.mine$"):
        ready.check_ready(source_version=150_000, tolerate=tolerate)


def test_an_older_server_is_refused(taken: Taken, make_database: MakeDatabase) -> None:
    """A snapshot never goes into an older major."""
    older = min(servers_at_hand())
    if older >= taken.plan.database.server_version // 10_000:
        pytest.skip("only one major at hand")
    target = make_database(major=older)
    with pytest.raises(RefusedError, match=f"is PostgreSQL {older}, the snapshot is of PostgreSQL"):
        taken.restore(target.dsn)


def test_text_in_no_known_encoding_goes_only_where_it_came_from(
    make_database: MakeDatabase, target: Database, tmp_path: Path
) -> None:
    """SQL_ASCII rows are bytes: into a UTF-8 database they are refused, into one of their own kind they go."""
    source = make_database(encoding="SQL_ASCII", locale="C")
    source.execute(
        "CREATE TABLE t (x text); INSERT INTO t VALUES (convert_from('\\xe9ff'::bytea, 'SQL_ASCII'))"
    )
    taken = take(source.dsn, tmp_path)
    with pytest.raises(RefusedError, match="stores text as UTF8, the snapshot's is SQL_ASCII"):
        taken.restore(target.dsn)
    same = make_database(encoding="SQL_ASCII", locale="C")
    taken.restore(same.dsn)
    query = "SELECT x::bytea FROM t"
    assert same.rows(query) == source.rows(query)


def test_a_database_is_made_like_the_captured_one(
    make_database: MakeDatabase, pg: ServerPool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Encoding, locale and provider are the captured database's; making it twice is refused."""
    source = make_database(encoding="LATIN1", locale="C")
    name = f"{source.name}_back"
    request.addfinalizer(lambda: pg().drop_database(name))
    taken = take(source.dsn, tmp_path)
    taken.restore(pg().dsn(name))
    columns = "pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider"
    query = f"SELECT {columns} FROM pg_database WHERE datname"
    assert source.rows(f"{query} = '{source.name}'") == source.rows(f"{query} = '{name}'")
    with pytest.raises(RefusedError, match="exists already"):
        Target(ServerAddress.parse(pg().dsn(name))).create(taken.plan.database)


def test_a_locale_that_the_server_lacks_is_named(taken: Taken, pg: ServerPool) -> None:
    """No database is made with another locale than the captured one's."""
    facts = replace(taken.plan.database, locale_provider="libc", collate="xx_YY.utf8", ctype="xx_YY.utf8")
    target = Target(ServerAddress.parse(pg().dsn("never_made")))
    with pytest.raises(Exception, match=r"lacks the libc locale xx_YY\.utf8"):
        target.create(facts)
    assert not target.exists()


def test_a_database_that_is_not_ours_is_not_dropped(
    make_database: MakeDatabase, role: str, pg: ServerPool
) -> None:
    """Dropping is for the owner; others are refused before anything is done."""
    database = make_database()
    target = Target(ServerAddress.parse(database.dsn_as(role)))
    with pytest.raises(RefusedError, match="belongs to"):
        target.check_can_drop()
    own = make_database(owner=role)
    with own.connect(role) as connection:
        Target(ServerAddress.parse(own.dsn_as(role))).drop()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert not Target(ServerAddress.parse(pg().dsn(own.name))).exists()


def test_a_plain_role_restores_what_it_may_own(taken: Taken, role: str, make_database: MakeDatabase) -> None:
    """Without ownership and grants, a role with no special rights gets everything; with them, it is told which
    statement it needs."""
    target = make_database(owner=role)
    with pytest.raises(LackingRightsError, match="may not give things to their owners") as lacking:
        taken.restore(target.dsn_as(role))
    assert "GRANT" in (lacking.value.hint or "")
    target = make_database(owner=role)
    taken.restore(target.dsn_as(role), owner=False, acl=False)
    assert target.rows("SELECT count(*) FROM shop.logs") == [(5000,)]
    assert target.rows("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'shop'") == [(role,)]


# Rows only


def empty_shop(taken: Taken, target: Database) -> None:
    taken.restore(target.dsn, mode=RebuildMode.SCHEMA_ONLY)


def test_rows_alone_go_into_tables_that_are_there(taken: Taken, shop: Database, target: Database) -> None:
    """No trigger fires, sequences and views follow, and the keys hold."""
    empty_shop(taken, target)
    taken.restore(target.dsn, mode=RebuildMode.DATA_ONLY)
    query = "SELECT * FROM shop.orders ORDER BY id"
    assert target.rows(query) == shop.rows(query)
    assert target.rows("SELECT last_value FROM shop.customers_id_seq") == [(4711,)]
    assert not is_incomplete(target)


def test_rows_alone_are_refused_where_they_do_not_fit(taken: Taken, target: Database) -> None:
    """A table that is not there, not empty, or lacks a column is named, and nothing is changed."""
    with pytest.raises(RefusedError, match="the target has no table shop"):
        taken.restore(target.dsn, mode=RebuildMode.DATA_ONLY)
    empty_shop(taken, target)
    target.execute("INSERT INTO shop.logs DEFAULT VALUES")
    with pytest.raises(RefusedError, match=r"table shop\.logs on the target is not empty"):
        taken.restore(target.dsn, mode=RebuildMode.DATA_ONLY)
    target.execute("TRUNCATE shop.logs; ALTER TABLE shop.logs DROP COLUMN line")
    with pytest.raises(RefusedError, match=r"table shop\.logs on the target lacks column line"):
        taken.restore(target.dsn, mode=RebuildMode.DATA_ONLY)
    target.execute("ALTER TABLE shop.logs ADD COLUMN line text")
    target.execute("ALTER TABLE shop.orders ENABLE ALWAYS TRIGGER stamp")
    with pytest.raises(RefusedError, match=r"fire even on replicas: stamp of shop\.orders"):
        taken.restore(target.dsn, mode=RebuildMode.DATA_ONLY)
    assert target.rows("SELECT count(*) FROM shop.customers") == [(0,)]
    assert not is_incomplete(target)


def test_rows_alone_must_keep_the_foreign_keys(taken: Taken, target: Database) -> None:
    """Rows came in unchecked: one that refers to a row which was not restored is found afterwards."""
    empty_shop(taken, target)
    tables = tuple(table for table in taken.plan.tables if table.name == ORDERS)
    with pytest.raises(RestoreFailedError, match=r"shop\.orders break its foreign key orders_customer_fkey"):
        taken.restore(target.dsn, mode=RebuildMode.DATA_ONLY, tables=tables, only_tables=frozenset({ORDERS}))
    assert is_incomplete(target)


def test_a_plain_role_loads_rows_in_the_order_of_the_keys(
    taken: Taken, role: str, make_database: MakeDatabase
) -> None:
    """Without the right to load as replication does: referenced tables first; triggers that would fire are a
    reason to refuse."""
    target = make_database(owner=role)
    taken.restore(target.dsn_as(role), mode=RebuildMode.SCHEMA_ONLY, owner=False, acl=False)
    with pytest.raises(RefusedError, match=r"would fire: stamp of shop\.orders"):
        taken.restore(target.dsn_as(role), mode=RebuildMode.DATA_ONLY)
    target.execute("ALTER TABLE shop.orders DISABLE TRIGGER USER")
    taken.restore(target.dsn_as(role), mode=RebuildMode.DATA_ONLY, jobs=2)
    finished = [event.table for event in taken.events if isinstance(event, TableFinished)]
    assert finished.index(CUSTOMERS) < finished.index(ORDERS)
    assert target.rows("SELECT count(*), max(note) FROM shop.orders") == [(300, "n")]
