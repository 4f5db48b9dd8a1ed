"""Ranges cut into chunks of whole rows, where the rows themselves say so: the unit of storing and of dedup.

The cuts depend on nothing but the rows from the last cut on. So where a row changes, its own chunk changes, and
the cuts after it stay where they were, or come back after a few chunks; and two readings of the same rows, in
whatever pieces they arrive, are cut alike.
"""

from __future__ import annotations

import math
from zlib import crc32

LEAST_CHUNK_BYTES = 256 * 1024
MOST_CHUNK_BYTES = 16 * 1024 * 1024
# Where bytes came or went, the cuts after it must find back to where they were. With a window of a quarter they do
# so after 1.4 chunks, when 8 kB came in between; with one of an eighth after 8; and one of a half costs twice as
# much to look through.
_WINDOW_SHARE = 4
# A table's manifest names each of its chunks, in about 50 bytes, and is stored anew whenever one of them changes;
# so is each changed chunk, a few per snapshot, at about a quarter of its size. With five of them, both cost the
# same where chunk_bytes is the root of 40 times the table's size.
_BALANCE = 40


def choose_chunk_bytes(size_bytes: int, *, least: int = LEAST_CHUNK_BYTES) -> int:
    """About how big a table's chunks should be, in bytes of COPY text: `least` for small tables, times a power of
    two for those of gigabytes."""
    wanted = math.sqrt(_BALANCE * max(size_bytes, 0))
    doublings = max(0, round(math.log2(max(wanted, 1) / least)))
    return max(least, min(least << doublings, MOST_CHUNK_BYTES))


def most_bytes(chunk_bytes: int) -> int:
    """No chunk is longer, unless it is a single row."""
    return chunk_bytes + _half_window(chunk_bytes)


def next_cut(data: bytes | bytearray, start: int, end: int, chunk_bytes: int) -> int | None:
    """Where the chunk that begins at `start` ends; None if `data[start:end]` is not longer than one chunk may be.

    `data[start:end]` are whole rows, each ended by a newline. Within a window around `chunk_bytes`, the cut goes
    behind the row with the least checksum: an arbitrary choice, but the same wherever the window begins. Where no
    row ends in the window, the row that spans it begins a chunk, and is one by itself.
    """
    if end - start <= most_bytes(chunk_bytes):
        return None
    stop = start + most_bytes(chunk_bytes)
    least = start + chunk_bytes - _half_window(chunk_bytes)
    first = data.find(b"\n", least - 1, end) + 1
    if first > stop:
        return data.rfind(b"\n", start, least - 1) + 1 or first
    last = data.rfind(b"\n", first, stop)
    if last < 0:
        return first
    rows = bytes(memoryview(data)[first:last]).split(b"\n")
    checksums = list(map(crc32, rows))
    chosen = checksums.index(min(checksums))
    return first + sum(map(len, rows[: chosen + 1])) + chosen + 1


def _half_window(chunk_bytes: int) -> int:
    return max(1, chunk_bytes // (2 * _WINDOW_SHARE))
