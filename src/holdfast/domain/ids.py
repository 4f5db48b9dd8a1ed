"""Snapshot ids: ULIDs in lower case, so that names sort by the time at which a run began.

Layout after the ULID specification: 48 bits of milliseconds since 1970, then 80 random bits, written as 26
characters of Crockford's base 32. Lower case, because object names on some storages fold case.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NewType

from holdfast.domain.errors import UsageError

SnapshotId = NewType("SnapshotId", str)

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_SHAPE = re.compile(rf"[0-7][{_ALPHABET}]{{25}}\Z")
RANDOM_BYTES = 10


def make_snapshot_id(moment: datetime, randomness: bytes) -> SnapshotId:
    """An id for a run that begins at `moment` (aware); `randomness` is 10 bytes from the system's generator."""
    if len(randomness) != RANDOM_BYTES:
        raise ValueError(f"a snapshot id needs {RANDOM_BYTES} random bytes, got {len(randomness)}")
    millis = int(moment.timestamp() * 1000)
    number = (millis << 80) | int.from_bytes(randomness, "big")
    return SnapshotId("".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5)))


def parse_snapshot_id(text: str) -> SnapshotId:
    """Check a full id; raises `ValueError` if it is none."""
    if not _SHAPE.match(text):
        raise ValueError(f"not a snapshot id: {text!r}")
    return SnapshotId(text)


def moment_of(snapshot: SnapshotId) -> datetime:
    """When the run with this id began, by the clock of the host that ran it."""
    number = 0
    for character in snapshot[:10]:
        number = number * 32 + _ALPHABET.index(character)
    return datetime.fromtimestamp(number / 1000, tz=UTC)


def pick_snapshot(wanted: str, known: list[SnapshotId]) -> SnapshotId:
    """The one id that `wanted` names: `latest`, a full id, or a prefix no other id shares.

    `known` is in ascending order. Raises `UsageError` when none or several match.
    """
    if not known:
        raise UsageError("there is no snapshot here yet", hint="run holdfast backup first")
    if wanted == "latest":
        return known[-1]
    matches = [snapshot for snapshot in known if snapshot.startswith(wanted.lower())]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        raise UsageError(f"no snapshot is named {wanted!r}", hint="run holdfast list to see their names")
    shown = ", ".join(matches[:3])
    raise UsageError(f"{wanted!r} names {len(matches)} snapshots: {shown}", hint="give more characters of it")
