"""Repositories filled without a server: runs, manifests, reuse and commits are the real code, the rows made up.

Nothing here decides anything that a backup decides differently: a snapshot looks up its predecessors, announces
itself, reuses what its parent has, and commits.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from holdfast.domain.chunks import LEAST_CHUNK_BYTES
from holdfast.domain.ids import make_snapshot_id
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
    SnapshotState,
    TableEntry,
    TableManifest,
)
from holdfast.domain.ranges import Cutting, PageRange
from holdfast.domain.tables import Column, QualifiedName, Tier
from holdfast.repository.blobs import BlobWriter
from holdfast.repository.repo import Repository
from holdfast.repository.runs.predecessors import find_predecessors
from holdfast.repository.runs.run import Clock, Run
from holdfast.repository.seal import ObjectType
from holdfast.repository.table_codec import encode_table
from holdfast.workflows.parent import Parent, ReusingWriter, load_parent

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
DATABASE = DatabaseFacts(
    name="shop",
    owner="shop",
    encoding="UTF8",
    locale_provider="libc",
    collate="C",
    ctype="C",
    locale=None,
    icu_rules=None,
    server_version=180000,
    server_version_text="18.0",
)


@dataclass(slots=True)
class HandClock:
    """A clock that goes only when it is told to."""

    now: datetime = BEGINNING

    def __call__(self) -> datetime:
        return self.now


class Shop:
    """A database that lives: `tables` of `ranges` ranges each, whose rows change when they are told to."""

    def __init__(self, tables: Sequence[str], *, ranges: int, seed: int) -> None:
        self.random = random.Random(seed)
        self.ranges = {name: [self._rows() for _ in range(ranges)] for name in tables}

    def change(self, name: str, place: int) -> None:
        self.ranges[name][place] = self._rows()

    def _rows(self) -> bytes:
        return b"".join(b"%d\t%s\n" % (n, self.random.randbytes(8).hex().encode()) for n in range(20))


def take(
    repository: Repository, source: str, shop: Shop, *, clock: Clock, chunks_alone: bool = False
) -> None:
    """One backup as the workflow does it, with rows from the shop instead of a server.

    `chunks_alone`: every chunk is an object, as those of big tables are, however few rows it has.
    """
    now = clock()
    predecessors = find_predecessors(repository, source, now=now)
    run = Run.begin(
        repository,
        snapshot=make_snapshot_id(now, os.urandom(10)),
        source=source,
        predecessors=predecessors,
        level=1,
        clock=clock,
    )
    with run:
        summary = predecessors.parent
        if summary is not None and not run.still_stands(summary.snapshot):
            summary = None
        parent = load_parent(repository, summary)
        root, stored = _capture(run, parent, shop, now, chunks_alone=chunks_alone)
        run.commit(root, state=SnapshotState.COMMITTED, stored_bytes=stored)


@contextmanager
def unflushed() -> Iterator[None]:
    """Building may forget the disk: what is lost with the power is built again. Flushes everything at the end."""
    flush = os.fsync
    setattr(os, "fsync", lambda _: None)  # noqa: B010 (the type checker would have the original's type)
    try:
        yield
    finally:
        setattr(os, "fsync", flush)  # noqa: B010
        os.sync()


def _capture(run: Run, parent: Parent, shop: Shop, now: datetime, *, chunks_alone: bool) -> tuple[Root, int]:
    """Store what changed, reuse the rest: the shape of a snapshot that a backup of a small database has."""
    repository = run.repository
    data = run.data_writer()
    places: dict[tuple[str, int], int | BlobRef] = {}
    for name, ranges in shop.ranges.items():
        before = parent.tables.get(QualifiedName(schema="public", name=name))
        known = parent.chunks_of(before) if before is not None else {}
        for place, rows in enumerate(ranges):
            identity = repository.sealer.identify(ObjectType.CHUNK, rows)
            found = known.get(identity)
            places[name, place] = found or data.add(ObjectType.CHUNK, rows, identity=identity)
            if chunks_alone:
                data.finish()
    data.finish()
    meta = ReusingWriter(run.table_writer(), repository, parent.known)
    definitions = ReusingWriter(run.data_writer(), repository, parent.known)
    archive = b"definitions " * 400
    definitions.add(ObjectType.ARCHIVE, archive)
    manifests = [
        _manifest(oid, name, [_placed(data, places[name, place]) for place in range(len(ranges))])
        for oid, (name, ranges) in enumerate(shop.ranges.items(), start=16384)
    ]
    for manifest in manifests:
        meta.add(ObjectType.TABLE, encode_table(manifest))
    references = meta.finish()
    root = Root(
        snapshot=run.snapshot,
        source=run.record.source,
        parent=parent.snapshot,
        tags=(),
        started_at=now,
        holdfast_version="0",
        lineage=Lineage(system_identifier="7", timeline=1, database_oid=5),
        instant=Instant(taken_at=now, xmin=700, xmax=701, wal_lsn="0/1"),
        database=DATABASE,
        archive=ArchiveRef(pieces=definitions.finish(), size_bytes=len(archive), tool_version="18.6"),
        tables=tuple(
            TableEntry(
                oid=manifest.oid,
                name=manifest.name,
                tier=Tier.NORMAL,
                rows=manifest.rows,
                plain_bytes=manifest.plain_bytes,
                manifest=reference,
            )
            for manifest, reference in zip(manifests, references, strict=True)
        ),
        sequences=(),
        large_objects=LargeObjectsRef(count=0, size_bytes=0, lists=()),
        matviews=(),
        roles=(),
        memberships=(),
        coverage=(),
        journal_position=0,
    )
    return root, data.stored_bytes + meta.stored_bytes + definitions.stored_bytes


def _placed(data: BlobWriter, place: int | BlobRef) -> BlobRef:
    return place if isinstance(place, BlobRef) else data[place]


def _manifest(oid: int, name: str, chunks: Sequence[BlobRef]) -> TableManifest:
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
        cutting=Cutting(pages_per_range=10, chunk_bytes=LEAST_CHUNK_BYTES),
        ranges=tuple(
            RangeRecord(
                pages=PageRange(first=place * 10, end=None if place == last else place * 10 + 10),
                rows=20,
                chunks=(ChunkRef(blob=blob, rows=20),),
            )
            for place, blob in enumerate(chunks)
        ),
    )
