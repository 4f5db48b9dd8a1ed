"""Proving ranges unchanged within a task, before any of them is read.

A look at all rows of a range costs the server about an eighth of reading it. So a few pages at its beginning are
looked at first: where rows change everywhere, those tell, and the range is read without a look at the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.domain.manifest import RangeRecord
from holdfast.domain.proof import Seen, is_unchanged
from holdfast.domain.ranges import PageRange
from holdfast.postgres.copy import RangeReader
from holdfast.postgres.proof import Asked, look_at
from holdfast.workflows.parts import TablePart

# Of a range of 2048 pages, 64. Too short for a sample, all of it is looked at at once.
SAMPLE_SHARE = 32

Wanted = tuple[TablePart, PageRange]


class Proofs:
    """What the server said of the ranges of some parts, and what follows from it."""

    def __init__(self, reader: RangeReader, parent_xmin: int) -> None:
        self._reader = reader
        self._parent_xmin = parent_xmin
        self._seen: dict[tuple[int, int], Seen] = {}

    def ask(self, parts: Sequence[TablePart]) -> None:
        provable = [(part, pages) for part in parts if part.before is not None for pages in part.ranges]
        samples = [sample for item in provable if (sample := _sample(item)) is not None]
        changed = {
            _place(sample)
            for sample, seen in zip(samples, self._look(samples), strict=True)
            if seen.rows and not seen.old
        }
        wanted = [item for item in provable if _place(item) not in changed]
        for item, seen in zip(wanted, self._look(wanted), strict=True):
            self._seen[_place(item)] = seen

    def _look(self, wanted: Sequence[Wanted]) -> list[Seen]:
        asked = [Asked(table=part.table.name, pages=pages) for part, pages in wanted]
        return look_at(self._reader, asked, parent_xmin=self._parent_xmin)

    def record(self, part: TablePart, pages: PageRange) -> RangeRecord | None:
        """What the range holds, if that is known without reading it: what it held before, or nothing."""
        seen = self._seen.get(_place((part, pages)))
        if seen is None or part.before is None:
            return None
        if seen.rows == 0:
            return RangeRecord(pages=pages, rows=0, chunks=())
        record = part.before.get(pages.first)
        if record is None or not is_unchanged(seen, record):
            return None
        return RangeRecord(pages=pages, rows=record.rows, chunks=record.chunks)


def _place(item: Wanted) -> tuple[int, int]:
    part, pages = item
    return part.table.oid, pages.first


def _sample(item: Wanted) -> Wanted | None:
    """The first pages of a range; None if it is short."""
    part, pages = item
    length = (part.table.pages if pages.end is None else pages.end) - pages.first
    if length < SAMPLE_SHARE:
        return None
    return part, PageRange(first=pages.first, end=pages.first + length // SAMPLE_SHARE)
