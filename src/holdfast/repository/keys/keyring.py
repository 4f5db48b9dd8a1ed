"""The keyring: the current epoch's data key seals new objects, earlier epochs' keys still open old ones.

Each epoch's keys are wrapped in slots (slots.py), one object per epoch and slot: `keys/<epoch>/<slot>`. What comes
out of them again is unlocking.py's concern.

The invariant: new objects are sealed under the newest epoch that exists, or not at all; and every epoch but the
first carries the proof that a holder of the one before it made it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from holdfast.domain.errors import DamagedError, LockedOutError
from holdfast.repository.keys.secrets import usable
from holdfast.repository.keys.slots import (
    KDF,
    Argon2,
    SlotPlace,
    new_salt,
    wrap_for_passphrase,
    wrap_for_recipient,
)

KEY_BYTES: Final = 32
PAYLOAD_FORMAT: Final = 1


class KeyObject(NamedTuple):
    """A slot to store, create-once."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochKeys:
    """What an epoch's slots wrap. `link` proves to holders of the epoch before that one of them made this one.
    `attempt` names the rotation that made it, and so the folder of its slots; the first epoch has none."""

    epoch: int
    data_key: bytes = field(repr=False)
    identity_key: bytes = field(repr=False)
    link: bytes = field(repr=False)
    attempt: str = ""

    def __post_init__(self) -> None:
        if self.epoch < 1 or {len(self.data_key), len(self.identity_key), len(self.link)} != {KEY_BYTES}:
            raise ValueError(f"malformed keys of epoch {self.epoch}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """The keys of one repository. Plain data: picklable, its secrets hidden from `repr`.

    `epochs` are those that are open, ascending; `locked` those that exist but no secret at hand opened. `current`
    is the newest of both: a keyring that cannot open it reads old objects, and refuses to seal new ones.
    `config_digest` is the SHA-256 of the config object's bytes, in hexadecimal.
    """

    repository_id: UUID
    config_digest: str
    epochs: tuple[EpochKeys, ...]
    locked: tuple[int, ...] = ()

    @classmethod
    def generate(cls, *, repository_id: UUID, config_digest: str) -> Keyring:
        """Fresh keys for a new repository: epoch 1."""
        first = EpochKeys(
            epoch=1,
            data_key=os.urandom(KEY_BYTES),
            identity_key=os.urandom(KEY_BYTES),
            link=bytes(KEY_BYTES),
        )
        return cls(repository_id=repository_id, config_digest=config_digest, epochs=(first,))

    @property
    def current(self) -> int:
        if len(self.epochs) == 1 and not self.locked:  # as in most repositories, and asked for every blob
            return self.epochs[0].epoch
        return max([keys.epoch for keys in self.epochs] + list(self.locked))

    def knows(self, epoch: int) -> bool:
        """Whether the epoch exists, open or locked."""
        return epoch in self.locked or epoch in [keys.epoch for keys in self.epochs]

    def keys(self, epoch: int) -> EpochKeys:
        """The keys of an epoch; raises `LockedOutError` if they are not open."""
        for keys in self.epochs:
            if keys.epoch == epoch:
                return keys
        raise LockedOutError(
            f"the keys of epoch {epoch} are locked: no secret at hand opens one of its slots",
            hint="use a passphrase or identity that was added after that epoch began",
        )

    def sealing(self) -> EpochKeys:
        """The keys for new objects; raises `LockedOutError` if the current epoch is not open."""
        return self.keys(self.current)

    def shares_identities(self, epoch: int) -> bool:
        """Whether what was identified in that epoch has the identity that it would have now.

        False after a compromise: whoever has the old identity key could test new objects for known content if
        old identities were still used, so nothing older is reused.
        """
        return self.keys(epoch).identity_key == self.sealing().identity_key

    @property
    def has_one_identity_key(self) -> bool:
        """Whether all epochs share identities, as far as can be known."""
        return not self.locked and len({keys.identity_key for keys in self.epochs}) == 1

    def passphrase_salt(self) -> bytes:
        """The salt of new passphrase slots: the same for all of a repository, so that a passphrase is derived
        once however many slots and epochs there are, and made from the keys, so that nobody else chooses it.
        Random where the first epoch is not open."""
        first = next((keys for keys in self.epochs if keys.epoch == 1), None)
        if first is None:
            return new_salt()
        message = b"holdfast/1/passphrase salt\n" + self.repository_id.bytes
        return hmac.digest(first.data_key, message, "sha256")[:16]

    def with_new_epoch(self, *, new_identity_key: bool = False) -> Keyring:
        """A keyring whose new objects get a new data key; all its slots must be made anew for that epoch.

        A new identity key, due after a compromise, ends deduplication with everything older.
        """
        before = self.sealing()
        data_key = os.urandom(KEY_BYTES)
        identity_key = os.urandom(KEY_BYTES) if new_identity_key else before.identity_key
        link = epoch_link(before, self.repository_id, before.epoch + 1, data_key, identity_key)
        made = EpochKeys(
            epoch=before.epoch + 1,
            data_key=data_key,
            identity_key=identity_key,
            link=link,
            attempt=os.urandom(4).hex(),
        )
        return replace(self, epochs=(*self.epochs, made))

    def check_config(self, config: bytes) -> None:
        """Raise `DamagedError` unless these are the config bytes that the repository was made with."""
        digest = hashlib.sha256(config).hexdigest()
        if digest != self.config_digest:
            raise DamagedError(
                f"object config is damaged: expected digest {self.config_digest}, computed {digest}",
                object_name="config",
                hint="restore the config object from a copy of this repository; do not run init again",
            )


def add_passphrase_slot(
    keyring: Keyring,
    passphrase: str,
    *,
    slot: str,
    label: str,
    now: datetime,
    kdf: Argon2 = KDF,
    epoch: int | None = None,
) -> KeyObject:
    """A slot of the current epoch that a passphrase opens, or of the one given.

    One object is enough: the current epoch's keys open the earlier ones (epochs.py).
    """
    salt = keyring.passphrase_salt()
    key = kdf.derive(usable(passphrase, "this slot"), salt)
    place = _place(keyring, epoch, slot=slot, label=label, now=now)
    data_key = keyring.keys(place.epoch).data_key
    payload = _encode(keyring, place)
    return KeyObject(
        place.object_name,
        wrap_for_passphrase(payload, place, data_key=data_key, key=key, salt=salt, kdf=kdf),
    )


def add_recipient_slot(
    keyring: Keyring,
    recipient: str,
    *,
    slot: str,
    label: str,
    now: datetime,
    epoch: int | None = None,
) -> KeyObject:
    """A slot of the current epoch that an age or SSH identity opens, or of the one given."""
    place = _place(keyring, epoch, slot=slot, label=label, now=now)
    data_key = keyring.keys(place.epoch).data_key
    return KeyObject(
        place.object_name, wrap_for_recipient(_encode(keyring, place), place, recipient, data_key=data_key)
    )


def _place(keyring: Keyring, epoch: int | None, *, slot: str, label: str, now: datetime) -> SlotPlace:
    keys = keyring.sealing() if epoch is None else keyring.keys(epoch)
    return SlotPlace(
        repository_id=keyring.repository_id,
        epoch=keys.epoch,
        slot=slot,
        label=label,
        created_at=now,
        attempt=keys.attempt,
    )


def _encode(keyring: Keyring, place: SlotPlace) -> bytes:
    keys = keyring.keys(place.epoch)
    document = {
        "format": PAYLOAD_FORMAT,
        "repository": str(keyring.repository_id),
        "config_digest": keyring.config_digest,
        "epoch": keys.epoch,
        "slot": place.slot,
        "data_key": keys.data_key.hex(),
        "identity_key": keys.identity_key.hex(),
        "link": keys.link.hex(),
    }
    return json.dumps(document, sort_keys=True).encode("ascii")


def epoch_link(
    before: EpochKeys, repository_id: UUID, epoch: int, data_key: bytes, identity_key: bytes
) -> bytes:
    """What only a holder of the epoch `before` can make of a new epoch's keys."""
    message = (
        b"holdfast/1/epoch\n" + repository_id.bytes + epoch.to_bytes(4, "little") + data_key + identity_key
    )
    return hmac.digest(before.data_key, message, "sha256")
