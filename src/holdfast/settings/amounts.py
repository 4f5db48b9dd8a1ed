"""Amounts as they stand in the settings file, parsed: rates, lengths of time, cron expressions."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from holdfast.domain.durations import parse_duration
from holdfast.domain.rates import parse_rate
from holdfast.workflows.schedule.timetable import Timetable


def _rate(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("write bytes per second, such as 20MB")
    return parse_rate(str(value))


def _duration(value: object) -> timedelta:
    if not isinstance(value, str):
        raise ValueError("write a length of time, such as 30min or 2h")
    length = parse_duration(value)
    if not length:
        raise ValueError("a length of time must be longer than zero")
    return length


def _timetable(value: object) -> Timetable | None:
    if not isinstance(value, str):
        raise ValueError('write a cron expression in UTC, such as "*/5 * * * *", or "never"')
    return None if value == NEVER else Timetable.parse(value)


NEVER = "never"

Rate = Annotated[float, BeforeValidator(_rate)]
Duration = Annotated[timedelta, BeforeValidator(_duration)]
Cron = Annotated[Timetable | None, BeforeValidator(_timetable)]


class ScheduleSettings(BaseModel):
    """When what is run for a source, as cron expressions in UTC; `never` leaves one out.

    These are the defaults: a snapshot every five minutes; once a day retention, where there is a policy, and
    copies, where a repository is to get the newest snapshot only; once a week a check of the newest snapshot's
    every byte.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    backup: Cron = Timetable.parse("*/5 * * * *")
    prune: Cron = Timetable.parse("17 3 * * *")
    copy_: Annotated[Cron, Field(alias="copy")] = Timetable.parse("37 2 * * *")
    verify: Cron = Timetable.parse("43 4 * * 0")
