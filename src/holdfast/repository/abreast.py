"""Many small requests to a storage, several at a time where they take long.

Over a network waiting is all there is, and threads wait beside each other. On a disk a thread costs more than it
saves: calls that let go of the interpreter's lock for a moment wait longer for it than they work. So the first few
are made in the caller's thread, how long they waited decides how the next ones are made, and now and then that is
asked again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
K = TypeVar("K")

_QUICK_SECONDS = 0.0002
_PROBE = 8
_ROUND = 4096


def abreast(
    work: Callable[[K], T], items: Iterable[K], *, threads: int, ahead: int | None = None, run: int = 1
) -> Iterator[T]:
    """`work` of every item, in their order, in the caller's thread or in `threads` of them.

    A thread takes `run` items at a time: more than one where `work` may take less than handing it over. At most
    `ahead` runs (twice as many as threads, if left out) wait for the consumer. What `work` raises is raised in its
    run's place; then nothing more is begun.
    """
    rest = iter(items)
    while True:
        waited, done = 0.0, 0
        for item in islice(rest, _PROBE):
            began, worked = time.perf_counter(), time.thread_time()
            result = work(item)
            waited += time.perf_counter() - began - (time.thread_time() - worked)
            done += 1
            yield result
        if done < _PROBE:
            return
        if waited > _QUICK_SECONDS * _PROBE and threads > 1:
            runs = _runs(islice(rest, _ROUND), run)
            yield from _in_threads(work, runs, threads, ahead or 2 * threads)


def _runs(items: Iterator[K], length: int) -> Iterator[list[K]]:
    while run := list(islice(items, length)):
        yield run


def _in_threads(work: Callable[[K], T], runs: Iterator[list[K]], threads: int, ahead: int) -> Iterator[T]:
    def work_off(run: list[K]) -> list[T]:
        return [work(item) for item in run]

    waiting: deque[Future[list[T]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="holdfast-abreast") as pool:
        try:
            waiting.extend(pool.submit(work_off, run) for run in islice(runs, ahead))
            while waiting:
                results = waiting.popleft().result()
                waiting.extend(pool.submit(work_off, run) for run in islice(runs, 1))
                yield from results
        finally:
            for future in waiting:
                future.cancel()
