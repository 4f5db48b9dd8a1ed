"""Repositories and what opens them: make one, and list, add and remove key slots.

Invariant: every change of slots stands in the journal, and no removal leaves an epoch that nothing opens.
"""

from __future__ import annotations

import secrets as randomness
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID, uuid4

from holdfast.domain.errors import DamagedError, RefusedError, UsageError
from holdfast.repository import layout
from holdfast.repository.config import Config, digest_of
from holdfast.repository.keyring import KeyObject, Keyring, add_passphrase_slot, add_recipient_slot
from holdfast.repository.kit import make_kit
from holdfast.repository.repo import Repository, create_repository
from holdfast.repository.slots import AgeSlot, UnknownSlotError, read_slot
from holdfast.storage import Storage
from holdfast.storage.probe import Abilities

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
class KeySlot:
    """One way into the repository; it has an object for each epoch that it opens. `problem` is empty if sound."""

    name: str
    kind: str
    label: str
    recipient: str
    created_at: datetime | None
    epochs: tuple[int, ...]
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysReport:
    """All slots, and what was done. `kit` is a secret."""

    address: str
    epoch: int
    slots: tuple[KeySlot, ...]
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kit: str | None = field(default=None, repr=False)


def init_repository(
    storage: Storage, *, abilities: Abilities, passphrase: str, with_kit: bool, now: datetime
) -> InitReport:
    """Make a repository at a storage that was probed. Raises `RefusedError` if there is one already."""
    config = Config(repository_id=uuid4(), created_at=now, single_writer=not abilities.create_once)
    keyring = Keyring.generate(repository_id=config.repository_id, config_digest=digest_of(config.encode()))
    slots = add_passphrase_slot(keyring, passphrase, slot=FIRST_SLOT, label="made by init", now=now)
    kit = make_kit(keyring, storage_address=storage.address, now=now) if with_kit else None
    if kit is not None:
        slots += kit.objects
    create_repository(storage=storage, keyring=keyring, config=config, slots=slots, now=now)
    return InitReport(
        repository_id=config.repository_id,
        address=storage.address,
        single_writer=config.single_writer,
        slots=tuple(name for name, _ in slots),
        kit=kit.text if kit else None,
        warnings=abilities.findings,
    )


def list_keys(repository: Repository) -> KeysReport:
    """What opens this repository; damaged slots are listed with their problem."""
    return _report(repository)


def add_passphrase(
    repository: Repository, passphrase: str, *, slot: str | None, label: str, now: datetime
) -> KeysReport:
    """Another passphrase. `slot` None: a fresh name."""
    name = slot or f"passphrase-{randomness.token_hex(2)}"
    _require_unused(repository, name)
    made = add_passphrase_slot(repository.keyring, passphrase, slot=name, label=label, now=now)
    return _report(repository, added=_store(repository, made, now))


def add_recipient(
    repository: Repository, recipient: str, *, slot: str | None, label: str, now: datetime
) -> KeysReport:
    """Another age or SSH recipient. `slot` None: a fresh name."""
    name = slot or f"age-{randomness.token_hex(2)}"
    _require_unused(repository, name)
    made = add_recipient_slot(repository.keyring, recipient, slot=name, label=label, now=now)
    return _report(repository, added=_store(repository, made, now))


def add_kit(repository: Repository, *, now: datetime, deliver: Callable[[str], None]) -> KeysReport:
    """Another recovery kit. Its text is delivered before its slot is stored: a slot whose kit got lost opens
    nothing and only looks like safety."""
    kit = make_kit(repository.keyring, storage_address=repository.address, now=now)
    deliver(kit.text)
    return _report(repository, added=_store(repository, kit.objects, now), kit=kit.text)


def remove_key(repository: Repository, slot: str, *, now: datetime) -> KeysReport:
    """Remove a slot in all its epochs.

    Raises `UsageError` if there is none of this name, `RefusedError` if an epoch would be left without a sound
    slot. Who copied the slot and knows its secret still opens what was sealed until now.
    """
    found = _slots(repository)
    chosen = [item for item in found if item.name == slot]
    if not chosen:
        known = ", ".join(sorted({item.name for item in found}))
        raise UsageError(f"no key slot is named {slot!r}", hint=f"choose one of: {known}")
    kept = {epoch for item in found if item.name != slot and not item.problem for epoch in item.epochs}
    lost = sorted({epoch for item in chosen for epoch in item.epochs} - kept)
    if lost:
        raise RefusedError(
            f"key slot {slot!r} is the last one that opens epoch {lost[0]}: without it all data is lost",
            hint="add another key first: run holdfast key add",
        )
    names = tuple(_object_name(epoch, slot) for item in chosen for epoch in item.epochs)
    # The journal first: a slot that vanishes without an entry is a finding, an entry without removal is mended
    # by removing again.
    repository.journal.append("key removed", {"removed_slots": list(names)}, at=now)
    for name in names:
        repository.storage.delete(name)
    return _report(repository, removed=names)


def _store(repository: Repository, objects: Sequence[KeyObject], now: datetime) -> tuple[str, ...]:
    for name, data in objects:
        repository.storage.create(name, data)
    names = tuple(name for name, _ in objects)
    repository.journal.append("key added", {"slots": list(names)}, at=now)
    return names


def _require_unused(repository: Repository, slot: str) -> None:
    if any(item.name == slot for item in _slots(repository)):
        raise RefusedError(f"a key slot is named {slot!r} already", hint="choose another name with --name")


def _report(
    repository: Repository,
    *,
    added: tuple[str, ...] = (),
    removed: tuple[str, ...] = (),
    kit: str | None = None,
) -> KeysReport:
    return KeysReport(
        address=repository.address,
        epoch=repository.keyring.current,
        slots=_slots(repository),
        added=added,
        removed=removed,
        kit=kit,
    )


def _slots(repository: Repository) -> tuple[KeySlot, ...]:
    """One entry for each name, sound epochs and problems apart."""
    found: dict[tuple[str, str], KeySlot] = {}
    for info in repository.storage.list(layout.KEYS):
        epoch, _, name = info.name.removeprefix(layout.KEYS).partition("/")
        slot = _read(info.name, repository.storage.get(info.name), name or info.name, epoch)
        before = found.get((slot.name, slot.problem))
        if before is not None:
            slot = KeySlot(
                name=slot.name,
                kind=slot.kind,
                label=slot.label,
                recipient=slot.recipient,
                created_at=slot.created_at,
                epochs=(*before.epochs, *slot.epochs),
                problem=slot.problem,
            )
        found[slot.name, slot.problem] = slot
    return tuple(slot for _, slot in sorted(found.items()))


def _read(object_name: str, data: bytes, name: str, epoch: str) -> KeySlot:
    epochs = (int(epoch),) if epoch.isdecimal() else ()
    try:
        slot = read_slot(object_name, data)
    except DamagedError as error:
        problem, kind = error.message, "damaged"
    except UnknownSlotError as error:
        problem, kind = f"a newer version of holdfast wrote it ({error})", "unknown"
    else:
        return KeySlot(
            name=slot.slot,
            kind=slot.kind,
            label=slot.label,
            recipient=slot.recipient if isinstance(slot, AgeSlot) else "",
            created_at=slot.created_at,
            epochs=epochs,
        )
    return KeySlot(
        name=name, kind=kind, label="", recipient="", created_at=None, epochs=epochs, problem=problem
    )


def _object_name(epoch: int, slot: str) -> str:
    return f"{layout.KEYS}{epoch:08d}/{slot}"
