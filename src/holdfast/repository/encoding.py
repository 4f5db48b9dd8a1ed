"""What all documents and manifests share: JSON, moments, names, references to blobs.

Decoding trusts nothing: whatever is not of the expected shape is `MalformedError`, which the caller turns
into damage with the object's name. Unknown fields are ignored, since features guard what must be understood.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from holdfast.domain.ids import SnapshotId, parse_snapshot_id
from holdfast.domain.manifest import BlobRef
from holdfast.domain.tables import QualifiedName

FORMAT = 1

T = TypeVar("T")
Json = Any


class MalformedError(ValueError):
    """A manifest is not of the shape that docs/FORMAT.md gives it."""


def to_bytes(document: Mapping[str, Json]) -> bytes:
    """Compact JSON in ASCII: lone surrogates (names in SQL_ASCII databases) survive as escapes."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def from_bytes(data: bytes, decode: Callable[[Json], T]) -> T:
    """Parse and decode; any surprise is `MalformedError`."""
    try:
        document = json.loads(data)
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise MalformedError("not a document of format 1")
        return decode(document)
    except MalformedError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise MalformedError(f"{type(error).__name__}: {error}") from error


def moment(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_moment(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise MalformedError(f"a moment without a time zone: {text}")
    return value.astimezone(UTC)


class ObjectTable:
    """Objects are named once per document; references give their place in that list."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, int, str], int] = {}

    def reference(self, blob: BlobRef) -> list[Json]:
        key = (blob.object_name, blob.object_bytes, blob.object_md5)
        place = self._places.setdefault(key, len(self._places))
        return [place, blob.offset, blob.length, blob.identity.hex(), blob.plain_bytes]

    def rows(self) -> list[Json]:
        return [list(key) for key in self._places]


def decode_blob(row: Json, objects: Json) -> BlobRef:
    place, offset, length, identity, plain_bytes = row
    if place < 0:
        raise MalformedError(f"no object at place {place}")
    name, object_bytes, md5 = objects[place]
    return BlobRef(
        object_name=str(name),
        offset=int(offset),
        length=int(length),
        object_bytes=int(object_bytes),
        object_md5=str(md5),
        identity=bytes.fromhex(identity),
        plain_bytes=int(plain_bytes),
    )


def decode_blobs(rows: Json, objects: Json) -> tuple[BlobRef, ...]:
    return tuple(decode_blob(row, objects) for row in rows)


def encode_name(name: QualifiedName | None) -> Json:
    return None if name is None else [name.schema, name.name]


def decode_name(row: Json) -> QualifiedName:
    schema, name = row
    return QualifiedName(schema=str(schema), name=str(name))


def optional_id(text: str | None) -> SnapshotId | None:
    return None if text is None else parse_snapshot_id(text)
