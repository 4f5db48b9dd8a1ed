"""Secrets on their way to people: the recovery kit, passphrases, and the files that they are written to once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.invocation import Invocation, ask_secret, write
from holdfast.domain.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from holdfast.repository.keys.secrets import Secrets

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


def check_kit_place(kit: Path | None, *, json: bool, without: bool) -> None:
    """The kit must have somewhere to go before anything is made."""
    if without and kit is not None:
        raise UsageError("--kit and --no-kit exclude each other", hint="leave one of them out")
    if not without and kit is None and (json or not sys.stdout.isatty()):
        raise UsageError(
            "there is no terminal to show the recovery kit on",
            hint="write it to a file with --kit FILE; whoever wants none says --no-kit to init",
        )


@contextmanager
def kit_file(path: Path | None) -> Iterator[Callable[[str], None]]:
    """Where the kit goes: a new file that only its owner reads, or the terminal. Open before the work begins, so
    that a repository is never made whose kit cannot be written."""
    if path is None:
        yield lambda text: write(sys.stdout, f"\n{text.rstrip()}\n\n")
        return
    with new_file(path, "the recovery kit") as deliver:
        yield deliver


@contextmanager
def new_file(path: Path, what: str) -> Iterator[Callable[[str], None]]:
    """A new file that only its owner reads, for a secret; it goes again if nothing was delivered."""
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise RefusedError(f"{path} exists already", hint=f"choose another file for {what}") from error
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


def new_passphrase(secrets: Secrets) -> str:
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
    from holdfast.repository.keys.secrets import usable

    return usable(first, "the terminal")


def advise(invocation: Invocation, kit: Path | None, *, made: bool) -> None:
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
