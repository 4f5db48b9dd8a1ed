"""`holdfast init`: a new repository, its passphrase and its recovery kit."""

from __future__ import annotations

import secrets as randomness
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.handing_out import KitFile, advise, check_kit_place, kit_file, new_file, new_passphrase
from holdfast.cli.invocation import current, find_secrets_for, write
from holdfast.cli.options import Json, Repo
from holdfast.domain.errors import EXIT_FINE, RefusedError, UsageError

if TYPE_CHECKING:
    from holdfast.repository.keys.secrets import Secrets

_UNMISTAKABLE = "abcdefghjkmnpqrstuvwxyz23456789"  # no i, l, o, 0, 1: it is copied by hand
_GENERATED_LETTERS = 30
_KEEP_IT = "Keep it in a password manager: without it and the recovery kit, every backup is lost."


def register(app: typer.Typer) -> None:
    app.command("init")(init)


def init(
    context: typer.Context,
    *,
    repo: Repo = None,
    kit: KitFile = None,
    no_kit: Annotated[
        bool,
        typer.Option("--no-kit", help="Make no recovery kit: the passphrase alone opens the repository."),
    ] = False,
    generate: Annotated[
        bool,
        typer.Option(
            "--generate-passphrase",
            help="Make a strong passphrase, and show it once; or write it to the file that "
            "HOLDFAST_PASSPHRASE_FILE names, if there is none yet.",
        ),
    ] = False,
    json: Json = False,
) -> int:
    """Make a repository and its recovery kit.

    Tries what the storage can really do, then makes the keys.

    The passphrase comes from HOLDFAST_PASSPHRASE, HOLDFAST_PASSPHRASE_FILE, HOLDFAST_PASSPHRASE_COMMAND, the
    settings, or the terminal, which asks twice.

    \b
    Examples:
      holdfast init --repo s3://bucket/backups --kit recovery-kit.txt
      HOLDFAST_PASSPHRASE_FILE=passphrase holdfast init --repo /mnt/backups --kit kit.txt --generate-passphrase
    """
    invocation = current(context)
    place = invocation.settings.pick_repository(repo)
    secrets = find_secrets_for(place.settings, None)
    if generate:
        _check_passphrase_place(secrets, json=json)
    check_kit_place(kit, json=json, without=no_kit)

    from datetime import UTC, datetime

    from holdfast import assemble
    from holdfast.workflows.keys import init_repository

    with kit_file(kit) as deliver:
        assemble.require_no_repository(place.settings)
        passphrase = None if generate else new_passphrase(secrets)
        abilities = assemble.probe_storage(place.settings)
        with assemble.open_storage(place.settings, create_once=abilities.create_once) as storage:
            report = init_repository(
                storage,
                abilities=abilities,
                passphrase=passphrase or _generated(secrets),
                with_kit=not no_kit,
                now=datetime.now(UTC),
            )
        if report.kit is not None:
            deliver(report.kit)
    invocation.show(report)
    advise(invocation, kit, made=report.kit is not None)
    return EXIT_FINE


def _check_passphrase_place(secrets: Secrets, *, json: bool) -> None:
    """A generated passphrase must have somewhere to go before anything is made."""
    if secrets.passphrase is not None or secrets.passphrase_command is not None:
        raise UsageError(
            "--generate-passphrase makes a passphrase, and one is given",
            hint="unset HOLDFAST_PASSPHRASE and HOLDFAST_PASSPHRASE_COMMAND, or leave the option out",
        )
    if secrets.passphrase_file is None and (json or not sys.stdout.isatty()):
        raise UsageError(
            "there is no terminal to show the passphrase on",
            hint="set HOLDFAST_PASSPHRASE_FILE to a file that is not there yet: it is written to it",
        )
    if secrets.passphrase_file is not None and secrets.passphrase_file.exists():
        raise RefusedError(
            f"{secrets.passphrase_file} exists already",
            hint="leave --generate-passphrase out to use the passphrase in it, or name another file",
        )


def _generated(secrets: Secrets) -> str:
    """A passphrase that nobody guesses, of 148 bits, handed out before anything is sealed with it."""
    letters = "".join(randomness.choice(_UNMISTAKABLE) for _ in range(_GENERATED_LETTERS))
    passphrase = "-".join(letters[place : place + 5] for place in range(0, _GENERATED_LETTERS, 5))
    if secrets.passphrase_file is None:
        write(sys.stdout, f"\npassphrase: {passphrase}\n\n{_KEEP_IT} It is not shown again.\n")
        return passphrase
    with new_file(secrets.passphrase_file, "the passphrase") as deliver:
        deliver(f"{passphrase}\n")
    write(sys.stderr, f"The passphrase is in {secrets.passphrase_file}. {_KEEP_IT}\n")
    return passphrase
