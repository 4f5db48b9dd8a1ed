"""Reading many blobs with few requests: those that lie side by side by one request; of the smallest, whole packs,
which are kept while their blobs are asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from holdfast.domain.errors import ObjectMissingError
from holdfast.domain.manifest import BlobRef
from holdfast.repository.blobs import fetch, missing, open_blob, read_blob
from holdfast.repository.seal import ObjectType, Sealer
from holdfast.storage import Storage

KEEP_BYTES = 48 * 1024 * 1024
# A blob of this size is worth a request of its own. Only smaller ones are read by fetching their pack: with more
# readers than packs that are kept, each of a hundred chunks would fetch 16 MiB.
ALONE_BYTES = 32 * 1024
RUN_BYTES = 4 * 1024 * 1024
GAP_BYTES = 64 * 1024


class PackReader:
    """Opens blobs like `read_blob`, checked in the same way. Thread-safe; keeps at most `keep_bytes` of packs.

    Without it, ten thousand tables of ten rows would be ten thousand requests.
    """

    def __init__(self, storage: Storage, sealer: Sealer, *, keep_bytes: int = KEEP_BYTES) -> None:
        self._storage = storage
        self._sealer = sealer
        self._keep_bytes = keep_bytes
        self._packs: OrderedDict[str, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def read(self, kind: ObjectType, ref: BlobRef) -> bytes:
        """The plaintext of one blob; `DamagedError` with the object's name if it is not what was written."""
        if ref.length >= min(ref.object_bytes, ALONE_BYTES) or ref.object_bytes > self._keep_bytes // 2:
            return read_blob(self._storage, self._sealer, kind, ref)
        pack = memoryview(self._pack(ref.object_name))
        return open_blob(self._sealer, pack[ref.offset : ref.offset + ref.length], kind, ref)

    def read_all(self, blobs: Iterable[tuple[ObjectType, BlobRef]]) -> Iterator[bytes]:
        """The plaintexts of these blobs, in their order, each checked before it is handed out."""
        for run in _runs(blobs):
            first, last = run[0][1], run[-1][1]
            if first is last:
                yield self.read(*run[0])
                continue
            length = last.offset + last.length - first.offset
            span = memoryview(fetch(self._storage, replace(first, length=length)))
            for kind, ref in run:
                start = ref.offset - first.offset
                yield open_blob(self._sealer, span[start : start + ref.length], kind, ref)

    def _pack(self, name: str) -> bytes:
        with self._lock:
            if name in self._packs:
                self._packs.move_to_end(name)
                return self._packs[name]
        try:
            pack = self._storage.get(name)
        except ObjectMissingError as error:
            raise missing(name) from error
        with self._lock:
            if name not in self._packs:
                self._packs[name] = pack
                self._kept_bytes += len(pack)
            while self._kept_bytes > self._keep_bytes and len(self._packs) > 1:
                _, dropped = self._packs.popitem(last=False)
                self._kept_bytes -= len(dropped)
        return pack


def _runs(blobs: Iterable[tuple[ObjectType, BlobRef]]) -> Iterator[list[tuple[ObjectType, BlobRef]]]:
    """Successive blobs that one request can bring: they follow each other in one object, with little between."""
    run: list[tuple[ObjectType, BlobRef]] = []
    for kind, ref in blobs:
        if run and not _continues(run[0][1], run[-1][1], ref):
            yield run
            run = []
        run.append((kind, ref))
    if run:
        yield run


def _continues(first: BlobRef, last: BlobRef, ref: BlobRef) -> bool:
    gap = ref.offset - (last.offset + last.length)
    return (
        ref.object_name == first.object_name
        and 0 <= gap <= GAP_BYTES
        and ref.offset + ref.length - first.offset <= RUN_BYTES
    )
