"""The contract of `holdfast.storage`, held against every adapter and the servers at hand."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.domain.errors import ObjectExistsError, ObjectMissingError
from holdfast.storage import Buffer, Storage

SIZES = (0, 1, 65_537, 3_000_000)
# In order of code points; "-" and "." come before "/", digits and letters after it.
NAMES = (
    "a",
    "b-c",
    "b.c",
    "b/-",
    "b/0/1",
    "b/0/2",
    "b/00",
    "b/=",
    "b/A",
    "b/_",
    "b/a",
    "b0/1",
    "c=d",
    "d_e/f.g-h",
)
RANGES = (
    *(
        (0, 10),
        (0, 0),
        (5, 0),
        (90, 10),
        (37, 1),
        (0, 100),
        (95, 50),
        (100, 5),
        (100, 0),
        (250, 5),
        (0, 1000),
    ),
    *((40, None), (100, None), (0, None)),
)
BAD_NAMES = (
    *("", "/", "/a", "a/", "a//b", ".", "..", "../x", "a/../../x", "a/./b", ".tmp/x", "a/.b"),
    *("a b", "a\n", "ä", "a\0b", "a%2fb", "a\\b", "x" * 201, "/".join(["x" * 100] * 10)),
)
BAD_PREFIXES = ("/", "../", "a//", ".", ".tmp/", "a b", "a/../")


def bytes_of(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def names(storage: Storage, prefix: str, after: str | None = None) -> list[str]:
    return [info.name for info in storage.list(prefix, after=after)]


@pytest.mark.parametrize("size", SIZES)
def test_created_object_reads_back_whole(storage: Storage, size: int) -> None:
    """A created object reads back byte for byte, whatever its size."""
    storage.create("data/one", bytes_of(size))
    assert storage.get("data/one") == bytes_of(size)
    assert type(storage.get("data/one")) is bytes


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_can_be_stored(storage: Storage, kind: type) -> None:
    """Bytes, bytearrays and memoryviews store the same, by create and by replace."""
    buffer: Buffer = kind(b"some bytes")
    storage.create("created", buffer)
    storage.replace("replaced", buffer)
    assert storage.get("created") == storage.get("replaced") == b"some bytes"


def test_part_of_a_buffer_can_be_stored(storage: Storage) -> None:
    """A slice of a memoryview stores just the slice."""
    storage.create("part", memoryview(bytearray(b"0123456789"))[3:7])
    assert storage.get("part") == b"3456"


def test_create_on_a_taken_name_is_refused(storage: Storage) -> None:
    """A second create raises ObjectExistsError with the name, and leaves the first one's bytes."""
    storage.create("outcomes/x", b"first")
    with pytest.raises(ObjectExistsError) as caught:
        storage.create("outcomes/x", b"second")
    assert caught.value.object_name == "outcomes/x"
    assert storage.get("outcomes/x") == b"first"


def test_concurrent_creates_have_one_winner(fair_storage: Storage) -> None:
    """Of eight creates of one name at the same time, one wins and its bytes are what is there, time after time."""
    for turn in range(5):
        name = f"outcomes/{turn}"
        start = threading.Barrier(8)

        def run(racer: int, name: str = name, start: threading.Barrier = start) -> int | None:
            start.wait()
            try:
                fair_storage.create(name, bytes([racer]) * 200_000)
            except ObjectExistsError:
                return None
            return racer

        with ThreadPoolExecutor(8) as pool:
            winners = [racer for racer in pool.map(run, range(8)) if racer is not None]
        assert len(winners) == 1
        assert fair_storage.get(name) == bytes(winners) * 200_000


def test_replace_needs_no_predecessor_and_overwrites_one(storage: Storage) -> None:
    """Replace stores a new object, and stores over an old one, longer or shorter."""
    for data in (b"new", b"much longer than before", b"", b"short"):
        storage.replace("writers/w", data)
        assert storage.get("writers/w") == data
        assert storage.stat("writers/w").size_bytes == len(data)


def test_range_gives_what_is_there(storage: Storage) -> None:
    """A range gives the bytes it covers, cut off at the object's end."""
    data = bytes_of(100)
    storage.create("pack", data)
    for offset, length in RANGES:
        end = None if length is None else offset + length
        assert storage.get("pack", offset=offset, length=length) == data[offset:end], (offset, length)


def test_range_of_an_empty_object_is_empty(storage: Storage) -> None:
    """Any range of an object without bytes is empty, not an error."""
    storage.create("empty", b"")
    assert storage.get("empty", offset=0, length=5) == b""
    assert storage.get("empty", offset=3) == b""


def test_missing_object_is_named(storage: Storage) -> None:
    """Get and stat of a missing object, also one in a missing folder or below an object, say which it is."""
    storage.create("here", b"bytes")
    for name in ("nothing", "no/such/folder", "her", "here0", "here/below"):
        for length in (None, 0, 5):
            with pytest.raises(ObjectMissingError) as caught:
                storage.get(name, length=length)
            assert caught.value.object_name == name
        with pytest.raises(ObjectMissingError) as caught:
            storage.stat(name)
        assert caught.value.object_name == name


def test_deleted_object_is_gone(storage: Storage) -> None:
    """After delete an object is missing and not listed; its neighbours stay; deleting again is fine."""
    for name in ("data/a/1", "data/a/2", "data/b/3"):
        storage.create(name, b"x")
    for _ in range(2):
        storage.delete("data/a/1")
        storage.delete("data/b/3")
    storage.delete("never/there")
    with pytest.raises(ObjectMissingError):
        storage.get("data/a/1")
    assert names(storage, "") == ["data/a/2"]
    storage.create("data/b/3", b"again")
    assert names(storage, "") == ["data/a/2", "data/b/3"]


def test_stat_and_list_tell_size_time_and_md5(storage: Storage) -> None:
    """Both tell size and time of writing; an MD5 is that of the bytes, or none."""
    before = datetime.now(UTC) - timedelta(seconds=2)
    storage.create("meta/x", b"some bytes")
    info = storage.stat("meta/x")
    [listed] = storage.list("meta/")
    assert info.name == listed.name == "meta/x"
    assert info.size_bytes == listed.size_bytes == 10
    for each in (info, listed):
        assert each.modified_at.utcoffset() == timedelta(0)
        assert before <= each.modified_at <= datetime.now(UTC) + timedelta(seconds=2)
        assert each.md5 in {None, hashlib.md5(b"some bytes").hexdigest()}


def test_listing_is_in_order_of_code_points(storage: Storage) -> None:
    """Names come in ascending order of their full text, whatever folders they make."""
    for name in random.Random(7).sample(NAMES, len(NAMES)):
        storage.create(name, b"x")
    assert list(NAMES) == sorted(NAMES)
    assert names(storage, "") == list(NAMES)


@pytest.fixture
def filled(storage: Storage) -> Storage:
    for name in NAMES:
        storage.create(name, b"x")
    return storage


def test_prefix_is_a_plain_string_prefix_and_after_cuts(filled: Storage) -> None:
    """A listing holds just the names that start with the prefix and sort after `after`."""
    for prefix in (
        "",
        "a",
        "b",
        "b/",
        "b0",
        "b/0",
        "b/0/",
        "b/00",
        "b/0/1",
        "c",
        "d_e/",
        "d_e/f.",
        "x",
        "x/",
        "b/0/1/",
    ):
        expected = [name for name in NAMES if name.startswith(prefix)]
        assert names(filled, prefix) == expected, prefix
    for prefix in ("", "b", "b/", "b/0"):
        for after in ("a", "b/", "b/0", "b/0/1", "b/=", "b0/1", "zzz"):
            expected = [name for name in NAMES if name.startswith(prefix) and name > after]
            assert names(filled, prefix, after) == expected, (prefix, after)


def test_listing_shows_what_was_just_written(storage: Storage) -> None:
    """Every object is listed as soon as its create returned."""
    for number in range(8):
        storage.create(f"journal/{number:012d}", b"x")
        assert len(names(storage, "journal/")) == number + 1


def test_bad_name_is_the_callers_mistake(storage: Storage) -> None:
    """A name outside the rule, above all one that leads elsewhere, is a ValueError for every verb."""
    for name in BAD_NAMES:
        verbs: tuple[Callable[[str], object], ...] = (
            lambda bad: storage.create(bad, b""),
            lambda bad: storage.replace(bad, b""),
            storage.get,
            storage.stat,
            storage.delete,
        )
        for verb in verbs:
            with pytest.raises(ValueError, match="not an object's name"):
                verb(name)


def test_bad_prefix_is_the_callers_mistake(storage: Storage) -> None:
    """A prefix that no name could start with is a ValueError, at once."""
    for prefix in BAD_PREFIXES:
        with pytest.raises(ValueError, match="not a prefix"):
            storage.list(prefix)


def test_many_threads_share_a_storage(storage: Storage) -> None:
    """Eight threads write, read and delete at the same time, and all find their own bytes."""

    def work(number: int) -> bool:
        name, data = f"data/{number % 3}/{number}", bytes_of(5000, number)
        storage.create(name, data)
        same = storage.get(name) == data and storage.get(name, offset=100, length=50) == data[100:150]
        if number % 2:
            storage.delete(name)
        return same

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(24)))
    assert names(storage, "data/") == sorted(f"data/{number % 3}/{number}" for number in range(0, 24, 2))


def test_address_tells_where_without_secrets(storage: Storage) -> None:
    """The address is for messages: it names the place and no secret."""
    assert storage.address.startswith(("memory:", "file:///", "s3://holdfast/", "az://holdfast/"))
    assert "secret" not in storage.address
    assert "key" not in storage.address
