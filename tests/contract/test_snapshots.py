"""A database backed up into every kind of storage, verified there, and brought back from it."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from holdfast.domain.errors import DamagedError
from holdfast.postgres.address import ServerAddress
from holdfast.repository.keys.secrets import Secrets
from holdfast.repository.repo import open_repository
from holdfast.storage import Storage
from holdfast.workflows.backup import BackupOptions, BackupSource, backup
from holdfast.workflows.restore import RestoreOptions, restore
from holdfast.workflows.verify import verify
from postgres_servers import Database, ServerPool
from repositories import PASSPHRASE, make_repository

from .conftest import open_kind


@pytest.mark.parametrize("kind", ["local", "moto", "swift", "azure"])
def test_a_database_comes_back_from_every_storage(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, pg: ServerPool, database: Database
) -> None:
    """Two snapshots, verified at every level, restored; one flipped byte is named by its object."""
    storage: Storage = open_kind(kind, request, tmp_path)
    request.addfinalizer(storage.close)
    database.execute("create table t as select i, md5(i::text) as text from generate_series(1, 200000) i")
    make_repository(storage, single_writer=not storage.create_once)
    repository = open_repository(storage, Secrets(passphrase=PASSPHRASE))
    source = BackupSource(name="shop", address=ServerAddress.parse(database.dsn))
    backup(source, repository, options=BackupOptions())
    database.execute("insert into t values (0, 'late')")
    taken = backup(source, repository, options=BackupOptions())
    for level in range(4):
        assert verify(repository, None, level=level).findings == ()
    target = pg().dsn(f"{database.name}_back")
    request.addfinalizer(lambda: pg().drop_database(f"{database.name}_back"))
    restore(repository, taken.snapshot, ServerAddress.parse(target), options=RestoreOptions(create=True))
    query = "select count(*), md5(string_agg(text, '' order by i)) from t"
    with psycopg.connect(target) as connection:
        assert connection.execute(query).fetchall() == database.rows(query)
    biggest = max(storage.list("data/"), key=lambda info: info.size_bytes).name
    data = bytearray(storage.get(biggest))
    data[len(data) // 2] ^= 1
    storage.replace(biggest, data)
    for level in (2, 3):
        assert {finding.object_name for finding in verify(repository, None, level=level).findings} == {
            biggest
        }
    with pytest.raises(DamagedError, match=biggest):
        restore(
            repository,
            taken.snapshot,
            ServerAddress.parse(target),
            options=RestoreOptions(replace=f"{database.name}_back", safety_snapshot=False),
        )
