"""Lengths of time as operators write them: `36h`, `14d`, `2w`, `1y`, or several together, `1d12h`.

`m` alone is refused: it could mean minutes or months, and a month has no fixed length.
"""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "y": timedelta(days=365),
}
_PART = re.compile(r"(\d{1,6})([a-z]+)")
_WHOLE = re.compile(r"(?:\d{1,6}[a-z]+)+")


def parse_duration(text: str) -> timedelta:
    """The length of time that `text` says; raises `ValueError`. It may be zero."""
    compact = text.strip().lower().replace(" ", "")
    if not _WHOLE.fullmatch(compact):
        raise ValueError(f"{text!r} is no length of time: write it as 36h, 14d, 2w or 1y")
    total = timedelta()
    for count, unit in _PART.findall(compact):
        if unit not in _UNITS:
            raise ValueError(f"{text!r} is no length of time: its units are {', '.join(_UNITS)}")
        try:
            total += int(count) * _UNITS[unit]
        except OverflowError:
            raise ValueError(f"{text!r} is too long a time") from None
    return total


def describe_duration(length: timedelta) -> str:
    """`30 days`, `36 hours`, `90 minutes`: the biggest unit up to days that says it exactly."""
    for name, unit in (
        ("day", timedelta(days=1)),
        ("hour", timedelta(hours=1)),
        ("minute", timedelta(minutes=1)),
    ):
        if length >= unit and not length % unit:
            count = length // unit
            return f"{count} {name}" if count == 1 else f"{count} {name}s"
    seconds = length.total_seconds()
    return f"{seconds:g} seconds"
