"""Reading many small blobs: a pack is fetched once and kept while its blobs are asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict

from holdfast.domain.errors import ObjectMissingError
from holdfast.domain.manifest import BlobRef
from holdfast.repository.blobs import missing, open_blob, read_blob
from holdfast.repository.seal import ObjectType, Sealer
from holdfast.storage import Storage

KEEP_BYTES = 48 * 1024 * 1024


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
        if ref.length == ref.object_bytes or ref.object_bytes > self._keep_bytes // 2:
            return read_blob(self._storage, self._sealer, kind, ref)
        pack = memoryview(self._pack(ref.object_name))
        return open_blob(self._sealer, pack[ref.offset : ref.offset + ref.length], kind, ref)

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
