"""`holdfast backup`."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.invocation import current, opened
from holdfast.cli.options import IdentityFile, Jobs, Json, Quiet, Repo, Source
from holdfast.domain.errors import EXIT_FINE, EXIT_PARTIAL, UsageError


def register(app: typer.Typer) -> None:
    app.command("backup")(backup)


def backup(
    context: typer.Context,
    *,
    source: Source = None,
    repo: Repo = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="TAG", help="Mark the snapshot; may be repeated.", show_default=False),
    ] = None,
    jobs: Jobs = None,
    full: Annotated[
        bool, typer.Option("--full", help="Read and store everything anew, reusing no earlier snapshot.")
    ] = False,
    exclude_rows: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude-rows",
            metavar="PATTERN",
            help="Keep the definition of these tables but not their rows (`audit.*`, `*_log`); may be repeated.",
            show_default=False,
        ),
    ] = None,
    lock_timeout: Annotated[
        float | None,
        typer.Option(
            "--lock-timeout",
            min=0.1,
            metavar="SECONDS",
            help="How long to wait for a table's lock.",
            show_default=False,
        ),
    ] = None,
    identity_file: IdentityFile = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Take a snapshot of a database.

    It is one consistent instant, committed as a whole or not at all. What this role may not read makes the
    snapshot partial (exit code 3); each gap is listed with the statement that mends it.

    \b
    Examples:
      holdfast backup
      holdfast backup shop --tag before-migration
      holdfast backup postgresql://backup@db.example.org/shop --repo s3://bucket/backups
      holdfast backup shop --exclude-rows 'audit.*' --json
    """
    del json
    invocation = current(context)
    choice = invocation.settings.pick_source(source)
    place = invocation.settings.pick_repository(repo, choice.settings)

    from holdfast import assemble
    from holdfast.domain.manifest import SnapshotState
    from holdfast.workflows import backup as workflow

    options = assemble.backup_options(
        choice.settings, tags=_checked(tag or []), jobs=jobs, full=full, lock_timeout_seconds=lock_timeout
    )
    taken = assemble.source_of(choice, exclude_rows=tuple(exclude_rows or ()))
    with (
        opened(invocation, place, identity_file) as repository,
        invocation.watching(quiet=quiet) as listener,
        invocation.stop.listening() as interrupted,
    ):
        report = workflow.backup(
            taken, repository, options=options, listener=listener, interrupted=interrupted
        )
    invocation.show(report)
    return EXIT_PARTIAL if report.state is SnapshotState.PARTIAL else EXIT_FINE


def _checked(tags: list[str]) -> tuple[str, ...]:
    from holdfast.settings import check_tag

    for tag in tags:
        try:
            check_tag(tag)
        except ValueError as error:
            raise UsageError(str(error), hint="give another --tag") from error
    return tuple(tags)
