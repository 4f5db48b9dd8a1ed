"""Keyrings: what opens a repository, what does not, and that the difference is named."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import pickle
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.domain.errors import DamagedError, LockedOutError, UsageError
from holdfast.repository.keys.epochs import EpochReason, make_marker
from holdfast.repository.keys.keyring import (
    EpochKeys,
    KeyObject,
    Keyring,
    add_passphrase_slot,
    add_recipient_slot,
)
from holdfast.repository.keys.secrets import Secrets
from holdfast.repository.keys.slots import KDF, AgeSlot, Argon2, UnknownSlotError, parse_recipient, read_slot
from holdfast.repository.keys.unlocking import unlock

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
CHEAP = Argon2(memory_kib=32, passes=1, lanes=1)
CONFIG = b'{"format": 1}'
REPOSITORY = UUID("0192f0c1-2b3d-7e4f-8a5b-6c7d8e9fa0b1")
PASSPHRASE = "correct horse battery staple"
OPEN = Secrets(passphrase=PASSPHRASE)


def fresh_keyring() -> Keyring:
    return Keyring.generate(repository_id=REPOSITORY, config_digest=hashlib.sha256(CONFIG).hexdigest())


def passphrase_slot(
    keyring: Keyring, passphrase: str = PASSPHRASE, slot: str = "passphrase"
) -> tuple[KeyObject, ...]:
    made = add_passphrase_slot(keyring, passphrase, slot=slot, label="for tests", now=NOW, kdf=CHEAP)
    return (made, *marker(keyring))


def age_slot(keyring: Keyring, recipient: object, slot: str = "team") -> tuple[KeyObject, ...]:
    return (add_recipient_slot(keyring, str(recipient), slot=slot, label="", now=NOW), *marker(keyring))


def marker(keyring: Keyring) -> tuple[KeyObject, ...]:
    """What makes the keyring's newest epoch exist, unless it is the first."""
    if keyring.current == 1:
        return ()
    return (make_marker(keyring, slots=(), reason=EpochReason.ROTATION, now=NOW),)


def identity_file(folder: Path, *identities: object) -> Path:
    path = folder / "identity.txt"
    path.write_text("# an identity\n" + "".join(f"{identity}\n" for identity in identities))
    path.chmod(0o600)
    return path


def altered(made: KeyObject, **changes: Any) -> KeyObject:
    """The slot with other fields and a checksum that is right for them."""
    document = {**json.loads(made.data), **changes}
    document.pop("checksum")
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    document["checksum"] = hashlib.sha256(canonical).hexdigest()
    return KeyObject(made.name, json.dumps(document, indent=1).encode() + b"\n")


def test_passphrase_opens_its_slot() -> None:
    """What was wrapped comes out again: all keys, the repository's id, the config's digest."""
    keyring = fresh_keyring()
    unlocked = unlock(passphrase_slot(keyring), OPEN)
    assert unlocked.keyring == keyring
    assert unlocked.opened == ("keys/00000001/passphrase",)
    assert unlocked.warnings == ()


def test_identity_opens_the_slot_of_its_recipient(tmp_path: Path) -> None:
    """An age identity opens the slot made for it, among slots that are not its own."""
    keyring = fresh_keyring()
    mine, other = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    slots = age_slot(keyring, other.to_public(), "other") + age_slot(keyring, mine.to_public(), "mine")
    unlocked = unlock(slots, Secrets(identity_file=identity_file(tmp_path, mine)))
    assert unlocked.keyring == keyring
    assert unlocked.opened == ("keys/00000001/mine",)


def test_ssh_key_opens_the_slot_of_its_public_key(tmp_path: Path) -> None:
    """A team's SSH keys serve as recipients."""
    keyring = fresh_keyring()
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    path = tmp_path / "id_ed25519"
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    path.chmod(0o600)
    unlocked = unlock(age_slot(keyring, f"{public} someone@example.org"), Secrets(identity_file=path))
    assert unlocked.keyring == keyring


def test_slot_describes_itself_without_being_opened() -> None:
    """Listing keys needs no secret."""
    identity = pyrage.x25519.Identity.generate()
    made = age_slot(fresh_keyring(), identity.to_public())[0]
    slot = read_slot(*made)
    assert isinstance(slot, AgeSlot)
    assert (slot.kind, slot.slot, slot.epoch, slot.created_at) == ("age", "team", 1, NOW)
    assert slot.recipient == str(identity.to_public())


def test_wrong_passphrase_is_locked_out_quickly() -> None:
    """With the real cost: the answer is quick, and never names the passphrase."""
    slots = [add_passphrase_slot(fresh_keyring(), PASSPHRASE, slot="p", label="", now=NOW)]
    assert read_slot(*slots[0]).clear["kdf"]["memory_kib"] == KDF.memory_kib
    started = time.process_time()
    with pytest.raises(LockedOutError, match="does not open") as caught:
        unlock(slots, Secrets(passphrase="wrong horse"))
    assert time.process_time() - started < 2.5  # of all threads: about 1 s, however busy the machine
    assert "wrong horse" not in f"{caught.value.message}{caught.value.hint}"
    assert unlock(slots, OPEN).opened == ("keys/00000001/p",)


def test_no_secret_at_all_says_what_to_set() -> None:
    """Nothing was tried, and the message says so."""
    with pytest.raises(LockedOutError, match="a passphrase would open it") as caught:
        unlock(passphrase_slot(fresh_keyring()), Secrets())
    assert "HOLDFAST_PASSPHRASE_FILE" in str(caught.value.hint)


def test_wrong_identity_is_locked_out(tmp_path: Path) -> None:
    """An identity that is no slot's recipient opens nothing."""
    slots = age_slot(fresh_keyring(), pyrage.x25519.Identity.generate().to_public())
    with pytest.raises(LockedOutError, match="the only key slot"):
        unlock(slots, Secrets(identity_file=identity_file(tmp_path, pyrage.x25519.Identity.generate())))


def test_identity_that_opens_nothing_is_mentioned_when_the_passphrase_does(tmp_path: Path) -> None:
    """A kit of another repository is found out before it is needed."""
    keyring = fresh_keyring()
    slots = passphrase_slot(keyring) + age_slot(keyring, pyrage.x25519.Identity.generate().to_public())
    path = identity_file(tmp_path, pyrage.x25519.Identity.generate())
    unlocked = unlock(slots, Secrets(passphrase=PASSPHRASE, identity_file=path))
    assert unlocked.warnings == (f"the identity in {path} opens no key slot of this repository",)


def test_no_slots_at_all_is_damage() -> None:
    """A repository without keys is not one that a passphrase could open."""
    with pytest.raises(DamagedError, match="keys/ is empty") as caught:
        unlock([], OPEN)
    assert caught.value.object_name == "keys/"


def test_damaged_slot_is_told_from_a_wrong_passphrase() -> None:
    """If the only slot is damaged, the error names it and is not about secrets."""
    name, data = passphrase_slot(fresh_keyring())[0]
    broken = data.replace(b'"wrapped": "', b'"wrapped": "AAAA')
    assert broken != data
    with pytest.raises(
        DamagedError, match="keys/00000001/passphrase is damaged: expected checksum"
    ) as caught:
        unlock([(name, broken)], OPEN)
    assert caught.value.object_name == name


def test_damaged_slot_beside_a_sound_one_is_a_warning() -> None:
    """The sound slot opens; the damaged one is reported."""
    keyring = fresh_keyring()
    name, data = passphrase_slot(keyring, slot="a")[0]
    unlocked = unlock([(name, data[:-20]), *passphrase_slot(keyring, slot="b")], OPEN)
    assert unlocked.keyring == keyring
    assert unlocked.warnings == ("key slot keys/00000001/a is damaged: it is not JSON",)


def test_damage_is_named_when_the_sound_slots_are_for_others() -> None:
    """The slot that this passphrase belongs to may be the damaged one: damage goes before locked out."""
    keyring = fresh_keyring()
    name, data = passphrase_slot(keyring, slot="a")[0]
    with pytest.raises(DamagedError, match="keys/00000001/a"):
        unlock([(name, data[1:]), *passphrase_slot(keyring, "another", slot="b")], OPEN)


SLOT = passphrase_slot(fresh_keyring())[0]
AGE_IDENTITY = pyrage.x25519.Identity.generate()
AGE_SLOT = age_slot(fresh_keyring(), AGE_IDENTITY.to_public())[0]


@given(made=st.sampled_from([SLOT, AGE_SLOT]), data=st.data())
@settings(deadline=None, max_examples=300)
def test_any_bit_flip_in_a_slot_is_noticed(made: KeyObject, data: st.DataObject) -> None:
    """A slot with one wrong bit is damaged, by its name, even if the bit means nothing."""
    bit = data.draw(st.integers(0, 8 * len(made.data) - 1))
    broken = bytearray(made.data)
    broken[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DamagedError) as caught:
        read_slot(made.name, bytes(broken))
    assert caught.value.object_name == made.name


def test_altered_white_space_in_a_slot_is_noticed() -> None:
    """A storage that changes bytes without a meaning today changes others tomorrow."""
    with pytest.raises(DamagedError, match="carry no meaning"):
        read_slot(SLOT.name, SLOT.data.replace(b"\n ", b"  ", 1))


@settings(deadline=None)
@given(length=st.integers(0, len(SLOT.data) - 1))
def test_any_truncation_of_a_slot_is_noticed(length: int) -> None:
    """A slot that was cut short is damaged."""
    with pytest.raises(DamagedError):
        read_slot(SLOT.name, SLOT.data[:length])


@given(
    document=st.none()
    | st.integers()
    | st.text()
    | st.lists(st.integers())
    | st.dictionaries(st.text(), st.text())
)
def test_other_json_is_a_damaged_slot(document: object) -> None:
    """Whatever else lies under the name of a slot."""
    with pytest.raises(DamagedError):
        read_slot(SLOT.name, json.dumps(document, indent=1).encode() + b"\n")


@pytest.mark.parametrize(
    "changes",
    [
        {"label": "innocent"},
        {"created_at": "2020-01-01T00:00:00+00:00"},
        {"repository": str(UUID(int=1))},
        {"nonce": base64.b64encode(bytes(12)).decode()},
        {"added": 1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_passphrase_slot_is_authentic_as_a_whole(changes: dict[str, Any]) -> None:
    """A slot that someone changed, with a checksum made right, does not open."""
    with pytest.raises(LockedOutError):
        unlock([altered(SLOT, **changes)], OPEN)


@pytest.mark.parametrize(
    "changes",
    [
        {"slot": "other"},
        {"slot": "../config"},
        {"epoch": 2},
        {"epoch": "1"},
        {"epoch": None},
        {"created_at": "yesterday"},
        {"created_at": "2026-01-01T00:00:00"},
        {"wrapped": "@"},
        {"repository": "none"},
        {"repository": 7},
        {"wrapped": 7},
        {"created_at": 7},
        {"kdf": []},
        {"kdf": None},
        {"kdf": {}},
        {"nonce": ""},
    ],
    ids=repr,
)
def test_malformed_slot_is_damaged_even_with_a_right_checksum(changes: dict[str, Any]) -> None:
    """Nothing but `DamagedError` comes out of a malformed slot."""
    with pytest.raises(DamagedError, match="keys/00000001/passphrase"):
        read_slot(*altered(SLOT, **changes))


@pytest.mark.parametrize(
    "cost",
    [
        {"memory_kib": 64 * 1024**2},
        {"memory_kib": 7},
        {"passes": 10**6},
        {"passes": 0},
        {"lanes": 1000, "memory_kib": 64 * 1024},
        {"lanes": 0},
        {"name": "scrypt"},
        {"salt": "AAAA"},
        {"memory_kib": "much"},
    ],
    ids=repr,
)
def test_hostile_cost_is_refused_before_it_is_paid(cost: dict[str, Any]) -> None:
    """A slot that would take 64 GiB of memory, or a year, is damaged."""
    kdf = {**json.loads(SLOT.data)["kdf"], **cost}
    started = time.monotonic()
    with pytest.raises(DamagedError, match="keys/00000001/passphrase"):
        unlock([altered(SLOT, kdf=kdf)], OPEN)
    assert time.monotonic() - started < 100


def test_slot_of_a_newer_version_is_not_damaged() -> None:
    """It is skipped with a warning, or asks for a newer version if nothing else opens."""
    newer = KeyObject("keys/00000001/passphrase", altered(SLOT, kind="kms").data)
    with pytest.raises(UnknownSlotError):
        read_slot(*newer)
    with pytest.raises(LockedOutError, match="this version does not know") as caught:
        unlock([newer], OPEN)
    assert caught.value.hint == "use a newer holdfast"
    keyring = fresh_keyring()
    unlocked = unlock([newer, *passphrase_slot(keyring, slot="b")], OPEN)
    assert unlocked.keyring == keyring
    assert "a newer version of holdfast wrote it" in unlocked.warnings[0]


def test_slots_that_changed_places_are_damaged() -> None:
    """A slot under another slot's name is not taken for it."""
    first, second = passphrase_slot(fresh_keyring().with_new_epoch())
    with pytest.raises(DamagedError, match="it belongs to"):
        unlock([(first.name, second.data), (second.name, first.data)], OPEN)


def test_contradicting_slots_are_refused(tmp_path: Path) -> None:
    """Who knows a recipient can wrap other keys for it: two answers for one epoch are none."""
    identity = pyrage.x25519.Identity.generate()
    real = age_slot(fresh_keyring(), identity.to_public(), "real")
    planted = age_slot(fresh_keyring(), identity.to_public(), "planted")
    secrets = Secrets(identity_file=identity_file(tmp_path, identity))
    with pytest.raises(DamagedError, match="contradicts key slot keys/00000001/"):
        unlock(real + planted, secrets)


def test_slot_of_another_repository_is_refused(tmp_path: Path) -> None:
    """Also for another epoch."""
    identity = pyrage.x25519.Identity.generate()
    keyring = fresh_keyring()
    other = dataclasses.replace(keyring.with_new_epoch(), repository_id=UUID(int=9))
    slots = age_slot(keyring, identity.to_public(), "a") + age_slot(other, identity.to_public(), "b")
    with pytest.raises(DamagedError, match="contradicts"):
        unlock(slots, Secrets(identity_file=identity_file(tmp_path, identity)))


def test_age_slot_is_about_itself(tmp_path: Path) -> None:
    """A wrapped payload copied into another slot's clothes is refused."""
    made = age_slot(fresh_keyring(), AGE_IDENTITY.to_public())[0]
    moved = KeyObject("keys/00000001/moved", altered(made, slot="moved").data)
    with pytest.raises(DamagedError, match="belongs to another slot"):
        unlock([moved], Secrets(identity_file=identity_file(tmp_path, AGE_IDENTITY)))


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"repository": 1}', b"[" * 5000])
def test_malformed_payload_is_refused_without_showing_it(content: bytes, tmp_path: Path) -> None:
    """What an age slot wraps is a stranger's until it was checked."""
    wrapped = pyrage.encrypt(content, [AGE_IDENTITY.to_public()])
    broken = altered(AGE_SLOT, wrapped=base64.b64encode(wrapped).decode())
    with pytest.raises(DamagedError, match="what it wraps is malformed") as caught:
        unlock([broken], Secrets(identity_file=identity_file(tmp_path, AGE_IDENTITY)))
    assert caught.value.__cause__ is None


def test_rotation_keeps_old_epochs_open() -> None:
    """A new epoch seals; its slot alone opens the older one as well."""
    keyring = fresh_keyring().with_new_epoch()
    slots = passphrase_slot(keyring)
    folder = f"keys/00000002-{keyring.keys(2).attempt}"
    assert [name for name, _ in slots] == [f"{folder}/passphrase", "keys/00000002"]
    unlocked = unlock(slots, OPEN)
    assert unlocked.keyring == keyring
    assert unlocked.keyring.sealing().epoch == 2
    assert keyring.keys(1).data_key != keyring.keys(2).data_key
    assert keyring.keys(1).identity_key == keyring.keys(2).identity_key


def test_epoch_without_its_marker_does_not_exist() -> None:
    """What a rotation left that died opens nothing and locks nothing."""
    keyring = fresh_keyring()
    left = passphrase_slot(keyring.with_new_epoch(), "another")[:1]
    unlocked = unlock([*left, *passphrase_slot(keyring)], OPEN)
    assert (unlocked.keyring, unlocked.warnings) == (keyring, ())
    with pytest.raises(LockedOutError):
        unlock([*left, *passphrase_slot(keyring)], Secrets(passphrase="another"))


def test_only_the_attempt_that_the_marker_names_counts() -> None:
    """Two rotations at once: the loser's slots are not looked at."""
    keyring = fresh_keyring()
    winner, loser = keyring.with_new_epoch(), keyring.with_new_epoch()
    slots = [*passphrase_slot(keyring), *passphrase_slot(winner), passphrase_slot(loser)[0]]
    assert unlock(slots, OPEN).keyring == winner
    assert unlock(list(reversed(slots)), OPEN).keyring == winner


def test_damaged_marker_leaves_the_only_attempt_in_use() -> None:
    """A flipped bit in a marker hides no epoch; of two attempts none is guessed, and nothing is sealed."""
    keyring = fresh_keyring()
    winner, loser = keyring.with_new_epoch(), keyring.with_new_epoch()
    slot, mark = passphrase_slot(winner)
    broken = [*passphrase_slot(keyring), slot, KeyObject(mark.name, mark.data[:-9])]
    unlocked = unlock(broken, OPEN)
    assert unlocked.keyring == winner
    assert "object keys/00000002 is damaged" in unlocked.warnings[0]
    assert unlock([*broken, passphrase_slot(loser)[0]], OPEN).keyring.locked == (2,)


def test_marker_that_no_holder_made_is_refused(tmp_path: Path) -> None:
    """Neither altered nor made with other keys: what it wraps is as trusted as a slot."""
    keyring = fresh_keyring().with_new_epoch()
    slot, mark = passphrase_slot(keyring)
    for changes in (
        {"made_at": "2026-01-01T00:00:00+00:00"},
        {"slots": ["keys/00000001/x"]},
        {"wrapped": "AA=="},
    ):
        with pytest.raises(DamagedError, match="no holder of the keys of epoch 2"):
            unlock([slot, altered(mark, **changes)], OPEN)


def test_planted_epoch_with_an_invented_past_is_refused(tmp_path: Path) -> None:
    """A whole false history, wrapped for a known recipient: the recipient's own older slot contradicts it."""
    identity = pyrage.x25519.Identity.generate()
    keyring = fresh_keyring()
    planted = fresh_keyring().with_new_epoch()
    slots = [*age_slot(keyring, identity.to_public()), *age_slot(planted, identity.to_public(), "evil")]
    for order in (slots, list(reversed(slots))):
        with pytest.raises(DamagedError, match="contradicts"):
            unlock(order, Secrets(identity_file=identity_file(tmp_path, identity)))


def test_a_passphrase_is_derived_once_for_all_slots_and_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong passphrase costs one derivation, however many slots and epochs there are; so does the right one."""
    derived = []
    derive = Argon2.derive

    def counted(self: Argon2, passphrase: str, salt: bytes) -> bytes:
        derived.append(salt)
        return derive(self, passphrase, salt)

    keyring = fresh_keyring()
    objects = [*passphrase_slot(keyring)]
    for epoch in range(2, 6):
        keyring = keyring.with_new_epoch(new_identity_key=epoch == 4)
        objects += passphrase_slot(keyring)
        objects += [passphrase_slot(keyring, f"other {n}", f"other-{n}")[0] for n in range(4)]
    monkeypatch.setattr(Argon2, "derive", counted)
    with pytest.raises(LockedOutError, match="none of the 21 key slots"):
        unlock(objects, Secrets(passphrase="wrong"))
    assert len(derived) == 1
    assert unlock(objects, OPEN).keyring == keyring
    assert len(derived) == 2


def test_slots_are_vouched_for_by_the_keys() -> None:
    """Whoever lacks the epoch's keys can neither make a slot that is wrapped anew, nor alter one."""
    keyring = fresh_keyring()
    made = age_slot(keyring, AGE_IDENTITY.to_public())[0]
    data_key = keyring.keys(1).data_key
    assert read_slot(*made).is_vouched_for(data_key) is True
    other = str(pyrage.x25519.Identity.generate().to_public())
    assert read_slot(*altered(made, recipient=other)).is_vouched_for(data_key) is False
    planted = age_slot(fresh_keyring(), other)[0]
    assert read_slot(*planted).is_vouched_for(data_key) is False
    document = json.loads(made.data)
    del document["mac"]
    assert (
        read_slot(*altered(KeyObject(made.name, json.dumps(document).encode()))).is_vouched_for(data_key)
        is None
    )


def test_rotation_after_a_compromise_changes_identities() -> None:
    """A new identity key, so that a lost one tells nothing about new objects."""
    keyring = fresh_keyring().with_new_epoch(new_identity_key=True)
    assert keyring.keys(1).identity_key != keyring.keys(2).identity_key


def test_epochs_that_no_secret_opens_are_locked_not_forgotten() -> None:
    """An old secret reads what it could always read, and does not seal."""
    keyring = fresh_keyring()
    rotated = keyring.with_new_epoch()
    objects = [*passphrase_slot(keyring), *passphrase_slot(rotated, "the new one")]
    with_old = unlock(objects, OPEN).keyring
    assert (with_old.locked, with_old.current) == ((2,), 2)
    assert with_old.keys(1) == keyring.keys(1)
    with pytest.raises(LockedOutError, match="epoch 2 are locked"):
        with_old.sealing()
    assert unlock(objects, Secrets(passphrase="the new one")).keyring == rotated


def test_epoch_whose_slot_is_damaged_is_locked() -> None:
    """Nothing is sealed under an older epoch because the newest one's slot cannot be read."""
    keyring = fresh_keyring()
    slot, mark = passphrase_slot(keyring.with_new_epoch())
    unlocked = unlock([*passphrase_slot(keyring), (slot.name, slot.data[:50]), mark], OPEN)
    assert unlocked.keyring.locked == (2,)
    assert f"{slot.name} is damaged" in unlocked.warnings[0]


def test_planted_epoch_is_refused(tmp_path: Path) -> None:
    """Who can write to the storage and knows the recipient cannot make writers use keys of his own."""
    identity = pyrage.x25519.Identity.generate()
    keyring = fresh_keyring()
    planted = EpochKeys(
        epoch=2,
        data_key=os.urandom(32),
        identity_key=keyring.keys(1).identity_key,
        link=os.urandom(32),
        attempt="0badc0de",
    )
    forged = dataclasses.replace(keyring, epochs=(*keyring.epochs, planted))
    with pytest.raises(DamagedError, match="epoch 2 was not made by a holder of epoch 1") as caught:
        unlock(
            [*age_slot(keyring, identity.to_public()), *age_slot(forged, identity.to_public(), "evil")],
            Secrets(identity_file=identity_file(tmp_path, identity)),
        )
    assert caught.value.object_name == "keys/00000002/"


def test_config_is_authenticated_by_the_keys() -> None:
    """A config that was exchanged is noticed once the keyring is open."""
    keyring = unlock(passphrase_slot(fresh_keyring()), OPEN).keyring
    keyring.check_config(CONFIG)
    with pytest.raises(DamagedError, match="object config is damaged") as caught:
        keyring.check_config(CONFIG + b" ")
    assert caught.value.object_name == "config"


def test_keyring_pickles_and_hides_its_keys() -> None:
    """Plain data for other processes; nothing of it in logs."""
    keyring = fresh_keyring()
    assert pickle.loads(pickle.dumps(keyring)) == keyring
    unlocked = unlock(passphrase_slot(keyring), OPEN)
    for shown in (repr(keyring), repr(unlocked), repr(keyring.keys(1)), repr(OPEN)):
        assert PASSPHRASE not in shown
        assert keyring.keys(1).data_key.hex() not in shown
        assert repr(keyring.keys(1).data_key) not in shown


def test_slots_hold_no_key_in_clear() -> None:
    """Neither as hexadecimal nor as base64 nor as it is."""
    keyring = fresh_keyring()
    for made in passphrase_slot(keyring) + age_slot(keyring, AGE_IDENTITY.to_public()):
        for key in (keyring.keys(1).data_key, keyring.keys(1).identity_key):
            assert key.hex().encode() not in made.data
            assert base64.b64encode(key)[:-4] not in made.data


def test_prompt_is_asked_only_if_nothing_else_opens(tmp_path: Path) -> None:
    """Unattended runs never wait for a person; a person is asked when all else is missing."""
    keyring = fresh_keyring()
    asked = []

    def prompt() -> str:
        asked.append(1)
        return PASSPHRASE

    slots = passphrase_slot(keyring) + age_slot(keyring, AGE_IDENTITY.to_public())
    unlock(slots, Secrets(passphrase=PASSPHRASE, prompt=prompt))
    unlock(slots, Secrets(identity_file=identity_file(tmp_path, AGE_IDENTITY), prompt=prompt))
    assert asked == []
    assert unlock(slots, Secrets(prompt=prompt)).keyring == keyring
    assert asked == [1]


def test_passphrases_are_compared_in_their_normal_form() -> None:
    """An ü typed as one letter opens what an ü composed of two was given for."""
    slots = passphrase_slot(fresh_keyring(), "Ku\u0308ste")
    assert unlock(slots, Secrets(passphrase="K\u00fcste")).opened


@pytest.mark.parametrize("slot", ["", "Upper", "a/b", "..", "-a", "a" * 64, "ü", "a\n"])
def test_slot_names_are_plain(slot: str) -> None:
    """A slot's name is part of an object's name."""
    with pytest.raises(UsageError, match="no name for a key slot"):
        passphrase_slot(fresh_keyring(), slot=slot)


@pytest.mark.parametrize("recipient", ["", "age1abc", "ssh-ed25519 AAAA", "bob"])
def test_malformed_recipient_is_a_usage_error(recipient: str) -> None:
    """With a hint at what a recipient looks like."""
    with pytest.raises(UsageError, match="is no recipient"):
        parse_recipient(recipient)


def test_secret_key_given_as_recipient_is_not_repeated() -> None:
    """The commonest mistake must not put the key on the screen."""
    with pytest.raises(UsageError) as caught:
        parse_recipient(str(AGE_IDENTITY))
    assert str(AGE_IDENTITY) not in f"{caught.value.message}{caught.value.hint}"
