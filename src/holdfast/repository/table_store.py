"""Table manifests stored: unchanged ones stay where they are, and where many are new, they share blobs.

Sealing costs the same for a manifest of 300 bytes as for one of 30 kB; ten thousand of them one by one took a
quarter of a backup's time. Only new ones share: so a table that changes often does not carry others along, and
nothing has to stay in the company in which it was stored first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from holdfast.domain.manifest import BlobRef, TableManifest
from holdfast.domain.tables import QualifiedName
from holdfast.repository.blobs import BlobWriter
from holdfast.repository.seal import ObjectType, Sealer
from holdfast.repository.table_codec import encode_tables

# Below, the time is nothing, and a damaged blob had better be one table's.
SHARE_FROM_TABLES = 500
TABLES_PER_BLOB = 50
SMALL_CHUNKS = 8


@dataclass(frozen=True, slots=True)
class KnownTable:
    """A manifest that is stored, in a blob that is present."""

    manifest: TableManifest
    ref: BlobRef


def store_tables(
    writer: BlobWriter,
    sealer: Sealer,
    manifests: Sequence[TableManifest],
    known: Mapping[QualifiedName, KnownTable],
) -> list[int | BlobRef]:
    """One place for each manifest, in their order: the reference of one that is stored already, or the writer's
    ticket, which several may share."""
    places: dict[int, int | BlobRef] = {}
    new = []
    for manifest in manifests:
        before = known.get(manifest.name)
        if before is not None and before.manifest == manifest:
            places[manifest.oid] = before.ref
        else:
            new.append(manifest)
    for group in _groups(new):
        plaintext = encode_tables(group)
        identity = sealer.identify(ObjectType.TABLE, plaintext)
        ticket = writer.add(ObjectType.TABLE, plaintext, identity=identity)
        places.update((manifest.oid, ticket) for manifest in group)
    return [places[manifest.oid] for manifest in manifests]


def _groups(manifests: Sequence[TableManifest]) -> Iterator[Sequence[TableManifest]]:
    if len(manifests) < SHARE_FROM_TABLES:
        yield from ([manifest] for manifest in manifests)
        return
    small = []
    for manifest in manifests:
        if _is_small(manifest):
            small.append(manifest)
        else:
            yield [manifest]
    for start in range(0, len(small), TABLES_PER_BLOB):
        yield small[start : start + TABLES_PER_BLOB]


def _is_small(manifest: TableManifest) -> bool:
    return sum(len(record.chunks) for record in manifest.ranges) <= SMALL_CHUNKS


def resolve(writer: BlobWriter, places: Iterable[int | BlobRef]) -> list[BlobRef]:
    """The references behind places, once the writer has finished."""
    return [place if isinstance(place, BlobRef) else writer[place] for place in places]
