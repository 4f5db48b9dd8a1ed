"""`holdfast undelete`, and what `holdfast list --removed` shows: snapshots that a policy let go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.invocation import Invocation, current, opened
from holdfast.cli.options import IdentityFile, Json, Repo
from holdfast.cli.people import now_utc, operator
from holdfast.cli.words import counted, iso, moment, printable, size
from holdfast.domain.errors import EXIT_FINE

if TYPE_CHECKING:
    from rich.console import RenderableType

    from holdfast.cli.documents import Document
    from holdfast.domain.ids import SnapshotId
    from holdfast.settings import RepositoryChoice
    from holdfast.workflows.removal import RemovedSnapshot


def register(app: typer.Typer) -> None:
    app.command("undelete")(undelete)


def undelete(
    context: typer.Context,
    *,
    snapshots: Annotated[
        list[str],
        typer.Argument(metavar="SNAPSHOT", help="Removed snapshots: ids, or unambiguous beginnings of them."),
    ],
    repo: Repo = None,
    identity_file: IdentityFile = None,
    json: Json = False,
) -> int:
    """Bring removed snapshots back.

    For the grace time after their removal that always works; later as long as no prune has deleted what they
    consist of. Exit code 5 if one is gone.

    \b
    Examples:
      holdfast list --removed
      holdfast undelete 01kahv3x
    """
    del json
    invocation = current(context)
    place = invocation.settings.pick_repository(repo)

    from holdfast.workflows import removal
    from holdfast.workflows.listing import resolve_removed

    with opened(invocation, place, identity_file) as repository:
        chosen = list(dict.fromkeys(resolve_removed(repository, wanted) for wanted in snapshots))
        removal.undelete(repository, chosen, by=operator(), clock=now_utc)
    invocation.show_as(lambda: {"undeleted": list(chosen)}, lambda: _undeleted(chosen))
    return EXIT_FINE


def _undeleted(snapshots: list[SnapshotId]) -> Iterator[RenderableType]:
    from rich.text import Text

    for snapshot in snapshots:
        yield Text(f"snapshot {snapshot} is back", style="green")
    yield Text(
        "the retention policy would let it go again: hold it with holdfast hold add, or tag the next one"
    )


def show_removed(
    invocation: Invocation, place: RepositoryChoice, identity_file: str | None, *, source: str | None
) -> int:
    """Show the removed snapshots (of a source, if one is given), oldest first."""
    from holdfast.workflows.removal import removed

    with opened(invocation, place, identity_file) as repository:
        found = [item for item in removed(repository) if source in (None, item.summary.source)]
    invocation.show_as(lambda: {"removed": [_document(item) for item in found]}, lambda: _table(found))
    return EXIT_FINE


def _document(item: RemovedSnapshot) -> Document:
    return {
        "snapshot": item.summary.snapshot,
        "source": item.summary.source,
        "taken_at": iso(item.summary.taken_at),
        "state": item.summary.state.value,
        "tags": list(item.summary.tags),
        "bytes": item.summary.plain_bytes,
        "removed_at": iso(item.tombstone.at),
        "removed_by": item.tombstone.by,
        "reason": item.tombstone.reason,
        "can_come_back": not item.swept,
    }


def _table(found: list[RemovedSnapshot]) -> Iterator[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    from holdfast.cli.render import shortest_prefixes

    if not found:
        yield Text("no removed snapshots")
        return
    shown = shortest_prefixes([item.summary.snapshot for item in found])
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for heading in ("SNAPSHOT", "SOURCE", "TAKEN AT (UTC)", "SIZE", "REMOVED AT (UTC)", "BY", "STATE"):
        table.add_column(heading, no_wrap=True)
    for item in found:
        table.add_row(
            shown[item.summary.snapshot],
            printable(item.summary.source),
            moment(item.summary.taken_at)[:16],
            size(item.summary.plain_bytes),
            moment(item.tombstone.at)[:16],
            printable(item.tombstone.by),
            "gone" if item.swept else "can come back",
        )
    yield table
    back = sum(not item.swept for item in found)
    if back:
        yield Text(f"{counted(back, 'snapshot')} can come back: holdfast undelete SNAPSHOT")
