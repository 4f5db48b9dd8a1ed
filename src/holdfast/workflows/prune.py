"""Prune: judge every snapshot by its source's policy, show the verdicts, and on request act on them.

Invariant: what the policy does not clearly let go stays. Sources without a policy are kept whole; nothing is
judged while anything that a verdict rests on cannot be read. Acting means tombstones first, which can be undone,
then a collection, which deletes only what an earlier plan, a grace older, names as well.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from holdfast.domain.errors import UsageError
from holdfast.domain.events import Listener, PhaseBegan, ignore
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import SnapshotSummary
from holdfast.domain.policy import RetentionPolicy
from holdfast.domain.retention import Candidate, HeldBy, Verdict, judge
from holdfast.repository.collecting.references import READERS, Opened
from holdfast.repository.collecting.report import CollectionPlan, CollectionReport
from holdfast.repository.collecting.rules import CollectionRules
from holdfast.repository.registers.verifications import latest_verdicts
from holdfast.repository.repo import Repository
from holdfast.repository.runs.copies import find_replacements
from holdfast.workflows.collect import apply_collection, plan_collection
from holdfast.workflows.removal import bury, held

Clock = Callable[[], datetime]
PolicyOf = Callable[[str], RetentionPolicy | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdicts on one source's snapshots, newest first. Without a policy there are none: all are kept."""

    source: str
    policy: RetentionPolicy | None
    snapshots: int
    verdicts: tuple[Verdict, ...] = ()

    @property
    def removable(self) -> tuple[Verdict, ...]:
        return tuple(verdict for verdict in self.verdicts if not verdict.kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """`judgements`: why each snapshot stays or goes. `plan`: what would be deleted once the removable ones are
    removed, and why the rest stays. `collection`: what the collection did; None unless `applied`."""

    address: str
    at: datetime
    rules: CollectionRules
    judgements: tuple[Judgement, ...]
    plan: CollectionPlan
    collection: CollectionReport | None = None

    @property
    def applied(self) -> bool:
        return self.collection is not None

    @property
    def removable(self) -> tuple[Verdict, ...]:
        return tuple(verdict for item in self.judgements for verdict in item.removable)

    @property
    def snapshots(self) -> int:
        return sum(item.snapshots for item in self.judgements)


def prune(
    repository: Repository,
    policy_of: PolicyOf,
    *,
    sources: Collection[str] = (),
    apply: bool,
    by: str,
    rules: CollectionRules,
    clock: Clock,
    listener: Listener = ignore,
    interrupted: threading.Event | None = None,
) -> PruneReport:
    """Judge the snapshots of `sources` (none named: of all). With `apply` remove those that no rule keeps, then
    collect; it may be killed at any step and run again.

    Raises `DamagedError` if an outcome, a check's record or a hold cannot be read, `UsageError` for a source
    without snapshots, and what `apply_collection` raises; by then the removals stand, and can be undone.
    """
    listener(PhaseBegan(phase="judging the snapshots"))
    now = clock()
    judgements = judge_sources(repository, policy_of, sources=sources, now=now)
    removable = {
        verdict.snapshot: f"retention: no rule of {item.policy.describe()} keeps it"
        for item in judgements
        if item.policy is not None
        for verdict in item.removable
    }
    opened = Opened()
    collect = partial(
        apply_collection,
        repository,
        rules=rules,
        clock=clock,
        listener=listener,
        interrupted=interrupted,
        opened=opened,
    )
    collection = None
    if apply and not removable:
        collection = collect()
        plan = collection.plan  # a look before it would have said the same
    else:
        # Raises what would stop the collection, before anything is removed.
        plan = plan_collection(
            repository, rules=rules, clock=clock, burying=tuple(removable), listener=listener, opened=opened
        )
    if apply and removable:
        listener(PhaseBegan(phase="removing snapshots"))
        bury(repository, removable, by=by, clock=clock)
        listener(PhaseBegan(phase=f"{len(removable)} removed, which undelete undoes; collecting"))
        collection = collect()
    return PruneReport(
        address=repository.address,
        at=now,
        rules=rules,
        judgements=judgements,
        plan=plan,
        collection=collection,
    )


def judge_sources(
    repository: Repository, policy_of: PolicyOf, *, sources: Collection[str], now: datetime
) -> tuple[Judgement, ...]:
    """The verdicts on the snapshots of `sources` (none named: of all), by source; reads only."""
    by_source: dict[str, list[SnapshotSummary]] = {}
    for outcome in repository.committed(threads=READERS):
        by_source.setdefault(outcome.summary.source, []).append(outcome.summary)
    for source in sources:
        if source not in by_source:
            raise UsageError(
                f"there is no snapshot of {source!r} here",
                hint=f"snapshots are of: {', '.join(sorted(by_source)) or 'no source yet'}",
            )
    policies = {source: policy_of(source) for source in sorted(sources or by_source)}
    judged = [item for source, policy in policies.items() if policy is not None for item in by_source[source]]
    facts = candidates(repository, judged, now=now)
    return tuple(
        Judgement(
            source=source,
            policy=policy,
            snapshots=len(by_source[source]),
            verdicts=()
            if policy is None
            else judge((item for item in facts if item.source == source), policy, now),
        )
        for source, policy in policies.items()
    )


def candidates(
    repository: Repository, summaries: Iterable[SnapshotSummary], *, now: datetime
) -> tuple[Candidate, ...]:
    """What retention must know of these snapshots. Raises `DamagedError` if a check's record or a hold cannot be
    read: it might be the one that says which snapshot to keep."""
    wanted = tuple(summaries)
    checks, damaged = latest_verdicts(repository, (summary.snapshot for summary in wanted))
    for error in damaged:
        raise error
    holds = held(repository, now)
    replaced_by = find_replacements(repository, wanted)

    def failed(snapshot: SnapshotId) -> bool:
        check = checks.get(snapshot)
        return check is not None and snapshot in check.failed

    return tuple(
        Candidate(
            snapshot=summary.snapshot,
            source=summary.source,
            taken_at=summary.taken_at,
            state=summary.state,
            tags=summary.tags,
            failed=failed(summary.snapshot),
            holds=tuple(
                HeldBy(hold=hold.hold, by=hold.by, reason=hold.why, until=hold.until)
                for hold in holds.get(summary.snapshot, ())
            ),
            replaced_by=replaced_by.get(summary.snapshot),
        )
        for summary in wanted
    )
