"""What the text of a table's rows depends on, as one digest: if it is the same, so is the text of unchanged rows.

Invariant: a table gets a digest only if everything its output depends on is in it. Types that ask other catalogs
or foreign code while they write a value make a table unprovable; erring that way only costs a read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

# Raised when what goes into the digest changes, or the session's settings do: then everything is read once.
FORMAT = 1

FIRST_USER_OID = 16384

# Their text is looked up in other catalogs when it is written.
LOOKED_UP = frozenset(
    {
        "aclitem",
        "regclass",
        "regcollation",
        "regconfig",
        "regdatabase",
        "regdictionary",
        "regnamespace",
        "regoper",
        "regoperator",
        "regproc",
        "regprocedure",
        "regrole",
        "regtype",
    }
)

# Types of extensions whose text depends on the stored value alone; the extension's version goes into the digest.
SAFE_EXTENSIONS = frozenset(
    {"citext", "cube", "hstore", "ltree", "postgis", "seg", "vector", "roaringbitmap", "ip4r", "semver"}
)


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """One row of the query `columns`, in its order."""

    attnum: int
    name: str
    type_name: str
    type: int
    typmod: int
    collation: int
    generated: str
    dropped: bool
    missing: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeFacts:
    """One row of the query `types`. Oids that point nowhere are 0."""

    oid: int
    schema: str
    name: str
    kind: str
    category: str
    base: int
    typmod: int
    element: int
    delimiter: str
    subtype: int
    output: int
    labels: list[list[str]] | None
    attributes: list[list[str]] | None
    extension: str | None

    @property
    def built_in(self) -> bool:
        return self.oid < FIRST_USER_OID

    def points_to(self) -> Iterator[int]:
        yield from (oid for oid in (self.base, self.element, self.subtype) if oid)
        for _, _, oid, _, dropped in self.attributes or ():
            if dropped != "true":
                yield int(oid)

    def objection(self) -> str:
        """Why its text is not a function of its value and these facts; empty if it is."""
        if self.kind != "b":
            return ""
        if self.built_in:
            return f"type {self.name} is looked up in the catalog" if self.name in LOOKED_UP else ""
        if self.category == "A" and self.element:
            return ""
        extension = (self.extension or "").partition(" ")[0]
        if extension in SAFE_EXTENSIONS:
            return ""
        return f"type {self.schema}.{self.name} is written by code that is not known here"


class Types:
    """The types that some tables reach, with answers about them."""

    def __init__(self, types: Iterable[TypeFacts], *, server_version: int) -> None:
        self._types = {facts.oid: facts for facts in types}
        self._server_version = server_version
        self._closures: dict[int, frozenset[int]] = {}
        self._objections: dict[int, str] = {}

    def closure(self, oid: int) -> frozenset[int]:
        """This type and all that are reached from it; types cannot contain themselves."""
        known = self._closures.get(oid)
        if known is None:
            facts = self._types.get(oid)
            reached = {oid}
            for other in facts.points_to() if facts else ():
                reached |= self.closure(other)
            known = self._closures[oid] = frozenset(reached)
        return known

    def written_by_oid(self, oid: int) -> bool:
        """Whether its stored value is an oid that is another one after a restore (enums, regclass and its kin)."""
        return any(
            facts.kind == "e" or (facts.built_in and facts.name in LOOKED_UP)
            for facts in (self._types.get(reached) for reached in self.closure(oid))
            if facts is not None
        )

    def fingerprint(
        self, columns: Sequence[ColumnFacts], condition: str, *, heap: bool
    ) -> tuple[str | None, str]:
        """The digest and an empty text, or None and why there can be none."""
        objection = self._objection(columns, condition, heap=heap)
        if objection:
            return None, objection
        reached = sorted({oid for column in columns if column.type for oid in self.closure(column.type)})
        document = [
            FORMAT,
            self._server_version,
            [
                [
                    column.attnum,
                    column.name,
                    column.type,
                    column.typmod,
                    column.collation,
                    column.generated,
                    column.dropped,
                    column.missing,
                ]
                for column in columns
            ],
            [self._document(oid) for oid in reached if oid >= FIRST_USER_OID],
        ]
        text = json.dumps(document, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest(), ""

    def _objection(self, columns: Sequence[ColumnFacts], condition: str, *, heap: bool) -> str:
        if not heap:
            return "its access method is not heap"
        if condition:
            return "which of its rows are captured is decided by its extension's condition"
        for column in columns:
            if not column.dropped and not column.generated:
                objection = self._objection_to(column.type)
                if objection:
                    return f"column {column.name}: {objection}"
        return ""

    def _objection_to(self, oid: int) -> str:
        known = self._objections.get(oid)
        if known is None:
            found = (
                f"type {reached} is not in the catalog" if facts is None else facts.objection()
                for reached in sorted(self.closure(oid))
                for facts in (self._types.get(reached),)
            )
            known = self._objections[oid] = next(filter(None, found), "")
        return known

    def _document(self, oid: int) -> list[object]:
        facts = self._types[oid]
        return [
            facts.oid,
            facts.schema,
            facts.name,
            facts.kind,
            facts.base,
            facts.typmod,
            facts.element,
            facts.delimiter,
            facts.subtype,
            facts.output,
            facts.labels,
            facts.attributes,
            facts.extension,
        ]
