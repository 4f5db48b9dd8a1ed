"""Resealing: after a compromise, what was stored before is stored anew, and nothing is lost on the way."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.domain.ids import SnapshotId
from holdfast.repository.repo import Repository, open_repository
from holdfast.repository.run import undecided_writers
from holdfast.repository.secrets import Secrets
from holdfast.workflows.replicate import ReplicateOptions
from holdfast.workflows.reseal import reseal
from holdfast.workflows.rotation import compromised
from holdfast.workflows.verify import verify
from mortal import KilledError, Mortal
from repositories import PASSPHRASE, make_repository
from snapshots import now, take

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
OURS = Secrets(passphrase=PASSPHRASE)
ONE = ReplicateOptions(jobs=1)


def rows_of(repository: Repository, snapshot: SnapshotId) -> dict[str, bytes]:
    root = repository.root(repository.summary(snapshot))
    return {
        manifest.name.name: b"".join(repository.chunk(chunk.blob) for chunk in manifest.chunks())
        for _, manifest in repository.tables(table.manifest for table in root.tables)
    }


def compromised_repository() -> tuple[Mortal, dict[SnapshotId, dict[str, bytes]]]:
    """Two snapshots of one source and one of another, then a compromise."""
    storage = Mortal()
    repository = make_repository(storage)
    taken = [
        take(repository, {"users": [b"1\tann\n"]}),
        take(repository, {"users": [b"1\tann\n", b"2\tbob\n"]}),
        take(repository, {"orders": [b"7\n"]}, source="orders"),
    ]
    rows = {item.snapshot: rows_of(repository, item.snapshot) for item in taken}
    compromised(repository, [], [OURS], now=NOW)
    return storage, rows


def standing_for(repository: Repository, snapshot: SnapshotId) -> list[SnapshotId]:
    """The snapshot itself and its copies, as far as they are not removed."""
    return [
        outcome.snapshot
        for outcome in repository.committed()
        if outcome.snapshot == snapshot
        or (outcome.summary.origin is not None and outcome.summary.origin.snapshot == snapshot)
    ]


def again(storage: Mortal) -> Repository:
    repository = open_repository(storage, OURS)
    reseal(repository, by="us", clock=now, options=ONE)
    return repository


def check_resealed(repository: Repository, rows: dict[SnapshotId, dict[str, bytes]]) -> None:
    """Every snapshot stands once, under the new keys, and is no parent."""
    standing = [outcome.summary for outcome in repository.committed()]
    assert len(standing) == len(rows)
    for snapshot, expected in rows.items():
        (copy,) = standing_for(repository, snapshot)
        assert copy != snapshot
        assert rows_of(repository, copy) == expected
    for summary in standing:
        assert repository.has_current_identities(summary)
        assert not repository.shares_identities(summary)
    assert verify(repository, None, level=3).findings == ()


def test_resealed_snapshots_need_no_old_key() -> None:
    """The same rows under new keys, the originals removed; what the old keys open then is only what is removed."""
    storage, rows = compromised_repository()
    repository = open_repository(storage, OURS)
    report = reseal(repository, by="us", clock=now, options=ONE)
    assert {item.original for item in report.resealed} == set(rows)
    assert (report.kept, report.failed) == ((), ())
    check_resealed(repository, rows)
    first, second = report.exposures.epochs
    assert (set(first.whole), first.parts) == (set(rows), ())
    assert len(second.whole) == 3
    assert reseal(repository, by="us", clock=now, options=ONE).resealed == ()


def test_a_damaged_snapshot_is_named_and_stays() -> None:
    """The others are sealed anew; the one that cannot be read is not removed."""
    storage, rows = compromised_repository()
    victim = min(rows)
    for info in list(storage.list(f"data/{victim}/")):
        storage.replace(info.name, b"rubbish")
    repository = open_repository(storage, OURS)
    report = reseal(repository, by="us", clock=now, options=ONE)
    assert [snapshot for snapshot, _ in report.failed] == [victim]
    assert victim in {outcome.snapshot for outcome in repository.committed()}


@pytest.mark.parametrize("part", range(4))
def test_killed_anywhere_it_ends_well_when_repeated(part: int) -> None:
    """No death loses a snapshot: each stands as itself or as its copy, and the next reseal finishes."""
    storage, rows = compromised_repository()
    before = storage.steps
    again(storage)
    steps = storage.steps - before
    assert steps > 40
    for death in range(1 + part, steps + 1, 4):
        storage, rows = compromised_repository()
        storage.left = death
        with pytest.raises(KilledError):
            again(storage)
        storage.left = None
        repository = open_repository(storage, OURS)
        for record in undecided_writers(repository)[0]:  # this process lives on: it was another one
            host = replace(record.host, boot="another boot")
            repository.writers.beat(replace(record, host=host), now=now() - timedelta(hours=1))
        for snapshot, expected in rows.items():
            found = standing_for(repository, snapshot)
            assert found
            assert all(rows_of(repository, item) == expected for item in found)
        check_resealed(again(storage), rows)
