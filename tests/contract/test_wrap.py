"""The wrappers: trying again, counting, and keeping to a rate."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast.domain.errors import (
    HoldfastError,
    LackingRightsError,
    ObjectExistsError,
    ObjectMissingError,
    StorageFullError,
    StorageUnusableError,
    UnreachableError,
    UsageError,
)
from holdfast.storage import Buffer, ObjectInfo
from holdfast.storage.memory import MemoryStorage
from holdfast.storage.wrap import Counted, Limited, Retrying, Through, Traffic


class Failing(Through):
    """Raises the planted errors one after the other, before the verb or after it took effect; then works."""

    def __init__(self, *faults: HoldfastError, after_effect: bool = False) -> None:
        super().__init__(MemoryStorage())
        self.faults = list(faults)
        self.after_effect = after_effect
        self.calls = 0

    def _fail(self) -> None:
        self.calls += 1
        if self.faults:
            raise self.faults.pop(0)

    def create(self, name: str, data: Buffer) -> None:
        if self.after_effect:
            super().create(name, data)
            self._fail()
        else:
            self._fail()
            super().create(name, data)

    def replace(self, name: str, data: Buffer) -> None:
        self._fail()
        super().replace(name, data)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        self._fail()
        return super().get(name, offset=offset, length=length)

    def stat(self, name: str) -> ObjectInfo:
        self._fail()
        return super().stat(name)

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        for info in super().list(prefix, after=after):
            self._fail()
            yield info

    def delete(self, name: str) -> None:
        self._fail()
        super().delete(name)


def lost() -> UnreachableError:
    return UnreachableError("the connection was cut")


def test_passing_faults_are_tried_again_for_every_verb() -> None:
    """Two faults in a row before each verb: the caller sees none of them."""
    inside = Failing()
    storage = Retrying(inside, sleep=lambda _: None)
    storage.create("a", b"x")
    for verb in (
        lambda: storage.create("b", b"x"),
        lambda: storage.replace("a", b"y"),
        lambda: storage.get("a"),
        lambda: storage.stat("a"),
        lambda: list(storage.list("")),
        lambda: storage.delete("a"),
    ):
        inside.faults = [lost(), lost()]
        verb()
        assert inside.faults == []


def test_listing_goes_on_where_it_broke_off() -> None:
    """Faults in the middle of a listing leave neither gap nor double."""
    inside = Failing()
    storage = Retrying(inside, sleep=lambda _: None)
    for number in range(10):
        storage.create(f"a{number}", b"x")
    inside.faults = [lost(), lost()]
    found = []
    for info in storage.list("a"):
        found.append(info.name)
        if len(found) in {3, 7}:
            inside.faults = [lost(), lost(), lost()]
    assert found == [f"a{number}" for number in range(10)]


@pytest.mark.parametrize(
    "fault",
    [LackingRightsError("no"), StorageFullError("no"), StorageUnusableError("no"), ObjectMissingError("a")],
    ids=lambda fault: type(fault).__name__,
)
def test_lasting_faults_are_not_tried_again(fault: HoldfastError) -> None:
    """Lacking rights, a full or unusable storage and a missing object fail at once."""
    inside = Failing(fault)
    with pytest.raises(type(fault)):
        Retrying(inside, sleep=lambda _: pytest.fail("waited")).get("a")
    assert inside.calls == 1


def test_patience_ends_and_waits_grow() -> None:
    """After the last attempt the fault is raised; the waits double up to a bound, with jitter."""
    waits: list[float] = []
    inside = Failing(*[lost() for _ in range(20)])
    storage = Retrying(inside, attempts=8, first_wait_seconds=1, longest_wait_seconds=10, sleep=waits.append)
    with pytest.raises(UnreachableError):
        storage.get("a")
    assert inside.calls == 8
    for wait, longest in zip(waits, (1, 2, 4, 8, 10, 10, 10), strict=True):
        assert longest / 2 <= wait <= longest
    assert len(set(waits)) == 7


def test_create_whose_answer_got_lost_finds_its_own_object() -> None:
    """The object was stored, the answer lost: the retry compares the bytes and is content."""
    inside = Failing(lost(), after_effect=True)
    Retrying(inside, sleep=lambda _: None).create("a", memoryview(b"ours"))
    assert inside.get("a") == b"ours"


def test_create_that_lost_a_race_says_so_even_after_a_fault() -> None:
    """The retry finds other bytes: the name belongs to another."""
    inside = Failing(lost())
    inside._inside.create("a", b"theirs")
    with pytest.raises(ObjectExistsError):
        Retrying(inside, sleep=lambda _: None).create("a", b"ours")


def test_create_without_fault_does_not_compare() -> None:
    """A first answer "taken" is the truth, even if the same bytes are there: another wrote them."""
    inside = Failing()
    inside.create("a", b"same")
    with pytest.raises(ObjectExistsError):
        Retrying(inside, sleep=lambda _: None).create("a", b"same")


def test_comparing_is_tried_again_as_well() -> None:
    """A fault while comparing does not turn success into failure."""
    inside = Failing(lost(), lost(), lost(), after_effect=True)
    Retrying(inside, sleep=lambda _: None).create("a", b"ours")
    assert inside.faults == []


def test_requests_and_bytes_are_counted_by_verb() -> None:
    """Counts are exact, failures and retries included, also from many threads."""
    counted = Counted(MemoryStorage())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: counted.create(f"a/{number}", b"12345"), range(400)))
        list(pool.map(lambda number: counted.get(f"a/{number}", length=2), range(400)))
    with pytest.raises(ObjectExistsError):
        counted.create("a/0", memoryview(b"123"))
    with pytest.raises(ObjectMissingError):
        counted.get("nothing")
    counted.replace("a/0", b"1234567")
    counted.stat("a/0")
    counted.delete("a/0")
    assert len(list(counted.list("a/"))) == 399
    assert counted.traffic() == {
        "create": Traffic(requests=401, sent_bytes=2003),
        "get": Traffic(requests=401, received_bytes=800),
        "replace": Traffic(requests=1, sent_bytes=7),
        "stat": Traffic(requests=1),
        "delete": Traffic(requests=1),
        "list": Traffic(requests=1),
    }


class Clock:
    """Time that passes by waiting only."""

    def __init__(self) -> None:
        self.now = 100.0
        self._lock = threading.Lock()

    def read(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds


def test_rate_is_kept_on_average_up_and_down() -> None:
    """Beyond the first second's worth, bytes take their time in either direction."""
    clock = Clock()
    storage = Limited(MemoryStorage(), 1000, clock=clock.read, sleep=clock.wait)
    storage.create("a", bytes(1000))
    assert clock.now == 100
    storage.create("b", bytes(3000))
    assert clock.now == pytest.approx(103)
    storage.get("b")
    assert clock.now == pytest.approx(106)
    storage.replace("a", bytes(500))
    storage.get("b", offset=10, length=250)
    assert clock.now == pytest.approx(106.75)


def test_idle_time_saves_one_second_at_most() -> None:
    """After a long pause one second's worth goes at once, not more."""
    clock = Clock()
    storage = Limited(MemoryStorage(), 1000, clock=clock.read, sleep=clock.wait)
    clock.wait(3600)
    storage.create("a", bytes(2000))
    assert clock.now == pytest.approx(3701)


def test_all_threads_share_one_rate() -> None:
    """What waits is queued: four that come at the same moment wait for one another's bytes, too."""
    clock = Clock()
    waits: list[float] = []
    storage = Limited(MemoryStorage(), 1000, clock=clock.read, sleep=waits.append)
    threads = [threading.Thread(target=storage.create, args=(name, bytes(1000))) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(waits) == pytest.approx([1, 2, 3])


def test_a_sign_of_life_is_never_late() -> None:
    """What is replaced goes at once, however much is owed; the next object pays for it."""
    clock = Clock()
    storage = Limited(MemoryStorage(), 1000, clock=clock.read, sleep=clock.wait)
    storage.create("a", bytes(1000))
    storage.replace("heartbeat", bytes(500))
    assert clock.now == 100
    storage.create("b", bytes(500))
    assert clock.now == pytest.approx(101)


def test_rate_must_move_something() -> None:
    """A rate of nothing is a mistake in the settings."""
    with pytest.raises(UsageError):
        Limited(MemoryStorage(), 0)
