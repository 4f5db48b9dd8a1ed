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
FATES = "fates/"
HOLDS = "holds/"
PLANS = "gc/"
JOURNAL = "journal/"
SEGMENTS = "segments/"
HEADS = "heads/"
VERIFICATIONS = "verify/"

HIDDEN = (KEYS,)
"""What a removal hides although it is locked: a key slot that was removed must open nothing from then on."""

LOCKED = (CONFIG, KEYS, DATA, META, OUTCOMES, JOURNAL, SEGMENTS)
"""What is locked where a repository is: all that a restore needs, and the history. Never what must change."""

_JOURNAL_DIGITS = 12
_ROUND_DIGITS = 4
_PLAN_DIGITS = 8


def data_prefix(snapshot: SnapshotId) -> str:
    return f"{DATA}{snapshot}/"


def meta_prefix(snapshot: SnapshotId) -> str:
    return f"{META}{snapshot}/"


def new_data_object(snapshot: SnapshotId) -> str:
    """In one of sixteen folders: a disk pays for every folder when it is made, listed and removed, and a hundred
    objects need no eighty of them."""
    name = secrets.token_hex(12)
    return f"{DATA}{snapshot}/0{name[0]}/{name}"


def new_table_object(snapshot: SnapshotId) -> str:
    return f"{META}{snapshot}/table/{secrets.token_hex(12)}"


def root(snapshot: SnapshotId) -> str:
    return f"{META}{snapshot}/root"


def writer(snapshot: SnapshotId) -> str:
    return f"{WRITERS}{snapshot}"


def outcome(snapshot: SnapshotId) -> str:
    return f"{OUTCOMES}{snapshot}"


def tombstone(snapshot: SnapshotId, round_number: int) -> str:
    return f"{TOMBSTONES}{snapshot}/{round_number:0{_ROUND_DIGITS}d}"


def fate(snapshot: SnapshotId, round_number: int) -> str:
    return f"{FATES}{snapshot}/{round_number:0{_ROUND_DIGITS}d}"


def hold_placed(hold: str) -> str:
    return f"{HOLDS}{hold}/placed"


def hold_released(hold: str) -> str:
    return f"{HOLDS}{hold}/released"


def plan(number: int) -> str:
    return f"{PLANS}{number:0{_PLAN_DIGITS}d}/plan"


def journal(position: int) -> str:
    return f"{JOURNAL}{position:0{_JOURNAL_DIGITS}d}"


def segment(first: int) -> str:
    return f"{SEGMENTS}{first:0{_JOURNAL_DIGITS}d}"


def head(source_digest: str) -> str:
    return f"{HEADS}{source_digest}"


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
    return _number_in(object_name, JOURNAL, "a journal entry")


def segment_in(object_name: str) -> int:
    """The first position of a segment of the journal, from its name; raises `ValueError` if it is none."""
    return _number_in(object_name, SEGMENTS, "a segment of the journal")


def _number_in(object_name: str, prefix: str, what: str) -> int:
    text = object_name.removeprefix(prefix)
    if len(text) != _JOURNAL_DIGITS or not text.isdecimal():
        raise ValueError(f"not the name of {what}: {object_name!r}")
    return int(text)


def round_in(object_name: str) -> tuple[SnapshotId, int]:
    """Snapshot and round of a tombstone or a fate, from its name; raises `ValueError` if it is none."""
    parts = object_name.split("/")
    if len(parts) != 3 or len(parts[2]) != _ROUND_DIGITS or not parts[2].isdecimal():
        raise ValueError(f"no burial in the name {object_name!r}")
    return parse_snapshot_id(parts[1]), int(parts[2])


def plan_in(object_name: str) -> int:
    """The number of a plan, from its name; raises `ValueError` if it is none."""
    parts = object_name.split("/")
    if len(parts) != 3 or parts[2] != "plan" or len(parts[1]) != _PLAN_DIGITS or not parts[1].isdecimal():
        raise ValueError(f"not the name of a plan: {object_name!r}")
    return int(parts[1])
