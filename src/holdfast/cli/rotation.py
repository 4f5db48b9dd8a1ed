"""`holdfast key rotate` and `holdfast key compromised`: new keys, and what the old ones still open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.handing_out import new_passphrase
from holdfast.cli.invocation import Invocation, current, find_secrets_for
from holdfast.cli.keys import SlotName, keys, on_repository
from holdfast.cli.options import IdentityFile, Json, Repo
from holdfast.domain.errors import EXIT_FINE, UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from holdfast.cli.documents import Document
    from holdfast.repository.keys.secrets import Secrets
    from holdfast.repository.repo import Repository
    from holdfast.workflows.rotation import Rotated, RotationReport

Keep = Annotated[
    list[str] | None,
    typer.Option(
        "--keep",
        metavar="NAME",
        help="Carry this recipient over, whose owner you know; may be given several times.",
        show_default=False,
    ),
]
SlotPassphraseFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--slot-passphrase-file",
        metavar="FILE",
        help="The passphrase of another slot, so that it is carried over; may be given several times.",
        show_default=False,
    ),
]
DropSlots = Annotated[
    bool,
    typer.Option(
        "--drop-slots", help="Leave behind what cannot be carried over: it opens older snapshots only."
    ),
]
NewPassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--new-passphrase-file",
        metavar="FILE",
        help="With --slot: read the new passphrase from this file instead of asking for it twice.",
        show_default=False,
    ),
]
Recipient = Annotated[
    str | None,
    typer.Option(
        "--recipient",
        metavar="AGE|SSH",
        help="With --slot: the new recipient, instead of a passphrase.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Below `key`, which keys.py has registered with the program itself."""
    del app
    keys.command("rotate")(rotate_keys)
    keys.command("compromised")(keys_compromised)


def rotate_keys(
    context: typer.Context,
    *,
    repo: Repo = None,
    slot: Annotated[
        str | None,
        typer.Option(
            "--slot", metavar="NAME", help="Change this passphrase or recipient only.", show_default=False
        ),
    ] = None,
    new_passphrase_file: NewPassphraseFile = None,
    recipient: Recipient = None,
    name: SlotName = None,
    keep: Keep = None,
    slot_passphrase_file: SlotPassphraseFiles = None,
    drop_slots: DropSlots = False,
    identity_file: IdentityFile = None,
    json: Json = False,
) -> int:
    """Change a passphrase, or begin new keys for new snapshots.

    With --slot: a new passphrase or recipient takes the place of one, and is there before the old one goes.

    Without: a new epoch. New objects are sealed with new keys, stored ones stay as they are and are still reused.
    Recipients are carried over (the recovery kit stays valid), and passphrases that are at hand.

    If somebody else may have a key: holdfast key compromised.

    \b
    Examples:
      holdfast key rotate --slot passphrase
      holdfast key rotate --slot-passphrase-file /etc/holdfast/on-call
    """
    del json
    for_slot = {"--new-passphrase-file": new_passphrase_file, "--recipient": recipient, "--name": name}
    for_epoch = {"--keep": keep, "--slot-passphrase-file": slot_passphrase_file, "--drop-slots": drop_slots}
    if slot is None:
        _refuse(for_slot, "goes with --slot")
        return _renew(context, repo, identity_file, slot_passphrase_file, _rotation(keep, drop=drop_slots))
    _refuse(for_epoch, "does not go with --slot")
    if recipient is not None and new_passphrase_file is not None:
        raise UsageError(
            "--recipient and --new-passphrase-file exclude each other", hint="leave one of them out"
        )
    return _change_slot(context, repo, identity_file, slot, (new_passphrase_file, recipient, name))


def keys_compromised(
    context: typer.Context,
    *,
    lost: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="The key slots whose secrets somebody else may have."),
    ] = None,
    repo: Repo = None,
    keep: Keep = None,
    slot_passphrase_file: SlotPassphraseFiles = None,
    drop_slots: DropSlots = False,
    identity_file: IdentityFile = None,
    json: Json = False,
) -> int:
    """New keys after somebody else may have had the old ones.

    The named slots are removed, everything new is sealed and identified with new keys, and the next backup of
    every source reads in full. Says what the old keys still open: what was copied cannot be taken back.

    If it was the secret that this command is run with: add another one first (holdfast key add), and run it with
    that.

    \b
    Example:
      HOLDFAST_PASSPHRASE_FILE=new holdfast key compromised passphrase --keep team
    """
    del json

    def work(repository: Repository, secrets: list[Secrets]) -> Rotated:
        from datetime import UTC, datetime

        from holdfast.workflows.rotation import compromised

        return compromised(
            repository, lost or [], secrets, keep=keep or [], drop=drop_slots, now=datetime.now(UTC)
        )

    return _renew(context, repo, identity_file, slot_passphrase_file, work)


def _rotation(keep: list[str] | None, *, drop: bool) -> Callable[[Repository, list[Secrets]], Rotated]:
    def work(repository: Repository, secrets: list[Secrets]) -> Rotated:
        from datetime import UTC, datetime

        from holdfast.workflows.rotation import rotate

        return rotate(repository, secrets, keep=keep or [], drop=drop, now=datetime.now(UTC))

    return work


def _renew(
    context: typer.Context,
    repo: str | None,
    identity_file: str | None,
    passphrase_files: list[Path] | None,
    work: Callable[[Repository, list[Secrets]], Rotated],
) -> int:
    from holdfast import assemble
    from holdfast.repository.keys.secrets import Secrets

    invocation = current(context)
    place = invocation.settings.pick_repository(repo)
    others = [Secrets(passphrase_file=path) for path in passphrase_files or ()]
    secrets = _remembering(find_secrets_for(place.settings, identity_file))
    with assemble.open_repository(place, secrets) as repository:
        for warning in repository.warnings:
            invocation.warn(warning)
        done = work(repository, [_answered(secrets), *others])
    _show(invocation, done.report)
    return EXIT_FINE


def _change_slot(
    context: typer.Context,
    repo: str | None,
    identity_file: str | None,
    slot: str,
    change: tuple[Path | None, str | None, str | None],
) -> int:
    from datetime import UTC, datetime

    from holdfast.repository.keys.secrets import Secrets
    from holdfast.workflows.key_slots import slots_of
    from holdfast.workflows.keys import KeysReport, rotate_slot

    passphrase_file, recipient, name = change

    def work(repository: Repository) -> KeysReport:
        known = sorted({item.name for item in slots_of(repository)})
        if slot not in known:  # before a passphrase is asked for
            raise UsageError(f"no key slot is named {slot!r}", hint=f"choose one of: {', '.join(known)}")
        passphrase = None
        if recipient is None:
            passphrase = new_passphrase(Secrets(passphrase_file=passphrase_file))
        now = datetime.now(UTC)
        return rotate_slot(repository, slot, passphrase=passphrase, recipient=recipient, name=name, now=now)

    return on_repository(context, repo, identity_file, work)


def _refuse(options: Mapping[str, object], why: str) -> None:
    for option, value in options.items():
        if value:
            raise UsageError(f"{option} {why}", hint="run holdfast key rotate --help")


class _Answer:
    """A prompt that remembers: what was typed to open the repository also opens its slots."""

    def __init__(self, prompt: Callable[[], str]) -> None:
        self._prompt = prompt
        self.text: str | None = None

    def __call__(self) -> str:
        if self.text is None:
            self.text = self._prompt()
        return self.text


def _remembering(secrets: Secrets) -> Secrets:
    return secrets if secrets.prompt is None else replace(secrets, prompt=_Answer(secrets.prompt))


def _answered(secrets: Secrets) -> Secrets:
    typed = secrets.prompt.text if isinstance(secrets.prompt, _Answer) else None
    return secrets if typed is None else replace(secrets, passphrase=typed, prompt=None)


def _show(invocation: Invocation, report: RotationReport) -> None:
    def document() -> Document:
        from holdfast.cli.documents import document_of

        return {
            **document_of(report.keys),
            "reason": report.reason.value,
            "left_out": [
                {"name": item.name, "recipient": item.recipient or None, "reason": item.reason}
                for item in report.left_out
            ],
        }

    invocation.show_as(document, lambda: _text(report))


def _text(report: RotationReport) -> Iterator[RenderableType]:
    from rich.text import Text

    from holdfast.cli.render import text_of
    from holdfast.repository.keys.epochs import EpochReason

    yield Text(f"epoch {report.keys.epoch} begun: new snapshots are sealed with new keys", style="green")
    for item in report.left_out:
        yield Text(
            f"  left behind: {item.name} ({item.reason}); it opens older snapshots only", style="yellow"
        )
    if report.reason is EpochReason.COMPROMISE:
        yield Text("  the next backup of every source reads and stores everything anew")
        yield Text("  holdfast key reseal stores old snapshots anew, too")
        yield Text("  change the storage's credentials, too, if they may have got out")
    yield from text_of(report.keys)
