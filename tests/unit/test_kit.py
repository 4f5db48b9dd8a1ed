"""The recovery kit alone opens the repository."""

from __future__ import annotations

import dataclasses
import hashlib
import shlex
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pyrage
import pytest

from holdfast.domain.errors import LockedOutError, UsageError
from holdfast.repository.keys.epochs import EpochReason, make_marker
from holdfast.repository.keys.keyring import KeyObject, Keyring
from holdfast.repository.keys.kit import Kit, make_kit, parse_kit
from holdfast.repository.keys.secrets import Secrets
from holdfast.repository.keys.unlocking import unlock

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
REPOSITORY = UUID("0192f0c1-2b3d-7e4f-8a5b-6c7d8e9fa0b1")
ADDRESS = "s3://bucket/back ups"


@pytest.fixture
def keyring() -> Keyring:
    """The keys of a fresh repository."""
    return Keyring.generate(repository_id=REPOSITORY, config_digest=hashlib.sha256(b"config").hexdigest())


@pytest.fixture
def kit(keyring: Keyring) -> Kit:
    """A kit made for it."""
    return make_kit(keyring, storage_address=ADDRESS, now=NOW)


def opened_by(text: str, kit: Kit, folder: Path, *others: KeyObject) -> Keyring:
    path = folder / "kit.txt"
    path.write_text(text)
    path.chmod(0o600)
    return unlock([kit.slot_object, *others], Secrets(identity_file=path)).keyring


def key_line(kit: Kit) -> str:
    return next(line for line in kit.text.splitlines() if line.startswith("AGE-SECRET-KEY-1"))


def test_kit_alone_opens_the_repository(kit: Kit, keyring: Keyring, tmp_path: Path) -> None:
    """Its text saved as a file is all that is needed beside the storage."""
    assert opened_by(kit.text, kit, tmp_path) == keyring


def test_kit_opens_every_epoch(keyring: Keyring, tmp_path: Path) -> None:
    """A kit made after rotations reads old snapshots, too, by its one slot."""
    second = keyring.with_new_epoch()
    rotated = second.with_new_epoch(new_identity_key=True)
    kit = make_kit(rotated, storage_address=ADDRESS, now=NOW)
    markers = [
        make_marker(item, slots=(), reason=EpochReason.ROTATION, now=NOW) for item in (second, rotated)
    ]
    assert kit.slot_object.name.startswith("keys/00000003-")
    assert opened_by(kit.text, kit, tmp_path, *markers) == rotated


def test_kit_typed_in_from_paper_opens(kit: Kit, keyring: Keyring, tmp_path: Path) -> None:
    """The key's line is enough, in small letters and with another system's line ends."""
    assert opened_by(f"  {key_line(kit).lower()}\r\n", kit, tmp_path) == keyring


def test_kit_is_an_age_identity_file(kit: Kit) -> None:
    """Every line is empty, a comment, or the one identity, which opens what its recipient was sent."""
    keys = [line for line in kit.text.splitlines() if line and not line.startswith("#")]
    assert keys == [key_line(kit)]
    identity = pyrage.x25519.Identity.from_str(keys[0])
    assert str(identity.to_public()) == kit.recipient
    assert pyrage.decrypt(pyrage.encrypt(b"x", [identity.to_public()]), [identity]) == b"x"


def test_kit_says_what_it_opens_and_how(kit: Kit) -> None:
    """Repository, storage, date, slot, and a command line that a shell reads as it is meant."""
    contents = parse_kit(kit.text)
    assert (contents.repository_id, contents.storage_address) == (REPOSITORY, ADDRESS)
    assert str(contents.identity) == key_line(kit)
    assert "2026-11-21" in kit.text
    assert kit.slot_object.name.removeprefix("keys/00000001/") in kit.text
    command = kit.text[kit.text.index("holdfast restore") :].split("\n#\n")[0].replace("\\\n#", "")
    words = shlex.split(command)
    assert words[:5] == ["holdfast", "restore", "latest", "--repo", ADDRESS]
    assert words[5:7] == ["--identity-file", "kit.txt"]


def test_kit_fits_on_paper(kit: Kit) -> None:
    """Plain ASCII, lines that a printer does not break."""
    assert kit.text.isascii()
    assert max(map(len, kit.text.splitlines())) <= 95
    assert len(kit.text.splitlines()) <= 55


def test_kit_holds_no_other_secret(kit: Kit, keyring: Keyring) -> None:
    """Neither the keys themselves, nor does its repr show the identity."""
    assert keyring.keys(1).data_key.hex() not in kit.text
    assert key_line(kit) not in repr(kit)
    assert key_line(kit) not in repr(parse_kit(kit.text))
    assert key_line(kit).encode() not in kit.slot_object.data


def test_two_kits_are_independent(keyring: Keyring, tmp_path: Path) -> None:
    """Each has a slot and an identity of its own: one can be revoked without the other."""
    first, second = (make_kit(keyring, storage_address=ADDRESS, now=NOW) for _ in range(2))
    assert first.slot_object.name != second.slot_object.name
    with pytest.raises(LockedOutError):
        opened_by(first.text, second, tmp_path)


def test_kit_of_a_keyring_with_a_locked_epoch_opens_the_rest(keyring: Keyring, tmp_path: Path) -> None:
    """It wraps what there is; but no kit is made that could not open the newest snapshots."""
    rotated = dataclasses.replace(keyring.with_new_epoch(), locked=(1,))
    partial = dataclasses.replace(rotated, epochs=rotated.epochs[1:])
    kit = make_kit(partial, storage_address=ADDRESS, now=NOW)
    marker = make_marker(partial, slots=(), reason=EpochReason.ROTATION, now=NOW)
    assert opened_by(kit.text, kit, tmp_path, marker).epochs == partial.epochs
    with pytest.raises(LockedOutError):
        make_kit(dataclasses.replace(keyring, locked=(2,)), storage_address=ADDRESS, now=NOW)


@pytest.mark.parametrize("address", ["s3://bucket/\nAGE-SECRET-KEY-1", "file:///backups/\x1b[2J"])
def test_address_that_would_break_the_page_is_refused(keyring: Keyring, address: str) -> None:
    """A line end in an address would make a line that is no comment."""
    with pytest.raises(UsageError, match="cannot be printed"):
        make_kit(keyring, storage_address=address, now=NOW)


def test_text_without_or_with_two_identities_is_no_kit(kit: Kit) -> None:
    """What is missing is said; of two identities none is guessed."""
    with pytest.raises(UsageError, match="holds no identity"):
        parse_kit("# nothing\n")
    with pytest.raises(UsageError, match="holds 2 identities"):
        parse_kit(kit.text + key_line(kit) + "\n")
    assert parse_kit(key_line(kit)).repository_id is None
    assert parse_kit("# Repository: smudged\n" + key_line(kit)).repository_id is None
