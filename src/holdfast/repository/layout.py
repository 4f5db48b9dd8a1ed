"""The names of all objects in a repository. Names are never reused (docs/FORMAT.md).

A data or table object is named by the snapshot that wrote it and a random part, so a collector that wakes up
late can only delete what nobody can name any more.
"""

from __future__ import annotations

import secrets

from holdfast.domain.ids import SnapshotId, parse_snapshot_id

CONFIG = "config"
KEYS = "keys/"
DATA = "data/"
META = "meta/"
WRITERS = "writers/"
OUTCOMES = "outcomes/"
TOMBSTONES = "tombstones/"
JOURNAL = "journal/"
VERIFICATIONS = "verify/"

_JOURNAL_DIGITS = 12


def data_prefix(snapshot: SnapshotId) -> str:
    return f"{DATA}{snapshot}/"


def meta_prefix(snapshot: SnapshotId) -> str:
    return f"{META}{snapshot}/"


def new_data_object(snapshot: SnapshotId) -> str:
    name = secrets.token_hex(12)
    return f"{DATA}{snapshot}/{name[:2]}/{name}"


def new_table_object(snapshot: SnapshotId) -> str:
    return f"{META}{snapshot}/table/{secrets.token_hex(12)}"


def root(snapshot: SnapshotId) -> str:
    return f"{META}{snapshot}/root"


def writer(snapshot: SnapshotId) -> str:
    return f"{WRITERS}{snapshot}"


def outcome(snapshot: SnapshotId) -> str:
    return f"{OUTCOMES}{snapshot}"


def tombstone(snapshot: SnapshotId) -> str:
    return f"{TOMBSTONES}{snapshot}"


def journal(position: int) -> str:
    return f"{JOURNAL}{position:0{_JOURNAL_DIGITS}d}"


def verification(record: str) -> str:
    return f"{VERIFICATIONS}{record}"


def snapshot_in(object_name: str) -> SnapshotId:
    """The snapshot id in an object's name; raises `ValueError` if there is none."""
    parts = object_name.split("/")
    if len(parts) < 2:
        raise ValueError(f"no snapshot in the name {object_name!r}")
    return parse_snapshot_id(parts[1])


def position_in(object_name: str) -> int:
    """The position of a journal entry, from its name; raises `ValueError` if it is none."""
    text = object_name.removeprefix(JOURNAL)
    if len(text) != _JOURNAL_DIGITS or not text.isdecimal():
        raise ValueError(f"not the name of a journal entry: {object_name!r}")
    return int(text)
