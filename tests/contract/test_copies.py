"""A database copied into storages of every kind, under other keys, and brought back from the copy alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from holdfast.domain.errors import DamagedError
from holdfast.postgres.address import ServerAddress
from holdfast.repository.keys.secrets import Secrets
from holdfast.repository.repo import Repository, open_repository
from holdfast.storage import Storage
from holdfast.storage.local import LocalStorage
from holdfast.storage.wrap import Counted
from holdfast.workflows.backup import BackupOptions, BackupSource, backup
from holdfast.workflows.copy import Errand, copy
from holdfast.workflows.copy_plan import CopySelection
from holdfast.workflows.copy_report import CopyResult, CopyState
from holdfast.workflows.replicate import ReplicateOptions
from holdfast.workflows.restore import RestoreOptions, restore
from holdfast.workflows.verify import verify
from postgres_servers import Database, ServerPool
from repositories import PASSPHRASE, make_repository

from .conftest import open_kind

ROWS = "select count(*), md5(string_agg(i || text, '' order by i)) from t"
LARGE = "select loid, md5(string_agg(data, '' order by pageno)) from pg_largeobject group by loid"


def send(near: Repository, storage: Storage, *, level: int) -> list[CopyResult]:
    @contextmanager
    def opened() -> Iterator[Repository]:
        yield open_repository(storage, Secrets(passphrase=PASSPHRASE))

    errand = Errand(name="far", open=opened, selection=CopySelection(source="shop"))
    return list(copy(near, [errand], place="near", options=ReplicateOptions(verify_level=level)).copies)


@pytest.mark.parametrize("kind", ["local", "moto", "swift", "azure"])
def test_a_database_comes_back_from_its_copy_alone(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, pg: ServerPool, database: Database
) -> None:
    """Two snapshots are copied, the second for a fraction of the bytes; the primary is gone; the copy restores."""
    database.execute(
        "create table t as select i, md5(i::text) as text from generate_series(1, 20000) i",
        "create table same as select i, md5(i::text) as text from generate_series(1, 150000) i",
        "create table empty (a int)",
        "select lo_from_bytea(77, decode(repeat('beef', 50000), 'hex'))",
    )
    (tmp_path / "near").mkdir()
    near = make_repository(LocalStorage(tmp_path / "near"))
    storage: Storage = open_kind(kind, request, tmp_path)
    request.addfinalizer(storage.close)
    make_repository(storage, single_writer=not storage.create_once)
    source = BackupSource(name="shop", address=ServerAddress.parse(database.dsn))
    backup(source, near, options=BackupOptions())
    (first,) = send(near, storage, level=3)
    assert (first.state, first.level, first.error) == (CopyState.COPIED, 3, None)
    database.execute("insert into t values (0, 'late')")
    taken = backup(source, near, options=BackupOptions())
    counted = Counted(storage)
    (second,) = send(near, counted, level=2)
    assert (second.state, second.error) == (CopyState.COPIED, None)
    assert second.chunks_reused > 0
    assert counted.traffic()["create"].sent_bytes < first.bytes_sent / 2
    far = open_repository(storage, Secrets(passphrase=PASSPHRASE))
    assert verify(far, None, level=3).findings == ()
    near.storage.delete("config")
    target = pg().dsn(f"{database.name}_back")
    request.addfinalizer(lambda: pg().drop_database(f"{database.name}_back"))
    assert second.copy is not None
    restore(far, second.copy, ServerAddress.parse(target), options=RestoreOptions(create=True))
    with psycopg.connect(target) as connection:
        for query in (ROWS, LARGE, "select count(*) from empty"):
            assert connection.execute(query).fetchall() == database.rows(query)
    biggest = max(storage.list("data/"), key=lambda info: info.size_bytes).name
    storage.delete(biggest)
    options = RestoreOptions(replace=f"{database.name}_back", safety_snapshot=False)
    with pytest.raises(DamagedError, match=biggest):
        restore(far, second.copy, ServerAddress.parse(target), options=options)
    assert taken.snapshot == second.snapshot
