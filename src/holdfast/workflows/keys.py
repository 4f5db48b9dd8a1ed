"""Repositories and what opens them: make one, and list, add and remove key slots.

Invariant: every change of slots stands in the journal, and no removal leaves an epoch that nothing opens. Whatever
changes slots raises `SteppedAsideError` where the storage cannot have two writers and another one lives.
"""

from __future__ import annotations

import secrets as randomness
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID, uuid4

from holdfast.domain.errors import ObjectExistsError, RefusedError, UsageError
from holdfast.repository.checking.exposure import Exposures, measure_exposure
from holdfast.repository.config import Config, digest_of
from holdfast.repository.keys.epochs import marked_epoch, read_epochs
from holdfast.repository.keys.key_objects import read_key_objects
from holdfast.repository.keys.keyring import KeyObject, Keyring, add_passphrase_slot, add_recipient_slot
from holdfast.repository.keys.kit import KIT_LABEL, make_kit
from holdfast.repository.keys.slots import KDF, Argon2, parse_slot_name
from holdfast.repository.repo import Repository, create_repository
from holdfast.repository.runs.company import alone, running_from
from holdfast.storage import Storage
from holdfast.storage.probe import Abilities
from holdfast.workflows.key_slots import KeyEpoch, KeySlot, epochs_of, kit_warnings, slots_of

FIRST_SLOT = "passphrase"


@dataclass(frozen=True, slots=True, kw_only=True)
class InitReport:
    """`kit` is the recovery kit's text, a secret; None if none was wanted."""

    repository_id: UUID
    address: str
    single_writer: bool
    slots: tuple[str, ...]
    kit: str | None = field(repr=False)
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysReport:
    """All slots, and what was done. `kit` is a secret; `exposures` is what the keys of each epoch open of what is
    stored, None if that was not asked.
    """

    address: str
    epoch: int
    slots: tuple[KeySlot, ...]
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kit: str | None = field(default=None, repr=False)
    epochs: tuple[KeyEpoch, ...] = ()
    warnings: tuple[str, ...] = ()
    exposures: Exposures | None = None


def init_repository(
    storage: Storage, *, abilities: Abilities, passphrase: str, with_kit: bool, now: datetime
) -> InitReport:
    """Make a repository at a storage that was probed. Raises `RefusedError` if there is one already."""
    config = Config(repository_id=uuid4(), created_at=now, single_writer=not abilities.create_once)
    keyring = Keyring.generate(repository_id=config.repository_id, config_digest=digest_of(config.encode()))
    slots = [add_passphrase_slot(keyring, passphrase, slot=FIRST_SLOT, label="made by init", now=now)]
    kit = make_kit(keyring, storage_address=storage.address, now=now) if with_kit else None
    if kit is not None:
        slots.append(kit.slot_object)
    create_repository(storage=storage, keyring=keyring, config=config, slots=slots, now=now)
    return InitReport(
        repository_id=config.repository_id,
        address=storage.address,
        single_writer=config.single_writer,
        slots=tuple(name for name, _ in slots),
        kit=kit.text if kit else None,
        warnings=abilities.findings,
    )


def list_keys(repository: Repository, *, measure: bool = False) -> KeysReport:
    """What opens this repository; damaged slots are listed with their problem. `measure`: and what each epoch's
    keys open today, for which all manifests are read."""
    report = report_of(repository)
    return replace(report, exposures=measure_exposure(repository)) if measure else report


def add_passphrase(
    repository: Repository,
    passphrase: str,
    *,
    slot: str | None,
    label: str,
    now: datetime,
    kdf: Argon2 = KDF,
) -> KeysReport:
    """Another passphrase. `slot` None: a fresh name."""

    def make(name: str) -> KeyObject:
        return add_passphrase_slot(repository.keyring, passphrase, slot=name, label=label, now=now, kdf=kdf)

    with alone(repository, clock=running_from(now)):
        return report_of(repository, added=_add(repository, slot or _fresh_name("passphrase"), make, now))


def add_recipient(
    repository: Repository, recipient: str, *, slot: str | None, label: str, now: datetime
) -> KeysReport:
    """Another age or SSH recipient. `slot` None: a fresh name."""

    def make(name: str) -> KeyObject:
        return add_recipient_slot(repository.keyring, recipient, slot=name, label=label, now=now)

    with alone(repository, clock=running_from(now)):
        return report_of(repository, added=_add(repository, slot or _fresh_name("age"), make, now))


def add_kit(repository: Repository, *, now: datetime, deliver: Callable[[str], None]) -> KeysReport:
    """Another recovery kit. Its text is delivered before its slot is stored: a slot whose kit got lost opens
    nothing and only looks like safety."""
    with alone(repository, clock=running_from(now)):
        kit = make_kit(repository.keyring, storage_address=repository.address, now=now)
        deliver(kit.text)
        return report_of(repository, added=_store(repository, kit.slot_object, now), kit=kit.text)


def rotate_slot(
    repository: Repository,
    slot: str,
    *,
    passphrase: str | None,
    recipient: str | None,
    name: str | None,
    now: datetime,
    kdf: Argon2 = KDF,
) -> KeysReport:
    """Another passphrase or recipient in the place of a slot: the new one is there before the old one goes.

    The new slot has a name of its own (names of objects are never used twice) and the old one's label.
    """
    label = _named(slots_of(repository), slot)[0].label

    def make(name: str) -> KeyObject:
        if recipient is not None:
            return add_recipient_slot(repository.keyring, recipient, slot=name, label=label, now=now)
        assert passphrase is not None
        return add_passphrase_slot(repository.keyring, passphrase, slot=name, label=label, now=now, kdf=kdf)

    fresh = name or _fresh_name("passphrase" if recipient is None else "age")
    with alone(repository, clock=running_from(now)):
        added = _add(repository, fresh, make, now)
        return replace(remove_slot(repository, slot, now=now), added=added)


def remove_key(repository: Repository, slot: str, *, now: datetime) -> KeysReport:
    """Remove a slot in all its epochs.

    Raises `UsageError` if there is none of this name, `RefusedError` if an epoch would be left without a sound
    slot. Who copied the slot and knows its secret still opens what was sealed until now.
    """
    with alone(repository, clock=running_from(now)):
        return remove_slot(repository, slot, now=now)


def remove_slot(repository: Repository, slot: str, *, now: datetime) -> KeysReport:
    """As `remove_key`, for who has announced that it writes here."""
    removed: list[str] = []
    found = slots_of(repository)
    chosen = _named(found, slot)
    was_kit = any(item.label == KIT_LABEL for item in chosen)
    while chosen:
        others = [item for item in found if item.name != slot and not item.problem]
        kept = {epoch for item in others for epoch in item.opens}
        lost = sorted({epoch for item in chosen for epoch in item.opens} - kept)
        if lost:
            raise RefusedError(
                f"key slot {slot!r} is the last one that opens epoch {lost[-1]}: without it all data is lost",
                hint="add another key first: run holdfast key add",
            )
        # A foreign object under keys/ is listed by its whole name.
        names = [name for name in _objects(repository) if name.rpartition("/")[2] == slot] or [slot]
        # The journal first: a slot that vanishes without an entry is a finding, an entry without removal is mended
        # by removing again.
        repository.journal.append("key removed", {"removed_slots": names}, at=now)
        for name in names:
            repository.storage.delete(name)
        removed += names
        # A rotation that ran meanwhile may have wrapped it anew (rotation.py looks for us, too).
        found = slots_of(repository)
        chosen = [item for item in found if item.name == slot]
    return report_of(repository, removed=tuple(removed), warnings=kit_warnings(found) if was_kit else ())


def report_of(
    repository: Repository,
    *,
    added: tuple[str, ...] = (),
    removed: tuple[str, ...] = (),
    kit: str | None = None,
    warnings: tuple[str, ...] = (),
) -> KeysReport:
    """What opens this repository now, and what was done."""
    return KeysReport(
        address=repository.address,
        epoch=repository.keyring.current,
        slots=slots_of(repository),
        added=added,
        removed=removed,
        kit=kit,
        epochs=epochs_of(repository),
        warnings=warnings,
    )


def _named(slots: Sequence[KeySlot], name: str) -> list[KeySlot]:
    chosen = [item for item in slots if item.name == name]
    if not chosen:
        known = ", ".join(sorted({item.name for item in slots}))
        raise UsageError(f"no key slot is named {name!r}", hint=f"choose one of: {known}")
    return chosen


def _add(
    repository: Repository, name: str, make: Callable[[str], KeyObject], now: datetime
) -> tuple[str, ...]:
    if any(item.name == name for item in slots_of(repository)):
        raise RefusedError(f"a key slot is named {name!r} already", hint="choose another name with --name")
    return _store(repository, make(name), now)


def _fresh_name(kind: str) -> str:
    return f"{kind}-{randomness.token_hex(2)}"


def _store(repository: Repository, made: KeyObject, now: datetime) -> tuple[str, ...]:
    try:
        repository.storage.create(made.name, made.data)
    except ObjectExistsError as error:
        raise RefusedError(
            f"another process added key slot {made.name} at the same time",
            hint="choose another name with --name",
        ) from error
    repository.journal.append("key added", {"slots": [made.name]}, at=now)
    newest = max(filter(None, map(marked_epoch, _objects(repository, markers=True))), default=1)
    if newest > repository.keyring.current:
        raise RefusedError(
            f"the keys were rotated meanwhile: the new key opens only what was sealed before epoch {newest}",
            hint=f"run holdfast key remove {made.name.rpartition('/')[2]}, then add it again",
        )
    return (made.name,)


def _objects(repository: Repository, *, markers: bool = False) -> list[str]:
    """The names of all slots' objects in use, or of the markers."""
    objects = read_key_objects(repository.storage)
    epochs = read_epochs(objects)
    if markers:
        return [name for name, _ in objects if marked_epoch(name) is not None]
    places = ((name, parse_slot_name(name)) for name, _ in objects)
    return [name for name, place in places if place is not None and epochs.counts(place)]
