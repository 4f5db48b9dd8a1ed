"""What a backup read, and what it proved unchanged: the part of its report for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from holdfast.cli.words import counted, printable, size
from holdfast.workflows.reports import BackupReport, TableReading

SHOWN_TABLES = 20
CHANGED = "some of its ranges changed"


def fact_of(report: BackupReport) -> tuple[str, str]:
    """One line: how much was read, of how much, and why all of it."""
    if report.reason:
        return "read", f"{size(report.bytes_read)}: everything, since {report.reason}"
    rest = "definitions too" if report.definitions_reused else "definitions were dumped again"
    return "read", f"{size(report.bytes_read)}; the rest was proven unchanged ({rest})"


def tables_of(report: BackupReport) -> Iterator[RenderableType]:
    """The tables of which something was read although the rest was proven, the most first. Nothing if all was."""
    read = [reading for reading in report.readings if reading.bytes_read or reading.reason]
    if report.reason or not read:
        return
    read.sort(key=lambda reading: reading.bytes_read, reverse=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("TABLE READ")
    for name in ("UNCHANGED", "READ", "STORED"):
        table.add_column(name, justify="right")
    table.add_column("WHY")
    for reading in read[:SHOWN_TABLES]:
        table.add_row(*_row(reading))
    yield Text("")
    yield table
    if len(read) > SHOWN_TABLES:
        yield Text(f"and {counted(len(read) - SHOWN_TABLES, 'more table')} (--json names all)")


def _row(reading: TableReading) -> tuple[str, ...]:
    return (
        printable(str(reading.name)),
        size(reading.bytes_unchanged),
        size(reading.bytes_read),
        size(reading.bytes_stored),
        printable(reading.reason or CHANGED),
    )
