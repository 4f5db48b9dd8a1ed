"""Partitions whose partitioned table is not in the archive: the role could not read it, so pg_dump passed it over.

The archive still tells to attach them to it, which no server can do. They come back as tables of their own.
"""

from __future__ import annotations

from dataclasses import replace

from holdfast.domain.tables import QualifiedName
from holdfast.postgres.archive import Archive, Entry

_TABLES = frozenset({"TABLE", "FOREIGN TABLE"})
_INDEXES = frozenset({"INDEX", "CONSTRAINT"})


def set_orphans_free(archive: Archive) -> tuple[Archive, tuple[QualifiedName, ...]]:
    """The archive without what would attach such partitions and their indexes, and the partitions' names."""
    attached = [entry for entry in archive.entries if entry.kind == "TABLE ATTACH"]
    orphans = {}
    for entry in attached:
        tables = _needed(archive, entry, _TABLES)
        if len(tables) < 2:
            orphans[entry.id] = tables
    if not orphans:
        return archive, ()
    partitions = {table.id for tables in orphans.values() for table in tables}
    dropped = set(orphans) | {
        entry.id
        for entry in archive.entries
        if entry.kind == "INDEX ATTACH" and _hangs_on(archive, entry, partitions)
    }
    left = tuple(entry for entry in archive.entries if entry.id not in dropped)
    names = [
        QualifiedName(schema=entry.schema or "", name=entry.tag) for entry in attached if entry.id in orphans
    ]
    return replace(archive, entries=left, by_id={entry.id: entry for entry in left}), tuple(names)


def _hangs_on(archive: Archive, attach: Entry, partitions: set[int]) -> bool:
    """Whether an index is to be attached to one that the archive lacks, and belongs to one of these partitions."""
    indexes = _needed(archive, attach, _INDEXES)
    return len(indexes) < 2 and any(
        table.id in partitions for index in indexes for table in _needed(archive, index, _TABLES)
    )


def _needed(archive: Archive, entry: Entry, kinds: frozenset[str]) -> list[Entry]:
    return [
        needed
        for identifier in entry.dependencies
        if (needed := archive.by_id.get(identifier)) is not None and needed.kind in kinds
    ]
