"""Of everything found, what is captured and what is not, and why: the source's part of the coverage ledger.

Invariant: every relation that holds rows ends up in `tables` or `sequences`, or in an entry that says why not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from holdfast.domain.coverage import CoverageEntry, CoverageStatus
from holdfast.domain.tables import QualifiedName, TablePatterns
from holdfast.postgres.catalog import Relation, Server
from holdfast.postgres.names import qualified, quote

_NOT_CAPTURABLE = CoverageStatus.NOT_CAPTURABLE

_KINDS = {
    "r": "table",
    "p": "partitioned table",
    "S": "sequence",
    "m": "materialized view",
    "f": "foreign table",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What the user wants of a source: rows of the tables in `include` (None: all), but not of those in
    `exclude_rows`. Definitions are always captured."""

    include: TablePatterns | None = None
    exclude_rows: TablePatterns | None = None

    def reason_against(self, name: QualifiedName) -> str:
        """Why the rows of this table are not wanted; empty if they are."""
        pattern = self.exclude_rows.which(name) if self.exclude_rows else None
        if pattern is not None:
            return f"its rows are excluded by {pattern}"
        return "" if self.include is None or self.include.match(name) else "not among the tables to include"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """`tables` and `sequences` are to be read; `entries` say what is not. `undefinable` are the tables that
    pg_dump could not lock either, so that their definitions are missing, too."""

    tables: tuple[Relation, ...]
    sequences: tuple[Relation, ...]
    entries: tuple[CoverageEntry, ...]
    undefinable: tuple[QualifiedName, ...]


def take_stock(relations: Iterable[Relation], server: Server, selection: Selection) -> Stock:
    tables: list[Relation] = []
    sequences: list[Relation] = []
    entries: list[CoverageEntry] = []
    undefinable: list[QualifiedName] = []
    temporary = 0
    for relation in relations:
        if relation.persistence == "t":
            temporary += 1
            continue
        entry = _objection(relation, server, selection)
        if entry is not None:
            entries.append(entry)
        if relation.kind in "rp" and not relation.is_system and not _is_lockable(relation):
            undefinable.append(relation.qualified_name)
        if entry is None and relation.kind == "r":
            tables.append(relation)
        elif entry is None and relation.kind == "S":
            sequences.append(relation)
    if temporary:
        entries.append(
            CoverageEntry(
                kind="temporary relations",
                name=f"{temporary} of them",
                status=_NOT_CAPTURABLE,
                reason="they live in their own sessions only",
            )
        )
    return Stock(
        tables=tuple(tables),
        sequences=tuple(sequences),
        entries=tuple(entries),
        undefinable=tuple(undefinable),
    )


def _is_lockable(relation: Relation) -> bool:
    return bool(relation.schema_usable and relation.readable)


def _objection(relation: Relation, server: Server, selection: Selection) -> CoverageEntry | None:
    """The entry for a relation whose rows or values are not read; None for one whose are, and for partitioned
    tables, which have none."""
    if relation.is_system:
        return _entry(relation, _NOT_CAPTURABLE, f"pg_dump leaves the schema {relation.schema} alone")
    if relation.kind == "f":
        return _entry(
            relation, _NOT_CAPTURABLE, "its rows live on another server; its definition is captured"
        )
    if relation.kind == "m":
        rows = "its rows are computed again by a restore" if relation.populated else "it holds no rows"
        return _entry(relation, CoverageStatus.CAPTURED, f"its definition; {rows}")
    if not _is_lockable(relation):
        lost = "" if relation.kind == "S" else ", so its definition cannot be captured either"
        return _entry(
            relation,
            CoverageStatus.FAILED,
            f"role {server.role} may not read it{lost}",
            _grant(relation, server),
        )
    return None if relation.kind == "p" else _objection_to_rows(relation, server, selection)


def _objection_to_rows(relation: Relation, server: Server, selection: Selection) -> CoverageEntry | None:
    unwanted = selection.reason_against(relation.qualified_name) if relation.kind == "r" else ""
    if unwanted:
        return _entry(relation, CoverageStatus.NOT_CONFIGURED, unwanted)
    if relation.filtered:
        return _entry(
            relation,
            CoverageStatus.FAILED,
            f"row-level security would hide rows from role {server.role}",
            f"ALTER ROLE {quote(server.role)} BYPASSRLS;",
        )
    if server.on_standby and relation.persistence == "u":
        return _entry(
            relation,
            _NOT_CAPTURABLE,
            "what is unlogged does not reach a standby",
            "back up from the primary",
        )
    return None


def _grant(relation: Relation, server: Server) -> str:
    """The statements that make a relation readable."""
    role = quote(server.role)
    statements = []
    if not relation.schema_usable:
        statements.append(f"GRANT USAGE ON SCHEMA {quote(relation.schema)} TO {role};")
    if not relation.readable:
        word = "SEQUENCE" if relation.kind == "S" else "TABLE"
        statements.append(f"GRANT SELECT ON {word} {qualified(relation.qualified_name)} TO {role};")
    return " ".join(statements)


def _entry(relation: Relation, status: CoverageStatus, reason: str, remedy: str = "") -> CoverageEntry:
    return CoverageEntry(
        kind=_KINDS[relation.kind],
        name=str(relation.qualified_name),
        status=status,
        reason=reason,
        remedy=remedy,
    )
