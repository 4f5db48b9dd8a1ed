"""Doctor: what a backup would lack, with what mends it, and the mending works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.domain.tables import TablePatterns
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.stock import Selection
from holdfast.storage.memory import MemoryStorage
from holdfast.workflows.doctor import doctor
from holdfast.workflows.reports import Check, CheckStatus, DoctorReport
from postgres_servers import Database, ServerPool, own_server
from program import Program


def examine(database: Database, user: str | None = None, *, exclude: tuple[str, ...] = ()) -> DoctorReport:
    dsn = database.dsn if user is None else database.dsn_as(user)
    selection = Selection(exclude_rows=TablePatterns(patterns=exclude)) if exclude else None
    return doctor(address=ServerAddress.parse(dsn), storage=None, repository=None, selection=selection)


def missing(report: DoctorReport) -> dict[str, str]:
    return {check.subject: check.remedy for check in report.checks if check.status is CheckStatus.MISSING}


def test_a_superuser_on_a_plain_server_is_ready(database: Database) -> None:
    """Connection, server, pooler, rights and tools are all said to be fine, not just silent."""
    database.execute("CREATE TABLE t (a int)")
    report = examine(database)
    assert missing(report) == {}
    fine = {check.subject for check in report.checks if check.status is CheckStatus.FINE}
    assert fine >= {"connection", "server", "pooler", "rights", "pg_dump", "pg_restore"}


def test_every_remedy_mends_what_it_stands_beside(database: Database, request: pytest.FixtureRequest) -> None:
    """Run word for word as the owner, the statements leave nothing missing."""
    role = f"doctor_{database.name}"
    database.execute(
        f'CREATE ROLE "{role}" LOGIN',
        "CREATE SCHEMA secret",
        'CREATE TABLE secret."Odd ""name" (a int)',
        "CREATE SEQUENCE numbers",
        "CREATE TABLE guarded (a int)",
        "ALTER TABLE guarded ENABLE ROW LEVEL SECURITY",
        f'GRANT SELECT ON guarded TO "{role}"',
        "SELECT lo_create(0)",
    )
    request.addfinalizer(lambda: database.execute(f'DROP OWNED BY "{role}"', f'DROP ROLE "{role}"'))
    found = missing(examine(database, role))
    assert set(found) >= {
        'table secret.Odd "name',
        "sequence public.numbers",
        "table public.guarded",
        "rights",
    }
    assert found["rights"].startswith(f'GRANT pg_read_all_data TO "{role}"; ALTER ROLE "{role}" BYPASSRLS;')
    one_by_one = [remedy for subject, remedy in found.items() if subject != "rights"]
    database.execute(*one_by_one)
    assert missing(examine(database, role)) == {}


def test_rows_that_are_not_wanted_are_not_missed(database: Database, request: pytest.FixtureRequest) -> None:
    """What the settings exclude needs no right to be read past row-level security."""
    role = f"doctor_{database.name}"
    database.execute(
        f'CREATE ROLE "{role}" LOGIN',
        "CREATE TABLE guarded (a int)",
        "ALTER TABLE guarded ENABLE ROW LEVEL SECURITY",
        f'GRANT SELECT ON guarded TO "{role}"',
    )
    request.addfinalizer(lambda: database.execute(f'DROP OWNED BY "{role}"', f'DROP ROLE "{role}"'))
    assert set(missing(examine(database, role))) == {"rights", "table public.guarded"}
    assert missing(examine(database, role, exclude=("guarded",))) == {}


def test_too_few_locks_are_found_before_the_backup_runs_out() -> None:
    """All tables are locked at once: the setting that must grow is named with its value."""
    settings = {"max_locks_per_transaction": "10", "max_connections": "10", "max_prepared_transactions": "0"}
    with own_server(settings=settings) as server:
        database = Database(server=server, name="postgres")
        database.execute(*[f"CREATE TABLE t{number} (a int)" for number in range(120)])
        found = missing(examine(database))
    assert list(found) == ["locks"]
    assert "ALTER SYSTEM SET max_locks_per_transaction = 15;" in found["locks"]


def test_a_server_that_is_not_there_is_missing() -> None:
    """Doctor reports it; it does not fail itself."""
    address = ServerAddress.parse("postgresql://me:s3kret@127.0.0.1:1/x")
    report = doctor(address=address, storage=None, repository=None)
    assert list(missing(report)) == ["connection"]
    assert "s3kret" not in repr(report)


class ForgetfulStorage(MemoryStorage):
    """A storage that ignores create-once, as some servers do."""

    def create(self, name: str, data: bytes | bytearray | memoryview) -> None:
        self.replace(name, data)


@pytest.mark.parametrize(("kind", "status"), [(MemoryStorage, "fine"), (ForgetfulStorage, "warning")])
def test_the_storages_abilities_are_tried(kind: Callable[[], MemoryStorage], status: str) -> None:
    """Not asked, tried: a storage that ignores create-once is found out."""
    from contextlib import nullcontext

    report = doctor(address=None, storage=lambda: nullcontext(kind()), repository=None)
    found: dict[str, Check] = {check.subject: check for check in report.checks}
    assert found["create-once"].status == status
    assert found["storage"].status is CheckStatus.FINE


def test_the_command_says_it_all(with_repository: Program, database: Database, pg: ServerPool) -> None:
    """Exit code 0 when ready, 6 when something is missing; text and JSON say the same."""
    run = with_repository
    ready = run("doctor", database.dsn)
    assert (ready.code, ready.stderr) == (0, "")
    assert ready.stdout.splitlines()[0].startswith("source: ")
    assert "NOT READY" not in ready.stdout
    assert "\N{HORIZONTAL ELLIPSIS}" in ready.stdout
    narrow = run("doctor", database.dsn, PYTHONIOENCODING="ascii")
    assert (narrow.code, narrow.stdout) == (0, ready.stdout.replace("\N{HORIZONTAL ELLIPSIS}", r"\u2026"))
    database.execute("CREATE TABLE t (a int)")
    role = f"doctor_{database.name}"
    database.execute(f'CREATE ROLE "{role}" LOGIN')
    try:
        text = run("doctor", database.dsn_as(role))
        document = run("doctor", database.dsn_as(role), "--json")
    finally:
        database.execute(f'DROP ROLE "{role}"')
    assert (text.code, document.code) == (6, 6)
    assert f'          GRANT SELECT ON TABLE "public"."t" TO "{role}";' in text.stdout.splitlines()
    assert document.document["fine"] is False


def test_without_a_source_the_repository_is_looked_at(with_repository: Program) -> None:
    """A locked repository and a missing one are findings, not failures."""
    run = with_repository
    assert run("doctor", "--repo", "./repo").code == 0
    locked = run("doctor", "--repo", "./repo", "--json", HOLDFAST_IDENTITY_FILE="")
    assert locked.code == 6
    assert locked.document["checks"][-1]["subject"] == "keys"
    nowhere = run("doctor", "--repo", str(Path("/nowhere/at/all")), "--json")
    assert (nowhere.code, nowhere.document["checks"][-1]["subject"]) == (6, "storage")
