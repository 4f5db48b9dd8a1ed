"""The torture database and its judge: pg_dump and pg_restore pass, and every planted difference is found."""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import psycopg
import pytest

from engine.torture.build import (
    FILES,
    Abilities,
    Block,
    available,
    blocks,
    build,
    build_latin1,
    build_plain_role,
    build_roles,
    build_sql_ascii,
    create_database,
    drop_database,
    install_test_extension,
    temporary,
)
from engine.torture.compare import compare, queries
from holdfast.postgres.scratch import ScratchServer
from postgres_servers import ServerPool, majors_at_hand

FAULTS_FILE = FILES.parent / "faults.sql"
NEWEST = max(majors_at_hand(), default=0)
OLDER = majors_at_hand()[:-1]

MakeDatabase = Callable[..., str]


@pytest.fixture
def make(pg: ServerPool) -> Iterator[MakeDatabase]:
    """`make(server)`: an empty database, dropped with its subscriptions when the test ends."""
    with ExitStack() as stack:

        def create(server: ScratchServer, encoding: str = "UTF8") -> str:
            name = f"torture_{secrets.token_hex(4)}"
            stack.callback(drop_database, server.dsn(), name)
            return create_database(server.dsn(), name, encoding=encoding)

        yield create


def built(server: ScratchServer, make: MakeDatabase) -> str:
    """The torture database with all that this server can."""
    dsn = make(server)
    able = available(dsn)
    build(dsn, major=able.major, contrib=able.contrib, features=able.features)
    return dsn


def restored(source: str, server: ScratchServer, folder: Path, stack: ExitStack) -> str:
    """Through an archive into the database it names; a source on the same server makes room under another name."""
    with psycopg.connect(source) as connection:
        name = connection.info.dbname
    archive = folder / "archive"
    run(server, "pg_dump", "--format=custom", f"--file={archive}", f"--dbname={source}")
    with psycopg.connect(source) as connection:
        same_server = connection.info.port == server.port
    if same_server:
        moved = f"{name}_source"
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} RENAME TO {moved}".encode())
        stack.callback(drop_database, server.dsn(), moved)
    else:
        stack.callback(drop_database, server.dsn(), name)
    run(server, "pg_restore", "--create", "--exit-on-error", f"--dbname={server.dsn()}", str(archive))
    return server.dsn(name)


def run(server: ScratchServer, program: str, *arguments: str) -> None:
    done = subprocess.run(
        [server.toolset.path(program), *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def pg_dump(server: ScratchServer) -> Path:
    return server.toolset.path("pg_dump")


def test_pg_dump_and_pg_restore_bring_everything_back(
    pg: ServerPool, major: int, make: MakeDatabase, tmp_path: Path
) -> None:
    """The judge calls a database the same that pg_restore made from pg_dump's archive, on every major."""
    server = pg(major)
    install_test_extension(server.toolset.bindir)
    source = built(server, make)
    with ExitStack() as stack:
        target = restored(source, server, tmp_path, stack)
        moved = psycopg.conninfo.make_conninfo(
            source, dbname=f"{psycopg.conninfo.conninfo_to_dict(target)['dbname']}_source"
        )
        assert compare(moved, target, pg_dump=pg_dump(server), roles=True) == []


@pytest.mark.parametrize(
    "older",
    [pytest.param(older, marks=[pytest.mark.soak] if place else []) for place, older in enumerate(OLDER)],
)
def test_a_newer_server_can_hold_what_an_older_one_held(
    pg: ServerPool, older: int, make: MakeDatabase, tmp_path: Path
) -> None:
    """The judge also calls it the same across majors, where the servers print definitions differently."""
    old, new = pg(older), pg(NEWEST)
    both = available(old.dsn()) & available(new.dsn())
    source = make(old)
    build(source, major=older, contrib=both.contrib, features=both.features)
    build_roles(new.dsn(), major=older)
    with ExitStack() as stack:
        target = restored(source, new, tmp_path, stack)
        assert compare(source, target, pg_dump=pg_dump(new), cross_version=True) == []


FAULTS = [(fault, pattern) for pattern, fault in queries(FAULTS_FILE)]


@pytest.fixture
def plain_role(pg: ServerPool) -> Iterator[str]:
    """The name of a role that is dropped when the test ends; the databases it has rights in go before."""
    role = f"tor_plain_{secrets.token_hex(3)}"
    yield role
    with psycopg.connect(pg(NEWEST).dsn(), autocommit=True) as connection:
        connection.execute(f"DROP ROLE IF EXISTS {role}".encode())


def test_every_planted_difference_is_found(pg: ServerPool, plain_role: str, make: MakeDatabase) -> None:
    """Two builds are the same; after one fault of every kind the judge names each of them, and nothing else."""
    server = pg(NEWEST)
    source, target = built(server, make), built(server, make)
    build_plain_role(target, plain_role, gaps=True)
    assert compare(source, target, pg_dump=pg_dump(server), ignore_roles=[plain_role]) == []
    with psycopg.connect(target, autocommit=True) as connection:
        connection.execute(
            "SET torture.allow_ddl = on; SET session_replication_role = replica; SET search_path = ''"
        )
        for fault, _ in FAULTS:
            connection.execute(fault.format(database=connection.info.dbname).encode())
    found = compare(source, target, pg_dump=pg_dump(server), ignore_roles=[plain_role])
    missed = [fault for fault, pattern in FAULTS if not any(re.match(pattern, line) for line in found)]
    unasked = [line for line in found if not any(re.match(pattern, line) for _, pattern in FAULTS)]
    assert (missed, unasked) == ([], [])


def test_missing_roles_and_their_settings_are_found(pg: ServerPool, make: MakeDatabase) -> None:
    """Roles belong to the cluster: two clusters are compared when asked."""
    older, newer = (pg(majors_at_hand()[0]), pg(NEWEST))
    if older is newer:
        pytest.skip("needs two servers")
    dsns = make(older), make(newer)
    for dsn in dsns:
        build_roles(dsn, major=older.major)
    check = partial(compare, *dsns, pg_dump=pg_dump(newer), cross_version=True, database=False, roles=True)
    ours = {"tor_lost", *(line.split(" ")[1] for line in check())}
    with psycopg.connect(dsns[0], autocommit=True) as connection:
        connection.execute(
            "CREATE ROLE tor_lost LOGIN; GRANT tor_reader TO tor_lost; ALTER ROLE tor_lost SET work_mem = '1MB'"
        )
        try:
            found = check()
        finally:
            connection.execute("DROP ROLE tor_lost")
    for line in (
        "role tor_lost: only in source",
        "membership tor_lost in tor_reader: only in source",
        "setting of a role tor_lost: work_mem: only in source",
    ):
        assert line in found
    assert check(ignore_roles=ours) == []


@pytest.mark.parametrize(("encoding", "fill"), [("LATIN1", build_latin1), ("SQL_ASCII", build_sql_ascii)])
def test_other_encodings_come_back_and_one_byte_is_noticed(
    pg: ServerPool, make: MakeDatabase, tmp_path: Path, encoding: str, fill: Callable[[str], None]
) -> None:
    """Bytes of LATIN1, and bytes of no encoding at all, in rows and in names."""
    server = pg(NEWEST)
    source = make(server, encoding)
    fill(source)
    archive = tmp_path / "archive"
    target = make(server, encoding)
    run(server, "pg_dump", "--format=custom", f"--file={archive}", f"--dbname={source}")
    run(server, "pg_restore", "--exit-on-error", f"--dbname={target}", str(archive))
    check = partial(compare, source, target, pg_dump=pg_dump(server), database=False)
    assert check() == []
    name = b'"' + bytes(range(0xC4, 0x100)) + b'"'
    with psycopg.connect(target, autocommit=True, client_encoding=encoding) as connection:
        connection.execute(b"UPDATE " + name + b"." + name + b" SET c = '\xe8' WHERE id = 1")
    (line,) = check()
    assert line.startswith("rows of ")


def test_a_plain_role_reads_all_or_meets_the_gaps(
    pg: ServerPool, plain_role: str, make: MakeDatabase
) -> None:
    """Without gaps every row is readable to a role that is no superuser; with gaps four tables are not."""
    source = built(pg(NEWEST), make)
    with psycopg.connect(source, autocommit=True) as owner:
        found = owner.execute(
            "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c"
            " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND c.oid >= 16384"
        ).fetchall()
    tables = [str(row[0]) for row in found]
    assert unreadable(source, plain_role, tables, gaps=False) == set()
    assert unreadable(source, plain_role, tables, gaps=True) == {
        "tor_secret.no_select",
        "tor_secret.plain_rls",
        "tor_secret.forced_rls",
        "tor_secret.enabled_without_policy",
    }


def unreadable(dsn: str, role: str, tables: list[str], *, gaps: bool) -> set[str]:
    """The tables of which the role gets an error instead of rows."""
    build_plain_role(dsn, role, gaps=gaps)
    refused = set()
    address = psycopg.conninfo.make_conninfo(dsn, user=role, password=role)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("SET row_security = off")
        for table in tables:
            try:
                connection.execute(f"SELECT FROM ONLY {table}".encode())
            except psycopg.errors.InsufficientPrivilege:
                refused.add(table)
    return refused


@pytest.mark.parametrize("major", sorted({NEWEST, *OLDER[:1]}))
def test_an_owner_without_superuser_builds_what_he_may(
    pg: ServerPool, major: int, make: MakeDatabase
) -> None:
    """As on hosted servers: the same database without what only a superuser can create."""
    server = pg(major)
    dsn = make(server)
    owner = f"tor_plain_{secrets.token_hex(3)}"
    with psycopg.connect(dsn, autocommit=True) as admin:
        name = admin.info.dbname
        admin.execute(
            f"CREATE ROLE {owner} LOGIN CREATEROLE; ALTER DATABASE {name} OWNER TO {owner}".encode()
        )
        build_roles(dsn, major=major, grant_to=owner)
        try:
            build(
                psycopg.conninfo.make_conninfo(dsn, user=owner),
                major=major,
                contrib=frozenset(),
                superuser=False,
            )
            assert admin.execute("SELECT count(*) FROM tor_names.list").fetchone() == (37,)
            assert admin.execute("SELECT FROM pg_catalog.pg_event_trigger").fetchall() == []
        finally:
            admin.execute("SET torture.allow_ddl = on")
            admin.execute(
                f"REASSIGN OWNED BY {owner} TO CURRENT_USER; DROP OWNED BY {owner}; DROP ROLE {owner}".encode()
            )


UNTOUCHED = {
    "pg_init_privs": "rights that extensions' scripts hand out",
    "pg_seclabel": "no label provider at hand",
    "pg_statistic": "filled by ANALYZE",
    "pg_statistic_ext_data": "filled by ANALYZE",
    "pg_subscription_rel": "filled by a subscription that runs",
}


def test_no_catalog_is_left_as_initdb_made_it(pg: ServerPool, make: MakeDatabase) -> None:
    """Every kind of object that a database's own catalogs know is in the torture database."""
    server = pg(NEWEST)
    counts: list[dict[str, object]] = []
    for dsn in (make(server), built(server, make)):
        with psycopg.connect(dsn, autocommit=True) as connection:
            catalogs = connection.execute(
                "SELECT relname FROM pg_catalog.pg_class"
                " WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' AND NOT relisshared"
            ).fetchall()
            counts.append({})
            for (name,) in catalogs:
                (count,) = connection.execute(f"SELECT count(*) FROM pg_catalog.{name}".encode())
                counts[-1][str(name)] = count
    assert {name for name, count in counts[0].items() if counts[1][name] == count} <= set(UNTOUCHED)


def test_rows_of_an_extension_count_where_they_are_configuration(pg: ServerPool, make: MakeDatabase) -> None:
    """Rows that meet the condition belong to the database, the others and other tables to the extension."""
    server = pg(NEWEST)
    if not install_test_extension(server.toolset.bindir):
        pytest.skip("the server's extension folder is not writable")
    source, target = make(server), make(server)
    for dsn in (source, target):
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(
                "CREATE EXTENSION holdfast_conf; INSERT INTO public.settings VALUES ('mine', 'x')"
            )
    check = partial(compare, source, target, pg_dump=pg_dump(server))
    with psycopg.connect(target, autocommit=True) as connection:
        connection.execute("UPDATE public.settings SET value = 'other' WHERE given; DELETE FROM public.cache")
        assert check() == []
        connection.execute(
            "UPDATE public.settings SET value = NULL WHERE NOT given; SELECT nextval('public.counter')"
        )
        assert [line.split(":")[0] for line in check()] == [
            'sequence "public"."counter"',
            'rows of "public"."settings"',
        ]


def test_temporary_objects_live_as_long_as_their_session(pg: ServerPool, make: MakeDatabase) -> None:
    """Another session sees them in the catalogs, the judge does not."""
    server = pg(NEWEST)
    first, second = make(server), make(server)
    with closing(psycopg.connect(first, autocommit=True)) as session, psycopg.connect(first) as other:
        temporary(session)
        found = other.execute(
            "SELECT count(*) FROM pg_catalog.pg_class WHERE relname ~ '^tor_temporary'"
        ).fetchone()
        assert found == (4,)
        assert compare(first, second, pg_dump=pg_dump(server)) == []


def test_every_block_says_what_it_needs_in_known_words() -> None:
    """A misspelt requirement would leave a block out silently: it raises instead."""
    able = Abilities(major=18, contrib=frozenset(), features=frozenset())
    read = [block for file in FILES.glob("*.sql") for block in blocks(file)]
    assert len(read) > 50
    for block in read:
        block.runs_on(able, superuser=True)
    odd = Block(place="here", text="SELECT 1", requires=("superuser", "mayor>=17"), expect=None)
    with pytest.raises(ValueError, match="unknown requirement: mayor>=17"):
        odd.runs_on(able, superuser=True)
