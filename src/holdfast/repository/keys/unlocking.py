"""Unlocking: from all slots of a repository and the secrets at hand to a keyring.

The invariant: two keyrings of one repository never disagree about an epoch. Slots that open to different keys,
and an epoch that was not made by a holder of the one before it, are refused. This matters because anyone who
knows an age recipient can wrap keys of his own choice for it: whoever can write to the storage must not be able
to make writers seal with keys he knows.

Every slot that a secret at hand opens is opened, although the newest epoch's would do (epochs.py): those of
earlier epochs are what a planted newer one is held against.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from uuid import UUID

from holdfast.domain.errors import DamagedError, LockedOutError
from holdfast.repository.keys.epochs import Marker, marked_epoch, open_earlier, read_epochs
from holdfast.repository.keys.keyring import PAYLOAD_FORMAT, EpochKeys, Keyring, epoch_link
from holdfast.repository.keys.secrets import (
    IDENTITY_FILE,
    PASSPHRASE,
    PASSPHRASE_COMMAND,
    PASSPHRASE_FILE,
    Identity,
    Secrets,
)
from holdfast.repository.keys.slots import (
    AgeSlot,
    Argon2,
    NotForThisSecretError,
    PassphraseSlot,
    UnknownSlotError,
    open_age,
    open_passphrase,
    parse_slot_name,
    read_slot,
)

_HINT_NONE = (
    f"set {PASSPHRASE_FILE}, {PASSPHRASE_COMMAND} or {PASSPHRASE}, or name the recovery kit with "
    f"{IDENTITY_FILE} or --identity-file"
)
_HINT_WRONG = "check which repository and which secret belong together, or use the recovery kit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlocked:
    """An open keyring, the slots that opened it, and what the operator should know about the others."""

    keyring: Keyring
    opened: tuple[str, ...]
    warnings: tuple[str, ...]


def unlock(objects: Iterable[tuple[str, bytes]], secrets: Secrets) -> Unlocked:
    """The keyring that the secrets open, from all objects under `keys/` (name, bytes).

    Raises `DamagedError` if there are none, or nothing opened and some are damaged, or slots contradict each
    other; `LockedOutError` if no secret fits.
    """
    found = _read_all(objects)
    opening = _Opening(markers=found.markers)
    identities = secrets.find_identities() if found.age else ()
    for slot in found.age if identities else ():
        opening.try_age(slot, identities)
    opening.open_earlier()
    if identities and not opening.payloads:
        opening.warnings.append(
            f"the identity in {secrets.identity_file} opens no key slot of this repository"
        )
    tried_passphrase = _try_passphrases(found, opening, secrets)
    opening.open_earlier()
    if not opening.payloads:
        raise _locked_out(found, tried=bool(identities) or tried_passphrase)
    return Unlocked(
        keyring=opening.keyring(found.epochs),
        opened=tuple(opening.opened),
        warnings=(*secrets.warnings(), *found.warnings(), *opening.warnings),
    )


@dataclass(slots=True)
class _Found:
    """What lies under `keys/`, sorted by what can be done with it."""

    age: list[AgeSlot] = field(default_factory=list)
    passphrase: list[PassphraseSlot] = field(default_factory=list)
    damaged: list[DamagedError] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    markers: dict[int, Marker] = field(default_factory=dict)
    epochs: set[int] = field(default_factory=set)

    def warnings(self) -> tuple[str, ...]:
        return (
            *(error.message for error in self.damaged),
            *(f"key slot {reason}: a newer version of holdfast wrote it" for reason in self.unknown),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Payload:
    repository_id: UUID
    config_digest: str
    keys: EpochKeys


@dataclass(slots=True)
class _Opening:
    """What opened so far; holds slots of one epoch against each other."""

    markers: dict[int, Marker]
    payloads: dict[int, _Payload] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    _derived: dict[tuple[str, bytes, Argon2], bytes] = field(default_factory=dict, repr=False)

    def try_age(self, slot: AgeSlot, identities: tuple[Identity, ...]) -> None:
        try:
            self._take(slot, open_age(slot, identities))
        except NotForThisSecretError:
            return

    def try_passphrase(self, slot: PassphraseSlot, passphrase: str) -> None:
        """Deriving costs a fifth of a second: the slots of a repository share it. A slot whose epoch is open is
        only held against what opened it, which is not worth another derivation."""
        cost = (passphrase, slot.salt, slot.kdf)
        if cost not in self._derived and slot.epoch in self.payloads:
            return
        if cost not in self._derived:
            self._derived[cost] = slot.kdf.derive(passphrase, slot.salt)
        try:
            self._take(slot, open_passphrase(slot, self._derived[cost]))
        except NotForThisSecretError:
            return

    def open_earlier(self) -> None:
        """Open the epochs whose keys the markers of open ones hold, newest first."""
        for epoch in sorted(self.payloads, reverse=True):
            marker, payload = self.markers.get(epoch), self.payloads[epoch]
            for keys in () if marker is None else open_earlier(marker, payload.keys):
                before = self.payloads.get(keys.epoch)
                if before is not None and before.keys != keys:
                    raise _forged(f"keys/{epoch:08d}", f"it contradicts key slot {self.opened[0]}")
                self.payloads[keys.epoch] = replace(payload, keys=keys)

    def keyring(self, epochs: set[int]) -> Keyring:
        """Raises `DamagedError` if an epoch was not made by a holder of the one before it."""
        newest = self.payloads[max(self.payloads)]
        for epoch, payload in sorted(self.payloads.items()):
            before, keys = self.payloads.get(epoch - 1), payload.keys
            if before is None:
                continue
            link = epoch_link(before.keys, payload.repository_id, epoch, keys.data_key, keys.identity_key)
            if not hmac.compare_digest(link, keys.link):
                raise _forged(
                    f"keys/{epoch:08d}/", f"epoch {epoch} was not made by a holder of epoch {epoch - 1}"
                )
        return Keyring(
            repository_id=newest.repository_id,
            config_digest=newest.config_digest,
            epochs=tuple(payload.keys for _, payload in sorted(self.payloads.items())),
            locked=tuple(sorted(epochs - set(self.payloads))),
        )

    def _take(self, slot: AgeSlot | PassphraseSlot, content: bytes) -> None:
        payload = _decode(slot, content)
        for other in self.payloads.values():
            same_repository = (other.repository_id, other.config_digest) == (
                payload.repository_id,
                payload.config_digest,
            )
            if not same_repository or (other.keys.epoch == slot.epoch and other.keys != payload.keys):
                raise _forged(slot.name, f"it contradicts key slot {self.opened[0]}")
        self.payloads[slot.epoch] = payload
        self.opened.append(slot.name)


def _read_all(objects: Iterable[tuple[str, bytes]]) -> _Found:
    found = _Found()
    listed = list(objects)
    if not listed:
        raise DamagedError(
            "keys/ is empty: nothing can open this repository",
            object_name="keys/",
            hint="restore the objects under keys/ from a copy of this repository; do not run init again",
        )
    epochs = read_epochs(listed)
    found.markers.update(epochs.markers)
    found.epochs.update(epochs.attempts)
    found.damaged.extend(epochs.damaged)
    found.unknown.extend(epochs.unknown)
    for name, data in listed:
        place = parse_slot_name(name)
        if marked_epoch(name) is not None or (place is not None and not epochs.counts(place)):
            continue
        if place is not None:
            found.epochs.add(place.epoch)
        try:
            slot = read_slot(name, data)
        except DamagedError as error:
            found.damaged.append(error)
        except UnknownSlotError as error:
            found.unknown.append(f"{name} has {error}")
        else:
            if isinstance(slot, AgeSlot):
                found.age.append(slot)
            else:
                found.passphrase.append(slot)
    return found


def _try_passphrases(found: _Found, opening: _Opening, secrets: Secrets) -> bool:
    """Try the passphrase if an epoch is still locked, newest first. True if there was one to try."""
    if all(slot.epoch in opening.payloads for slot in found.passphrase):
        return False
    passphrase = secrets.find_passphrase()
    if passphrase is None and not opening.payloads:
        passphrase = secrets.ask_passphrase()
    if passphrase is None:
        return False
    for slot in sorted(found.passphrase, key=lambda slot: (-slot.epoch, slot.name)):
        opening.try_passphrase(slot, passphrase)
        opening.open_earlier()
    return True


def _locked_out(found: _Found, *, tried: bool) -> DamagedError | LockedOutError:
    """Why nothing opened. A damaged slot comes first: it may be the one that this secret belongs to."""
    if found.damaged:
        return found.damaged[0]
    count = len(found.age) + len(found.passphrase)
    if count == 0 and not found.unknown:
        return DamagedError(
            "no key slot is in use: nothing can open this repository",
            object_name="keys/",
            hint="restore the objects under keys/ from a copy of this repository; do not run init again",
        )
    if count == 0:
        return LockedOutError(
            f"key slot {found.unknown[0]}, which this version does not know", hint="use a newer holdfast"
        )
    if not tried:
        kinds = " and ".join(
            ["a passphrase"] * bool(found.passphrase) + ["an age identity"] * bool(found.age)
        )
        return LockedOutError(
            f"the repository is locked ({kinds} would open it) and no such secret was given",
            hint=_HINT_NONE,
        )
    slots = "the only key slot" if count == 1 else f"none of the {count} key slots"
    verb = "does not open" if count == 1 else "opens"
    return LockedOutError(f"{slots} of this repository {verb} with what was given", hint=_HINT_WRONG)


def _forged(object_name: str, reason: str) -> DamagedError:
    return DamagedError(
        f"key slot {object_name} is not to be trusted: {reason}",
        object_name=object_name,
        hint="find out who wrote it; holdfast neither reads nor writes with contradicting keys",
    )


def _decode(slot: AgeSlot | PassphraseSlot, content: bytes) -> _Payload:
    """What a slot wraps, which must be about this very slot."""
    try:
        document = json.loads(content)
        payload = _Payload(
            repository_id=UUID(str(document["repository"])),
            config_digest=str(document["config_digest"]),
            keys=EpochKeys(
                epoch=document["epoch"],
                attempt=slot.attempt,
                data_key=bytes.fromhex(document["data_key"]),
                identity_key=bytes.fromhex(document["identity_key"]),
                link=bytes.fromhex(document["link"]),
            ),
        )
        inside = (document["format"], payload.repository_id, payload.keys.epoch, document["slot"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        # Not chained to what could not be read: that holds keys.
        raise _forged(slot.name, f"what it wraps is malformed ({type(error).__name__})") from None
    if inside != (PAYLOAD_FORMAT, slot.repository_id, slot.epoch, slot.slot):
        raise _forged(slot.name, "what it wraps belongs to another slot")
    return payload
