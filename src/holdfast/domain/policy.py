"""A retention policy: which snapshots of one source are kept, as its owner wrote it down.

Two kinds of rules. The choosing ones (`keep_last`, `keep_within`, and the counts by calendar) say what is kept and
thereby what may go; a policy without any of them keeps everything. The protecting ones (`tags`, `minimum`) only
ever keep more.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from holdfast.domain.durations import describe_duration

_MOST = 100_000


class Period(enum.StrEnum):
    """A piece of the calendar of which the newest snapshot is kept. Weeks begin on Monday (ISO 8601)."""

    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    YEARLY = "yearly"


@dataclass(frozen=True, slots=True, kw_only=True)
class TagRule:
    """Snapshots that carry `tag` are kept until they are `keep` old."""

    tag: str
    keep: timedelta

    def __post_init__(self) -> None:
        if self.keep <= timedelta():
            raise ValueError(f"tag {self.tag}: the time to keep it must be longer than zero")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """`keep_last` newest snapshots; all from within `keep_within`; the newest of each of so many hours, days,
    weeks, months, years that have one; by tag; and `minimum` good ones however old. 0 and None: no such rule.

    Calendars follow `time_zone`, an IANA name. Raises `ValueError` at birth for what makes no sense.
    """

    keep_last: int = 0
    keep_within: timedelta | None = None
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    tags: tuple[TagRule, ...] = ()
    minimum: int = 0
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        for name in ("keep_last", "hourly", "daily", "weekly", "monthly", "yearly", "minimum"):
            count = getattr(self, name)
            if not 0 <= count <= _MOST:
                raise ValueError(f"{name} must be between 0 and {_MOST}, not {count}")
        if self.keep_within is not None and self.keep_within <= timedelta():
            raise ValueError("keep_within must be longer than zero")
        names = [rule.tag for rule in self.tags]
        if len(set(names)) != len(names):
            raise ValueError("a tag has two rules")
        self.zone()

    @property
    def chooses(self) -> bool:
        """Whether anything could ever be let go: a policy without a choosing rule keeps everything."""
        return bool(self.keep_last or self.keep_within or any(count for _, count in self.calendar()))

    def calendar(self) -> tuple[tuple[Period, int], ...]:
        return (
            (Period.HOURLY, self.hourly),
            (Period.DAILY, self.daily),
            (Period.WEEKLY, self.weekly),
            (Period.MONTHLY, self.monthly),
            (Period.YEARLY, self.yearly),
        )

    def zone(self) -> ZoneInfo:
        try:
            return ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError):
            raise ValueError(
                f"time_zone {self.time_zone!r} is not known: write a name such as Europe/Berlin, or UTC"
            ) from None

    def describe(self) -> str:
        """One line: `last 3, within 14 days, daily 7, weekly 4, tag before-migration 30 days, minimum 2`."""
        rules = [f"last {self.keep_last}"] if self.keep_last else []
        if self.keep_within is not None:
            rules.append(f"within {describe_duration(self.keep_within)}")
        rules += [f"{period} {count}" for period, count in self.calendar() if count]
        rules += [f"tag {rule.tag} {describe_duration(rule.keep)}" for rule in self.tags]
        if self.minimum:
            rules.append(f"minimum {self.minimum}")
        return ", ".join(rules) or "no rules"
