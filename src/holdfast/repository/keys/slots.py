"""Slots: one epoch's keys wrapped for one passphrase or one age recipient, as a JSON object of its own.

A slot is either sound or damaged, which its checksum tells apart from a secret that does not fit. Passphrase
slots authenticate everything in them. Age slots cannot (whoever knows a recipient can wrap for it), so the
keyring checks what comes out of them (keyring.py), and a rotation wraps new keys only for recipients that a
holder of the epoch's keys vouches for: every slot carries a MAC of what it says in clear.

An epoch's slots lie in a folder of their own: `keys/00000001/` for the first one, `keys/<epoch>-<attempt>/` for
those that a rotation made (epochs.py says which attempt counts).
"""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final, NamedTuple
from uuid import UUID

import pyrage
from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.domain.errors import DamagedError, UsageError
from holdfast.repository.keys.key_objects import canonical, checked, from_text, to_text, why, with_checksum
from holdfast.repository.keys.secrets import Identity

SLOT_FORMAT: Final = 1
_NAME = re.compile(
    r"keys/(?P<epoch>[0-9]{8})(?:-(?P<attempt>[0-9a-f]{8}))?/(?P<slot>[a-z0-9][a-z0-9.-]{0,62})"
)
_VOUCHED = b"holdfast/1/slot\n"
_NONCE_BYTES = 12
_SALT_BYTES = 16


class UnknownSlotError(Exception):
    """A sound slot of a kind or format that this version does not know."""


class NotForThisSecretError(Exception):
    """A sound slot that the secret at hand does not open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Argon2:
    """The cost of guessing a passphrase. The default and its reasons: docs/decisions/passphrase-cost.md."""

    memory_kib: int = 64 * 1024
    passes: int = 3
    lanes: int = 4

    # A slot is data from a storage: it must not make its reader take all the memory or time there is.
    MAX_MEMORY_KIB: ClassVar[int] = 1024 * 1024
    MAX_PASSES: ClassVar[int] = 16
    MAX_LANES: ClassVar[int] = 16

    def __post_init__(self) -> None:
        if not (
            1 <= self.lanes <= self.MAX_LANES
            and 1 <= self.passes <= self.MAX_PASSES
            and 8 * self.lanes <= self.memory_kib <= self.MAX_MEMORY_KIB
        ):
            raise ValueError(f"out of bounds: {self}")

    def derive(self, passphrase: str, salt: bytes) -> bytes:
        """The key that wraps; takes `memory_kib` of memory and a fraction of a second per gigabyte and pass."""
        return hash_secret_raw(
            secret=passphrase.encode("utf-8"),
            salt=salt,
            time_cost=self.passes,
            memory_cost=self.memory_kib,
            parallelism=self.lanes,
            hash_len=32,
            type=Type.ID,
        )


KDF: Final = Argon2()


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A sound slot: what it says in clear. `clear` is all of it but the wrapped keys and the checksum."""

    name: str
    repository_id: UUID
    epoch: int
    attempt: str
    slot: str
    label: str
    created_at: datetime
    clear: Mapping[str, Any]
    wrapped: bytes

    @property
    def kind(self) -> str:
        return str(self.clear["kind"])

    def is_vouched_for(self, data_key: bytes) -> bool | None:
        """Whether a holder of the epoch's data key wrote all that this slot says in clear; None if it does not
        say (slots made before they were vouched for)."""
        stated = self.clear.get("mac")
        if stated is None:
            return None
        return hmac.compare_digest(str(stated), _mac(self.clear, data_key))


@dataclass(frozen=True, slots=True, kw_only=True)
class PassphraseSlot(Slot):
    kdf: Argon2
    salt: bytes
    nonce: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AgeSlot(Slot):
    recipient: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotPlace:
    """Where a new slot goes and what it says of itself."""

    repository_id: UUID
    epoch: int
    slot: str
    label: str
    created_at: datetime
    attempt: str = ""

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.object_name) is None:
            raise UsageError(
                f"{self.slot!r} is no name for a key slot",
                hint="use lower-case letters, digits, dots and dashes, 63 at most",
            )

    @property
    def object_name(self) -> str:
        return f"{epoch_folder(self.epoch, self.attempt)}{self.slot}"

    def describe(self, kind: str) -> dict[str, Any]:
        return {
            "format": SLOT_FORMAT,
            "repository": str(self.repository_id),
            "epoch": self.epoch,
            "slot": self.slot,
            "kind": kind,
            "label": self.label,
            "created_at": self.created_at.isoformat(),
            **({"attempt": self.attempt} if self.attempt else {}),
        }


class SlotName(NamedTuple):
    """What the name of a slot's object says. `attempt` is empty in the first epoch."""

    epoch: int
    attempt: str
    slot: str


def epoch_folder(epoch: int, attempt: str) -> str:
    """Where the slots of an epoch lie; ends with a slash."""
    return f"keys/{epoch:08d}-{attempt}/" if attempt else f"keys/{epoch:08d}/"


def parse_slot_name(name: str) -> SlotName | None:
    """None if this is not the name of a slot's object."""
    match = _NAME.fullmatch(name)
    if match is None or int(match["epoch"]) == 0:
        return None
    return SlotName(epoch=int(match["epoch"]), attempt=match["attempt"] or "", slot=match["slot"])


def new_salt() -> bytes:
    return os.urandom(_SALT_BYTES)


def wrap_for_passphrase(
    payload: bytes, place: SlotPlace, *, data_key: bytes, key: bytes, salt: bytes, kdf: Argon2
) -> bytes:
    """The bytes of a slot that `kdf.derive(passphrase, salt) == key` opens; `data_key` vouches for it."""
    clear = place.describe("passphrase")
    nonce = os.urandom(_NONCE_BYTES)
    clear["kdf"] = {
        "name": "argon2id",
        "memory_kib": kdf.memory_kib,
        "passes": kdf.passes,
        "lanes": kdf.lanes,
        "salt": to_text(salt),
    }
    clear["nonce"] = to_text(nonce)
    clear["mac"] = _mac(clear, data_key)
    return _finish(clear, AESGCM(key).encrypt(nonce, payload, canonical(clear)))


def wrap_for_recipient(payload: bytes, place: SlotPlace, recipient: str, *, data_key: bytes) -> bytes:
    """The bytes of a slot that the identity of an age (`age1…`) or SSH (`ssh-…`) recipient opens; `data_key`
    vouches for it."""
    known = parse_recipient(recipient)
    clear = place.describe("age") | {"recipient": recipient.strip()}
    clear["mac"] = _mac(clear, data_key)
    try:
        return _finish(clear, pyrage.encrypt(payload, [known]))
    except pyrage.EncryptError as error:
        raise UsageError("cannot wrap keys for this recipient") from error


def parse_recipient(recipient: str) -> pyrage.x25519.Recipient | pyrage.ssh.Recipient:
    """Raises `UsageError`; a secret key given by mistake is not repeated in the message."""
    text = recipient.strip()
    hint = "give an age recipient (age1…) or an SSH public key (ssh-ed25519 …, ssh-rsa …)"
    if "PRIVATE KEY" in text.upper() or text.upper().startswith("AGE-SECRET-KEY"):
        raise UsageError("what was given as recipient is a secret key", hint=hint)
    try:
        if text.startswith("ssh-"):
            return pyrage.ssh.Recipient.from_str(text)
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise UsageError(f"{text!r} is no recipient", hint=hint) from error


def read_slot(name: str, data: bytes) -> PassphraseSlot | AgeSlot:
    """A slot from its object. Raises `DamagedError`, or `UnknownSlotError` if a newer version wrote it."""
    try:
        return _read(name, data)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(
            f"key slot {name} is damaged: {why(error)}",
            object_name=name,
            hint="open the repository with another passphrase or the recovery kit, then make a new slot",
        ) from error


def open_passphrase(slot: PassphraseSlot, key: bytes) -> bytes:
    """The payload, given the derived key; raises `NotForThisSecretError`."""
    try:
        return AESGCM(key).decrypt(slot.nonce, slot.wrapped, canonical(slot.clear))
    except InvalidTag as error:
        raise NotForThisSecretError from error


def open_age(slot: AgeSlot, identities: Iterable[Identity]) -> bytes:
    """The payload; raises `NotForThisSecretError` if none of the identities is the recipient's."""
    try:
        return bytes(pyrage.decrypt(slot.wrapped, list(identities)))
    except pyrage.DecryptError as error:
        raise NotForThisSecretError from error


def _mac(clear: Mapping[str, Any], data_key: bytes) -> str:
    said = {key: value for key, value in clear.items() if key != "mac"}
    return hmac.digest(data_key, _VOUCHED + canonical(said), "sha256").hex()


def _finish(clear: Mapping[str, Any], wrapped: bytes) -> bytes:
    return with_checksum({**clear, "wrapped": to_text(wrapped)})


def _read(name: str, data: bytes) -> PassphraseSlot | AgeSlot:
    document = checked(data)
    if document["kind"] == "epoch":
        raise ValueError("it belongs to the marker of an epoch")
    if document["format"] != SLOT_FORMAT or document["kind"] not in ("passphrase", "age"):
        raise UnknownSlotError(f"format {document['format']!r}, kind {document['kind']!r}")
    clear = {key: value for key, value in document.items() if key != "wrapped"}
    attempt = str(clear.get("attempt", ""))
    stated = f"{epoch_folder(clear['epoch'], attempt)}{clear['slot']}"
    if stated != name or parse_slot_name(name) is None:
        raise ValueError(f"it belongs to {stated!r}")
    created_at = datetime.fromisoformat(clear["created_at"])
    if created_at.tzinfo is None:
        raise ValueError(f"its date lacks a time zone: {created_at}")
    common: dict[str, Any] = {
        "name": name,
        "repository_id": UUID(str(clear["repository"])),
        "epoch": clear["epoch"],
        "attempt": attempt,
        "slot": clear["slot"],
        "label": str(clear["label"]),
        "created_at": created_at,
        "clear": clear,
        "wrapped": from_text(document["wrapped"]),
    }
    if clear["kind"] == "age":
        return AgeSlot(**common, recipient=str(clear["recipient"]))
    kdf, nonce = clear["kdf"], from_text(clear["nonce"])
    salt = from_text(kdf["salt"])
    if kdf["name"] != "argon2id" or len(nonce) != _NONCE_BYTES or not _SALT_BYTES <= len(salt) <= 64:
        raise ValueError("its key derivation makes no sense")
    cost = Argon2(memory_kib=int(kdf["memory_kib"]), passes=int(kdf["passes"]), lanes=int(kdf["lanes"]))
    return PassphraseSlot(**common, kdf=cost, salt=salt, nonce=nonce)
