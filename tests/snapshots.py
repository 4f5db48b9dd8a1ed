"""Snapshots made up without a server, for tests of the repository alone: every object type is in them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import starmap

from bench.manifests import DATABASE, entry_of, root_of, table_of

from holdfast.domain.coverage import CoverageEntry, CoverageStatus
from holdfast.domain.ids import SnapshotId, make_snapshot_id
from holdfast.domain.manifest import (
    ArchiveRef,
    BlobRef,
    ChunkRef,
    LargeObject,
    LargeObjectsRef,
    Role,
    RoleMembership,
    SnapshotState,
    SnapshotSummary,
)
from holdfast.domain.tables import QualifiedName, SequenceValue
from holdfast.repository.repo import Repository
from holdfast.repository.runs.predecessors import find_predecessors
from holdfast.repository.runs.run import Run
from holdfast.repository.seal import ObjectType
from holdfast.repository.table_codec import encode_large_objects, encode_tables
from holdfast.workflows.parent import ReusingWriter


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


def blobs_of(repository: Repository, summary: SnapshotSummary) -> dict[bytes, BlobRef]:
    """What a snapshot built on this one may reuse, by identity: chunks and table manifests."""
    known = {}
    for entry, manifest in repository.tables(repository.root(summary).tables):
        known[entry.manifest.identity] = entry.manifest
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
    repository, reusable = run.repository, dict(known or {})
    data = ReusingWriter(run.data_writer(), repository, reusable)
    meta = ReusingWriter(run.table_writer(), repository, reusable)
    tickets = {name: [data.add(ObjectType.CHUNK, rows) for rows in chunks] for name, chunks in tables.items()}
    archive, content = os.urandom(500), os.urandom(300)
    archive_ticket = data.add(ObjectType.ARCHIVE, archive)
    content_ticket = data.add(ObjectType.CHUNK, content)
    stored = data.finish()
    manifests = [
        table_of(
            oid,
            name,
            [
                ChunkRef(blob=stored[ticket], rows=rows.count(b"\n"))
                for ticket, rows in zip(tickets[name], chunks, strict=True)
            ],
        )
        for oid, (name, chunks) in enumerate(tables.items(), start=16384)
    ]
    for manifest in manifests:
        meta.add(ObjectType.TABLE, encode_tables([manifest]))
    large_object = LargeObject(
        oid=4711, size_bytes=len(content), pieces=(stored[content_ticket],), statements=("SELECT 1",)
    )
    meta.add(ObjectType.LARGE_OBJECTS, encode_large_objects([large_object]))
    *references, large_objects = meta.finish()
    bare = root_of(
        snapshot=run.snapshot,
        source=run.record.source,
        parent=parent,
        at=now(),
        archive=ArchiveRef(pieces=(stored[archive_ticket],), size_bytes=len(archive), tool_version="18.6"),
        tables=starmap(entry_of, zip(manifests, references, strict=True)),
    )
    root = replace(
        bare,
        tags=tags,
        database=replace(DATABASE, statements=("ALTER DATABASE :\"database\" SET work_mem = '8MB'",)),
        sequences=(
            SequenceValue(
                oid=9, name=QualifiedName(schema="public", name="s"), last_value=-3, is_called=True
            ),
        ),
        large_objects=LargeObjectsRef(count=1, size_bytes=len(content), lists=(large_objects,)),
        matviews=(QualifiedName(schema="public", name="mv\udcff"),),
        roles=(Role(name="owner", options=("LOGIN",), settings=(), comment=None, has_password=True),),
        memberships=(RoleMembership(role="a", member="b", grantor=None, options=("ADMIN",)),),
        coverage=(
            CoverageEntry(
                kind="role", name="owner", status=CoverageStatus.NOT_CAPTURABLE, reason="password", remedy="x"
            ),
        ),
    )
    return run.commit(root, state=state, stored_bytes=data.stored_bytes + meta.stored_bytes)


def leave(run: Run, *chunks: bytes) -> list[bytes]:
    """Store chunks in one pack, as a run does that dies before it commits; their identities."""
    writer = run.data_writer()
    identities = [run.repository.sealer.identify(ObjectType.CHUNK, rows) for rows in chunks]
    for rows, identity in zip(chunks, identities, strict=True):
        writer.add(ObjectType.CHUNK, rows, identity=identity)
    writer.finish()
    return identities


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
        for _, manifest in repository.tables(root.tables)
    }
