"""A partitioned table that the role may not read, with partitions that it may: what was captured comes back."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from holdfast.domain.manifest import SnapshotState
from holdfast.postgres.address import ServerAddress
from holdfast.storage.memory import MemoryStorage
from holdfast.workflows.backup import BackupOptions, BackupSource, backup
from holdfast.workflows.restore import RestoreOptions, restore
from postgres_servers import Database, ServerPool
from repositories import make_repository


@pytest.fixture
def reader(pg: ServerPool, database: Database) -> Iterator[str]:
    """A role that may read nothing yet."""
    name = f"{database.name}_reader"
    database.execute(f'create role "{name}" login')
    yield name
    database.execute(f'drop owned by "{name}"', f'drop role "{name}"')


@pytest.fixture
def target(database: Database, pg: ServerPool) -> Iterator[str]:
    name = f"{database.name}_back"
    yield pg().dsn(name)
    pg().drop_database(name)


@pytest.mark.parametrize("partitioning", ["range (at)", "hash (kind)"])
def test_partitions_come_back_without_their_unreadable_parent(
    database: Database, reader: str, target: str, partitioning: str
) -> None:
    """The snapshot is partial and says so; the partitions' rows and indexes are restored, each as a table of its
    own, and the report names them."""
    bounds = (
        ["from (0) to (100)", "from (100) to (200)"]
        if partitioning.startswith("range")
        else ["with (modulus 2, remainder 0)", "with (modulus 2, remainder 1)"]
    )
    database.execute(
        "create type kind as enum ('a', 'b')",
        f"create table events (at int not null, kind kind) partition by {partitioning}",
        *(f"create table events_{n} partition of events for values {text}" for n, text in enumerate(bounds)),
        "create index on events (at)",
        "insert into events select i, (case when i % 3 = 0 then 'a' else 'b' end)::kind"
        " from generate_series(0, 199) i",
        f'grant select on events_0, events_1 to "{reader}"',
    )
    repository = make_repository(MemoryStorage())
    dsn = database.dsn.replace("postgres@", f"{reader}@")
    taken = backup(
        BackupSource(name="shop", address=ServerAddress.parse(dsn)), repository, options=BackupOptions()
    )
    assert taken.state is SnapshotState.PARTIAL
    assert taken.rows == 200
    report = restore(
        repository, taken.snapshot, ServerAddress.parse(target), options=RestoreOptions(create=True)
    )
    assert report.rows == 200
    with psycopg.connect(target) as connection:
        back = connection.execute(
            "select count(*), sum(at) from (table events_0 union all table events_1) as t"
        )
        assert back.fetchall() == [(200, 19900)]
        indexes = connection.execute("select count(*) from pg_indexes where schemaname = 'public'")
        assert indexes.fetchall() == [(2,)]
    assert [item for item in report.left_out if "events_0" in item]
    assert [item for item in report.left_out if "events_1" in item]
