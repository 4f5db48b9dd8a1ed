"""What lies under `keys/` in clear: JSON with a checksum, written in exactly one way.

The checksum tells a damaged object from one that a secret does not fit; it proves nothing about who wrote it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from holdfast.domain.errors import ObjectMissingError
from holdfast.repository import layout
from holdfast.storage import Storage

MAX_BYTES: Final = 1024 * 1024
_AT_ONCE = 8


def read_key_objects(storage: Storage) -> list[tuple[str, bytes]]:
    """All objects under `keys/` (name, bytes), several at once: a distant storage takes its time for each."""
    names = [info.name for info in storage.list(layout.KEYS)]
    if len(names) <= 2:
        found = [_get(storage, name) for name in names]
    else:
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="holdfast-keys") as pool:
            found = list(pool.map(lambda name: _get(storage, name), names))
    return [(name, data) for name, data in zip(names, found, strict=True) if data is not None]


def _get(storage: Storage, name: str) -> bytes | None:
    try:
        return storage.get(name)
    except ObjectMissingError:
        return None  # removed since the listing


def with_checksum(document: Mapping[str, Any]) -> bytes:
    """The bytes of a document, its checksum added."""
    checksum = hashlib.sha256(canonical(document)).hexdigest()
    return _written({**document, "checksum": checksum})


def checked(data: bytes) -> dict[str, Any]:
    """The document without its checksum. Raises `ValueError` or `TypeError` unless it is, to the byte, what
    `with_checksum` returned."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"expected at most {MAX_BYTES} bytes, found {len(data)}")
    document = json.loads(data)
    if not isinstance(document, dict):
        raise TypeError("it is no JSON object")
    if _written(document) != data:
        raise ValueError("it was altered in bytes that carry no meaning")
    stated = document.pop("checksum")
    actual = hashlib.sha256(canonical(document)).hexdigest()
    if stated != actual:
        raise ValueError(f"expected checksum {stated}, computed {actual}")
    return document


def why(error: Exception) -> str:
    """What is wrong with a document that could not be read, for a message."""
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return "it is not JSON"
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    return str(error)


def canonical(document: Mapping[str, Any]) -> bytes:
    """What checksums and authentication cover: sorted keys, no spaces, ASCII."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def to_text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def from_text(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("it holds malformed base64") from error


def _written(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=1, ensure_ascii=True).encode("ascii") + b"\n"
