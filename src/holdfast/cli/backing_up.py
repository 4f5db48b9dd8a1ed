"""Backups for the command line: of one source, or of each in turn, where none hides or holds up another."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from holdfast.cli.copy_report import backup_document, backup_text
from holdfast.cli.documents import Document
from holdfast.cli.failure import error_document, error_lines, exit_code_of
from holdfast.cli.invocation import Invocation, opened, write
from holdfast.cli.secrets import blot
from holdfast.cli.words import counted, printable
from holdfast.domain.errors import (
    EXIT_BUG,
    EXIT_DAMAGED,
    EXIT_FINE,
    EXIT_INTERRUPTED,
    EXIT_LOCKED_OUT,
    EXIT_PARTIAL,
    EXIT_REFUSED,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
    InterruptedRunError,
    SteppedAsideError,
)
from holdfast.domain.manifest import SnapshotState

if TYPE_CHECKING:
    from rich.console import RenderableType

    from holdfast.settings import RepositoryChoice, SourceChoice
    from holdfast.workflows.backup import BackupOptions
    from holdfast.workflows.copy_report import CopyReport
    from holdfast.workflows.reports import BackupReport

HARD_LIMIT_GRACE_SECONDS = 60.0

_WORSE = (
    EXIT_FINE,
    EXIT_REFUSED,
    EXIT_PARTIAL,
    EXIT_USAGE,
    EXIT_UNREACHABLE,
    EXIT_LOCKED_OUT,
    EXIT_DAMAGED,
    EXIT_BUG,
    EXIT_INTERRUPTED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line says of each backup. `unless_running`: stepping aside is fine."""

    repo: str | None
    identity_file: str | None
    exclude_rows: tuple[str, ...]
    options: Callable[[SourceChoice], BackupOptions]
    unless_running: bool
    quiet: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How the backup of one source ended: with a report, or with an error."""

    source: str
    exit_code: int
    report: BackupReport | None = None
    copied: CopyReport | None = None
    error: Exception | None = None

    @property
    def is_aside(self) -> bool:
        return isinstance(self.error, SteppedAsideError)


def back_up_one(invocation: Invocation, choice: SourceChoice, asked: Asked) -> Ended:
    """Raises whatever ends it, but for stepping aside where that is fine."""
    from holdfast import assemble
    from holdfast.cli.copying import copy_after_backup
    from holdfast.workflows import backup as workflow

    place: RepositoryChoice = invocation.settings.pick_repository(asked.repo, choice.settings)
    options = asked.options(choice)
    source = assemble.source_of(choice, exclude_rows=asked.exclude_rows)
    try:
        with (
            _limited(invocation, options) as limited,
            opened(invocation, place, asked.identity_file) as repository,
            invocation.watching(quiet=asked.quiet) as listener,
            invocation.stop.listening() as interrupted,
        ):
            report = workflow.backup(
                source, repository, options=options, listener=listener, interrupted=interrupted
            )
            limited.close()
            copied = copy_after_backup(
                invocation,
                choice,
                place,
                repository,
                report.snapshot,
                listener=listener,
                interrupted=interrupted,
            )
    except SteppedAsideError as error:
        if not asked.unless_running:
            raise
        return Ended(source=source.name, exit_code=EXIT_FINE, error=error)
    is_partial = report.state is SnapshotState.PARTIAL or bool(copied and copied.failures)
    code = EXIT_DAMAGED if report.refuted else EXIT_PARTIAL if is_partial else EXIT_FINE
    return Ended(source=source.name, exit_code=code, report=report, copied=copied)


@contextmanager
def _limited(invocation: Invocation, options: BackupOptions) -> Iterator[ExitStack]:
    """From the opening of the repository on, which may hang, too, until the stack is closed."""
    with ExitStack() as stack:
        if options.max_runtime is not None:
            seconds = options.max_runtime.total_seconds() + HARD_LIMIT_GRACE_SECONDS
            stack.enter_context(invocation.stop.hard_limit(seconds, EXIT_REFUSED))
        yield stack


def back_up_each(invocation: Invocation, names: Sequence[str], asked: Asked) -> int:
    """Each source in turn, whatever becomes of the others; the worst exit code is the whole's."""
    ended = []
    for name in names:
        invocation.tell(f"backing up {name}", quiet=asked.quiet)
        try:
            ended.append(back_up_one(invocation, invocation.settings.pick_source(name), asked))
        except InterruptedRunError:
            raise
        except Exception as error:  # even a bug in one must not keep the others from their backup
            if invocation.stop.interrupted.is_set():
                raise
            ended.append(Ended(source=name, exit_code=exit_code_of(error), error=error))
            if exit_code_of(error) == EXIT_BUG or invocation.debug:
                lines = "".join(traceback.format_exception(error))
                write(sys.stderr, blot(lines, invocation.secrets))
    worst = max((item.exit_code for item in ended), key=_WORSE.index, default=EXIT_FINE)
    invocation.show_as(
        lambda: {"runs": [run_document(invocation, item) for item in ended], "exit_code": worst},
        lambda: _summary(invocation, ended),
    )
    return worst


def run_document(invocation: Invocation, ended: Ended) -> Document:
    """One run: its report, or its error."""
    if ended.report is not None:
        return {**backup_document(ended.report, ended.copied), "exit_code": ended.exit_code}
    assert ended.error is not None
    return {
        "source": ended.source,
        "state": "stepped_aside" if ended.is_aside else "failed",
        **error_document(ended.error, invocation.secrets),
        "exit_code": ended.exit_code,
    }


def run_text(invocation: Invocation, ended: Ended) -> Iterator[RenderableType]:
    if ended.report is not None:
        yield from backup_text(ended.report, ended.copied)
        return
    assert ended.error is not None
    if ended.is_aside:
        yield Text(f"stepped aside: {printable(blot(str(ended.error), invocation.secrets))}", style="yellow")
        return
    yield Text(f"FAILED: {printable(ended.source)}", style="bold red")
    for line in error_lines(ended.error, invocation.secrets).splitlines():
        yield Text(f"  {printable(line)}")


def _summary(invocation: Invocation, ended: Sequence[Ended]) -> Iterator[RenderableType]:
    for item in ended:
        yield from run_text(invocation, item)
        yield Text("")
    failed = [item.source for item in ended if item.report is None and not item.is_aside]
    partial = [item.source for item in ended if item.exit_code == EXIT_PARTIAL and item.report is not None]
    damaged = [item.source for item in ended if item.report is not None and item.report.refuted]
    aside = [item.source for item in ended if item.is_aside]
    fine = len(ended) - len(failed) - len(partial) - len(damaged) - len(aside)
    yield Text(
        f"{counted(len(ended), 'source')}: {fine} fine", style="" if failed or partial or damaged else "green"
    )
    for word, names, style in (
        ("FAILED", failed, "bold red"),
        ("PARTIAL", partial, "bold red"),
        ("DAMAGED", damaged, "bold red"),
        ("stepped aside", aside, "yellow"),
    ):
        if names:
            yield Text(f"  {word}: {', '.join(map(printable, names))}", style=style)
