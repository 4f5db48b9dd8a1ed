"""Removing snapshots and bringing them back: what people and policies decide, before anything is deleted. A
removal is a tombstone; the collection acts on it after its grace time.

Whatever writes here raises `SteppedAsideError` where the storage cannot have two writers and another one lives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from holdfast.domain.errors import DamagedError, ObjectMissingError, RefusedError, UsageError
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import SnapshotSummary
from holdfast.repository.abreast import abreast
from holdfast.repository.registers.graves import Ending, Fate, Tombstone
from holdfast.repository.registers.holds import Hold
from holdfast.repository.registers.outcomes import Committed
from holdfast.repository.repo import Repository
from holdfast.repository.runs.company import alone

Clock = Callable[[], datetime]
BURIERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedSnapshot:
    """A removed snapshot. `swept`: its objects are going, or gone; it cannot be brought back."""

    summary: SnapshotSummary
    tombstone: Tombstone
    swept: bool


def bury(
    repository: Repository, reasons: Mapping[SnapshotId, str], *, by: str, clock: Clock
) -> tuple[Tombstone, ...]:
    """Remove these snapshots, each for its reason. One that is removed already keeps its tombstone.

    Raises `RefusedError` if a hold names one and `UsageError` if one was never committed; nothing is removed then.
    A hold that comes at the same time brings its snapshots back, which is a `RefusedError` as well.
    """
    with alone(repository, clock=clock):
        return _bury(repository, reasons, by=by, clock=clock)


def _bury(
    repository: Repository, reasons: Mapping[SnapshotId, str], *, by: str, clock: Clock
) -> tuple[Tombstone, ...]:
    at = clock()
    holding = held(repository, at)
    for snapshot in reasons:
        for hold in holding.get(snapshot, ()):
            raise RefusedError(
                f"snapshot {snapshot} is under the hold {hold.hold} of {hold.by}: {hold.why}",
                hint=f"leave it, or end the hold with holdfast hold release {hold.hold}",
            )
    for _ in abreast(lambda item: require_committed(repository, item), reasons, threads=BURIERS):
        pass
    if reasons:
        repository.journal.append("buried", {"snapshots": sorted(reasons), "by": by}, at=at)

    def bury_one(item: tuple[SnapshotId, str]) -> Tombstone:
        return repository.graves.bury(item[0], at=at, by=by, reason=item[1])

    buried = tuple(abreast(bury_one, reasons.items(), threads=BURIERS))
    _yield_to_holds(repository, buried, clock=clock)
    return buried


def _yield_to_holds(repository: Repository, buried: Sequence[Tombstone], *, clock: Clock) -> None:
    """Look at the holds again once the tombstones are there: one that was placed since the first look may have
    found none to call off. Raises `RefusedError` if there is such a hold."""
    at = clock()
    late = held(repository, at) if buried else {}
    kept = [tombstone for tombstone in buried if tombstone.snapshot in late]
    for item in kept:
        ending = f"hold {late[item.snapshot][0].hold}"
        call_off(repository, item.snapshot, item.round, Ending.HELD, by=ending, at=at)
    for item in kept:
        hold = late[item.snapshot][0]
        others = len(buried) - len(kept)
        raise RefusedError(
            f"snapshot {item.snapshot} came under the hold {hold.hold} of {hold.by} meanwhile: {hold.why}"
            + (f"; {others} others are removed" if others else ""),
            hint=f"leave it, or end the hold with holdfast hold release {hold.hold}",
        )


def undelete(repository: Repository, snapshots: Sequence[SnapshotId], *, by: str, clock: Clock) -> None:
    """Bring removed snapshots back. Raises `UsageError` for one that was not removed, and `RefusedError` for one
    that a collection has swept; those before it in the order given are back then."""
    with alone(repository, clock=clock):
        for snapshot in snapshots:
            standing = repository.graves.standing(snapshot)
            if standing is None:
                require_committed(repository, snapshot)
                raise UsageError(f"snapshot {snapshot} was not removed", hint="run holdfast list to see it")
            call_off(repository, snapshot, standing[0], Ending.UNDELETED, by=by, at=clock())
            repository.journal.append("undeleted", {"snapshots": [snapshot], "by": by}, at=clock())


def removed(repository: Repository) -> tuple[RemovedSnapshot, ...]:
    """Removed snapshots of which something is still known, oldest first."""
    found = []
    for snapshot in sorted(repository.graves.buried()):
        try:
            outcome = repository.outcomes.read(snapshot)
            standing = repository.graves.standing(snapshot)
            if standing is None or not isinstance(outcome, Committed):
                continue
            tombstone = repository.graves.tombstone(snapshot, standing[0])
        except DamagedError as error:
            if isinstance(error.__cause__, ObjectMissingError):
                continue  # a collection clears it away just now
            raise
        found.append(
            RemovedSnapshot(summary=outcome.summary, tombstone=tombstone, swept=standing[1] is not None)
        )
    return tuple(found)


def held(repository: Repository, now: datetime) -> dict[SnapshotId, tuple[Hold, ...]]:
    """Which holds stand, by the snapshots that they name."""
    found: dict[SnapshotId, tuple[Hold, ...]] = {}
    for hold in repository.holds.every():
        if hold.stands(now):
            for snapshot in hold.snapshots:
                found[snapshot] = (*found.get(snapshot, ()), hold)
    return found


def call_off(
    repository: Repository, snapshot: SnapshotId, round_number: int, ending: Ending, *, by: str, at: datetime
) -> None:
    """End a burial in favour of the snapshot, or raise `RefusedError` if it was swept.

    The outcome is looked for afterwards: a collection that has finished removes it before the register, which
    may then be created anew by whoever slept.
    """
    mine = Fate(snapshot=snapshot, round=round_number, at=at, by=by, ending=ending)
    fate = repository.graves.decide(mine)
    if fate.ending is not Ending.SWEPT and _is_committed(repository, snapshot):
        return
    raise RefusedError(
        f"snapshot {snapshot} was swept: its objects are going, or gone",
        hint="look for a copy in another repository",
    )


def require_committed(repository: Repository, snapshot: SnapshotId) -> None:
    if not _is_committed(repository, snapshot):
        raise UsageError(
            f"there is no snapshot {snapshot} here", hint="run holdfast list to see those that there are"
        )


def _is_committed(repository: Repository, snapshot: SnapshotId) -> bool:
    try:
        return isinstance(repository.outcomes.read(snapshot), Committed)
    except DamagedError as error:
        if isinstance(error.__cause__, ObjectMissingError):
            return False
        raise
