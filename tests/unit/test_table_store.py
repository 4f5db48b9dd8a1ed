"""Many tables' manifests in few blobs: stored, kept, copied, collected, damaged."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from bench.builder import BEGINNING, HandClock, Shop
from bench.builder import take as take_shop

from holdfast.domain.errors import DamagedError
from holdfast.domain.manifest import BlobRef, Root, SnapshotSummary
from holdfast.repository.collecting.rules import CollectionRules
from holdfast.repository.repo import Repository
from holdfast.repository.runs.copies import Base
from holdfast.repository.table_store import SHARE_FROM_TABLES, TABLES_PER_BLOB
from holdfast.storage.memory import MemoryStorage
from holdfast.workflows.collect import apply_collection
from holdfast.workflows.removal import bury
from holdfast.workflows.replicate import ReplicateOptions, replicate
from holdfast.workflows.verify import verify
from repositories import make_repository

MANY = SHARE_FROM_TABLES + TABLES_PER_BLOB // 2
NAMES = tuple(f"t{number:04}" for number in range(MANY))


def test_many_new_tables_share_blobs_and_a_changed_one_leaves_them() -> None:
    """A first snapshot of many tables stores few blobs; the next one stores what changed, and keeps the rest."""
    repository, shop = make_repository(MemoryStorage()), Shop(NAMES, ranges=1, seed=1)
    first = root_of(repository, shop)
    shared = refs(first)
    assert len(shared) == -(-MANY // TABLES_PER_BLOB)
    assert max(shared.values()) == TABLES_PER_BLOB
    require_rows(repository, first, shop)
    changed = NAMES[3::200]
    for name in changed:
        shop.change(name, 0)
    second = root_of(repository, shop)
    require_rows(repository, second, shop)
    fresh = {entry.name.name for entry in second.tables if entry.manifest not in shared}
    assert fresh == set(changed)
    assert all(refs(second)[ref] == 1 for ref in refs(second) if ref not in shared)


def test_a_damaged_blob_touches_all_tables_in_it() -> None:
    """Verify names every table whose manifest was in the damaged blob, and no other."""
    storage = MemoryStorage()
    repository, shop = make_repository(storage), Shop(NAMES, ranges=1, seed=1)
    root = root_of(repository, shop)
    ref = root.tables[7].manifest
    data = bytearray(storage.get(ref.object_name))
    data[ref.offset + ref.length // 2] ^= 1
    storage.delete(ref.object_name)
    storage.create(ref.object_name, bytes(data))
    named = {str(name) for finding in verify(repository, None, level=0).findings for name in finding.tables}
    assert named == {str(entry.name) for entry in root.tables if entry.manifest == ref}


def test_a_table_that_is_not_in_its_blob_is_damage() -> None:
    """A root that names a blob without the table's manifest is not followed to another table's."""
    repository = make_repository(MemoryStorage())
    entry = root_of(repository, Shop(["a"], ranges=1, seed=1)).tables[0]
    with pytest.raises(DamagedError, match="no table 4711"):
        repository.table(replace(entry, oid=4711))


def test_copies_share_blobs_too_and_keep_what_they_have() -> None:
    """At the destination, many manifests share blobs; the copy of the next snapshot stores only what changed."""
    near, far = make_repository(MemoryStorage()), make_repository(MemoryStorage())
    shop = Shop(NAMES, ranges=1, seed=1)
    before = summary_of(near, shop)
    copied = copy(near, before, far, None)
    assert len(refs(far.root(copied))) == -(-MANY // TABLES_PER_BLOB)
    require_rows(far, far.root(copied), shop)
    shop.change(NAMES[5], 0)
    again = copy(
        near, summary_of(near, shop), far, Base(source=before, destination=copied, journal_position=0)
    )
    require_rows(far, far.root(again), shop)
    fresh = set(refs(far.root(again))) - set(refs(far.root(copied)))
    assert len(fresh) == 1
    assert verify(far, None, level=3).findings == ()


def test_a_blob_stays_while_one_of_its_tables_needs_it() -> None:
    """After the first snapshot was removed and collected, what the second one kept of it is there."""
    clock = HandClock()
    repository, shop = make_repository(MemoryStorage()), Shop(NAMES, ranges=1, seed=1)
    first = summary_of(repository, shop, clock)
    for name in NAMES[: MANY // 2]:
        shop.change(name, 0)
    clock.now += timedelta(hours=1)
    second = summary_of(repository, shop, clock)
    clock.now += timedelta(hours=1)
    bury(repository, {first.snapshot: "test"}, by="tests", clock=clock)
    for _ in range(2):
        clock.now += timedelta(days=8)
        apply_collection(repository, rules=CollectionRules(share=1.0), clock=clock)
    assert [item.snapshot for item in repository.committed(buried=True)] == [second.snapshot]
    require_rows(repository, repository.root(second), shop)
    assert verify(repository, None, level=3).findings == ()


def summary_of(repository: Repository, shop: Shop, clock: HandClock | None = None) -> SnapshotSummary:
    """A snapshot of the shop, later than all others."""
    clock = clock or HandClock(BEGINNING + timedelta(hours=sum(1 for _ in repository.committed())))
    take_shop(repository, "shop", shop, clock=clock)
    return next(iter(repository.committed())).summary


def root_of(repository: Repository, shop: Shop) -> Root:
    return repository.root(summary_of(repository, shop))


def refs(root: Root) -> Counter[BlobRef]:
    return Counter(entry.manifest for entry in root.tables)


def copy(near: Repository, summary: SnapshotSummary, far: Repository, base: Base | None) -> SnapshotSummary:
    return replicate(near, summary, far, base=base, options=ReplicateOptions(), clock=HandClock()).summary


def require_rows(repository: Repository, root: Root, shop: Shop) -> None:
    """Every table's rows are what the shop holds."""
    found = {
        entry.name.name: b"".join(repository.chunk(chunk.blob) for chunk in manifest.chunks())
        for entry, manifest in repository.tables(root.tables)
    }
    if found != {name: b"".join(ranges) for name, ranges in shop.ranges.items()}:
        pytest.fail("rows differ")
