"""What two repositories share: the blobs of a snapshot that both hold, matched one to one.

A copy keeps the original's order of tables, ranges, chunks and pieces, so the n-th blob of one is the n-th of the
other, although keys, identities and places differ. Where the two do not have the same structure, nothing is
matched there, and what is not matched is copied again. A blob counts as present only if the destination's listing
shows its object with the right size, and with the right checksum where the storage vouches for one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import BlobRef, LargeObject, Root, SnapshotSummary, TableManifest
from holdfast.domain.tables import QualifiedName
from holdfast.repository import layout
from holdfast.repository.repo import Repository
from holdfast.repository.runs.reuse import list_objects, thin_packs
from holdfast.repository.table_store import KnownTable
from holdfast.storage import ObjectInfo, Storage

WHOLE_LEVEL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """A snapshot's manifests, read: tables in the order of the root, large objects list by list."""

    root: Root
    tables: tuple[TableManifest, ...]
    large_objects: tuple[tuple[LargeObject, ...], ...]


def read_contents(repository: Repository, summary: SnapshotSummary) -> Contents:
    """All manifests of one snapshot, held in memory as a backup holds them; raises `DamagedError`."""
    root = repository.root(summary)
    by_oid = {entry.oid: manifest for entry, manifest in repository.tables(root.tables)}
    return Contents(
        root=root,
        tables=tuple(by_oid[entry.oid] for entry in root.tables),
        large_objects=tuple(repository.large_object_list(ref) for ref in root.large_objects.lists),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Blobs that are present at the destination: by their identity in the source, and by their identity there.

    `tables` are the table manifests there. `objects` is the listing that says so.
    """

    by_source: Mapping[bytes, BlobRef] = field(default_factory=dict)
    by_destination: Mapping[bytes, BlobRef] = field(default_factory=dict)
    tables: Mapping[QualifiedName, KnownTable] = field(default_factory=dict)
    objects: Mapping[str, ObjectInfo] = field(default_factory=dict)

    def level_of(self, reused: Iterable[BlobRef]) -> int:
        """Which level the listing alone proves for these: 2 where the storage vouches for every checksum, else 1;
        of nothing, any."""
        level = WHOLE_LEVEL
        for ref in reused:
            info = self.objects.get(ref.object_name)
            level = min(level, 2 if info is not None and info.md5 == ref.object_md5 else 1)
        return level


def find_shared(before: Contents, there: Contents, storage: Storage) -> Shared:
    """Match a base as the source holds it with the same base as the destination holds it."""
    pairs = list(_pairs(before, there))
    known = list(_everything(there))
    thin = thin_packs(known)
    listed = list_objects(storage, _writers_of(known))
    objects = {name: info for name, info in listed.items() if name not in thin}
    return Shared(
        by_source={mine.identity: theirs for mine, theirs in pairs if _is_present(theirs, objects)},
        by_destination={ref.identity: ref for ref in known if _is_present(ref, objects)},
        tables={
            table.name: KnownTable(table, entry.manifest)
            for entry, table in zip(there.root.tables, there.tables, strict=True)
            if _is_present(entry.manifest, objects)
        },
        objects=objects,
    )


def _is_present(ref: BlobRef, objects: Mapping[str, ObjectInfo]) -> bool:
    info = objects.get(ref.object_name)
    return info is not None and info.size_bytes == ref.object_bytes and info.md5 in (None, ref.object_md5)


def _writers_of(refs: Iterable[BlobRef]) -> set[SnapshotId]:
    return {layout.snapshot_in(name) for name in {ref.object_name for ref in refs}}


def _everything(contents: Contents) -> Iterator[BlobRef]:
    """All blobs of a snapshot below its root, manifests too."""
    yield from contents.root.archive.pieces
    yield from contents.root.large_objects.lists
    for entry in contents.root.tables:
        yield entry.manifest
    for table in contents.tables:
        yield from _blobs(table)
    for group in contents.large_objects:
        for item in group:
            yield from item.pieces


def _pairs(one: Contents, other: Contents) -> Iterator[tuple[BlobRef, BlobRef]]:
    yield from _matched(one.root.archive.pieces, other.root.archive.pieces)
    theirs: dict[QualifiedName, TableManifest] = {table.name: table for table in other.tables}
    for table in one.tables:
        match = theirs.get(table.name)
        if match is not None and _shape(table) == _shape(match):
            yield from _matched(_blobs(table), _blobs(match))
    for group, other_group in zip(one.large_objects, other.large_objects, strict=False):
        for item, other_item in zip(group, other_group, strict=False):
            if (item.oid, item.size_bytes) == (other_item.oid, other_item.size_bytes):
                yield from _matched(item.pieces, other_item.pieces)


def _shape(table: TableManifest) -> tuple[object, ...]:
    """Everything that a copy leaves as it is; two manifests of the same rows in the same order agree in it."""
    ranges = tuple((record.pages, tuple(chunk.rows for chunk in record.chunks)) for record in table.ranges)
    return table.oid, table.columns, ranges


def _blobs(table: TableManifest) -> tuple[BlobRef, ...]:
    return tuple(chunk.blob for chunk in table.chunks())


def _matched(ones: tuple[BlobRef, ...], others: tuple[BlobRef, ...]) -> Iterator[tuple[BlobRef, BlobRef]]:
    if [ref.plain_bytes for ref in ones] == [ref.plain_bytes for ref in others]:
        yield from zip(ones, others, strict=True)
