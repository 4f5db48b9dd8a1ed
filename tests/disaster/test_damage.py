"""The damage catalogue: every kind of object, damaged in every way, is named by verify."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pyrage
import pytest

from holdfast.domain.errors import DamagedError, LockedOutError
from holdfast.repository.keys.secrets import Secrets
from holdfast.repository.repo import Repository, open_repository
from holdfast.storage.memory import MemoryStorage
from holdfast.workflows.verify import verify
from repositories import PASSPHRASE, make_repository
from snapshots import begin, take

RECIPIENT = str(pyrage.x25519.Identity.generate().to_public())
BIG = b"".join(b"%d\t%x\n" % (n, n * 2654435761 % 2**64) for n in range(120_000))

# A kind of object is what its name begins with; `data alone` holds one blob, `data pack` several.
KINDS = (
    "config",
    "keys/",
    "data alone",
    "data pack",
    "meta table",
    "meta root",
    "outcomes/",
    "writers/",
    "journal/",
    "verify/",
)
# Nothing can be known to be gone here: a writer's record that is not there is what a decided run leaves.
UNNOTICED = {("writers/", "removed")}


def build() -> MemoryStorage:
    """Two snapshots, one dead run, a key slot for a recipient, and two verification records."""
    storage = MemoryStorage()
    repository = make_repository(storage, recipient=RECIPIENT)
    for tag in (b"a", b"b"):
        take(
            repository, {"big": [BIG + tag + b"\n"], "small": [tag + b"\n", b"x\n"], "other": [tag + b"y\n"]}
        )
        with begin(repository, source="dead"):
            pass  # it says nothing of its end
        assert verify(repository, None, level=3).findings == ()
    return storage


SOUND = build()


def copy_of(storage: MemoryStorage) -> MemoryStorage:
    copy = MemoryStorage()
    for info in storage.list(""):
        copy.create(info.name, storage.get(info.name))
    return copy


def members(storage: MemoryStorage, kind: str) -> list[str]:
    """The names of all objects of a kind, ascending."""
    names = {info.name: info.size_bytes for info in storage.list("")}
    if kind.startswith("data "):
        alone = kind == "data alone"
        return [
            name for name, size in names.items() if name.startswith("data/") and (size > 1_000_000) == alone
        ]
    if kind.startswith("meta "):
        part = "/root" if kind == "meta root" else "/table/"
        return [name for name in names if name.startswith("meta/") and part in name]
    return [name for name in names if name.startswith(kind)]


def flip_first(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def flip_middle(data: bytes) -> bytes:
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :]


def flip_last(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 128])


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "first byte flipped": flip_first,
    "middle byte flipped": flip_middle,
    "last byte flipped": flip_last,
    "truncated by one byte": lambda data: data[:-1],
    "one byte longer": lambda data: data + b"\0",
    "emptied": lambda data: b"",
}


def findings_after(storage: MemoryStorage) -> set[str]:
    """The object names that opening or verifying at level 3 complains about."""
    try:
        repository = open_repository(storage, Secrets(passphrase=PASSPHRASE))
    except DamagedError as error:
        return {error.object_name}
    found = {finding.object_name for finding in verify(repository, None, level=3).findings}
    return found | {word for warning in repository.warnings for word in warning.split()}


def tables_after(storage: MemoryStorage) -> dict[str, set[str]]:
    repository = open_repository(storage, Secrets(passphrase=PASSPHRASE))
    return {
        finding.object_name: {table.name for table in finding.tables}
        for finding in verify(repository, None, level=3).findings
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", CHANGES)
def test_altered_objects_are_named(kind: str, change: str) -> None:
    """One bit, one byte, or all bytes: verify names the object, whatever kind it is."""
    for name in members(SOUND, kind):
        storage = copy_of(SOUND)
        storage.replace(name, CHANGES[change](SOUND.get(name)))
        assert name in findings_after(storage), f"{name}, {change}"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if (kind, "removed") not in UNNOTICED])
def test_removed_objects_are_named(kind: str) -> None:
    """A removed object is named, whatever kind it is, the newest as well as the oldest."""
    names = members(SOUND, kind)
    if kind == "journal/":
        # The end of the journal is held by the outcomes. The last entry here speaks of a check, and no outcome
        # knows of it: without it, the repository claims less than it could, never more.
        names.pop()
    for name in names:
        storage = copy_of(SOUND)
        storage.delete(name)
        found = findings_or_locked(storage)
        assert name in found, f"{name} removed, found {found}"


def findings_or_locked(storage: MemoryStorage) -> set[str]:
    """Like `findings_after`; without the passphrase's slot, the secret at hand opens nothing, which is said."""
    try:
        return findings_after(storage)
    except LockedOutError:
        return {"keys/00000001/passphrase"}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "config"])
def test_swapped_objects_are_named(kind: str) -> None:
    """Two objects of a kind that changed places are both named."""
    names = members(SOUND, kind)
    assert len(names) >= 2
    for first, second in itertools.pairwise(names):
        storage = copy_of(SOUND)
        storage.replace(first, SOUND.get(second))
        storage.replace(second, SOUND.get(first))
        found = findings_after(storage)
        # With both key slots wrong, opening stops at the first.
        assert ({first, second} <= found) or (kind == "keys/" and found & {first, second})


def test_all_slots_gone_is_damage() -> None:
    """Without any key slot, opening says that keys/ is empty, and that this is damage."""
    storage = copy_of(SOUND)
    for name in members(SOUND, "keys/"):
        storage.delete(name)
    with pytest.raises(DamagedError):
        open_repository(storage, Secrets(passphrase=PASSPHRASE))


def test_the_tables_that_suffer_are_named() -> None:
    """A damaged data object touches exactly the tables whose rows are in it."""
    repository = open_repository(SOUND, Secrets(passphrase=PASSPHRASE))
    alone = members(SOUND, "data alone")[0]
    pack = members(SOUND, "data pack")[0]
    for name, tables in ((alone, {"big"}), (pack, {"small", "other"})):
        storage = copy_of(SOUND)
        storage.replace(name, flip_middle(SOUND.get(name)))
        assert tables_after(storage)[name] == tables
    assert isinstance(repository, Repository)


def test_level_1_sees_sizes_and_level_2_sees_bits() -> None:
    """Each level finds what it says it finds: a size at level 1, a bit at level 2, neither at level 0."""
    name = members(SOUND, "data alone")[0]
    for level, change, seen in (
        (0, "truncated by one byte", False),
        (1, "truncated by one byte", True),
        (1, "middle byte flipped", False),
        (2, "middle byte flipped", True),
    ):
        storage = copy_of(SOUND)
        storage.replace(name, CHANGES[change](SOUND.get(name)))
        repository = open_repository(storage, Secrets(passphrase=PASSPHRASE))
        found = {finding.object_name for finding in verify(repository, None, level=level).findings}
        assert (name in found) is seen, f"level {level}, {change}"
