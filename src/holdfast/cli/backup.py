"""`holdfast backup`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.invocation import current
from holdfast.cli.options import IdentityFile, Jobs, Json, MaxRate, Nice, Quiet, Repo, Source
from holdfast.domain.errors import UsageError

if TYPE_CHECKING:
    from datetime import timedelta


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
        bool, typer.Option("--full", help="Read everything, also what could be proven unchanged.")
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
    all_sources: Annotated[
        bool,
        typer.Option(
            "--all-sources",
            help="Every source in the settings, one after the other; one that fails stops no other.",
        ),
    ] = False,
    max_runtime: Annotated[
        str | None,
        typer.Option(
            "--max-runtime",
            metavar="TIME",
            help="Give up after that long (30min, 2h); the next run reuses what was stored.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[
        str | None,
        typer.Option(
            "--wait",
            metavar="TIME",
            help="If another run of the source is alive, wait so long for it before stepping aside.",
            show_default=False,
        ),
    ] = None,
    unless_running: Annotated[
        bool,
        typer.Option(
            "--unless-running",
            help="For schedules: stepping aside for a living run of the source is fine (exit code 0, not 5).",
        ),
    ] = False,
    max_rate: MaxRate = None,
    nice: Nice = None,
    identity_file: IdentityFile = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Take a snapshot of a database.

    It is one consistent instant, committed as a whole or not at all. What this role may not read makes the
    snapshot partial (exit code 3); each gap is listed with the statement that mends it. So does a copy that fails
    (`copies` of the source): the snapshot stands, and the report names the repository that lacks it.

    Exit code 4 if a full reading shows that earlier snapshots may hold old rows of a table: they are named, and
    this one is right.

    A run that finds another one of the same source alive steps aside: exit code 5, and nothing is done.

    \b
    Examples:
      holdfast backup
      holdfast backup shop --tag before-migration
      holdfast backup postgresql://backup@db.example.org/shop --repo s3://bucket/backups
      holdfast backup shop --exclude-rows 'audit.*' --json
      holdfast backup --all-sources --unless-running --quiet
    """
    del json, max_rate, nice
    invocation = current(context)
    if all_sources and source is not None:
        raise UsageError(
            "--all-sources and a source by name exclude each other", hint="leave one of them out"
        )
    tags, limit, patience = (
        _checked(tag or []),
        _length(max_runtime, "--max-runtime"),
        _length(wait, "--wait"),
    )

    from holdfast import assemble
    from holdfast.cli import backing_up

    asked = backing_up.Asked(
        repo=repo,
        identity_file=identity_file,
        exclude_rows=tuple(exclude_rows or ()),
        options=lambda choice: assemble.backup_options(
            choice.settings,
            tags=tags,
            jobs=jobs,
            full=full,
            lock_timeout_seconds=lock_timeout,
            max_runtime=limit,
            wait_seconds=patience.total_seconds() if patience else 0.0,
        ),
        unless_running=unless_running,
        quiet=quiet,
    )
    if all_sources:
        names = list(invocation.settings.file.sources)
        if not names:
            raise UsageError("no source is configured", hint="add [sources.NAME] to holdfast.toml")
        return backing_up.back_up_each(invocation, names, asked)
    ended = backing_up.back_up_one(invocation, invocation.settings.pick_source(source), asked)
    if ended.is_aside and quiet and not invocation.json:
        return ended.exit_code
    invocation.show_as(
        lambda: backing_up.run_document(invocation, ended), lambda: backing_up.run_text(invocation, ended)
    )
    return ended.exit_code


def _length(text: str | None, option: str) -> timedelta | None:
    from holdfast.domain.durations import parse_duration

    if text is None:
        return None
    try:
        length = parse_duration(text)
    except ValueError as error:
        raise UsageError(str(error), hint=f"give another {option}") from error
    if not length and option == "--max-runtime":
        raise UsageError("a run that may take no time does nothing", hint=f"give a longer {option}")
    return length


def _checked(tags: list[str]) -> tuple[str, ...]:
    from holdfast.settings import check_tag

    for tag in tags:
        try:
            check_tag(tag)
        except ValueError as error:
            raise UsageError(str(error), hint="give another --tag") from error
    return tuple(tags)
