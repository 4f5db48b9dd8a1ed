"""Which snapshots there are, which one a word names, and what one holds."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.domain.errors import DamagedError
from holdfast.domain.ids import SnapshotId, pick_snapshot
from holdfast.domain.manifest import Root, SnapshotSummary
from holdfast.repository.outcomes import Committed
from holdfast.repository.repo import Repository
from holdfast.repository.verifications import Verification, latest_verdicts
from holdfast.workflows.reports import Finding, ListedSnapshot, ListReport, VerifiedAt


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowReport:
    """One snapshot, whole: its summary, its root, and the strongest check it passed."""

    summary: SnapshotSummary
    root: Root
    verified: VerifiedAt | None


def list_snapshots(repository: Repository, *, source: str | None = None) -> ListReport:
    """All committed snapshots, oldest first, and every outcome or record that could not be read."""
    summaries: list[SnapshotSummary] = []
    unreadable: list[Finding] = []
    for snapshot in repository.outcomes.names():
        try:
            outcome = repository.outcomes.read(snapshot)
        except DamagedError as error:
            unreadable.append(_finding(error, snapshot))
            continue
        if isinstance(outcome, Committed) and source in (None, outcome.summary.source):
            summaries.append(outcome.summary)
    verdicts, damaged = latest_verdicts(repository, (item.snapshot for item in summaries))
    unreadable.extend(_finding(error) for error in damaged)
    return ListReport(
        snapshots=tuple(
            ListedSnapshot(summary=item, verified=_verified(verdicts.get(item.snapshot), item.snapshot))
            for item in summaries
        ),
        unreadable=tuple(unreadable),
    )


def resolve(repository: Repository, wanted: str, *, source: str | None = None) -> SnapshotId:
    """The snapshot that `wanted` names: a full id, a unique prefix, or `latest` (of `source`, if given).

    `latest` raises `DamagedError` if a newer outcome cannot be read: it never silently means an older one.
    """
    if wanted != "latest":
        known = sorted(repository.outcomes.names())
        return pick_snapshot(wanted, known)
    for outcome in repository.committed():
        if source in (None, outcome.summary.source):
            return outcome.snapshot
    return pick_snapshot(wanted, [])


def show(repository: Repository, snapshot: SnapshotId) -> ShowReport:
    """Raises `UsageError` if it was never committed, `DamagedError` if it cannot be read."""
    summary = repository.summary(snapshot)
    verdicts, _ = latest_verdicts(repository, [snapshot])
    return ShowReport(
        summary=summary,
        root=repository.root(summary),
        verified=_verified(verdicts.get(snapshot), snapshot),
    )


def _verified(verdict: Verification | None, snapshot: SnapshotId) -> VerifiedAt | None:
    if verdict is None:
        return None
    return VerifiedAt(level=verdict.level, at=verdict.at, passed=snapshot in verdict.passed)


def _finding(error: DamagedError, *snapshots: SnapshotId) -> Finding:
    return Finding(object_name=error.object_name, snapshots=snapshots, tables=(), problem=error.message)
