"""Fidelity: after backup and restore, every definition, row, sequence and large object is the same.

The torture database holds one object for every case; the comparator reads both sides in its own way, and
pg_dump prints both sides' definitions. A finding here is a loss.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from engine.torture.build import available, build, build_latin1, build_plain_role, build_sql_ascii
from engine.torture.compare import compare
from holdfast.domain.coverage import CoverageStatus
from holdfast.domain.manifest import SnapshotState
from holdfast.domain.tables import TablePatterns
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.tools import Version, dump_tool, find_tools
from holdfast.repository.repo import Repository
from holdfast.storage.memory import MemoryStorage
from holdfast.workflows.backup import BackupOptions, BackupSource, backup
from holdfast.workflows.reports import BackupReport, RestoreReport
from holdfast.workflows.restore import RestoreOptions, restore
from postgres_servers import Database, ServerPool, drop_with_subscriptions, majors_at_hand
from repositories import make_repository

MAJORS = majors_at_hand()
UPGRADES = list(itertools.combinations(MAJORS, 2))

MakeDatabase = Callable[..., Database]


def pg_dump_of(major: int) -> Path:
    """The pg_dump that a backup of this major uses."""
    return dump_tool(Version(major, 0), find_tools()).path


def newest_pg_dump() -> Path:
    """One pg_dump for both sides, at least as new as every server here."""
    toolset = max(
        (item for item in find_tools() if "pg_dump" in item.programs), key=lambda item: item.version
    )
    return toolset.path("pg_dump")


def take(dsn: str, repository: Repository, name: str = "torture") -> BackupReport:
    return backup(
        BackupSource(name=name, address=ServerAddress.parse(dsn)), repository, options=BackupOptions()
    )


def bring_back(
    repository: Repository, taken: BackupReport, dsn: str, options: RestoreOptions | None = None
) -> RestoreReport:
    return restore(
        repository, taken.snapshot, ServerAddress.parse(dsn), options=options or RestoreOptions(create=True)
    )


def target_on(pg: ServerPool, major: int, request: pytest.FixtureRequest, name: str) -> str:
    """The address of a database that does not exist yet, and is dropped after the test."""
    server = pg(major)
    request.addfinalizer(lambda: drop_with_subscriptions(server, name))
    return server.dsn(name)


def failed(report: BackupReport) -> list[str]:
    return [f"{e.kind} {e.name}: {e.reason}" for e in report.coverage if e.status is CoverageStatus.FAILED]


@pytest.mark.parametrize("major", MAJORS)
def test_torture_comes_back_the_same(
    major: int, pg: ServerPool, make_database: MakeDatabase, request: pytest.FixtureRequest
) -> None:
    """A superuser's backup of the torture database, restored on the same major, differs in nothing."""
    source = make_database(major=major, name_prefix="torture")
    abilities = available(source.dsn)
    build(source.dsn, major=major, contrib=set(abilities.contrib))
    repository = make_repository(MemoryStorage())
    taken = take(source.dsn, repository)
    assert failed(taken) == []
    assert taken.state is SnapshotState.COMMITTED
    target = target_on(pg, major, request, f"{source.name}_back")
    report = bring_back(repository, taken, target)
    assert report.left_out == ()
    assert compare(source.dsn, target, pg_dump=newest_pg_dump()) == []


@pytest.mark.parametrize(("older", "newer"), UPGRADES)
def test_torture_comes_back_on_a_newer_server(
    older: int, newer: int, pg: ServerPool, make_database: MakeDatabase, request: pytest.FixtureRequest
) -> None:
    """A snapshot of an older major, restored on a newer one, differs in nothing that the newer one can hold."""
    source = make_database(major=older, name_prefix="torture")
    here, there = available(source.dsn), available(pg(newer).dsn())
    build(
        source.dsn,
        major=older,
        contrib=set(here.contrib & there.contrib),
        features=here.features & there.features,
    )
    repository = make_repository(MemoryStorage())
    taken = take(source.dsn, repository)
    assert failed(taken) == []
    target = target_on(pg, newer, request, f"{source.name}_to_{newer}")
    report = bring_back(repository, taken, target)
    assert report.left_out == ()
    differences = compare(
        source.dsn,
        target,
        pg_dump=pg_dump_of(newer),
        cross_version=True,
        reference_dump=pg_dump_of(older),
    )
    assert differences == []


@pytest.mark.parametrize("major", MAJORS)
def test_a_plain_role_that_may_read_everything_misses_nothing(
    major: int, pg: ServerPool, make_database: MakeDatabase, request: pytest.FixtureRequest
) -> None:
    """A role with SELECT and BYPASSRLS only takes a snapshot that restores to the same database.

    What no plain role can read (subscriptions, options of user mappings) stands in the coverage, and is all that
    differs.
    """
    source = make_database(major=major, name_prefix="torture")
    abilities = available(source.dsn)
    build(source.dsn, major=major, contrib=set(abilities.contrib))
    role = f"plain_{os.getpid()}_{major}"
    build_plain_role(source.dsn, role)
    request.addfinalizer(lambda: _drop_role(source, role))
    repository = make_repository(MemoryStorage())
    taken = take(source.dsn_as(role), repository)
    gaps = {entry.kind for entry in taken.coverage if entry.status is CoverageStatus.FAILED}
    assert gaps <= {"subscription", "user mapping"}
    target = target_on(pg, major, request, f"{source.name}_back")
    bring_back(repository, taken, target)
    found = compare(source.dsn, target, pg_dump=newest_pg_dump())
    unexplained = [
        line for line in found if not any(kind in line.lower() for kind in ("subscription", "user mapping"))
    ]
    assert unexplained == []


def _drop_role(database: Database, role: str) -> None:
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        connection.execute(f'drop owned by "{role}"'.encode())
        connection.execute(f'drop role "{role}"'.encode())


def test_what_a_role_may_not_read_makes_the_snapshot_partial(
    make_database: MakeDatabase, request: pytest.FixtureRequest
) -> None:
    """Tables without SELECT and tables whose row security the role cannot pass are failed in the coverage,
    each with a statement that mends it; with those run, the next snapshot is whole."""
    source = make_database(name_prefix="gaps")
    abilities = available(source.dsn)
    build(source.dsn, major=abilities.major, contrib=set(abilities.contrib))
    role = f"gaps_{os.getpid()}"
    build_plain_role(source.dsn, role, gaps=True)
    request.addfinalizer(lambda: _drop_role(source, role))
    repository = make_repository(MemoryStorage())
    taken = take(source.dsn_as(role), repository)
    assert taken.state is SnapshotState.PARTIAL
    gaps = {entry.name: entry for entry in taken.coverage if entry.status is CoverageStatus.FAILED}
    assert "tor_secret.no_select" in gaps
    assert "tor_secret.forced_rls" in gaps
    for entry in gaps.values():
        assert entry.reason
        if entry.kind == "table":
            assert entry.remedy


@pytest.mark.parametrize(("encoding", "fill"), [("LATIN1", build_latin1), ("SQL_ASCII", build_sql_ascii)])
@pytest.mark.parametrize("major", MAJORS)
def test_other_encodings_come_back_the_same(
    encoding: str,
    fill: Callable[[str], None],
    major: int,
    pg: ServerPool,
    make_database: MakeDatabase,
    request: pytest.FixtureRequest,
) -> None:
    """Databases in LATIN1 and SQL_ASCII keep every byte, in rows and in names."""
    source = make_database(major=major, name_prefix="bytes", encoding=encoding)
    fill(source.dsn)
    repository = make_repository(MemoryStorage())
    taken = take(source.dsn, repository)
    assert failed(taken) == []
    target = target_on(pg, major, request, f"{source.name}_back")
    bring_back(repository, taken, target)
    assert compare(source.dsn, target, pg_dump=newest_pg_dump()) == []


def test_values_of_a_hundred_megabytes_come_back_the_same(
    pg: ServerPool, make_database: MakeDatabase, request: pytest.FixtureRequest
) -> None:
    """Rows far bigger than a range keep every byte."""
    source = make_database(name_prefix="big")
    source.execute(
        "create table big (id int primary key, text text, bytes bytea)",
        "alter table big alter bytes set storage external",
        "insert into big values (1, repeat('0123456789', 10000000), null), (2, '', '')",
        "insert into big select 3, null, decode(string_agg(md5(i::text), ''), 'hex')"
        " from generate_series(1, 6500000) i",
    )
    repository = make_repository(MemoryStorage())
    taken = take(source.dsn, repository)
    assert taken.rows == 3
    target = target_on(pg, pg().major, request, f"{source.name}_back")
    bring_back(repository, taken, target)
    digest = "select id, md5(text), md5(bytes), length(text), length(bytes) from big order by id"
    with psycopg.connect(target) as connection:
        assert connection.execute(digest).fetchall() == source.rows(digest)


def test_a_snapshot_under_load_is_one_instant(
    pg: ServerPool, make_database: MakeDatabase, request: pytest.FixtureRequest
) -> None:
    """Transactions that write several tables together are in a snapshot whole or not at all.

    Writers move money between accounts in three tables, so that the sum over all of them never changes, and log
    each move: a snapshot that mixed instants would show another sum or a move without its log.
    """
    source = make_database(name_prefix="load")
    for table in "abc":
        source.execute(
            f"create table {table} (id int primary key, amount bigint, padding text)",
            f"insert into {table} select i, 1000, repeat('x', 500) from generate_series(1, 20000) i",
        )
    source.execute("create table moves (id bigserial primary key, writer int, amount bigint)")
    stop = threading.Event()
    writers = [threading.Thread(target=_move_money, args=(source.dsn, n, stop)) for n in range(3)]
    for writer in writers:
        writer.start()
    try:
        repository = make_repository(MemoryStorage())
        reports = [take(source.dsn, repository) for _ in range(3)]
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    seen = []
    for place, report in enumerate(reports):
        target = target_on(pg, pg().major, request, f"{source.name}_{place}")
        bring_back(repository, report, target)
        with psycopg.connect(target) as connection:
            (total,) = connection.execute(
                "select sum(amount) from (select amount from a union all select amount from b"
                " union all select amount from c) as everything"
            ).fetchall()
            counters = connection.execute("select count(*), sum(amount) from moves").fetchall()
            moved = connection.execute(
                "select (select sum(amount) from b) - 20000000 + (select sum(amount) from c) - 20000000"
            ).fetchall()
            assert total == (60000000,)
            assert (counters[0][1] or 0) == moved[0][0]
            seen.append(counters[0][0])
    # The writers did write while the snapshots were taken, or this test shows nothing.
    assert seen[0] < seen[-1]


def _move_money(dsn: str, number: int, stop: threading.Event) -> None:
    """Take from a, give to b and c in one transaction, as fast as it goes."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        move = 0
        while not stop.is_set():
            move += 1
            row = 1 + (number * 7001 + move * 13) % 20000
            with connection.transaction():
                connection.execute("update a set amount = amount - 3 where id = %s", [row])
                connection.execute("update b set amount = amount + 1 where id = %s", [row])
                connection.execute("insert into moves (writer, amount) values (%s, 3)", [number])
                connection.execute("update c set amount = amount + 2 where id = %s", [row])


def test_some_tables_come_back_alone(
    pg: ServerPool, make_database: MakeDatabase, request: pytest.FixtureRequest
) -> None:
    """With --table patterns, those tables come back with all they need, and the others do not."""
    source = make_database(name_prefix="some")
    source.execute(
        "create type mood as enum ('fine', 'so so')",
        "create schema app",
        "create table app.users (id int primary key, mood mood)",
        "create table app.orders (id int primary key, user_id int references app.users)",
        "create table other (id int)",
        "insert into app.users values (1, 'fine'), (2, 'so so')",
        "insert into app.orders values (1, 2)",
        "insert into other values (9)",
    )
    repository = make_repository(MemoryStorage())
    taken = take(source.dsn, repository)
    target = target_on(pg, pg().major, request, f"{source.name}_back")
    options = replace(RestoreOptions(create=True), include=TablePatterns(patterns=("app.*",)))
    report = bring_back(repository, taken, target, options)
    assert report.tables == 2
    with psycopg.connect(target) as connection:
        assert connection.execute("select * from app.users order by 1").fetchall() == [
            (1, "fine"),
            (2, "so so"),
        ]
        assert connection.execute("select to_regclass('public.other')").fetchall() == [(None,)]
        foreign_keys = connection.execute("select count(*) from pg_constraint where contype = 'f'").fetchall()
        assert foreign_keys == [(1,)]
