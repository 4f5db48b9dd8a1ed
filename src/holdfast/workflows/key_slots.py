"""What opens a repository, as it lies under `keys/`: slots, epochs, and which secret opens which snapshots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from holdfast.domain.errors import DamagedError
from holdfast.repository.checking.slot_check import vouched_for
from holdfast.repository.keys.epochs import Epochs, marked_epoch, open_earlier, read_epochs
from holdfast.repository.keys.key_objects import read_key_objects
from holdfast.repository.keys.kit import KIT_LABEL
from holdfast.repository.keys.slots import AgeSlot, SlotName, UnknownSlotError, parse_slot_name, read_slot
from holdfast.repository.repo import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySlot:
    """One way into the repository. `epochs` are those in which it has an object, `opens` those whose snapshots its
    secret opens: the keys of an epoch open the earlier ones. `problem` is empty if sound.
    """

    name: str
    kind: str
    label: str
    recipient: str
    created_at: datetime | None
    epochs: tuple[int, ...]
    problem: str = ""
    opens: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEpoch:
    """A set of keys and since when it seals; `began_at` None for the first one. `shares_identities`: new snapshots
    may reuse what was stored in it."""

    epoch: int
    began_at: datetime | None
    reason: str
    is_open: bool
    shares_identities: bool


def slots_of(repository: Repository) -> tuple[KeySlot, ...]:
    """One entry for each name, sound epochs and problems apart."""
    objects = read_key_objects(repository.storage)
    epochs = read_epochs(objects)
    found: dict[tuple[str, str], KeySlot] = {}
    for name, data in objects:
        place = parse_slot_name(name)
        if marked_epoch(name) is not None or (place is not None and not epochs.counts(place)):
            continue
        slot = _read(repository, name, data, place)
        before = found.get((slot.name, slot.problem))
        if before is not None:
            slot = replace(slot, epochs=tuple(sorted({*before.epochs, *slot.epochs})))
        found[slot.name, slot.problem] = slot
    opened = {
        epoch: _opened_with(repository, epochs, epoch) for slot in found.values() for epoch in slot.epochs
    }
    return tuple(
        replace(slot, opens=tuple(sorted({item for epoch in slot.epochs for item in opened[epoch]})))
        for _, slot in sorted(found.items())
    )


def epochs_of(repository: Repository) -> tuple[KeyEpoch, ...]:
    keyring = repository.keyring
    markers = read_epochs(read_key_objects(repository.storage)).markers
    found = []
    for epoch in sorted({*keyring.locked, *(keys.epoch for keys in keyring.epochs), *markers}):
        marker = markers.get(epoch)
        is_open = any(keys.epoch == epoch for keys in keyring.epochs)
        can_seal = keyring.current not in keyring.locked
        found.append(
            KeyEpoch(
                epoch=epoch,
                began_at=marker.made_at if marker else None,
                reason=marker.reason.value if marker else "init",
                is_open=is_open,
                shares_identities=is_open and can_seal and keyring.shares_identities(epoch),
            )
        )
    return tuple(found)


def kit_warnings(slots: Iterable[KeySlot]) -> tuple[str, ...]:
    """Whether a recovery kit is left that opens the newest snapshots."""
    sound = [item for item in slots if not item.problem]
    newest = max((epoch for item in sound for epoch in item.opens), default=0)
    if any(item.label == KIT_LABEL and newest in item.opens for item in sound):
        return ()
    advice = "run holdfast key recovery-kit --kit FILE"
    return (
        f"no recovery kit opens the newest snapshots, a lost passphrase means that they are lost: {advice}",
    )


def _opened_with(repository: Repository, epochs: Epochs, epoch: int) -> set[int]:
    """The epochs that the keys of one epoch open, as far as our own keys tell."""
    marker = epochs.markers.get(epoch)
    ours = [keys for keys in repository.keyring.epochs if keys.epoch == epoch]
    if marker is None or not ours:
        return {epoch}
    return {epoch, *(keys.epoch for keys in open_earlier(marker, ours[0]))}


def _read(repository: Repository, object_name: str, data: bytes, place: SlotName | None) -> KeySlot:
    epochs = (place.epoch,) if place is not None else ()
    name = place.slot if place is not None else object_name
    try:
        slot = read_slot(object_name, data)
    except DamagedError as error:
        problem, kind = error.message, "damaged"
    except UnknownSlotError as error:
        problem, kind = f"a newer version of holdfast wrote it ({error})", "unknown"
    else:
        forged = vouched_for(repository, slot) is False
        return KeySlot(
            name=slot.slot,
            kind=slot.kind,
            label=slot.label,
            recipient=slot.recipient if isinstance(slot, AgeSlot) else "",
            created_at=slot.created_at,
            epochs=epochs,
            problem=f"no holder of the keys of epoch {slot.epoch} made it: find out who did"
            if forged
            else "",
        )
    return KeySlot(
        name=name, kind=kind, label="", recipient="", created_at=None, epochs=epochs, problem=problem
    )
