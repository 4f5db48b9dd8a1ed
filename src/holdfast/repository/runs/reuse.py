"""Chunks that need not be stored again: those of the parent, and those a crashed run left behind.

A chunk of the parent is reused only if the listing shows its object with the right size; a missing one is
stored again, which heals the repository. A chunk of a crashed run is found by the headers in its objects, and
reused only after it was fetched, opened and identified once, since no manifest vouches for it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from holdfast.domain.errors import DamagedError, ObjectMissingError
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import BlobRef
from holdfast.repository import layout
from holdfast.repository.blobs import md5_of, open_blob
from holdfast.repository.seal import HEADER_BYTES, ObjectType, SealBrokenError, Sealer, read_header
from holdfast.storage import ObjectInfo, Storage

LIST_EVERYTHING_ABOVE = 64
THIN_BELOW = 0.3
KEEP_OBJECTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftBlob:
    """A blob of a crashed run, as its header describes it: a claim, not yet a fact."""

    object_name: str
    object_bytes: int
    offset: int
    length: int


def list_sizes(storage: Storage, snapshots: Iterable[SnapshotId]) -> dict[str, int]:
    """Names and sizes of all data and table objects that these snapshots wrote."""
    return {name: info.size_bytes for name, info in list_objects(storage, snapshots).items()}


def list_objects(storage: Storage, snapshots: Iterable[SnapshotId]) -> dict[str, ObjectInfo]:
    """All data and table objects that these snapshots wrote, by one listing each, or by listing everything where
    that is fewer requests."""
    wanted = set(snapshots)
    prefixes = (
        [layout.DATA, layout.META]
        if len(wanted) > LIST_EVERYTHING_ABOVE
        else [
            prefix(snapshot)
            for snapshot in sorted(wanted)
            for prefix in (layout.data_prefix, layout.meta_prefix)
        ]
    )
    return {info.name: info for prefix in prefixes for info in storage.list(prefix)}


def is_present(ref: BlobRef, sizes: Mapping[str, int]) -> bool:
    return sizes.get(ref.object_name) == ref.object_bytes


def thin_packs(refs: Iterable[BlobRef]) -> set[str]:
    """Objects of which these references, all that a snapshot holds, use less than 30 % of the bytes.

    Their blobs count as misses for the next snapshot, which stores them anew: so a pack dies whole, and nothing
    ever has to be repacked.
    """
    used: dict[str, dict[int, int]] = {}
    sizes: dict[str, int] = {}
    for ref in refs:
        used.setdefault(ref.object_name, {})[ref.offset] = ref.length
        sizes[ref.object_name] = ref.object_bytes
    return {name for name, blobs in used.items() if sum(blobs.values()) < THIN_BELOW * sizes[name]}


def find_left_blobs(storage: Storage, snapshot: SnapshotId) -> dict[bytes, LeftBlob]:
    """Identity → place of every chunk that the run `snapshot` finished storing before it died."""
    found: dict[bytes, LeftBlob] = {}
    for info in storage.list(layout.data_prefix(snapshot)):
        for identity, offset, length in _walk(storage, info.name, info.size_bytes):
            found[identity] = LeftBlob(
                object_name=info.name, object_bytes=info.size_bytes, offset=offset, length=length
            )
    return found


def _walk(storage: Storage, name: str, size_bytes: int) -> Iterator[tuple[bytes, int, int]]:
    """Identity, offset and length of each chunk in one object; stops at the first thing that is no header.

    A pack is fetched whole: one request, where its headers would be a hundred.
    """
    data = b""
    offset = 0
    while offset + HEADER_BYTES <= size_bytes:
        try:
            data = data if offset else storage.get(name, offset=0, length=HEADER_BYTES)
            header = read_header(data[offset : offset + HEADER_BYTES])
            length = header.blob_bytes
            if offset + length > size_bytes:
                return
            if not offset and length < size_bytes:
                data = storage.get(name)
        except (SealBrokenError, ObjectMissingError):
            return
        if header.type is ObjectType.CHUNK:
            yield header.identity, offset, length
        offset += length


class LeftBlobs:
    """The claims of crashed runs, turned into facts one by one. Picklable; thread-safe, since checking twice does
    no harm. The objects used last are kept: the chunks of a range lie side by side."""

    def __init__(self, claims: Mapping[bytes, LeftBlob]) -> None:
        self._claims = dict(claims)
        self._kept: OrderedDict[str, tuple[bytes, str]] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[LeftBlobs], tuple[Mapping[bytes, LeftBlob]]]:
        return LeftBlobs, (self._claims,)

    def __len__(self) -> int:
        return len(self._claims)

    def snapshots(self) -> set[SnapshotId]:
        return {layout.snapshot_in(claim.object_name) for claim in self._claims.values()}

    def take(self, storage: Storage, sealer: Sealer, identity: bytes, plain_bytes: int) -> BlobRef | None:
        """A checked reference to the chunk with this identity, or None if there is none that holds it."""
        claim = self._claims.get(identity)
        if claim is None:
            return None
        try:
            whole, checksum = self._object(storage, claim.object_name)
        except ObjectMissingError:
            return None
        ref = BlobRef(
            object_name=claim.object_name,
            offset=claim.offset,
            length=claim.length,
            object_bytes=claim.object_bytes,
            object_md5=checksum,
            identity=identity,
            plain_bytes=plain_bytes,
        )
        if len(whole) != claim.object_bytes:
            return None
        sealed = memoryview(whole)[claim.offset : claim.offset + claim.length]
        try:
            open_blob(sealer, sealed, ObjectType.CHUNK, ref)
        except DamagedError:
            # A claim that does not hold is no loss: the chunk is stored anew.
            return None
        return ref

    def _object(self, storage: Storage, name: str) -> tuple[bytes, str]:
        """An object and its MD5."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        whole = storage.get(name)
        entry = (whole, md5_of(whole))
        with self._lock:
            self._kept[name] = entry
            while len(self._kept) > KEEP_OBJECTS:
                self._kept.popitem(last=False)
        return entry
