"""Sealed blobs: the unit of everything encrypted in a repository (docs/FORMAT.md, "Sealed blobs").

A blob is an 88-byte header and an AES-256-GCM body. Its key is derived from the epoch's data key and the blob's
own random salt and serves this one blob only, so the nonce may be constant. The whole header and the repository's
id are authenticated with the body.

The invariant: what `Sealer.open` returns is, to the byte, what was sealed as that type, or it raised. A blob that
is one bit, one byte or one type off never reads as something else.

Everything streams through pieces of a quarter to one megabyte: a blob or a plaintext is never held twice, there
is no limit at 2 GiB (the one-shot AEAD calls have one), and the bulk of the work runs without the interpreter's
lock.
"""

from __future__ import annotations

import enum
import hmac
import io
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.domain.errors import DamagedError, RefusedError
from holdfast.repository.frames import PACK_PIECE, UNPACK_PIECE, MalformedFrameError, pack, unpack
from holdfast.repository.keys.keyring import Keyring
from holdfast.storage import Buffer

MAGIC: Final = b"HFST"
FORMAT_VERSION: Final = 1
HEADER_BYTES: Final = 88
TAG_BYTES: Final = 16
IDENTITY_BYTES: Final = 32
MAX_PLAIN_BYTES: Final = 8 * 1024**3
"""No plaintext is larger; it bounds what a blob of unknown size may unpack to."""

_HEADER = struct.Struct("<4sBBBBIIQ32s32s")
_NONCE = bytes(12)
_ONE_SHOT_BYTES = (
    8 * 1024 * 1024
)  # most chunks seal to less; beyond, a second buffer costs more than it saves


class ObjectType(enum.IntEnum):
    """What a blob holds. The number is in its header, the lower-case name in its key and its identity."""

    CHUNK = 1
    TABLE = 2
    ROOT = 3
    ARCHIVE = 4
    OUTCOME = 5
    WRITER = 6
    JOURNAL = 7
    VERIFY = 8
    LARGE_OBJECTS = 9
    PROOF = 10
    HOLD = 11
    TOMBSTONE = 12
    FATE = 13
    PLAN = 14
    HEAD = 15

    @property
    def context(self) -> bytes:
        """Separates the keys and identities of one type from those of every other."""
        return _CONTEXTS[self]


_CONTEXTS: Final = {kind: b"holdfast/1/" + kind.name.lower().encode("ascii") for kind in ObjectType}


class Encoding(enum.IntEnum):
    """How the plaintext lies in the body before encryption."""

    RAW = 0
    ZSTD = 1


class SealBrokenError(Exception):
    """A blob is not what it should be. Callers, who know the object's name, turn it into `DamagedError`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def as_damage(self, object_name: str) -> DamagedError:
        return DamagedError(f"object {object_name} is damaged: {self.reason}", object_name=object_name)


class UnknownEpochError(SealBrokenError):
    """A blob's header names an epoch of which this process has no keys: it was altered, or keys were rotated since
    the keys were read."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"its header names epoch {epoch}, which has no keys in this repository")
        self.epoch = epoch


class SealFaultError(RefusedError):
    """A blob sealed a moment ago does not open to what went in: this machine computes wrongly."""


class Header(NamedTuple):
    """What a blob says of itself in clear; to be believed only after its body was authenticated."""

    type: ObjectType
    encoding: Encoding
    epoch: int
    body_bytes: int
    salt: bytes
    identity: bytes

    @property
    def blob_bytes(self) -> int:
        """The length of the whole blob: where the next one of a pack begins."""
        return HEADER_BYTES + self.body_bytes

    def pack(self) -> bytes:
        return _HEADER.pack(
            MAGIC,
            FORMAT_VERSION,
            self.type,
            self.encoding,
            0,
            self.epoch,
            0,
            self.body_bytes,
            self.salt,
            self.identity,
        )


def read_header(data: Buffer) -> Header:
    """The header at the start of `data` (more may follow); raises `SealBrokenError`."""
    if len(data) < HEADER_BYTES:
        raise SealBrokenError(f"expected a header of {HEADER_BYTES} bytes, found {len(data)} bytes")
    magic, version, kind, encoding, zero, epoch, zeros, body_bytes, salt, identity = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise SealBrokenError(f"expected the mark {MAGIC!r}, found {magic!r}")
    if version != FORMAT_VERSION:
        raise SealBrokenError(f"expected format version {FORMAT_VERSION}, found {version}")
    if zero or zeros:
        raise SealBrokenError("reserved bytes of its header are not zero")
    if body_bytes < TAG_BYTES:
        raise SealBrokenError(f"its header gives a body of {body_bytes} bytes, less than a tag")
    try:
        return Header(
            type=ObjectType(kind),
            encoding=Encoding(encoding),
            epoch=epoch,
            body_bytes=body_bytes,
            salt=salt,
            identity=identity,
        )
    except ValueError as error:
        raise SealBrokenError(f"unknown object type or encoding: {kind}, {encoding}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealer:
    """Seals and opens blobs of one repository. Plain data: picklable, usable from any number of threads."""

    keyring: Keyring

    def identify(
        self,
        type: ObjectType,  # noqa: A002
        plaintext: Buffer | Iterable[Buffer],
        *,
        epoch: int | None = None,
    ) -> bytes:
        """The identity of a plaintext, given whole or as its successive pieces, under an epoch's identity key.

        Epochs share one identity key until a compromise calls for a new one; None is the current epoch.
        """
        keys = self.keyring.sealing() if epoch is None else self.keyring.keys(epoch)
        return _identify(type, plaintext, keys.identity_key)

    def seal(
        self,
        type: ObjectType,  # noqa: A002
        plaintext: Buffer,
        *,
        identity: bytes | None = None,
        level: int = 1,
    ) -> bytearray:
        """Compress and encrypt under the current epoch. `identity`, if given, is what `identify` returned.

        Raises `RefusedError` above `MAX_PLAIN_BYTES` and `LockedOutError` if the current epoch is locked.
        """
        if identity is not None and len(identity) != IDENTITY_BYTES:
            raise ValueError(f"an identity has {IDENTITY_BYTES} bytes, not {len(identity)}")
        view = memoryview(plaintext).cast("B")
        if len(view) > MAX_PLAIN_BYTES:
            raise RefusedError(
                f"a {type.name.lower()} of {len(view)} bytes is more than one blob may hold, {MAX_PLAIN_BYTES}",
                hint="split it into smaller ranges",
            )
        keys = self.keyring.sealing()
        pieces = pack(view, level)
        header = Header(
            type=type,
            encoding=Encoding.RAW if pieces is None else Encoding.ZSTD,
            epoch=keys.epoch,
            body_bytes=TAG_BYTES + (len(view) if pieces is None else sum(map(len, pieces))),
            salt=os.urandom(32),
            identity=identity or _identify(type, view, keys.identity_key),
        )
        return self._encrypt(header, keys.data_key, _slices(view, PACK_PIECE) if pieces is None else pieces)

    def seal_checked(
        self,
        type: ObjectType,  # noqa: A002
        plaintext: Buffer,
        *,
        identity: bytes | None = None,
        level: int = 1,
    ) -> bytearray:
        """Seal, then open again and compare identities; raises `SealFaultError` if this machine erred.

        Hashing what was unpacked costs a tenth of unpacking it, and sees more than comparing bytes with the
        plaintext would: a bit that flipped in memory between `identify` and `seal` is in both of those.
        """
        known = identity or self.identify(type, plaintext)
        blob = self.seal(type, plaintext, identity=known, level=level)
        try:
            self.check(blob, type=type, identity=known, max_plain_bytes=memoryview(plaintext).nbytes)
        except SealBrokenError as error:
            raise SealFaultError(
                f"a {type.name.lower()} sealed just now does not open to what went in: {error.reason}",
                hint="test this machine's memory before you run again; nothing wrong was stored",
            ) from error
        return blob

    def open(
        self,
        blob: Buffer,
        *,
        type: ObjectType,  # noqa: A002
        identity: bytes | None = None,
        max_plain_bytes: int | None = None,
    ) -> bytes:
        """The plaintext of a blob of this type, and of this identity if one is given.

        Raises `SealBrokenError` for anything that is not exactly such a blob, or that unpacks to more than
        `max_plain_bytes`; `LockedOutError` if its epoch exists but no key at hand opened it.
        """
        # BytesIO grows in place and hands out its buffer, so the plaintext exists once.
        plaintext = io.BytesIO()
        for piece in self._opened(blob, type, identity, max_plain_bytes):
            plaintext.write(piece)
        return plaintext.getvalue()

    def check(
        self,
        blob: Buffer,
        *,
        type: ObjectType,  # noqa: A002
        identity: bytes | None = None,
        max_plain_bytes: int | None = None,
    ) -> int:
        """Like `open`, without keeping the plaintext: returns its size in bytes."""
        return sum(map(len, self._opened(blob, type, identity, max_plain_bytes)))

    def _encrypt(self, header: Header, data_key: bytes, pieces: Iterable[Buffer]) -> bytearray:
        blob = bytearray(header.blob_bytes)
        packed = header.pack()
        blob[:HEADER_BYTES] = packed
        key, context = _blob_key(header, data_key), packed + self.keyring.repository_id.bytes
        with memoryview(blob) as target:
            if header.body_bytes <= _ONE_SHOT_BYTES:
                AESGCM(key).encrypt_into(_NONCE, b"".join(pieces), context, target[HEADER_BYTES:])
            else:
                _encrypt_in_pieces(key, context, pieces, target[HEADER_BYTES:])
        return blob

    def _opened(
        self,
        blob: Buffer,
        kind: ObjectType,
        identity: bytes | None,
        max_plain_bytes: int | None,
    ) -> Iterator[bytes | memoryview]:
        """The plaintext in pieces; a consumer that was not stopped by an error has the right ones, all of them.

        Authenticates the whole body before it decompresses any of it: the decompressor only ever reads what a
        holder of the keys wrote.
        """
        header = read_header(blob)
        if header.type is not kind:
            raise SealBrokenError(f"expected a {kind.name.lower()}, found a {header.type.name.lower()}")
        if identity is not None and header.identity != identity:
            raise SealBrokenError(f"expected identity {identity.hex()}, found {header.identity.hex()}")
        if len(blob) != header.blob_bytes:
            raise SealBrokenError(f"expected {header.blob_bytes} bytes, found {len(blob)}")
        if not self.keyring.knows(header.epoch):
            raise UnknownEpochError(header.epoch)
        keys = self.keyring.keys(header.epoch)
        body = memoryview(blob).cast("B")[HEADER_BYTES:]
        # What was read as a header is, to the byte, what packs again as that header.
        packed = bytes(memoryview(blob)[:HEADER_BYTES])
        key, context = _blob_key(header, keys.data_key), packed + self.keyring.repository_id.bytes
        limit = MAX_PLAIN_BYTES if max_plain_bytes is None else max_plain_bytes
        pieces = _decode(header.encoding, len(body) - TAG_BYTES, _authentic(body, key, context), limit)
        hasher = _hasher(kind, keys.identity_key)
        for piece in pieces:
            hasher.update(piece)
            yield piece
        if hasher.digest() != header.identity:
            raise SealBrokenError(
                f"expected content of identity {header.identity.hex()}, read {hasher.hexdigest()}"
            )


def _identify(kind: ObjectType, plaintext: Buffer | Iterable[Buffer], identity_key: bytes) -> bytes:
    pieces = [plaintext] if isinstance(plaintext, bytes | bytearray | memoryview) else plaintext
    hasher = _hasher(kind, identity_key)
    for piece in pieces:
        hasher.update(piece)
    return hasher.digest()


def _hasher(kind: ObjectType, identity_key: bytes) -> blake3:
    return blake3(kind.context + b"\n", key=identity_key)


def _blob_key(header: Header, data_key: bytes) -> bytes:
    """HKDF-SHA256 of 32 bytes, which is one HMAC to extract and one to expand (RFC 5869, sections 2.2 and 2.3).

    By the standard library's one-shot HMAC: ten thousand small tables need forty thousand keys, and the library's
    own HKDF objects took a second for them. The tests compare the two.
    """
    extracted = hmac.digest(header.salt, data_key, "sha256")
    return hmac.digest(extracted, header.type.context + b"\x01", "sha256")


def _slices(view: memoryview, size: int) -> Iterator[memoryview]:
    for start in range(0, len(view), size):
        yield view[start : start + size]


def _encrypt_in_pieces(key: bytes, context: bytes, pieces: Iterable[Buffer], target: memoryview) -> None:
    cipher = Cipher(algorithms.AES(key), modes.GCM(_NONCE)).encryptor()
    cipher.authenticate_additional_data(context)
    position = 0
    for piece in pieces:
        position += cipher.update_into(piece, target[position : position + len(piece)])
    cipher.finalize()
    target[position:] = cipher.tag


def _authentic(body: memoryview, key: bytes, context: bytes) -> Iterator[memoryview]:
    """The body decrypted, in pieces, none of them before all of it was authenticated.

    In one go where the body is small; else twice, which is cheaper than a second buffer of that size.
    """
    if len(body) <= _ONE_SHOT_BYTES:
        try:
            yield memoryview(AESGCM(key).decrypt(_NONCE, body, context))
        except InvalidTag as error:
            raise _altered() from error
        return
    for _ in _decrypt(body, key, context):
        pass
    yield from _decrypt(body, key, context)


def _altered() -> SealBrokenError:
    return SealBrokenError("its authentication tag does not match: it was altered")


def _decrypt(body: memoryview, key: bytes, context: bytes) -> Iterator[memoryview]:
    """The body decrypted in pieces, each valid until the next one is asked for; authentic only at the end."""
    cipher = Cipher(algorithms.AES(key), modes.GCM(_NONCE, bytes(body[-TAG_BYTES:]))).decryptor()
    cipher.authenticate_additional_data(context)
    scratch = memoryview(bytearray(min(UNPACK_PIECE, len(body))))
    for piece in _slices(body[:-TAG_BYTES], UNPACK_PIECE):
        yield scratch[: cipher.update_into(piece, scratch)]
    try:
        cipher.finalize()
    except InvalidTag as error:
        raise _altered() from error


def _decode(
    encoding: Encoding, encoded_bytes: int, pieces: Iterator[memoryview], limit: int
) -> Iterator[bytes | memoryview]:
    if encoding is Encoding.RAW:
        if encoded_bytes > limit:
            raise SealBrokenError(f"expected at most {limit} bytes of content, found {encoded_bytes}")
        yield from pieces
        return
    try:
        yield from unpack(pieces, limit)
    except MalformedFrameError as error:
        raise SealBrokenError(f"its content {error}") from error
