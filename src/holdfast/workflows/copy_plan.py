"""What to copy: which snapshots a destination lacks, in which order they go there, and what is left for later.

A destination lacks a snapshot that it neither holds nor ever removed. Its copies say up to where all was settled
when they were made (see settling.py): what its own retention let go long ago is not sent again. Below that only
snapshots are looked at whose moment is not there, so that the cost does not grow with what both hold.

The newest one goes first, since it is the one a disaster asks for; then the gap is filled from its old end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from holdfast.domain.errors import UsageError
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import Origin, SnapshotSummary
from holdfast.repository.runs.copies import Holdings, origin_of
from holdfast.workflows.listing import is_safety
from holdfast.workflows.settling import Ledger, Undecided


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySelection:
    """Which snapshots are meant: those named, or those that the destination lacks.

    Of the latter `source` means one source's only (without it, every outcome is read to see which sources there
    are), `since` those taken at or after a moment, `everything` also those older than what is settled there, and
    `newest_only` no more than the newest one, passing over the rest.
    """

    snapshots: tuple[SnapshotId, ...] = ()
    source: str | None = None
    since: datetime | None = None
    everything: bool = False
    newest_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One snapshot to be copied; `original` is its id where it was taken."""

    summary: SnapshotSummary
    original: SnapshotId
    ledger: Ledger
    passing_over: bool = False

    def settled(self) -> SnapshotId | None:
        """What its copy is to say in `Origin`, if it is sent now."""
        return self.ledger.settled_with(self.original, passing_over=self.passing_over)

    def arrived(self) -> None:
        """It is there: the next one of the same run may say so."""
        self.ledger.arrived(self.original)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """How many newer snapshots of a source a destination lacks that were not asked for."""

    source: str
    snapshots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyPlan:
    """`present`: pairs of a snapshot that was named and the copy of it that is there already."""

    orders: tuple[Order, ...]
    present: tuple[tuple[SnapshotSummary, SnapshotSummary], ...]
    lacking: tuple[Lacking, ...]


def plan_copies(
    here: Holdings, there: Holdings, selection: CopySelection, *, undecided: Undecided
) -> CopyPlan:
    """Reads outcomes and nothing else. Raises `UsageError` for a named snapshot or source that is not here."""
    ledgers = _Ledgers(here, there, undecided)
    if selection.snapshots:
        return _plan_named(ledgers, selection.snapshots)
    orders: list[Order] = []
    lacking: list[Lacking] = []
    sources = [selection.source] if selection.source is not None else _sources(here)
    for source in sources:
        mine, left = _plan_source(ledgers, source, selection)
        orders += mine
        if left:
            lacking.append(Lacking(source=source, snapshots=left))
    return CopyPlan(orders=tuple(orders), present=(), lacking=tuple(lacking))


def _sources(here: Holdings) -> list[str]:
    """All sources but safety snapshots, which serve their own repository."""
    found = {outcome.summary.source for outcome in here.newest_first()}
    return sorted(source for source in found if not is_safety(source))


def _plan_source(ledgers: _Ledgers, source: str, selection: CopySelection) -> tuple[list[Order], int]:
    gap = _Gap.of(ledgers, source, everything=selection.everything or selection.since is not None)
    if not gap.known and not ledgers.here.unreadable:
        raise UsageError(
            f"there is no snapshot of {source!r} here",
            hint=f"snapshots are of: {', '.join(_sources(ledgers.here)) or 'no source yet'}",
        )
    chosen = [
        summary for summary in gap.lacking if selection.since is None or summary.taken_at >= selection.since
    ]
    if selection.newest_only:
        newest = [summary for summary in chosen if summary.snapshot == gap.newest]
        return [gap.order(summary, passing_over=True) for summary in newest], 0
    if chosen and chosen[-1].snapshot == gap.newest:
        chosen = [chosen[-1], *chosen[:-1]]
    orders = [gap.order(summary) for summary in chosen]
    return orders, sum(summary not in chosen for summary in gap.lacking)


def _plan_named(ledgers: _Ledgers, snapshots: tuple[SnapshotId, ...]) -> CopyPlan:
    here, there = ledgers.here, ledgers.there
    orders: list[Order] = []
    present: list[tuple[SnapshotSummary, SnapshotSummary]] = []
    gaps: dict[str, _Gap] = {}
    for snapshot in dict.fromkeys(snapshots):
        summary = here.repository.summary(snapshot)
        found = there.find(origin_of(here.repository, summary))
        if found is not None and not there.is_removed(found.snapshot):
            present.append((summary, found.summary))
            continue
        gap = gaps.get(summary.source)
        if gap is None:
            gap = gaps[summary.source] = _Gap.of(ledgers, summary.source, everything=False)
        orders.append(gap.order(summary))
    named = set(snapshots)
    lacking = (
        Lacking(source=source, snapshots=sum(summary.snapshot not in named for summary in gap.lacking))
        for source, gap in gaps.items()
    )
    return CopyPlan(
        orders=tuple(orders),
        present=tuple(present),
        lacking=tuple(item for item in lacking if item.snapshots),
    )


@dataclass(frozen=True, slots=True)
class _Gap:
    """What a destination lacks of one source, ascending; `newest` is the newest here of all. `known`: whether
    anything of that source was ever here."""

    lacking: tuple[SnapshotSummary, ...]
    newest: SnapshotId | None
    known: bool
    ledgers: _Ledgers

    @classmethod
    def of(cls, ledgers: _Ledgers, source: str, *, everything: bool) -> _Gap:
        here, there = ledgers.here, ledgers.there
        lacking: list[SnapshotSummary] = []
        newest: SnapshotId | None = None
        known = below = False
        for moment in sorted(here.moments(), reverse=True):
            if below and here.count(moment) <= there.count(moment):
                continue
            for outcome in here.at(moment):
                summary = outcome.summary
                if summary.source != source:
                    continue
                known = True
                origin, ledger = ledgers.entry(summary)
                is_removed = here.is_removed(summary.snapshot)
                if not is_removed:
                    newest = newest or summary.snapshot
                if not everything and ledger.is_settled(origin.snapshot):
                    below = True
                elif there.find(origin) is not None:
                    ledger.there.add(origin.snapshot)
                elif is_removed:
                    ledger.removed.add(origin.snapshot)
                else:
                    ledger.lacking.add(origin.snapshot)
                    lacking.append(summary)
        return cls(tuple(reversed(lacking)), newest, known, ledgers)

    def order(self, summary: SnapshotSummary, *, passing_over: bool = False) -> Order:
        origin, ledger = self.ledgers.entry(summary)
        return Order(summary=summary, original=origin.snapshot, ledger=ledger, passing_over=passing_over)


class _Ledgers:
    """The ledgers of one plan, by source and origin."""

    def __init__(self, here: Holdings, there: Holdings, undecided: Undecided) -> None:
        self.here = here
        self.there = there
        self._undecided = undecided
        self._made: dict[tuple[str, str], Ledger] = {}

    def entry(self, summary: SnapshotSummary) -> tuple[Origin, Ledger]:
        origin = origin_of(self.here.repository, summary)
        key = summary.source, origin.repository
        if key not in self._made:
            self._made[key] = Ledger.of(self.here, self.there, self._undecided, *key)
        return origin, self._made[key]
