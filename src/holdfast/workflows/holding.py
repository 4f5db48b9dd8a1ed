"""Legal holds: placing them, placing those again that were taken away, ending them.

Invariant: a hold that was placed stands until its time is over or somebody ends it by name; one whose object
vanishes is missed, since the journal knows it.

Whatever writes here raises `SteppedAsideError` where the storage cannot have two writers and another one lives."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime

from holdfast.domain.errors import ObjectExistsError, RefusedError, UsageError
from holdfast.domain.ids import RANDOM_BYTES, SnapshotId, make_snapshot_id
from holdfast.repository.registers.chronicle import Chronicle
from holdfast.repository.registers.graves import Ending
from holdfast.repository.registers.holds import HOLD_PLACED, HOLD_PUT_BACK, HOLD_RELEASED, Hold, Release
from holdfast.repository.registers.losses import Losses
from holdfast.repository.repo import Repository
from holdfast.repository.runs.company import alone
from holdfast.workflows.removal import call_off, require_committed

Clock = Callable[[], datetime]


def add_hold(
    repository: Repository,
    snapshots: Sequence[SnapshotId],
    *,
    by: str,
    why: str,
    until: datetime | None,
    clock: Clock,
) -> Hold:
    """Keep these snapshots whatever any policy says; one that was removed comes back.

    Raises `RefusedError` if one was swept; the hold stands for the others then, and the message says so.
    """
    at = clock()
    if not snapshots:
        raise UsageError("a hold needs a snapshot", hint="name those to hold")
    if until is not None and until <= at:
        raise UsageError(
            f"a hold until {until:%Y-%m-%d %H:%M} UTC would never stand", hint="give a later time"
        )
    hold = Hold(
        hold=make_snapshot_id(at, os.urandom(RANDOM_BYTES)),
        snapshots=tuple(dict.fromkeys(snapshots)),
        at=at,
        by=by,
        why=why,
        until=until,
    )
    with alone(repository, clock=clock):
        for snapshot in hold.snapshots:
            require_committed(repository, snapshot)
        facts = {
            "hold": hold.hold,
            "snapshots": list(hold.snapshots),
            "by": hold.by,
            "why": hold.why,
            "until": None if hold.until is None else hold.until.isoformat(),
        }
        # The hold first, then the journal: what that speaks of was there, and is missed if it is not.
        repository.holds.place(hold)
        repository.journal.append(HOLD_PLACED, facts, at=hold.at)
        _keep(repository, hold, at=hold.at)
    return hold


def _keep(repository: Repository, hold: Hold, *, at: datetime) -> None:
    """Call off the removals of what a hold names, once it is there: a collection looks at tombstones first, and
    then at the holds. Raises `RefusedError` for what was swept."""
    lost = []
    for snapshot in hold.snapshots:
        try:
            standing = repository.graves.standing(snapshot)
            if standing is not None:
                call_off(repository, snapshot, standing[0], Ending.HELD, by=f"hold {hold.hold}", at=at)
            else:
                require_committed(repository, snapshot)
        except (RefusedError, UsageError):
            lost.append(snapshot)
    if lost:
        raise RefusedError(
            f"snapshot {', '.join(lost)} was swept before hold {hold.hold} could keep it"
            + (", which stands for the others" if len(lost) < len(hold.snapshots) else ""),
            hint="look for a copy in another repository",
        )


def put_back_holds(
    repository: Repository, wanted: Sequence[str], *, by: str, clock: Clock
) -> tuple[Hold, ...]:
    """Place those holds again, just as they were, that stand by the journal and whose objects are gone: these, by
    their ids or unique prefixes, or all such. A snapshot of theirs that was removed since comes back.

    Raises `UsageError` for one that is not missing, and `RefusedError` if a snapshot was swept; the holds stand.
    """
    with alone(repository, clock=clock):
        missing = {hold.hold: hold for hold in missing_holds(repository, now=clock())}
        chosen = [_pick(missing.values(), item, "missing hold") for item in wanted] or list(missing.values())
        for hold in chosen:
            with suppress(ObjectExistsError):  # put back by somebody else just now
                repository.holds.place(hold)
            repository.journal.append(HOLD_PUT_BACK, {"hold": hold.hold, "by": by}, at=clock())
        for hold in chosen:
            _keep(repository, hold, at=clock())
    return tuple(chosen)


def missing_holds(repository: Repository, *, now: datetime) -> tuple[Hold, ...]:
    """Those that stand by the journal and whose objects are gone. Reads the whole journal."""
    return tuple(hold for hold in _without_object(repository) if hold.stands(now))


def _without_object(repository: Repository) -> list[Hold]:
    """Those that the journal knows as placed and not released, also where their time is over."""
    chronicle = Chronicle(losses=Losses(repository.storage))
    for step in repository.journal.walk():
        chronicle.hear(step)
    return [hold for hold in chronicle.holds.values() if not repository.holds.is_placed(hold.hold)]


def release_hold(repository: Repository, hold: str, *, by: str, why: str, clock: Clock) -> Hold:
    """End a hold, named by its id or a unique prefix, also one whose object is gone. Its record stays, and the
    journal says who ended it."""
    with alone(repository, clock=clock):
        return _release(repository, hold, by=by, why=why, clock=clock)


def _release(repository: Repository, hold: str, *, by: str, why: str, clock: Clock) -> Hold:
    every = list(repository.holds.every())
    if not any(item.hold.startswith(hold.lower()) for item in every):
        every = _without_object(repository)
    found = _pick(every, hold, "hold")
    if found.released is not None:
        return found
    at = clock()
    repository.journal.append(HOLD_RELEASED, {"hold": found.hold, "by": by, "why": why}, at=at)
    return repository.holds.release(found, Release(at=at, by=by, why=why))


def _pick(every: Iterable[Hold], wanted: str, what: str) -> Hold:
    matches = [item for item in every if item.hold.startswith(wanted.lower())]
    if len(matches) != 1:
        raise UsageError(
            f"{wanted!r} names {len(matches)} {what}s" if matches else f"no {what} is named {wanted!r}",
            hint="run holdfast hold list to see their names",
        )
    return matches[0]


def list_holds(repository: Repository) -> tuple[Hold, ...]:
    """All holds, also those that have ended, oldest first."""
    return tuple(repository.holds.every())
