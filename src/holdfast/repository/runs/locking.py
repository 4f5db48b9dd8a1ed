"""Keeping a whole snapshot locked, also what it reuses from earlier ones.

The invariant: all that a committed snapshot needs (its own objects and those that it reuses, the config, the key
slots) is locked until `Committed.locked_until` at least. Since a run reuses only what its base refers to, that one
date says enough of thousands of objects: nothing is asked object by object. While it lies a period ahead, a run
extends nothing; otherwise it extends everything it reuses, which comes up once per half period.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from holdfast.domain.errors import ObjectMissingError
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import LargeObject, Root, TableManifest
from holdfast.repository import layout
from holdfast.repository.blobs import missing
from holdfast.repository.registers.outcomes import Committed, Outcomes
from holdfast.storage import Storage
from holdfast.storage.object_lock import Locks

EXTENSIONS_AT_ONCE = 16


def referenced(
    root: Root, manifests: Iterable[TableManifest], large_objects: Iterable[LargeObject]
) -> set[str]:
    """The names of all objects that a snapshot consists of, but for its root."""
    names = {piece.object_name for piece in root.archive.pieces}
    names.update(table.manifest.object_name for table in root.tables)
    names.update(blob.object_name for blob in root.large_objects.lists)
    names.update(chunk.blob.object_name for manifest in manifests for chunk in manifest.chunks())
    names.update(piece.object_name for item in large_objects for piece in item.pieces)
    return names


def keep_locked(
    storage: Storage,
    outcomes: Outcomes,
    names: Iterable[str],
    *,
    own: SnapshotId,
    began: datetime,
    base: SnapshotId | None,
    adopted: Collection[SnapshotId],
) -> datetime | None:
    """Extend the locks of what a run reuses, where less than a period is left of them.

    `names` is all that the snapshot refers to. What the run wrote itself (`own`) was locked when it was written,
    since `began`; what is not of `adopted` crashed runs belongs to `base`, too. Returns until when all of it is
    locked, None without locks. Raises `DamagedError` if an object is gone.
    """
    locks = storage.locks
    if locks is None:
        return None
    reused = {name for name in names if layout.snapshot_in(name) != own}
    own_until = began + locks.policy.longest
    known = None if base is None else _locked_until(outcomes, base)
    if known is not None and known >= locks.now() + locks.policy.period:
        _extend(locks, {name for name in reused if layout.snapshot_in(name) in adopted}, own_until)
        return min(known, own_until)
    always = {info.name for prefix in (layout.CONFIG, layout.KEYS) for info in storage.list(prefix)}
    _extend(locks, reused | always, own_until)
    return own_until


def _locked_until(outcomes: Outcomes, snapshot: SnapshotId) -> datetime | None:
    outcome = outcomes.read(snapshot)
    return outcome.locked_until if isinstance(outcome, Committed) else None


def _extend(locks: Locks, names: Collection[str], until: datetime) -> None:
    def extend(name: str) -> None:
        try:
            locks.extend(name, until=until)
        except ObjectMissingError as error:
            raise missing(name) from error

    with ThreadPoolExecutor(EXTENSIONS_AT_ONCE, thread_name_prefix="holdfast-lock") as pool:
        for _ in pool.map(extend, sorted(names)):
            pass
