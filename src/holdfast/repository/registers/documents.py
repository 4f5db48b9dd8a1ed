"""Small sealed JSON documents under fixed names: outcomes, writers, journal entries, verification records.

A document says inside what it is about, and readers compare it with the name they asked for: two documents
that changed places are damage, not data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from holdfast.domain.errors import DamagedError, ObjectMissingError
from holdfast.repository.blobs import missing
from holdfast.repository.encoding import FORMAT, MalformedError, from_bytes, to_bytes
from holdfast.repository.seal import ObjectType, SealBrokenError, Sealer, read_header
from holdfast.storage import Buffer, Storage

T = TypeVar("T")

MAX_DOCUMENT_BYTES = 64 * 1024 * 1024


def seal_document(sealer: Sealer, kind: ObjectType, document: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """The sealed bytes of a document and its identity."""
    plaintext = to_bytes({"format": FORMAT, **document})
    identity = sealer.identify(kind, plaintext)
    return bytes(sealer.seal_checked(kind, plaintext, identity=identity)), identity


def read_document(
    storage: Storage, sealer: Sealer, kind: ObjectType, name: str, decode: Callable[[Any], T]
) -> tuple[T, bytes]:
    """Fetch, open and decode a document; returns it with its identity.

    Raises `DamagedError` with the object's name when it is missing, altered, or not of the expected shape.
    """
    try:
        sealed = storage.get(name)
    except ObjectMissingError as error:
        raise missing(name) from error
    return open_document(sealer, kind, name, sealed, decode)


def open_document(
    sealer: Sealer, kind: ObjectType, name: str, sealed: Buffer, decode: Callable[[Any], T]
) -> tuple[T, bytes]:
    """Open and decode the bytes of a document that lie in the object `name`, like `read_document`."""
    try:
        plaintext = sealer.open(sealed, type=kind, identity=None, max_plain_bytes=MAX_DOCUMENT_BYTES)
        # Opening compared the content with the identity in the header; computing it again would need the
        # current epoch's identity key, which may be another one.
        return from_bytes(plaintext, decode), read_header(sealed).identity
    except (SealBrokenError, MalformedError) as error:
        raise DamagedError(f"object {name} is damaged: {error}", object_name=name) from error


def expect_name(name: str, expected: str) -> None:
    """Raise `DamagedError` if a document turned out to belong to another name."""
    if name != expected:
        raise DamagedError(f"object {name} is damaged: it holds what belongs to {expected}", object_name=name)
