"""What exists and what may be read of it: every gap is named, with the statement that closes it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from holdfast.domain.coverage import CoverageEntry, CoverageStatus, is_partial
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import Role
from holdfast.domain.tables import Table
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.grants import acl_statements, default_acl, parse_acl
from holdfast.postgres.queries import query
from holdfast.postgres.roles import split_names
from holdfast.postgres.session import Selection, Taken, open_source
from postgres_servers import Database, ServerPool, majors_at_hand

SNAPSHOT = SnapshotId("01" + "d" * 24)


def take(database: Database, user: str | None = None) -> Taken:
    dsn = database.dsn_as(user) if user else database.dsn
    with open_source(ServerAddress.parse(dsn), snapshot=SNAPSHOT, lock_timeout_seconds=10) as session:
        return session.take(Selection())


def tables(taken: Taken) -> dict[str, Table]:
    return {str(table.name): table for table in taken.tables}


def entry_of(taken: Taken, name: str) -> CoverageEntry:
    return next(entry for entry in taken.coverage if entry.name == name)


@contextmanager
def role(database: Database, options: str = "LOGIN") -> Iterator[str]:
    """A role of its own, gone afterwards with all that it was granted."""
    name = f"test {secrets.token_hex(4)}"
    with database.connect() as connection:
        connection.execute(f'CREATE ROLE "{name}" {options}'.encode())
        try:
            yield name
        finally:
            connection.execute(f'DROP OWNED BY "{name}"; DROP ROLE "{name}"'.encode())


# -- which relations ---------------------------------------------------------------------------


def test_every_kind_of_relation_is_captured_or_spoken_of(
    major: int, make_database: Callable[..., Database]
) -> None:
    """Ordinary tables and leaf partitions are read; the rest has no rows of its own, and is named where needed."""
    database = make_database(major=major)
    database.execute(
        "CREATE TABLE plain (id int)",
        "CREATE UNLOGGED TABLE unlogged (id int)",
        "CREATE TABLE parent (id int) PARTITION BY RANGE (id)",
        "CREATE TABLE leaf PARTITION OF parent FOR VALUES FROM (0) TO (9)",
        "CREATE VIEW view AS SELECT 1 AS one",
        "CREATE MATERIALIZED VIEW second AS SELECT 1 AS one",
        "CREATE VIEW between AS SELECT * FROM second",
        "CREATE MATERIALIZED VIEW first AS SELECT * FROM between",
        "CREATE MATERIALIZED VIEW empty AS SELECT 1 AS one WITH NO DATA",
        "CREATE SEQUENCE seq",
        "CREATE TYPE composite AS (a int)",
    )
    with database.connect() as connection:
        connection.execute("CREATE TEMP TABLE temporary (id serial)")
        taken = take(database)
    assert set(tables(taken)) == {"public.plain", "public.unlogged", "public.leaf"}
    assert tables(taken)["public.unlogged"].unlogged
    assert [name.name for name in taken.matviews] == ["second", "first"]
    assert [value.name.name for value in taken.sequences] == ["seq"]
    assert entry_of(taken, "public.empty").reason == "its definition; it holds no rows"
    assert any(entry.kind == "temporary relations" for entry in taken.coverage)
    assert not is_partial(taken.coverage)


def test_columns_are_those_that_copy_lists(database: Database) -> None:
    """In the order of attnum, without dropped and generated ones; types with their schema."""
    database.execute(
        "CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('sad')",
        "CREATE TABLE t (a int, b text, c numeric(10, 2), d int GENERATED ALWAYS AS (a) STORED, e s.mood[])",
        "ALTER TABLE t DROP COLUMN b",
        "ALTER TABLE t ADD COLUMN f int GENERATED ALWAYS AS IDENTITY",
    )
    columns = [(column.attnum, column.name, column.type_name) for column in take(database).tables[0].columns]
    assert columns == [
        (1, "a", "integer"),
        (3, "c", "numeric(10,2)"),
        (5, "e", "s.mood[]"),
        (6, "f", "integer"),
    ]


def test_sizes_count_what_lies_outside_of_the_heap(database: Database) -> None:
    """A small heap may carry much TOAST."""
    database.execute(
        "CREATE TABLE t (body text); ALTER TABLE t ALTER body SET STORAGE EXTERNAL",
        "INSERT INTO t SELECT repeat('x', 100000) FROM generate_series(1, 50)",
    )
    table = take(database).tables[0]
    assert table.pages == 1
    assert table.size_bytes > 5_000_000


def test_extensions_bring_their_own_tables_but_not_their_configuration(
    pg: ServerPool, database: Database
) -> None:
    """Configuration tables are read with their condition; an extension's other relations come with it again."""
    with database.connect() as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS plpgsql")
        connection.execute(
            "CREATE TABLE configured (id int); CREATE TABLE member (id int); CREATE TABLE own (id int)"
        )
        connection.execute("CREATE SEQUENCE configured_sequence; CREATE SEQUENCE member_sequence")
        for kind, name in (
            ("TABLE", "configured"),
            ("TABLE", "member"),
            ("SEQUENCE", "configured_sequence"),
            ("SEQUENCE", "member_sequence"),
        ):
            connection.execute(f"ALTER EXTENSION plpgsql ADD {kind} {name}".encode())
        connection.execute(
            "UPDATE pg_extension SET extconfig = "
            "ARRAY['configured'::regclass::oid, 'configured_sequence'::regclass], "
            "extcondition = ARRAY['WHERE id > 10', ''] WHERE extname = 'plpgsql'"
        )
    taken = take(database)
    assert set(tables(taken)) == {"public.configured", "public.own"}
    configured = tables(taken)["public.configured"]
    assert (configured.extension, configured.condition) == ("plpgsql", "WHERE id > 10")
    assert "condition" in configured.unprovable
    assert configured.fingerprint is None
    assert [value.name.name for value in taken.sequences] == ["configured_sequence"]


@pytest.fixture
def database_with_icu(make_database: Callable[..., Database]) -> Database:
    """On any major whose server has ICU."""
    for major in majors_at_hand():
        found = make_database(major=major)
        if found.rows("SELECT count(*) FROM pg_collation WHERE collname = 'en-x-icu'") == [(1,)]:
            return found
    pytest.skip("no server with ICU at hand")


# -- how rows must be loaded ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parent", "leaf", "through"),
    [
        ("(k mood) PARTITION BY HASH (k)", "WITH (MODULUS 1, REMAINDER 0)", True),
        ("(k mood[]) PARTITION BY HASH (k)", "WITH (MODULUS 1, REMAINDER 0)", True),
        ("(k text) PARTITION BY HASH (k)", "WITH (MODULUS 1, REMAINDER 0)", False),
        ("(k int) PARTITION BY HASH (k)", "WITH (MODULUS 1, REMAINDER 0)", False),
        ("(k mood) PARTITION BY LIST (k)", "IN ('sad')", False),
        ("(k mood) PARTITION BY RANGE (k)", "FROM ('sad') TO ('glad')", False),
        ('(k text COLLATE "en-x-icu") PARTITION BY RANGE (k)', "FROM ('a') TO ('b')", True),
        ('(k text COLLATE "C") PARTITION BY RANGE (k)', "FROM ('a') TO ('b')", False),
        ('(k text COLLATE "en-x-icu") PARTITION BY LIST (k)', "IN ('a')", False),
        ("(k text COLLATE folded) PARTITION BY LIST (k)", "IN ('a')", True),
        ("(k int) PARTITION BY RANGE (k)", "FROM (1) TO (2)", False),
    ],
)
def test_rows_that_may_belong_elsewhere_are_loaded_through_the_root(
    database_with_icu: Database, parent: str, leaf: str, through: bool
) -> None:
    """Hashes of enums change with their oids, and collations of ICU with the machine; the rest is safe."""
    database = database_with_icu
    if "folded" in parent:
        database.execute(
            "CREATE COLLATION folded (provider = icu, locale = 'en-u-ks-level1', deterministic = false)"
        )
    database.execute(
        "CREATE TYPE mood AS ENUM ('sad', 'glad')",
        f"CREATE TABLE top {parent}",
        "CREATE TABLE other (id int)",
    )
    database.execute(f"CREATE TABLE leaf PARTITION OF top FOR VALUES {leaf}")
    found_tables = tables(take(database))
    load_via = found_tables["public.leaf"].load_via
    assert (str(load_via) if load_via else None) == ("public.top" if through else None)
    assert found_tables["public.other"].load_via is None


def test_the_root_is_the_topmost_one(database: Database) -> None:
    """Where any level between is unsafe."""
    database.execute(
        "CREATE TYPE mood AS ENUM ('sad', 'glad')",
        "CREATE TABLE top (id int, k mood) PARTITION BY RANGE (id)",
        "CREATE TABLE middle PARTITION OF top FOR VALUES FROM (0) TO (9) PARTITION BY HASH (k)",
        "CREATE TABLE leaf PARTITION OF middle FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
        "CREATE TABLE safe PARTITION OF top FOR VALUES FROM (10) TO (19)",
    )
    found = tables(take(database))
    assert str(found["public.leaf"].load_via) == "public.top"
    assert found["public.safe"].load_via is None


# -- fingerprints ---------------------------------------------------------------------------

BASE = (
    "CREATE TYPE mood AS ENUM ('sad', 'glad')",
    "CREATE TYPE point3 AS (x int, m mood)",
    "CREATE DOMAIN moods AS mood[]",
    "CREATE TABLE t (a int, b text, c point3, d moods, e int4range)",
    "INSERT INTO t VALUES (1)",
)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ("INSERT INTO t VALUES (2)", True),
        ("CREATE INDEX ON t (a)", True),
        ("ALTER TABLE t ALTER b SET DEFAULT 'x'", True),
        ("ALTER TABLE t ADD CHECK (a > 0)", True),
        ("COMMENT ON TABLE t IS 'x'", True),
        ("ANALYZE t", True),
        ("ALTER TABLE t RENAME TO u; ALTER TABLE u RENAME TO t", True),
        ("ALTER TABLE t ADD COLUMN z int", False),
        ("ALTER TABLE t ADD COLUMN z int DEFAULT 7", False),
        ("ALTER TABLE t DROP COLUMN b", False),
        ("ALTER TABLE t RENAME COLUMN a TO aa", False),
        ("ALTER TABLE t ALTER b TYPE varchar(10)", False),
        ("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'", False),
        ("ALTER TYPE mood ADD VALUE 'new'", False),
        ("ALTER TYPE point3 ADD ATTRIBUTE y int", False),
    ],
)
def test_a_fingerprint_changes_with_what_the_text_of_rows_depends_on(
    database: Database, change: str, same: bool
) -> None:
    """Columns, and the types behind them through composites, domains and arrays; and with nothing else."""
    database.execute(*BASE)
    before = take(database).tables[0]
    database.execute(change)
    after = take(database).tables[0]
    assert before.fingerprint is not None
    assert (before.fingerprint == after.fingerprint) == same


@pytest.mark.parametrize(
    ("type_name", "provable"),
    [
        ("regclass", False),
        ("regrole[]", False),
        ("looked", False),
        ("aclitem", False),
        ("own_base", False),
        ("jsonb", True),
        ("tsvector", True),
        ("int4multirange", True),
        ("name", True),
        ("money", True),
        ("xid8", True),
        ("pg_snapshot", True),
    ],
)
def test_types_that_ask_elsewhere_make_a_table_unprovable(
    database: Database, type_name: str, provable: bool
) -> None:
    """regclass and its kin, foreign code, and whatever holds them; said with the column and the type."""
    database.execute(
        "CREATE TYPE looked AS (id int, what regproc)",
        "CREATE TYPE own_base",
        "CREATE FUNCTION own_in(cstring) RETURNS own_base LANGUAGE internal IMMUTABLE STRICT AS 'textin'",
        "CREATE FUNCTION own_out(own_base) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout'",
        "CREATE TYPE own_base (INPUT = own_in, OUTPUT = own_out)",
        f"CREATE TABLE t (a int, b {type_name})",
    )
    table = take(database).tables[0]
    assert (table.fingerprint is not None) == provable
    assert (table.unprovable == "") == provable
    assert provable or "column b" in table.unprovable


def test_equal_tables_of_one_database_have_equal_fingerprints_only_if_alike(database: Database) -> None:
    """The digest is of columns and types, not of the table's name or number."""
    database.execute("CREATE TABLE t (a int)", "CREATE TABLE u (a int)", "CREATE TABLE v (a bigint)")
    for name, default in (("seven", 7), ("eight", 8)):
        # Rows that were there before the column read as its first default, wherever that is kept.
        database.execute(f"CREATE TABLE {name} (a int)", f"INSERT INTO {name} VALUES (1)")
        database.execute(f"ALTER TABLE {name} ADD COLUMN b int DEFAULT {default}")
    found = tables(take(database))
    assert found["public.seven"].fingerprint != found["public.eight"].fingerprint
    assert found["public.t"].fingerprint == found["public.u"].fingerprint
    assert found["public.t"].fingerprint != found["public.v"].fingerprint


# -- a plain role ---------------------------------------------------------------------------


def test_running_the_remedies_makes_a_plain_roles_snapshot_complete(
    major: int, make_database: Callable[..., Database]
) -> None:
    """Each gap names the exact statement; after all of them nothing is missing, without superuser."""
    database = make_database(major=major)
    database.execute(
        'CREATE SCHEMA "closed schema"; CREATE TABLE "closed schema"."t a" (id int)',
        "CREATE TABLE no_select (id int)",
        "CREATE TABLE columns_only (id int, secret int)",
        "CREATE TABLE policed (id int); ALTER TABLE policed ENABLE ROW LEVEL SECURITY",
        "CREATE TABLE open (id int); GRANT SELECT ON open TO PUBLIC",
        "CREATE SEQUENCE counted",
        "CREATE TABLE parent (id int) PARTITION BY LIST (id)",
        "CREATE TABLE child PARTITION OF parent DEFAULT; GRANT SELECT ON child TO PUBLIC",
        "SELECT lo_create(4711); SELECT lo_create(4712)",
    )
    with role(database) as plain:
        database.execute(
            f'GRANT SELECT (id) ON columns_only TO "{plain}"', f'GRANT SELECT ON policed TO "{plain}"'
        )
        before = take(database, plain)
        assert set(tables(before)) == {"public.open", "public.child"}
        failed = {entry.name: entry for entry in before.coverage if entry.status is CoverageStatus.FAILED}
        assert set(failed) == {
            "closed schema.t a",
            "public.no_select",
            "public.columns_only",
            "public.policed",
            "public.counted",
            "public.parent",
            "4711 and 1 more",
        }
        assert {str(name) for name in before.undefinable} == {
            "closed schema.t a",
            "public.no_select",
            "public.columns_only",
            "public.parent",
        }
        assert "row-level security" in failed["public.policed"].reason
        for entry in failed.values():
            database.execute(entry.remedy)
        after = take(database, plain)
        assert not is_partial(after.coverage)
        assert len(after.tables) == 6
        assert len(after.sequences) == 1
        assert [item.oid for item in after.large_objects] == [4711, 4712]
        assert after.undefinable == ()
        assert before.lineage == after.lineage
        assert after.lineage.is_known


def test_the_owner_is_not_shut_out_unless_forced(database: Database) -> None:
    """Row-level security does not filter the owner's rows, except with FORCE."""
    with role(database) as owner:
        database.execute(
            "CREATE TABLE t (id int); ALTER TABLE t ENABLE ROW LEVEL SECURITY",
            "CREATE TABLE forced (id int); ALTER TABLE forced ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
            f'ALTER TABLE t OWNER TO "{owner}"; ALTER TABLE forced OWNER TO "{owner}"',
        )
        taken = take(database, owner)
        assert set(tables(taken)) == {"public.t"}
        assert "BYPASSRLS" in entry_of(taken, "public.forced").remedy
    with role(database, "LOGIN BYPASSRLS") as bypassing:
        database.execute(f'GRANT pg_read_all_data TO "{bypassing}"')


def test_rights_by_membership_count(database: Database) -> None:
    """pg_read_all_data is all that a reading role needs, but for row-level security."""
    database.execute("CREATE SCHEMA s; CREATE TABLE s.t (id int); CREATE SEQUENCE s.q")
    with role(database, "LOGIN BYPASSRLS IN ROLE pg_read_all_data") as reader:
        taken = take(database, reader)
    assert set(tables(taken)) == {"s.t"}
    assert len(taken.sequences) == 1
    assert not is_partial(taken.coverage)


def test_what_a_taken_away_function_knew_is_unknown(database: Database) -> None:
    """Providers may revoke pg_control_system: then the lineage says so instead of guessing."""
    database.execute("CREATE TABLE t (id int)")
    revoke = "EXECUTE ON FUNCTION pg_control_system(), pg_current_wal_lsn(), pg_walfile_name(pg_lsn)"
    with role(database, "LOGIN IN ROLE pg_read_all_data") as plain:
        database.execute(f"REVOKE {revoke} FROM PUBLIC")
        taken = take(database, plain)
    assert not taken.lineage.is_known
    assert (taken.lineage.system_identifier, taken.lineage.timeline) == ("unknown", 0)
    assert taken.instant.wal_lsn is None
    assert take(database).lineage.is_known


def test_what_only_superusers_may_read_is_said_to_be_missing(database: Database) -> None:
    """Subscriptions, others' user mappings, and passwords: not capturable, and told in every coverage."""
    database.execute(
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER far FOREIGN DATA WRAPPER w",
        "CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (password 'hidden')",
        "CREATE FOREIGN TABLE f (id int) SERVER far",
        "CREATE SUBSCRIPTION sub CONNECTION 'host=none' PUBLICATION p WITH (connect = false)",
    )
    try:
        with role(database, "LOGIN IN ROLE pg_read_all_data") as plain:
            taken = take(database, plain)
        as_superuser = take(database)
    finally:
        database.execute("ALTER SUBSCRIPTION sub SET (slot_name = NONE)", "DROP SUBSCRIPTION sub")
    kinds = {entry.kind for entry in taken.coverage if entry.status is CoverageStatus.NOT_CAPTURABLE}
    assert kinds >= {"subscription", "user mapping", "foreign table", "role passwords"}
    assert all(
        entry.remedy or entry.kind == "foreign table" for entry in taken.coverage if entry.kind in kinds
    )
    assert not is_partial(taken.coverage)
    assert not {"subscription", "user mapping"} & {entry.kind for entry in as_superuser.coverage}


# -- roles and the database ---------------------------------------------------------------------------


def run_all(
    connection: psycopg.Connection[tuple[object, ...]], statements: tuple[str, ...], name: str
) -> None:
    for statement in statements:
        connection.execute(statement.replace(':"database"', f'"{name}"').encode())


def test_the_databases_own_statements_bring_it_back(
    database: Database, make_database: Callable[..., Database]
) -> None:
    """Settings, ACL, comment and connection limit, run on another database, give the same statements again."""
    with role(database, "NOLOGIN") as some:
        database.execute(
            f'ALTER DATABASE {database.name} SET search_path TO "$user", \'odd "name\', public',
            f"ALTER DATABASE {database.name} SET work_mem TO '7MB'",
            f"ALTER ROLE \"{some}\" IN DATABASE {database.name} SET search_path TO ''",
            f"ALTER DATABASE {database.name} CONNECTION LIMIT 17",
            f"REVOKE TEMPORARY ON DATABASE {database.name} FROM PUBLIC",
            f'GRANT CREATE ON DATABASE {database.name} TO "{some}" WITH GRANT OPTION',
            f"COMMENT ON DATABASE {database.name} IS 'it''s \\ here'",
        )
        facts = take(database).database
        assert (facts.name, facts.owner, facts.encoding) == (database.name, "postgres", "UTF8")
        assert len(facts.statements) == 7
        assert not any(database.name in statement for statement in facts.statements)
        other = make_database()
        with other.connect() as connection:
            run_all(connection, facts.statements, other.name)
        assert sorted(take(other).database.statements) == sorted(facts.statements)
        for each in (database, other):
            each.execute(f'ALTER ROLE "{some}" IN DATABASE {each.name} RESET ALL')
            each.execute(f'REVOKE ALL ON DATABASE {each.name} FROM "{some}"')


def test_roles_are_captured_with_all_but_their_passwords(database: Database) -> None:
    """Options, settings, comment, memberships; recreated from what was captured, they are the same."""
    with (
        role(database, "CREATEDB CONNECTION LIMIT 3 PASSWORD 'secret' LOGIN") as first,
        role(database) as second,
    ):
        database.execute(
            f'ALTER ROLE "{first}" SET search_path TO "$user", public',
            f"ALTER ROLE \"{first}\" VALID UNTIL '2099-01-02 03:04:05+00'",
            f"COMMENT ON ROLE \"{first}\" IS 'a ''comment'''",
            f'GRANT "{first}" TO "{second}" WITH ADMIN OPTION',
            f'GRANT pg_monitor TO "{second}"',
        )
        before = take(database)
        found = {each.name: each for each in before.roles}[first]
        assert {"CREATEDB", "LOGIN", "NOSUPERUSER", "CONNECTION LIMIT 3"} <= set(found.options)
        assert "VALID UNTIL '2099-01-02 03:04:05+00'" in found.options
        assert found.settings == (f"ALTER ROLE \"{first}\" SET \"search_path\" TO '$user', 'public'",)
        assert (found.comment, found.has_password) == ("a 'comment'", True)
        assert not any("secret" in part for each in before.roles for part in (*each.options, *each.settings))
        assert not any(each.name.startswith("pg_") for each in before.roles)
        ours = [each for each in before.memberships if each.member == second]
        assert {each.role for each in ours} == {first, "pg_monitor"}
        database.execute(f'DROP OWNED BY "{first}"; DROP ROLE "{first}"')
        database.execute(f'CREATE ROLE "{first}" {" ".join(found.options)}', *found.settings)
        database.execute(f"COMMENT ON ROLE \"{first}\" IS 'a ''comment'''")
        for each in ours:
            if each.role == first:
                database.execute(f'GRANT "{each.role}" TO "{each.member}" WITH {", ".join(each.options)}')
        after = take(database)
        expected = Role(
            name=first,
            options=found.options,
            settings=found.settings,
            comment=found.comment,
            has_password=False,
        )
        assert {each.name: each for each in after.roles}[first] == expected
        assert set(after.memberships) == set(before.memberships)
        as_plain = {each.name: each for each in take(database, second).roles}
        assert as_plain[first].has_password is None


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        ('""', [""]),
        ("public", ["public"]),
        ('"$user", public', ["$user", "public"]),
        ('"a, ""b""",c', ['a, "b"', "c"]),
        ('"", x', ["", "x"]),
    ],
)
def test_lists_of_names_are_taken_apart(text: str, names: list[str]) -> None:
    """As PostgreSQL keeps search_path and its kin."""
    assert split_names(text) == names


def test_an_acl_is_the_way_from_the_default_to_it() -> None:
    """Nothing is said of what is as it would be anyway."""
    default = default_acl("o", ("CREATE", "CONNECT"), ("CONNECT",))
    assert acl_statements("X", default, default) == ()
    rows = [
        ["o", "CREATE", "false"],
        ["", "CONNECT", "false"],
        ["r", "CONNECT", "false"],
        ["r", "CONNECT", "true"],
    ]
    assert acl_statements("X", parse_acl(rows), default) == (
        'REVOKE CONNECT ON X FROM "o"',
        'GRANT CONNECT ON X TO "r" WITH GRANT OPTION',
    )


def test_large_objects_carry_what_pg_dump_leaves_out(database: Database) -> None:
    """Owner, grants and comment, as statements that can be run as they are."""
    with role(database) as owner, role(database) as other:
        database.execute(
            "SELECT lo_create(7)",
            f"GRANT SELECT ON LARGE OBJECT 7 TO \"{other}\"; COMMENT ON LARGE OBJECT 7 IS 'a note'",
            f'ALTER LARGE OBJECT 7 OWNER TO "{owner}"',
        )
        found = take(database).large_objects
        database.execute("SELECT lo_unlink(7); SELECT lo_create(7)", *found[0].statements)
        assert take(database).large_objects == found
        assert len(found[0].statements) == 3


def test_queries_fit_every_major(major: int) -> None:
    """No line of another version is left, and none of this one lost."""
    text = query("memberships", major * 10_000)
    assert ("m.inherit_option" in text) == (major >= 16)
    assert ("NULL::bool" in text) == (major < 16)
    assert "-- since" not in text
