"""History as a point in time: the snapshot that shows a source as it was at a moment.

Invariant: it is the newest one not after that moment, of exactly one source; never a later one, never silently
another one, never one that was removed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from holdfast.domain.errors import RefusedError, UsageError
from holdfast.domain.manifest import SnapshotState, SnapshotSummary
from holdfast.repository.repo import Repository
from holdfast.workflows.listing import is_safety
from holdfast.workflows.reports import ListReport


@dataclass(frozen=True, slots=True, kw_only=True)
class PointInTime:
    """`summary` shows its source as it was `before` the moment `asked` for, in the zone it was given in."""

    asked: datetime
    summary: SnapshotSummary

    @property
    def before(self) -> timedelta:
        return self.asked.astimezone(UTC) - self.summary.taken_at

    @property
    def partial(self) -> bool:
        return self.summary.state is SnapshotState.PARTIAL


def find_at(
    repository: Repository, asked: datetime, *, now: datetime, source: str | None = None
) -> PointInTime:
    """The newest snapshot of the source that was taken at `asked` or before.

    Without a source the repository must hold snapshots of one only; safety snapshots are meant only by their
    source's name. Raises `UsageError` for a moment that is still to come or a source that is not clear,
    `RefusedError` if the history does not reach back that far, `DamagedError` if an outcome cannot be read.
    """
    if asked > now:
        raise UsageError(
            f"{asked.isoformat(sep=' ')} is still to come",
            hint="ask for a moment that has passed, or for latest",
        )
    candidates = [
        outcome.summary
        for outcome in repository.committed()
        if (outcome.summary.source == source if source is not None else not is_safety(outcome.summary.source))
    ]
    _require_one_source(candidates, source)
    found = newest_not_after(candidates, asked)
    if found is None:
        oldest = min(candidates, key=_order)
        raise RefusedError(
            f"the history of {oldest.source} does not reach back to {asked.isoformat(sep=' ')}: its oldest "
            f"snapshot, {oldest.snapshot}, was taken at {oldest.taken_at:%Y-%m-%d %H:%M:%S} UTC",
            hint="ask for a later moment, or look for removed snapshots with holdfast list --removed",
        )
    return PointInTime(asked=asked, summary=found)


def newest_not_after(summaries: Iterable[SnapshotSummary], asked: datetime) -> SnapshotSummary | None:
    """The newest that was taken at `asked` or before; of two of one moment, the one that began later."""
    return max((item for item in summaries if item.taken_at <= asked), key=_order, default=None)


def as_of(report: ListReport, asked: datetime) -> ListReport:
    """Of each source what `find_at` would take."""
    by_source: dict[str, list[SnapshotSummary]] = {}
    for listed in report.snapshots:
        by_source.setdefault(listed.summary.source, []).append(listed.summary)
    chosen = {
        found.snapshot
        for summaries in by_source.values()
        if (found := newest_not_after(summaries, asked)) is not None
    }
    return replace(
        report, snapshots=tuple(item for item in report.snapshots if item.summary.snapshot in chosen)
    )


def between(report: ListReport, since: datetime | None, until: datetime | None) -> ListReport:
    """The snapshots taken from `since` on and before `until`; None is without end."""
    return replace(
        report,
        snapshots=tuple(
            item
            for item in report.snapshots
            if (since is None or since <= item.summary.taken_at)
            and (until is None or item.summary.taken_at < until)
        ),
    )


def _order(summary: SnapshotSummary) -> tuple[datetime, str]:
    return summary.taken_at, summary.snapshot


def _require_one_source(candidates: list[SnapshotSummary], source: str | None) -> None:
    if not candidates:
        whose = f" of {source!r}" if source else ""
        raise UsageError(
            f"there is no snapshot{whose} here yet", hint="run holdfast list to see what there is"
        )
    names = sorted({summary.source for summary in candidates})
    if len(names) > 1:
        raise UsageError(
            f"there are snapshots of several sources here: {', '.join(names[:5])}",
            hint="say which one is meant with --source",
        )
