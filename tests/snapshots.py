"""Snapshots made up without a server, for tests of the repository alone: every object type is in them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from holdfast.domain.coverage import CoverageEntry, CoverageStatus
from holdfast.domain.ids import SnapshotId, make_snapshot_id
from holdfast.domain.manifest import (
    ArchiveRef,
    BlobRef,
    ChunkRef,
    DatabaseFacts,
    Instant,
    LargeObject,
    LargeObjectsRef,
    Lineage,
    RangeRecord,
    Role,
    RoleMembership,
    Root,
    SnapshotState,
    SnapshotSummary,
    TableEntry,
    TableManifest,
)
from holdfast.domain.ranges import Cutting, PageRange
from holdfast.domain.tables import Column, QualifiedName, SequenceValue, Tier
from holdfast.repository.blobs import BlobWriter
from holdfast.repository.repo import Repository
from holdfast.repository.runs.predecessors import find_predecessors
from holdfast.repository.runs.run import Run
from holdfast.repository.seal import ObjectType
from holdfast.repository.table_codec import encode_large_objects, encode_table

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
    statements=("ALTER DATABASE :\"database\" SET work_mem = '8MB'",),
)


def now() -> datetime:
    return datetime.now(UTC)


def begin(repository: Repository, source: str = "shop") -> Run:
    """A run as the backup workflow begins it."""
    time.sleep(0.001)  # ids of one millisecond have no order
    snapshot = make_snapshot_id(now(), os.urandom(10))
    predecessors = find_predecessors(repository, source, now=now())
    return Run.begin(
        repository, snapshot=snapshot, source=source, predecessors=predecessors, level=1, clock=now
    )


class Reusing:
    """A blob writer that looks among known blobs first."""

    def __init__(self, writer: BlobWriter, known: Mapping[bytes, BlobRef]) -> None:
        self._writer = writer
        self._known = known
        self._tickets: list[int | BlobRef] = []

    def add(self, kind: ObjectType, plaintext: bytes, *, identity: bytes) -> int:
        known = self._known.get(identity)
        self._tickets.append(known or self._writer.add(kind, plaintext, identity=identity))
        return len(self._tickets) - 1

    def finish(self) -> None:
        self._writer.finish()

    def __getitem__(self, ticket: int) -> BlobRef:
        found = self._tickets[ticket]
        return found if isinstance(found, BlobRef) else self._writer[found]

    @property
    def stored_bytes(self) -> int:
        return self._writer.stored_bytes


def blobs_of(repository: Repository, summary: SnapshotSummary) -> dict[bytes, BlobRef]:
    """What a snapshot built on this one may reuse, by identity: chunks and table manifests."""
    known = {}
    for ref, manifest in repository.tables(table.manifest for table in repository.root(summary).tables):
        known[ref.identity] = ref
        known.update({chunk.blob.identity: chunk.blob for chunk in manifest.chunks()})
    return known


def commit(
    run: Run,
    tables: Mapping[str, list[bytes]],
    *,
    parent: SnapshotId | None = None,
    tags: tuple[str, ...] = (),
    known: Mapping[bytes, BlobRef] | None = None,
    state: SnapshotState = SnapshotState.COMMITTED,
) -> SnapshotSummary:
    """Store chunks of these rows (each item of a list becomes a chunk), all manifests, and commit.

    `known`: blobs that are reused instead.
    """
    data = Reusing(run.data_writer(), known or {})
    meta = Reusing(run.table_writer(), known or {})
    seal = run.repository.sealer.identify
    tickets = {
        name: [data.add(ObjectType.CHUNK, rows, identity=seal(ObjectType.CHUNK, rows)) for rows in chunks]
        for name, chunks in tables.items()
    }
    archive, content = os.urandom(500), os.urandom(300)
    archive_ticket = data.add(ObjectType.ARCHIVE, archive, identity=seal(ObjectType.ARCHIVE, archive))
    content_ticket = data.add(ObjectType.CHUNK, content, identity=seal(ObjectType.CHUNK, content))
    data.finish()
    manifests = []
    for oid, (name, chunks) in enumerate(tables.items(), start=16384):
        records = tuple(
            RangeRecord(
                pages=PageRange(first=place * 10, end=None if place == len(chunks) - 1 else place * 10 + 10),
                rows=rows.count(b"\n"),
                chunks=(ChunkRef(blob=data[ticket], rows=rows.count(b"\n")),),
            )
            for place, (rows, ticket) in enumerate(zip(chunks, tickets[name], strict=True))
        )
        manifests.append(
            TableManifest(
                oid=oid,
                name=QualifiedName(schema="public", name=name),
                columns=(Column(attnum=1, name="line", type_name="text"),),
                filenode=oid,
                fingerprint=None,
                unlogged=False,
                condition="",
                extension=None,
                load_via=None,
                cutting=Cutting(pages_per_range=10, chunk_bytes=1 << 18),
                ranges=records,
            )
        )
    encoded = [encode_table(manifest) for manifest in manifests]
    table_tickets = [
        meta.add(ObjectType.TABLE, item, identity=seal(ObjectType.TABLE, item)) for item in encoded
    ]
    large_object = LargeObject(
        oid=4711, size_bytes=len(content), pieces=(data[content_ticket],), statements=("SELECT 1",)
    )
    listed = encode_large_objects([large_object])
    list_ticket = meta.add(ObjectType.LARGE_OBJECTS, listed, identity=seal(ObjectType.LARGE_OBJECTS, listed))
    meta.finish()
    root = Root(
        snapshot=run.snapshot,
        source=run.record.source,
        parent=parent,
        tags=tags,
        started_at=now(),
        holdfast_version="0",
        lineage=Lineage(system_identifier="7", timeline=1, database_oid=5),
        instant=Instant(taken_at=now(), xmin=700, xmax=701, wal_lsn="0/1"),
        database=DATABASE,
        archive=ArchiveRef(pieces=(data[archive_ticket],), size_bytes=len(archive), tool_version="18.6"),
        tables=tuple(
            TableEntry(
                oid=manifest.oid,
                name=manifest.name,
                tier=Tier.NORMAL,
                rows=manifest.rows,
                plain_bytes=manifest.plain_bytes,
                manifest=meta[ticket],
            )
            for manifest, ticket in zip(manifests, table_tickets, strict=True)
        ),
        sequences=(
            SequenceValue(
                oid=9, name=QualifiedName(schema="public", name="s"), last_value=-3, is_called=True
            ),
        ),
        large_objects=LargeObjectsRef(count=1, size_bytes=len(content), lists=(meta[list_ticket],)),
        matviews=(QualifiedName(schema="public", name="mv\udcff"),),
        roles=(Role(name="owner", options=("LOGIN",), settings=(), comment=None, has_password=True),),
        memberships=(RoleMembership(role="a", member="b", grantor=None, options=("ADMIN",)),),
        coverage=(
            CoverageEntry(
                kind="role", name="owner", status=CoverageStatus.NOT_CAPTURABLE, reason="password", remedy="x"
            ),
        ),
        journal_position=0,
    )
    return run.commit(root, state=state, stored_bytes=data.stored_bytes + meta.stored_bytes)


def take(
    repository: Repository,
    tables: Mapping[str, list[bytes]],
    *,
    source: str = "shop",
    on: SnapshotSummary | None = None,
) -> SnapshotSummary:
    """A whole small backup; `on`: the parent whose chunks and table manifests it reuses."""
    with begin(repository, source) as run:
        if on is None:
            return commit(run, tables)
        assert run.still_stands(on.snapshot)
        return commit(run, tables, parent=on.snapshot, known=blobs_of(repository, on))


def rows_of(repository: Repository, snapshot: SnapshotId) -> dict[str, bytes]:
    """The rows of each table, by its name."""
    root = repository.root(repository.summary(snapshot))
    return {
        manifest.name.name: b"".join(repository.chunk(chunk.blob) for chunk in manifest.chunks())
        for _, manifest in repository.tables(table.manifest for table in root.tables)
    }
