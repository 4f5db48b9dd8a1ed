"""What a copy consists of: the blobs below its manifests, cut into tasks, and the manifests with new places."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from holdfast.domain.manifest import BlobRef, Root, TableManifest
from holdfast.domain.tables import QualifiedName
from holdfast.repository.seal import ObjectType
from holdfast.repository.table_codec import encode_large_objects
from holdfast.workflows.shared_blobs import Contents

TASK_BYTES = 16 * 1024 * 1024
DEFINITIONS = QualifiedName(schema="", name="definitions")
LARGE_OBJECTS = QualifiedName(schema="", name="large objects")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One blob to be read and sent, and the table on whose behalf."""

    kind: ObjectType
    ref: BlobRef
    table: QualifiedName


def wanted_of(contents: Contents) -> dict[bytes, Wanted]:
    """Every blob below the manifests, once, by its identity in the source."""
    wanted: dict[bytes, Wanted] = {}
    for piece in contents.root.archive.pieces:
        wanted[piece.identity] = Wanted(ObjectType.ARCHIVE, piece, DEFINITIONS)
    for table in contents.tables:
        for chunk in table.chunks():
            wanted[chunk.blob.identity] = Wanted(ObjectType.CHUNK, chunk.blob, table.name)
    for item in (item for group in contents.large_objects for item in group):
        for piece in item.pieces:
            wanted[piece.identity] = Wanted(ObjectType.CHUNK, piece, LARGE_OBJECTS)
    return wanted


def manifest_refs(root: Root) -> Iterator[BlobRef]:
    yield from (entry.manifest for entry in root.tables)
    yield from root.large_objects.lists


def cut_tasks(missing: Iterable[Wanted]) -> Iterator[list[Wanted]]:
    """Tasks of about a pack each, in the order in which the blobs lie in the source: a pack is fetched once."""
    task: list[Wanted] = []
    size = 0
    for item in sorted(missing, key=lambda item: (item.ref.object_name, item.ref.offset)):
        if task and size + item.ref.length > TASK_BYTES:
            yield task
            task, size = [], 0
        task.append(item)
        size += item.ref.length
    if task:
        yield task


def tables_of(contents: Contents, places: dict[bytes, BlobRef]) -> list[TableManifest]:
    """The table manifests as the destination has them."""
    return [
        replace(
            table,
            ranges=tuple(
                replace(
                    record,
                    chunks=tuple(replace(chunk, blob=places[chunk.blob.identity]) for chunk in record.chunks),
                )
                for record in table.ranges
            ),
        )
        for table in contents.tables
    ]


def lists_of(contents: Contents, places: dict[bytes, BlobRef]) -> Iterator[bytes]:
    """The lists of large objects as the destination stores them."""
    for group in contents.large_objects:
        items = [
            replace(item, pieces=tuple(places[piece.identity] for piece in item.pieces)) for item in group
        ]
        yield encode_large_objects(items)
