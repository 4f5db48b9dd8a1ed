"""What the keys of an epoch open of what is stored today.

A run seals all its objects with one epoch's keys, and an object's name says which run wrote it: so one look at one
object of each run tells the epoch of all of them. Snapshots of a newer epoch reuse objects of older ones until a
compromise forbids it, and those parts an old key opens as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from holdfast.domain.errors import DamagedError, ObjectMissingError
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import SnapshotSummary
from holdfast.repository import layout
from holdfast.repository.checking.check import Inventory, Problem
from holdfast.repository.repo import Repository
from holdfast.repository.seal import HEADER_BYTES, SealBrokenError, read_header


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What one epoch's keys open: `whole` snapshots, that were taken in it, and `parts` of newer ones.

    `taken_at` is the time of the newest whole one.
    """

    epoch: int
    whole: tuple[SnapshotId, ...]
    parts: tuple[SnapshotId, ...]
    objects: int
    size_bytes: int
    taken_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposures:
    """By epoch, ascending. `problems` are what could not be looked at: it may be open, too."""

    epochs: tuple[Exposure, ...]
    problems: tuple[Problem, ...]


def measure_exposure(repository: Repository) -> Exposures:
    """Walk the manifests of every snapshot that is still stored, removed but not collected ones included.

    Raises `LockedOutError` if one of them was sealed in an epoch that is not open.
    """
    summaries = [outcome.summary for outcome in repository.committed(buried=True)]
    problems: list[Problem] = []
    inventory = Inventory(repository, problems.append)
    for summary in summaries:
        inventory.add_snapshot(summary)
    epoch_of_run: dict[SnapshotId, int | None] = {}
    found: dict[int, _Found] = {keys.epoch: _Found() for keys in repository.keyring.epochs}
    for uses in inventory.objects.values():
        run = layout.snapshot_in(uses.name)
        if run not in epoch_of_run:
            epoch_of_run[run] = _epoch_of(repository, uses.name, problems)
        epoch = epoch_of_run[run]
        if epoch is not None:
            found.setdefault(epoch, _Found()).take(uses.size_bytes, uses.snapshots)
    roots = {item.snapshot: epoch_of_run.get(item.snapshot) for item in summaries}
    return Exposures(
        epochs=tuple(_exposure(epoch, found[epoch], summaries, roots) for epoch in sorted(found)),
        problems=tuple(problems),
    )


class _Found:
    def __init__(self) -> None:
        self.objects = 0
        self.size_bytes = 0
        self.snapshots: set[SnapshotId] = set()

    def take(self, size_bytes: int, snapshots: Iterable[SnapshotId]) -> None:
        self.objects += 1
        self.size_bytes += size_bytes
        self.snapshots.update(snapshots)


def _exposure(
    epoch: int, found: _Found, summaries: list[SnapshotSummary], roots: dict[SnapshotId, int | None]
) -> Exposure:
    whole = {item.snapshot: item.taken_at for item in summaries if roots[item.snapshot] == epoch}
    return Exposure(
        epoch=epoch,
        whole=tuple(sorted(whole)),
        parts=tuple(sorted(found.snapshots - set(whole))),
        objects=found.objects,
        size_bytes=found.size_bytes,
        taken_at=max(whole.values(), default=None),
    )


def _epoch_of(repository: Repository, name: str, problems: list[Problem]) -> int | None:
    """The epoch in the header at the start of an object."""
    try:
        return read_header(repository.storage.get(name, length=HEADER_BYTES)).epoch
    except ObjectMissingError:
        text = f"object {name} is missing"
    except (SealBrokenError, DamagedError) as error:
        text = f"object {name} is damaged: {error}"
    problems.append(Problem(object_name=name, snapshots=(), tables=(), problem=text))
    return None
