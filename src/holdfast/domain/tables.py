"""What a database holds, as far as a backup must know it: names, columns, tables, sequences, large objects."""

from __future__ import annotations

import enum
import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class QualifiedName:
    """A schema and a name in it, as the catalog has them (not quoted)."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One live column that COPY lists: neither dropped nor generated, in the order of attnum.

    `type_name` is `format_type` with its modifier, schema-qualified.
    """

    attnum: int
    name: str
    type_name: str


class Tier(enum.StrEnum):
    """A table's place in recovery; declared in the order of recovery."""

    CRITICAL = "critical"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def rank(self) -> int:
        return list(Tier).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One ordinary table (relkind r) whose rows are read.

    filenode: pg_relation_filenode; None if it cannot be known.
    heap: whether the access method is heap (else ctid ranges mean nothing).
    pages: heap pages of 8 KiB (or the server's block size) by pg_relation_size at planning time.
    size_bytes: heap and TOAST, without indexes (pg_table_size).
    rows_estimate: reltuples, or -1 if never analyzed.
    fingerprint: digest of all that the rows' text depends on (ENGINE 3.3), or None if never provable.
    unprovable: why a range of this table can never be proven unchanged; empty if it can.
    condition: the WHERE clause of an extension's configuration table (extcondition), "" for all rows.
    extension: the extension whose configuration table this is, if any.
    load_via: the partitioned root through which rows must be loaded (ENGINE 5.4), if they must.
    """

    oid: int
    name: QualifiedName
    columns: tuple[Column, ...]
    filenode: int | None
    heap: bool
    unlogged: bool
    pages: int
    size_bytes: int
    rows_estimate: float
    fingerprint: str | None = None
    unprovable: str = ""
    condition: str = ""
    extension: str | None = None
    load_via: QualifiedName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceValue:
    """Where a sequence stands: what setval needs."""

    oid: int
    name: QualifiedName
    last_value: int
    is_called: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePatterns:
    """Which tables are meant: glob patterns over `schema.name`; a pattern without a dot means any schema.

    A pattern that matches exactly (as text) wins over its reading as a glob, so that tables whose names hold
    `*`, `?`, `[` or a dot can be named.
    """

    patterns: tuple[str, ...]

    def match(self, name: QualifiedName) -> bool:
        return self.which(name) is not None

    def which(self, name: QualifiedName) -> str | None:
        """The first pattern that matches, or None."""
        return next((pattern for pattern in self.patterns if _matches(pattern, name)), None)


def _matches(pattern: str, name: QualifiedName) -> bool:
    full = str(name)
    if pattern in (full, name.name):
        return True
    return fnmatch.fnmatchcase(full if "." in pattern else name.name, pattern)


@dataclass(frozen=True, slots=True, kw_only=True)
class TierRule:
    tier: Tier
    tables: TablePatterns


def tier_of(name: QualifiedName, rules: Sequence[TierRule]) -> Tier:
    """The tier of the first rule that matches; normal if none does."""
    return next((rule.tier for rule in rules if rule.tables.match(name)), Tier.NORMAL)
