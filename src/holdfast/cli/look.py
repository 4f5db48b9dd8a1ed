"""`holdfast list`, `show` and `verify`: looking at a repository without changing a snapshot."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from holdfast.cli.invocation import current, opened
from holdfast.cli.options import IdentityFile, Jobs, Json, LatestOf, Quiet, Repo, Snapshot
from holdfast.domain.errors import EXIT_DAMAGED, EXIT_FINE, UsageError

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
    identity_file: IdentityFile = None,
    json: Json = False,
) -> int:
    """List the snapshots and their state.

    Oldest first, each with its newest check.

    Exit code 4 if any could not be read: it is named, not left out.

    \b
    Examples:
      holdfast list
      holdfast list --source shop --json
    """
    del json
    invocation = current(context)
    place = invocation.settings.pick_repository(repo)

    from dataclasses import replace

    from holdfast.workflows.listing import list_snapshots

    with opened(invocation, place, identity_file) as repository:
        report = list_snapshots(repository, source=source)
    if tag is not None:
        chosen = tuple(listed for listed in report.snapshots if tag in listed.summary.tags)
        report = replace(report, snapshots=chosen)
    invocation.show(report)
    return EXIT_DAMAGED if report.unreadable else EXIT_FINE


def show(
    context: typer.Context,
    *,
    snapshot: Snapshot = "latest",
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
    """
    del json
    invocation = current(context)
    place = invocation.settings.pick_repository(repo)

    from holdfast.workflows import listing

    with opened(invocation, place, identity_file) as repository:
        report = listing.show(repository, listing.resolve(repository, snapshot, source=source))
    invocation.show(report)
    return EXIT_FINE


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
    identity_file: IdentityFile = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Check that the repository holds what was written.

    Exit code 4 on any finding; each names the object, the snapshots and the tables it touches.

    \b
    Examples:
      holdfast verify latest
      holdfast verify --all --level 1
    """
    del json
    if snapshots and all_:
        raise UsageError("--all and snapshots by name exclude each other", hint="leave one of them out")
    invocation = current(context)
    place = invocation.settings.pick_repository(repo)

    from holdfast.workflows import verify as workflow
    from holdfast.workflows.listing import resolve

    with opened(invocation, place, identity_file) as repository:
        chosen = [resolve(repository, wanted, source=source) for wanted in snapshots or ()]
        with invocation.watching(quiet=quiet) as listener, invocation.stop.listening() as interrupted:
            check = partial(workflow.verify, level=level, listener=listener, interrupted=interrupted)
            wanted = list(dict.fromkeys(chosen)) or None
            report = check(repository, wanted, jobs=jobs) if jobs else check(repository, wanted)
    invocation.show(report)
    return EXIT_DAMAGED if report.findings else EXIT_FINE
