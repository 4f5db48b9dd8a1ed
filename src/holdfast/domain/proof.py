"""Whether what a range holds can be proven unchanged since the parent snapshot, and why not.

The proof: no row of the range has an xmin from the parent's on, and there are as many rows as there were. A row
that is visible now and older than the parent's xmin was visible to the parent, too: everything below that xmin
was decided by then, and nothing that was deleted comes back. So the rows are among those of the parent, and as
many, so they are the same; rows keep their place while the table keeps its file, so they come in the same order;
and their text is the same while the fingerprint is. The whole argument is in docs/decisions.

Invariant: whatever is not known speaks against the proof. A wrong objection costs a reading, a missing one rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from holdfast.domain.manifest import Instant, Lineage, RangeRecord, TableManifest
from holdfast.domain.ranges import Cutting
from holdfast.domain.tables import Table

# ctid ranges are read by a TID range scan from PostgreSQL 14 on; before, every range would scan the table.
RANGES_FROM_VERSION = 140_000
# age() compares transaction ids within half their circle. Transactions go on while the ranges are looked at, so
# the parent has to be nearer than that.
XIDS_COMPARABLE = 2**31 - 2**26
# A weekly backup that starts a little earlier than last week's is due all the same.
DUE_EARLIER = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where and when a snapshot was taken: what two of them are compared by."""

    lineage: Lineage
    instant: Instant
    server_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the server says of a range: how many rows it holds, and whether all of them are older than the
    parent's xmin."""

    rows: int
    old: bool


def objection_to_reading_less(read_in_full_at: datetime, now: datetime, *, full_every_days: float) -> str:
    """Why everything is to be read although it might be proven; empty if it is not due."""
    age = now - read_in_full_at
    if age + DUE_EARLIER < timedelta(days=full_every_days):
        return ""
    return f"a full reading is due: the last one was {age.total_seconds() / 86400:.1f} days ago"


def objection_to_parent(before: Position, now: Position) -> str:
    """Why nothing of this source can be proven by the parent; empty if it can."""
    return (
        _objection_to_server(before, now)
        or _objection_to_lineage(before.lineage, now.lineage)
        or _objection_to_instants(before.instant, now.instant)
    )


def _objection_to_server(before: Position, now: Position) -> str:
    if now.server_version < RANGES_FROM_VERSION:
        return "the server is older than PostgreSQL 14, and cannot look at parts of a table"
    if before.server_version != now.server_version:
        return "the server was upgraded"
    return ""


def _objection_to_lineage(before: Lineage, now: Lineage) -> str:
    if not now.is_known or not now.server_run:
        return "this role may not ask which server this is"
    if not before.is_known or not before.server_run:
        return "the parent does not say which server it was taken from"
    if before.system_identifier != now.system_identifier:
        return "this is another server"
    if before.timeline != now.timeline:
        return f"there was a failover or a recovery (timeline {before.timeline}, now {now.timeline})"
    if before.database_oid != now.database_oid:
        return "the database was created anew"
    if before.server_run != now.server_run:
        return "the server was restarted, is another of the cluster, or had its statistics reset"
    return ""


def _objection_to_instants(before: Instant, now: Instant) -> str:
    if now.xmin < before.xmin or now.xmax < before.xmax:
        return "this server is behind the parent"
    if now.xmax - before.xmin >= XIDS_COMPARABLE:
        return "too many transactions ran since the parent"
    return ""


def is_quiet(before: Instant, now: Instant) -> bool:
    """Whether no transaction that wrote anything has ended since the parent, in the whole cluster.

    `xmax` is one past the newest that has ended, and `xmin` the oldest that had not. Asked after
    `objection_to_parent`.
    """
    return before.xmin == now.xmax


def objection_to_table(table: Table, before: TableManifest | None, *, cutting: Cutting) -> str:
    """Why no range of this table can be proven by the parent; empty if each can. `before` has its name or oid."""
    if table.unprovable or table.fingerprint is None:
        return table.unprovable or "its types are not known"
    if before is None:
        return "it is new"
    if before.oid != table.oid:
        return "it was dropped and created anew"
    if table.filenode is None or before.filenode != table.filenode:
        return "it was rewritten, as by TRUNCATE, VACUUM FULL, CLUSTER or ALTER TABLE"
    if before.fingerprint != table.fingerprint:
        return "its columns or their types changed"
    if before.cutting != cutting or cutting.pages_per_range == 0:
        return "it is cut anew, since its size changed a lot"
    return ""


def is_unchanged(seen: Seen, record: RangeRecord | None) -> bool:
    """Whether the range that begins where `record` does holds what it did.

    The last range of the parent was open-ended, and may be bounded now. Its rows are among the parent's all the
    same, so if they are as many, they are those.
    """
    return record is not None and seen.old and seen.rows == record.rows


def records_by_page(manifest: TableManifest) -> Mapping[int, RangeRecord]:
    return {record.pages.first: record for record in manifest.ranges}
