"""Manifests as JSON and back. docs/FORMAT.md describes every field; a golden repository in the tests holds it.

Decoding trusts nothing: whatever is not of the expected shape is `MalformedError`, which the caller turns
into damage with the object's name. Unknown fields are ignored, since features guard what must be understood.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from holdfast.domain.coverage import CoverageEntry, CoverageStatus
from holdfast.domain.ids import SnapshotId, parse_snapshot_id
from holdfast.domain.manifest import (
    ArchiveRef,
    BlobRef,
    ChunkRef,
    DatabaseFacts,
    Instant,
    LargeObject,
    LargeObjectsRef,
    Lineage,
    RangeRecord,
    Role,
    RoleMembership,
    Root,
    SnapshotState,
    SnapshotSummary,
    TableEntry,
    TableManifest,
)
from holdfast.domain.ranges import PageRange
from holdfast.domain.tables import Column, QualifiedName, SequenceValue, Tier

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


class _ObjectTable:
    """Objects are named once per document; references give their place in that list."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, int, str], int] = {}

    def reference(self, blob: BlobRef) -> list[Json]:
        key = (blob.object_name, blob.object_bytes, blob.object_md5)
        place = self._places.setdefault(key, len(self._places))
        return [place, blob.offset, blob.length, blob.identity.hex(), blob.plain_bytes]

    def rows(self) -> list[Json]:
        return [list(key) for key in self._places]


def _blob(row: Json, objects: Json) -> BlobRef:
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


def _blobs(rows: Json, objects: Json) -> tuple[BlobRef, ...]:
    return tuple(_blob(row, objects) for row in rows)


def _name(name: QualifiedName | None) -> Json:
    return None if name is None else [name.schema, name.name]


def _parse_name(row: Json) -> QualifiedName:
    schema, name = row
    return QualifiedName(schema=str(schema), name=str(name))


def encode_table(manifest: TableManifest) -> bytes:
    objects = _ObjectTable()
    ranges = [
        [
            record.pages.first,
            record.pages.end,
            record.rows,
            [[*objects.reference(chunk.blob), chunk.rows] for chunk in record.chunks],
        ]
        for record in manifest.ranges
    ]
    return to_bytes(
        {
            "format": FORMAT,
            "oid": manifest.oid,
            "name": _name(manifest.name),
            "columns": [[column.attnum, column.name, column.type_name] for column in manifest.columns],
            "filenode": manifest.filenode,
            "fingerprint": manifest.fingerprint,
            "unlogged": manifest.unlogged,
            "condition": manifest.condition,
            "extension": manifest.extension,
            "load_via": _name(manifest.load_via),
            "pages_per_range": manifest.pages_per_range,
            "objects": objects.rows(),
            "ranges": ranges,
        }
    )


def _decode_range(row: Json, objects: Json) -> RangeRecord:
    first, end, rows, chunks = row
    record = RangeRecord(
        pages=PageRange(first=first, end=end),
        rows=int(rows),
        chunks=tuple(ChunkRef(blob=_blob(chunk[:5], objects), rows=int(chunk[5])) for chunk in chunks),
    )
    if sum(chunk.rows for chunk in record.chunks) != record.rows:
        raise MalformedError("a range's rows are not the sum of its chunks' rows")
    return record


def _decode_table(document: Json) -> TableManifest:
    objects = document["objects"]
    return TableManifest(
        oid=int(document["oid"]),
        name=_parse_name(document["name"]),
        columns=tuple(
            Column(attnum=int(attnum), name=str(name), type_name=str(type_name))
            for attnum, name, type_name in document["columns"]
        ),
        filenode=document["filenode"],
        fingerprint=document["fingerprint"],
        unlogged=bool(document["unlogged"]),
        condition=str(document["condition"]),
        extension=document["extension"],
        load_via=None if document["load_via"] is None else _parse_name(document["load_via"]),
        pages_per_range=int(document["pages_per_range"]),
        ranges=tuple(_decode_range(row, objects) for row in document["ranges"]),
    )


def decode_table(data: bytes) -> TableManifest:
    return from_bytes(data, _decode_table)


def encode_large_objects(large_objects: Iterable[LargeObject]) -> bytes:
    objects = _ObjectTable()
    rows = [
        [
            item.oid,
            item.size_bytes,
            [objects.reference(piece) for piece in item.pieces],
            list(item.statements),
        ]
        for item in large_objects
    ]
    return to_bytes({"format": FORMAT, "objects": objects.rows(), "large_objects": rows})


def _decode_large_objects(document: Json) -> tuple[LargeObject, ...]:
    objects = document["objects"]
    return tuple(
        LargeObject(
            oid=int(oid),
            size_bytes=int(size_bytes),
            pieces=_blobs(pieces, objects),
            statements=tuple(map(str, statements)),
        )
        for oid, size_bytes, pieces, statements in document["large_objects"]
    )


def decode_large_objects(data: bytes) -> tuple[LargeObject, ...]:
    return from_bytes(data, _decode_large_objects)


def _encode_instant(instant: Instant) -> Json:
    return {
        "taken_at": moment(instant.taken_at),
        "xmin": instant.xmin,
        "xmax": instant.xmax,
        "wal_lsn": instant.wal_lsn,
        "on_standby": instant.on_standby,
    }


def _decode_instant(row: Json) -> Instant:
    return Instant(
        taken_at=parse_moment(row["taken_at"]),
        xmin=int(row["xmin"]),
        xmax=int(row["xmax"]),
        wal_lsn=row["wal_lsn"],
        on_standby=bool(row["on_standby"]),
    )


_DATABASE_FIELDS = (
    "name",
    "owner",
    "encoding",
    "locale_provider",
    "collate",
    "ctype",
    "locale",
    "icu_rules",
    "server_version",
    "server_version_text",
)


def encode_root(root: Root) -> bytes:
    objects = _ObjectTable()
    tables = [
        [
            table.oid,
            _name(table.name),
            table.tier.value,
            table.rows,
            table.plain_bytes,
            objects.reference(table.manifest),
        ]
        for table in root.tables
    ]
    archive = {
        "size_bytes": root.archive.size_bytes,
        "tool_version": root.archive.tool_version,
        "pieces": [objects.reference(piece) for piece in root.archive.pieces],
    }
    large_objects = {
        "count": root.large_objects.count,
        "size_bytes": root.large_objects.size_bytes,
        "lists": [objects.reference(blob) for blob in root.large_objects.lists],
    }
    database: dict[str, Json] = {name: getattr(root.database, name) for name in _DATABASE_FIELDS}
    database["statements"] = list(root.database.statements)
    return to_bytes(
        {
            "format": FORMAT,
            "snapshot": root.snapshot,
            "source": root.source,
            "parent": root.parent,
            "tags": list(root.tags),
            "started_at": moment(root.started_at),
            "holdfast_version": root.holdfast_version,
            "lineage": {
                "system_identifier": root.lineage.system_identifier,
                "timeline": root.lineage.timeline,
                "database_oid": root.lineage.database_oid,
            },
            "instant": _encode_instant(root.instant),
            "database": database,
            "archive": archive,
            "tables": tables,
            "sequences": [
                [item.oid, _name(item.name), item.last_value, item.is_called] for item in root.sequences
            ],
            "large_objects": large_objects,
            "matviews": [_name(name) for name in root.matviews],
            "roles": [
                [role.name, list(role.options), list(role.settings), role.comment, role.has_password]
                for role in root.roles
            ],
            "memberships": [
                [item.role, item.member, item.grantor, list(item.options)] for item in root.memberships
            ],
            "coverage": [
                [entry.kind, entry.name, entry.status.value, entry.reason, entry.remedy]
                for entry in root.coverage
            ],
            "journal_position": root.journal_position,
            "objects": objects.rows(),
        }
    )


def _decode_table_entry(row: Json, objects: Json) -> TableEntry:
    oid, name, tier, rows, plain_bytes, manifest = row
    return TableEntry(
        oid=int(oid),
        name=_parse_name(name),
        tier=Tier(tier),
        rows=int(rows),
        plain_bytes=int(plain_bytes),
        manifest=_blob(manifest, objects),
    )


def _optional_id(text: str | None) -> SnapshotId | None:
    return None if text is None else parse_snapshot_id(text)


def _decode_root(document: Json) -> Root:
    objects = document["objects"]
    lineage, archive = document["lineage"], document["archive"]
    large_objects, database = document["large_objects"], document["database"]
    return Root(
        snapshot=parse_snapshot_id(document["snapshot"]),
        source=str(document["source"]),
        parent=_optional_id(document["parent"]),
        tags=tuple(map(str, document["tags"])),
        started_at=parse_moment(document["started_at"]),
        holdfast_version=str(document["holdfast_version"]),
        lineage=Lineage(
            system_identifier=str(lineage["system_identifier"]),
            timeline=int(lineage["timeline"]),
            database_oid=int(lineage["database_oid"]),
        ),
        instant=_decode_instant(document["instant"]),
        database=DatabaseFacts(
            **{name: database[name] for name in _DATABASE_FIELDS},
            statements=tuple(map(str, database["statements"])),
        ),
        archive=ArchiveRef(
            pieces=_blobs(archive["pieces"], objects),
            size_bytes=int(archive["size_bytes"]),
            tool_version=str(archive["tool_version"]),
        ),
        tables=tuple(_decode_table_entry(row, objects) for row in document["tables"]),
        sequences=tuple(
            SequenceValue(
                oid=int(oid), name=_parse_name(name), last_value=int(last_value), is_called=bool(is_called)
            )
            for oid, name, last_value, is_called in document["sequences"]
        ),
        large_objects=LargeObjectsRef(
            count=int(large_objects["count"]),
            size_bytes=int(large_objects["size_bytes"]),
            lists=_blobs(large_objects["lists"], objects),
        ),
        matviews=tuple(_parse_name(row) for row in document["matviews"]),
        roles=tuple(
            Role(
                name=str(name),
                options=tuple(options),
                settings=tuple(settings),
                comment=comment,
                has_password=has_password,
            )
            for name, options, settings, comment, has_password in document["roles"]
        ),
        memberships=tuple(
            RoleMembership(role=role, member=member, grantor=grantor, options=tuple(options))
            for role, member, grantor, options in document["memberships"]
        ),
        coverage=tuple(
            CoverageEntry(kind=kind, name=name, status=CoverageStatus(status), reason=reason, remedy=remedy)
            for kind, name, status, reason, remedy in document["coverage"]
        ),
        journal_position=int(document["journal_position"]),
    )


def decode_root(data: bytes) -> Root:
    return from_bytes(data, _decode_root)


def encode_summary(summary: SnapshotSummary) -> dict[str, Json]:
    objects = _ObjectTable()
    return {
        "snapshot": summary.snapshot,
        "source": summary.source,
        "taken_at": moment(summary.taken_at),
        "state": summary.state.value,
        "tags": list(summary.tags),
        "tables": summary.tables,
        "rows": summary.rows,
        "plain_bytes": summary.plain_bytes,
        "stored_bytes": summary.stored_bytes,
        "parent": summary.parent,
        "root": objects.reference(summary.root),
        "objects": objects.rows(),
    }


def decode_summary(document: Json) -> SnapshotSummary:
    return SnapshotSummary(
        snapshot=parse_snapshot_id(document["snapshot"]),
        source=str(document["source"]),
        taken_at=parse_moment(document["taken_at"]),
        state=SnapshotState(document["state"]),
        tags=tuple(map(str, document["tags"])),
        tables=int(document["tables"]),
        rows=int(document["rows"]),
        plain_bytes=int(document["plain_bytes"]),
        stored_bytes=int(document["stored_bytes"]),
        parent=_optional_id(document["parent"]),
        root=_blob(document["root"], document["objects"]),
    )
