"""From the rows of a range, as they arrive, to its chunks: cut, identified, then stored or reused.

Invariant: the chunks of a range, joined, are the bytes that arrived, and they are cut where the rows say so
(`domain/chunks.py`), whatever the pieces were that they arrived in.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from holdfast.domain.chunks import most_bytes, next_cut
from holdfast.domain.errors import DamagedError
from holdfast.domain.manifest import BlobRef
from holdfast.repository.blobs import BlobWriter
from holdfast.repository.seal import ObjectType
from holdfast.workflows.parts import TablePart, WorkerContext

# Room for the pieces that arrive behind what is not cut yet. A few chunks fit into a core's cache: rows are
# identified and compressed while they are still there.
_ROOM_BYTES = 1024 * 1024


@dataclass(slots=True)
class Cut:
    """The chunks of one range, each with its number of rows: references of those that are reused, tickets of those
    that were given to the writer, since small ones wait for their pack."""

    places: list[tuple[int | BlobRef, int]] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(rows for _, rows in self.places)


class ChunkCutter:
    """Takes one range's rows. Used by one thread; all ranges of a thread share one buffer, since a fresh one costs
    more in page faults than the copying."""

    def __init__(self, writer: BlobWriter, context: WorkerContext, part: TablePart) -> None:
        self._writer = writer
        self._context = context
        self._part = part
        self._buffer = _buffer_of(most_bytes(part.chunk_bytes) + _ROOM_BYTES)
        self._start = 0
        self._end = 0
        self._cut = Cut()

    def take(self, piece: bytes) -> None:
        """A piece of whole rows."""
        if self._end + len(piece) > len(self._buffer):
            self._make_room()
        if self._end + len(piece) > len(self._buffer):
            self._take_big(piece)
            return
        self._buffer[self._end : self._end + len(piece)] = piece
        self._end += len(piece)
        self._start = self._cut_off(self._buffer, self._start, self._end)

    def finish(self, rows: int) -> Cut:
        """Emit the last chunk. `rows` is what the server said it sent."""
        if self._end > self._start:
            self._emit(self._buffer, self._start, self._end)
        if rows != self._cut.rows:
            raise DamagedError(
                f"table {self._part.table.name}: the server counted {rows} rows, {self._cut.rows} arrived",
                object_name=str(self._part.table.name),
                hint="run the backup again; if it happens twice, check the network and the server's memory",
            )
        return self._cut

    def _make_room(self) -> None:
        left = self._end - self._start
        self._buffer[:left] = self._buffer[self._start : self._end]
        self._start, self._end = 0, left

    def _take_big(self, piece: bytes) -> None:
        """Rows that are bigger than the buffer; what is left after cutting is always small enough for it."""
        joined = bytes(memoryview(self._buffer)[self._start : self._end]) + piece
        start = self._cut_off(joined, 0, len(joined))
        left = len(joined) - start
        self._buffer[:left] = joined[start:]
        self._start, self._end = 0, left

    def _cut_off(self, data: bytes | bytearray, start: int, end: int) -> int:
        while (cut := next_cut(data, start, end, self._part.chunk_bytes)) is not None:
            self._emit(data, start, cut)
            start = cut
        return start

    def _emit(self, data: bytes | bytearray, start: int, end: int) -> None:
        # COPY text escapes newlines in values, so every newline byte ends a row.
        rows = data.count(b"\n", start, end)
        sealer = self._context.sealer
        plaintext = memoryview(data)[start:end]
        identity = sealer.identify(ObjectType.CHUNK, plaintext)
        blob = self._part.known.get(identity) or self._context.left.take(
            self._context.storage, sealer, identity, len(plaintext)
        )
        if blob is not None:
            self._cut.places.append((blob, rows))
            return
        ticket = self._writer.add(ObjectType.CHUNK, plaintext, identity=identity)
        self._cut.places.append((ticket, rows))


class _ThisThread(threading.local):
    def __init__(self) -> None:
        self.buffer = bytearray()


_this_thread = _ThisThread()


def _buffer_of(size: int) -> bytearray:
    if len(_this_thread.buffer) < size:
        _this_thread.buffer = bytearray(size)
    return _this_thread.buffer
