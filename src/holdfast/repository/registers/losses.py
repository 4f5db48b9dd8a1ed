"""Losses: journal entries that are damaged for good, and that an operator has accepted as lost.

The chain is broken there, and what the entry said is gone. An entry `loss accepted` names the positions, and the
digest of what is left of the damaged object: if that changes again, it is damage again. It also names what the
lost entry may have spoken of: snapshots that are gone (it may have said that they were collected), and records of
checks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.domain.errors import ObjectMissingError
from holdfast.repository.encoding import moment
from holdfast.repository.registers.journal import Entry, Walked
from holdfast.storage import Storage

LOSS_ACCEPTED = "loss accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Positions `first` to `last`, all in one damaged object. `digest`: the SHA-256 of what is left of that
    object; empty if it is missing."""

    first: int
    last: int
    object_name: str
    digest: str

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.last:
            raise ValueError(f"no positions: {self.first} to {self.last}")

    def as_facts(self) -> dict[str, Any]:
        return {
            "first": self.first,
            "last": self.last,
            "object": self.object_name,
            "sha256": self.digest or None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An operator has accepted these losses. `why`: who, when, and for what reason."""

    losses: tuple[Loss, ...]
    why: str


def digest_of(storage: Storage, name: str) -> str:
    """Of an object as it lies there now; empty if it is missing."""
    try:
        return hashlib.sha256(storage.get(name)).hexdigest()
    except ObjectMissingError:
        return ""


@dataclass(slots=True)
class Losses:
    """What the entries that were heard so far accept."""

    _storage: Storage
    _accepted: list[tuple[Loss, str]] = field(default_factory=list)
    _digests: dict[str, str] = field(default_factory=dict)

    def hear(self, accepted: Accepted) -> None:
        self._accepted += [(loss, accepted.why) for loss in accepted.losses]

    def accepting(self, step: Walked) -> str | None:
        """Who accepted the loss of this damaged position, when and why; None if nobody did, or if the object has
        changed since."""
        name = step.damage.object_name if step.damage is not None else step.name
        found = [
            (loss, why)
            for loss, why in self._accepted
            if loss.object_name == name and loss.first <= step.position <= loss.last
        ]
        if found and name not in self._digests:
            self._digests[name] = digest_of(self._storage, name)
        return next((why for loss, why in found if loss.digest == self._digests[name]), None)


def accepted_in(entry: Entry) -> Accepted:
    """What an entry `loss accepted` says of positions. Raises `KeyError`, `TypeError` or `ValueError` where it
    does not."""
    return Accepted(
        losses=tuple(map(_loss, entry.facts["losses"])),
        why=f"accepted as lost at {moment(entry.at)} by {entry.facts['by']}: {entry.facts['reason']}",
    )


def _loss(facts: Mapping[str, Any]) -> Loss:
    return Loss(
        first=int(facts["first"]),
        last=int(facts["last"]),
        object_name=str(facts["object"]),
        digest=str(facts["sha256"] or ""),
    )
