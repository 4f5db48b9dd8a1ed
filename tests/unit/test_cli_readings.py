"""What a backup's report says of what was read: plain words, and the tables that cost something."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime

from holdfast.cli.readings import fact_of, tables_of
from holdfast.cli.render import render
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import SnapshotState
from holdfast.domain.tables import QualifiedName
from holdfast.workflows.reports import BackupReport, TableReading


def reading(name: str, *, read: int, unchanged: int, reason: str = "") -> TableReading:
    return TableReading(
        name=QualifiedName(schema="public", name=name),
        rows=10,
        rows_read=5,
        rows_unchanged=5,
        bytes_read=read,
        bytes_unchanged=unchanged,
        bytes_stored=read // 8,
        ranges_read=1,
        ranges_unchanged=1,
        chunks_stored=1,
        chunks_reused=1,
        reason=reason,
    )


REPORT = BackupReport(
    snapshot=SnapshotId("01" + "c" * 24),
    source="shop",
    state=SnapshotState.COMMITTED,
    taken_at=datetime(2026, 11, 21, tzinfo=UTC),
    seconds=1.0,
    tables=3,
    rows=30,
    bytes=3_000_000,
    bytes_read=1_000_000,
    bytes_stored=125_000,
    chunks_stored=1,
    chunks_reused=2,
    definitions_reused=True,
    reason="",
    parent=None,
    adopted=None,
    coverage=(),
    readings=(
        reading("orders", read=900_000, unchanged=100_000),
        reading(
            "kinds", read=100_000, unchanged=0, reason="column k: type regclass is looked up in the catalog"
        ),
        reading("users", read=0, unchanged=1_900_000),
    ),
    warnings=(),
)


def shown(report: BackupReport) -> str:
    stream = io.StringIO()
    render(stream, tables_of(report))
    return stream.getvalue()


def test_only_tables_that_were_read_are_named_with_the_reason() -> None:
    """The most first; what was proven unchanged as a whole is not worth a line."""
    assert fact_of(REPORT) == ("read", "1.0 MB; the rest was proven unchanged (definitions too)")
    text = shown(REPORT)
    assert text.index("public.orders") < text.index("public.kinds")
    assert "regclass" in text
    assert "some of its ranges changed" in text
    assert "public.users" not in text


def test_why_everything_was_read_is_one_line() -> None:
    """A first snapshot does not list all its tables."""
    first = replace(REPORT, reason="there is no earlier snapshot to build on", bytes_read=3_000_000)
    assert fact_of(first) == ("read", "3.0 MB: everything, since there is no earlier snapshot to build on")
    assert shown(first) == ""
