"""What a reading may build on: for the whole source, and for each of its tables.

Invariant: whatever is read although a parent is there has a reason in plain words, which the report shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from holdfast.domain.manifest import BlobRef, RangeRecord, TableManifest
from holdfast.domain.proof import (
    Position,
    is_quiet,
    objection_to_parent,
    objection_to_reading_less,
    objection_to_table,
    records_by_page,
)
from holdfast.domain.ranges import Cutting, PageRange
from holdfast.domain.tables import Table
from holdfast.workflows.parent import Parent
from holdfast.workflows.plan import Sizes, cutting_of, ranges_of

FIRST = "there is no earlier snapshot to build on"
ASKED = "a full reading was asked for"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the parent can prove for a whole source.

    `parent_xmin` None: nothing at all. `reason`: why everything is read; empty if it is not. With both, the proof
    is not relied on but tested: what it calls unchanged is read, and compared. `quiet`: no transaction has written
    anything since.
    """

    reason: str
    parent_xmin: int | None = None
    quiet: bool = False
    read_in_full_at: datetime

    @property
    def proves(self) -> bool:
        return self.parent_xmin is not None

    @property
    def relied_on(self) -> bool:
        return self.proves and not self.reason


def find_ground(parent: Parent, now: Position, *, full: bool, full_every_days: float) -> Ground:
    moment = now.instant.taken_at
    root = parent.root
    if root is None:
        return Ground(reason=FIRST, read_in_full_at=moment)
    before = Position(lineage=root.lineage, instant=root.instant, server_version=root.database.server_version)
    if objection := objection_to_parent(before, now):
        return Ground(reason=objection, read_in_full_at=moment)
    read_in_full_at = root.read_in_full_at or root.instant.taken_at
    due = (
        ASKED if full else objection_to_reading_less(read_in_full_at, moment, full_every_days=full_every_days)
    )
    return Ground(
        reason=due,
        parent_xmin=root.instant.xmin,
        quiet=is_quiet(root.instant, now.instant),
        read_in_full_at=moment if due else read_in_full_at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """How one table is read: its ranges, and of which of them the parent's record is there and may be proven.

    `known` are the parent's chunks of it that are present, by identity. `before` are the parent's records by their
    first page, without those whose chunks are not all present; None if no range can be proven, or it need not be.
    `is_whole`: none of the records is missing. `reason`: why the table is read in full.
    """

    table: Table
    cutting: Cutting
    ranges: tuple[PageRange, ...]
    known: Mapping[bytes, BlobRef]
    before: Mapping[int, RangeRecord] | None = None
    is_whole: bool = False
    reason: str = ""


def find_bases(
    tables: Iterable[Table], parent: Parent, ground: Ground, *, server_version: int, sizes: Sizes
) -> list[Basis]:
    by_oid = {manifest.oid: manifest for manifest in parent.tables.values()} if ground.proves else {}
    bases = []
    for table in tables:
        before = by_oid.get(table.oid) or parent.tables.get(table.name)
        bases.append(_basis(table, before, parent, ground, server_version=server_version, sizes=sizes))
    return bases


def _basis(
    table: Table,
    before: TableManifest | None,
    parent: Parent,
    ground: Ground,
    *,
    server_version: int,
    sizes: Sizes,
) -> Basis:
    cutting = cutting_of(table, before, server_version=server_version, sizes=sizes)
    known = {} if before is None else parent.chunks_of(before)
    objection = objection_to_table(table, before, cutting=cutting) if ground.proves else ""
    if before is None or objection or not ground.proves:
        return Basis(
            table=table,
            cutting=cutting,
            ranges=ranges_of(table.pages, cutting.pages_per_range),
            known=known,
            reason=ground.reason or objection,
        )
    records = records_by_page(before)
    present = {
        first: record
        for first, record in records.items()
        if all(known.get(chunk.blob.identity) == chunk.blob for chunk in record.chunks)
    }
    # Every range of the parent keeps its beginning, also if the table's file has become shorter since.
    pages = max(table.pages, max(records) + 1)
    return Basis(
        table=table,
        cutting=cutting,
        ranges=ranges_of(pages, cutting.pages_per_range),
        known=known,
        before=present,
        is_whole=len(present) == len(records),
        reason=ground.reason,
    )
