"""Chunks that need not be stored again: those of the parent, and those a crashed run left behind.

A chunk of the parent is reused only if the listing shows its object with the right size; a missing one is
stored again, which heals the repository. A chunk of a crashed run is found by the headers in its objects, and
reused only after it was fetched, opened and identified once, since no manifest vouches for it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

from holdfast.domain.errors import ObjectMissingError
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import BlobRef
from holdfast.repository import layout
from holdfast.repository.blobs import md5_of
from holdfast.repository.seal import HEADER_BYTES, ObjectType, SealBrokenError, Sealer, read_header
from holdfast.storage import ObjectInfo, Storage

LIST_EVERYTHING_ABOVE = 64
THIN_BELOW = 0.3


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
    """The claims of crashed runs, turned into facts. Picklable; thread-safe.

    An object is fetched once, when the first of its chunks is asked for: all its claims are checked then, and
    its bytes forgotten. However many threads ask, in whatever order: the requests are as many as the objects.
    """

    def __init__(self, claims: Mapping[bytes, LeftBlob]) -> None:
        self._claims = dict(claims)
        self._by_object: dict[str, list[bytes]] = {}
        for identity, claim in claims.items():
            self._by_object.setdefault(claim.object_name, []).append(identity)
        self._facts: dict[str, Future[dict[bytes, BlobRef]]] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[LeftBlobs], tuple[Mapping[bytes, LeftBlob]]]:
        return LeftBlobs, (self._claims,)

    def __len__(self) -> int:
        return len(self._claims)

    def snapshots(self) -> set[SnapshotId]:
        return {layout.snapshot_in(name) for name in self._by_object}

    def take(self, storage: Storage, sealer: Sealer, identity: bytes, plain_bytes: int) -> BlobRef | None:
        """A checked reference to the chunk with this identity, or None if there is none that holds it."""
        claim = self._claims.get(identity)
        if claim is None:
            return None
        ref = self._facts_of(claim.object_name, storage, sealer).get(identity)
        return ref if ref is not None and ref.plain_bytes == plain_bytes else None

    def _facts_of(self, name: str, storage: Storage, sealer: Sealer) -> Mapping[bytes, BlobRef]:
        with self._lock:
            waiting = self._facts.get(name)
            if waiting is None:
                ours = self._facts[name] = Future()
        if waiting is not None:
            return waiting.result()
        try:
            ours.set_result(self._check(name, storage, sealer))
        except BaseException as error:
            with self._lock:
                del self._facts[name]  # whoever asks next tries again
            ours.set_exception(error)
            raise
        return ours.result()

    def _check(self, name: str, storage: Storage, sealer: Sealer) -> dict[bytes, BlobRef]:
        """The claims on one object that hold. One that does not is no loss: the chunk is stored anew."""
        try:
            whole = storage.get(name)
        except ObjectMissingError:
            return {}
        checksum = md5_of(whole)
        facts = {}
        for identity in self._by_object[name]:
            claim = self._claims[identity]
            sealed = memoryview(whole)[claim.offset : claim.offset + claim.length]
            if len(whole) != claim.object_bytes or len(sealed) != claim.length:
                continue
            with suppress(SealBrokenError):
                facts[identity] = BlobRef(
                    object_name=name,
                    offset=claim.offset,
                    length=claim.length,
                    object_bytes=claim.object_bytes,
                    object_md5=checksum,
                    identity=identity,
                    plain_bytes=sealer.check(sealed, type=ObjectType.CHUNK, identity=identity),
                )
        return facts
