"""What the journal says, read in one way: entries become sayings, and sayings add up to what stands by them.

Checks, collections and acceptances all ask here who was announced and is not gone, and which records of checks,
key slots and legal holds must be there. An entry of a known kind that does not say what docs/FORMAT.md asks of it
is damage, and never passed over; kinds that only people read say nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.domain.errors import DamagedError
from holdfast.domain.ids import SnapshotId, parse_snapshot_id
from holdfast.repository.encoding import parse_moment
from holdfast.repository.registers.holds import HOLD_PLACED, HOLD_RELEASED, Hold
from holdfast.repository.registers.journal import Entry, Walked
from holdfast.repository.registers.losses import LOSS_ACCEPTED, Accepted, Losses, accepted_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """A snapshot is about to be committed. `root`: the identity of its root, in hexadecimal; `place`: the object
    that holds the entry."""

    snapshot: SnapshotId
    root: str
    position: int
    place: str

    def __post_init__(self) -> None:
        if len(bytes.fromhex(self.root)) != 32:
            raise ValueError(f"not an identity: {self.root!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Buried:
    """These snapshots are being removed, by whom."""

    snapshots: frozenset[SnapshotId]
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """These snapshots, records of checks, and legal holds that had ended, are gone for good: a collection clears
    them away, or, if `lost`, an operator has accepted their loss."""

    snapshots: frozenset[SnapshotId]
    records: frozenset[str]
    holds: frozenset[str]
    lost: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A check was recorded, in `verify/<record>`."""

    record: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotsChanged:
    """These objects below `keys/` came, and those went."""

    added: frozenset[str]
    removed: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldPlaced:
    hold: Hold


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldReleased:
    hold: str


Saying = Announced | Buried | Gone | Accepted | Checked | SlotsChanged | HoldPlaced | HoldReleased


def understand(step: Walked) -> tuple[Walked, tuple[Saying, ...]]:
    """A position and what it says, which is nothing if it is damaged. An entry that lacks what its kind must say
    is damaged, too."""
    if step.entry is None:
        return step, ()
    reads = _READERS.get(step.entry.kind, ())
    try:
        return step, (*_slots(step.entry.facts), *(read(step, step.entry) for read in reads))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        text = (
            f"object {step.name} is damaged: journal entry {step.position}, {step.entry.kind!r}, does not say "
            f"what it must: {type(error).__name__}: {error}"
        )
        return replace(step, entry=None, damage=DamagedError(text, object_name=step.name)), ()


@dataclass(slots=True)
class Chronicle:
    """What all entries that were heard say together. `hear` them in their order.

    `announced`: who was about to be committed, with every entry that says so (an answer may get lost). Of those
    who are gone since, only who is in `remembers` is kept, and stands in `gone`, too (None: everybody): so what
    this needs grows with what stands, not with the age. `holds` are those that were neither released nor cleared
    away, whether their time is over or not. `damaged` are positions that say nothing; `losses` tells whose loss
    was accepted.
    """

    losses: Losses
    remembers: Container[SnapshotId] | None = None
    announced: dict[SnapshotId, list[Announced]] = field(default_factory=dict)
    gone: set[SnapshotId] = field(default_factory=set)
    records: set[str] = field(default_factory=set)
    slots: set[str] = field(default_factory=set)
    removed_slots: set[str] = field(default_factory=set)
    holds: dict[str, Hold] = field(default_factory=dict)
    damaged: list[Walked] = field(default_factory=list)
    last: int = 0

    def hear(self, step: Walked) -> None:
        heard, sayings = understand(step)
        self.last = heard.position
        if heard.entry is None:
            self.damaged.append(heard)
        for saying in sayings:
            self._add(saying)

    def _add(self, saying: Saying) -> None:
        match saying:
            case Announced():
                self.announced.setdefault(saying.snapshot, []).append(saying)
                self.gone.discard(saying.snapshot)
            case Gone():
                for snapshot in saying.snapshots:
                    if self.remembers is None or snapshot in self.remembers:
                        self.gone.add(snapshot)
                    else:
                        self.announced.pop(snapshot, None)
                self.records -= saying.records
                for hold in saying.holds:
                    self.holds.pop(hold, None)
            case Accepted():
                self.losses.hear(saying)
            case Checked():
                self.records.add(saying.record)
            case SlotsChanged():
                self.slots = (self.slots | saying.added) - saying.removed
                self.removed_slots = (self.removed_slots - saying.added) | saying.removed
            case HoldPlaced():
                self.holds[saying.hold.hold] = saying.hold
            case HoldReleased():
                self.holds.pop(saying.hold, None)
            case Buried():
                pass  # tombstones decide, and fates


def _slots(facts: Mapping[str, Any]) -> Iterator[SlotsChanged]:
    """Entries of any kind may say this."""
    added, removed = facts.get("slots", ()), facts.get("removed_slots", ())
    if added or removed:
        yield SlotsChanged(added=frozenset(map(str, added)), removed=frozenset(map(str, removed)))


def _announced(step: Walked, entry: Entry) -> Announced:
    return Announced(
        snapshot=parse_snapshot_id(entry.facts["snapshot"]),
        root=str(entry.facts["root"]),
        position=step.position,
        place=step.name,
    )


def _buried(_: Walked, entry: Entry) -> Buried:
    return Buried(snapshots=_snapshots(entry.facts), by=str(entry.facts["by"]))


def _gone(_: Walked, entry: Entry) -> Gone:
    return Gone(
        snapshots=_snapshots(entry.facts),
        records=frozenset(map(str, entry.facts.get("records", ()))),
        holds=frozenset(map(str, entry.facts.get("holds", ()))),
        lost=entry.kind == LOSS_ACCEPTED,
    )


def _accepted(_: Walked, entry: Entry) -> Accepted:
    return accepted_in(entry)


def _checked(_: Walked, entry: Entry) -> Checked:
    return Checked(record=parse_snapshot_id(entry.facts["record"]))


def _hold_placed(_: Walked, entry: Entry) -> HoldPlaced:
    facts = entry.facts
    return HoldPlaced(
        hold=Hold(
            hold=parse_snapshot_id(facts["hold"]),
            snapshots=tuple(map(parse_snapshot_id, facts["snapshots"])),
            at=entry.at,
            by=str(facts["by"]),
            why=str(facts["why"]),
            until=None if facts["until"] is None else parse_moment(facts["until"]),
        )
    )


def _hold_released(_: Walked, entry: Entry) -> HoldReleased:
    return HoldReleased(hold=parse_snapshot_id(entry.facts["hold"]))


def _snapshots(facts: Mapping[str, Any]) -> frozenset[SnapshotId]:
    return frozenset(map(parse_snapshot_id, facts["snapshots"]))


_READERS: Mapping[str, tuple[Callable[[Walked, Entry], Saying], ...]] = {
    "committing": (_announced,),
    "buried": (_buried,),
    "collected": (_gone,),
    LOSS_ACCEPTED: (_accepted, _gone),
    "verified": (_checked,),
    HOLD_PLACED: (_hold_placed,),
    HOLD_RELEASED: (_hold_released,),
}
