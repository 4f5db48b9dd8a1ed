"""Level 0 of the keys: every slot and marker that should be there is there, whole, and made by a key holder."""

from __future__ import annotations

from collections.abc import Set
from typing import NamedTuple

from holdfast.domain.errors import DamagedError
from holdfast.repository.keys.epochs import marked_epoch, read_epochs
from holdfast.repository.keys.key_objects import read_key_objects
from holdfast.repository.keys.slots import Slot, UnknownSlotError, parse_slot_name, read_slot
from holdfast.repository.repo import Repository


class SlotProblem(NamedTuple):
    object_name: str
    problem: str


def check_slots(repository: Repository, *, told: Set[str], removed: Set[str]) -> list[SlotProblem]:
    """`told` are the objects under `keys/` that the journal speaks of as there, `removed` as gone.

    A slot that the journal does not know is none of ours, unless a holder of the keys vouches for it: then the
    command that made it died before it could say so.
    """
    listed = read_key_objects(repository.storage)
    epochs = read_epochs(listed)
    found = {name for name, _ in listed}
    expected = {*told, *(name for marker in epochs.markers.values() for name in marker.slots)} - removed
    problems = [SlotProblem(name, _missing(name)) for name in sorted(expected - found)]
    problems += [SlotProblem(error.object_name, error.message) for error in epochs.damaged]
    problems += [
        SlotProblem(text.split()[0], f"{text}, which this version of Holdfast does not know")
        for text in epochs.unknown
    ]
    for name, data in listed:
        place = parse_slot_name(name)
        if marked_epoch(name) is not None or (place is not None and not epochs.counts(place)):
            continue
        if name in removed:
            text = f"object {name} is a key slot that was removed, and it is there: remove it again"
            problems.append(SlotProblem(name, text))
        elif (problem := _problem(repository, name, data, is_known=name in expected)) is not None:
            problems.append(SlotProblem(name, problem))
    return problems


def _missing(name: str) -> str:
    if (epoch := marked_epoch(name)) is not None:
        return f"object {name} is missing: without it nobody opens what was sealed in epoch {epoch}"
    return f"object {name} is missing: its secret opens nothing any more"


def _problem(repository: Repository, name: str, data: bytes, *, is_known: bool) -> str | None:
    try:
        slot = read_slot(name, data)
    except DamagedError as error:
        return error.message
    except UnknownSlotError as error:
        return f"key slot {name} is of a kind that this version of Holdfast does not know: {error}"
    if slot.repository_id != repository.config.repository_id:
        return f"key slot {name} belongs to another repository, {slot.repository_id}"
    vouched = vouched_for(repository, slot)
    if vouched is False:
        return f"key slot {name} was not made by a holder of the keys of epoch {slot.epoch}"
    if not is_known and not vouched:
        return f"object {name} is a key slot that the journal does not know"
    return None


def vouched_for(repository: Repository, slot: Slot) -> bool | None:
    """Whether a holder of its epoch's keys made this slot; None where that cannot be told."""
    for keys in repository.keyring.epochs:
        if keys.epoch == slot.epoch:
            return slot.is_vouched_for(keys.data_key)
    return None
