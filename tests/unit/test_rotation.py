"""Rotations: a new epoch exists as a whole or not at all, for everybody whom it is for, and nobody else."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyrage
import pytest
from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.domain.errors import DamagedError, LockedOutError, RefusedError, UsageError
from holdfast.domain.manifest import SnapshotSummary
from holdfast.repository import layout
from holdfast.repository.keys.keyring import add_recipient_slot
from holdfast.repository.keys.secrets import Secrets
from holdfast.repository.repo import Repository, open_repository
from holdfast.storage import Buffer, Storage
from holdfast.storage.memory import MemoryStorage
from holdfast.workflows.key_slots import slots_of
from holdfast.workflows.keys import add_passphrase, add_recipient, list_keys, remove_key, rotate_slot
from holdfast.workflows.rotation import compromised, rotate
from holdfast.workflows.verify import verify
from mortal import KilledError, Mortal
from repositories import CHEAP, PASSPHRASE, make_repository
from snapshots import begin, commit, take

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
OURS = Secrets(passphrase=PASSPHRASE)
OTHER = Secrets(passphrase="another passphrase")
ROWS = {"users": [b"1\tann\n", b"2\tbob\n"]}


class Meanwhile(MemoryStorage):
    """A memory storage in which something else happens right before the first creation of a name."""

    def __init__(self) -> None:
        super().__init__()
        self.at: Callable[[str], bool] | None = None
        self.happens: Callable[[], object] = lambda: None

    def create(self, name: str, data: Buffer) -> None:
        if self.at is not None and self.at(name):
            self.at = None
            self.happens()
        super().create(name, data)


def identity_secrets(folder: Path) -> tuple[Secrets, str]:
    """An identity in a file, and its recipient."""
    identity = pyrage.x25519.Identity.generate()
    path = folder / f"{identity.to_public()}.txt"
    path.write_text(f"{identity}\n")
    path.chmod(0o600)
    return Secrets(identity_file=path), str(identity.to_public())


def is_readable(repository: Repository, summary: SnapshotSummary) -> bool:
    """Whether every chunk of the snapshot comes out."""
    root = repository.root(repository.summary(summary.snapshot))
    rows = [
        repository.chunk(chunk.blob)
        for _, manifest in repository.tables(root.tables)
        for chunk in manifest.chunks()
    ]
    return sorted(rows) == sorted(ROWS["users"])


def findings(storage: Storage, secrets: Secrets = OURS) -> tuple[Any, ...]:
    return verify(open_repository(storage, secrets), None, level=3).findings


def test_rotation_seals_anew_and_reuses(tmp_path: Path) -> None:
    """New objects are sealed with new keys; what is stored stays readable, and keeps its identity."""
    storage = MemoryStorage()
    secrets, recipient = identity_secrets(tmp_path)
    repository = make_repository(storage, recipient=recipient)
    old = take(repository, ROWS)
    report = rotate(repository, [OURS], now=NOW).report
    assert report.left_out == ()
    for at_hand in (OURS, secrets):
        opened = open_repository(storage, at_hand)
        assert opened.keyring.sealing().epoch == 2
        assert is_readable(opened, old)
        assert opened.shares_identities(opened.summary(old.snapshot))
    new = take(open_repository(storage, secrets), ROWS)
    assert is_readable(open_repository(storage, OURS), new)
    assert findings(storage) == ()


def test_one_slot_object_a_rotation_opens_everything(tmp_path: Path) -> None:
    """A key that is added after rotations opens what was sealed before them, by its one object."""
    storage = MemoryStorage()
    repository = make_repository(storage)
    old = take(repository, ROWS)
    for _ in range(3):
        repository = rotate(repository, [OURS], now=NOW).repository
    report = add_passphrase(repository, "another passphrase", slot="other", label="", now=NOW, kdf=CHEAP)
    assert len(report.added) == 1
    assert [slot.opens for slot in report.slots] == [(1, 2, 3, 4), (1, 2, 3, 4)]
    opened = open_repository(storage, OTHER)
    assert opened.keyring.sealing().epoch == 4
    assert is_readable(opened, old)
    assert findings(storage, OTHER) == ()


def test_slots_whose_passphrase_is_missing_are_not_left_behind_in_silence() -> None:
    """Refused by name, until the passphrase is given too, or it is left behind on purpose."""
    storage = MemoryStorage()
    repository = make_repository(storage)
    old = take(repository, ROWS)
    add_passphrase(repository, "another passphrase", slot="other", label="", now=NOW, kdf=CHEAP)
    with pytest.raises(RefusedError, match=r"other \(its passphrase is not at hand\)"):
        rotate(repository, [OURS], now=NOW)
    repository = rotate(repository, [OURS, OTHER], now=NOW).repository
    assert open_repository(storage, OTHER).keyring.sealing().epoch == 2
    report = rotate(repository, [OURS], drop=True, now=NOW).report
    assert [item.name for item in report.left_out] == ["other"]
    left = open_repository(storage, OTHER)
    assert is_readable(left, old)
    with pytest.raises(LockedOutError, match="epoch 3 are locked"):
        left.keyring.sealing()
    assert findings(storage) == ()


def test_planted_recipient_gets_no_new_keys(tmp_path: Path) -> None:
    """Who can write to the storage, but has no keys, puts a slot there or alters one: no rotation wraps for it."""
    storage = MemoryStorage()
    _, recipient = identity_secrets(tmp_path)
    thief, his = identity_secrets(tmp_path)
    repository = make_repository(storage, recipient=recipient)
    planted = add_recipient_slot(
        make_repository(MemoryStorage()).keyring, his, slot="ours", label="team", now=NOW
    )
    document = json.loads(planted.data)
    document["repository"] = str(repository.config.repository_id)
    storage.create(planted.name, _with_right_checksum(document))
    kit = json.loads(storage.get("keys/00000001/kit"))
    storage.replace("keys/00000001/kit", _with_right_checksum({**kit, "recipient": his}))
    shown = {slot.name: slot.problem for slot in slots_of(repository)}
    assert "no holder of the keys" in shown["ours"]
    assert "no holder of the keys" in shown["kit"]
    assert {item.object_name for item in findings(storage)} == {"keys/00000001/kit", planted.name}
    with pytest.raises(RefusedError, match="nobody vouches") as caught:
        rotate(repository, [OURS], now=NOW)
    assert his in caught.value.message
    rotate(repository, [OURS], drop=True, now=NOW)
    with pytest.raises((LockedOutError, DamagedError)):
        open_repository(storage, thief)


def _with_right_checksum(document: dict[str, Any]) -> bytes:
    from holdfast.repository.keys.key_objects import with_checksum

    document.pop("checksum", None)
    return with_checksum(document)


@pytest.mark.parametrize("moment", ["keys/00000002", "keys/00000002-"])
def test_two_rotations_at_once_have_one_winner(moment: str) -> None:
    """The loser, late with its marker or already with its slots, is refused and leaves nothing; the winner's epoch
    is whole."""
    storage = Meanwhile()
    repository = make_repository(storage)
    old = take(repository, ROWS)
    storage.at = lambda name: name.startswith(moment) and (name == moment or moment.endswith("-"))
    storage.happens = lambda: rotate(open_repository(storage, OURS), [OURS], now=NOW)
    with pytest.raises(RefusedError, match="another process made epoch 2 at the same time"):
        rotate(repository, [OURS], now=NOW)
    opened = open_repository(storage, OURS)
    assert opened.keyring.sealing().epoch == 2
    assert is_readable(opened, old)
    assert len({name.split("/")[1] for name in names(storage) if name.startswith("keys/00000002-")}) == 1
    assert findings(storage) == ()


def names(storage: Storage) -> list[str]:
    return [info.name for info in storage.list("keys/")]


def test_slot_added_during_a_rotation_is_not_lost_in_silence() -> None:
    """Either the adding says so, or the rotation."""
    storage = Meanwhile()
    repository = make_repository(storage)
    storage.at = lambda name: name == "keys/00000002"
    storage.happens = lambda: add_passphrase(
        open_repository(storage, OURS), "another passphrase", slot="other", label="", now=NOW, kdf=CHEAP
    )
    report = rotate(repository, [OURS], now=NOW).report
    assert "key slot other was added meanwhile" in report.keys.warnings[0]
    stale = open_repository(storage, OURS)
    storage.at = lambda name: name.endswith("/third")
    storage.happens = lambda: rotate(open_repository(storage, OURS), [OURS], drop=True, now=NOW)
    with pytest.raises(RefusedError, match="rotated meanwhile"):
        add_passphrase(stale, "a third", slot="third", label="", now=NOW, kdf=CHEAP)
    assert findings(storage) == ()


def test_slot_removed_during_a_rotation_is_removed_from_the_new_epoch() -> None:
    """A revoked key does not come back by a rotation that had seen it before."""
    storage = Meanwhile()
    repository = make_repository(storage)
    add_passphrase(repository, "another passphrase", slot="other", label="", now=NOW, kdf=CHEAP)
    storage.at = lambda name: name == "keys/00000002"
    storage.happens = lambda: remove_key(open_repository(storage, OURS), "other", now=NOW)
    rotate(repository, [OURS, OTHER], now=NOW)
    with pytest.raises(LockedOutError):
        open_repository(storage, OTHER)
    assert open_repository(storage, OURS).keyring.sealing().epoch == 2
    assert findings(storage) == ()


def test_writer_of_the_old_epoch_may_finish() -> None:
    """A run that began before a rotation commits after it; the history stays whole, and all is readable."""
    storage = MemoryStorage()
    repository = make_repository(storage)
    with begin(repository) as run:
        rotate(open_repository(storage, OURS), [OURS], now=NOW)
        summary = commit(run, ROWS)
    opened = open_repository(storage, OURS)
    assert is_readable(opened, summary)
    take(opened, ROWS)
    assert findings(storage) == ()


def test_last_slot_of_the_newest_epoch_is_never_removed() -> None:
    """Although slots of older epochs are left: they do not open it."""
    storage = MemoryStorage()
    repository = make_repository(storage)
    add_passphrase(repository, "another passphrase", slot="other", label="", now=NOW, kdf=CHEAP)
    repository = rotate(repository, [OURS], drop=True, now=NOW).repository
    with pytest.raises(RefusedError, match="the last one that opens epoch 2"):
        remove_key(repository, "passphrase", now=NOW)
    remove_key(repository, "other", now=NOW)
    assert open_repository(storage, OURS).keyring.sealing().epoch == 2
    assert findings(storage) == ()


def test_slot_is_rotated_with_the_new_one_there_first() -> None:
    """A passphrase is changed: the old one opens nothing any more, the new one everything."""
    storage = MemoryStorage()
    repository = make_repository(storage)
    old = take(repository, ROWS)
    report = rotate_slot(
        repository,
        "passphrase",
        passphrase="another passphrase",
        recipient=None,
        name="new",
        now=NOW,
        kdf=CHEAP,
    )
    assert ([slot.name for slot in report.slots], report.slots[0].label) == (["new"], "tests")
    with pytest.raises(LockedOutError):
        open_repository(storage, OURS)
    assert is_readable(open_repository(storage, OTHER), old)
    with pytest.raises(UsageError, match="no key slot is named 'passphrase'"):
        rotate_slot(repository, "passphrase", passphrase="x", recipient=None, name=None, now=NOW, kdf=CHEAP)


def test_compromise_ends_reuse_and_the_lost_key(tmp_path: Path) -> None:
    """New identities, no slot for the lost key, and nobody carried over on the word of the old keys."""
    storage = MemoryStorage()
    mine, recipient = identity_secrets(tmp_path)
    team, its = identity_secrets(tmp_path)
    repository = make_repository(storage, recipient=recipient)
    add_recipient(repository, its, slot="team", label="team", now=NOW)
    old = take(repository, ROWS)
    with pytest.raises(RefusedError, match="can have made it"):
        compromised(repository, ["passphrase"], [mine], now=NOW)
    done = compromised(repository, ["passphrase"], [mine], keep=["team"], now=NOW)
    assert done.report.keys.removed == ("keys/00000001/passphrase",)
    with pytest.raises(LockedOutError):
        open_repository(storage, OURS)
    for secrets in (mine, team):
        opened = open_repository(storage, secrets)
        assert is_readable(opened, old)
        assert not opened.shares_identities(opened.summary(old.snapshot))
    assert done.report.keys.exposures is not None
    first, second = done.report.keys.exposures.epochs
    assert (first.epoch, first.whole, second.whole) == (1, (old.snapshot,), ())
    assert first.size_bytes > 0
    new = take(open_repository(storage, mine), ROWS)
    assert opened.shares_identities(open_repository(storage, mine).summary(new.snapshot))
    assert findings(storage, mine) == ()


def test_compromise_of_the_only_secret_at_hand_is_refused() -> None:
    """A new epoch that nobody was seen to open is not begun."""
    storage = MemoryStorage()
    repository = make_repository(storage, recipient=str(pyrage.x25519.Identity.generate().to_public()))
    before = names(storage)
    with pytest.raises(RefusedError, match="no secret at hand would open the new epoch"):
        compromised(repository, ["passphrase"], [OURS], keep=["kit"], now=NOW)
    assert names(storage) == before


def test_run_of_before_a_compromise_is_no_parent_after_it() -> None:
    """A run that began with the old keys commits after the compromise: its chunks are not reused either."""
    storage = MemoryStorage()
    repository = make_repository(storage)
    with begin(repository) as run:
        compromised(open_repository(storage, OURS), [], [OURS], now=NOW)
        summary = commit(run, ROWS)
    opened = open_repository(storage, OURS)
    assert not opened.shares_identities(opened.summary(summary.snapshot))


def _steps(repository: Repository, storage: Mortal, work: Callable[[Repository], object]) -> int:
    before = storage.steps
    work(repository)
    return storage.steps - before


WORKS: dict[str, Callable[[Repository], object]] = {
    "rotate": lambda repository: rotate(repository, [OURS, OTHER], now=NOW),
    "compromised": lambda repository: compromised(repository, ["lost"], [OURS, OTHER], keep=["kit"], now=NOW),
    "rotate slot": lambda repository: rotate_slot(
        repository, "lost", passphrase="new one", recipient=None, name=None, now=NOW, kdf=CHEAP
    ),
    "remove": lambda repository: remove_key(repository, "lost", now=NOW),
}


def _prepared(recipient: str) -> tuple[Mortal, SnapshotSummary]:
    storage = Mortal()
    repository = make_repository(storage, recipient=recipient)
    add_passphrase(repository, "another passphrase", slot="other", label="", now=NOW, kdf=CHEAP)
    summary = take(repository, ROWS)
    _, lost = identity_secrets_of_nobody()
    add_recipient(repository, lost, slot="lost", label="", now=NOW)
    return storage, summary


def identity_secrets_of_nobody() -> tuple[None, str]:
    return None, str(pyrage.x25519.Identity.generate().to_public())


def _deaths(name: str, recipient: str) -> Iterator[int]:
    storage, _ = _prepared(recipient)
    yield from range(1, _steps(open_repository(storage, OURS), storage, WORKS[name]) + 1)


@pytest.mark.parametrize("name", WORKS)
def test_killed_anywhere_everybody_opens_and_it_can_be_repeated(name: str, tmp_path: Path) -> None:
    """At every change that a key command makes: all secrets open the newest epoch, and repeating it ends well."""
    kit, recipient = identity_secrets(tmp_path)
    deaths = 0
    for death in _deaths(name, recipient):
        storage, summary = _prepared(recipient)
        storage.left = death
        with pytest.raises(KilledError):
            WORKS[name](open_repository(storage, OURS))
        storage.left = None
        for secrets in (OURS, OTHER, kit):
            opened = open_repository(storage, secrets)
            assert opened.warnings == ()
            opened.keyring.sealing()
            assert is_readable(opened, summary)
        unexpected = [item for item in findings(storage) if "remove it again" not in item.problem]
        assert unexpected == []
        if any(slot.name == "lost" for slot in slots_of(open_repository(storage, OURS))) or name == "rotate":
            WORKS[name](open_repository(storage, OURS))
        for secrets in (OURS, OTHER, kit):
            take(open_repository(storage, secrets), ROWS)
        assert findings(storage) == ()
        assert any(slot.name == "lost" for slot in list_keys(open_repository(storage, OURS)).slots) == (
            name == "rotate"
        )
        deaths += 1
    assert deaths >= 4


def test_what_a_dead_rotation_left_is_swept_by_the_next(tmp_path: Path) -> None:
    """Slots of an attempt that never counted do not pile up."""
    kit, recipient = identity_secrets(tmp_path)
    storage, _ = _prepared(recipient)
    storage.left = 4
    with pytest.raises(KilledError):
        rotate(open_repository(storage, OURS), [OURS, OTHER], now=NOW)
    storage.left = None
    assert any(name.startswith("keys/00000002-") for name in names(storage))
    rotate(open_repository(storage, kit), [OURS, OTHER], now=NOW)
    assert len({name.split("/")[1] for name in names(storage)}) == 3
    assert layout.KEYS + "00000002" in names(storage)


def test_earlier_keys_are_read_by_the_recipe() -> None:
    """docs/FORMAT.md is enough: from a slot of the newest epoch to the keys of the first, with nothing of ours."""
    storage = MemoryStorage()
    repository = make_repository(storage)
    keyring = rotate(repository, [OURS], now=NOW).repository.keyring
    marker = json.loads(storage.get("keys/00000002"))
    slot = json.loads(storage.get(marker["slots"][0]))
    assert marker["slots"][0].startswith(f"keys/00000002-{marker['attempt']}/")

    def clear(document: dict[str, Any], *without: str) -> bytes:
        said = {key: value for key, value in document.items() if key not in ("wrapped", "checksum", *without)}
        return json.dumps(said, sort_keys=True, separators=(",", ":")).encode("ascii")

    def opened(document: dict[str, Any], key: bytes) -> Any:
        nonce, wrapped = base64.b64decode(document["nonce"]), base64.b64decode(document["wrapped"])
        return json.loads(AESGCM(key).decrypt(nonce, wrapped, clear(document)))

    kdf = slot["kdf"]
    salt = base64.b64decode(kdf["salt"])
    cost = (kdf["passes"], kdf["memory_kib"], kdf["lanes"])
    payload = opened(slot, hash_secret_raw(PASSPHRASE.encode(), salt, *cost, 32, Type.ID))
    data_key = bytes.fromhex(payload["data_key"])
    said = b"holdfast/1/slot\n" + clear(slot, "mac")
    assert slot["mac"] == hmac.digest(data_key, said, "sha256").hex()
    (first,) = opened(marker, hmac.digest(data_key, b"holdfast/1/earlier epochs", "sha256"))
    assert (first["epoch"], first["attempt"]) == (1, "")
    assert first["data_key"] == keyring.keys(1).data_key.hex()
    linked = (
        b"holdfast/1/epoch\n"
        + repository.config.repository_id.bytes
        + (2).to_bytes(4, "little")
        + data_key
        + bytes.fromhex(payload["identity_key"])
    )
    assert payload["link"] == hmac.digest(bytes.fromhex(first["data_key"]), linked, "sha256").hex()
