"""Acceptance: journal entries that are damaged for good are accepted as lost, so that collections go on.

What such an entry said is gone, and that may have mattered in two ways. It may have said that snapshots were
collected: then their outcomes are missing with reason, and the acceptance names them instead. Or it may have said
that a snapshot is about to be committed, and somebody removed the outcome: then the snapshot's root is still
there, and nothing is accepted until the operator has named that snapshot, too. A collection never deletes what
such a snapshot wrote, since nobody knows its writer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from holdfast.domain.errors import ObjectMissingError, RefusedError, UsageError
from holdfast.domain.ids import SnapshotId
from holdfast.repository import layout
from holdfast.repository.checking.history import (
    History,
    Telling,
    gone_records,
    gone_snapshots,
    is_decided,
    walk_chain,
)
from holdfast.repository.collecting.plans import Plans
from holdfast.repository.registers.chronicle import Chronicle
from holdfast.repository.registers.journal import Walked
from holdfast.repository.registers.losses import LOSS_ACCEPTED, Loss, Losses, digest_of
from holdfast.repository.repo import Repository
from holdfast.repository.runs.company import alone

Clock = Callable[[], datetime]
Positions = tuple[int, int]
"""From the first one to the last one, both included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """What was accepted. `snapshots`: those that the journal knows and of which nothing is left, or that were
    given as lost; `records`: checks of which the record is gone."""

    losses: tuple[Loss, ...]
    snapshots: tuple[SnapshotId, ...]
    records: tuple[str, ...]


def accept_losses(
    repository: Repository,
    positions: Sequence[Positions],
    *,
    lost: Collection[SnapshotId] = (),
    by: str,
    reason: str,
    clock: Clock,
) -> Acceptance:
    """Accept that these journal entries are lost; an entry says so, with the digests of what is left of them.

    `lost`: snapshots without an outcome that are accepted as lost, too. Raises `UsageError` for a position that is
    whole or was accepted before, and `RefusedError` for a snapshot that may be lost by this and was not named.
    """
    with alone(repository, clock=clock):
        told = History.begin(repository)
        tell = Telling(repository, lambda _: None)
        walk_chain(repository, told, tell)
        if told.unseen:
            raise RefusedError(
                "keys were rotated meanwhile, and newer entries cannot be read", hint="run it again"
            )
        losses = tuple(_group(repository, _chosen(told, positions)))
        snapshots = _without_outcome(repository, told, tell)
        standing = _roots_without_outcome(repository)
        _require_named(sorted(standing - set(lost)))
        for snapshot in sorted(set(lost) - standing - snapshots):
            raise UsageError(f"snapshot {snapshot} is not lost", hint="leave it out of --lost")
        records = gone_records(repository, told, tell)
        facts = {
            "losses": [loss.as_facts() for loss in losses],
            "snapshots": sorted(snapshots | set(lost)),
            "records": records,
            "by": by,
            "reason": reason,
        }
        repository.journal.append(LOSS_ACCEPTED, facts, at=clock(), hint=told.chronicle.last)
    return Acceptance(losses=losses, snapshots=tuple(sorted(snapshots | set(lost))), records=tuple(records))


def _chosen(told: History, positions: Sequence[Positions]) -> Iterable[Walked]:
    damaged, end = {step.position: step for step in told.chronicle.damaged}, told.chronicle.last
    for position in sorted({item for first, last in positions for item in range(first, last + 1)}):
        if position > end or position < 1:
            raise UsageError(f"there is no journal entry {position}", hint=f"entries go from 1 to {end}")
        if position not in damaged or position in told.accepted:
            was = "was accepted as lost before" if position in told.accepted else "is whole"
            raise UsageError(
                f"journal entry {position} {was}", hint="run holdfast verify --level 0 to see what is damaged"
            )
        yield damaged[position]


def _group(repository: Repository, steps: Iterable[Walked]) -> Iterable[Loss]:
    """A loss for each run of positions in one object."""
    found: list[Loss] = []
    for step in steps:
        name = step.name if step.damage is None else step.damage.object_name
        before = found[-1] if found else None
        if before is not None and (before.object_name, before.last + 1) == (name, step.position):
            found[-1] = Loss(first=before.first, last=step.position, object_name=name, digest=before.digest)
            continue
        digest = digest_of(repository.storage, name)
        found.append(Loss(first=step.position, last=step.position, object_name=name, digest=digest))
    return found


def _without_outcome(repository: Repository, told: History, tell: Telling) -> set[SnapshotId]:
    """Whom the journal, or the newest plan, knows as committed or about to be, and who has no outcome."""
    gone = set(gone_snapshots(repository, told, tell))
    plans = Plans(repository.storage, repository.sealer).every()
    if not plans:
        return gone
    planned = {item for item in plans[-1].snapshots - told.decided if not is_decided(repository, item)}
    since = Chronicle(losses=Losses(repository.storage))
    for step in repository.journal.walk(after=plans[-1].journal_position) if planned else ():
        since.hear(step)
    return gone | (planned - since.gone)


def _roots_without_outcome(repository: Repository) -> set[SnapshotId]:
    """Snapshots that were complete, and have neither an outcome nor a writer: never so but by loss."""
    found = set()
    for info in repository.storage.list(layout.META):
        try:
            snapshot = layout.snapshot_in(info.name)
        except ValueError:
            continue
        if info.name == layout.root(snapshot):
            found.add(snapshot)
    return {item for item in found if not is_decided(repository, item) and not _has_writer(repository, item)}


def _has_writer(repository: Repository, snapshot: SnapshotId) -> bool:
    try:
        repository.storage.stat(layout.writer(snapshot))
    except ObjectMissingError:
        return is_decided(repository, snapshot)  # decided just now
    return True


def _require_named(standing: Sequence[SnapshotId]) -> None:
    if standing:
        raise RefusedError(
            f"snapshot {', '.join(standing)} was complete and has no outcome: the lost entry may be the one that "
            "announced it, and its outcome was removed",
            hint=f"put back {layout.outcome(standing[0])} from a copy or an earlier version; if it is lost, too, "
            "add " + " ".join(f"--lost {item}" for item in standing),
        )
