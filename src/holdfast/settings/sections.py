"""The sections of the settings file: what may stand in it, of which kind, and with which defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from holdfast.domain.tables import TablePatterns, Tier, TierRule

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\Z")

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


class RepositorySettings(_Section):
    """Where snapshots live and what opens them. At most one of the passphrase_… keys is set."""

    url: str = Field(repr=False, min_length=1)
    options: dict[str, str | int | float | bool] = Field(default={}, repr=False)
    passphrase_env: str | None = None
    passphrase_file: Path | None = None
    passphrase_command: str | tuple[str, ...] | None = Field(default=None, repr=False)
    identity_file: Path | None = None

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


class SourceSettings(_Section):
    """One database under care. An empty `url` means libpq's own environment (PGHOST, PGSERVICE, …).

    `jobs` and `lock_timeout_seconds` None: the workflow's own default (`BackupOptions`).
    """

    url: str = Field(default="", repr=False)
    repository: str | None = Field(default=None, repr=False)
    jobs: int | None = Field(default=None, ge=1, le=64)
    lock_timeout_seconds: float | None = Field(default=None, gt=0, le=3600)
    exclude_rows: _Patterns = ()
    tags: tuple[str, ...] = ()
    tiers: TierSettings = TierSettings()

    @field_validator("tags")
    @classmethod
    def _plain_tags(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        for tag in tags:
            check_tag(tag)
        return tags


class SettingsFile(_Section):
    """The whole file."""

    default_source: str | None = None
    default_repository: str | None = None
    repositories: dict[str, RepositorySettings] = {}
    sources: dict[str, SourceSettings] = {}


def check_tag(tag: str) -> None:
    """Tags are words: they are listed, and given on command lines. Raises `ValueError`."""
    if not NAME.match(tag):
        raise ValueError(f"{tag!r} is no tag: use letters, digits, dots, dashes and underscores")


def is_place(text: str) -> bool:
    """Whether a repository is named by where it is (a URL or a path), not by a configured name."""
    return "/" in text or text.startswith((".", "~"))
