"""Tables cut into runs of heap pages: the unit of reading, change proof, dedup, parallelism and retry.

The last range is open-ended, since a relation's size is not an MVCC boundary: rows may be found on pages
that were added after the size was asked, and a snapshot may need them.
"""

from __future__ import annotations

from dataclasses import dataclass

TARGET_RANGE_BYTES = 16 * 1024 * 1024
# An empty table's pages will be like this, as a rule.
_PLAIN_PAGE_BYTES = 8192


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PageRange:
    """Heap pages `first` (inclusive) to `end` (exclusive); `end` None means to the end of the table."""

    first: int
    end: int | None

    def __post_init__(self) -> None:
        if self.first < 0 or (self.end is not None and self.end <= self.first):
            raise ValueError(f"not a range of pages: {self.first} to {self.end}")


WHOLE = PageRange(first=0, end=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutting:
    """How a table is cut, kept from snapshot to snapshot while it fits, since moving cuts destroys dedup.

    `pages_per_range` 0: it is read as one piece. `chunk_bytes`: about how big its chunks are (`domain/chunks.py`).
    """

    pages_per_range: int
    chunk_bytes: int


def choose_pages_per_range(*, pages: int, size_bytes: int, target_bytes: int = TARGET_RANGE_BYTES) -> int:
    """Pages for about `target_bytes` of heap and TOAST together: a 3 GB heap may carry 900 GB of TOAST."""
    if pages <= 0:
        return max(1, target_bytes // _PLAIN_PAGE_BYTES)
    bytes_per_page = max(size_bytes / pages, 1)
    return max(1, round(target_bytes / bytes_per_page))


def cut(*, pages: int, pages_per_range: int) -> tuple[PageRange, ...]:
    """Ranges at fixed boundaries (multiples of `pages_per_range`), the last one open-ended.

    The boundaries depend on `pages_per_range` only, so a growing table keeps all earlier ones.
    """
    if pages_per_range < 1:
        raise ValueError(f"pages per range must be positive, got {pages_per_range}")
    starts = list(range(0, max(pages, 1), pages_per_range))
    ends: list[int | None] = [*starts[1:], None]
    return tuple(PageRange(first=first, end=end) for first, end in zip(starts, ends, strict=True))


def open_ended(pages: PageRange) -> PageRange:
    return PageRange(first=pages.first, end=None)
