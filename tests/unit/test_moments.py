"""Moments as operators type them: exactly one moment, or refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from holdfast.domain.errors import UsageError
from holdfast.domain.moments import parse_edge, parse_moment

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)  # already the 21st in Berlin


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-11-20 14:05", "2026-11-20 13:05"),
        ("2026-07-20 14:05", "2026-07-20 12:05"),
        ("2026-11-20T14:05:30", "2026-11-20 13:05:30"),
        ("2026-11-20T14:05:30.250000Z", "2026-11-20 14:05:30.25"),
        ("2026-11-20 14:05+05:30", "2026-11-20 08:35"),
        ("2026-11-20 14:05 -0300", "2026-11-20 17:05"),
        ("2026-11-20 14:05 +02", "2026-11-20 12:05"),
        ("2026-11-20 14:05 America/New_York", "2026-11-20 19:05"),
        ("2026-11-20 14:05 UTC", "2026-11-20 14:05"),
        ("today 9:05", "2026-11-21 08:05"),
        ("Yesterday 23:30", "2026-11-20 22:30"),
        ("today 23:00 UTC", "2026-11-20 23:00"),
        ("2026-10-25 02:30 +02:00", "2026-10-25 00:30"),
        ("2026-10-25 03:00", "2026-10-25 02:00"),
    ],
)
def test_a_text_means_one_moment(text: str, meant: str) -> None:
    """In the zone that is given, else in the operator's own."""
    assert parse_moment(text, now=NOW, zone=BERLIN) == utc(meant)


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("2026-10-25 02:30", "came twice", '"2026-10-25 02:30:00+02:00" for the first time'),
        ("2026-03-29 02:30", "never came", "offset"),
        ("2026-11-20", "a day, not a moment", "time of day"),
        ("today", "a day, not a moment", "time of day"),
        ("14:05", "no moment", "2026-11-20 14:05"),
        ("2026-13-20 14:05", "no moment", "2026-11-20 14:05"),
        ("2026-11-20 25:05", "no moment", "2026-11-20 14:05"),
        ("20.11.2026 14:05", "no moment", "2026-11-20 14:05"),
        ("2 hours ago", "no moment", "2026-11-20 14:05"),
        ("2026-11-20 14:05 Atlantis", "no time zone that is known here: Atlantis", "Europe/Berlin"),
        ("2026-11-20 14:05 +99:99", "no moment", "2026-11-20 14:05"),
        ("", "no moment", "2026-11-20 14:05"),
    ],
)
def test_what_could_be_misread_is_refused(text: str, words: str, hint: str) -> None:
    """Each with what to write instead."""
    with pytest.raises(UsageError, match=words) as caught:
        parse_moment(text, now=NOW, zone=BERLIN)
    assert hint in str(caught.value.hint)


def test_the_hint_of_a_doubled_time_works() -> None:
    """Both of the suggested readings are understood, an hour apart."""
    with pytest.raises(UsageError) as caught:
        parse_moment("2026-10-25 02:30", now=NOW, zone=BERLIN)
    first, second = (parse_moment(text, now=NOW) for text in str(caught.value.hint).split('"')[1:4:2])
    assert (first, second - first) == (utc("2026-10-25 00:30"), timedelta(hours=1))


def test_a_range_may_be_given_in_days() -> None:
    """From the first midnight to the last, in the operator's zone; a day of 25 hours is one."""
    begin = parse_edge("2026-10-25", end=False, now=NOW, zone=BERLIN)
    end = parse_edge("2026-10-25", end=True, now=NOW, zone=BERLIN)
    assert (begin, end) == (utc("2026-10-24 22:00"), utc("2026-10-25 23:00"))
    assert parse_edge("today 14:05", end=True, now=NOW, zone=BERLIN) == utc("2026-11-21 13:05")


def test_a_midnight_that_never_was_begins_the_day_later() -> None:
    """In Beirut summer time begins at midnight."""
    begin = parse_edge("2026-03-29 Asia/Beirut", end=False, now=NOW)
    assert begin == utc("2026-03-28 22:00")
