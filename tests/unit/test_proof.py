"""What speaks against the proof that a range is unchanged: each of its conditions, one by one, in plain words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.domain.manifest import Instant, Lineage, RangeRecord, TableManifest
from holdfast.domain.proof import (
    XIDS_COMPARABLE,
    Position,
    Seen,
    is_quiet,
    is_unchanged,
    objection_to_parent,
    objection_to_reading_less,
    objection_to_table,
)
from holdfast.domain.ranges import Cutting, PageRange
from holdfast.domain.tables import QualifiedName, Table

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
LINEAGE = Lineage(system_identifier="7", timeline=1, database_oid=5, server_run="monday")
PARENT = Position(
    lineage=LINEAGE,
    instant=Instant(taken_at=NOW, xmin=5_000_000_000, xmax=5_000_000_010, wal_lsn=None),
    server_version=150_004,
)
LATER = replace(PARENT, instant=replace(PARENT.instant, xmin=5_000_000_500, xmax=5_000_000_500))
NAME = QualifiedName(schema="public", name="t")
TABLE = Table(
    oid=20_000,
    name=NAME,
    columns=(),
    filenode=20_001,
    heap=True,
    unlogged=False,
    pages=10,
    size_bytes=80_000,
    rows_estimate=0,
    fingerprint="abc",
)
UNCUT = Cutting(pages_per_range=0, chunk_bytes=1 << 18)
CUTTING = Cutting(pages_per_range=4, chunk_bytes=1 << 18)
MANIFEST = TableManifest(
    oid=20_000,
    name=NAME,
    columns=(),
    filenode=20_001,
    fingerprint="abc",
    unlogged=False,
    condition="",
    extension=None,
    load_via=None,
    cutting=CUTTING,
    ranges=(RangeRecord(pages=PageRange(first=0, end=None), rows=3, chunks=()),),
)


def lineage(**changes: object) -> Position:
    return replace(LATER, lineage=replace(LINEAGE, **changes))  # type: ignore[arg-type]


def instant(**changes: int) -> Position:
    return replace(LATER, instant=replace(LATER.instant, **changes))  # type: ignore[arg-type]


def test_a_later_snapshot_of_the_same_run_may_be_proven() -> None:
    """Otherwise the other tests would prove nothing."""
    assert objection_to_parent(PARENT, LATER) == ""
    assert objection_to_parent(PARENT, PARENT) == ""
    assert objection_to_table(TABLE, MANIFEST, cutting=CUTTING) == ""


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (lineage(system_identifier="8"), "another server"),
        (lineage(timeline=2), "failover"),
        (lineage(database_oid=6), "created anew"),
        (lineage(server_run="tuesday"), "restarted"),
        (lineage(server_run=""), "may not ask"),
        (lineage(system_identifier="unknown"), "may not ask"),
        (lineage(timeline=0), "may not ask"),
        (instant(xmin=4_999_999_999), "behind"),
        (instant(xmax=5_000_000_009), "behind"),
        (instant(xmax=5_000_000_000 + XIDS_COMPARABLE), "too many transactions"),
        (replace(LATER, server_version=150_005), "upgraded"),
        (replace(LATER, server_version=130_005), "older than PostgreSQL 14"),
    ],
)
def test_another_server_or_another_time_proves_nothing(now: Position, words: str) -> None:
    """Lineage, time and distance: each alone is enough."""
    assert words in objection_to_parent(PARENT, now)


def test_a_parent_that_does_not_say_where_it_is_from_proves_nothing() -> None:
    """Snapshots of earlier versions, and of roles that may not ask. What is unknown is not the same."""
    for changes in ({"server_run": ""}, {"system_identifier": "unknown"}, {"timeline": 0}):
        unknown = replace(PARENT, lineage=replace(LINEAGE, **changes))
        assert objection_to_parent(unknown, LATER)
        assert objection_to_parent(unknown, replace(LATER, lineage=unknown.lineage))


@given(
    parent=st.integers(3, 2**40),
    passed=st.integers(0, 2**34),
    row_after=st.integers(0, 2**34),
    during=st.integers(0, 2**26 - 1),
)
@example(parent=1000, passed=2**31 + 900, row_after=2**31 + 899, during=0)
@example(parent=1000, passed=2**31 - 1, row_after=2**31 - 2, during=2**26 - 1)
@example(parent=1000, passed=2**32 + 900, row_after=900, during=0)
def test_no_new_row_looks_old_within_the_guard(parent: int, passed: int, row_after: int, during: int) -> None:
    """age() is a signed difference of 32 bits, and the clock of ids goes on by `during` while it is asked. No id
    from the parent's on may come out older than the parent's."""
    before = replace(PARENT, instant=replace(PARENT.instant, xmin=parent, xmax=parent))
    now = replace(LATER, instant=replace(LATER.instant, xmin=parent, xmax=parent + passed))
    if objection_to_parent(before, now):
        return
    row = parent + min(row_after, max(passed - 1, 0))  # visible now, so below xmax

    def age(xid: int) -> int:
        return (parent + passed + during - xid + 2**31) % 2**32 - 2**31

    assert age(row) <= age(parent)


@pytest.mark.parametrize(
    ("table", "manifest", "cutting", "words"),
    [
        (TABLE, None, CUTTING, "is new"),
        (replace(TABLE, oid=20_002), MANIFEST, CUTTING, "dropped and created anew"),
        (replace(TABLE, filenode=20_002), MANIFEST, CUTTING, "rewritten"),
        (replace(TABLE, filenode=None), replace(MANIFEST, filenode=None), CUTTING, "rewritten"),
        (replace(TABLE, fingerprint="abd"), MANIFEST, CUTTING, "columns or their types"),
        (TABLE, replace(MANIFEST, fingerprint=None), CUTTING, "columns or their types"),
        (replace(TABLE, fingerprint=None), MANIFEST, CUTTING, "types are not known"),
        (replace(TABLE, unprovable="type regclass is looked up"), MANIFEST, CUTTING, "regclass"),
        (TABLE, MANIFEST, replace(CUTTING, pages_per_range=8), "cut anew"),
        (TABLE, MANIFEST, replace(CUTTING, chunk_bytes=1 << 20), "cut anew"),
        (TABLE, replace(MANIFEST, cutting=UNCUT), UNCUT, "cut anew"),
    ],
)
def test_another_table_or_text_proves_nothing(
    table: Table, manifest: TableManifest | None, cutting: Cutting, words: str
) -> None:
    """Identity, file, text and boundaries: each alone is enough."""
    assert words in objection_to_table(table, manifest, cutting=cutting)


def test_a_range_is_unchanged_only_with_as_many_rows_all_of_them_old() -> None:
    """Both halves are needed, and a record to compare with."""
    record = MANIFEST.ranges[0]
    assert is_unchanged(Seen(rows=3, old=True), record)
    assert not is_unchanged(Seen(rows=2, old=True), record)
    assert not is_unchanged(Seen(rows=4, old=True), record)
    assert not is_unchanged(Seen(rows=3, old=False), record)
    assert not is_unchanged(Seen(rows=0, old=True), None)


def test_only_an_idle_cluster_is_quiet() -> None:
    """Nothing was running at the parent, and nothing has ended since."""
    idle = replace(PARENT.instant, xmin=900, xmax=900)
    assert is_quiet(idle, idle)
    assert not is_quiet(idle, replace(idle, xmax=901))
    assert not is_quiet(replace(idle, xmin=899), idle)


def test_a_full_reading_is_due_by_age() -> None:
    """A week after the last one, or an hour early; at once with 0; the words say how long ago."""
    assert objection_to_reading_less(NOW - timedelta(days=6.9), NOW, full_every_days=7) == ""
    assert "7.0 days ago" in objection_to_reading_less(NOW - timedelta(days=6.97), NOW, full_every_days=7)
    assert objection_to_reading_less(NOW, NOW, full_every_days=0)
