"""How numbers, moments and names are written for people; one way each."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta

_BYTE_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size(count: int | float) -> str:
    """`0 B`, `999 B`, `1.2 GB`: powers of 1000, as disks and invoices count."""
    value = float(count)
    for unit in _BYTE_UNITS[:-1]:
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} {_BYTE_UNITS[-1]}"


def number(count: int) -> str:
    return f"{count:,}"


def counted(count: int, noun: str) -> str:
    """`1 table`, `2 tables`."""
    return f"{number(count)} {noun if count == 1 else noun + 's'}"


def duration(seconds: float) -> str:
    """`0.8 s`, `12 s`, `3 min 12 s`, `1 h 02 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def span(length: timedelta) -> str:
    """Like `duration`, and `3 days 04 h` for what is longer."""
    if length < timedelta(days=2):
        return duration(length.total_seconds())
    hours = round(length / timedelta(hours=1))
    return f"{hours // 24} days {hours % 24:02} h"


def moment_there(at: datetime) -> str:
    """A moment in its own zone, which is told: `2026-11-20 14:05:00 CET (UTC+01:00)`."""
    offset = f"{at:%z}"
    written = "UTC" if at.utcoffset() == timedelta() else f"UTC{offset[:3]}:{offset[3:5]}"
    name = at.tzname() or written
    return f"{at:%Y-%m-%d %H:%M:%S} {name}" + ("" if name == written else f" ({written})")


def moment(at: datetime) -> str:
    """`2026-11-21 01:40:53 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def iso(at: datetime) -> str:
    """`2026-11-21T01:40:53.123456Z`: how JSON says it."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def printable(text: str) -> str:
    """A name from a database as a terminal may safely show it: control characters are written as escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
        else character
        for character in text
    )
