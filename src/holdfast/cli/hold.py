"""`holdfast hold add | put-back | release | list`: legal holds, which no policy overrides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.invocation import current, opened
from holdfast.cli.options import IdentityFile, Json, LatestOf, Repo
from holdfast.cli.people import now_utc, operator
from holdfast.cli.words import iso, moment, printable
from holdfast.domain.errors import EXIT_DAMAGED, EXIT_FINE, UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from holdfast.cli.documents import Document
    from holdfast.repository.registers.holds import Hold

By = Annotated[
    str | None,
    typer.Option("--by", metavar="NAME", help="Who says so [default: user@host].", show_default=False),
]

holds = typer.Typer(help="Keep snapshots whatever any policy says.", rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    holds.command("add")(add)
    holds.command("put-back")(put_back)
    holds.command("release")(release)
    holds.command("list")(list_)
    app.add_typer(holds, name="hold")


def add(
    context: typer.Context,
    *,
    snapshots: Annotated[
        list[str],
        typer.Argument(metavar="SNAPSHOT", help="Ids, unambiguous beginnings of them, or `latest`."),
    ],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why they must be kept.")],
    by: By = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="DAY|MOMENT",
            help='To the end of this day, or to a moment such as "2027-01-31 18:00" [default: until released].',
            show_default=False,
        ),
    ] = None,
    repo: Repo = None,
    source: LatestOf = None,
    identity_file: IdentityFile = None,
    json: Json = False,
) -> int:
    """Place a legal hold on snapshots.

    They are kept until the hold is released or has ended. One that was removed comes back, unless it was deleted
    already (exit code 5).

    \b
    Example:
      holdfast hold add 01kahv3x --reason "case 2026-117" --by "Legal, A. Meyer" --until 2027-12-31
    """
    del json
    invocation = current(context)
    why, who = _said(reason, "--reason"), _said(by or operator(), "--by")
    end = _end(until)
    place = invocation.settings.pick_repository(repo)

    from holdfast.workflows.holding import add_hold
    from holdfast.workflows.listing import resolve

    with opened(invocation, place, identity_file) as repository:
        chosen = [resolve(repository, wanted, source=source) for wanted in snapshots]
        hold = add_hold(repository, chosen, by=who, why=why, until=end, clock=now_utc)
    invocation.show_as(lambda: _document(hold, now_utc()), lambda: _placed(hold))
    return EXIT_FINE


def put_back(
    context: typer.Context,
    *,
    wanted: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="HOLD",
            help="Ids, or unambiguous beginnings; see `hold list`. Left out: all that are missing.",
            show_default=False,
        ),
    ] = None,
    by: By = None,
    repo: Repo = None,
    identity_file: IdentityFile = None,
    json: Json = False,
) -> int:
    """Place holds again whose objects were deleted.

    They are as they were: the journal knows them. A snapshot of theirs that was removed since comes back, unless
    it was deleted already (exit code 5).
    """
    del json
    invocation = current(context)
    who = _said(by or operator(), "--by")
    place = invocation.settings.pick_repository(repo)

    from holdfast.workflows.holding import put_back_holds

    with opened(invocation, place, identity_file) as repository:
        found = put_back_holds(repository, wanted or (), by=who, clock=now_utc)
    now = now_utc()
    invocation.show_as(
        lambda: {"holds": [_document(hold, now) for hold in found]},
        lambda: _listed(found, now, otherwise="no hold is missing"),
    )
    return EXIT_FINE


def release(
    context: typer.Context,
    *,
    hold: Annotated[
        str, typer.Argument(metavar="HOLD", help="Its id, or an unambiguous beginning; see `hold list`.")
    ],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why it ends.")],
    by: By = None,
    repo: Repo = None,
    identity_file: IdentityFile = None,
    json: Json = False,
) -> int:
    """End a legal hold.

    The retention policy alone decides about its snapshots from then on. Who ended it and why is kept.
    """
    del json
    invocation = current(context)
    why, who = _said(reason, "--reason"), _said(by or operator(), "--by")
    place = invocation.settings.pick_repository(repo)

    from holdfast.workflows.holding import release_hold

    with opened(invocation, place, identity_file) as repository:
        ended = release_hold(repository, hold, by=who, why=why, clock=now_utc)
    invocation.show_as(lambda: _document(ended, now_utc()), lambda: _ended(ended))
    return EXIT_FINE


def list_(
    context: typer.Context, *, repo: Repo = None, identity_file: IdentityFile = None, json: Json = False
) -> int:
    """List legal holds, also those that have ended.

    Those whose objects were deleted are missing: exit code 4, until they are put back or released.
    """
    del json
    invocation = current(context)
    place = invocation.settings.pick_repository(repo)

    from holdfast.workflows.holding import list_holds, missing_holds

    now = now_utc()
    with opened(invocation, place, identity_file) as repository:
        found = list_holds(repository)
        missing = missing_holds(repository, now=now)
    invocation.show_as(
        lambda: {
            "holds": [_document(hold, now) for hold in found]
            + [_document(hold, now, missing=True) for hold in missing]
        },
        lambda: _all_listed(found, missing, now),
    )
    return EXIT_DAMAGED if missing else EXIT_FINE


def _said(text: str, option: str) -> str:
    if not text.strip():
        raise UsageError(f"{option} is empty", hint="say it in a few words: it is kept with the hold")
    return text.strip()


def _end(until: str | None) -> datetime | None:
    from holdfast.domain.moments import parse_edge

    return None if until is None else parse_edge(until, end=True, now=now_utc())


def _document(hold: Hold, now: datetime, *, missing: bool = False) -> Document:
    released = hold.released
    return {
        "hold": hold.hold,
        "snapshots": list(hold.snapshots),
        "placed_at": iso(hold.at),
        "by": hold.by,
        "reason": hold.why,
        "until": None if hold.until is None else iso(hold.until),
        "stands": hold.stands(now),
        "missing": missing,
        "released": None
        if released is None
        else {"at": iso(released.at), "by": released.by, "reason": released.why},
    }


def _placed(hold: Hold) -> Iterator[RenderableType]:
    from rich.text import Text

    yield Text(f"hold {hold.hold} placed by {printable(hold.by)}: {printable(hold.why)}", style="green")
    yield Text(f"  until      {_until(hold)}")
    for snapshot in hold.snapshots:
        yield Text(f"  keeps      {snapshot}")


def _ended(hold: Hold) -> Iterator[RenderableType]:
    from rich.text import Text

    assert hold.released is not None
    yield Text(
        f"hold {hold.hold} released at {moment(hold.released.at)} by {printable(hold.released.by)}: "
        f"{printable(hold.released.why)}"
    )


def _all_listed(found: Sequence[Hold], missing: Sequence[Hold], now: datetime) -> Iterator[RenderableType]:
    from rich.text import Text

    if found or not missing:
        yield from _listed(found, now, otherwise="no holds")
    for hold in missing:
        yield Text(f"hold {hold.hold} is MISSING: its object was deleted", style="bold red")
        yield from _details(hold, "held")
        yield Text(f"  to put it back   holdfast hold put-back {hold.hold}")
        yield Text(f"  to end it        holdfast hold release {hold.hold} --reason TEXT")


def _listed(found: Sequence[Hold], now: datetime, *, otherwise: str) -> Iterator[RenderableType]:
    from rich.text import Text

    if not found:
        yield Text(otherwise)
    for hold in found:
        state = "stands" if hold.stands(now) else "ended"
        yield Text(f"hold {hold.hold} {state}", style="bold" if hold.stands(now) else "")
        yield from _details(hold, "keeps" if hold.stands(now) else "kept")


def _details(hold: Hold, verb: str) -> Iterator[RenderableType]:
    from rich.text import Text

    yield Text(f"  placed     {moment(hold.at)} by {printable(hold.by)}: {printable(hold.why)}")
    yield Text(f"  until      {_until(hold)}")
    if hold.released is not None:
        yield Text(
            f"  released   {moment(hold.released.at)} by {printable(hold.released.by)}: "
            f"{printable(hold.released.why)}"
        )
    for snapshot in hold.snapshots:
        yield Text(f"  {verb:<11}{snapshot}")


def _until(hold: Hold) -> str:
    return "it is released" if hold.until is None else moment(hold.until)
