"""Proving ranges unchanged within a task, before any of them is read.

Where the first ranges of a part turn out changed, the rest of it is read without being looked at first: rows that
change everywhere shall not cost a look at every page in vain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from holdfast.domain.manifest import RangeRecord
from holdfast.domain.proof import Seen, is_unchanged
from holdfast.domain.ranges import PageRange
from holdfast.postgres.copy import RangeReader
from holdfast.postgres.proof import Asked, look_at
from holdfast.workflows.parts import TablePart

PROBES = 2


class Proofs:
    """What the server said of the ranges of some parts, and what follows from it."""

    def __init__(self, reader: RangeReader, parent_xmin: int) -> None:
        self._reader = reader
        self._parent_xmin = parent_xmin
        self._seen: dict[tuple[int, int], Seen] = {}

    def ask(self, parts: Sequence[TablePart]) -> None:
        provable = [part for part in parts if part.before is not None]
        self._ask((part, pages) for part in provable for pages in part.ranges[:PROBES])
        hopeful = [
            part
            for part in provable
            if any(self.record(part, pages) is not None for pages in part.ranges[:PROBES])
        ]
        self._ask((part, pages) for part in hopeful for pages in part.ranges[PROBES:])

    def _ask(self, wanted: Iterable[tuple[TablePart, PageRange]]) -> None:
        items = list(wanted)
        asked = [Asked(table=part.table.name, pages=pages) for part, pages in items]
        answers = look_at(self._reader, asked, parent_xmin=self._parent_xmin)
        for (part, pages), seen in zip(items, answers, strict=True):
            self._seen[part.table.oid, pages.first] = seen

    def record(self, part: TablePart, pages: PageRange) -> RangeRecord | None:
        """What the range holds, if that is known without reading it: what it held before, or nothing."""
        seen = self._seen.get((part.table.oid, pages.first))
        if seen is None or part.before is None:
            return None
        if seen.rows == 0:
            return RangeRecord(pages=pages, rows=0, chunks=())
        record = part.before.get(pages.first)
        if record is None or not is_unchanged(seen, record):
            return None
        return RangeRecord(pages=pages, rows=record.rows, chunks=record.chunks)
