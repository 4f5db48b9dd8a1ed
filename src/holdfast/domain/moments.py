"""Moments as operators type them: `2026-11-20 14:05`, `2026-11-20T14:05+01:00`, `yesterday 23:30 Europe/Berlin`.

Invariant: a text means exactly one moment, or is refused. A local time that came twice, or never, because the
clocks were changed is refused with what to write instead.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from holdfast.domain.errors import UsageError

_SHAPE = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d|today|yesterday)"
    r"(?:[T ](?P<time>\d\d?:\d\d(?::\d\d(?:\.\d{1,6})?)?))?"
    r"\s*(?P<zone>Z|[+-]\d\d(?::?\d\d)?|[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*)?",
    re.IGNORECASE,
)
_HINT = 'write it as "2026-11-20 14:05", with Z, +01:00 or Europe/Berlin behind it if it is not local time'


def parse_moment(text: str, *, now: datetime, zone: tzinfo | None = None) -> datetime:
    """The one moment that `text` names, aware, in the zone in which it was given. Raises `UsageError`.

    `zone` is meant where none is given; None is the machine's own. `now` is what today is seen from. A day alone
    is refused.
    """
    day, clock, zone = _parts(text, zone, now)
    if clock is None:
        raise UsageError(f"{text!r} is a day, not a moment", hint='add the time of day, as in "… 14:05"')
    return _resolve(datetime.combine(day, clock), zone, text)


def parse_edge(text: str, *, end: bool, now: datetime, zone: tzinfo | None = None) -> datetime:
    """Where a range of time begins, or with `end` where it ends: a moment, or a whole day (its midnights)."""
    day, clock, zone = _parts(text, zone, now)
    if clock is None:
        day += timedelta(days=1 if end else 0)
        # `fold` 0 is the day's first moment also where its midnight is missing or comes twice (PEP 495).
        return _aware(datetime.combine(day, time()), zone).astimezone(UTC)
    return _resolve(datetime.combine(day, clock), zone, text)


def _parts(text: str, zone: tzinfo | None, now: datetime) -> tuple[date, time | None, tzinfo | None]:
    found = _SHAPE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is no moment", hint=_HINT)
    try:
        zone = _zone(found["zone"], text) if found["zone"] else zone
        clock = None if found["time"] is None else time.fromisoformat(_two_digits(found["time"]))
        return _day(found["day"].lower(), zone, now), clock, zone
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{text!r} is no moment: {error}", hint=_HINT) from error


def _two_digits(clock: str) -> str:
    return clock if clock[2] == ":" else f"0{clock}"


def _zone(name: str, text: str) -> tzinfo | None:
    if name[0] in "+-":
        return datetime.strptime(name.replace(":", "").ljust(5, "0"), "%z").tzinfo
    try:
        return UTC if name.upper() in ("Z", "UTC") else ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise UsageError(
            f"{text!r} names no time zone that is known here: {name}",
            hint="write a name such as Europe/Berlin, an offset such as +01:00, or Z",
        ) from None


def _day(word: str, zone: tzinfo | None, now: datetime) -> date:
    if word not in ("today", "yesterday"):
        return date.fromisoformat(word)
    today = now.astimezone(zone).date()
    return today if word == "today" else today - timedelta(days=1)


def _aware(wall: datetime, zone: tzinfo | None) -> datetime:
    return wall.astimezone() if zone is None else wall.replace(tzinfo=zone)


def _resolve(wall: datetime, zone: tzinfo | None, text: str) -> datetime:
    """PEP 495: the two readings of a wall clock's time differ where it came twice (the earlier one first) and
    where it never came (the later one first)."""
    first, second = _aware(wall.replace(fold=0), zone), _aware(wall.replace(fold=1), zone)
    difference = second.astimezone(UTC) - first.astimezone(UTC)
    if difference == timedelta():
        return first
    if difference > timedelta():
        raise UsageError(
            f"{text!r} came twice, because the clocks were set back",
            hint=f"write {_with_offset(first)} for the first time, {_with_offset(second)} for the second",
        )
    raise UsageError(
        f"{text!r} never came, because the clocks were set forward",
        hint=f"write the moment with its offset, such as {_with_offset(first.astimezone(UTC))}",
    )


def _with_offset(at: datetime) -> str:
    return f'"{at.isoformat(sep=" ")}"'
