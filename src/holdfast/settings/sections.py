"""The sections of the settings file: what may stand in it, of which kind, and with which defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from holdfast.domain.durations import parse_duration
from holdfast.domain.policy import RetentionPolicy, TagRule
from holdfast.domain.tables import TablePatterns, Tier, TierRule
from holdfast.settings.amounts import Duration, Rate, ScheduleSettings
from holdfast.storage.object_lock import LockMode

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\Z")

_Count = Annotated[int, Field(strict=True)]  # `daily = true` is no 1
_Patterns = tuple[Annotated[str, Field(min_length=1)], ...]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class TierSettings(_Section):
    """Which tables come back first; whatever is not named is normal."""

    critical: _Patterns = ()
    high: _Patterns = ()
    normal: _Patterns = ()
    low: _Patterns = ()

    def rules(self) -> tuple[TierRule, ...]:
        named = {
            Tier.CRITICAL: self.critical,
            Tier.HIGH: self.high,
            Tier.NORMAL: self.normal,
            Tier.LOW: self.low,
        }
        return tuple(
            TierRule(tier=tier, tables=TablePatterns(patterns=patterns))
            for tier, patterns in named.items()
            if patterns
        )


class LockSettings(_Section):
    """Keep every object of the repository from being deleted, by anyone, for so many days: S3 Object Lock."""

    mode: LockMode = LockMode.GOVERNANCE
    days: int = Field(ge=1, le=36_500)


class RetentionSettings(_Section):
    """Which snapshots are kept. What is left out is no rule; `RetentionPolicy` says what the rules mean.

    `safety` stands at the top of the file only: how long snapshots of what a restore replaced are kept.
    """

    keep_last: _Count | None = None
    keep_within: str | None = None
    hourly: _Count | None = None
    daily: _Count | None = None
    weekly: _Count | None = None
    monthly: _Count | None = None
    yearly: _Count | None = None
    minimum: _Count | None = None
    time_zone: str | None = None
    tags: dict[str, str] = {}
    safety: str | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> RetentionSettings:
        self.policy()
        self.safety_policy()
        return self

    @field_validator("tags")
    @classmethod
    def _plain_tags(cls, tags: dict[str, str]) -> dict[str, str]:
        for tag in tags:
            check_tag(tag)
        return tags

    def policy(self) -> RetentionPolicy:
        """Raises `ValueError`. What is not set has the policy's own default."""
        names = ("keep_last", "hourly", "daily", "weekly", "monthly", "yearly", "minimum", "time_zone")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        return RetentionPolicy(
            **given,
            keep_within=None if self.keep_within is None else parse_duration(self.keep_within),
            tags=tuple(TagRule(tag=tag, keep=parse_duration(keep)) for tag, keep in self.tags.items()),
        )

    def safety_policy(self) -> RetentionPolicy | None:
        if self.safety is None:
            return None
        return RetentionPolicy(keep_within=parse_duration(self.safety), time_zone=self.policy().time_zone)


class RepositorySettings(_Section):
    """Where snapshots live and what opens them. At most one of the passphrase_… keys is set.

    `max_rate`: bytes per second, to and from it together; 0 means no limit.
    """

    url: str = Field(repr=False, min_length=1)
    options: dict[str, str | int | float | bool] = Field(default={}, repr=False)
    passphrase_env: str | None = None
    passphrase_file: Path | None = None
    passphrase_command: str | tuple[str, ...] | None = Field(default=None, repr=False)
    identity_file: Path | None = None
    max_rate: Rate = 0.0
    retention: RetentionSettings | None = None
    lock: LockSettings | None = None

    @model_validator(mode="after")
    def _one_passphrase(self) -> RepositorySettings:
        given = [
            key
            for key in ("passphrase_env", "passphrase_file", "passphrase_command")
            if getattr(self, key) is not None
        ]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other")
        return self


class CopySettings(_Section):
    """One more repository that is to have a source's snapshots, right after each backup.

    `newest_only`: for a place that gets one a day. Not a backup but `holdfast copy` sends it the newest one, and
    passes over those before it.
    """

    repository: str = Field(min_length=1)
    newest_only: bool = False


class SourceSettings(_Section):
    """One database under care. An empty `url` means libpq's own environment (PGHOST, PGSERVICE, …).

    `jobs`, `lock_timeout_seconds` and `full_every_days` None: the workflow's own default (`BackupOptions`); 0 days
    mean that every backup reads everything. `max_runtime`: after that
    long a backup gives up.
    """

    url: str = Field(default="", repr=False)
    repository: str | None = Field(default=None, repr=False)
    jobs: int | None = Field(default=None, ge=1, le=64)
    lock_timeout_seconds: float | None = Field(default=None, gt=0, le=3600)
    full_every_days: float | None = Field(default=None, ge=0, le=366)
    exclude_rows: _Patterns = ()
    tags: tuple[str, ...] = ()
    max_runtime: Duration | None = None
    schedule: ScheduleSettings = ScheduleSettings()
    tiers: TierSettings = TierSettings()
    copies: tuple[CopySettings, ...] = ()
    retention: RetentionSettings | None = None

    @field_validator("copies", mode="before")
    @classmethod
    def _named_alone(cls, copies: object) -> object:
        """`copies = ["offsite"]` is short for `copies = [{ repository = "offsite" }]`."""
        if not isinstance(copies, list | tuple):
            return copies
        return [{"repository": item} if isinstance(item, str) else item for item in copies]

    @field_validator("tags")
    @classmethod
    def _plain_tags(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        for tag in tags:
            check_tag(tag)
        return tags


class SettingsFile(_Section):
    """The whole file. `retention` is for the sources named here that have no retention of their own."""

    default_source: str | None = None
    default_repository: str | None = None
    retention: RetentionSettings | None = None
    repositories: dict[str, RepositorySettings] = {}
    sources: dict[str, SourceSettings] = {}

    @model_validator(mode="after")
    def _safety_at_the_top(self) -> SettingsFile:
        for kind, sections in (("sources", self.sources), ("repositories", self.repositories)):
            for name, section in sections.items():
                if section.retention is not None and section.retention.safety is not None:
                    raise ValueError(f"{kind}.{name}.retention.safety belongs into [retention]")
        return self


def check_tag(tag: str) -> None:
    """Tags are words: they are listed, and given on command lines. Raises `ValueError`."""
    if not NAME.match(tag):
        raise ValueError(f"{tag!r} is no tag: use letters, digits, dots, dashes and underscores")


def is_place(text: str) -> bool:
    """Whether a repository is named by where it is (a URL or a path), not by a configured name."""
    return "/" in text or text.startswith((".", "~"))
