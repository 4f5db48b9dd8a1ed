"""Settings: `holdfast.toml`, `.env` and the environment, parsed once into frozen values.

Invariant: what is misspelt, missing or makes no sense is an error that names the place and, where one is close,
the right word; nothing is silently ignored. Secrets never show in a `repr` or in a message.

A variable that is not set breaks only the section that uses it: a restore on a fresh machine must not fail
because the address of the lost database is not known there.
"""

from holdfast.settings.choice import RepositoryChoice, Settings, SourceChoice
from holdfast.settings.reading import load
from holdfast.settings.sections import (
    CopySettings,
    RepositorySettings,
    SourceSettings,
    TierSettings,
    check_tag,
    is_place,
)

__all__ = [
    "CopySettings",
    "RepositoryChoice",
    "RepositorySettings",
    "Settings",
    "SourceChoice",
    "SourceSettings",
    "TierSettings",
    "check_tag",
    "is_place",
    "load",
]
