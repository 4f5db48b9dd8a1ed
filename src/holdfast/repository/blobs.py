"""Sealed blobs in objects: big ones alone, small ones packed, and back again, checked.

A blob of 1 MiB or more is an object of its own; smaller ones share packs of about 16 MiB, one after the other
without gaps, each sealed on its own with a header that a scan can find. What `BlobWriter.finish` returned is
stored; what `read_blob` returned is exactly what was written, or it raised `DamagedError` with the name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from holdfast.domain.errors import DamagedError, ObjectExistsError, ObjectMissingError
from holdfast.domain.manifest import BlobRef
from holdfast.repository.seal import ObjectType, SealBrokenError, Sealer
from holdfast.storage import Buffer, Storage

PACK_BELOW_BYTES = 1024 * 1024
PACK_BYTES = 16 * 1024 * 1024


def md5_of(data: Buffer) -> str:
    """The checksum that S3 keeps as ETag of a simple upload; for level 2, not for security."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class _Pending:
    """A blob whose pack is not stored yet."""

    offset: int
    length: int
    identity: bytes
    plain_bytes: int


class BlobWriter:
    """Seals and stores blobs for one task of one run. Used by one thread.

    `name_object` makes a fresh object name. `add` returns a ticket; after `finish`, `self[ticket]` is the
    reference, valid because its object is stored.
    """

    def __init__(
        self, storage: Storage, sealer: Sealer, name_object: Callable[[], str], *, level: int
    ) -> None:
        self._storage = storage
        self._sealer = sealer
        self._name_object = name_object
        self._level = level
        self._pack = bytearray()
        self._waiting: dict[int, _Pending] = {}
        self._references: list[BlobRef | None] = []
        self.stored_bytes = 0
        self.stored_blobs = 0

    def add(self, kind: ObjectType, plaintext: Buffer, *, identity: bytes) -> int:
        """Seal `plaintext`, whose identity the caller computed, and store it now or with its pack."""
        sealed = self._sealer.seal_checked(kind, plaintext, identity=identity, level=self._level)
        ticket = len(self._references)
        self._references.append(None)
        self.stored_blobs += 1
        if len(sealed) >= PACK_BELOW_BYTES:
            whole = _Pending(0, len(sealed), identity, len(plaintext))
            self._store(sealed, {ticket: whole})
            return ticket
        if len(self._pack) + len(sealed) > PACK_BYTES:
            self._flush()
        self._waiting[ticket] = _Pending(len(self._pack), len(sealed), identity, len(plaintext))
        self._pack += sealed
        return ticket

    def finish(self) -> None:
        """Store what is still waiting in a pack."""
        if self._waiting:
            self._flush()

    def __getitem__(self, ticket: int) -> BlobRef:
        reference = self._references[ticket]
        if reference is None:
            raise LookupError("this blob's pack is not stored yet: call finish() first")
        return reference

    def _flush(self) -> None:
        pack, waiting = self._pack, self._waiting
        self._pack, self._waiting = bytearray(), {}
        self._store(pack, waiting)

    def _store(self, data: Buffer, blobs: dict[int, _Pending]) -> None:
        name = self._name_object()
        store_object(self._storage, name, data)
        self.stored_bytes += len(data)
        checksum = md5_of(data)
        for ticket, blob in blobs.items():
            self._references[ticket] = BlobRef(
                object_name=name,
                offset=blob.offset,
                length=blob.length,
                object_bytes=len(data),
                object_md5=checksum,
                identity=blob.identity,
                plain_bytes=blob.plain_bytes,
            )


def store_object(storage: Storage, name: str, data: Buffer) -> None:
    """Create an object under a fresh name. Its random part makes a taken name a storage fault, never a race."""
    try:
        storage.create(name, data)
    except ObjectExistsError as error:
        raise DamagedError(
            f"object {name} exists already, although its name was just made up",
            object_name=name,
            hint="check the storage: it answers for objects that nobody wrote; run holdfast doctor",
        ) from error


def open_blob(sealer: Sealer, sealed: Buffer, kind: ObjectType, ref: BlobRef) -> bytes:
    """Open the bytes that `ref` names; raises `DamagedError` with the object's name."""
    with _damage(sealed, ref):
        plaintext = sealer.open(sealed, type=kind, identity=ref.identity, max_plain_bytes=ref.plain_bytes)
        _expect_size(len(plaintext), ref)
    return plaintext


def check_blob(sealer: Sealer, sealed: Buffer, kind: ObjectType, ref: BlobRef) -> int:
    """Like `open_blob`, without keeping the plaintext: returns its size in bytes."""
    with _damage(sealed, ref):
        size = sealer.check(sealed, type=kind, identity=ref.identity, max_plain_bytes=ref.plain_bytes)
        _expect_size(size, ref)
    return size


@contextmanager
def _damage(sealed: Buffer, ref: BlobRef) -> Iterator[None]:
    """Turn whatever is wrong with a blob into `DamagedError` with its object's name."""
    try:
        if len(sealed) != ref.length:
            raise SealBrokenError(f"expected {ref.length} bytes at {ref.offset}, read {len(sealed)}")
        yield
    except SealBrokenError as error:
        raise error.as_damage(ref.object_name) from error


def _expect_size(size: int, ref: BlobRef) -> None:
    if size != ref.plain_bytes:
        raise SealBrokenError(f"expected {ref.plain_bytes} bytes of content, read {size}")


def read_blob(storage: Storage, sealer: Sealer, kind: ObjectType, ref: BlobRef) -> bytes:
    """Fetch and open one blob; a missing, truncated, altered or swapped object is `DamagedError`."""
    return open_blob(sealer, fetch(storage, ref), kind, ref)


def fetch(storage: Storage, ref: BlobRef) -> bytes:
    """The sealed bytes of one blob, or `DamagedError` if its object is gone."""
    try:
        return storage.get(ref.object_name, offset=ref.offset, length=ref.length)
    except ObjectMissingError as error:
        raise missing(ref.object_name) from error


def missing(object_name: str) -> DamagedError:
    return DamagedError(f"object {object_name} is missing", object_name=object_name)
