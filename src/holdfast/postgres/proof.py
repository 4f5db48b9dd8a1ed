"""Asking the server whether ranges hold only old rows, and how many: many ranges in one statement.

The server looks at the heads of rows only: it reads no TOAST, writes no text, and sends a line for each range.
What the answer proves is domain/proof.py's to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.domain.proof import Seen
from holdfast.domain.ranges import PageRange
from holdfast.domain.tables import QualifiedName
from holdfast.postgres.copy import RangeReader, page_conditions
from holdfast.postgres.names import qualified

# Each range is planned on its own; a statement of many takes memory and cannot be stopped while it is planned.
RANGES_PER_STATEMENT = 250
_XIDS = 2**32


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One range of a table, which is locked."""

    table: QualifiedName
    pages: PageRange


def look_at(reader: RangeReader, ranges: Sequence[Asked], *, parent_xmin: int) -> list[Seen]:
    """What each range holds under the reader's snapshot. `parent_xmin` is the parent's, in 64 bits."""
    seen: list[Seen] = []
    for start in range(0, len(ranges), RANGES_PER_STATEMENT):
        group = ranges[start : start + RANGES_PER_STATEMENT]
        statement = " UNION ALL ".join(
            _count(place, asked, parent_xmin % _XIDS) for place, asked in enumerate(group)
        )
        answers = {place: Seen(rows=rows, old=bool(old)) for place, rows, old in reader.query(statement)}
        seen.extend(answers[place] for place in range(len(group)))
    return seen


def _count(place: int, asked: Asked, xid: int) -> str:
    """The age of rows that were frozen before 9.4 is the greatest there is. Without rows there is no youngest."""
    conditions = page_conditions(asked.pages)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return (
        f"SELECT {place}, pg_catalog.count(*), "  # noqa: S608 - quoted by names
        "CASE WHEN pg_catalog.min(pg_catalog.age(t.xmin)) "
        f"OPERATOR(pg_catalog.<=) pg_catalog.age('{xid}'::pg_catalog.xid) THEN 0 ELSE 1 END "
        f"FROM ONLY {qualified(asked.table)} AS t{where}"
    )
