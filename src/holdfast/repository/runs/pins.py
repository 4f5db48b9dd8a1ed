"""Pins: a restore or a copy says what it reads, and that is not swept while it lives.

The order is a writer's: announce, then look for tombstones. A collector that listed the writers too early has
listed the tombstones even earlier, so what it sweeps had its tombstone before the reader looked.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from holdfast.domain.errors import HoldfastError, UnreachableError
from holdfast.domain.ids import RANDOM_BYTES, SnapshotId, make_snapshot_id
from holdfast.repository.registers.writers import HEARTBEAT_SECONDS, Purpose, WriterRecord, this_host
from holdfast.repository.repo import Repository

Clock = Callable[[], datetime]


@dataclass(slots=True)
class Pin:
    """`snapshot` is the id under which it is announced. `warning` says why nothing is pinned, or what became of
    the heartbeat; None if all is well."""

    snapshot: SnapshotId
    warning: str | None = None


@contextmanager
def reading(
    repository: Repository, snapshots: Sequence[SnapshotId], *, purpose: Purpose, clock: Clock
) -> Iterator[Pin]:
    """Keep these snapshots from being swept until the block ends. Raises `UsageError` if one is removed.

    Where nothing can be written (credentials that only read, a full disk), nothing is pinned, and the grace time
    of collections has to do: a restore must not fail for that.
    """
    now = clock()
    record = WriterRecord(
        snapshot=make_snapshot_id(now, os.urandom(RANDOM_BYTES)),
        source="",
        host=this_host(),
        started_at=now,
        heartbeat_at=now,
        relies_on=tuple(snapshots),
        purpose=purpose,
    )
    pin = Pin(snapshot=record.snapshot)
    try:
        repository.writers.announce(record)
    except UnreachableError as error:
        pin.warning = f"what is read cannot be pinned against a collection: {error.message}"
        _require(repository, snapshots)
        yield pin
        return
    stop = threading.Event()
    heart = threading.Thread(
        target=_beat, args=(repository, record, pin, stop, clock), name="holdfast-pin", daemon=True
    )
    heart.start()
    try:
        _require(repository, snapshots)
        yield pin
    finally:
        stop.set()
        heart.join()
        with suppress(HoldfastError):  # a collection removes it when it has been silent for long
            repository.writers.retire(record, now=clock())


def _require(repository: Repository, snapshots: Sequence[SnapshotId]) -> None:
    for snapshot in snapshots:
        repository.summary(snapshot)


def _beat(
    repository: Repository, record: WriterRecord, pin: Pin, stop: threading.Event, clock: Clock
) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        try:
            repository.writers.beat(record, now=clock())
            pin.warning = None
        except HoldfastError as error:
            pin.warning = f"the heartbeat failed: {error.message}"
