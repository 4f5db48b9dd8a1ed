"""A damaged chunk in a table that several streams restore at once."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from holdfast.domain.errors import EXIT_DAMAGED, DamagedError
from holdfast.postgres import restore_graph
from holdfast.postgres.address import ServerAddress
from holdfast.storage.memory import MemoryStorage
from holdfast.workflows.backup import BackupOptions, BackupSource, backup
from holdfast.workflows.restore import RestoreOptions, restore
from postgres_servers import Database, ServerPool
from repositories import make_repository

RANGE_BYTES = 1_000_000


@pytest.fixture
def target(database: Database, pg: ServerPool) -> Iterator[str]:
    name = f"{database.name}_back"
    yield pg().dsn(name)
    pg().drop_database(name)


@pytest.mark.parametrize("which", ["first", "middle", "last"])
def test_one_bad_chunk_among_many_streams_commits_no_wrong_row(
    database: Database, target: str, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """The restore stops with exit code 4 and names the object; every row that is there was one of the source's,
    and the target says that it is incomplete."""
    monkeypatch.setattr(restore_graph, "SPLIT_FROM_BYTES", 1)
    database.execute(
        "create table big as select i, md5(i::text) || md5((-i)::text) as a from generate_series(1, 120000) i"
    )
    storage = MemoryStorage()
    repository = make_repository(storage)
    taken = backup(
        BackupSource(name="shop", address=ServerAddress.parse(database.dsn)),
        repository,
        options=BackupOptions(range_bytes=RANGE_BYTES),
    )
    root = repository.root(repository.summary(taken.snapshot))
    [entry] = root.tables
    chunks = [chunk.blob for record in repository.table(entry).ranges for chunk in record.chunks]
    assert len(chunks) >= 6
    bad = {"first": chunks[0], "middle": chunks[len(chunks) // 2], "last": chunks[-1]}[which]
    data = bytearray(storage.get(bad.object_name))
    data[bad.offset + bad.length // 2] ^= 1
    storage.replace(bad.object_name, bytes(data))
    with pytest.raises(DamagedError) as caught:
        restore(
            repository,
            taken.snapshot,
            ServerAddress.parse(target),
            options=RestoreOptions(create=True, jobs=3),
        )
    assert caught.value.exit_code == EXIT_DAMAGED
    assert caught.value.object_name == bad.object_name
    with psycopg.connect(target) as connection:
        there = connection.execute("select i, a from big").fetchall()
        assert len(there) < 120_000
        marked = connection.execute("select count(*) from holdfast_incomplete.restore").fetchall()
        assert marked == [(1,)]
    source = {row[0]: row[1] for row in database.rows("select i, a from big")}
    assert len({row[0] for row in there}) == len(there)
    assert all(source[number] == text for number, text in there)
