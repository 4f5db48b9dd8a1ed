"""`holdfast restore`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.choosing import choose, wanted
from holdfast.cli.invocation import ask, current
from holdfast.cli.options import At, IdentityFile, Jobs, Json, LatestOf, MaxRate, Quiet, Repo, SnapshotOrAt
from holdfast.cli.words import moment
from holdfast.domain.errors import EXIT_DAMAGED, EXIT_FINE, EXIT_PARTIAL, RefusedError, UsageError

if TYPE_CHECKING:
    from holdfast.domain.manifest import SnapshotSummary
    from holdfast.postgres.address import ServerAddress


def register(app: typer.Typer) -> None:
    app.command("restore")(restore)


def restore(
    context: typer.Context,
    *,
    snapshot: SnapshotOrAt = None,
    at: At = None,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="NAME|URL",
            help="The database to restore into: a configured name or a URL. It must be empty.",
            show_default=False,
        ),
    ],
    create: Annotated[bool, typer.Option("--create", help="Create the database; it must not exist.")] = False,
    replace: Annotated[
        str | None,
        typer.Option(
            "--replace",
            metavar="DATABASE",
            help="Replace what is in the target. Say the target database's name, to show that you mean it; "
            "`--replace -` asks for it on the terminal. A safety snapshot is taken first.",
            show_default=False,
        ),
    ] = None,
    safety_snapshot: Annotated[
        bool,
        typer.Option(
            "--safety-snapshot/--no-safety-snapshot", help="With --replace: first keep what is there."
        ),
    ] = True,
    table: Annotated[
        list[str] | None,
        typer.Option(
            "--table",
            metavar="PATTERN",
            help="Only these tables (`public.users`, `audit.*`); may be repeated.",
            show_default=False,
        ),
    ] = None,
    exclude_table: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude-table",
            metavar="PATTERN",
            help="All but these tables; may be repeated.",
            show_default=False,
        ),
    ] = None,
    schema_only: Annotated[bool, typer.Option("--schema-only", help="Definitions without rows.")] = False,
    data_only: Annotated[
        bool, typer.Option("--data-only", help="Rows into definitions that are there already.")
    ] = False,
    jobs: Jobs = None,
    no_owner: Annotated[
        bool, typer.Option("--no-owner", help="Everything belongs to the role that restores.")
    ] = False,
    no_acl: Annotated[bool, typer.Option("--no-acl", help="Leave out GRANT and REVOKE.")] = False,
    repo: Repo = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NAME|URL|PATH",
            help="The same as --repo: the repository, or any that has a copy, to restore from.",
            show_default=False,
        ),
    ] = None,
    source: LatestOf = None,
    max_rate: MaxRate = None,
    identity_file: IdentityFile = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Bring a snapshot back into a database.

    Into an empty one, or a new one with --create.

    Tables with a tier come back first, with their indexes and constraints. Every chunk is checked before its rows
    are sent; damage stops the restore and names the object.

    Exit code 4 if the safety snapshot of --replace shows that earlier ones hold old rows: the restore is done.

    \b
    Examples:
      holdfast restore latest --to postgresql://postgres@localhost/shop_copy --create
      holdfast restore 01kahv3x --to staging --table 'public.orders*'
      holdfast restore latest --to shop --replace shop
      holdfast restore --at "2026-11-20 14:05" --source shop --to staging
      holdfast restore latest --from offsite --to shop_copy --create
      holdfast restore latest --to URL --repo s3://bucket/backups --identity-file recovery-kit.txt
    """
    del json, max_rate
    if create and replace is not None:
        raise UsageError("--create and --replace exclude each other", hint="leave one of them out")
    if repo is not None and from_ is not None:
        raise UsageError("--repo and --from mean the same", hint="give one of them")
    invocation = current(context)
    meant = wanted(snapshot, at)
    target = invocation.settings.pick_target(to)
    place = invocation.settings.pick_repository(repo or from_)

    from holdfast import assemble
    from holdfast.cli.copying import opened_naming_copies
    from holdfast.domain.tables import TablePatterns
    from holdfast.workflows import restore as workflow

    address = assemble.address_of(target)
    options = workflow.RestoreOptions(
        create=create,
        replace=_confirmed(replace, address),
        include=TablePatterns(patterns=tuple(table)) if table else None,
        exclude=TablePatterns(patterns=tuple(exclude_table)) if exclude_table else None,
        schema_only=schema_only,
        data_only=data_only,
        jobs=jobs or target.settings.jobs or workflow.DEFAULT_JOBS,
        owner=not no_owner,
        acl=not no_acl,
        safety_snapshot=safety_snapshot,
    )
    with opened_naming_copies(invocation, place, identity_file) as repository:
        chosen = choose(invocation, repository, meant, source=source)
        invocation.tell(_announcement(repository.summary(chosen.snapshot), address), quiet=quiet)
        with invocation.watching(quiet=quiet) as listener, invocation.stop.listening() as interrupted:
            report = workflow.restore(
                repository,
                chosen.snapshot,
                address,
                options=options,
                listener=listener,
                interrupted=interrupted,
            )
    invocation.show(report, **chosen.document())
    if report.refuted:
        return EXIT_DAMAGED
    return EXIT_PARTIAL if report.left_out else EXIT_FINE


def _announcement(summary: SnapshotSummary, address: ServerAddress) -> str:
    taken = f"snapshot {summary.snapshot} of {summary.source}, taken at {moment(summary.taken_at)}"
    return f"restoring {taken}, into {address.display()}"


def _confirmed(replace: str | None, address: ServerAddress) -> str | None:
    """The database's name, as given or typed. Checked here first: nothing is touched if it is another's."""
    if replace is None:
        return None
    typed = (
        ask(f"type the name of the database to replace ({address.display()})") if replace == "-" else replace
    )
    if typed != address.database:
        raise RefusedError(
            f"the target database is not called {typed!r}",
            hint="give the name of the database that --to leads to, if that is the one to replace",
        )
    return typed
