"""What journal and earlier plans tell a collection: whom a listing must show, whatever it shows.

The journal is read to its very end by name, so it is exact where listings come late. Whoever commits has its entry
there before its outcome; so a commit that no listing shows yet is found here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from holdfast.domain.errors import DamagedError, RefusedError
from holdfast.domain.ids import SnapshotId, parse_snapshot_id
from holdfast.repository import layout
from holdfast.repository.collecting.plans import Plan
from holdfast.repository.registers.journal import Walked
from holdfast.repository.registers.losses import LOSS_ACCEPTED, Losses
from holdfast.repository.repo import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What journal and earlier plans know: who was committed, or about to be, and is not collected yet, by whose
    word, and where in the journal. `last`: the last position that was read; `collected`: who is gone by it;
    `accepted`: what was lost of it, and who accepted that."""

    last: int
    known: dict[SnapshotId, str]
    positions: dict[SnapshotId, int]
    collected: frozenset[SnapshotId]
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
    if not plans:
        return told_since(repository, after=0)
    newest = plans[-1]
    told = told_since(repository, after=newest.journal_position)
    planned = {snapshot: layout.plan(newest.number) for snapshot in newest.snapshots - told.collected}
    return replace(told, known={**planned, **told.known})


def told_since(repository: Repository, *, after: int) -> Told:
    """The journal from there on, to its very end. `DamagedError` for an entry that cannot be read, unless its loss
    was accepted."""
    last = after
    known: dict[SnapshotId, str] = {}
    positions: dict[SnapshotId, int] = {}
    collected: set[SnapshotId] = set()
    damaged, losses = [], Losses(repository.storage)
    for step in repository.journal.walk(after=after):
        last = step.position
        if step.entry is None:
            damaged.append(step)
            continue
        losses.hear(step.entry)
        if step.entry.kind == "committing":
            snapshot = parse_snapshot_id(str(step.entry.facts["snapshot"]))
            known[snapshot], positions[snapshot] = step.name, step.position
        elif step.entry.kind in ("collected", LOSS_ACCEPTED):
            gone = {SnapshotId(str(item)) for item in step.entry.facts.get("snapshots", ())}
            collected |= gone
            known = {snapshot: name for snapshot, name in known.items() if snapshot not in gone}
    accepted = []
    for step in damaged:  # the acceptance of a loss comes later than the loss
        why = losses.accepting(step)
        if why is None:
            raise _stop(step)
        accepted.append(f"journal entry {step.position} is damaged; {why}")
    return Told(
        last=last,
        known=known,
        positions=positions,
        collected=frozenset(collected),
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
