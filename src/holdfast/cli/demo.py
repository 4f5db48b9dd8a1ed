"""`holdfast demo`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from holdfast.cli.invocation import current
from holdfast.cli.options import Json, Quiet
from holdfast.domain.errors import EXIT_DAMAGED, EXIT_FINE

if TYPE_CHECKING:
    from rich.text import Text

    from holdfast.cli.documents import Document
    from holdfast.workflows.demo import DemoReport


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(context: typer.Context, *, json: Json = False, quiet: Quiet = False) -> int:
    """Lose a database and bring it back, on a throw-away server.

    Starts a PostgreSQL of its own in a temporary folder, fills it, backs it up, destroys it twice, restores it,
    and compares every row. Touches nothing else, and leaves nothing behind.

    \b
    Example:
      holdfast demo
    """
    del json
    invocation = current(context)

    from holdfast.cli.progress import Told
    from holdfast.workflows.demo import run_demo

    with invocation.watching(quiet=quiet) as listener, invocation.stop.listening() as interrupted:
        report = run_demo(
            narrate=lambda line: listener(Told(text=line)), listener=listener, interrupted=interrupted
        )
    invocation.show_as(lambda: _document(report), lambda: _text(report))
    return EXIT_DAMAGED if report.different else EXIT_FINE


def _document(report: DemoReport) -> Document:
    from holdfast.cli.documents import document_of

    return {
        "server": report.server,
        "seconds": round(report.seconds, 3),
        "snapshots": [report.first.snapshot, report.second.snapshot],
        "different": list(report.different),
        "verified": document_of(report.verified),
        "table_restored": document_of(report.table_restored),
        "restored": document_of(report.restored),
    }


def _text(report: DemoReport) -> Iterator[Text]:
    from rich.text import Text

    from holdfast.cli.words import counted, duration, number, size

    first, second, verified = report.first, report.second, report.verified
    yield Text(f"demo on {report.server}, {duration(report.seconds)}", style="bold")
    yield Text(
        f"  first snapshot   {counted(first.rows, 'row')}, {size(first.bytes_read)} read, "
        f"{size(first.bytes_stored)} stored, {duration(first.seconds)}"
    )
    yield Text(
        f"  second snapshot  {size(second.bytes_stored)} stored ({counted(second.chunks_stored, 'new chunk')}, "
        f"{number(second.chunks_reused)} reused), {duration(second.seconds)}"
    )
    yield Text(
        f"  verified         {counted(verified.objects, 'object')}, {size(verified.bytes)}, level {verified.level}"
    )
    yield Text(f"  tables back      {report.table_lost}, {duration(report.table_restored.seconds)}")
    yield Text(f"  database back    {duration(report.restored.seconds)}")
    for tier in report.restored.tiers:
        yield Text(f"    {tier.tier.value} tables readable after {duration(tier.seconds)}")
    if report.different:
        yield Text("DIFFERENT: what came back is not what was lost", style="bold red")
        for difference in report.different:
            yield Text(f"  {difference}")
    else:
        yield Text("every row and every definition came back the same", style="green")
