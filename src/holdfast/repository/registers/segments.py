"""Segments of the journal: a thousand entries in one object, byte for byte as they were, joined like a pack.

The journal gets an entry with every snapshot, for years; folding keeps the number of its objects small. What a
segment holds is fixed by its name (a thousand positions from a multiple of a thousand), so two collectors that
fold at once write the same bytes. A segment is created once and never changes; where it is there, it counts, and
single entries of its positions are rests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.domain.errors import DamagedError
from holdfast.repository import layout
from holdfast.repository.seal import SealBrokenError, read_header

SEGMENT_ENTRIES = 1000
KEEP_SINGLE = 1000


def first_of(position: int) -> int:
    """The first position of the segment to which `position` belongs."""
    return (position - 1) // SEGMENT_ENTRIES * SEGMENT_ENTRIES + 1


def positions_of(first: int) -> range:
    return range(first, first + SEGMENT_ENTRIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """What a folding did: segments made, single entries removed, and entries that stand in its way."""

    segments: int
    entries: int
    refused: tuple[DamagedError, ...]


def join(sealed: Sequence[bytes]) -> bytes:
    if len(sealed) != SEGMENT_ENTRIES:
        raise ValueError(f"a segment holds {SEGMENT_ENTRIES} entries, not {len(sealed)}")
    return b"".join(sealed)


def split(name: str, data: bytes) -> list[bytes]:
    """The sealed entries in a segment; `DamagedError` if it is not exactly a thousand of them.

    An entry whose body was altered is found later, when it is opened; its neighbours can still be read.
    """
    view, entries, offset = memoryview(data), [], 0
    try:
        while offset < len(data):
            length = read_header(view[offset:]).blob_bytes
            entries.append(bytes(view[offset : offset + length]))
            offset += length
    except SealBrokenError as error:
        raise DamagedError(f"object {name} is damaged: {error}", object_name=name) from error
    if offset != len(data) or len(entries) != SEGMENT_ENTRIES:
        raise DamagedError(
            f"object {name} is damaged: expected {SEGMENT_ENTRIES} entries, found {len(entries)} in "
            f"{len(data)} bytes",
            object_name=name,
        )
    return entries


def name_of(position: int) -> str:
    """The segment that holds this position, once it is folded."""
    return layout.segment(first_of(position))
