"""Backups after a change of keys: what they read and reuse, from a real server."""

from __future__ import annotations

from datetime import UTC, datetime

from holdfast.postgres.address import ServerAddress
from holdfast.repository.keys.secrets import Secrets
from holdfast.repository.repo import open_repository
from holdfast.storage.memory import MemoryStorage
from holdfast.workflows.backup import BackupOptions, BackupSource, backup
from holdfast.workflows.reports import BackupReport
from holdfast.workflows.reseal import reseal
from holdfast.workflows.rotation import compromised, rotate
from postgres_servers import Database
from repositories import PASSPHRASE, make_repository

OURS = Secrets(passphrase=PASSPHRASE)


def now() -> datetime:
    return datetime.now(UTC)


def test_keys_change_what_the_next_backup_reads(database: Database) -> None:
    """A rotation changes nothing; after a compromise everything is read and stored anew, also on top of what was
    resealed, which the old keys had vouched for; then reuse goes on."""
    database.execute(
        "create table t as select i, md5(i::text) as digest from generate_series(1, 2000) i",
    )
    storage = MemoryStorage()
    make_repository(storage)

    def taken() -> BackupReport:
        source = BackupSource(name="app", address=ServerAddress.parse(database.dsn))
        return backup(source, open_repository(storage, OURS), options=BackupOptions(jobs=1))

    first = taken()
    rotate(open_repository(storage, OURS), [OURS], now=now())
    second = taken()
    assert (second.parent, second.chunks_stored) == (first.snapshot, 0)
    compromised(open_repository(storage, OURS), [], [OURS], now=now())
    reseal(open_repository(storage, OURS), by="us", clock=now)
    third = taken()
    assert (third.parent, third.chunks_reused) == (None, 0)
    assert third.bytes_read == first.bytes_read > 0
    fourth = taken()
    assert (fourth.parent, fourth.chunks_stored) == (third.snapshot, 0)
