"""What journal and earlier plans tell a collection: whom a listing must show, whatever it shows, and what is held.

The journal is read to its very end by name, so it is exact where listings come late. Whoever commits has its entry
there before its outcome; so a commit that no listing shows yet is found here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from holdfast.domain.errors import DamagedError, RefusedError
from holdfast.domain.ids import SnapshotId
from holdfast.repository import layout
from holdfast.repository.collecting.plans import Plan
from holdfast.repository.registers.chronicle import Chronicle
from holdfast.repository.registers.holds import Hold, taken_away
from holdfast.repository.registers.journal import Walked
from holdfast.repository.registers.losses import Losses
from holdfast.repository.repo import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What journal and earlier plans know: who was committed, or about to be, and is not collected yet, by whose
    word, and where in the journal. `last`: the last position that was read; `collected`: who is gone by it;
    `holds`: legal holds that were placed and not released; `accepted`: what was lost of it, and who accepted
    that."""

    last: int
    known: Mapping[SnapshotId, str]
    positions: Mapping[SnapshotId, int]
    collected: frozenset[SnapshotId]
    holds: Mapping[str, Hold]
    accepted: tuple[str, ...] = ()

    def until(self, undecided: Collection[SnapshotId]) -> int:
        """Up to where nobody needs to read the journal again: before the first one that may yet be committed.
        Once it is, a listing may show neither its outcome nor its record, and no plan has named it."""
        return min(
            (position - 1 for snapshot, position in self.positions.items() if snapshot in undecided),
            default=self.last,
        )


def read_told(repository: Repository, plans: tuple[Plan, ...]) -> Told:
    """Read before the listings: an entry `committing` that is there by now has its writer's record, or its
    outcome, in the listings that follow."""
    newest = plans[-1] if plans else None
    if newest is None:
        return told_since(repository, after=0)
    if newest.holds is None:  # an earlier version wrote it
        told = told_since(repository, after=0)
    else:
        told = told_since(repository, after=newest.journal_position, holds=newest.holds)
    planned = {snapshot: layout.plan(newest.number) for snapshot in newest.snapshots - told.collected}
    return replace(told, known={**planned, **told.known})


def told_since(repository: Repository, *, after: int, holds: Iterable[Hold] = ()) -> Told:
    """The journal from there on, to its very end; `holds` are those that stand by what comes before.

    `DamagedError` for an entry that cannot be read, unless its loss was accepted."""
    chronicle = Chronicle(
        losses=Losses(repository.storage), holds={hold.hold: hold for hold in holds}, last=after
    )
    for step in repository.journal.walk(after=after):
        chronicle.hear(step)
    accepted = []
    for step in chronicle.damaged:  # the acceptance of a loss comes later than the loss
        why = chronicle.losses.accepting(step)
        if why is None:
            raise _stop(step)
        accepted.append(f"journal entry {step.position} is damaged; {why}")
    newest = {snapshot: every[-1] for snapshot, every in chronicle.announced.items()}
    return Told(
        last=chronicle.last,
        known={item.snapshot: item.place for item in newest.values() if item.snapshot not in chronicle.gone},
        positions={item.snapshot: item.position for item in newest.values()},
        collected=frozenset(chronicle.gone),
        holds=chronicle.holds,
        accepted=tuple(accepted),
    )


def _stop(step: Walked) -> DamagedError:
    return DamagedError(
        step.damage.message if step.damage is not None else f"object {step.name} is damaged",
        object_name=step.damage.object_name if step.damage is not None else step.name,
        hint="put the object back from a copy; if it is lost for good: holdfast verify --level 0 --accept "
        f"{step.position} --reason TEXT",
    )


def require_known(repository: Repository, told: Sequence[Told], found: set[SnapshotId]) -> None:
    """Whoever is known must be there, unless another collection has cleared it away just now."""
    known = {snapshot: source for item in told for snapshot, source in item.known.items()}
    missing = {snapshot: source for snapshot, source in known.items() if snapshot not in found}
    if not missing:
        return
    gone = told_since(repository, after=told[0].last).collected
    for snapshot, source in sorted(missing.items()):
        if snapshot in gone:
            continue
        raise RefusedError(
            f"snapshot {snapshot} is missing from the listing of {layout.OUTCOMES}, although {source} knows it; "
            "nothing was deleted",
            hint="run holdfast verify --all --level 0; a listing that lies makes live objects look dead",
        )


def require_holds(
    repository: Repository, told: Told, listed: Iterable[Hold], *, now: datetime
) -> tuple[Hold, ...]:
    """All holds: those listed, and those that only the journal knows, asked for by name. `DamagedError` if one
    that stands by the journal is gone: what it keeps may not go with it."""
    found = {hold.hold: hold for hold in listed}
    missing = []
    for hold in told.holds.values():
        if hold.hold in found or not hold.stands(now):
            continue
        late = repository.holds.find(hold.hold)
        if late is None:
            missing.append(hold)
        else:
            found[hold.hold] = late
    if missing:  # released and forgotten just now?
        standing = told_since(repository, after=told.last, holds=told.holds.values()).holds
        for hold in missing:
            if hold.hold in standing:
                raise taken_away(hold)
    return tuple(found.values())
