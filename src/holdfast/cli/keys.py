"""`holdfast init` and `holdfast key`: repositories, and what opens them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.invocation import Invocation, ask_secret, current, find_secrets_for, opened, write
from holdfast.cli.options import IdentityFile, Json, Repo
from holdfast.domain.errors import EXIT_FINE, RefusedError, UsageError

if TYPE_CHECKING:
    from holdfast.repository.repo import Repository
    from holdfast.repository.secrets import Secrets
    from holdfast.workflows.keys import KeysReport

KIT_ADVICE = """
This is the recovery kit. It opens every snapshot in this repository, without the passphrase.
Print it, or keep it in a password manager - not on this machine and not beside the backups.
Without it, a lost passphrase means that every backup is lost."""

KitFile = Annotated[
    Path | None,
    typer.Option(
        "--kit",
        metavar="FILE",
        help="Write the recovery kit to this new file, readable by its owner only, instead of the terminal.",
        show_default=False,
    ),
]
SlotName = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="What to call the key slot.", show_default=False)
]

keys = typer.Typer(help="List, add and remove what opens a repository.", rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.command("init")(init)
    keys.command("list")(list_keys)
    keys.command("add")(add_key)
    keys.command("remove")(remove_key)
    keys.command("recovery-kit")(recovery_kit)
    app.add_typer(keys, name="key")


def init(
    context: typer.Context,
    *,
    repo: Repo = None,
    kit: KitFile = None,
    no_kit: Annotated[
        bool,
        typer.Option("--no-kit", help="Make no recovery kit: the passphrase alone opens the repository."),
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
      HOLDFAST_PASSPHRASE_FILE=/etc/holdfast/passphrase holdfast init --repo /mnt/backups --kit kit.txt
    """
    invocation = current(context)
    _check_kit_place(kit, json=json, without=no_kit)
    place = invocation.settings.pick_repository(repo)

    from datetime import UTC, datetime

    from holdfast import assemble
    from holdfast.workflows.keys import init_repository

    with _kit_file(kit) as deliver:
        assemble.require_no_repository(place.settings)
        passphrase = _new_passphrase(find_secrets_for(place.settings, None))
        abilities = assemble.probe_storage(place.settings)
        with assemble.open_storage(place.settings, create_once=abilities.create_once) as storage:
            report = init_repository(
                storage,
                abilities=abilities,
                passphrase=passphrase,
                with_kit=not no_kit,
                now=datetime.now(UTC),
            )
        if report.kit is not None:
            deliver(report.kit)
    invocation.show(report)
    _advise(invocation, kit, made=report.kit is not None)
    return EXIT_FINE


def list_keys(
    context: typer.Context, *, repo: Repo = None, identity_file: IdentityFile = None, json: Json = False
) -> int:
    """List what opens the repository.

    Each key slot is a passphrase or an age recipient.
    """
    del json
    from holdfast.workflows.keys import list_keys as workflow

    return _on_repository(context, repo, identity_file, workflow)


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

    from holdfast.repository.secrets import Secrets
    from holdfast.workflows.keys import add_passphrase, add_recipient

    def work(repository: Repository) -> KeysReport:
        now = datetime.now(UTC)
        if recipient is not None:
            return add_recipient(repository, recipient, slot=name, label=label, now=now)
        passphrase = _new_passphrase(Secrets(passphrase_file=passphrase_file))
        return add_passphrase(repository, passphrase, slot=name, label=label, now=now)

    return _on_repository(context, repo, identity_file, work)


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

    return _on_repository(
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
    _check_kit_place(kit, json=json, without=False)

    from datetime import UTC, datetime

    from holdfast.workflows.keys import add_kit

    with _kit_file(kit) as deliver:
        code = _on_repository(
            context,
            repo,
            identity_file,
            lambda repository: add_kit(repository, now=datetime.now(UTC), deliver=deliver),
        )
    _advise(invocation, kit, made=True)
    return code


def _on_repository(
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


def _check_kit_place(kit: Path | None, *, json: bool, without: bool) -> None:
    """The kit must have somewhere to go before anything is made."""
    if without and kit is not None:
        raise UsageError("--kit and --no-kit exclude each other", hint="leave one of them out")
    if not without and kit is None and (json or not sys.stdout.isatty()):
        raise UsageError(
            "there is no terminal to show the recovery kit on",
            hint="write it to a file with --kit FILE; whoever wants none says --no-kit to init",
        )


@contextmanager
def _kit_file(path: Path | None) -> Iterator[Callable[[str], None]]:
    """Where the kit goes: a new file that only its owner reads, or the terminal. Open before the work begins, so
    that a repository is never made whose kit cannot be written."""
    if path is None:
        yield lambda text: write(sys.stdout, f"\n{text.rstrip()}\n\n")
        return
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise RefusedError(
            f"{path} exists already", hint="choose another file for the recovery kit"
        ) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", hint="choose another file") from error
    done = False
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:

            def deliver(text: str) -> None:
                nonlocal done
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                done = True

            yield deliver
    finally:
        if not done:
            path.unlink(missing_ok=True)


def _new_passphrase(secrets: Secrets) -> str:
    """From where it is configured, or typed twice."""
    found = secrets.find_passphrase()
    if found is not None:
        return found
    if not sys.stdin.isatty():
        raise UsageError(
            "no passphrase is given, and there is no terminal to ask for one",
            hint="set HOLDFAST_PASSPHRASE_FILE, HOLDFAST_PASSPHRASE_COMMAND or HOLDFAST_PASSPHRASE",
        )
    first = ask_secret("new passphrase")
    if ask_secret("new passphrase again") != first:
        raise UsageError("the two passphrases differ", hint="run it again")
    from holdfast.repository.secrets import usable

    return usable(first, "the terminal")


def _advise(invocation: Invocation, kit: Path | None, *, made: bool) -> None:
    if not made:
        invocation.warn(
            "there is no recovery kit: a lost passphrase means that every backup is lost",
            hint="run holdfast key recovery-kit --kit FILE",
        )
    elif kit is None:
        write(sys.stderr, f"{KIT_ADVICE}\n")
    else:
        write(
            sys.stderr, f"{KIT_ADVICE}\nIt is in {kit}: move it to where it is kept, then delete it here.\n"
        )
