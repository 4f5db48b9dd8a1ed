"""The parent snapshot, as far as a new one may reuse it: blobs that are present, by identity."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import BlobRef, Root, SnapshotSummary, TableManifest
from holdfast.domain.tables import QualifiedName
from holdfast.repository import layout
from holdfast.repository.blobs import BlobWriter
from holdfast.repository.repo import Repository
from holdfast.repository.runs.reuse import is_present, list_sizes, thin_packs
from holdfast.repository.seal import ObjectType
from holdfast.repository.table_store import KnownTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """`known` holds the definitions and large objects that are present, by identity; `known_tables` the table
    manifests."""

    root: Root | None = None
    tables: dict[QualifiedName, TableManifest] = field(default_factory=dict)
    known_tables: dict[QualifiedName, KnownTable] = field(default_factory=dict)
    known: dict[bytes, BlobRef] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def snapshot(self) -> SnapshotId | None:
        return None if self.root is None else self.root.snapshot

    def chunks_of(self, manifest: TableManifest) -> dict[bytes, BlobRef]:
        """The present chunks of one of its tables, by identity."""
        return self._present(chunk.blob for chunk in manifest.chunks())

    def _present(self, refs: Iterable[BlobRef]) -> dict[bytes, BlobRef]:
        return {ref.identity: ref for ref in refs if is_present(ref, self.sizes)}


def load_parent(repository: Repository, summary: SnapshotSummary | None) -> Parent:
    """Read the parent's manifests and list the objects they name.

    Raises `DamagedError` if the parent cannot be read: a broken newest snapshot must be heard of, not passed
    over. `backup --full` goes on without it.
    """
    if summary is None:
        return Parent()
    root = repository.root(summary)
    manifests = list(repository.tables(root.tables))
    large_objects = list(repository.large_objects(root))
    refs = [*root.archive.pieces, *root.large_objects.lists]
    refs.extend(piece for item in large_objects for piece in item.pieces)
    below = [chunk.blob for _, manifest in manifests for chunk in manifest.chunks()]
    below.extend(entry.manifest for entry in root.tables)
    named = {ref.object_name for ref in (*refs, *below)}
    sizes = list_sizes(repository.storage, {layout.snapshot_in(name) for name in named})
    for thin in thin_packs([*refs, *below]):
        sizes.pop(thin, None)  # as if it were gone: what is left of it is stored anew, and it dies whole
    known = {ref.identity: ref for ref in refs if is_present(ref, sizes)}
    return Parent(
        root=root,
        tables={manifest.name: manifest for _, manifest in manifests},
        known_tables={
            manifest.name: KnownTable(manifest, entry.manifest)
            for entry, manifest in manifests
            if is_present(entry.manifest, sizes)
        },
        known=known,
        sizes=sizes,
    )


class ReusingWriter:
    """A blob writer that first looks among the parent's blobs. For what the coordinator itself stores."""

    def __init__(self, writer: BlobWriter, repository: Repository, known: dict[bytes, BlobRef]) -> None:
        self._writer = writer
        self._sealer = repository.sealer
        self._known = known
        self._references: list[int | BlobRef] = []

    def add(self, kind: ObjectType, plaintext: bytes | memoryview) -> int:
        """Store or reuse; returns a ticket, valid after `finish`."""
        identity = self._sealer.identify(kind, plaintext)
        known = self._known.get(identity)
        self._references.append(
            known if known is not None else self._writer.add(kind, plaintext, identity=identity)
        )
        return len(self._references) - 1

    def finish(self) -> tuple[BlobRef, ...]:
        """Every reference, in the order of the tickets."""
        self._writer.finish()
        return tuple(
            reference if isinstance(reference, BlobRef) else self._writer[reference]
            for reference in self._references
        )

    @property
    def stored_bytes(self) -> int:
        return self._writer.stored_bytes
