"""Manifests of made-up snapshots, for measurements and for tests: what nobody looks at is filled in here, once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from holdfast.domain.chunks import LEAST_CHUNK_BYTES
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import (
    ArchiveRef,
    BlobRef,
    ChunkRef,
    DatabaseFacts,
    Instant,
    LargeObjectsRef,
    Lineage,
    RangeRecord,
    Root,
    TableEntry,
    TableManifest,
)
from holdfast.domain.ranges import Cutting, PageRange
from holdfast.domain.tables import Column, QualifiedName, Tier

DATABASE = DatabaseFacts(
    name="shop",
    owner="owner",
    encoding="UTF8",
    locale_provider="libc",
    collate="C",
    ctype="C",
    locale=None,
    icu_rules=None,
    server_version=180000,
    server_version_text="18.0",
)
_PAGES = 10


def table_of(oid: int, name: str, chunks: Sequence[ChunkRef]) -> TableManifest:
    """A table of one column in `public`, in ranges of ten pages with a chunk each; the last is open-ended."""
    last = len(chunks) - 1
    return TableManifest(
        oid=oid,
        name=QualifiedName(schema="public", name=name),
        columns=(Column(attnum=1, name="line", type_name="text"),),
        filenode=oid,
        fingerprint=None,
        unlogged=False,
        condition="",
        extension=None,
        load_via=None,
        cutting=Cutting(pages_per_range=_PAGES, chunk_bytes=LEAST_CHUNK_BYTES),
        ranges=tuple(
            RangeRecord(
                pages=PageRange(first=place * _PAGES, end=None if place == last else (place + 1) * _PAGES),
                rows=chunk.rows,
                chunks=(chunk,),
            )
            for place, chunk in enumerate(chunks)
        ),
    )


def entry_of(manifest: TableManifest, reference: BlobRef) -> TableEntry:
    return TableEntry(
        oid=manifest.oid,
        name=manifest.name,
        tier=Tier.NORMAL,
        rows=manifest.rows,
        plain_bytes=manifest.plain_bytes,
        manifest=reference,
    )


def root_of(
    *,
    snapshot: SnapshotId,
    source: str,
    parent: SnapshotId | None,
    at: datetime,
    archive: ArchiveRef,
    tables: Iterable[TableEntry],
) -> Root:
    """A database of tables and their definitions, with nothing else in it."""
    return Root(
        snapshot=snapshot,
        source=source,
        parent=parent,
        tags=(),
        started_at=at,
        holdfast_version="0",
        lineage=Lineage(system_identifier="7", timeline=1, database_oid=5),
        instant=Instant(taken_at=at, xmin=700, xmax=701, wal_lsn="0/1"),
        database=DATABASE,
        archive=archive,
        tables=tuple(tables),
        sequences=(),
        large_objects=LargeObjectsRef(count=0, size_bytes=0, lists=()),
        matviews=(),
        roles=(),
        memberships=(),
        coverage=(),
        journal_position=0,
    )
