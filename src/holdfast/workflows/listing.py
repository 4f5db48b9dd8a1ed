"""Which snapshots there are, which one a word names, and what one holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from holdfast.domain.errors import DamagedError, UsageError
from holdfast.domain.ids import SnapshotId, pick_snapshot
from holdfast.domain.manifest import Root, SnapshotSummary
from holdfast.repository.registers.outcomes import Committed
from holdfast.repository.registers.verifications import Verification, latest_verdicts
from holdfast.repository.repo import Repository
from holdfast.repository.runs.copies import Holdings, copy_named, find_replacements, moment_part, origin_of
from holdfast.workflows.removal import held
from holdfast.workflows.reports import Finding, ListedSnapshot, ListReport, VerifiedAt

SAFETY_PREFIX = "before-restore-"
LOOK_BACK = 100  # outcomes: reading all of them could take minutes when every one counts


def now_utc() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowReport:
    """One snapshot, whole: its summary, its root, the strongest check it passed, and the ids of the legal holds
    that stand over it. `unreadable`: what could not be read of checks and holds."""

    summary: SnapshotSummary
    root: Root
    verified: VerifiedAt | None
    held: tuple[str, ...] = ()
    unreadable: tuple[Finding, ...] = ()


def list_snapshots(
    repository: Repository, *, source: str | None = None, clock: Callable[[], datetime] = now_utc
) -> ListReport:
    """All committed snapshots that were not removed, oldest first, and every outcome, record or hold that could
    not be read."""
    summaries: list[SnapshotSummary] = []
    unreadable: list[Finding] = []
    removed: set[SnapshotId] = set()
    try:
        removed = repository.graves.buried()
    except DamagedError as error:
        unreadable.append(_finding(error))
    for snapshot in repository.outcomes.names():
        if snapshot in removed:
            continue
        try:
            outcome = repository.outcomes.read(snapshot)
        except DamagedError as error:
            unreadable.append(_finding(error, snapshot))
            continue
        if isinstance(outcome, Committed) and source in (None, outcome.summary.source):
            summaries.append(outcome.summary)
    verdicts, damaged = latest_verdicts(repository, (item.snapshot for item in summaries))
    unreadable.extend(_finding(error) for error in damaged)
    holds = _holds(repository, clock(), unreadable)
    replaced_by = find_replacements(repository, summaries)
    replaces = {new: old for old, new in replaced_by.items()}
    return ListReport(
        snapshots=tuple(
            ListedSnapshot(
                summary=item,
                verified=_verified(verdicts.get(item.snapshot), item.snapshot),
                held=holds.get(item.snapshot, ()),
                replaced_by=replaced_by.get(item.snapshot),
                replaces=replaces.get(item.snapshot),
            )
            for item in summaries
        ),
        unreadable=tuple(unreadable),
    )


def _holds(
    repository: Repository, now: datetime, unreadable: list[Finding]
) -> dict[SnapshotId, tuple[str, ...]]:
    """The holds that stand, by snapshot; one that cannot be read is added to `unreadable`."""
    try:
        holding = held(repository, now)
    except DamagedError as error:
        unreadable.append(_finding(error))
        return {}
    return {snapshot: tuple(hold.hold for hold in holds) for snapshot, holds in holding.items()}


def resolve(repository: Repository, wanted: str, *, source: str | None = None) -> SnapshotId:
    """The snapshot that `wanted` names: a full id, a unique prefix, or `latest` (of `source`, if given). The id of
    an original, or a prefix of it, names its copy.

    `latest` raises `DamagedError` if a newer outcome cannot be read: it never silently means an older one. Without
    a source it raises `UsageError` if the newest snapshots are of several, and never means a safety snapshot: a
    restore that is tried again would bring back what it was to replace.
    """
    if wanted != "latest":
        return _named(repository, wanted)
    meant = (
        outcome
        for outcome in repository.committed()
        if (outcome.summary.source == source if source else not is_safety(outcome.summary.source))
    )
    newest = next(meant, None)
    if newest is None:
        whose = f" of {source!r}" if source else ""
        raise UsageError(
            f"there is no snapshot{whose} here yet", hint="run holdfast list to see what there is"
        )
    for other in islice(meant, 0 if source else LOOK_BACK):
        if other.summary.source != newest.summary.source:
            raise UsageError(
                f"latest could mean {newest.snapshot} of {newest.summary.source} or {other.snapshot} of "
                f"{other.summary.source}",
                hint="say which with --source, or name the snapshot by its id",
            )
    return newest.snapshot


def _named(repository: Repository, wanted: str) -> SnapshotId:
    """A removed snapshot is not meant if the same one stands here under another id, as after a reseal."""
    known = sorted(repository.outcomes.names())
    matches = [snapshot for snapshot in known if snapshot.startswith(wanted.lower())]
    if not matches:
        copy = copy_named(repository, wanted.lower(), known)
        if copy is not None:
            return copy
    one_moment = len({moment_part(snapshot) for snapshot in matches}) == 1
    if one_moment and (len(matches) > 1 or repository.graves.is_buried(matches[0])):
        holdings = Holdings.of(repository)
        meant = {_standing_for(holdings, snapshot) for snapshot in matches}
        if len(meant) == 1:
            return meant.pop()
    return pick_snapshot(wanted, known)


def _standing_for(holdings: Holdings, snapshot: SnapshotId) -> SnapshotId:
    """The same snapshot under the id under which it was not removed; if there is none, the one asked for."""
    if not holdings.is_removed(snapshot):
        return snapshot
    outcome = holdings.repository.outcomes.read(snapshot)
    if not isinstance(outcome, Committed):
        return snapshot
    found = holdings.find(origin_of(holdings.repository, outcome.summary))
    return snapshot if found is None or holdings.is_removed(found.snapshot) else found.snapshot


def resolve_removed(repository: Repository, wanted: str) -> SnapshotId:
    """The removed snapshot that `wanted` names, a full id or a prefix that no other removed one shares; without
    one, what `resolve` says."""
    removed = sorted(repository.graves.buried())
    if not any(snapshot.startswith(wanted.lower()) for snapshot in removed):
        return resolve(repository, wanted)
    return pick_snapshot(wanted, removed)


def is_safety(source: str) -> bool:
    """Whether snapshots of this source were taken of what a restore replaced."""
    return source.startswith(SAFETY_PREFIX)


def show(
    repository: Repository, snapshot: SnapshotId, *, clock: Callable[[], datetime] = now_utc
) -> ShowReport:
    """Raises `UsageError` if it was never committed, `DamagedError` if it cannot be read."""
    summary = repository.summary(snapshot)
    verdicts, damaged = latest_verdicts(repository, [snapshot])
    unreadable = [_finding(error) for error in damaged]
    holds = _holds(repository, clock(), unreadable)
    return ShowReport(
        summary=summary,
        root=repository.root(summary),
        verified=_verified(verdicts.get(snapshot), snapshot),
        held=holds.get(snapshot, ()),
        unreadable=tuple(unreadable),
    )


def _verified(verdict: Verification | None, snapshot: SnapshotId) -> VerifiedAt | None:
    if verdict is None:
        return None
    return VerifiedAt(level=verdict.level, at=verdict.at, passed=snapshot in verdict.passed)


def _finding(error: DamagedError, *snapshots: SnapshotId) -> Finding:
    return Finding(object_name=error.object_name, snapshots=snapshots, tables=(), problem=error.message)
