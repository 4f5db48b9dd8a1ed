"""Requests beside each other: in order, in threads only where they wait, and ended by the first failure."""

from __future__ import annotations

import threading
import time

import pytest

from holdfast.repository.abreast import abreast

WAIT_SECONDS = 0.005


@pytest.mark.parametrize("run", [1, 7])
@pytest.mark.parametrize("count", [0, 3, 8, 9, 100])
def test_results_come_in_the_order_of_their_items(count: int, run: int) -> None:
    """However long each takes."""

    def work(item: int) -> int:
        time.sleep(WAIT_SECONDS if item % 3 else 0.001)
        return item

    assert list(abreast(work, range(count), threads=4, run=run)) == list(range(count))


def test_what_waits_is_done_side_by_side() -> None:
    """And never by more threads than allowed."""
    lock, now, most = threading.Lock(), 0, 0

    def work(_: int) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(WAIT_SECONDS)
        with lock:
            now -= 1

    list(abreast(work, range(60), threads=4))
    assert 1 < most <= 4


def test_with_one_thread_it_is_the_callers() -> None:
    """However long it waits: what must be repeatable asks for one."""

    def work(_: int) -> int:
        time.sleep(WAIT_SECONDS)
        return threading.get_ident()

    assert set(abreast(work, range(20), threads=1)) == {threading.get_ident()}


def test_a_failure_ends_it() -> None:
    """What came before it was handed out; most of what comes after is never begun."""
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        time.sleep(WAIT_SECONDS)
        if item == 20:
            raise OSError("gone")
        return item

    handed_out: list[int] = []
    with pytest.raises(OSError, match="gone"):
        handed_out.extend(abreast(work, range(1000), threads=4))
    assert len(begun) < 100


def test_no_more_results_wait_than_allowed() -> None:
    """A consumer that is slower than the storage is not buried in packs."""
    begun = 0
    lock = threading.Lock()

    def work(item: int) -> int:
        nonlocal begun
        with lock:
            begun += 1
        time.sleep(WAIT_SECONDS)
        return item

    for item in abreast(work, range(60), threads=4, ahead=4):
        time.sleep(0.003)
        assert begun <= item + 1 + 4 + 1
