"""`holdfast list`, `show` and `verify`: looking at a repository without changing a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.choosing import choose, wanted
from holdfast.cli.invocation import current, opened
from holdfast.cli.options import (
    At,
    IdentityFile,
    Jobs,
    Json,
    LatestOf,
    MaxRate,
    Nice,
    Quiet,
    Repo,
    SnapshotOrAt,
)
from holdfast.cli.words import moment_there
from holdfast.domain.errors import EXIT_DAMAGED, EXIT_FINE, EXIT_PARTIAL, UsageError

if TYPE_CHECKING:
    from holdfast.repository.repo import Repository

DEFAULT_LEVEL = 3


def register(app: typer.Typer) -> None:
    app.command("list")(list_)
    app.command("show")(show)
    app.command("verify")(verify)


def list_(
    context: typer.Context,
    *,
    repo: Repo = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--source", metavar="NAME", help="Only the snapshots of this source.", show_default=False
        ),
    ] = None,
    tag: Annotated[
        str | None,
        typer.Option("--tag", metavar="TAG", help="Only the snapshots with this tag.", show_default=False),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="MOMENT",
            help='Of each source the newest snapshot not after this moment ("2026-11-20 14:05"), which '
            "`restore --at` would take.",
            show_default=False,
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="DAY|MOMENT",
            help="Only those taken from then on: a day, or a moment as for --at.",
            show_default=False,
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="DAY|MOMENT",
            help="Only those taken up to then; a day is meant to its end.",
            show_default=False,
        ),
    ] = None,
    removed: Annotated[
        bool,
        typer.Option("--removed", help="The removed snapshots instead, and until when they can come back."),
    ] = False,
    identity_file: IdentityFile = None,
    json: Json = False,
) -> int:
    """List the snapshots and their state.

    Oldest first, each with its newest check.

    Exit code 4 if any could not be read: it is named, not left out. `held`: a legal hold keeps it.

    \b
    Examples:
      holdfast list
      holdfast list --source shop --json
      holdfast list --since 2026-11-01 --until yesterday
      holdfast list --removed
    """
    del json
    if at is not None and (since is not None or until is not None):
        raise UsageError("--at and a range of time exclude each other", hint="leave one of them out")
    if removed and any((tag, at, since, until)):
        raise UsageError("--removed lists all that was removed", hint="leave the other choices out")
    invocation = current(context)

    from holdfast.domain.moments import parse_edge

    now = datetime.now(UTC)
    asked = wanted(None, at).at if at is not None else None
    begin = parse_edge(since, end=False, now=now) if since is not None else None
    end = parse_edge(until, end=True, now=now) if until is not None else None
    place = invocation.settings.pick_repository(repo)

    from dataclasses import replace

    from holdfast.workflows.listing import list_snapshots
    from holdfast.workflows.point_in_time import as_of, between

    if removed:
        from holdfast.cli.removal import show_removed

        return show_removed(invocation, place, identity_file, source=source)
    with opened(invocation, place, identity_file) as repository:
        report = list_snapshots(repository, source=source)
    if tag is not None:
        chosen = tuple(listed for listed in report.snapshots if tag in listed.summary.tags)
        report = replace(report, snapshots=chosen)
    report = between(report, begin, end) if asked is None else as_of(report, asked)
    if asked is not None:
        invocation.tell(f"as of {moment_there(asked)}", quiet=False)
    invocation.show(report)
    return EXIT_DAMAGED if report.unreadable else EXIT_FINE


def show(
    context: typer.Context,
    *,
    snapshot: SnapshotOrAt = None,
    at: At = None,
    repo: Repo = None,
    source: LatestOf = None,
    identity_file: IdentityFile = None,
    json: Json = False,
) -> int:
    """Show what one snapshot holds, and what it lacks.

    \b
    Examples:
      holdfast show
      holdfast show 01kahv3x --json
      holdfast show --at "2026-11-20 14:05"
    """
    del json
    invocation = current(context)
    meant = wanted(snapshot, at, otherwise="latest")
    place = invocation.settings.pick_repository(repo)

    from holdfast.workflows import listing

    with opened(invocation, place, identity_file) as repository:
        chosen = choose(invocation, repository, meant, source=source)
        report = listing.show(repository, chosen.snapshot)
    invocation.show(report, **chosen.document())
    return EXIT_DAMAGED if report.unreadable else EXIT_FINE


def verify(
    context: typer.Context,
    *,
    snapshots: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SNAPSHOT",
            help="Ids, unambiguous beginnings of them, or `latest`. Left out: all.",
            show_default=False,
        ),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="All snapshots, which is the default.")] = False,
    at: At = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            "--accept",
            metavar="N|N-M",
            help="First accept that these damaged journal entries are lost for good, so that prunes go on; may be "
            "repeated. Needs --reason.",
            show_default=False,
        ),
    ] = None,
    lost: Annotated[
        list[str] | None,
        typer.Option(
            "--lost",
            metavar="ID",
            help="With --accept: this snapshot is lost, too; its whole id.",
            show_default=False,
        ),
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option(
            "--reason", metavar="TEXT", help="With --accept: why; kept in the journal.", show_default=False
        ),
    ] = None,
    level: Annotated[
        int,
        typer.Option(
            "--level",
            min=0,
            max=3,
            metavar="0..3",
            help="0: the history is whole. 1: every object is there with its size. 2: stored checksums match. "
            "3: every object is read, opened, and holds the very rows.",
        ),
    ] = DEFAULT_LEVEL,
    jobs: Jobs = None,
    repo: Repo = None,
    source: LatestOf = None,
    max_rate: MaxRate = None,
    nice: Nice = None,
    identity_file: IdentityFile = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Check that the repository holds what was written.

    Exit code 4 on any finding; each names the object, the snapshots and the tables it touches. Exit code 3 if keys
    were rotated meanwhile, so that some of it could not be opened, or if the check could not be recorded.

    \b
    Examples:
      holdfast verify latest
      holdfast verify --all --level 1
      holdfast verify --level 0 --accept 117 --reason "disk failure of 2026-11-02"
    """
    del json, max_rate, nice
    if sum(map(bool, (snapshots, all_, at))) > 1:
        raise UsageError(
            "--all, --at and snapshots by name exclude each other", hint="leave all but one of them out"
        )
    invocation = current(context)
    accepting = _accepting(accept or [], lost or [], reason)
    meant = [wanted(name, None) for name in snapshots or ()] or ([wanted(None, at)] if at else [])
    place = invocation.settings.pick_repository(repo)

    from holdfast.workflows import verify as workflow

    with opened(invocation, place, identity_file) as repository:
        chosen = [choose(invocation, repository, item, source=source) for item in meant]
        if accepting is not None:
            invocation.tell(accepting(repository), quiet=False)
        with invocation.watching(quiet=quiet) as listener, invocation.stop.listening() as interrupted:
            check = partial(workflow.verify, level=level, listener=listener, interrupted=interrupted)
            named = list(dict.fromkeys(item.snapshot for item in chosen)) or None
            report = check(repository, named, jobs=jobs) if jobs else check(repository, named)
    invocation.show(report, **(chosen[0].document() if at else {}))
    if report.findings:
        return EXIT_DAMAGED
    return EXIT_PARTIAL if report.unseen or report.unrecorded else EXIT_FINE


def _accepting(
    accept: Sequence[str], lost: Sequence[str], reason: str | None
) -> Callable[[Repository], str] | None:
    """What accepts these losses and says what that means; None if none is to be accepted."""
    if not accept:
        if lost or reason is not None:
            raise UsageError("--lost and --reason belong to --accept", hint="name the entries with --accept")
        return None
    if not (reason or "").strip():
        raise UsageError("--accept needs a --reason", hint="say it in a few words: it is kept in the journal")

    from holdfast.domain.ids import parse_snapshot_id

    positions = [_positions(text) for text in accept]
    try:
        named = [parse_snapshot_id(text) for text in lost]
    except ValueError as error:
        raise UsageError(str(error), hint="give the whole id with --lost") from error

    def act(repository: Repository) -> str:
        from holdfast.cli.people import now_utc, operator
        from holdfast.workflows.acceptance import accept_losses

        accepted = accept_losses(
            repository, positions, lost=named, by=operator(), reason=str(reason).strip(), clock=now_utc
        )
        gone = f"; gone with them: {', '.join(accepted.snapshots)}" if accepted.snapshots else ""
        return f"accepted as lost: journal entries {', '.join(accept)}{gone}"

    return act


def _positions(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()) or int(last or first) < int(first):
        raise UsageError(
            f"{text!r} names no journal entries", hint="give --accept a number, or two: 117, 2001-3000"
        )
    return int(first), int(last or first)
