"""What to copy: which snapshots a destination lacks, in which order they go there, and what is left for later.

A destination lacks a snapshot that it neither holds nor ever removed. It is asked for the newest copy of the
source, which says up to where all was settled when it was made; only what is newer is looked at, so that the cost
does not grow with the history, and what the destination's own retention let go long ago is not sent again.

The newest one goes first, since it is the one a disaster asks for; then the gap is filled from its old end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import SnapshotSummary
from holdfast.repository.copies import Holdings, origin_of
from holdfast.workflows.listing import is_safety


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
    """One snapshot to be copied; `settled` as `Origin` has it."""

    summary: SnapshotSummary
    settled: SnapshotId | None


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


def plan_copies(here: Holdings, there: Holdings, selection: CopySelection) -> CopyPlan:
    """Reads outcomes and nothing else. Raises `UsageError` for a named snapshot that is not here."""
    if selection.snapshots:
        return _plan_named(here, there, selection.snapshots)
    orders: list[Order] = []
    lacking: list[Lacking] = []
    sources = [selection.source] if selection.source is not None else _sources(here)
    for source in sources:
        mine, left = _plan_source(here, there, source, selection)
        orders += mine
        if left:
            lacking.append(Lacking(source=source, snapshots=left))
    return CopyPlan(orders=tuple(orders), present=(), lacking=tuple(lacking))


def _sources(here: Holdings) -> list[str]:
    """All sources but safety snapshots, which serve their own repository."""
    found = {outcome.summary.source for outcome in here.newest_first()}
    return sorted(source for source in found if not is_safety(source))


def _plan_source(
    here: Holdings, there: Holdings, source: str, selection: CopySelection
) -> tuple[list[Order], int]:
    gap = _Gap.of(here, there, source, everything=selection.everything or selection.since is not None)
    chosen = [
        summary for summary in gap.lacking if selection.since is None or summary.taken_at >= selection.since
    ]
    if selection.newest_only:
        newest = [summary for summary in chosen if summary.snapshot == gap.newest]
        return [Order(summary=summary, settled=gap.origin(summary)) for summary in newest], 0
    if chosen and chosen[-1].snapshot == gap.newest:
        chosen = [chosen[-1], *chosen[:-1]]
    orders = [Order(summary=summary, settled=gap.settled_by(summary)) for summary in chosen]
    return orders, sum(summary not in chosen for summary in gap.lacking)


def _plan_named(here: Holdings, there: Holdings, snapshots: tuple[SnapshotId, ...]) -> CopyPlan:
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
            gap = gaps[summary.source] = _Gap.of(here, there, summary.source, everything=False)
        orders.append(Order(summary=summary, settled=gap.settled_by(summary)))
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
    """What a destination lacks of one source above `floor`, ascending; `newest` is the newest here of all."""

    here: Holdings
    lacking: tuple[SnapshotSummary, ...]
    newest: SnapshotId | None
    floor: SnapshotId | None

    @classmethod
    def of(cls, here: Holdings, there: Holdings, source: str, *, everything: bool) -> _Gap:
        floor = _floor(there, source)
        lacking: list[SnapshotSummary] = []
        newest: SnapshotId | None = None
        for summary in _standing(here, source):
            newest = newest or summary.snapshot
            origin = origin_of(here.repository, summary)
            if not everything and floor is not None and origin.snapshot <= floor:
                break
            if there.find(origin) is None:
                lacking.append(summary)
        return cls(here, tuple(reversed(lacking)), newest, floor)

    def origin(self, summary: SnapshotSummary) -> SnapshotId:
        return origin_of(self.here.repository, summary).snapshot

    def settled_by(self, summary: SnapshotSummary) -> SnapshotId | None:
        """Up to where all is settled once this one is copied: up to itself if nothing else is lacking below."""
        others = [item for item in self.lacking if item.snapshot != summary.snapshot]
        if any(item.snapshot < summary.snapshot for item in others):
            return self.floor
        return max(filter(None, (self.floor, self.origin(summary))), default=None)


def _standing(here: Holdings, source: str) -> Iterator[SnapshotSummary]:
    """Snapshots of a source that are here and not removed, newest first."""
    for outcome in here.newest_first():
        if outcome.summary.source == source and not here.is_removed(outcome.snapshot):
            yield outcome.summary


def _floor(there: Holdings, source: str) -> SnapshotId | None:
    """What the newest copy of the source says, removed or not; None if there is none."""
    for outcome in there.newest_first():
        origin = outcome.summary.origin
        if outcome.summary.source == source and origin is not None:
            return origin.settled
    return None
