"""`holdfast key reseal`: after a compromise, what is stored is stored anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from holdfast.cli.invocation import current, opened
from holdfast.cli.keys import keys
from holdfast.cli.options import IdentityFile, Json, Quiet, Repo
from holdfast.domain.errors import EXIT_DAMAGED, EXIT_FINE

if TYPE_CHECKING:
    from rich.console import RenderableType

    from holdfast.cli.documents import Document
    from holdfast.workflows.key_slots import KeyEpoch
    from holdfast.workflows.reseal import ResealReport


def register(app: typer.Typer) -> None:
    """Below `key`, which keys.py has registered with the program itself."""
    del app
    keys.command("reseal")(reseal_snapshots)


def reseal_snapshots(
    context: typer.Context,
    *,
    repo: Repo = None,
    identity_file: IdentityFile = None,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """After a compromise: store old snapshots anew, under the new keys.

    Each is copied within the repository and checked, then the original is removed; holdfast prune deletes it after
    the grace time. What somebody has copied stays open to the old keys. May be interrupted, and run again.
    """
    del json
    from holdfast.cli.people import now_utc, operator
    from holdfast.workflows.keys import report_of
    from holdfast.workflows.reseal import reseal

    invocation = current(context)
    place = invocation.settings.pick_repository(repo)
    with opened(invocation, place, identity_file) as repository, invocation.watching(quiet=quiet) as listener:
        report = reseal(
            repository,
            by=operator(),
            clock=now_utc,
            listener=listener,
            interrupted=invocation.stop.interrupted,
        )
        epochs = report_of(repository).epochs
    invocation.show_as(lambda: _document(report), lambda: _text(report, epochs))
    return EXIT_DAMAGED if report.failed else EXIT_FINE


def _document(report: ResealReport) -> Document:
    from holdfast.cli.exposures import exposure_document

    return {
        "resealed": [{"original": item.original, "copy": item.copy} for item in report.resealed],
        "kept": [{"snapshot": snapshot, "reason": reason} for snapshot, reason in report.kept],
        "failed": [{"snapshot": snapshot, "problem": problem} for snapshot, problem in report.failed],
        "still_writing": list(report.still_writing),
        "bytes_stored": report.bytes_stored,
        "exposures": exposure_document(report.exposures),
    }


def _text(report: ResealReport, epochs: Sequence[KeyEpoch]) -> Iterator[RenderableType]:
    from rich.text import Text

    from holdfast.cli.exposures import exposure_text
    from holdfast.cli.words import counted, printable, size

    done = counted(len(report.resealed), "snapshot")
    yield Text(f"{done} sealed with the new keys, {size(report.bytes_stored)} stored", style="green")
    for snapshot, reason in report.kept:
        yield Text(f"  the original stays: {snapshot}: {printable(reason)}", style="yellow")
    for snapshot, problem in report.failed:
        yield Text(f"  NOT SEALED ANEW {snapshot}: {printable(problem)}", style="bold red")
    for snapshot in report.still_writing:
        yield Text(
            f"  {snapshot} was begun with the old keys and may yet be committed: end it, then run this again",
            style="yellow",
        )
    yield from exposure_text(report.exposures, epochs)
