"""What a snapshot consists of: chunks make ranges, ranges make tables, tables make a snapshot.

Pure values. How they are written is the repository's business (docs/FORMAT.md).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from holdfast.domain.coverage import CoverageEntry
from holdfast.domain.ids import SnapshotId
from holdfast.domain.ranges import Cutting, PageRange
from holdfast.domain.tables import Column, QualifiedName, SequenceValue, Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobRef:
    """Where one sealed blob lies: `length` bytes from `offset` in the object `object_name`.

    `identity` is the keyed BLAKE3 of its plaintext, `plain_bytes` the plaintext's length. `object_bytes` is
    the whole object's size and `object_md5` its MD5 (hexadecimal), for the levels that do not open it.
    """

    object_name: str
    offset: int
    length: int
    object_bytes: int
    object_md5: str
    identity: bytes
    plain_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRef:
    """A sealed piece of COPY text: `rows` whole rows."""

    blob: BlobRef
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeRecord:
    """One range as it was captured: its rows are its chunks' rows, in order. No chunk if it held no rows."""

    pages: PageRange
    rows: int
    chunks: tuple[ChunkRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableManifest:
    """All of one table. Nothing in it belongs to one snapshot only, so an unchanged table's is reused as it is.

    Its `cutting` has 0 pages per range if it was read as one piece (no heap, or a server below 14).
    """

    oid: int
    name: QualifiedName
    columns: tuple[Column, ...]
    filenode: int | None
    fingerprint: str | None
    unlogged: bool
    condition: str
    extension: str | None
    load_via: QualifiedName | None
    cutting: Cutting
    ranges: tuple[RangeRecord, ...]

    @property
    def rows(self) -> int:
        return sum(record.rows for record in self.ranges)

    @property
    def plain_bytes(self) -> int:
        return sum(chunk.blob.plain_bytes for chunk in self.chunks())

    def chunks(self) -> Iterator[ChunkRef]:
        for record in self.ranges:
            yield from record.chunks


@dataclass(frozen=True, slots=True, kw_only=True)
class TableEntry:
    """A table as the root names it; `manifest` is where its table manifest lies."""

    oid: int
    name: QualifiedName
    tier: Tier
    rows: int
    plain_bytes: int
    manifest: BlobRef


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeObject:
    """One large object; its bytes are `size_bytes` long, cut into pieces.

    `statements` restore its owner, ACL and comment, in this order.
    """

    oid: int
    size_bytes: int
    pieces: tuple[BlobRef, ...]
    statements: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeObjectsRef:
    """Large objects as the root names them: `lists` are sealed lists of LargeObject."""

    count: int
    size_bytes: int
    lists: tuple[BlobRef, ...]


UNKNOWN_SYSTEM = "unknown"
UNKNOWN_TIMELINE = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """What must be the same for two snapshots to speak of the same physical rows.

    `server_run` tells apart the times that one server ran: what a disk that was put back to an earlier state holds
    has the same identifier and timeline, but had to be started. Empty if it is not known.
    """

    system_identifier: str
    timeline: int
    database_oid: int
    server_run: str = ""

    @property
    def is_known(self) -> bool:
        """Whether the role was allowed to ask; what is unknown is the same as nothing."""
        return self.system_identifier != UNKNOWN_SYSTEM and self.timeline != UNKNOWN_TIMELINE


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """The one consistent moment that a snapshot shows.

    `xmin`, `xmax` are the 64-bit bounds of pg_current_snapshot(); `wal_lsn` the WAL position (replayed, on a
    standby), or None where the role may not ask. `taken_at` is the server's clock, aware, UTC.
    """

    taken_at: datetime
    xmin: int
    xmax: int
    wal_lsn: str | None
    on_standby: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role as restore can bring it back: `options` as CREATE ROLE takes them, without any password."""

    name: str
    options: tuple[str, ...]
    settings: tuple[str, ...] = ()
    comment: str | None = None
    has_password: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleMembership:
    role: str
    member: str
    grantor: str | None
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """The database itself: how to create one like it, and which statements make it so.

    `statements` are complete SQL statements in which the database's own name is written as the placeholder
    `:"database"` (settings, ACL, comment, security labels), to be run after the definitions.
    """

    name: str
    owner: str
    encoding: str
    locale_provider: str
    collate: str | None
    ctype: str | None
    locale: str | None
    icu_rules: str | None
    server_version: int
    server_version_text: str
    statements: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveRef:
    """The definitions: one pg_dump custom-format archive, in pieces; and which tool wrote it.

    `fingerprint` is a digest of all that the archive depends on beside the age of the catalogs' rows; None if the
    definitions can never be proven unchanged.
    """

    pieces: tuple[BlobRef, ...]
    size_bytes: int
    tool_version: str
    fingerprint: str | None = None


class SnapshotState(enum.StrEnum):
    COMMITTED = "committed"
    PARTIAL = "partial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a copy comes from: the id of the repository in which the snapshot was taken, and its id there.

    `settled`: when this copy was made, every snapshot of the source that was taken in that repository, up to that
    id, was here, had been removed for good, or had been passed over on purpose; what is newer may be missing.
    """

    repository: str
    snapshot: SnapshotId
    settled: SnapshotId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """The root manifest: everything that one snapshot is. `origin` is None where the snapshot was taken.

    `read_in_full_at` is the moment of the newest snapshot before it, or of itself, for which all rows were read.
    """

    snapshot: SnapshotId
    source: str
    parent: SnapshotId | None
    tags: tuple[str, ...]
    started_at: datetime
    holdfast_version: str
    lineage: Lineage
    instant: Instant
    database: DatabaseFacts
    archive: ArchiveRef
    tables: tuple[TableEntry, ...]
    sequences: tuple[SequenceValue, ...]
    large_objects: LargeObjectsRef
    matviews: tuple[QualifiedName, ...]
    roles: tuple[Role, ...]
    memberships: tuple[RoleMembership, ...]
    coverage: tuple[CoverageEntry, ...]
    journal_position: int
    origin: Origin | None = None
    read_in_full_at: datetime | None = None

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)

    @property
    def plain_bytes(self) -> int:
        return sum(table.plain_bytes for table in self.tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSummary:
    """What a listing says of a snapshot without reading its root; it stands in the outcome."""

    snapshot: SnapshotId
    source: str
    taken_at: datetime
    state: SnapshotState
    tags: tuple[str, ...]
    tables: int
    rows: int
    plain_bytes: int
    stored_bytes: int
    parent: SnapshotId | None
    root: BlobRef
    origin: Origin | None = None
