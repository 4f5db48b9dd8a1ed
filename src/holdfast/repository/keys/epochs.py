"""Epochs after the first: each exists by a marker, `keys/<epoch>`, one create-once object with one winner.

A rotation stores the slots of a new epoch in a folder of its own, `keys/<epoch>-<attempt>/`, and then the marker,
which names the attempt. So an epoch exists with all its slots or not at all: what a rotation left that died, or
that lost against another one, opens nothing and is not looked at.

The marker also holds the keys of all earlier epochs, wrapped under the new epoch's data key: whoever opens the
newest epoch opens all that its maker could open, with one object for each slot, and one derivation.
"""

from __future__ import annotations

import hmac
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.domain.errors import DamagedError
from holdfast.repository.keys.key_objects import canonical, checked, from_text, to_text, why, with_checksum
from holdfast.repository.keys.keyring import EpochKeys, KeyObject, Keyring
from holdfast.repository.keys.slots import SlotName, UnknownSlotError, parse_slot_name

MARKER_FORMAT: Final = 1
_NAME = re.compile(r"keys/(?P<epoch>[0-9]{8})")
_NONCE_BYTES = 12


class EpochReason(Enum):
    """Why an epoch was begun. A compromise also changes the identity key."""

    ROTATION = "rotation"
    COMPROMISE = "compromise"


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """A sound marker. Nothing in it is to be believed before `open_earlier`, but that some attempt counts."""

    name: str
    repository_id: UUID
    epoch: int
    attempt: str
    made_at: datetime
    reason: EpochReason
    slots: tuple[str, ...]
    clear: Mapping[str, Any]
    wrapped: bytes


def marker_name(epoch: int) -> str:
    return f"keys/{epoch:08d}"


def marked_epoch(name: str) -> int | None:
    """The epoch whose marker has this name; None if it is not the name of a marker."""
    match = _NAME.fullmatch(name)
    return int(match["epoch"]) if match and int(match["epoch"]) > 1 else None


def make_marker(keyring: Keyring, *, slots: tuple[str, ...], reason: EpochReason, now: datetime) -> KeyObject:
    """The marker of the keyring's newest epoch; `slots` are the names of its slots' objects."""
    keys = keyring.sealing()
    clear = {
        "format": MARKER_FORMAT,
        "kind": "epoch",
        "repository": str(keyring.repository_id),
        "epoch": keys.epoch,
        "attempt": keys.attempt,
        "made_at": now.isoformat(),
        "reason": reason.value,
        "slots": list(slots),
        "nonce": to_text(os.urandom(_NONCE_BYTES)),
    }
    earlier = [_described(item) for item in keyring.epochs if item.epoch < keys.epoch]
    wrapped = AESGCM(_wrapping_key(keys)).encrypt(
        from_text(str(clear["nonce"])), json.dumps(earlier).encode("ascii"), canonical(clear)
    )
    return KeyObject(marker_name(keys.epoch), with_checksum({**clear, "wrapped": to_text(wrapped)}))


def read_marker(name: str, data: bytes) -> Marker:
    """Raises `DamagedError`, or `UnknownSlotError` if a newer version wrote it."""
    try:
        document = checked(data)
        if document["kind"] in ("passphrase", "age"):
            raise ValueError("it belongs to a key slot")
        if document["format"] != MARKER_FORMAT or document["kind"] != "epoch":
            raise UnknownSlotError(f"format {document['format']!r}, kind {document['kind']!r}")
        clear = {key: value for key, value in document.items() if key != "wrapped"}
        marker = Marker(
            name=name,
            repository_id=UUID(str(clear["repository"])),
            epoch=int(clear["epoch"]),
            attempt=str(clear["attempt"]),
            made_at=datetime.fromisoformat(clear["made_at"]),
            reason=EpochReason(clear["reason"]),
            slots=tuple(map(str, clear["slots"])),
            clear=clear,
            wrapped=from_text(document["wrapped"]),
        )
        if marker_name(marker.epoch) != name:
            raise ValueError(f"it belongs to {marker_name(marker.epoch)!r}")
        if marker.made_at.tzinfo is None or not marker.attempt:
            raise ValueError("its date lacks a time zone, or its attempt is empty")
        return marker
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(
            f"object {name} is damaged: {why(error)}",
            object_name=name,
            hint=f"put back {name} from a copy of this repository: it says which keys are in use",
        ) from error


def open_earlier(marker: Marker, keys: EpochKeys) -> tuple[EpochKeys, ...]:
    """The keys of the epochs before, given those of the marker's own epoch.

    Raises `DamagedError` unless a holder of those keys made this very marker.
    """
    try:
        content = AESGCM(_wrapping_key(keys)).decrypt(
            from_text(marker.clear["nonce"]), marker.wrapped, canonical(marker.clear)
        )
        earlier = tuple(_read(item) for item in json.loads(content))
    except (InvalidTag, ValueError, KeyError, TypeError):
        # Not chained to what could not be read: that holds keys.
        raise DamagedError(
            f"object {marker.name} is not to be trusted: no holder of the keys of epoch {marker.epoch} made it",
            object_name=marker.name,
            hint="find out who wrote it; put it back from a copy of this repository",
        ) from None
    return tuple(item for item in earlier if item.epoch < marker.epoch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Epochs:
    """Which epochs exist, and which folder holds the slots of each.

    `problems` are markers that could not be read: by a `DamagedError`, or by what this version does not know.
    """

    markers: Mapping[int, Marker]
    attempts: Mapping[int, frozenset[str]]
    damaged: tuple[DamagedError, ...]
    unknown: tuple[str, ...]

    def counts(self, place: SlotName) -> bool:
        """Whether this slot is in use: not what a rotation left that never came about."""
        return place.attempt in self.attempts.get(place.epoch, frozenset({""}))


def read_epochs(objects: Iterable[tuple[str, bytes]]) -> Epochs:
    """From all objects under `keys/` (name, bytes). Where a marker cannot be read, the only attempt of its epoch
    counts; of several, none."""
    listed = list(objects)
    places = [place for place in (parse_slot_name(name) for name, _ in listed) if place is not None]
    markers: dict[int, Marker] = {}
    attempts: dict[int, frozenset[str]] = {}
    damaged: list[DamagedError] = []
    unknown: list[str] = []
    for name, data in listed:
        if (epoch := marked_epoch(name)) is None:
            continue
        try:
            markers[epoch] = read_marker(name, data)
            attempts[epoch] = frozenset({markers[epoch].attempt})
            continue
        except DamagedError as error:
            damaged.append(error)
        except UnknownSlotError as error:
            unknown.append(f"{name} has {error}")
        left = frozenset(place.attempt for place in places if place.epoch == epoch)
        attempts[epoch] = left if len(left) == 1 else frozenset()
    return Epochs(markers=markers, attempts=attempts, damaged=tuple(damaged), unknown=tuple(unknown))


def _wrapping_key(keys: EpochKeys) -> bytes:
    return hmac.digest(keys.data_key, b"holdfast/1/earlier epochs", "sha256")


def _described(keys: EpochKeys) -> dict[str, Any]:
    return {
        "epoch": keys.epoch,
        "attempt": keys.attempt,
        "data_key": keys.data_key.hex(),
        "identity_key": keys.identity_key.hex(),
        "link": keys.link.hex(),
    }


def _read(item: Mapping[str, Any]) -> EpochKeys:
    return EpochKeys(
        epoch=int(item["epoch"]),
        attempt=str(item["attempt"]),
        data_key=bytes.fromhex(item["data_key"]),
        identity_key=bytes.fromhex(item["identity_key"]),
        link=bytes.fromhex(item["link"]),
    )
