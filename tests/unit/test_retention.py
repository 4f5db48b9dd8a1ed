"""Retention: what a policy keeps, and why; and what no policy can make it let go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.domain.durations import describe_duration, parse_duration
from holdfast.domain.ids import SnapshotId, make_snapshot_id
from holdfast.domain.manifest import SnapshotState
from holdfast.domain.policy import RetentionPolicy, TagRule
from holdfast.domain.retention import Candidate, HeldBy, Verdict, judge

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PARTIAL = SnapshotState.PARTIAL


def taken(at: datetime, *, number: int = 0, **facts: object) -> Candidate:
    snapshot = make_snapshot_id(at, number.to_bytes(10, "big"))
    candidate = Candidate(snapshot=snapshot, source="shop", taken_at=at)
    return replace(candidate, **facts)  # type: ignore[arg-type]


def ago(*ages: timedelta) -> list[Candidate]:
    return [taken(NOW - age) for age in ages]


def ages_kept(verdicts: Iterable[Verdict]) -> list[timedelta]:
    return [NOW - verdict.candidate.taken_at for verdict in verdicts if verdict.kept]


def reasons(verdicts: Iterable[Verdict]) -> list[tuple[str, ...]]:
    return [verdict.reasons for verdict in verdicts]


def kept(candidates: Sequence[Candidate], policy: RetentionPolicy, now: datetime = NOW) -> set[SnapshotId]:
    return {verdict.snapshot for verdict in judge(candidates, policy, now) if verdict.kept}


@pytest.mark.parametrize(
    "policy",
    [
        RetentionPolicy(),
        RetentionPolicy(tags=(TagRule(tag="a", keep=DAY),)),
        RetentionPolicy(minimum=1),
        RetentionPolicy(time_zone="Europe/Berlin"),
    ],
)
def test_a_policy_that_chooses_nothing_keeps_everything(policy: RetentionPolicy) -> None:
    """Neither an empty policy nor one that only protects lets anything go."""
    assert not policy.chooses
    assert len(kept(ago(HOUR, 40 * DAY, 4000 * DAY), policy)) == 3


def test_last_counts_from_the_newest() -> None:
    """Places are told: last 1 of 2, last 2 of 2."""
    verdicts = judge(ago(3 * HOUR, HOUR, 2 * HOUR), RetentionPolicy(keep_last=2), NOW)
    assert reasons(verdicts) == [("newest good", "last 1 of 2"), ("last 2 of 2",), ()]


def test_within_includes_its_border() -> None:
    """Exactly 14 days old is within 14 days."""
    policy = RetentionPolicy(keep_within=14 * DAY)
    found = ages_kept(judge(ago(HOUR, 14 * DAY, 14 * DAY + timedelta(seconds=1)), policy, NOW))
    assert found == [HOUR, 14 * DAY]


def test_the_calendar_keeps_the_newest_of_each_period_that_has_one() -> None:
    """Days without a snapshot use up no place."""
    policy = RetentionPolicy(daily=3)
    verdicts = judge(ago(HOUR, 5 * HOUR, DAY, DAY + HOUR, 9 * DAY, 10 * DAY), policy, NOW)
    assert ages_kept(verdicts) == [HOUR, DAY, 9 * DAY]
    assert verdicts[4].reasons == ("daily 3 of 3",)


def test_every_period_of_the_calendar_has_its_own_border() -> None:
    """Hours, days, ISO weeks that begin on Monday, months and years."""
    sunday, monday = datetime(2026, 3, 1, 23, 59, tzinfo=UTC), datetime(2026, 3, 2, 0, 0, tzinfo=UTC)
    same_week = datetime(2027, 1, 1, tzinfo=UTC)  # ISO week 53 of 2026, as is 2026-12-31
    borders = [
        ("weekly", sunday, monday, True),
        ("weekly", datetime(2026, 12, 31, tzinfo=UTC), same_week, False),
        ("yearly", datetime(2026, 12, 31, tzinfo=UTC), same_week, True),
        ("monthly", sunday, monday, False),
        ("monthly", datetime(2026, 2, 28, 23, tzinfo=UTC), sunday, True),
        ("daily", sunday, monday, True),
        ("hourly", monday, monday + 59 * timedelta(minutes=1), False),
        ("hourly", monday, monday + HOUR, True),
    ]
    for name, older, newer, apart in borders:
        policy = RetentionPolicy(**{name: 9})  # type: ignore[arg-type]
        assert (len(kept([taken(older), taken(newer)], policy, same_week)) == 2) is apart, (name, older)


def test_days_end_at_midnight_of_the_stated_time_zone() -> None:
    """23:30 UTC is the next day in Berlin."""
    evening = [taken(datetime(2026, 11, 19, hour, 30, tzinfo=UTC)) for hour in (21, 22, 23)]
    assert len(kept(evening, RetentionPolicy(daily=9))) == 1
    assert len(kept(evening, RetentionPolicy(daily=9, time_zone="Europe/Berlin"))) == 2


def test_the_hour_that_comes_twice_is_two_hours() -> None:
    """Summer time ends on 2026-10-25 at 3:00 in Berlin: 02:30 comes twice, and the day has 25 hours."""
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    night = [taken(first), taken(first + HOUR)]
    berlin = RetentionPolicy(hourly=30, time_zone="Europe/Berlin")
    assert len(kept(night, berlin)) == 2
    midnight = datetime(2026, 10, 24, 22, 0, tzinfo=UTC)
    day = [taken(midnight + count * HOUR) for count in range(25)]
    assert len(kept(day, berlin)) == 25
    assert len(kept(day, RetentionPolicy(daily=30, time_zone="Europe/Berlin"))) == 1
    assert len(kept(day, RetentionPolicy(daily=30))) == 2


def test_a_tag_keeps_for_its_time() -> None:
    """`before-migration` 30 days; then the other rules alone decide."""
    policy = RetentionPolicy(keep_last=1, tags=(TagRule(tag="before-migration", keep=30 * DAY),))
    tagged = [taken(NOW - age, tags=("before-migration", "x")) for age in (30 * DAY, 31 * DAY)]
    verdicts = judge([*ago(HOUR), *tagged], policy, NOW)
    assert reasons(verdicts)[1:] == [("tag before-migration, 30 days",), ()]


def test_a_hold_keeps_until_its_end() -> None:
    """Who, until when and why stand in the reason; a hold that has ended keeps no more."""
    hold = HeldBy(hold="h", by="anna", reason="case 7", until=NOW + DAY)
    old = taken(NOW - 900 * DAY, holds=(hold,))
    policy = RetentionPolicy(keep_last=1)
    verdicts = judge([*ago(HOUR), old], policy, NOW)
    assert verdicts[1].reasons == ("held by anna until 2026-11-22 12:00 UTC: case 7",)
    assert not judge([*ago(HOUR), old], policy, NOW + DAY)[1].kept
    for_ever = replace(old, holds=(replace(hold, until=None),))
    assert "until it is released" in judge([*ago(HOUR), for_ever], policy, NOW + 9 * DAY)[1].reasons[0]


def test_the_minimum_is_of_good_snapshots_however_old() -> None:
    """After a year without backups two good ones are still there."""
    policy = RetentionPolicy(keep_within=DAY, minimum=2)
    verdicts = judge(
        [*ago(400 * DAY, 401 * DAY, 402 * DAY), taken(NOW - 399 * DAY, state=PARTIAL)], policy, NOW
    )
    assert reasons(verdicts) == [
        ("newest of all, although partial",),
        ("newest good", "minimum of 2"),
        ("minimum of 2",),
        (),
    ]


def test_partial_snapshots_take_no_place_from_committed_ones() -> None:
    """A week of partial nights leaves all seven committed days before it; the partial ones are kept beside."""
    committed = ago(*(day * DAY for day in range(8, 16)))
    partial = [taken(NOW - day * DAY, state=PARTIAL) for day in range(1, 8)]
    verdicts = judge([*committed, *partial], RetentionPolicy(daily=7), NOW)
    assert ages_kept(verdicts) == [day * DAY for day in range(1, 15)]
    assert verdicts[1].reasons == ("daily, beside the good ones: partial",)


def test_a_committed_snapshot_wins_the_day_over_a_newer_partial_one() -> None:
    """Also over one whose newest check failed."""
    worse: list[dict[str, Any]] = [{"state": PARTIAL}, {"failed": True}]
    for facts in worse:
        day = [taken(NOW - DAY - 2 * HOUR), taken(NOW - DAY - HOUR, **facts)]
        verdicts = judge([*ago(HOUR), *day], RetentionPolicy(daily=2), NOW)
        assert reasons(verdicts)[1:] == [(), ("daily 2 of 2",)]


def test_the_newest_proven_snapshot_is_never_removed() -> None:
    """However old: it is the only one known to come back."""
    old = taken(NOW - 900 * DAY, proven_at=NOW - 899 * DAY)
    older = taken(NOW - 901 * DAY, proven_at=NOW - DAY)
    verdicts = judge([*ago(HOUR), old, older], RetentionPolicy(keep_last=1), NOW)
    assert reasons(verdicts)[1:] == [("newest proven",), ()]


def test_snapshots_from_the_future_push_none_out() -> None:
    """A clock that jumped for an hour made snapshots of 2036: they are kept, and count nowhere."""
    future = [taken(NOW + count * 3650 * DAY) for count in (1, 2, 3)]
    policy = RetentionPolicy(keep_last=2, yearly=2)
    past = ago(HOUR, 2 * HOUR, 400 * DAY)
    assert kept([*past, *future], policy) == kept(past, policy) | {item.snapshot for item in future}


def test_sources_never_compete() -> None:
    """A busy source pushes nothing of a quiet one out."""
    quiet = [replace(item, source="quiet") for item in ago(90 * DAY, 91 * DAY)]
    busy = ago(*(minutes * timedelta(minutes=5) for minutes in range(50)))
    policy = RetentionPolicy(keep_last=2)
    assert kept([*quiet, *busy], policy) == kept(quiet, policy) | kept(busy, policy)
    assert len(kept(quiet, policy)) == 2


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"daily": -1}, "daily must be between"),
        ({"keep_within": timedelta()}, "keep_within must be longer"),
        ({"time_zone": "Berlin"}, "time_zone 'Berlin' is not known"),
        ({"time_zone": "../etc/passwd"}, "is not known"),
        ({"tags": (TagRule(tag="a", keep=DAY), TagRule(tag="a", keep=HOUR))}, "two rules"),
    ],
)
def test_a_policy_without_sense_is_refused_at_birth(facts: dict[str, object], words: str) -> None:
    """What could be misread must not decide about backups."""
    with pytest.raises(ValueError, match=words):
        RetentionPolicy(**facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "length", "words"),
    [
        ("14d", 14 * DAY, "14 days"),
        ("36h", 36 * HOUR, "36 hours"),
        ("1d12h", 36 * HOUR, "36 hours"),
        ("2 w", 14 * DAY, "14 days"),
        ("1y", 365 * DAY, "365 days"),
        ("90min", 1.5 * HOUR, "90 minutes"),
        ("24h", DAY, "1 day"),
    ],
)
def test_lengths_of_time(text: str, length: timedelta, words: str) -> None:
    """As operators write them, and as they are told."""
    assert parse_duration(text) == length
    assert describe_duration(length) == words


@pytest.mark.parametrize(
    "text", ["", "14", "d", "3m", "3 months", "-1d", "1.5d", "1d-2h", "999999y999999y999999y"]
)
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    """`3m` could be minutes or months."""
    with pytest.raises(ValueError, match="time"):
        parse_duration(text)


# Properties. Moments fall close together, so that hours, days and ties are shared.

# A machine that is busy with other things makes no rule false.
calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=150)

moments = st.integers(min_value=-200, max_value=24 * 900).map(lambda hours: NOW - hours * HOUR / 2)
counts = st.integers(min_value=0, max_value=5)
lengths = st.one_of(st.none(), st.integers(min_value=1, max_value=200).map(lambda days: days * DAY))
holds = st.sampled_from(
    [
        (),
        (),
        (),
        (HeldBy(hold="h", by="a", reason="r"),),
        (HeldBy(hold="h", by="a", reason="r", until=NOW - HOUR),),
    ]
)


@st.composite
def histories(draw: st.DrawFn) -> list[Candidate]:
    facts = st.fixed_dictionaries(
        {
            "source": st.sampled_from(["shop", "shop", "crm"]),
            "state": st.sampled_from([SnapshotState.COMMITTED, SnapshotState.COMMITTED, PARTIAL]),
            "failed": st.sampled_from([False, False, True]),
            "tags": st.sampled_from([(), ("a",), ("a", "b")]),
            "proven_at": st.sampled_from([None, None, NOW]),
            "holds": holds,
        }
    )
    drawn = draw(st.lists(st.tuples(moments, facts), max_size=16))
    return [taken(at, number=number, **more) for number, (at, more) in enumerate(drawn)]


@st.composite
def policies(draw: st.DrawFn) -> RetentionPolicy:
    names = ("keep_last", "hourly", "daily", "weekly", "monthly", "yearly", "minimum")
    tag_rules = {tag: draw(lengths) for tag in ("a", "b")}
    return RetentionPolicy(
        **{name: draw(counts) for name in names},
        keep_within=draw(lengths),
        tags=tuple(TagRule(tag=tag, keep=keep) for tag, keep in tag_rules.items() if keep),
        time_zone=draw(st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Apia", "Australia/Lord_Howe"])),
    )


@st.composite
def policies_and_stricter_ones(draw: st.DrawFn) -> tuple[RetentionPolicy, RetentionPolicy]:
    """A policy, and one whose every number is at most as big; both let something go."""
    lax = draw(policies().filter(lambda policy: policy.chooses))
    names = ("keep_last", "hourly", "daily", "weekly", "monthly", "yearly", "minimum")
    numbers = {name: draw(st.integers(min_value=0, max_value=getattr(lax, name))) for name in names}
    within = lax.keep_within and draw(st.sampled_from([lax.keep_within, lax.keep_within / 2, None]))
    tags = tuple(replace(rule, keep=rule.keep / 2) for rule in lax.tags if draw(st.booleans()))
    return lax, replace(lax, **numbers, keep_within=within, tags=tags)  # type: ignore[arg-type]


@calm
@given(histories(), policies(), st.randoms(use_true_random=False))
def test_judging_twice_is_the_same_in_any_order(
    history: list[Candidate], policy: RetentionPolicy, random: object
) -> None:
    """A verdict depends on what there is, not on how it was listed."""
    shuffled = list(history)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert judge(history, policy, NOW) == judge(shuffled, policy, NOW)


@calm
@given(histories(), policies())
def test_judging_what_was_kept_lets_nothing_more_go(
    history: list[Candidate], policy: RetentionPolicy
) -> None:
    """Prune may run as often as it likes."""
    first = kept(history, policy)
    assert kept([item for item in history if item.snapshot in first], policy) == first


@calm
@given(histories(), policies_and_stricter_ones())
def test_a_stricter_policy_keeps_a_part(
    history: list[Candidate], both: tuple[RetentionPolicy, RetentionPolicy]
) -> None:
    """Lowering a number never brings a snapshot back into favour."""
    lax, strict = both
    if strict.chooses:
        assert kept(history, strict) <= kept(history, lax)
    else:
        assert len(kept(history, strict)) == len(history)


@calm
@given(histories(), policies())
def test_what_must_stay_stays(history: list[Candidate], policy: RetentionPolicy) -> None:
    """The newest of each source, the newest good, the newest proven, what is held, what is of the future."""
    found = kept(history, policy)
    for source in {item.source for item in history}:
        past = sorted(
            (item for item in history if item.source == source and item.taken_at <= NOW),
            key=lambda item: (item.taken_at, item.snapshot),
        )
        for chosen in (past, [p for p in past if p.good], [p for p in past if p.proven_at is not None]):
            assert not chosen or chosen[-1].snapshot in found
    for item in history:
        if item.taken_at > NOW or any(hold.until is None for hold in item.holds):
            assert item.snapshot in found


@calm
@given(histories(), policies())
def test_snapshots_that_are_not_good_change_nothing_for_the_good_ones(
    history: list[Candidate], policy: RetentionPolicy
) -> None:
    """With or without them, the same good ones are kept; only the newest of all may be one of them."""
    good = [item for item in history if item.good]
    unproven = [replace(item, proven_at=None) for item in history]
    good_alone = kept([item for item in unproven if item.good], policy)
    assert good_alone == kept(unproven, policy) & {item.snapshot for item in good}


@calm
@given(histories(), policies())
def test_each_source_is_judged_as_if_alone(history: list[Candidate], policy: RetentionPolicy) -> None:
    """Snapshots of different sources never compete."""
    alone = set[SnapshotId]()
    for source in ("shop", "crm"):
        alone |= kept([item for item in history if item.source == source], policy)
    assert kept(history, policy) == alone
