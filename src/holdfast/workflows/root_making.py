"""What was captured becomes a root that can be committed: manifests and definitions are stored."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime

from holdfast import __version__
from holdfast.domain.coverage import CoverageEntry, CoverageStatus
from holdfast.domain.manifest import ArchiveRef, BlobRef, LargeObjectsRef, Root, TableEntry
from holdfast.domain.tables import TierRule, tier_of
from holdfast.postgres.schema import Definitions
from holdfast.postgres.session import Taken
from holdfast.repository.runs.locking import referenced
from holdfast.repository.runs.reuse import LeftBlobs
from holdfast.repository.runs.run import Run
from holdfast.repository.seal import ObjectType
from holdfast.repository.table_codec import encode_large_objects
from holdfast.repository.table_store import resolve, store_tables
from holdfast.workflows.capture import Captured, with_statements
from holdfast.workflows.parent import Parent, ReusingWriter

# An archive's first bytes hold the moment at which it was made; past them, unchanged definitions are the same
# bytes. Cut there, all but one tiny piece is reused (magic, versions and seven integers end before byte 64).
ARCHIVE_HEAD_BYTES = 64
ARCHIVE_PIECE_BYTES = 8 * 1024 * 1024
LARGE_OBJECTS_PER_LIST = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RootOrder:
    """All that goes into one root. `archive`: the definitions, new or the parent's."""

    run: Run
    source_name: str
    tiers: tuple[TierRule, ...]
    tags: tuple[str, ...]
    started_at: datetime
    parent: Parent
    left: LeftBlobs
    taken: Taken
    captured: Captured
    archive: Definitions | ArchiveRef
    fingerprint: str | None
    read_in_full_at: datetime


def make_root(order: RootOrder) -> tuple[Root, int]:
    """The root, and how many bytes were stored for it."""
    taken = order.taken
    repository, known = order.run.repository, order.parent.known
    data = ReusingWriter(order.run.data_writer(), repository, known)
    table_writer = order.run.table_writer()
    meta = ReusingWriter(table_writer, repository, known)
    if isinstance(order.archive, Definitions):
        for piece in _archive_pieces(order.archive.archive):
            data.add(ObjectType.ARCHIVE, piece)
    manifests = order.captured.manifests
    places = store_tables(table_writer, repository.sealer, manifests, order.parent.known_tables)
    statements = {item.oid: item.statements for item in taken.large_objects}
    large_objects = with_statements(order.captured.large_objects, statements)
    for start in range(0, len(large_objects), LARGE_OBJECTS_PER_LIST):
        group = large_objects[start : start + LARGE_OBJECTS_PER_LIST]
        meta.add(ObjectType.LARGE_OBJECTS, encode_large_objects(group))
    pieces, lists = data.finish(), meta.finish()
    entries = tuple(
        TableEntry(
            oid=manifest.oid,
            name=manifest.name,
            tier=tier_of(manifest.name, order.tiers),
            rows=manifest.rows,
            plain_bytes=manifest.plain_bytes,
            manifest=reference,
        )
        for manifest, reference in zip(manifests, resolve(table_writer, places), strict=True)
    )
    root = Root(
        snapshot=order.run.snapshot,
        source=order.source_name,
        parent=order.parent.snapshot,
        tags=order.tags,
        started_at=order.started_at,
        holdfast_version=__version__,
        lineage=taken.lineage,
        instant=taken.instant,
        database=taken.database,
        archive=_archive_of(order.archive, pieces, order.fingerprint),
        tables=entries,
        sequences=taken.sequences,
        large_objects=LargeObjectsRef(
            count=len(large_objects),
            size_bytes=sum(item.size_bytes for item in large_objects),
            lists=lists,
        ),
        matviews=taken.matviews,
        roles=taken.roles,
        memberships=taken.memberships,
        coverage=(
            *_captured_entries(entries, len(large_objects)),
            *taken.coverage,
            *_definitions_entries(order.archive, taken.database.name),
        ),
        journal_position=0,
        read_in_full_at=order.read_in_full_at,
    )
    order.run.keep_locked(
        referenced(root, manifests, large_objects),
        base=root.parent,
        adopted=order.left.snapshots(),
    )
    return root, data.stored_bytes + meta.stored_bytes


def _archive_of(
    definitions: Definitions | ArchiveRef, pieces: tuple[BlobRef, ...], fingerprint: str | None
) -> ArchiveRef:
    """What pg_dump warned of has to be heard each time, so then it is called again."""
    if isinstance(definitions, ArchiveRef):
        return definitions
    return ArchiveRef(
        pieces=pieces,
        size_bytes=len(definitions.archive),
        tool_version=definitions.tool_version,
        fingerprint=None if definitions.warnings else fingerprint,
    )


def _definitions_entries(definitions: Definitions | ArchiveRef, database: str) -> tuple[CoverageEntry, ...]:
    if isinstance(definitions, Definitions):
        return definitions.coverage
    entry = CoverageEntry(
        kind="definitions",
        name=database,
        status=CoverageStatus.CAPTURED,
        reason=f"by pg_dump {definitions.tool_version}, and proven unchanged since",
    )
    return (entry,)


def _archive_pieces(archive: bytes) -> list[memoryview]:
    view = memoryview(archive)
    cuts = [0, *range(ARCHIVE_HEAD_BYTES, len(archive), ARCHIVE_PIECE_BYTES), len(archive)]
    return [view[first:end] for first, end in itertools.pairwise(cuts) if end > first]


def _captured_entries(tables: tuple[TableEntry, ...], large_objects: int) -> list[CoverageEntry]:
    entries = [
        CoverageEntry(kind="table", name=str(table.name), status=CoverageStatus.CAPTURED) for table in tables
    ]
    if large_objects:
        text = f"{large_objects} large objects"
        entries.append(CoverageEntry(kind="large objects", name=text, status=CoverageStatus.CAPTURED))
    return entries
