"""The one rule for names, so that every storage can hold every object.

A name is segments of letters, digits, "-", "_", "." and "=", joined by "/"; no segment starts with a dot. The
rule leaves out whatever some storage would encode, fold, hide or refuse. A name that breaks it is a mistake of
the caller, hence `ValueError`.
"""

from __future__ import annotations

import re

MAX_NAME_LENGTH = 900
"""S3, Azure and GCS allow 1,024 bytes, the repository's own prefix included."""

MAX_SEGMENT_LENGTH = 200
"""Linux file systems allow 255 bytes, eCryptfs 143 less a few; ours are far shorter."""

_RULE = rf"[A-Za-z0-9_=-][A-Za-z0-9._=-]{{0,{MAX_SEGMENT_LENGTH - 1}}}"
_SEGMENT = re.compile(_RULE)
_NAME = re.compile(rf"{_RULE}(?:/{_RULE})*")


def is_segment(text: str) -> bool:
    """Whether `text` may stand between two slashes of a name."""
    return _SEGMENT.fullmatch(text) is not None


def check_name(name: str) -> None:
    """Raises `ValueError` unless `name` may name an object."""
    if len(name) > MAX_NAME_LENGTH or _NAME.fullmatch(name) is None:
        raise ValueError(f"not an object's name: {name!r}")


def check_prefix(prefix: str) -> None:
    """Raises `ValueError` unless some name could start with `prefix`; the empty prefix is every name's."""
    *folders, rest = prefix.split("/")
    if not all(map(is_segment, folders)) or (rest and not is_segment(rest)):
        raise ValueError(f"not a prefix of an object's name: {prefix!r}")
