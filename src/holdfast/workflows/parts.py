"""Range tasks as plain data: what a worker is given, and what it hands back. All of it pickles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import BlobRef, RangeRecord
from holdfast.domain.ranges import PageRange
from holdfast.domain.tables import Table
from holdfast.postgres.copy import ReadSpec
from holdfast.repository.runs.reuse import LeftBlobs
from holdfast.repository.seal import Sealer
from holdfast.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """What every worker of a run needs. Pickles with a storage that another process can reach.

    `parent_xmin`: the parent's, in 64 bits, if it can prove anything. `rely` False: what is proven unchanged is
    read all the same, and compared.
    """

    snapshot: SnapshotId
    read: ReadSpec
    storage: Storage
    sealer: Sealer
    level: int
    left: LeftBlobs
    parent_xmin: int | None = None
    rely: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePart:
    """Some ranges of one table, and about how big their chunks shall be.

    `known` are the parent's chunks of it that are present, by identity. `before` are the parent's records of these
    ranges by their first page, as far as their chunks are present; None if no range of the table can be proven
    unchanged.
    """

    table: Table
    ranges: tuple[PageRange, ...]
    chunk_bytes: int
    known: Mapping[bytes, BlobRef] = field(default_factory=dict)
    before: Mapping[int, RangeRecord] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeTask:
    context: WorkerContext
    parts: tuple[TablePart, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartResult:
    """One part, captured: the ranges that were read, and those that were proven unchanged, or found empty.

    `refuted` are ranges that the proof called unchanged although they were not: there should be none, ever.
    """

    oid: int
    read: tuple[RangeRecord, ...]
    proven: tuple[RangeRecord, ...]
    refuted: tuple[PageRange, ...]
    bytes_stored: int
    chunks_stored: int
    chunks_reused: int
