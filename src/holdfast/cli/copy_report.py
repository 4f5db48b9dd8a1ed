"""How a copy's report is shown: one document, or text in which what failed shouts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.text import Text

from holdfast.cli.documents import Document, document_of
from holdfast.cli.failure import error_document
from holdfast.cli.render import text_of
from holdfast.cli.words import counted, duration, number, printable, size
from holdfast.domain.errors import EXIT_DAMAGED, EXIT_FINE, EXIT_PARTIAL, DamagedError
from holdfast.workflows.copy_report import CopyReport, CopyResult, CopyState
from holdfast.workflows.reports import BackupReport

if TYPE_CHECKING:
    from rich.console import RenderableType

_LOUD = "bold red"
_CAREFUL = "yellow"
_GOOD = "green"


def exit_code_of(report: CopyReport) -> int:
    """4 if anything is damaged; 3 if some of it failed; the failure's own code if nothing went well."""
    failures = report.failures
    if not failures:
        return EXIT_FINE
    if any(isinstance(result.error, DamagedError) for result in failures):
        return EXIT_DAMAGED
    first = failures[0].error
    whole = len(failures) == len(report.copies) and first is not None
    return first.exit_code if first is not None and whole else EXIT_PARTIAL


def copy_document(report: CopyReport) -> Document:
    return {
        "copies": [_result(result) for result in report.copies],
        "lacking": [
            {"to": item.destination, "source": item.source, "snapshots": item.snapshots}
            for item in report.lacking
        ],
        "warnings": list(report.warnings),
        "seconds": round(report.seconds, 3),
    }


def _result(result: CopyResult) -> Document:
    copied = result.state is CopyState.COPIED
    return {
        "snapshot": result.snapshot,
        "source": result.source,
        "copy": result.copy,
        "from": result.place,
        "to": result.destination,
        "state": result.state.value,
        "bytes_sent": result.bytes_sent,
        "chunks_sent": result.chunks_sent,
        "chunks_reused": result.chunks_reused,
        "verified": {"level": result.level, "sent_level": result.sent_level} if copied else None,
        "seconds": round(result.seconds, 3),
        "error": None if result.error is None else error_document(result.error)["error"],
    }


def copy_text(report: CopyReport) -> Iterator[RenderableType]:
    failed = {result.destination for result in report.failures}
    if failed:
        names = ", ".join(sorted(map(printable, failed)))
        yield Text(f"PARTIAL: not everything was copied to {names}", style=_LOUD)
    elif not any(result.state is CopyState.COPIED for result in report.copies):
        yield Text("nothing to copy: every destination has what it is to have", style=_GOOD)
    else:
        yield Text(_summary(report), style=_GOOD)
    yield from copy_lines(report)


def backup_document(report: BackupReport, copied: CopyReport | None) -> Document:
    """A backup, and what became of its copies."""
    nothing = CopyReport(copies=(), lacking=(), warnings=(), seconds=0.0)
    document, copies = document_of(report), copy_document(copied or nothing)
    warnings = [*document["warnings"], *copies["warnings"]]
    return {**document, "warnings": warnings, "copies": copies["copies"], "lacking": copies["lacking"]}


def backup_text(report: BackupReport, copied: CopyReport | None) -> Iterator[RenderableType]:
    yield from text_of(report)
    if copied is None:
        return
    failed = {printable(result.destination) for result in copied.failures}
    if failed:
        yield Text("")
        text = f"PARTIAL: the snapshot is committed, but {', '.join(sorted(failed))} does not have it"
        yield Text(text, style=_LOUD)
    yield from copy_lines(copied)
    if failed:
        yield Text("run holdfast copy when that is mended; it sends what is lacking", style=_LOUD)


def _summary(report: CopyReport) -> str:
    copied = [result for result in report.copies if result.state is CopyState.COPIED]
    sent = size(sum(result.bytes_sent for result in copied))
    return f"{counted(len(copied), 'snapshot')} copied, {sent} sent in {duration(report.seconds)}"


def copy_lines(report: CopyReport) -> Iterator[Text]:
    """What became of each copy, and what to do next."""
    for result in report.copies:
        yield _line(result)
        if result.state is CopyState.FAILED and result.error is not None and result.error.hint:
            yield Text(f"          {printable(result.error.hint)}")
    for item in report.lacking:
        text = f"{counted(item.snapshots, 'other snapshot')} of {printable(item.source)}"
        name = printable(item.destination)
        yield Text.assemble(("  lacking ", _CAREFUL), f"{name} does not have {text} yet: run holdfast copy")
    for warning in report.warnings:
        yield Text.assemble(("  warning ", _CAREFUL), printable(warning))


def _line(result: CopyResult) -> Text:
    to, what = printable(result.destination), result.snapshot or "what it lacks"
    if result.error is not None:
        word = "FAILED  " if result.state is CopyState.FAILED else "SKIPPED "
        return Text.assemble((f"  {word}", _LOUD), f"{what} to {to}: {printable(result.error.message)}")
    if result.state is CopyState.PRESENT:
        return Text(f"  present {what} is at {to} as {result.copy}")
    chunks = f"{counted(result.chunks_sent, 'chunk')} sent, {number(result.chunks_reused)} there already"
    return Text.assemble(
        ("  copied  ", _GOOD),
        f"{what} to {to} as {result.copy}: {size(result.bytes_sent)} in {duration(result.seconds)}, {chunks}; "
        f"{_verified(result)}",
    )


def _verified(result: CopyResult) -> str:
    if result.level == result.sent_level:
        return f"verified at level {result.level}"
    return f"what was sent verified at level {result.sent_level}, the rest at level {result.level}"
