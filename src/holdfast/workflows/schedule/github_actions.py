"""One workflow for each source, with a job for each task. It uses nobody's actions, so none has to be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from holdfast.domain.errors import UsageError
from holdfast.workflows.schedule.elsewhere import (
    SETTINGS_SECRET,
    quoted,
    require_nothing_local,
    secret_names,
    slug,
)
from holdfast.workflows.schedule.tasks import SETTINGS, Job, SourceSchedule, Surroundings, Task, UnitFile

SHORTEST_PAUSE = timedelta(minutes=5)
_LONGEST_JOB = timedelta(hours=6)  # GitHub ends a job then

_HEAD = """\
# Holdfast: {source}. Put this into .github/workflows/ of the default branch of a private repository.
#
# GitHub's schedule is not punctual: runs come late, often by many minutes, and some are dropped, above all at the
# full hour. Where the time between snapshots matters, use a machine of your own (cron, systemd).
# In a public repository, schedules stop after 60 days without activity in it. In a private one every run costs at
# least one minute of your quota, which at */5 is nearly 9,000 a month.
#
# Secrets to be set for the repository (Settings > Secrets and variables > Actions):
#   {settings}: all that stands in {file}
"""


def write_github_actions(
    schedules: Sequence[SourceSchedule], surroundings: Surroundings
) -> tuple[UnitFile, ...]:
    require_nothing_local(schedules, where="a runner of GitHub")
    for schedule in schedules:
        for task in schedule.tasks:
            if task.timetable.shortest_pause() < SHORTEST_PAUSE:
                raise UsageError(
                    f"{schedule.source}: {task.timetable.expression!r} runs more often than every five minutes, "
                    "and GitHub does not",
                    hint=f'set [sources.{schedule.source}.schedule] {task.job} = "*/5 * * * *", or use another '
                    "scheduler",
                )
    return tuple(
        UnitFile(
            name=f"holdfast-{slug(schedule.source, longest=60)}.yml",
            text="\n".join(_workflow(schedule, surroundings)) + "\n",
        )
        for schedule in schedules
    )


def _workflow(schedule: SourceSchedule, surroundings: Surroundings) -> Iterator[str]:
    yield from _HEAD.format(source=schedule.source, settings=SETTINGS_SECRET, file=SETTINGS).splitlines()
    for name in secret_names(schedule):
        yield f"#   {name}"
    yield f"name: {quoted(f'holdfast {schedule.source}')}"
    yield "on:"
    yield "  workflow_dispatch:"
    yield "  schedule:  # in UTC"
    for expression in dict.fromkeys(task.timetable.expression for task in schedule.tasks):
        yield f"    - cron: {quoted(expression)}"
    yield "# The job reads nothing of this repository, not even its files."
    yield "permissions: {}"
    yield "jobs:"
    for task in schedule.tasks:
        yield from _job(schedule, task, surroundings)


def _job(schedule: SourceSchedule, task: Task, surroundings: Surroundings) -> Iterator[str]:
    asked = f"github.event.schedule == '{task.timetable.expression}'"
    if task.job is Job.BACKUP:
        asked = f"github.event_name == 'workflow_dispatch' || {asked}"
    limit = schedule.max_runtime if task.job is Job.BACKUP else None
    minutes = int(min(limit + SHORTEST_PAUSE, _LONGEST_JOB).total_seconds() // 60) if limit else 360
    group = slug(f"holdfast-{task.name}-{schedule.source}", longest=80)
    yield from (
        f"  {slug(task.name, longest=80)}:",
        f"    name: {quoted(task.meaning)}",
        f"    if: {quoted(asked)}",
        "    runs-on: ubuntu-24.04",
        f"    timeout-minutes: {minutes}",
        "    # A run under way is let finish; one more waits, those after it are dropped.",
        f"    concurrency: {{group: {group}, cancel-in-progress: false}}",
        "    steps:",
        "      - name: install holdfast and PostgreSQL's client programs",
        "        run: |",
        "          sudo apt-get -qq update",
        "          sudo apt-get -qq install --yes postgresql-common",
        "          sudo /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y",
        f"          sudo apt-get -qq install --yes postgresql-client-{surroundings.postgres}",
        '          python3 -m venv "$RUNNER_TEMP/venv"',
        f'          "$RUNNER_TEMP/venv/bin/pip" install --quiet holdfast=={surroundings.version}',
        f"      - name: {quoted(task.meaning)}",
        "        env:",
        f"          {SETTINGS_SECRET}: ${{{{ secrets.{SETTINGS_SECRET} }}}}",
        *(f"          {name}: ${{{{ secrets.{name} }}}}" for name in secret_names(schedule)),
        "        run: |",
        "          umask 077",
        '          mkdir "$RUNNER_TEMP/settings" && cd "$RUNNER_TEMP/settings"',
        f"          printf '%s\\n' \"${SETTINGS_SECRET}\" > {SETTINGS}",
        f'          "$RUNNER_TEMP/venv/bin/holdfast" {" ".join(task.arguments)}',
    )
