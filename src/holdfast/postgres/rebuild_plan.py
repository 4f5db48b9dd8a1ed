"""What one restore consists of, as values: the target side knows no repository, and is handed all it needs."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.domain.manifest import DatabaseFacts, Role, RoleMembership
from holdfast.domain.tables import QualifiedName, SequenceValue, Tier


class RebuildMode(enum.StrEnum):
    """whole: definitions and rows. schema only: definitions. data only: rows into tables that are there."""

    WHOLE = "whole"
    SCHEMA_ONLY = "schema only"
    DATA_ONLY = "data only"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPart:
    """A piece of a table that can be loaded on its own: one range. `plain_bytes` is its COPY text."""

    rows: int
    plain_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TableLoad:
    """One table whose rows come back, as its manifest has it. `columns` are what COPY lists, in order."""

    name: QualifiedName
    columns: tuple[str, ...]
    parts: tuple[LoadPart, ...]
    tier: Tier = Tier.NORMAL
    load_via: QualifiedName | None = None
    condition: str = ""
    extension: str | None = None

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    @property
    def plain_bytes(self) -> int:
        return sum(part.plain_bytes for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeObjectLoad:
    """One large object; `pieces` are its bytes in order, read once. `statements`: owner, ACL, comment."""

    oid: int
    size_bytes: int
    statements: tuple[str, ...]
    pieces: Iterable[bytes]


RowSupplier = Callable[[TableLoad, range], Iterator[bytes]]
"""COPY text of the parts in the range, in order, in pieces of whole rows; every byte already verified.

Called in several threads at once, and a second time for the same parts if a load is tried again. What it raises
ends the restore before that table's rows are committed.
"""

LargeObjectSupplier = Callable[[], Iterator[LargeObjectLoad]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildPlan:
    """One restore.

    archive: pg_dump's custom-format archive of definitions.
    encoding: the encoding of all rows (PostgreSQL's name).
    tables: whose rows come back. With `only_tables` nothing but these tables and what they need is restored.
    only_tables: all tables meant, by name, rows or not; None for the whole archive.
    large_objects: suppliers of lists, each loaded by one worker.
    matviews: those that were populated, in the order of their dependencies.
    keep_order: one stream per table, so that a plain COPY reads back byte for byte what was loaded (drills).
    owner, acl: whether ownership and grants are restored.
    maintenance_memory_bytes: for all index builds together; None: judged from the server's settings.
    """

    snapshot: str
    archive: Path
    database: DatabaseFacts
    encoding: str
    tables: tuple[TableLoad, ...]
    sequences: tuple[SequenceValue, ...] = ()
    large_objects: Sequence[LargeObjectSupplier] = ()
    matviews: tuple[QualifiedName, ...] = ()
    roles: tuple[Role, ...] = ()
    memberships: tuple[RoleMembership, ...] = ()
    mode: RebuildMode = RebuildMode.WHOLE
    only_tables: frozenset[QualifiedName] | None = None
    jobs: int = 2
    keep_order: bool = False
    owner: bool = True
    acl: bool = True
    analyze: bool = True
    maintenance_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TierSeconds:
    tier: Tier
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What came back. `left_out` names what the snapshot holds and the target did not get, with what to do."""

    tables: int
    rows: int
    bytes: int
    tiers: tuple[TierSeconds, ...]
    warnings: tuple[str, ...]
    left_out: tuple[str, ...]
