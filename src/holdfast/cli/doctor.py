"""`holdfast doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.invocation import Invocation, current, find_secrets_for
from holdfast.cli.options import IdentityFile, Json, Repo, Source
from holdfast.domain.errors import EXIT_FINE, EXIT_UNREACHABLE, UsageError

if TYPE_CHECKING:
    from holdfast.domain.policy import RetentionPolicy
    from holdfast.settings import RepositoryChoice, SourceChoice


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(
    context: typer.Context,
    *,
    source: Source = None,
    repo: Repo = None,
    identity_file: IdentityFile = None,
    policies: Annotated[
        bool,
        typer.Option(
            "--policies", help="Print the smallest rights for writer, reader and collector, and stop."
        ),
    ] = False,
    json: Json = False,
) -> int:
    """Say what a backup would lack, and what mends it.

    Looks at the role's rights, the server's version, the pooler, the client tools, and what the storage can do.
    Writes nothing but a few probe objects to the storage. Exit code 6 if something is missing.

    \b
    Examples:
      holdfast doctor
      holdfast doctor postgresql://backup@db.example.org/shop --repo s3://bucket/backups
      holdfast doctor --repo s3://bucket/backups --policies
    """
    del json
    invocation = current(context)
    if policies:
        return _show_policies(invocation, repo)
    chosen, place = _choices(invocation, source, repo)

    from holdfast import assemble
    from holdfast.workflows import doctor as workflow

    report = workflow.doctor(
        address=None if chosen is None else assemble.address_of(chosen),
        storage=None if place is None else (lambda: assemble.open_storage(place.settings)),
        repository=None
        if place is None
        else (lambda: assemble.open_repository(place, find_secrets_for(place.settings, identity_file))),
        selection=None if chosen is None else assemble.selection_of(chosen),
        protection=None
        if place is None
        else assemble.protection_of(place.settings, retention=_retention(invocation, chosen, place)),
    )
    invocation.show(report)
    return EXIT_FINE if report.fine else EXIT_UNREACHABLE


def _show_policies(invocation: Invocation, repo: str | None) -> int:
    from holdfast import assemble
    from holdfast.cli.policies import document_of_policies, text_of_policies

    report = assemble.policies_of(invocation.settings.pick_repository(repo).settings)
    invocation.show_as(lambda: document_of_policies(report), lambda: text_of_policies(report))
    return EXIT_FINE


def _retention(
    invocation: Invocation, chosen: SourceChoice | None, place: RepositoryChoice
) -> RetentionPolicy | None:
    """By which the source's snapshots go, if one is meant and has any."""
    if chosen is None or chosen.name is None:
        return None
    return invocation.settings.pick_policy(chosen.name, invocation.settings.name_of(place))


def _choices(
    invocation: Invocation, source: str | None, repo: str | None
) -> tuple[SourceChoice | None, RepositoryChoice | None]:
    """Whatever is named or can be found: a source, a repository, or both."""
    settings = invocation.settings
    chosen: SourceChoice | None = None
    place: RepositoryChoice | None = None
    try:
        chosen = settings.pick_source(source)
    except UsageError:
        if source is not None or repo is None:
            raise
    try:
        place = settings.pick_repository(repo, chosen.settings if chosen else None)
    except UsageError:
        if repo is not None:
            raise
    return chosen, place
