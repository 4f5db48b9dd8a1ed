"""`holdfast copy`, and the copies that follow a backup."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.invocation import Invocation, current
from holdfast.cli.options import IdentityFile, Json, MaxRate, Nice, Quiet
from holdfast.domain.errors import UsageError

if TYPE_CHECKING:
    from holdfast.cli.copying import Wish
    from holdfast.settings import RepositoryChoice, Settings

DEFAULT_VERIFY_LEVEL = 2


def register(app: typer.Typer) -> None:
    app.command("copy")(copy)


def copy(
    context: typer.Context,
    *,
    snapshots: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SNAPSHOT",
            help="Ids, unambiguous beginnings of them, or `latest`. Left out: what each destination lacks.",
            show_default=False,
        ),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NAME|URL|PATH",
            help="The repository to copy from. Left out: that of each source with copies in the settings.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            metavar="NAME|URL|PATH",
            help="A repository to copy to; may be repeated. Left out: the `copies` of each source.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--source", metavar="NAME", help="Only the snapshots of this source.", show_default=False
        ),
    ] = None,
    all_: Annotated[
        bool,
        typer.Option("--all", help="Also old snapshots that were passed over, but for those removed there."),
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="WHEN",
            help="Only snapshots taken since then: 2026-11-20, 2026-11-20T14:05+01:00 (UTC if no zone), or 14d.",
            show_default=False,
        ),
    ] = None,
    newest_only: Annotated[
        bool, typer.Option("--newest-only", help="Only the newest snapshot; those before it are passed over.")
    ] = False,
    verify_level: Annotated[
        int,
        typer.Option(
            "--verify-level",
            min=1,
            max=3,
            metavar="1..3",
            help="How to check what was sent, before it counts. 1: it is there with its size. 2: its checksums "
            "match (read back where the storage keeps none). 3: it is read back and opened.",
        ),
    ] = DEFAULT_VERIFY_LEVEL,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            max=64,
            metavar="N",
            help="How many objects travel at once.",
            show_default=False,
        ),
    ] = None,
    max_rate: MaxRate = None,
    nice: Nice = None,
    identity_file: IdentityFile = None,
    to_identity_file: Annotated[
        str | None,
        typer.Option(
            "--to-identity-file",
            metavar="FILE",
            help="Open the destinations with the age identity in this file.",
            show_default=False,
        ),
    ] = None,
    to_passphrase_file: Annotated[
        str | None,
        typer.Option(
            "--to-passphrase-file",
            metavar="FILE",
            help="The destinations' passphrase, where it is another than the source's.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Copy snapshots to other repositories, with keys and retention of their own.

    Only what a destination does not have is read and sent; what was sent is checked there before the copy counts.
    Without --to, every source goes where its `copies` in the settings say.

    Exit code 3 if some of it failed: each destination that did is named, and the others have theirs.

    \b
    Examples:
      holdfast copy
      holdfast copy latest --to s3://elsewhere/backups --to-passphrase-file other.txt
      holdfast copy --from primary --to offsite --source shop --since 14d
    """
    del json, max_rate, nice
    _refuse_contradictions(snapshots, all_=all_, since=since, newest_only=newest_only)
    invocation = current(context)

    from holdfast.cli.copy_report import copy_document, copy_text, exit_code_of
    from holdfast.cli.copying import Asked, Credentials, Runs
    from holdfast.workflows.replicate import ReplicateOptions

    wishes = _wishes(invocation, from_, to or [], source, newest_only=newest_only)
    credentials = Credentials(identity_file=to_identity_file, passphrase_file=to_passphrase_file)
    options = ReplicateOptions(verify_level=verify_level)
    if jobs is not None:
        options = replace(options, jobs=jobs)
    asked = Asked(snapshots=tuple(snapshots or ()), since=_moment(since), everything=all_)
    with invocation.watching(quiet=quiet) as listener, invocation.stop.listening() as interrupted:
        runs = Runs(invocation, credentials, options, listener, interrupted)
        report = runs.copy_all(wishes, asked, identity_file)
    invocation.show_as(lambda: copy_document(report), lambda: copy_text(report))
    return exit_code_of(report)


def _wishes(
    invocation: Invocation, from_: str | None, to: list[str], source: str | None, *, newest_only: bool
) -> list[Wish]:
    """From the command line where it says where to, otherwise from the settings."""
    from holdfast.cli.copying import Wish

    settings = invocation.settings
    if to:
        destinations = [settings.pick_repository(name) for name in dict.fromkeys(to)]
        place = _place(settings, from_, source)
        return [
            Wish(place=place, destination=destination, source=source, newest_only=newest_only)
            for destination in destinations
        ]
    wishes: list[Wish] = []
    for name, section in settings.file.sources.items():
        if source in (None, name) and section.copies:
            place = settings.pick_repository(from_, section)
            wishes += [
                Wish(
                    place=place,
                    destination=settings.pick_repository(item.repository),
                    source=name,
                    newest_only=newest_only or item.newest_only,
                )
                for item in section.copies
            ]
    if not wishes:
        whose = f"source {source!r}" if source is not None else "no source"
        raise UsageError(
            f"{whose} has {'no ' if source is not None else ''}copies configured, and no --to was given",
            hint='give --to, or set copies = ["NAME"] in the section of the source',
        )
    return wishes


def _place(settings: Settings, from_: str | None, source: str | None) -> RepositoryChoice:
    """The repository to copy from: as named, else that of the source, which may be the only one configured."""
    sources = settings.file.sources
    own = sources.get(source) if source is not None else next(iter(sources.values()), None)
    if from_ is not None or (source is None and len(sources) > 1):
        own = None
    try:
        return settings.pick_repository(from_, own)
    except UsageError as error:
        if from_ is None:
            error.hint = "name the repository to copy from with --from"
        raise


def _refuse_contradictions(
    snapshots: list[str] | None, *, all_: bool, since: str | None, newest_only: bool
) -> None:
    given = [
        name
        for name, is_given in (
            ("snapshots by name", bool(snapshots)),
            ("--all", all_),
            ("--since", since is not None),
            ("--newest-only", newest_only),
        )
        if is_given
    ]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other", hint="leave all but one out")


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None

    from holdfast.domain.durations import parse_duration

    try:
        return datetime.now(UTC) - parse_duration(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"--since {text!r} is neither a moment nor a span of time",
            hint="give it as 2026-11-20, 2026-11-20T14:05+01:00, or 14d",
        ) from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
