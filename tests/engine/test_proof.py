"""The proof of unchanged ranges on real servers, case by case: what it spares, what it must not, what it says."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace

import psycopg
import pytest

from engine.exactness import Chain, reading_of
from holdfast.domain.proof import Seen
from holdfast.domain.ranges import PageRange
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.copy import RangeReader
from holdfast.postgres.proof import Asked, look_at
from holdfast.repository import layout
from holdfast.repository.repo import Repository
from holdfast.storage.memory import MemoryStorage
from holdfast.workflows import proving
from holdfast.workflows.backup import BackupOptions, BackupSource, backup
from holdfast.workflows.reports import BackupReport
from patience import wait_until
from postgres_servers import Database, own_server
from repositories import make_repository

RANGE_BYTES = 64 * 1024
FILLED = (
    "CREATE TYPE mood AS ENUM ('sad', 'glad')",
    "CREATE TABLE t (id int PRIMARY KEY, a int DEFAULT 0, b text DEFAULT repeat('b', 100), m mood DEFAULT 'sad')",
    "INSERT INTO t (id) SELECT generate_series(1, 3000)",
)


def take(database: Database, repository: Repository, **options: object) -> BackupReport:
    source = BackupSource(name="proof", address=ServerAddress.parse(database.dsn))
    chosen = replace(BackupOptions(jobs=1, range_bytes=RANGE_BYTES), **options)  # type: ignore[arg-type]
    return backup(source, repository, options=chosen)


def disturb(database: Database) -> None:
    """Something is written in the cluster, though not in the tables."""
    database.execute("SELECT pg_current_xact_id()")


def page_of(connection: psycopg.Connection, row: int) -> int:
    found = connection.execute("SELECT (ctid::text::point)[0]::int FROM t WHERE id = %s", [row]).fetchone()
    assert found is not None
    return int(found[0])


@pytest.mark.parametrize("quiet", [True, False])
def test_nothing_is_read_of_what_did_not_change(database: Database, *, quiet: bool) -> None:
    """Neither rows nor definitions, whether or not transactions went on elsewhere; and nothing is stored but the
    root."""
    database.execute(*FILLED)
    repository = make_repository(MemoryStorage())
    first = take(database, repository)
    assert "no earlier snapshot" in first.reason
    if not quiet:
        disturb(database)
    second = take(database, repository)
    assert (second.reason, second.bytes_read, second.chunks_stored) == ("", 0, 0)
    assert second.definitions_reused
    assert (second.rows, second.bytes) == (first.rows, first.bytes)
    assert [reading.ranges_unchanged for reading in second.readings] == [
        reading.ranges_read for reading in first.readings
    ]
    roots = [repository.root(outcome.summary) for outcome in repository.committed()]
    assert roots[0].tables == roots[1].tables
    assert roots[0].archive == roots[1].archive
    assert roots[0].read_in_full_at == roots[1].instant.taken_at == roots[1].read_in_full_at


def test_only_changed_ranges_are_read(database: Database) -> None:
    """An update of the last rows is found where it was, and where its new versions went."""
    database.execute(*FILLED)
    repository = make_repository(MemoryStorage())
    take(database, repository)
    database.execute("UPDATE t SET a = 1 WHERE id > 2950")
    reading = take(database, repository).readings[0]
    assert 1 <= reading.ranges_read <= 2
    assert reading.ranges_unchanged >= 4
    assert reading.reason == ""


@pytest.mark.parametrize("where", ["", "WHERE id % 500 = 0"])
def test_ranges_that_changed_at_their_beginning_are_not_looked_at_whole(
    database: Database, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A sample tells that all changed, and nothing more is asked; where it does not tell, the look at all does."""
    database.execute(*FILLED)
    repository = make_repository(MemoryStorage())
    ranges = take(database, repository).readings[0].ranges_read
    database.execute("ALTER TABLE t SET (fillfactor = 50)", f"UPDATE t SET a = a + 1 {where}")
    monkeypatch.setattr(proving, "SAMPLE_SHARE", 4)
    looks: list[PageRange] = []

    def look(reader: RangeReader, asked: Sequence[Asked], *, parent_xmin: int) -> list[Seen]:
        looks.extend(item.pages for item in asked)
        return look_at(reader, asked, parent_xmin=parent_xmin)

    monkeypatch.setattr(proving, "look_at", look)
    reading = take(database, repository).readings[0]
    whole = [pages for pages in looks if pages.end is None or pages.end - pages.first >= RANGE_BYTES // 8192]
    samples = len(looks) - len(whole)
    if where:
        assert len(whole) >= ranges
    else:  # what the rows left is empty, which a sample cannot tell; where they went, it does
        assert reading.ranges_read >= ranges
        assert len(whole) <= samples - ranges
    assert take(database, repository, full=True).refuted == ()


def test_an_append_reads_the_last_range_and_no_more(database: Database) -> None:
    """Also where the table has grown past the parent's last, open-ended range."""
    database.execute(*FILLED)
    chain = Chain(database, range_bytes=RANGE_BYTES)
    ranges, _, _ = reading_of(chain.snapshot(), "t")
    database.execute("INSERT INTO t (id) SELECT generate_series(3001, 6000)")
    read, unchanged, _ = reading_of(chain.snapshot(), "t")
    assert unchanged >= ranges - 1
    assert read <= ranges + 2


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("VACUUM FULL t", "rewritten"),
        ("CLUSTER t USING t_pkey", "rewritten"),
        ("TRUNCATE t", "rewritten"),
        ("ALTER TABLE t ALTER a TYPE bigint", "rewritten"),
        ("ALTER TABLE t ADD c int DEFAULT 7", "columns"),
        ("ALTER TABLE t DROP b", "columns"),
        ("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'", "types"),
        ("ALTER TABLE t ADD c regclass", "regclass"),
        ("DROP TABLE t; CREATE TABLE t AS SELECT 1 AS id", "created anew"),
    ],
)
def test_what_rules_out_the_proof_is_said_and_all_is_read(
    database: Database, statement: str, words: str
) -> None:
    """Each with its own reason; the chunks are those of a full reading."""
    database.execute(*FILLED)
    chain = Chain(database, range_bytes=RANGE_BYTES)
    chain.snapshot()
    database.execute(*statement.split("; "))
    _, unchanged, reason = reading_of(chain.snapshot(), "t")
    assert unchanged == 0
    assert words in reason


def test_a_delete_that_an_insert_makes_up_for_is_found(database: Database) -> None:
    """The same count, and all rows old but one; then the same the other way round."""
    database.execute(*FILLED)
    chain = Chain(database, range_bytes=RANGE_BYTES)
    chain.snapshot()
    database.execute("DELETE FROM t WHERE id = 17", "VACUUM t", "INSERT INTO t (id) VALUES (17)")
    assert reading_of(chain.snapshot(), "t")[0] == 1
    database.execute("DELETE FROM t WHERE id = 18")
    assert reading_of(chain.snapshot(), "t")[0] == 1


def test_rows_of_a_transaction_open_at_the_parent_are_found(database: Database) -> None:
    """Its id is older than the parent, and it commits after it; its subtransactions' ids are not."""
    database.execute(*FILLED)
    chain = Chain(database, range_bytes=RANGE_BYTES)
    with psycopg.connect(database.dsn) as writer:
        writer.execute("SAVEPOINT s; UPDATE t SET a = 5 WHERE id = 1000; RELEASE s")
        disturb(database)
        chain.snapshot()
        writer.commit()
    read, unchanged, _ = reading_of(chain.snapshot(), "t")
    assert 1 <= read <= 2  # where the row was, and where its new version is
    assert unchanged >= 4


def test_a_row_replaced_in_its_range_by_a_transaction_open_at_the_parent_is_found(database: Database) -> None:
    """The count stays the same, and the parent knows of a later transaction that had ended: only that this one
    had not tells the new version from an old one."""
    database.execute(*FILLED, "DELETE FROM t WHERE id = 999", "VACUUM t")
    chain = Chain(database, range_bytes=RANGE_BYTES)
    with psycopg.connect(database.dsn) as writer:
        before = page_of(writer, 1000)
        writer.execute("UPDATE t SET a = 5 WHERE id = 1000")
        assert page_of(writer, 1000) == before
        disturb(database)
        chain.snapshot()
        writer.commit()
    assert reading_of(chain.snapshot(), "t")[0] == 1


def test_a_full_reading_reads_all_and_stores_nothing_twice(database: Database) -> None:
    """By --full, and by policy; both are said, remembered, and test the proof."""
    database.execute(*FILLED)
    repository = make_repository(MemoryStorage())
    first = take(database, repository)
    for options in ({"full": True}, {"full_every_days": 0.0}):
        report = take(database, repository, **options)
        assert "full reading" in report.reason
        assert (report.bytes_read, report.chunks_stored) == (first.bytes_read, 0)
        assert report.warnings == first.warnings
        newest = next(repository.committed())
        assert repository.root(newest.summary).read_in_full_at == report.taken_at


def test_a_chunk_that_is_gone_from_the_storage_is_read_and_stored_again(database: Database) -> None:
    """Proven unchanged or not: what is not there cannot be reused."""
    database.execute(*FILLED)
    repository = make_repository(MemoryStorage())
    take(database, repository)
    for info in list(repository.storage.list(layout.DATA)):
        repository.storage.delete(info.name)
    report = take(database, repository)
    assert report.bytes_read == report.bytes
    assert not report.definitions_reused
    assert report.chunks_stored > 0


def test_a_full_reading_refutes_a_proof_that_was_wrong(database: Database) -> None:
    """If the argument had a hole, the weekly reading would say so: here the parent is told a false xmin."""
    database.execute(*FILLED)
    chain = Chain(database, range_bytes=RANGE_BYTES)
    chain.snapshot()
    database.execute("UPDATE t SET a = 9 WHERE id = 3000")  # where there is room beside it
    disturb(database)
    captured = chain.snapshot(
        full=True,
        before_parent=lambda root: replace(
            root, instant=replace(root.instant, xmin=root.instant.xmin + 2, xmax=root.instant.xmax + 2)
        ),
    )
    assert [str(name) for name in captured.refuted] == ["public.t"]


@pytest.mark.parametrize(
    ("statement", "reused"),
    [
        ("INSERT INTO t (id) VALUES (0)", True),
        ("ANALYZE t", True),
        ("VACUUM FREEZE t", True),
        ("COMMENT ON TABLE t IS 'a table'", False),
        ("CREATE VIEW v AS SELECT 1 AS one", False),
        ("ALTER TABLE t ALTER a SET DEFAULT 1", False),
        ("GRANT SELECT ON t TO PUBLIC", False),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", False),
        ("DROP INDEX extra", False),
        ("CREATE INDEX CONCURRENTLY more ON t (b)", False),
        ("ALTER SEQUENCE s INCREMENT 5", False),
    ],
)
def test_definitions_are_dumped_again_only_if_they_may_have_changed(
    database: Database, statement: str, *, reused: bool
) -> None:
    """Rows and statistics come and go; anything else is a row in a catalog."""
    database.execute(*FILLED, "CREATE INDEX extra ON t (a)", "CREATE SEQUENCE s")
    repository = make_repository(MemoryStorage())
    take(database, repository)
    database.execute(statement)
    assert take(database, repository).definitions_reused is reused


def test_a_renamed_role_is_in_the_definitions(database: Database) -> None:
    """Owners are written by name, and no catalog of the database says so."""
    role = f"owner_{database.name}"
    database.execute(*FILLED, f"CREATE ROLE {role}", f"ALTER TABLE t OWNER TO {role}")
    try:
        repository = make_repository(MemoryStorage())
        take(database, repository)
        database.execute(f"ALTER ROLE {role} RENAME TO {role}_2", f"ALTER ROLE {role}_2 RENAME TO {role}_3")
        assert not take(database, repository).definitions_reused
    finally:
        database.execute("DROP TABLE t", f"DROP ROLE IF EXISTS {role}_3")


@pytest.mark.parametrize("major", [15, 18])
def test_a_crash_that_the_server_recovers_from_rules_out_the_proof(major: int) -> None:
    """Commits that were not flushed are lost with it, and their ids are given out again."""
    with own_server(major) as server:
        server.start()
        server.create_database("crash")
        database = Database(server=server, name="crash")
        database.execute(*FILLED)
        chain = Chain(database, range_bytes=RANGE_BYTES)
        chain.snapshot()
        chain.snapshot()
        assert chain.ground is not None
        assert chain.ground.relied_on
        with database.connect() as witness:
            with database.connect() as victim:
                os.kill(victim.info.backend_pid, signal.SIGKILL)
            # The postmaster ends every session when it learns of the death; before, it would still let us in.
            wait_until(lambda: not _answers(lambda: witness.execute("SELECT 1")), "the end of the sessions")
        wait_until(lambda: _answers(lambda: database.rows("SELECT 1")), "the recovery")
        chain.snapshot()
        assert "restarted" in chain.ground.reason
        server.stop()
        server.start()
        chain.snapshot()
        assert "restarted" in chain.ground.reason


def _answers(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except psycopg.OperationalError:
        return False
    return True


def test_a_database_put_in_anothers_place_is_not_the_same(
    database: Database, make_database: Callable[..., Database]
) -> None:
    """A copy has the same tables, oids, files and rows; but it is another database."""
    database.execute(*FILLED)
    chain = Chain(database, range_bytes=RANGE_BYTES)
    chain.snapshot()
    name = database.name
    database.server.drop_database(f"{name}_copy")
    with psycopg.connect(database.server.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}_copy TEMPLATE {name}".encode())
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        connection.execute(f"ALTER DATABASE {name}_copy RENAME TO {name}".encode())
    chain.snapshot()
    assert chain.ground is not None
    assert "created anew" in chain.ground.reason
