"""What is to run when, and what it needs around it: the same for every scheduler."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from holdfast.workflows.schedule.timetable import Timetable


class Job(enum.StrEnum):
    BACKUP = "backup"
    COPY = "copy"
    PRUNE = "prune"
    VERIFY = "verify"

    @property
    def meaning(self) -> str:
        return _MEANINGS[self]


_MEANINGS = {
    Job.BACKUP: "take a snapshot",
    Job.COPY: "send the newest snapshot to its copies",
    Job.PRUNE: "remove what the retention policy lets go",
    Job.VERIFY: "read and check the newest snapshot",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One thing to run. `arguments` are what the program is given; none of them is a secret. `at`: in which other
    repository than the source's own, if there is a task for each."""

    job: Job
    timetable: Timetable
    arguments: tuple[str, ...]
    at: str = ""

    @property
    def name(self) -> str:
        """What tells it from the source's other tasks."""
        return f"{self.job}-{self.at}" if self.at else self.job.value

    @property
    def meaning(self) -> str:
        return f"{self.job.meaning} at {self.at}" if self.at else self.job.meaning


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSchedule:
    """All tasks of one source.

    `variables`: names of the environment variables that it needs. `needs_passphrase`: nothing in the settings
    says where the passphrase is, so it comes from the environment. `folders`: local folders it writes to; `files`:
    local files that open the repositories. `max_runtime`: of its backups.
    """

    source: str
    tasks: tuple[Task, ...]
    variables: tuple[str, ...]
    needs_passphrase: bool
    folders: tuple[Path, ...]
    files: tuple[Path, ...]
    max_runtime: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where the program runs. `env_file`: the `.env` that it reads by itself, if there is one."""

    program: Path
    version: str
    folder: Path
    settings: Path | None
    env_file: Path | None
    user: str
    image: str | None
    postgres: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFile:
    """One file for a scheduler, or the whole of it where there is but one."""

    name: str
    text: str


PASSPHRASE = "HOLDFAST_PASSPHRASE"  # noqa: S105 - the name of a variable
SETTINGS = "holdfast.toml"


def command_of(surroundings: Surroundings, task: Task) -> tuple[str, ...]:
    """The command line on this machine; elsewhere the settings lie in the working folder, as `holdfast.toml`."""
    settings = surroundings.settings
    config = () if settings is None or settings.name == SETTINGS else ("--config", str(settings))
    return (str(surroundings.program), *config, *task.arguments)
