"""What is common to schedulers whose machines are gone after the run: nothing may depend on a local disk."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence

from holdfast.domain.errors import UsageError
from holdfast.workflows.schedule.tasks import PASSPHRASE, SourceSchedule

SETTINGS_SECRET = "HOLDFAST_SETTINGS"  # noqa: S105 - the name of a secret, not its value


def require_nothing_local(schedules: Sequence[SourceSchedule], *, where: str) -> None:
    """Raises `UsageError`: a backup onto a disk that vanishes is none."""
    for schedule in schedules:
        for folder in schedule.folders:
            raise UsageError(
                f"{schedule.source} is backed up into {folder}, and {where} has no disk that stays",
                hint="use a repository in a cloud's storage (s3://, gs://, az://) for it",
            )
        for file in schedule.files:
            raise UsageError(
                f"the repository of {schedule.source} is opened with {file}, which {where} does not have",
                hint='set passphrase_env = "NAME" for the repository, and keep the passphrase as a secret NAME',
            )


def secret_names(schedule: SourceSchedule) -> tuple[str, ...]:
    return (*schedule.variables, *((PASSPHRASE,) if schedule.needs_passphrase else ()))


def slug(name: str, *, longest: int) -> str:
    """A name for what allows lower-case letters, digits and dashes only; distinct names stay distinct."""
    plain = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
    if plain == name and len(plain) <= longest:
        return plain
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"{plain[: longest - 7].strip('-')}-{digest}".lstrip("-")


def quoted(text: str) -> str:
    """A string in YAML: JSON's are."""
    return json.dumps(text)
