"""A new epoch: who carries over into it, and its beginning, which happens as a whole or not at all.

New keys are wrapped only for those who are known to have opened the old ones: a passphrase or identity at hand, a
recipient for whom a holder of the old keys vouches, or one that the operator named. A slot's recipient is data
from a storage: without that, whoever can write there could put his own and wait for a rotation.

The invariant: at every instant the newest epoch that exists has all its slots, and a secret at hand was seen to
open it before it came to exist.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from holdfast.domain.errors import (
    DamagedError,
    LackingRightsError,
    LockedOutError,
    ObjectExistsError,
    RefusedError,
)
from holdfast.repository.keys.epochs import EpochReason, make_marker, marker_name, read_epochs, read_marker
from holdfast.repository.keys.key_objects import read_key_objects
from holdfast.repository.keys.keyring import KeyObject, Keyring, add_passphrase_slot, add_recipient_slot
from holdfast.repository.keys.secrets import Identity, Secrets
from holdfast.repository.keys.slots import (
    AgeSlot,
    NotForThisSecretError,
    PassphraseSlot,
    UnknownSlotError,
    epoch_folder,
    open_age,
    open_passphrase,
    parse_slot_name,
    read_slot,
)
from holdfast.repository.keys.unlocking import unlock
from holdfast.repository.repo import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Heir:
    """A slot that the new epoch gets, too; `passphrase` is None for a recipient."""

    slot: PassphraseSlot | AgeSlot
    passphrase: str | None = field(default=None, repr=False)

    def wrap(self, keyring: Keyring, *, now: datetime) -> KeyObject:
        name, label = self.slot.slot, self.slot.label
        if isinstance(self.slot, AgeSlot):
            return add_recipient_slot(keyring, self.slot.recipient, slot=name, label=label, now=now)
        assert self.passphrase is not None
        kdf = self.slot.kdf
        return add_passphrase_slot(keyring, self.passphrase, slot=name, label=label, now=now, kdf=kdf)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A slot that the new epoch does not get, and why not."""

    name: str
    recipient: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Succession:
    """Decided, not done: who opens the new epoch, and who does not unless something is done about it. `seen` are
    the names of all slots of the epoch before."""

    heirs: tuple[Heir, ...]
    left_out: tuple[LeftOut, ...]
    seen: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A new epoch: the repository opened with it. `late` are slots that were added to the epoch before meanwhile,
    which open that one only."""

    repository: Repository
    slots: tuple[str, ...]
    late: tuple[str, ...]


def plan_succession(
    repository: Repository,
    secrets: Sequence[Secrets],
    *,
    keep: Collection[str] = (),
    without: Collection[str] = (),
    distrust: bool = False,
) -> Succession:
    """Go through the slots of the current epoch.

    `keep` are names of recipients that the operator answers for, `without` of slots that are given up. `distrust`:
    somebody else has the keys, so that nobody's word counts who vouches with them.
    """
    objects = read_key_objects(repository.storage)
    epochs, keys = read_epochs(objects), repository.keyring.sealing()
    passphrases = [text for text in (item.find_passphrase() for item in secrets) if text is not None]
    identities = [identity for item in secrets for identity in item.find_identities()]
    heirs: list[Heir] = []
    left_out: list[LeftOut] = []
    seen: set[str] = set()
    for name, data in objects:
        place = parse_slot_name(name)
        if place is None or place.epoch != keys.epoch or not epochs.counts(place):
            continue
        seen.add(place.slot)
        if place.slot in without:
            continue
        try:
            slot = read_slot(name, data)
        except (DamagedError, UnknownSlotError):
            reason = "it is damaged, or of a kind that this version does not know"
            left_out.append(LeftOut(name=place.slot, recipient="", reason=reason))
            continue
        if isinstance(slot, PassphraseSlot):
            passphrase = _fitting(slot, passphrases)
            if passphrase is not None:
                heirs.append(Heir(slot=slot, passphrase=passphrase))
                continue
            reason, recipient = "its passphrase is not at hand", ""
        else:
            vouched = slot.is_vouched_for(keys.data_key) is True and not distrust
            if vouched or slot.slot in keep or _is_ours(slot, identities):
                heirs.append(Heir(slot=slot))
                continue
            recipient = slot.recipient
            reason = (
                "whoever has the old keys can have made it"
                if distrust
                else "nobody vouches for its recipient"
            )
        left_out.append(LeftOut(name=slot.slot, recipient=recipient, reason=reason))
    return Succession(heirs=tuple(heirs), left_out=tuple(left_out), seen=frozenset(seen))


def begin_epoch(
    repository: Repository,
    plan: Succession,
    secrets: Sequence[Secrets],
    *,
    reason: EpochReason,
    now: datetime,
) -> Begun:
    """Make a new epoch and its slots. May be killed at any step and run again.

    Raises `RefusedError` if no secret at hand opens it, or if another process was quicker.
    """
    old = repository.keyring
    keyring = old.with_new_epoch(new_identity_key=reason is EpochReason.COMPROMISE)
    slots = [heir.wrap(keyring, now=now) for heir in plan.heirs]
    marker = make_marker(keyring, slots=tuple(item.name for item in slots), reason=reason, now=now)
    _require_opening(keyring, [*slots, marker], secrets, plan.heirs)
    storage = repository.storage
    for item in slots:
        storage.create(item.name, item.data)
    _settle(repository, marker, keyring)
    renewed = Repository(
        storage=storage, keyring=keyring, config=repository.config, warnings=repository.warnings
    )
    names = [item.name for item in slots]
    facts = {"epoch": keyring.current, "reason": reason.value, "slots": [marker.name, *names]}
    renewed.journal.append("epoch begun", facts, at=now)
    _sweep_attempts(repository, keyring)
    # Whoever removes or adds a slot looks for a newer epoch afterwards, as we look for slots: one sees the other.
    before = _names_in(repository, old.current, old.sealing().attempt)
    gone = [name for name in names if name.rpartition("/")[2] not in before]
    if gone:
        renewed.journal.append("key removed", {"removed_slots": gone}, at=now)
        for name in gone:
            storage.delete(name)
    return Begun(
        repository=renewed,
        slots=tuple(name for name in names if name not in gone),
        late=tuple(sorted(before - plan.seen)),
    )


def _require_opening(
    keyring: Keyring, made: Sequence[KeyObject], secrets: Sequence[Secrets], heirs: Iterable[Heir]
) -> None:
    """Open the new slots before they count: every passphrase that they were made for, and one secret at least."""
    passphrases = {heir.passphrase for heir in heirs} - {None}
    opened = 0
    secrets = secrets if passphrases or len(made) > 1 else ()  # a marker alone opens with nothing
    for item in [*(Secrets(passphrase=text) for text in sorted(filter(None, passphrases))), *secrets]:
        try:
            found = unlock(made, item).keyring
        except LockedOutError:
            continue
        if found.epochs != keyring.epochs:
            raise RefusedError(
                "the new key slots open to other keys than they were made for",
                hint="test this machine's memory before you run again; nothing was changed",
            )
        opened += 1
    if opened == 0 or opened < len(passphrases):
        raise RefusedError(
            "no secret at hand would open the new epoch",
            hint="add a key whose passphrase or identity is at hand first: run holdfast key add",
        )


def _settle(repository: Repository, marker: KeyObject, keyring: Keyring) -> None:
    storage, epoch = repository.storage, keyring.current
    try:
        storage.create(marker.name, marker.data)
    except ObjectExistsError as error:
        if not _is_ours_after_all(repository, keyring):
            _forget_attempt(repository, keyring)
            raise RefusedError(
                f"another process made epoch {epoch} at the same time",
                hint="run it again, if it is still needed",
            ) from error
    if not storage.create_once and not _is_ours_after_all(repository, keyring):
        raise RefusedError(f"another process made epoch {epoch} at the same time", hint="run it again")


def _is_ours_after_all(repository: Repository, keyring: Keyring) -> bool:
    """Whether the marker is our own, whose answer got lost."""
    name = marker_name(keyring.current)
    return read_marker(name, repository.storage.get(name)).attempt == keyring.sealing().attempt


def _forget_attempt(repository: Repository, keyring: Keyring) -> None:
    keys = keyring.sealing()
    for info in list(repository.storage.list(epoch_folder(keys.epoch, keys.attempt))):
        with suppress(LackingRightsError):  # it opens nothing
            repository.storage.delete(info.name)


def _sweep_attempts(repository: Repository, keyring: Keyring) -> None:
    """Remove what other attempts at this epoch left. They can never count any more: the marker has one winner."""
    keys = keyring.sealing()
    for info in list(repository.storage.list(f"keys/{keys.epoch:08d}-")):
        place = parse_slot_name(info.name)
        if place is not None and place.attempt != keys.attempt:
            with suppress(LackingRightsError):
                repository.storage.delete(info.name)


def _names_in(repository: Repository, epoch: int, attempt: str) -> set[str]:
    folder = epoch_folder(epoch, attempt)
    return {info.name.removeprefix(folder) for info in repository.storage.list(folder)}


def _fitting(slot: PassphraseSlot, passphrases: Iterable[str]) -> str | None:
    for text in passphrases:
        with suppress(NotForThisSecretError):
            open_passphrase(slot, slot.kdf.derive(text, slot.salt))
            return text
    return None


def _is_ours(slot: AgeSlot, identities: Sequence[Identity]) -> bool:
    """Whether the recipient that the slot states is that of an identity at hand, which opens it."""
    for identity in identities:
        stated = getattr(identity, "to_public", None)  # SSH identities do not tell theirs
        if stated is None or str(stated()) != slot.recipient:
            continue
        with suppress(NotForThisSecretError):
            open_age(slot, [identity])
            return True
    return False
