"""Resealing: after a compromise, what was stored before is stored anew, and nothing is lost on the way."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.domain.errors import RefusedError
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import Origin
from holdfast.repository import layout
from holdfast.repository.keys.secrets import Secrets
from holdfast.repository.repo import Repository, open_repository
from holdfast.repository.runs.predecessors import undecided_writers
from holdfast.storage.memory import MemoryStorage
from holdfast.workflows.holding import add_hold, list_holds
from holdfast.workflows.listing import resolve, resolve_removed
from holdfast.workflows.removal import bury
from holdfast.workflows.replicate import ReplicateOptions, replicate
from holdfast.workflows.reseal import reseal
from holdfast.workflows.rotation import compromised
from holdfast.workflows.verify import verify
from mortal import KilledError, Mortal
from repositories import PASSPHRASE, make_repository
from snapshots import begin, now, rows_of, take

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
OURS = Secrets(passphrase=PASSPHRASE)
ONE = ReplicateOptions(jobs=1)


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


def test_a_lost_root_does_not_stop_the_others() -> None:
    """A snapshot of which not even the epoch can be told is named; the others are sealed anew."""
    storage, rows = compromised_repository()
    victim = min(rows)
    storage.delete(layout.root(victim))
    report = reseal(open_repository(storage, OURS), by="us", clock=now, options=ONE)
    assert [snapshot for snapshot, _ in report.failed] == [victim]
    assert {item.original for item in report.resealed} == set(rows) - {victim}


def test_a_hold_stands_over_the_copy_too() -> None:
    """The original stays, and the copy cannot be removed either; a second reseal adds nothing to that."""
    storage, rows = compromised_repository()
    original = min(rows)
    repository = open_repository(storage, OURS)
    hold = add_hold(repository, [original], by="law", why="a suit", until=None, clock=now)
    for _ in range(2):
        report = reseal(repository, by="us", clock=now, options=ONE)
        assert [snapshot for snapshot, _ in report.kept] == [original]
        (copy,) = (item.copy for item in report.resealed if item.original == original)
        with pytest.raises(RefusedError):
            bury(repository, {copy: "retention"}, by="us", clock=now)
        first, second = list_holds(repository)
        assert first == hold
        assert (second.snapshots, second.by) == ((copy,), "law")
        assert hold.hold in second.why


def test_the_original_names_what_stands_for_it_and_undelete_means_the_removed_one() -> None:
    """Whoever has noted an id finds the snapshot after a reseal, and can bring back the original."""
    storage, rows = compromised_repository()
    repository = open_repository(storage, OURS)
    for item in reseal(repository, by="us", clock=now, options=ONE).resealed:
        for wanted in (item.original, item.original[:10]):
            assert resolve(repository, wanted) == item.copy
            assert resolve_removed(repository, wanted) == item.original
    assert repository.summary(resolve(repository, min(rows))).origin is not None


def test_what_is_settled_stays_settled() -> None:
    """A resealed copy says of its source what it said before: nothing that retention let go comes again."""
    near, far = make_repository(MemoryStorage()), make_repository(MemoryStorage())
    taken = take(near, {"users": [b"1\n"]})
    origin = Origin(
        repository=str(near.config.repository_id), snapshot=taken.snapshot, settled=taken.snapshot
    )
    replicate(near, taken, far, base=None, options=ONE, settled=taken.snapshot, clock=now)
    compromised(far, [], [OURS], now=NOW)
    far = open_repository(far.storage, OURS)
    assert len(reseal(far, by="us", clock=now, options=ONE).resealed) == 1
    assert [outcome.summary.origin for outcome in far.committed()] == [origin]


def test_a_run_that_began_with_the_old_keys_is_named() -> None:
    """It may yet commit a snapshot that the old keys open; one that has the new keys is nothing to report."""
    repository = make_repository(MemoryStorage())
    with begin(repository) as old:
        compromised(repository, [], [OURS], now=NOW)
        repository = open_repository(repository.storage, OURS)
        with begin(repository):
            report = reseal(repository, by="us", clock=now, options=ONE)
            assert report.still_writing == (old.snapshot,)
