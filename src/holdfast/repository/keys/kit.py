"""The recovery kit: a page of text that alone opens a repository on another machine.

Lost keys are the commonest way to lose backups. The kit holds an age identity made for it and for nothing else,
and says in plain words what it opens and how. Every other line is a comment, so the text is itself a valid age
identity file; it may be printed, and typed in again.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import pyrage

from holdfast.domain.errors import UsageError
from holdfast.repository.keys.keyring import KeyObject, Keyring, add_recipient_slot
from holdfast.repository.keys.secrets import Identity, read_identities

KIT_LABEL = "recovery kit"
_REPOSITORY = "# Repository: "
_STORAGE = "# Storage:    "

_TEXT = """\
# HOLDFAST RECOVERY KIT
#
{repository}{repository_id}
{storage}{storage_address}
# Made on:    {made_on}
# Key slot:   {slot}
#
# Whoever holds this page can read every backup in that repository. Without it,
# and without the passphrase, nobody can: not the people who wrote Holdfast either.
# Print it, or put it into a password manager or a safe. Keep it away from the
# machine that is backed up and from the storage that holds the backups.
#
# To bring the data back on any machine:
#
#   1. Install Holdfast.
#   2. Save this page as a file named kit.txt. If you have it on paper, type in the one
#      line below that starts with AGE-SECRET-KEY-1; a mistyped letter is noticed.
#   3. Give that machine access to the storage (as for its other tools: environment
#      variables or the cloud's own login; no password of the storage is in this kit).
#   4. See what is there:
#
#        holdfast list --repo {shell_address} --identity-file kit.txt
#
#   5. Bring the newest snapshot back into a new database:
#
#        holdfast restore latest --repo {shell_address} --identity-file kit.txt \\
#          --to postgresql://USER@HOST/NEW_DATABASE --create
#
# The identity (an age identity; docs/FORMAT.md tells how to use it without Holdfast):

{identity}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """A new kit: its text to hand out once, and the slot to store, without which it opens nothing."""

    text: str = field(repr=False)
    slot_object: KeyObject
    recipient: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KitContents:
    """What a kit's text says. Only the identity is certain: a kit typed in from paper may lack the rest."""

    identity: Identity = field(repr=False)
    repository_id: UUID | None
    storage_address: str | None


def make_kit(keyring: Keyring, *, storage_address: str, now: datetime, slot: str | None = None) -> Kit:
    """A kit for the current epoch, and so for all that are open. `storage_address` holds no secret
    (`Storage.address`)."""
    if not storage_address.isprintable():
        raise UsageError(
            f"the storage address {storage_address!r} has characters that cannot be printed",
            hint="give the storage an address of printable characters",
        )
    identity = pyrage.x25519.Identity.generate()
    recipient = str(identity.to_public())
    name = slot or f"kit-{os.urandom(4).hex()}"
    made = add_recipient_slot(keyring, recipient, slot=name, label=KIT_LABEL, now=now)
    text = _TEXT.format(
        repository=_REPOSITORY,
        repository_id=keyring.repository_id,
        storage=_STORAGE,
        storage_address=storage_address,
        made_on=f"{now:%Y-%m-%d}",
        slot=name,
        shell_address=shlex.quote(storage_address),
        identity=identity,
    )
    return Kit(text=text, slot_object=made, recipient=recipient)


def parse_kit(text: str, source: str = "the recovery kit") -> KitContents:
    """Raises `UsageError` if the text holds no identity, or more than one; `source` is for messages."""
    identities = read_identities(text, source)
    if len(identities) > 1:
        raise UsageError(
            f"{source} holds {len(identities)} identities, not one", hint="give one recovery kit"
        )
    return KitContents(
        identity=identities[0],
        repository_id=_repository_id(_after(_REPOSITORY, text)),
        storage_address=_after(_STORAGE, text),
    )


def _after(mark: str, text: str) -> str | None:
    lines = (line.strip() for line in text.splitlines())
    return next((line.removeprefix(mark).strip() for line in lines if line.startswith(mark)), None)


def _repository_id(text: str | None) -> UUID | None:
    try:
        return None if text is None else UUID(text)
    except ValueError:
        return None
