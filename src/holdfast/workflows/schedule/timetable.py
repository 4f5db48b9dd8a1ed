"""A cron expression, in UTC, as every scheduler understands it the same way.

Only the five fields and the signs that cron, systemd, Kubernetes and GitHub share are taken: numbers, names of
months and weekdays, lists, ranges, steps over `*` or a range. What they read differently is refused, not guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

from cronsim import CronSim, CronSimError

_TERM = re.compile(r"(?:\*|\w+-\w+)(?:/\d+)?\Z|\w+\Z")
_NAMES = {
    3: ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    4: ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
}
_FIRST_NAMED = {3: 1, 4: 0}
_FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")
_LONGEST_DAY_OF_RUNS = 24 * 60 + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """`expression` has numbers only, weekdays 0 (Sunday) to 6; the sets say the same once more.

    `either_day`: both kinds of days are restricted, and then, by cron's old rule, either of them is enough.
    """

    expression: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool

    @classmethod
    def parse(cls, text: str) -> Timetable:
        """Raises `ValueError`, which says what is wrong, for what is no expression, or is not read alike
        everywhere, or never comes."""
        fields = text.upper().split()
        if len(fields) != len(_FIELDS):
            raise ValueError(f"{text!r} is no cron expression: it needs five fields, such as */5 * * * *")
        expression = " ".join(_plain(field, place, text) for place, field in enumerate(fields))
        day, weekday = expression.split()[2], expression.split()[4]
        if day != "*" and weekday != "*" and (day.startswith("*") or weekday.startswith("*")):
            raise ValueError(
                f"{text!r}: days of the month and of the week, one of them with */: schedulers disagree about "
                "what that means; list the days"
            )
        try:
            times = CronSim(expression, datetime(2024, 1, 1, tzinfo=UTC))
            next(times)
        except CronSimError as error:
            raise ValueError(f"{text!r} is no cron expression: {str(error).lower()}") from error
        except StopIteration:
            raise ValueError(f"{text!r} never comes") from None
        return cls(
            expression=expression,
            minutes=frozenset(times.minutes),
            hours=frozenset(times.hours),
            days=frozenset(times.days),
            months=frozenset(times.months),
            weekdays=frozenset(number % 7 for number in times.weekdays if isinstance(number, int)),
            either_day=day != "*" and weekday != "*",
        )

    def first_after(self, moment: datetime, count: int) -> tuple[datetime, ...]:
        """The next `count` times after `moment` (aware), in UTC."""
        return tuple(islice(CronSim(self.expression, moment.astimezone(UTC)), count))

    def shortest_pause(self) -> timedelta:
        """The least time between two runs that follow each other."""
        times = self.first_after(datetime(2024, 1, 1, tzinfo=UTC), _LONGEST_DAY_OF_RUNS)
        return min(later - earlier for earlier, later in pairwise(times))

    @property
    def needs_a_zone(self) -> bool:
        """Whether it matters which hour the scheduler thinks it is."""
        return len(self.hours) < 24 or len(self.days) < 31 or len(self.months) < 12 or len(self.weekdays) < 7


def _plain(field: str, place: int, text: str) -> str:
    """One field, checked against what all schedulers read alike, with numbers for names."""
    terms = []
    for term in field.split(","):
        if not _TERM.match(term):
            raise ValueError(
                f"{text!r}: {term!r} is not understood as the {_FIELDS[place]} by every scheduler: write numbers, "
                "lists (1,15), ranges (8-18) and steps (*/5, 8-18/2)"
            )
        range_part, _, step = term.partition("/")
        if step and not int(step):
            raise ValueError(f"{text!r}: a step of 0 in the {_FIELDS[place]}")
        numbers = "-".join(_number(part, place, text) for part in range_part.split("-"))
        terms.append(f"{numbers}/{int(step)}" if step else numbers)
    if "*" in terms and len(terms) > 1:
        raise ValueError(f"{text!r}: * and others in the {_FIELDS[place]}")
    return ",".join(terms)


def _number(part: str, place: int, text: str) -> str:
    names = _NAMES.get(place, [])
    if part in names:
        return str(names.index(part) + _FIRST_NAMED[place])
    if part == "*":
        return part
    if not part.isascii() or not part.isdigit():
        raise ValueError(f"{text!r}: {part!r} is no {_FIELDS[place]}")
    number = int(part)
    if place == 4 and number == 7:
        if text.upper().split()[4] != "7":  # in a range it is no Sunday everywhere
            raise ValueError(f"{text!r}: write 0 for Sunday")
        number = 0
    return str(number)
