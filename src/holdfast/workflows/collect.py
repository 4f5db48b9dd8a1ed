"""Collection: what removed snapshots leave behind is planned, then deleted, safe beside everything else.

`plan_collection` only reads. `apply_collection` computes everything anew, deletes what an earlier plan names as
well, and writes the next plan; it may be killed at any step, and run twice at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from datetime import datetime

from holdfast.domain.errors import HoldfastError, RefusedError
from holdfast.domain.events import Listener, PhaseBegan, ignore
from holdfast.domain.ids import SnapshotId
from holdfast.repository.collecting.clearing import clear_registers
from holdfast.repository.collecting.decision import (
    Decision,
    amount,
    decide,
    decide_swept,
    freed_by,
    kept_of,
    make_plan,
    sweepable,
)
from holdfast.repository.collecting.fencing import fence_silent, give_up_leftovers
from holdfast.repository.collecting.plans import Plan, Plans, basis_of
from holdfast.repository.collecting.references import Opened
from holdfast.repository.collecting.report import CollectionPlan, CollectionReport
from holdfast.repository.collecting.rules import CollectionRules
from holdfast.repository.collecting.survey import Survey, take_survey
from holdfast.repository.collecting.sweep import Sweep
from holdfast.repository.repo import Repository
from holdfast.repository.runs.company import alone

Clock = Callable[[], datetime]


def plan_collection(
    repository: Repository,
    *,
    rules: CollectionRules,
    clock: Clock,
    burying: Collection[SnapshotId] = (),
    listener: Listener = ignore,
    opened: Opened | None = None,
) -> CollectionPlan:
    """What would go, now and in the end, and why the rest stays; writes nothing. `burying`: as if these were
    removed, too. `opened`: where to keep what an `apply_collection` that follows need not open again.

    Raises `DamagedError` for what cannot be read, `RefusedError` for what is unknown, or known and missing.
    """
    listener(PhaseBegan(phase="looking at every snapshot"))
    survey = take_survey(repository, clock=clock, opened=opened)
    decision = decide(survey)
    return _describe(survey, rules, decision, decide(survey, burying=burying) if burying else decision)


def apply_collection(
    repository: Repository,
    *,
    rules: CollectionRules,
    clock: Clock,
    listener: Listener = ignore,
    interrupted: threading.Event | None = None,
    opened: Opened | None = None,
) -> CollectionReport:
    """Collect. Raises like `plan_collection`, and `RefusedError` if more than the share would go, or if somebody
    else writes where the storage cannot have two; nothing was deleted then."""
    with alone(repository, clock=clock):
        return _Collecting(
            repository, rules, clock, listener, interrupted or threading.Event(), opened or Opened()
        ).run()


class _Collecting:
    """One collection, from fencing to the next plan."""

    def __init__(
        self,
        repository: Repository,
        rules: CollectionRules,
        clock: Clock,
        listener: Listener,
        interrupted: threading.Event,
        opened: Opened,
    ) -> None:
        self._repository = repository
        self._rules = rules
        self._clock = clock
        self._listener = listener
        self._interrupted = interrupted
        self._opened = opened

    def run(self) -> CollectionReport:
        repository, rules = self._repository, self._rules
        self._listener(PhaseBegan(phase="looking at every snapshot"))
        fenced = fence_silent(repository, rules, now=self._clock())
        survey = take_survey(repository, clock=self._clock, opened=self._opened)
        decision = decide(survey)
        plan = _describe(survey, rules, decision, decision)
        _require_share(plan, rules)
        basis = basis_of(survey.plans, now=survey.began, grace=rules.grace)
        given_up = give_up_leftovers(repository, survey, rules)
        self._listener(PhaseBegan(phase="deleting"))
        sweep = Sweep(repository, survey, self._interrupted)
        swept = sweep.win_fates(sorted(sweepable(survey, decision, basis)))
        final = sweep.delete(swept, basis)
        self._listener(PhaseBegan(phase="clearing registers"))
        complete = sweep.complete(swept, final)
        collected = clear_registers(repository, survey, complete, rules, sweep.later, at=self._clock())
        self._write_plan(survey, decision, basis)
        return CollectionReport(
            plan=plan,
            swept=tuple(sorted(swept - survey.swept)),
            kept_back=sweep.kept_back,
            collected=collected,
            deleted=amount(sweep.deleted.values()),
            later=amount(sweep.later.sizes.values()),
            later_why=sweep.later.why,
            later_until=sweep.later.until,
            fenced=fenced,
            given_up=given_up,
            warnings=(*survey.accepted, *self._fold()),
        )

    def _write_plan(self, survey: Survey, decision: Decision, basis: Plan | None) -> None:
        """The next plan, unless the last one is young; and away with those that no collection needs any more."""
        plans = Plans(self._repository.storage, self._repository.sealer)
        newest = survey.plans[-1] if survey.plans else None
        if newest is None or abs(survey.at - newest.at) >= self._rules.plan_every:
            number = newest.number + 1 if newest else 1
            plans.write(make_plan(survey, decision, number=number, at=survey.at))
        for plan in survey.plans:
            if basis is not None and plan.number < basis.number:
                plans.remove(plan.number)

    def _fold(self) -> tuple[str, ...]:
        """Join old journal entries. What fails there is no reason to call a collection failed."""
        try:
            folded = self._repository.journal.fold()
        except HoldfastError as error:
            return (f"the journal could not be folded: {error.message}",)
        return tuple(f"the journal could not be folded: {error.message}" for error in folded.refused)


def _describe(
    survey: Survey, rules: CollectionRules, decision: Decision, supposed: Decision
) -> CollectionPlan:
    """`supposed` is what would be decided if what is to be removed were; what is ripe follows from what is."""
    basis = basis_of(survey.plans, now=survey.began, grace=rules.grace)
    ripe_snapshots = sweepable(survey, decision, basis)
    planned = basis.objects if basis is not None else frozenset()
    garbage = decide_swept(survey, ripe_snapshots).garbage
    ripe = amount(size for name, size in garbage.items() if name in planned)
    total = amount(survey.objects.values())
    share = max(
        ripe.objects / max(total.objects, 1),
        ripe.size_bytes / max(total.size_bytes, 1),
    )
    waiting = [plan for plan in survey.plans if basis is None or plan.number > basis.number]
    return CollectionPlan(
        at=survey.at,
        total=total,
        garbage=amount(supposed.garbage.values()),
        freed=freed_by(survey, supposed),
        ripe=ripe,
        ripe_share=share,
        ripe_snapshots=tuple(sorted(ripe_snapshots)),
        due_at=min((plan.at for plan in waiting if plan.objects), default=survey.at) + rules.grace
        if any(plan.objects for plan in waiting)
        else None,
        kept=kept_of(survey, supposed),
        pinned=supposed.pinned,
        held=tuple(sorted(supposed.held)),
        spared=amount(supposed.spared.values()),
        unknown=supposed.unknown,
    )


def _require_share(plan: CollectionPlan, rules: CollectionRules) -> None:
    if plan.ripe_share > rules.share:
        raise RefusedError(
            f"{plan.ripe_share:.0%} of what is stored would be deleted ({plan.ripe.objects} of "
            f"{plan.total.objects} objects, {plan.ripe.size_bytes} of {plan.total.size_bytes} bytes), and "
            f"{rules.share:.0%} is allowed",
            hint="look at the plan; if all of that is to go, allow a greater share with --allow-share",
        )
