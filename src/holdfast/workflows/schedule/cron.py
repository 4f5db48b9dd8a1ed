"""Lines for a crontab.

Each line prints what the program said only if it failed: cron mails whatever is printed, and nobody reads a mail
every five minutes.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from holdfast.domain.errors import UsageError
from holdfast.workflows.schedule.tasks import PASSPHRASE, SourceSchedule, Surroundings, UnitFile, command_of

_LONGEST_COMMAND = 998  # Vixie cron cuts a longer one off

_HEAD = """\
# Holdfast: install with `crontab -e`, as the user who may read the settings.
#
# Times are in UTC. cronie (Red Hat, Arch, ...) follows CRON_TZ; the cron of Debian and Ubuntu does not: there they
# are the machine's own, so set its time zone to UTC, or shift the hours.
# No lock is needed: a run that finds another of the same source alive steps aside, and `--unless-running` makes
# that a success. Every failure prints what was said, and cron mails what is printed: set MAILTO to an address that
# somebody reads, and see that this machine can send mail.
"""


def write_cron(schedules: Sequence[SourceSchedule], surroundings: Surroundings) -> tuple[UnitFile, ...]:
    lines = [_HEAD.rstrip("\n"), *_needs(schedules, surroundings)]
    lines += ["#MAILTO=", "CRON_TZ=UTC", "SHELL=/bin/sh", "PATH=/usr/local/bin:/usr/bin:/bin"]
    for schedule in schedules:
        lines.append("")
        for task in schedule.tasks:
            lines.append(f"# {schedule.source}: {task.meaning}")
            lines.append(
                f"{task.timetable.expression} {_command(surroundings, command_of(surroundings, task))}"
            )
    return (UnitFile(name="holdfast.crontab", text="\n".join(lines) + "\n"),)


def _needs(schedules: Sequence[SourceSchedule], surroundings: Surroundings) -> list[str]:
    names = sorted({name for schedule in schedules for name in schedule.variables})
    if any(schedule.needs_passphrase for schedule in schedules):
        names.append(PASSPHRASE)
    if not names:
        return []
    place = surroundings.folder / ".env"
    there = "read from" if surroundings.env_file else "to be put, as NAME=value, into"
    return [
        f"# Secrets and addresses, {there} {place} (mode 600):",
        *(f"#   {name}" for name in names),
    ]


def _command(surroundings: Surroundings, command: Sequence[str]) -> str:
    """`cd` finds the settings; `%` means a newline to cron unless a backslash stands before it."""
    text = (
        f"cd {shlex.quote(str(surroundings.folder))} && out=$({shlex.join(command)})"
        " || { code=$?; printf '%s\\n' \"$out\"; exit $code; }"
    )
    if "\n" in text or len(text) > _LONGEST_COMMAND:
        raise UsageError(
            "the command is too long for a crontab, or has a line break in it",
            hint="move the settings to a shorter path",
        )
    return text.replace("%", "\\%")
