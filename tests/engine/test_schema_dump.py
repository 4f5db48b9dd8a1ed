"""Definitions out: under the snapshot, by a pg_dump that fits, with nothing it said lost."""

from __future__ import annotations

import secrets
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.domain.coverage import CoverageStatus
from holdfast.domain.errors import (
    InterruptedRunError,
    LackingRightsError,
    SourceLostError,
    TableBusyError,
    UnreachableError,
)
from holdfast.domain.ids import SnapshotId
from holdfast.domain.tables import QualifiedName
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.schema import Definitions, dump_definitions
from holdfast.postgres.session import Selection, Taken, open_source
from holdfast.postgres.tools import Tool, Toolset, Version, dump_tool, find_tools
from patience import wait_until
from postgres_servers import Database

SNAPSHOT = SnapshotId("01" + "e" * 24)


@contextmanager
def taken(database: Database, user: str | None = None) -> Iterator[Taken]:
    dsn = database.dsn_as(user) if user else database.dsn
    with open_source(ServerAddress.parse(dsn), snapshot=SNAPSHOT, lock_timeout_seconds=10) as session:
        yield session.take(Selection())


def tool_for(found: Taken) -> Tool:
    return dump_tool(Version.from_number(found.database.server_version), find_tools())


def dump(found: Taken, **options: object) -> Definitions:
    given: dict[str, object] = {"lock_timeout_seconds": 5.0, "undefinable": found.undefinable, **options}
    tool = given.pop("tool", None) or tool_for(found)
    return dump_definitions(found.address, exported=found.exported, tool=tool, **given)  # type: ignore[arg-type]


def as_sql(definitions: Definitions, tool: Tool) -> str:
    """What the archive says, by the pg_restore beside the pg_dump."""
    command = [str(tool.path.with_name("pg_restore")), "-f-", "--no-comments"]
    return subprocess.run(command, input=definitions.archive, capture_output=True, check=True).stdout.decode()


def test_definitions_are_those_of_the_snapshot(major: int, make_database: Callable[..., Database]) -> None:
    """What was created after it is not there, what was dropped still is; and there are no rows."""
    database = make_database(major=major)
    database.execute(
        "CREATE TABLE t (id int PRIMARY KEY)",
        "INSERT INTO t VALUES (4711)",
        "CREATE FUNCTION f() RETURNS int AS 'SELECT 1' LANGUAGE sql",
    )
    with taken(database) as found:
        database.execute("CREATE TABLE later (id int)", "DROP FUNCTION f()")
        tool = tool_for(found)
        definitions = dump(found, tool=tool)
    text = as_sql(definitions, tool)
    assert "CREATE TABLE public.t" in text
    assert "CREATE FUNCTION public.f()" in text
    assert "later" not in text
    assert "4711" not in text
    assert definitions.archive.startswith(b"PGDMP")
    assert definitions.tool_version == str(tool.version)
    assert definitions.warnings == ()
    assert [entry.status for entry in definitions.coverage] == [CoverageStatus.CAPTURED]


@contextmanager
def plain_role(database: Database) -> Iterator[str]:
    name = f"test_{secrets.token_hex(4)}"
    database.execute(f"CREATE ROLE {name} LOGIN")
    try:
        yield name
    finally:
        database.execute(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def test_a_plain_role_gets_all_definitions_but_of_what_it_may_not_lock(
    major: int, make_database: Callable[..., Database]
) -> None:
    """pg_dump fails at the first table it may not lock; those are left out, and the coverage names them."""
    database = make_database(major=major)
    database.execute(
        "CREATE TABLE open (id int); GRANT SELECT ON open TO PUBLIC",
        'CREATE TABLE "clo""sed. $1*" (id serial PRIMARY KEY)',
        "CREATE VIEW v AS SELECT * FROM open",
        "CREATE SCHEMA hidden; CREATE TABLE hidden.t (id int); GRANT SELECT ON hidden.t TO PUBLIC",
        "CREATE TABLE parent (id int) PARTITION BY LIST (id)",
        "CREATE TABLE child PARTITION OF parent DEFAULT; GRANT SELECT ON child TO PUBLIC",
        'CREATE TABLE "clo" (id int); GRANT SELECT ON "clo" TO PUBLIC',
    )
    with plain_role(database) as role, taken(database, role) as found:
        assert {str(name) for name in found.undefinable} == {
            'public.clo"sed. $1*',
            "hidden.t",
            "public.parent",
        }
        tool = tool_for(found)
        definitions = dump(found, tool=tool)
        with pytest.raises(LackingRightsError) as caught:
            dump(found, undefinable=())
    assert "permission denied" in caught.value.message
    assert "doctor" in (caught.value.hint or "")
    text = as_sql(definitions, tool)
    for name in ("TABLE public.open", "VIEW public.v", "TABLE public.clo ", "TABLE public.child"):
        assert f"CREATE {name}" in text
    for name in ('public."clo""sed', "hidden.t", "public.parent "):
        assert f"CREATE TABLE {name}" not in text
    target = make_database(major=major)
    command = [str(tool.path.with_name("pg_restore")), "-d", target.dsn]
    restored = subprocess.run(command, input=definitions.archive, capture_output=True, check=False)
    failed = [
        line for line in restored.stderr.decode().splitlines() if "pg_restore: error: could not" in line
    ]
    assert failed == [
        'pg_restore: error: could not execute query: ERROR:  relation "public.parent" does not exist'
    ]
    assert target.rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(3,)]


def test_a_queued_exclusive_lock_makes_definitions_wait_and_then_fail(database: Database) -> None:
    """Our own lock is in its way, so waiting longer cannot help: the table is named."""
    database.execute("CREATE TABLE busy (id int)")
    with taken(database) as found:
        altering = threading.Thread(target=database.execute, args=("ALTER TABLE busy ADD COLUMN x int",))
        altering.start()
        database.wait_for_blocked()
        with pytest.raises(TableBusyError, match="busy"):
            dump(found, lock_timeout_seconds=0.5)
    altering.join()


def test_stopping_ends_pg_dump(database: Database) -> None:
    """At once, and the process is gone."""
    database.execute("CREATE TABLE t (id int)")
    stop = threading.Event()
    with taken(database) as found:
        altering = threading.Thread(target=database.execute, args=("ALTER TABLE t ADD COLUMN x int",))
        altering.start()
        database.wait_for_blocked()
        busy = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'holdfast/definitions'"

        def stop_once_blocked() -> None:
            try:
                wait_until(lambda: database.rows(f"{busy} AND wait_event_type = 'Lock'"), "a wait of pg_dump")
            finally:
                stop.set()

        stopping = threading.Thread(target=stop_once_blocked)
        stopping.start()
        with pytest.raises(InterruptedRunError):
            dump(found, lock_timeout_seconds=3600.0, stop=stop)
        stopping.join()
    altering.join()
    database.wait_for_none(busy)


def test_a_lost_snapshot_is_said_in_plain_words(database: Database) -> None:
    """The session that exported it has closed."""
    with taken(database) as found:
        tool = tool_for(found)
    with pytest.raises(SourceLostError, match="snapshot"):
        dump(found, tool=tool)


def _script(folder: Path, body: str) -> Tool:
    path = folder / "pg_dump"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    toolset = Toolset(bindir=folder, version=Version(18, 6), programs=frozenset({"pg_dump"}), origin="test")
    return Tool(path=path, toolset=toolset)


def run_script(tmp_path: Path, body: str) -> Definitions:
    address = ServerAddress.parse("postgresql://u:hunter2@localhost:1/x")
    return dump_definitions(
        address, exported="00-1", tool=_script(tmp_path, body), lock_timeout_seconds=1, undefinable=()
    )


def test_the_password_stands_in_no_argument(tmp_path: Path) -> None:
    """Process lists show arguments to everybody; the environment has it. Nor is it repeated in what was said."""
    body = f'echo "$@" > {tmp_path}/arguments; echo PGDMP; echo "pg_dump: warning: it is $PGPASSWORD" >&2'
    definitions = run_script(tmp_path, body)
    arguments = (tmp_path / "arguments").read_text()
    assert "hunter2" not in arguments
    assert "--schema-only" in arguments
    assert definitions.warnings == ("pg_dump: warning: it is ***",)


def test_everything_it_says_becomes_a_warning(tmp_path: Path) -> None:
    """With its continuation lines; only what the coverage says better is dropped."""
    said = [
        "pg_dump: warning: there is something odd",
        "about two lines of it",
        "pg_dump: warning: subscriptions not dumped because current user is not a superuser",
        "pg_dump: hint: look closely",
    ]
    lines = "; ".join(f"echo '{line}' >&2" for line in said)
    definitions = run_script(tmp_path, f"{lines}; printf PGDMP")
    assert definitions.warnings == (
        "pg_dump: warning: there is something odd about two lines of it",
        "pg_dump: hint: look closely",
    )


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("echo nothing", "no archive"),
        ("echo 'pg_dump: error: it broke' >&2; printf PGDMP; exit 3", "code 3: error: it broke"),
        ("kill -9 $$", "code -9"),
    ],
)
def test_a_failure_is_never_taken_for_an_archive(tmp_path: Path, body: str, says: str) -> None:
    """Its exit code counts, and so does what it wrote."""
    with pytest.raises(UnreachableError, match=says):
        run_script(tmp_path, body)


def test_a_program_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    """With its path."""
    tool = _script(tmp_path, "exit 0")
    tool.path.chmod(0o644)
    with pytest.raises(UnreachableError, match="cannot be started"):
        dump_definitions(
            ServerAddress.parse("host=h user=u"), exported="00-1", tool=tool, lock_timeout_seconds=1
        )


def test_undefinable_tables_are_left_out_by_their_exact_names(database: Database) -> None:
    """Patterns of pg_dump have stars, dots and quotes; a name is none."""
    odd = ["a*", "a.b", 'q"uo"te', "UPPER", "new\nline", "a|b", "$d", "(p)", "tab\t", "back\\slash", "é表"]
    with database.connect() as connection:
        for name in (*odd, "ab", "upper", "d"):
            quoted = '"' + name.replace('"', '""') + '"'
            connection.execute(f"CREATE TABLE {quoted} (id int)".encode())
    with taken(database) as found:
        tool = tool_for(found)
        names = tuple(QualifiedName(schema="public", name=name) for name in odd)
        text = as_sql(dump(found, tool=tool, undefinable=names), tool)
    assert text.count("CREATE TABLE") == 3
    for name in ("public.ab ", "public.upper ", "public.d "):
        assert f"CREATE TABLE {name}" in text
