"""The tables of an archive as a restore needs to find them: by name, by entry, by partitioned root; and the locks
under which statements on them must run.

Invariant: two statements whose locks do not collide here do not wait for each other on the server either.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.domain.tables import QualifiedName, Tier
from holdfast.postgres.archive import Archive, Entry
from holdfast.postgres.rebuild_plan import TableLoad
from holdfast.postgres.selection import families, name_of

Key = Hashable


@dataclass(frozen=True, slots=True, kw_only=True)
class Locks:
    own: frozenset[Key]
    family: frozenset[Key]

    @property
    def all(self) -> frozenset[Key]:
        return self.own | self.family


@dataclass(frozen=True, slots=True, kw_only=True)
class TableIndex:
    """The archive's tables by name, by entry and by partitioned root."""

    archive: Archive
    tops: Mapping[int, int]
    parents: frozenset[int]
    loads: Mapping[QualifiedName, TableLoad]
    by_name: Mapping[QualifiedName, int]
    below: Mapping[int, Sequence[QualifiedName]]

    @classmethod
    def of(cls, archive: Archive, tables: Iterable[TableLoad]) -> TableIndex:
        tops = families(archive)
        inner = {
            other
            for entry in archive.entries
            if entry.kind == "TABLE ATTACH"
            for other in entry.dependencies
            if (needed := archive.by_id.get(other)) is not None
            and (needed.schema, needed.tag) != (entry.schema, entry.tag)
        }
        below: dict[int, list[QualifiedName]] = {}
        for member, top in tops.items():
            below.setdefault(top, []).append(name_of(archive.by_id[member]))
        return cls(
            archive=archive,
            below=below,
            tops=tops,
            parents=frozenset(inner),
            loads={table.name: table for table in tables},
            by_name={name_of(entry): entry.id for entry in archive.entries if entry.kind == "TABLE"},
        )

    def size(self, name: QualifiedName) -> int:
        table = self.loads.get(name)
        if table is not None:
            return table.plain_bytes
        return sum(self.loads[member].plain_bytes for member in self.members(name) if member in self.loads)

    def tier(self, name: QualifiedName) -> Tier:
        found = [self.loads[member].tier for member in [name, *self.members(name)] if member in self.loads]
        return min(found, key=lambda tier: tier.rank, default=Tier.NORMAL)

    def members(self, root: QualifiedName) -> Sequence[QualifiedName]:
        """Everything below this topmost table, if it is one."""
        return self.below.get(self.by_name.get(root, 0), ())

    def with_members(self, names: Iterable[QualifiedName]) -> set[QualifiedName]:
        return {member for name in names for member in (name, *self.members(name))}

    def tables_of(self, entry: Entry) -> set[QualifiedName]:
        """The tables that an index or a constraint is of; through its indexes, for INDEX ATTACH."""
        found: set[QualifiedName] = set()
        for identifier in entry.dependencies:
            needed = self.archive.by_id.get(identifier)
            if needed is None:
                continue
            if needed.kind in {"TABLE", "MATERIALIZED VIEW", "FOREIGN TABLE"}:
                found.add(name_of(needed))
            elif entry.kind == "INDEX ATTACH" and needed.kind in {"INDEX", "CONSTRAINT"}:
                found |= self.tables_of(needed)
        return found

    def locks(self, name: QualifiedName) -> Locks:
        identifier = self.by_name.get(name)
        family: frozenset[Key] = frozenset()
        if identifier is not None and (identifier in self.tops or identifier in self.parents):
            family = frozenset({("family", self.tops.get(identifier, identifier))})
        return Locks(own=frozenset({("table", name)}), family=family)

    def build_locks(self, entry: Entry) -> tuple[frozenset[Key], frozenset[Key]]:
        """CREATE INDEX shares its table with others of its kind; a constraint has it alone, and a parent's
        constraint all of its family, whose tables the server locks too."""
        names = self.tables_of(entry)
        own = frozenset[Key]().union(*(self.locks(name).own for name in names))
        family = frozenset[Key]().union(*(self.locks(name).family for name in names))
        if entry.kind == "INDEX":
            return frozenset(), own | family
        if entry.kind == "INDEX ATTACH":
            return frozenset(("attach", key) for key in family), own | family
        if any(self.by_name.get(name) in self.parents for name in names):
            return own | family, frozenset()
        return own, family

    def subject_locks(self, entry: Entry) -> frozenset[Key]:
        """The locks of the table that a foreign key is on: its tag begins with that table's name."""
        for name in self.tables_of(entry):
            if name.schema == entry.schema and entry.tag.startswith(f"{name.name} "):
                return self.locks(name).own
        return frozenset[Key]().union(*(self.locks(name).own for name in self.tables_of(entry)))

    def own_builds(self, builds: Sequence[Entry]) -> dict[QualifiedName, list[Entry]]:
        """For each table outside of families: the builds that wait for nothing but that table."""
        found: dict[QualifiedName, list[Entry]] = {}
        settled: set[int] = set()
        known = {entry.id for entry in builds}
        for entry in builds:
            names = self.tables_of(entry)
            if entry.kind == "INDEX ATTACH" or len(names) != 1:
                continue
            (name,) = names
            if name not in self.loads or self.by_name.get(name) in self.parents:
                continue
            if all(other in settled for other in entry.dependencies if other in known):
                found.setdefault(name, []).append(entry)
                settled.add(entry.id)
        return found
