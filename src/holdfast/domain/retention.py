"""Which snapshots a policy keeps, and why: a pure decision, made anew each time from what there is.

Invariants, whatever the policy says:
- snapshots of different sources never compete;
- the newest snapshot of a source is kept, its newest good one, its newest proven one, and what is held;
- a snapshot that is not good (partial, or its newest check failed) never takes the place of a good one: places are
  counted among good snapshots, and one that is not good is kept beside them only while it would have had a place
  if all counted;
- a snapshot from the future (a clock jumped) is kept and counts nowhere, so that it pushes none out;
- one that was sealed anew, and whose new copy is good, counts nowhere: only a hold or a tag keeps it;
- judging what was kept once more lets nothing more go; a stricter policy keeps a part of what a laxer one does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from holdfast.domain.durations import describe_duration
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import SnapshotState
from holdfast.domain.policy import Period, RetentionPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBy:
    """A legal hold on a snapshot, as far as its verdict speaks of it. `until` None: until it is released."""

    hold: str
    by: str
    reason: str
    until: datetime | None = None

    def describe(self) -> str:
        end = "it is released" if self.until is None else f"{self.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        return f"held by {self.by} until {end}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What retention needs to know of a snapshot. `failed`: its newest check found something. `proven_at`: when
    it was last restored and compared without a difference, None if never. `replaced_by`: the snapshot as which it
    was sealed anew. Moments are aware."""

    snapshot: SnapshotId
    source: str
    taken_at: datetime
    state: SnapshotState = SnapshotState.COMMITTED
    tags: tuple[str, ...] = ()
    failed: bool = False
    proven_at: datetime | None = None
    holds: tuple[HeldBy, ...] = ()
    replaced_by: SnapshotId | None = None

    @property
    def good(self) -> bool:
        return self.state is SnapshotState.COMMITTED and not self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A decision about one snapshot: why it is kept. No reason means that it may go."""

    candidate: Candidate
    reasons: tuple[str, ...]

    @property
    def snapshot(self) -> SnapshotId:
        return self.candidate.snapshot

    @property
    def kept(self) -> bool:
        return bool(self.reasons)


_Reasons = defaultdict[SnapshotId, list[str]]


def judge(candidates: Iterable[Candidate], policy: RetentionPolicy, now: datetime) -> tuple[Verdict, ...]:
    """A verdict for each candidate, newest first within its source, sources by name.

    `candidates` are the committed snapshots that were not removed yet, of any number of sources; the policy is
    applied to each source on its own. `now` is aware. Nothing but `now` depends on the clock.
    """
    by_source: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        by_source[candidate.source].append(candidate)
    verdicts: list[Verdict] = []
    for source in sorted(by_source):
        newest_first = sorted(by_source[source], key=_age_order, reverse=True)
        verdicts += _judge_source(newest_first, policy, now)
    return tuple(verdicts)


def _age_order(candidate: Candidate) -> tuple[datetime, SnapshotId]:
    return candidate.taken_at, candidate.snapshot


def _judge_source(newest_first: Sequence[Candidate], policy: RetentionPolicy, now: datetime) -> list[Verdict]:
    reasons: _Reasons = defaultdict(list)
    past = [candidate for candidate in newest_first if candidate.taken_at <= now]
    if policy.chooses:
        past = _without_replaced(past)
    _keep_protected(newest_first, past, policy, now, reasons)
    if policy.chooses:
        _keep_chosen(past, policy, now, reasons)
    else:
        for candidate in past:
            reasons[candidate.snapshot].append("the policy lets nothing go")
    return [
        Verdict(candidate=candidate, reasons=tuple(reasons[candidate.snapshot])) for candidate in newest_first
    ]


def _without_replaced(past: Sequence[Candidate]) -> list[Candidate]:
    """Each snapshot once: where it was sealed anew, and the new one is good, that one stands for both."""
    good = {candidate.snapshot for candidate in past if candidate.good}
    return [candidate for candidate in past if candidate.replaced_by not in good]


def _keep_protected(
    everything: Sequence[Candidate],
    past: Sequence[Candidate],
    policy: RetentionPolicy,
    now: datetime,
    reasons: _Reasons,
) -> None:
    """What is kept whatever else the policy says."""
    for candidate in everything:
        if candidate.taken_at > now:
            reasons[candidate.snapshot].append("taken in the future: its clock or this one is wrong")
        for hold in candidate.holds:
            if hold.until is None or now < hold.until:
                reasons[candidate.snapshot].append(hold.describe())
        for rule in policy.tags:
            if rule.tag in candidate.tags and now - candidate.taken_at <= rule.keep:
                reasons[candidate.snapshot].append(f"tag {rule.tag}, {describe_duration(rule.keep)}")
    good = [candidate for candidate in past if candidate.good]
    if good:
        reasons[good[0].snapshot].append("newest good")
    if past and not past[0].good:
        reasons[past[0].snapshot].append(f"newest of all, although {_fault(past[0])}")
    for candidate in past:
        if candidate.proven_at is not None:
            reasons[candidate.snapshot].append("newest proven")
            break
    for candidate in good[: policy.minimum]:
        reasons[candidate.snapshot].append(f"minimum of {policy.minimum}")


def _keep_chosen(
    past: Sequence[Candidate], policy: RetentionPolicy, now: datetime, reasons: _Reasons
) -> None:
    _keep_newest_of_each("last", policy.keep_last, [(item, item.snapshot) for item in past], reasons)
    if policy.keep_within is not None:
        for candidate in past:
            if now - candidate.taken_at <= policy.keep_within:
                reasons[candidate.snapshot].append(f"within {describe_duration(policy.keep_within)}")
    zone = policy.zone()
    local = [(candidate, candidate.taken_at.astimezone(zone)) for candidate in past]
    for period, count in policy.calendar():
        part_of = _PARTS[period]
        if count:
            grouped = [(candidate, part_of(at)) for candidate, at in local]
            _keep_newest_of_each(period, count, grouped, reasons)


def _keep_newest_of_each(
    name: str, count: int, grouped: Sequence[tuple[Candidate, Hashable]], reasons: _Reasons
) -> None:
    """Keep the newest good snapshot of each of the `count` newest groups that have a good one; of groups without,
    the newest snapshot while the group is among the `count` newest of all."""
    newest: dict[Hashable, Candidate] = {}
    for candidate, group in grouped:
        before = newest.get(group)
        if before is None or (candidate.good and not before.good):
            newest[group] = candidate  # keeps the group's own place in the order
    places = 0
    for place, candidate in enumerate(newest.values(), start=1):
        if candidate.good:
            places += 1
            if places <= count:
                reasons[candidate.snapshot].append(f"{name} {places} of {count}")
        elif place <= count:
            reasons[candidate.snapshot].append(f"{name}, beside the good ones: {_fault(candidate)}")


def _fault(candidate: Candidate) -> str:
    return "partial" if candidate.state is SnapshotState.PARTIAL else "its newest check failed"


_PARTS: dict[Period, Callable[[datetime], Hashable]] = {
    # `fold` tells the hour that comes twice when summer time ends from its repetition.
    Period.HOURLY: lambda at: (at.date(), at.hour, at.fold),
    Period.DAILY: lambda at: at.date(),
    Period.WEEKLY: lambda at: at.isocalendar()[:2],
    Period.MONTHLY: lambda at: (at.year, at.month),
    Period.YEARLY: lambda at: at.year,
}
