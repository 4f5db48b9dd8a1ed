"""Range tasks: the unit that is read, identified, sealed and stored, on any executor.

A task is plain data, returns small references, and may run twice: its objects have random names, so a second
run only leaves unreferenced bytes behind. Each worker thread keeps one connection on the one exported snapshot.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from holdfast.domain.errors import HoldfastError
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import ChunkRef, RangeRecord
from holdfast.domain.ranges import PageRange
from holdfast.postgres.copy import RangeReader, Reading
from holdfast.repository import layout
from holdfast.repository.blobs import BlobWriter
from holdfast.workflows.chunking import ChunkCutter, Cut
from holdfast.workflows.parts import PartResult, RangeTask, TablePart, WorkerContext
from holdfast.workflows.proving import Proofs

# From so many tables on, each of at most so many bytes, a task's tables are read by statements of many COPYs.
MANY = 16
SMALL_BYTES = 64 * 1024


def run_task(task: RangeTask) -> tuple[PartResult, ...]:
    """Prove what can be proven; read, identify, and store or reuse the other ranges of the task."""
    context = task.context
    reader = reader_of_this_thread(context, many=_is_many(task))
    writer = BlobWriter(
        context.storage,
        context.sealer,
        lambda: layout.new_data_object(context.snapshot),
        level=context.level,
    )
    reader.lock([part.table.name for part in task.parts])
    proofs = None
    if context.parent_xmin is not None:
        proofs = Proofs(reader, context.parent_xmin)
        proofs.ask(task.parts)
    drafts = [_Draft(part=part) for part in task.parts]
    reader.read_all([reading for draft in drafts for reading in _readings(draft, writer, context, proofs)])
    writer.finish()
    return tuple(draft.settle(writer) for draft in drafts)


@dataclass(slots=True)
class _Draft:
    """A part whose small chunks still wait for their pack: tickets stand where references will."""

    part: TablePart
    ranges: list[tuple[PageRange, Cut]] = field(default_factory=list)
    proven: list[RangeRecord] = field(default_factory=list)
    claimed: list[RangeRecord] = field(default_factory=list)

    def settle(self, writer: BlobWriter) -> PartResult:
        records = tuple(
            RangeRecord(
                pages=pages,
                rows=cut.rows,
                chunks=tuple(
                    ChunkRef(blob=writer[place] if isinstance(place, int) else place, rows=rows)
                    for place, rows in cut.places
                ),
            )
            for pages, cut in self.ranges
        )
        found = {record.pages: _content(record) for record in records}
        stored = [place for _, cut in self.ranges for place, _ in cut.places if isinstance(place, int)]
        return PartResult(
            oid=self.part.table.oid,
            read=records,
            proven=tuple(self.proven),
            refuted=tuple(claim.pages for claim in self.claimed if found[claim.pages] != _content(claim)),
            bytes_stored=sum(writer[ticket].length for ticket in stored),
            chunks_stored=len(stored),
            chunks_reused=sum(len(item.chunks) for item in (*records, *self.proven)) - len(stored),
        )


def _content(record: RangeRecord) -> list[tuple[bytes, int]]:
    return [(chunk.blob.identity, chunk.rows) for chunk in record.chunks]


def _readings(
    draft: _Draft, writer: BlobWriter, context: WorkerContext, proofs: Proofs | None
) -> Iterator[Reading]:
    """What has to be read of a part; what need not be goes into the draft at once."""
    part = draft.part
    for pages in part.ranges:
        record = proofs.record(part, pages) if proofs else None
        if record is not None and context.rely:
            draft.proven.append(record)
            continue
        if record is not None:
            draft.claimed.append(record)
        cutter = ChunkCutter(writer, context, part)
        yield Reading(
            table=part.table, pages=pages, sink=cutter.take, finished=partial(_keep, draft, pages, cutter)
        )


def _keep(draft: _Draft, pages: PageRange, cutter: ChunkCutter, rows: int) -> None:
    draft.ranges.append((pages, cutter.finish(rows)))


def _is_many(task: RangeTask) -> bool:
    """Whether these are so many and so small tables that the way to each one costs more than its rows."""
    return len(task.parts) >= MANY and all(part.table.size_bytes <= SMALL_BYTES for part in task.parts)


class _ThisThread(threading.local):
    """The connection of this thread, the run it belongs to, and whether it is one for many small tables."""

    def __init__(self) -> None:
        self.snapshot: SnapshotId | None = None
        self.many = False
        self.reader: RangeReader | None = None


_this_thread = _ThisThread()
_open_readers: dict[SnapshotId, list[RangeReader]] = {}
_open_readers_lock = threading.Lock()


def reader_of_this_thread(context: WorkerContext, *, many: bool = False) -> RangeReader:
    """One at a time, so that a worker never takes more than one of the server's connections."""
    here = _this_thread
    if here.reader is None or (here.snapshot, here.many) != (context.snapshot, many):
        if here.reader is not None:
            _close(here.reader)
            here.reader = None
        here.reader = RangeReader.open(context.read, many=many)
        here.snapshot, here.many = context.snapshot, many
        with _open_readers_lock:
            _open_readers.setdefault(context.snapshot, []).append(here.reader)
    return here.reader


def _close(reader: RangeReader) -> None:
    with _open_readers_lock:
        for readers in _open_readers.values():
            if reader in readers:
                readers.remove(reader)
    with suppress(HoldfastError):
        reader.close()


def abort_readers(snapshot: SnapshotId) -> None:
    """Make the running reads of a run in this process fail at once. Safe from any thread."""
    with _open_readers_lock:
        readers = list(_open_readers.get(snapshot, ()))
    for reader in readers:
        reader.abort()


def close_readers(snapshot: SnapshotId) -> None:
    """Close the connections of a run in this process, after its tasks have ended."""
    with _open_readers_lock:
        readers = _open_readers.pop(snapshot, [])
    for reader in readers:
        with suppress(HoldfastError):
            reader.close()
