"""Range tasks: the unit that is read, identified, sealed and stored, on any executor.

A task is plain data, returns small references, and may run twice: its objects have random names, so a second
run only leaves unreferenced bytes behind. Each worker thread keeps one connection on the one exported snapshot.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field

from holdfast.domain.errors import DamagedError, HoldfastError
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import BlobRef, ChunkRef, RangeRecord
from holdfast.domain.ranges import PageRange
from holdfast.postgres.copy import RangeReader
from holdfast.repository import layout
from holdfast.repository.blobs import BlobWriter
from holdfast.repository.seal import ObjectType
from holdfast.workflows.parts import PartResult, RangeTask, TablePart, WorkerContext
from holdfast.workflows.proving import Proofs

CHUNK_MAX_BYTES = 24 * 1024 * 1024


def run_task(task: RangeTask) -> tuple[PartResult, ...]:
    """Prove what can be proven; read, identify, and store or reuse the other ranges of the task."""
    context = task.context
    reader = reader_of_this_thread(context)
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
    drafts = [_capture_part(reader, writer, context, part, proofs) for part in task.parts]
    writer.finish()
    return tuple(draft.settle(writer) for draft in drafts)


@dataclass(slots=True)
class _Draft:
    """A part whose small chunks still wait for their pack: tickets stand where references will."""

    part: TablePart
    ranges: list[tuple[PageRange, int, list[tuple[int | BlobRef, int]]]] = field(default_factory=list)
    proven: list[RangeRecord] = field(default_factory=list)
    claimed: list[RangeRecord] = field(default_factory=list)
    chunks_stored: int = 0
    chunks_reused: int = 0

    def settle(self, writer: BlobWriter) -> PartResult:
        stored = 0
        records = []
        for pages, rows, chunks in self.ranges:
            settled = []
            for place, chunk_rows in chunks:
                if isinstance(place, int):
                    blob = writer[place]
                    stored += blob.length
                else:
                    blob = place
                settled.append(ChunkRef(blob=blob, rows=chunk_rows))
            records.append(RangeRecord(pages=pages, rows=rows, chunks=tuple(settled)))
        found = {record.pages: _content(record) for record in records}
        return PartResult(
            oid=self.part.table.oid,
            read=tuple(records),
            proven=tuple(self.proven),
            refuted=tuple(claim.pages for claim in self.claimed if found[claim.pages] != _content(claim)),
            bytes_stored=stored,
            chunks_stored=self.chunks_stored,
            chunks_reused=self.chunks_reused,
        )


def _content(record: RangeRecord) -> list[tuple[bytes, int]]:
    return [(chunk.blob.identity, chunk.rows) for chunk in record.chunks]


def _capture_part(
    reader: RangeReader, writer: BlobWriter, context: WorkerContext, part: TablePart, proofs: Proofs | None
) -> _Draft:
    draft = _Draft(part=part)
    for pages in part.ranges:
        record = proofs.record(part, pages) if proofs else None
        if record is not None and context.rely:
            draft.proven.append(record)
            draft.chunks_reused += len(record.chunks)
            continue
        if record is not None:
            draft.claimed.append(record)
        collector = _ChunkCollector(writer, context, part, draft)
        rows = reader.read(part.table, pages, collector.take)
        draft.ranges.append((pages, rows, collector.finish(rows)))
    return draft


class _ChunkCollector:
    """Joins the pieces of one range into chunks of whole rows: one, unless the rows are big.

    All ranges of a thread share one buffer: a fresh one for each chunk costs more in page faults than the copying.
    """

    def __init__(self, writer: BlobWriter, context: WorkerContext, part: TablePart, draft: _Draft) -> None:
        self._writer = writer
        self._context = context
        self._part = part
        self._draft = draft
        self._buffer = _this_thread.buffer
        self._filled = 0
        self._chunks: list[tuple[int | BlobRef, int]] = []
        self._rows_cut = 0

    def take(self, piece: bytes) -> None:
        """A piece ends at the end of a row, so a cut between two pieces cuts no row."""
        end = self._filled + len(piece)
        if end > len(self._buffer):
            if self._filled:
                # COPY text escapes newlines in values, so every newline byte ends a row.
                rows = self._buffer.count(b"\n", 0, self._filled)
                self._rows_cut += rows
                self._emit(memoryview(self._buffer)[: self._filled], rows)
            if len(piece) >= len(self._buffer):
                rows = piece.count(b"\n")
                self._rows_cut += rows
                self._emit(memoryview(piece), rows)
                return
            end = len(piece)
        self._buffer[self._filled : end] = piece
        self._filled = end

    def finish(self, rows: int) -> list[tuple[int | BlobRef, int]]:
        """Emit the last chunk. `rows` is what the server said it sent."""
        left = rows - self._rows_cut
        if (left > 0) != (self._filled > 0) or left < 0:
            raise DamagedError(
                f"table {self._part.table.name}: the server counted {rows} rows, {self._rows_cut} arrived",
                object_name=str(self._part.table.name),
                hint="run the backup again; if it happens twice, check the network and the server's memory",
            )
        if self._filled:
            self._emit(memoryview(self._buffer)[: self._filled], left)
        return self._chunks

    def _emit(self, plaintext: memoryview, rows: int) -> None:
        self._filled = 0
        sealer = self._context.sealer
        identity = sealer.identify(ObjectType.CHUNK, plaintext)
        blob = self._part.known.get(identity) or self._context.left.take(
            self._context.storage, sealer, identity, len(plaintext)
        )
        if blob is not None:
            self._draft.chunks_reused += 1
            self._chunks.append((blob, rows))
            return
        ticket = self._writer.add(ObjectType.CHUNK, plaintext, identity=identity)
        self._draft.chunks_stored += 1
        self._chunks.append((ticket, rows))


class _ThisThread(threading.local):
    """The connection of this thread and the run it belongs to, and its buffer for joining pieces."""

    def __init__(self) -> None:
        self.snapshot: SnapshotId | None = None
        self.reader: RangeReader | None = None
        self.buffer = bytearray(CHUNK_MAX_BYTES)


_this_thread = _ThisThread()
_open_readers: dict[SnapshotId, list[RangeReader]] = {}
_open_readers_lock = threading.Lock()


def reader_of_this_thread(context: WorkerContext) -> RangeReader:
    if _this_thread.snapshot != context.snapshot or _this_thread.reader is None:
        if _this_thread.reader is not None:
            with suppress(HoldfastError):
                _this_thread.reader.close()
        _this_thread.reader = RangeReader.open(context.read)
        _this_thread.snapshot = context.snapshot
        with _open_readers_lock:
            _open_readers.setdefault(context.snapshot, []).append(_this_thread.reader)
    return _this_thread.reader


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
