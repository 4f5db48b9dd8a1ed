"""`holdfast key`: what opens a repository."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.handing_out import KitFile, advise, check_kit_place, kit_file, new_passphrase
from holdfast.cli.invocation import current, opened
from holdfast.cli.options import IdentityFile, Json, Repo
from holdfast.domain.errors import EXIT_FINE, UsageError

if TYPE_CHECKING:
    from holdfast.repository.repo import Repository
    from holdfast.workflows.keys import KeysReport

SlotName = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="What to call the key slot.", show_default=False)
]

keys = typer.Typer(help="List, add, remove and renew what opens a repository.", rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    keys.command("list")(list_keys)
    keys.command("add")(add_key)
    keys.command("remove")(remove_key)
    keys.command("recovery-kit")(recovery_kit)
    app.add_typer(keys, name="key")


def list_keys(
    context: typer.Context,
    *,
    repo: Repo = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="Also say which snapshots, and how much, each epoch's keys open today."
        ),
    ] = False,
    identity_file: IdentityFile = None,
    json: Json = False,
) -> int:
    """List what opens the repository.

    Each key slot is a passphrase or an age recipient. The keys of an epoch open what was sealed in it and before.
    """
    del json
    from holdfast.workflows.keys import list_keys as workflow

    return on_repository(
        context, repo, identity_file, lambda repository: workflow(repository, measure=measure)
    )


def add_key(
    context: typer.Context,
    *,
    repo: Repo = None,
    recipient: Annotated[
        str | None,
        typer.Option(
            "--recipient",
            metavar="AGE|SSH",
            help="An age recipient (age1...) or SSH public key, instead of a passphrase.",
            show_default=False,
        ),
    ] = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            "--new-passphrase-file",
            metavar="FILE",
            help="Read the new passphrase from this file instead of asking for it twice.",
            show_default=False,
        ),
    ] = None,
    name: SlotName = None,
    label: Annotated[
        str, typer.Option("--label", metavar="TEXT", help="Whose key it is.", show_default=False)
    ] = "",
    identity_file: IdentityFile = None,
    json: Json = False,
) -> int:
    """Add a passphrase or a recipient.

    It opens the repository beside those that do already.

    \b
    Examples:
      holdfast key add --label "on call"
      holdfast key add --recipient age1... --name team --label "database team"
    """
    del json
    if recipient is not None and passphrase_file is not None:
        raise UsageError(
            "--recipient and --new-passphrase-file exclude each other", hint="leave one of them out"
        )

    from datetime import UTC, datetime

    from holdfast.repository.keys.secrets import Secrets
    from holdfast.workflows.keys import add_passphrase, add_recipient

    def work(repository: Repository) -> KeysReport:
        now = datetime.now(UTC)
        if recipient is not None:
            return add_recipient(repository, recipient, slot=name, label=label, now=now)
        passphrase = new_passphrase(Secrets(passphrase_file=passphrase_file))
        return add_passphrase(repository, passphrase, slot=name, label=label, now=now)

    return on_repository(context, repo, identity_file, work)


def remove_key(
    context: typer.Context,
    *,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The key slot, as `holdfast key list` names it.")
    ],
    repo: Repo = None,
    identity_file: IdentityFile = None,
    json: Json = False,
) -> int:
    """Remove a key slot.

    The last one is never removed.

    A removed key still opens older copies of the repository.
    """
    del json
    from datetime import UTC, datetime

    from holdfast.workflows.keys import remove_key as workflow

    return on_repository(
        context, repo, identity_file, lambda repository: workflow(repository, name, now=datetime.now(UTC))
    )


def recovery_kit(
    context: typer.Context,
    *,
    repo: Repo = None,
    kit: KitFile = None,
    identity_file: IdentityFile = None,
    json: Json = False,
) -> int:
    """Make another recovery kit.

    Earlier kits stay valid until their slots are removed.
    """
    invocation = current(context)
    check_kit_place(kit, json=json, without=False)

    from datetime import UTC, datetime

    from holdfast.workflows.keys import add_kit

    with kit_file(kit) as deliver:
        code = on_repository(
            context,
            repo,
            identity_file,
            lambda repository: add_kit(repository, now=datetime.now(UTC), deliver=deliver),
        )
    advise(invocation, kit, made=True)
    return code


def on_repository(
    context: typer.Context,
    repo: str | None,
    identity_file: str | None,
    work: Callable[[Repository], KeysReport],
) -> int:
    invocation = current(context)
    place = invocation.settings.pick_repository(repo)
    with opened(invocation, place, identity_file) as repository:
        report = work(repository)
    invocation.show(report)
    return EXIT_FINE
