"""What a survey means: which objects are live, spared, garbage or unknown. Pure.

Live is what committed snapshots need that are not removed, or that are removed but pinned by an undecided writer,
held, or not yet decided to be swept. An object nobody needs is garbage only if its owner is decided; names are
never reused, so what is garbage now is garbage for ever.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from holdfast.domain.ids import SnapshotId
from holdfast.repository import layout
from holdfast.repository.collecting.plans import Plan
from holdfast.repository.collecting.survey import Survey
from holdfast.repository.registers.outcomes import Aborted, Committed


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    objects: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Objects that a removed snapshot wrote and that `keeper`, the oldest one that still needs them, keeps."""

    snapshot: SnapshotId
    keeper: SnapshotId
    amount: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """`dead`: removed snapshots that nothing keeps. `garbage`: what only those need, or nobody.
    `pinned`: removed ones that living writers or readers rely on, and by whom; `held`: those under a hold."""

    dead: frozenset[SnapshotId]
    pinned: Mapping[SnapshotId, tuple[SnapshotId, ...]]
    held: frozenset[SnapshotId]
    live: Mapping[str, SnapshotId]
    garbage: Mapping[str, int]
    spared: Mapping[str, int]
    unknown: tuple[str, ...]


def decide(survey: Survey, *, burying: Collection[SnapshotId] = ()) -> Decision:
    """What would go if every removal, and those in `burying`, ran its course."""
    removed = {*survey.graves, *burying}
    held = survey.held() & removed - survey.swept
    pins = survey.pinned()
    pinned = {
        snapshot: tuple(record.snapshot for record in pins[snapshot])
        for snapshot in sorted(removed - survey.swept)
        if snapshot in pins
    }
    return _sort_out(survey, frozenset(removed - held - set(pinned)), pinned, frozenset(held))


def decide_swept(survey: Survey, swept: Collection[SnapshotId]) -> Decision:
    """What goes when exactly these removals have been decided."""
    return _sort_out(survey, frozenset(swept), {}, frozenset())


def _sort_out(
    survey: Survey,
    dead: frozenset[SnapshotId],
    pinned: Mapping[SnapshotId, tuple[SnapshotId, ...]],
    held: frozenset[SnapshotId],
) -> Decision:
    committed = sorted(outcome.snapshot for outcome in survey.committed())
    live = survey.references.first_users(item for item in committed if item not in dead)
    needed_by_dead = survey.references.first_users(item for item in committed if item in dead)
    owners = _Owners(survey, dead)
    garbage: dict[str, int] = {}
    spared: dict[str, int] = {}
    unknown = list(survey.unknown)
    for name, size in survey.objects.items():
        if name in live:
            continue
        standing = owners.standing(name)
        if standing == "spared":
            spared[name] = size
        elif standing == "decided" or name in needed_by_dead:
            garbage[name] = size
        else:
            unknown.append(name)
    return Decision(
        dead=dead,
        pinned=pinned,
        held=held,
        live=live,
        garbage=garbage,
        spared=spared,
        unknown=tuple(unknown),
    )


@dataclass(slots=True)
class _Owners:
    """What the writer of an object that no snapshot needs has become."""

    survey: Survey
    dead: frozenset[SnapshotId]
    _known: dict[str, str] = field(default_factory=dict)
    _pinned: Collection[SnapshotId] = ()

    def __post_init__(self) -> None:
        self._pinned = self.survey.pinned()

    def standing(self, name: str) -> str:
        """`decided`: nobody will ever name the object. `spared`: its writer may still, or a run that adopts it.
        `unknown`: nobody knows its writer."""
        part = name.split("/", 2)[1]
        if part not in self._known:
            self._known[part] = self._judge(name)
        return self._known[part]

    def _judge(self, name: str) -> str:
        try:
            owner = layout.snapshot_in(name)
        except ValueError:
            return "unknown"
        outcome = self.survey.outcomes.get(owner)
        if outcome is None:
            return "spared" if owner in self.survey.writers else "unknown"
        if isinstance(outcome, Aborted):
            return "decided" if owner in self.dead else "spared"
        return "spared" if owner in self._pinned else "decided"


def sweepable(survey: Survey, decision: Decision, basis: Plan | None) -> frozenset[SnapshotId]:
    """Removed snapshots that may be swept now: an earlier plan, a grace older, named the same burial."""
    graves = basis.graves if basis is not None else {}
    return frozenset(
        snapshot
        for snapshot in decision.dead
        if snapshot in survey.swept or graves.get(snapshot) == survey.graves[snapshot].round
    )


def amount(sizes: Iterable[int]) -> Amount:
    every = list(sizes)
    return Amount(objects=len(every), size_bytes=sum(every))


def freed_by(survey: Survey, decision: Decision) -> dict[SnapshotId, Amount]:
    """Garbage by removed snapshot. What several removed ones share counts for the newest of them; what none
    needs (leftovers, orphans) counts for its writer."""
    users = survey.references.first_users(sorted(decision.dead, reverse=True))
    sizes: dict[SnapshotId, list[int]] = {snapshot: [] for snapshot in decision.dead}
    for name, size in decision.garbage.items():
        sizes.setdefault(users.get(name) or layout.snapshot_in(name), []).append(size)
    return {snapshot: amount(found) for snapshot, found in sorted(sizes.items())}


def kept_of(survey: Survey, decision: Decision) -> tuple[Kept, ...]:
    """Why space does not shrink: what removed snapshots wrote and others keep, the biggest first."""
    sizes: dict[tuple[SnapshotId, SnapshotId], list[int]] = {}
    for name, keeper in decision.live.items():
        owner = SnapshotId(name.split("/", 2)[1])
        if owner in decision.dead and name in survey.objects:
            sizes.setdefault((owner, keeper), []).append(survey.objects[name])
    found = [
        Kept(snapshot=owner, keeper=keeper, amount=amount(every)) for (owner, keeper), every in sizes.items()
    ]
    return tuple(sorted(found, key=lambda item: (-item.amount.size_bytes, item.snapshot, item.keeper)))


def make_plan(survey: Survey, decision: Decision, *, number: int, at: datetime) -> Plan:
    return Plan(
        number=number,
        at=at,
        journal_position=survey.journal_position,
        snapshots=frozenset(
            outcome.snapshot for outcome in survey.outcomes.values() if isinstance(outcome, Committed)
        ),
        graves={
            snapshot: survey.graves[snapshot].round for snapshot in decision.dead if snapshot in survey.graves
        },
        objects=frozenset(decision.garbage),
        holds=tuple(hold for hold in survey.known_holds if hold.stands(survey.at)),
    )
