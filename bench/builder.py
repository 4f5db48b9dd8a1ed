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
from itertools import starmap

from bench.manifests import entry_of, root_of, table_of
from holdfast.domain.ids import make_snapshot_id
from holdfast.domain.manifest import ArchiveRef, BlobRef, ChunkRef, Root, SnapshotState
from holdfast.domain.tables import QualifiedName
from holdfast.repository.blobs import BlobWriter
from holdfast.repository.repo import Repository
from holdfast.repository.runs.predecessors import find_predecessors
from holdfast.repository.runs.run import Clock, Run
from holdfast.repository.seal import ObjectType
from holdfast.repository.table_store import resolve, store_tables
from holdfast.workflows.parent import Parent, ReusingWriter, load_parent

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = 20


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
        return b"".join(b"%d\t%s\n" % (n, self.random.randbytes(8).hex().encode()) for n in range(ROWS))


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
    tables = run.table_writer()
    definitions = ReusingWriter(run.data_writer(), repository, parent.known)
    archive = b"definitions " * 400
    definitions.add(ObjectType.ARCHIVE, archive)
    manifests = [
        table_of(oid, name, [_chunk(data, places[name, place]) for place in range(len(ranges))])
        for oid, (name, ranges) in enumerate(shop.ranges.items(), start=16384)
    ]
    stored = store_tables(tables, repository.sealer, manifests, parent.known_tables)
    tables.finish()
    root = root_of(
        snapshot=run.snapshot,
        source=run.record.source,
        parent=parent.snapshot,
        at=now,
        archive=ArchiveRef(pieces=definitions.finish(), size_bytes=len(archive), tool_version="18.6"),
        tables=starmap(entry_of, zip(manifests, resolve(tables, stored), strict=True)),
    )
    return root, data.stored_bytes + tables.stored_bytes + definitions.stored_bytes


def _chunk(data: BlobWriter, place: int | BlobRef) -> ChunkRef:
    return ChunkRef(blob=place if isinstance(place, BlobRef) else data[place], rows=ROWS)
