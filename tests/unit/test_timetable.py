"""Cron expressions: what every scheduler reads alike, and the same moments in systemd's words."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.workflows.schedule.systemd import calendar_of
from holdfast.workflows.schedule.timetable import Timetable

START = datetime(2026, 2, 26, 23, 58, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("*/5 * * * *", "*/5 * * * *"),
        ("  0   3 * jan-mar  SUN ", "0 3 * 1-3 0"),
        ("1,2,10-20/3 0 1 * 7", "1,2,10-20/3 0 1 * 0"),
        ("0 0 */2 * *", "0 0 */2 * *"),
        ("05 08-18/2 * * mon,WED-fri", "5 8-18/2 * * 1,3-5"),
    ],
)
def test_an_expression_is_written_with_numbers(text: str, expression: str) -> None:
    """Names, leading zeros and the other Sunday go; every scheduler reads what is left alike."""
    assert Timetable.parse(text).expression == expression


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("* * * *", "five fields"),
        ("@daily", "five fields"),
        ("0 * * * * *", "five fields"),
        ("60 * * * *", "no cron expression"),
        ("5/15 * * * *", "every scheduler"),
        ("*/0 * * * *", "step of 0"),
        ("0 0 L * *", "no day of the month"),
        ("0 0 ? * *", "every scheduler"),
        ("0 0 * * 1#2", "every scheduler"),
        ("0 0 * * FRI-MON", "no cron expression"),
        ("0 0 * * 5-7", "write 0 for Sunday"),
        ("0 0 */2 * MON", "schedulers disagree"),
        ("0 0 30 2 *", "no cron expression"),
        ("*,5 * * * *", "and others"),
        ("a * * * *", "no minute"),
        ("H H * * *", "no minute"),
    ],
)
def test_what_is_read_differently_or_never_comes_is_refused(text: str, complaint: str) -> None:
    """The message says what stands in the way."""
    with pytest.raises(ValueError, match=complaint):
        Timetable.parse(text)


def test_the_shortest_pause_crosses_hours() -> None:
    """From minute 58 to minute 2 of the next hour it is four minutes."""
    assert Timetable.parse("2,58 * * * *").shortest_pause() == timedelta(minutes=4)
    assert Timetable.parse("0 0 1 1 *").shortest_pause() == timedelta(days=365)


def test_known_expressions_in_the_words_of_systemd() -> None:
    """Ranges and steps stay readable; either of two kinds of days becomes two lines."""
    said = {
        text: calendar_of(Timetable.parse(text))
        for text in ("*/5 * * * *", "2-57/5 6-20 * * 1-5", "0 4 * * 0")
    }
    assert said == {
        "*/5 * * * *": ("*-*-* *:00..55/5:00 UTC",),
        "2-57/5 6-20 * * 1-5": ("Mon..Fri *-*-* 06..20:02..57/5:00 UTC",),
        "0 4 * * 0": ("Sun *-*-* 04:00:00 UTC",),
    }
    assert calendar_of(Timetable.parse("0 0 1,15 * 1")) == (
        "*-*-01,15 00:00:00 UTC",
        "Mon *-*-* 00:00:00 UTC",
    )


def fields(first: int, last: int) -> st.SearchStrategy[str]:
    """One field: `*`, steps, numbers, ranges, lists."""
    number = st.integers(first, last)
    step = st.integers(2, 20)
    ranged = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    term = st.one_of(
        number.map(str), ranged, st.tuples(ranged, step).map(lambda pair: f"{pair[0]}/{pair[1]}")
    )
    return st.one_of(
        st.just("*"),
        step.map(lambda count: f"*/{count}"),
        st.lists(term, min_size=1, max_size=4).map(",".join),
    )


@st.composite
def expressions(draw: st.DrawFn) -> str:
    day, weekday = draw(fields(1, 31)), draw(fields(0, 6))
    if "*" not in (day, weekday) and (day.startswith("*") or weekday.startswith("*")):
        weekday = "*"  # schedulers disagree about it, so it is refused
    return f"{draw(fields(0, 59))} {draw(fields(0, 23))} {day} {draw(fields(1, 12))} {weekday}"


def parsed(text: str) -> Timetable | None:
    """None for what never comes, such as 30 February."""
    try:
        return Timetable.parse(text)
    except ValueError as error:
        if "never comes" in str(error) or "bad day-of-month" in str(error):
            return None
        raise


@settings(max_examples=200, deadline=None)
@given(expressions())
def test_what_is_parsed_means_what_was_written(text: str) -> None:
    """The expression given out fires when cron's would that was given in."""
    timetable = parsed(text)
    if timetable is not None:
        times = CronSim(text, START)
        assert timetable.first_after(START, 20) == tuple(next(times) for _ in range(20))


ITERATION = re.compile(r"(?:Next elapse|Iter(?:ation|\.) #\d+): \w+ (\S+ \S+) UTC")


def systemd_times(calendar: str, count: int) -> list[datetime]:
    """When systemd itself says that it will elapse."""
    command = [
        "systemd-analyze",
        "calendar",
        f"--iterations={count}",
        f"--base-time={START:%Y-%m-%d %H:%M:%S} UTC",
    ]
    answer = subprocess.run(
        [*command, calendar], capture_output=True, text=True, check=True, env={"TZ": "UTC"}
    )
    found = ITERATION.findall(answer.stdout)
    return [datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) for text in found]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")
@settings(max_examples=80, deadline=None)
@given(expressions())
def test_systemd_elapses_when_cron_does(text: str) -> None:
    """The next twelve times are the same, whatever the expression; alternatives count once."""
    timetable = parsed(text)
    if timetable is None:
        return
    count = 12
    said = sorted({time for line in calendar_of(timetable) for time in systemd_times(line, count)})
    assert said[:count] == list(timetable.first_after(START, count))
