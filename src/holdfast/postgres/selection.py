"""Which entries of an archive are restored, by whom and when.

Invariant: every entry of the archive that was asked for is in exactly one phase, and a phase never holds an entry
that waits for one of a later phase. What cannot come (a foreign key to a table that is not restored) is named.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from holdfast.domain.tables import QualifiedName, TablePatterns
from holdfast.postgres.archive import Archive, Entry, Section

# Settings of the archive and of the database itself: not things in the database.
_OUTSIDE = frozenset({"DATABASE", "DATABASE PROPERTIES"})
_ROWS = frozenset({"TABLE DATA", "MATERIALIZED VIEW DATA", "SEQUENCE SET", "BLOBS", "BLOB", "BLOB METADATA"})
_STATISTICS = "STATISTICS DATA"
_RELATIONS = frozenset({"TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE"})
_BUILDABLE = frozenset({"INDEX", "CONSTRAINT", "INDEX ATTACH"})

# What belongs to a relation and comes with it, and where the relation's name begins the tag.
_BELONGINGS = frozenset({"DEFAULT", "INDEX", "CONSTRAINT", "CHECK CONSTRAINT", "STATISTICS"})
_TAGGED_BELONGINGS = frozenset({"TRIGGER", "RULE", "POLICY", "ROW SECURITY"})
_REMARKS = frozenset({"COMMENT", "ACL", "SECURITY LABEL"})
_JOINTS = frozenset({"TABLE ATTACH", "INDEX ATTACH", "SEQUENCE OWNED BY"})
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """The archive's entries, sorted by when they are restored; each tuple is in the archive's order.

    `definitions` come before any row, without grants. `builds` are the indexes and their constraints, which wait
    for their table's rows only; `foreign_keys` for all rows. `rest` is everything else with the grants, and
    `event_triggers` (with their comments) come last of all, for they would fire on everything else.
    """

    definitions: tuple[Entry, ...]
    builds: tuple[Entry, ...]
    foreign_keys: tuple[Entry, ...]
    rest: tuple[Entry, ...]
    event_triggers: tuple[Entry, ...]

    def all(self) -> Iterator[Entry]:
        for part in (self.definitions, self.builds, self.foreign_keys, self.rest, self.event_triggers):
            yield from part


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is restored of an archive. `empty` are tables that come along without rows, because something chosen
    needs them; `left_out` are the foreign keys that cannot come, in words. `optional` are the numbers of entries
    that nothing chosen is known to need: extensions, whose operator classes and functions leave no trace in the
    archive where indexes and functions use them."""

    entries: tuple[Entry, ...]
    optional: frozenset[int] = frozenset()
    empty: tuple[QualifiedName, ...] = ()
    left_out: tuple[str, ...] = ()


def select_all(archive: Archive) -> Selection:
    """Everything that is a thing in the database."""
    return Selection(entries=tuple(entry for entry in archive.entries if _is_thing(entry)))


def select_tables(archive: Archive, chosen: Collection[QualifiedName]) -> Selection:
    """These tables, what belongs to them, and what all that depends on, with all extensions.

    `chosen` may name partitioned tables; their partitions have to be named too (`expand`).
    """
    return _Closure(archive, frozenset(chosen)).selection()


def expand(archive: Archive, patterns: TablePatterns) -> frozenset[QualifiedName]:
    """All tables that the patterns mean, with the partitions and the children of each."""
    children: dict[int, list[int]] = {}
    for entry in archive.entries:
        if entry.kind == "TABLE ATTACH":
            child, parent = _child_and_parent(archive, entry)
            children.setdefault(parent, []).append(child)
    waiting = [
        entry.id for entry in archive.entries if entry.kind == "TABLE" and patterns.match(name_of(entry))
    ]
    found: set[int] = set()
    while waiting:
        identifier = waiting.pop()
        if identifier not in found:
            found.add(identifier)
            waiting += children.get(identifier, [])
    return frozenset(name_of(archive.by_id[identifier]) for identifier in found)


def sort_phases(archive: Archive, entries: Collection[Entry]) -> Phases:
    """Assign each entry its phase.

    An index or constraint is built early only if all it waits for is a definition, or another one built early.
    """
    wanted = {entry.id for entry in entries}
    builds: dict[int, Entry] = {}
    definitions, foreign_keys, rest, event_triggers = [], [], [], []
    for entry in entries:
        if _is_event_trigger(entry):
            event_triggers.append(entry)
        elif entry.is_acl:
            rest.append(entry)
        elif entry.section is Section.PRE_DATA:
            definitions.append(entry)
        elif entry.kind in _BUILDABLE and _only_needs(archive, entry, builds.keys(), wanted):
            builds[entry.id] = entry
        elif entry.kind == "FK CONSTRAINT" and _only_needs(archive, entry, builds.keys(), wanted):
            foreign_keys.append(entry)
        else:
            rest.append(entry)
    return Phases(
        definitions=tuple(definitions),
        builds=tuple(builds.values()),
        foreign_keys=tuple(foreign_keys),
        rest=tuple(rest),
        event_triggers=tuple(event_triggers),
    )


def name_of(entry: Entry) -> QualifiedName:
    return QualifiedName(schema=entry.schema or "", name=entry.tag)


def families(archive: Archive) -> dict[int, int]:
    """For each table that hangs below a partitioned one: the number of the topmost table's entry."""
    parents = dict(
        _child_and_parent(archive, entry) for entry in archive.entries if entry.kind == "TABLE ATTACH"
    )
    tops: dict[int, int] = {}
    for child in parents:
        top = child
        while top in parents:
            top = parents[top]
        tops[child] = top
    return tops


def _is_thing(entry: Entry) -> bool:
    """Whether pg_restore would restore this entry into an existing database, rows apart."""
    if entry.is_special or entry.kind in _OUTSIDE or entry.kind in _ROWS or entry.kind == _STATISTICS:
        return False
    if entry.section is Section.DATA:
        return False
    if entry.kind in _REMARKS and entry.tag.startswith(("DATABASE ", "LARGE OBJECT")):
        return False
    return bool(entry.definition)


def _is_event_trigger(entry: Entry) -> bool:
    return entry.kind == "EVENT TRIGGER" or (
        entry.kind == "COMMENT" and entry.tag.startswith("EVENT TRIGGER ")
    )


def _only_needs(archive: Archive, entry: Entry, builds: Collection[int], wanted: Collection[int]) -> bool:
    for identifier in entry.dependencies:
        needed = archive.by_id.get(identifier)
        if needed is None or identifier in builds or identifier not in wanted:
            continue
        if needed.section is not Section.PRE_DATA or needed.is_acl:
            return False
    return True


def _child_and_parent(archive: Archive, attach: Entry) -> tuple[int, int]:
    """A TABLE ATTACH has the child's name and depends on both."""
    tables = [
        identifier
        for identifier in attach.dependencies
        if (needed := archive.by_id.get(identifier)) is not None and needed.kind in {"TABLE", "FOREIGN TABLE"}
    ]
    for child in tables:
        entry = archive.by_id[child]
        if (entry.schema, entry.tag) == (attach.schema, attach.tag):
            parent = next((identifier for identifier in tables if identifier != child), child)
            return child, parent
    raise ValueError(f"archive's {attach.title} depends on no table of its name")


class _Closure:
    """Grows from the chosen tables until nothing more belongs to it."""

    def __init__(self, archive: Archive, chosen: frozenset[QualifiedName]) -> None:
        self._archive = archive
        self._chosen = {
            entry.id for entry in archive.entries if entry.kind == "TABLE" and name_of(entry) in chosen
        }
        self._kept: set[int] = set()

    def selection(self) -> Selection:
        self._keep(self._chosen)
        self._grow()
        needed = frozenset(self._kept)
        self._keep(entry.id for entry in self._archive.entries if entry.kind == "EXTENSION")
        optional = frozenset(self._kept) - needed
        self._grow()
        filled = self._filled()
        left_out: list[str] = []
        for entry in self._archive.entries:
            if entry.kind == "FK CONSTRAINT" and entry.id not in self._kept and self._is_tagged(entry):
                if self._holds(entry, filled):
                    self._keep([entry.id])
                else:
                    left_out.append(f"foreign key {entry.schema}.{entry.tag}")
        kept = tuple(entry for entry in self._archive.entries if entry.id in self._kept and _is_thing(entry))
        empty = tuple(name_of(entry) for entry in kept if entry.kind == "TABLE" and entry.id not in filled)
        return Selection(entries=kept, optional=optional, empty=empty, left_out=tuple(left_out))

    def _grow(self) -> None:
        size = -1
        while size != len(self._kept):
            size = len(self._kept)
            for entry in self._archive.entries:
                if entry.id not in self._kept and _is_thing(entry) and self._belongs(entry):
                    self._keep([entry.id])
            self._keep_called_functions()

    def _keep_called_functions(self) -> None:
        """A function's text says which others it calls, the archive does not: those whose name stands in the text
        of a kept one come too, unless they would bring further tables."""
        kinds = {"FUNCTION", "PROCEDURE", "AGGREGATE"}
        words: set[str] = set()
        for identifier in self._kept:
            entry = self._archive.by_id[identifier]
            if entry.kind in kinds:
                words |= set(_WORD.findall(entry.definition))
        for entry in self._archive.entries:
            if entry.kind in kinds and entry.id not in self._kept and entry.tag.split("(")[0] in words:
                closure = self._closure_of(entry.id)
                if not any(
                    other not in self._kept and self._archive.by_id[other].kind in _RELATIONS
                    for other in closure
                ):
                    self._keep(closure)

    def _holds(self, key: Entry, filled: Collection[int]) -> bool:
        """Whether a foreign key's rows are all there: an extension's table is none of the archive's."""
        if any(
            (needed := self._archive.by_id.get(identifier)) is not None and needed.kind == "EXTENSION"
            for identifier in key.dependencies
        ):
            return False
        return all(needed.id in filled for needed in self._tables_of(key))

    def _filled(self) -> set[int]:
        """Tables whose rows are all back: the chosen ones, and partitioned ones above nothing but these."""
        filled = set(self._chosen)
        parents: dict[int, set[int]] = {}
        for entry in self._archive.entries:
            if entry.kind == "TABLE ATTACH":
                child, parent = _child_and_parent(self._archive, entry)
                parents.setdefault(parent, set()).add(child)
        grew = True
        while grew:
            grew = False
            for parent, children in parents.items():
                if parent not in filled and children <= filled:
                    filled.add(parent)
                    grew = True
        return filled

    def _keep(self, identifiers: Iterable[int]) -> None:
        for identifier in identifiers:
            self._kept |= self._closure_of(identifier)

    def _closure_of(self, identifier: int) -> set[int]:
        """It and all that it needs, as far as that is not kept yet."""
        found: set[int] = set()
        waiting = [identifier]
        while waiting:
            current = waiting.pop()
            entry = self._archive.by_id.get(current)
            if entry is not None and current not in self._kept and current not in found:
                found.add(current)
                waiting += entry.dependencies
        return found

    def _belongs(self, entry: Entry) -> bool:
        if entry.kind in _JOINTS:
            return bool(entry.dependencies) and all(
                identifier in self._kept or identifier not in self._archive.by_id
                for identifier in entry.dependencies
            )
        if entry.kind in _REMARKS:
            return not _is_event_trigger(entry) and any(
                identifier in self._kept and not self._archive.by_id[identifier].is_acl
                for identifier in entry.dependencies
            )
        if entry.kind == "SEQUENCE" or entry.kind in _BELONGINGS:
            return any(needed.id in self._kept for needed in self._tables_of(entry))
        return entry.kind in _TAGGED_BELONGINGS and self._is_tagged(entry)

    def _is_tagged(self, entry: Entry) -> bool:
        """Whether the entry's tag begins with the name of a kept relation that it depends on."""
        return any(
            needed.id in self._kept
            and needed.schema == entry.schema
            and (entry.tag == needed.tag or entry.tag.startswith(f"{needed.tag} "))
            for needed in self._tables_of(entry)
        )

    def _tables_of(self, entry: Entry) -> list[Entry]:
        return [
            needed
            for identifier in entry.dependencies
            if (needed := self._archive.by_id.get(identifier)) is not None and needed.kind in _RELATIONS
        ]
