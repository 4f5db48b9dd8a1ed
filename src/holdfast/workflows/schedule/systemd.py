"""A service and a timer for each task, for the system's manager."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import pairwise

from holdfast.workflows.schedule.tasks import (
    Job,
    SourceSchedule,
    Surroundings,
    Task,
    UnitFile,
    command_of,
)
from holdfast.workflows.schedule.timetable import Timetable

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_LIMIT_GRACE = timedelta(minutes=5)

_HARDENING = """\
# It needs the network, the settings, and a place for temporary files; nothing else of the machine.
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
UMask=0077
"""


def write_systemd(schedules: Sequence[SourceSchedule], surroundings: Surroundings) -> tuple[UnitFile, ...]:
    return tuple(unit for schedule in schedules for unit in _units(schedule, surroundings))


def _units(schedule: SourceSchedule, surroundings: Surroundings) -> Iterator[UnitFile]:
    for task in schedule.tasks:
        name = f"holdfast-{task.name}-{schedule.source}"
        yield UnitFile(name=f"{name}.service", text=_service(schedule, task, surroundings))
        yield UnitFile(name=f"{name}.timer", text=_timer(schedule, task, name))


def _service(schedule: SourceSchedule, task: Task, surroundings: Surroundings) -> str:
    lines = [
        "# Install the files in /etc/systemd/system, then: systemctl daemon-reload, and",
        f"# systemctl enable --now holdfast-{task.name}-{schedule.source}.timer",
        f"# The user is made by: useradd --system --home-dir / --shell /usr/sbin/nologin {surroundings.user}",
        "[Unit]",
        f"Description=Holdfast: {task.meaning} ({schedule.source})",
        "Wants=network-online.target",
        "After=network-online.target",
        "",
        "[Service]",
        "Type=oneshot",
        f"User={surroundings.user}",
        f"WorkingDirectory={_specifier(str(surroundings.folder))}",
        f"ExecStart={' '.join(_word(word) for word in command_of(surroundings, task))}",
    ]
    if task.job is Job.BACKUP:
        lines += [
            "# Stepping aside for a run that is still at work is a success (--unless-running). Every other exit",
            "# code is a failure: add OnFailure= to be told of it.",
        ]
    lines += _secrets(schedule, surroundings)
    if schedule.folders:
        lines.append(f"ReadWritePaths={' '.join(_word(str(folder)) for folder in schedule.folders)}")
    limit = schedule.max_runtime if task.job is Job.BACKUP else None
    lines += [
        "# A neighbour's priority. The time limit lies beyond the program's own.",
        "Nice=10",
        "IOSchedulingClass=best-effort",
        "IOSchedulingPriority=7",
        f"TimeoutStartSec={'infinity' if limit is None else int((limit + _LIMIT_GRACE).total_seconds())}",
    ]
    return "\n".join(lines) + "\n" + _HARDENING


def _secrets(schedule: SourceSchedule, surroundings: Surroundings) -> list[str]:
    """By reference only: a file that systemd reads, and a credential that it hands over."""
    if surroundings.env_file is not None:
        return [
            f"# Secrets and addresses come from {surroundings.env_file}, which {surroundings.user} must read."
        ]
    lines = []
    if schedule.variables:
        path = f"/etc/holdfast/{schedule.source}.env"
        lines += [f"# {path}, mode 600, has NAME=value for: {', '.join(schedule.variables)}"]
        lines += [f"EnvironmentFile={path}"]
    if schedule.needs_passphrase:
        lines += [
            "# The repository's passphrase alone stands in this file, mode 600, owned by root.",
            f"LoadCredential=passphrase:/etc/holdfast/{schedule.source}.passphrase",
            "Environment=HOLDFAST_PASSPHRASE_FILE=%d/passphrase",
        ]
    return lines


def _timer(schedule: SourceSchedule, task: Task, name: str) -> str:
    lines = [
        "[Unit]",
        f"Description=Holdfast: when to {task.meaning} ({schedule.source})",
        "",
        "[Timer]",
        f"# {task.timetable.expression}",
        *(f"OnCalendar={text}" for text in calendar_of(task.timetable)),
        "# What was missed while the machine was off is made up for once.",
        "Persistent=true",
        "AccuracySec=15s",
        f"Unit={name}.service",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    return "\n".join(lines) + "\n"


def calendar_of(timetable: Timetable) -> tuple[str, ...]:
    """The same moments in systemd's words (systemd.time(7)). Several are alternatives.

    systemd wants both a day's date and its weekday to match; where cron is content with either, there are two.
    """
    every_day, every_weekday = frozenset(range(1, 32)), frozenset(range(7))
    if timetable.either_day:
        return (
            _moments(timetable, timetable.days, every_weekday),
            _moments(timetable, every_day, timetable.weekdays),
        )
    return (_moments(timetable, timetable.days, timetable.weekdays),)


def _moments(timetable: Timetable, days: frozenset[int], weekdays: frozenset[int]) -> str:
    week = [number for number in range(7) if (number + 1) % 7 in weekdays]  # Monday first
    prefix = "" if len(week) == 7 else f"{_weekdays(week)} "
    date = f"*-{_numbers(timetable.months, range(1, 13))}-{_numbers(days, range(1, 32))}"
    time = f"{_numbers(timetable.hours, range(24))}:{_numbers(timetable.minutes, range(60))}:00"
    return f"{prefix}{date} {time} UTC"


def _numbers(values: Iterable[int], everything: range) -> str:
    numbers = sorted(values)
    if len(numbers) == len(everything):
        return "*"
    steps = {later - earlier for earlier, later in pairwise(numbers)}
    if len(numbers) > 2 and len(steps) == 1:
        step = steps.pop()
        return f"{numbers[0]:02}..{numbers[-1]:02}" + (f"/{step}" if step > 1 else "")
    return ",".join(f"{number:02}" for number in numbers)


def _weekdays(week: Sequence[int]) -> str:
    if len(week) > 2 and week[-1] - week[0] == len(week) - 1:
        return f"{_WEEKDAYS[week[0]]}..{_WEEKDAYS[week[-1]]}"
    return ",".join(_WEEKDAYS[number] for number in week)


def _specifier(text: str) -> str:
    return text.replace("%", "%%")


def _word(word: str) -> str:
    """One word of a command line (systemd.service(5), "Command lines")."""
    escaped = _specifier(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return escaped if word and not set(word) & set(" \t\"'\\;") else f'"{escaped}"'
