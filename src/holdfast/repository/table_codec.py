"""Table manifests and lists of large objects as JSON and back (docs/FORMAT.md, "Documents and manifests")."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.domain.manifest import ChunkRef, LargeObject, RangeRecord, TableManifest
from holdfast.domain.ranges import Cutting, PageRange
from holdfast.domain.tables import Column
from holdfast.repository.encoding import (
    FORMAT,
    Json,
    MalformedError,
    ObjectTable,
    decode_blob,
    decode_blobs,
    decode_name,
    encode_name,
    from_bytes,
    to_bytes,
)


def encode_tables(manifests: Iterable[TableManifest]) -> bytes:
    """The manifests of some tables in one document, which names each object once."""
    objects = ObjectTable()
    tables = [_encode_table(manifest, objects) for manifest in manifests]
    return to_bytes({"format": FORMAT, "tables": tables, "objects": objects.rows()})


def _encode_table(manifest: TableManifest, objects: ObjectTable) -> Json:
    ranges = [
        [
            record.pages.first,
            record.pages.end,
            record.rows,
            [[*objects.reference(chunk.blob), chunk.rows] for chunk in record.chunks],
        ]
        for record in manifest.ranges
    ]
    return {
        "oid": manifest.oid,
        "name": encode_name(manifest.name),
        "columns": [[column.attnum, column.name, column.type_name] for column in manifest.columns],
        "filenode": manifest.filenode,
        "fingerprint": manifest.fingerprint,
        "unlogged": manifest.unlogged,
        "condition": manifest.condition,
        "extension": manifest.extension,
        "load_via": encode_name(manifest.load_via),
        "pages_per_range": manifest.cutting.pages_per_range,
        "chunk_bytes": manifest.cutting.chunk_bytes,
        "ranges": ranges,
    }


def _decode_range(row: Json, objects: Json) -> RangeRecord:
    first, end, rows, chunks = row
    record = RangeRecord(
        pages=PageRange(first=first, end=end),
        rows=int(rows),
        chunks=tuple(ChunkRef(blob=decode_blob(chunk[:5], objects), rows=int(chunk[5])) for chunk in chunks),
    )
    if sum(chunk.rows for chunk in record.chunks) != record.rows:
        raise MalformedError("a range's rows are not the sum of its chunks' rows")
    return record


def _decode_table(document: Json, objects: Json) -> TableManifest:
    return TableManifest(
        oid=int(document["oid"]),
        name=decode_name(document["name"]),
        columns=tuple(
            Column(attnum=int(attnum), name=str(name), type_name=str(type_name))
            for attnum, name, type_name in document["columns"]
        ),
        filenode=document["filenode"],
        fingerprint=document["fingerprint"],
        unlogged=bool(document["unlogged"]),
        condition=str(document["condition"]),
        extension=document["extension"],
        load_via=None if document["load_via"] is None else decode_name(document["load_via"]),
        cutting=Cutting(
            pages_per_range=int(document["pages_per_range"]), chunk_bytes=int(document["chunk_bytes"])
        ),
        ranges=tuple(_decode_range(row, objects) for row in document["ranges"]),
    )


def _decode_tables(document: Json) -> dict[int, TableManifest]:
    objects = document["objects"]
    manifests = [_decode_table(table, objects) for table in document["tables"]]
    by_oid = {manifest.oid: manifest for manifest in manifests}
    if len(by_oid) != len(manifests):
        raise MalformedError("two of its tables have the same oid")
    return by_oid


def decode_tables(data: bytes) -> dict[int, TableManifest]:
    """The manifests of one document, by their tables' oids."""
    return from_bytes(data, _decode_tables)


def encode_large_objects(large_objects: Iterable[LargeObject]) -> bytes:
    objects = ObjectTable()
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
            pieces=decode_blobs(pieces, objects),
            statements=tuple(map(str, statements)),
        )
        for oid, size_bytes, pieces, statements in document["large_objects"]
    )


def decode_large_objects(data: bytes) -> tuple[LargeObject, ...]:
    return from_bytes(data, _decode_large_objects)
