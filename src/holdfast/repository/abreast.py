"""Many small requests to a storage, several at a time where they take long.

Over a network waiting is all there is, and threads wait beside each other. On a disk a thread costs more than it
saves: calls that let go of the interpreter's lock for a moment wait longer for it than they work. So the first few
are made in the caller's thread, what they took decides how the next ones are made, and now and then that is asked
again.
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

_QUICK_SECONDS = 0.001
_PROBE = 8
_ROUND = 1024


def abreast(
    work: Callable[[K], T], items: Iterable[K], *, threads: int, ahead: int | None = None
) -> Iterator[T]:
    """`work` of every item, in their order, in the caller's thread or in `threads` of them.

    At most `ahead` results (as many as twice the threads, if left out) wait for the consumer. What `work` raises
    is raised in its place; then nothing more is begun.
    """
    rest = iter(items)
    while True:
        spent = []
        for item in islice(rest, _PROBE):
            began = time.perf_counter()
            result = work(item)
            spent.append(time.perf_counter() - began)
            yield result
        if len(spent) < _PROBE:
            return
        # The quickest one: where the processors are busy, or the disk stutters, some are slow in any case.
        if min(spent) > _QUICK_SECONDS and threads > 1:
            yield from _in_threads(work, islice(rest, _ROUND), threads, ahead or 2 * threads)


def _in_threads(work: Callable[[K], T], items: Iterator[K], threads: int, ahead: int) -> Iterator[T]:
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="holdfast-abreast") as pool:
        try:
            waiting.extend(pool.submit(work, item) for item in islice(items, ahead))
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(work, item) for item in islice(items, 1))
                yield result
        finally:
            for future in waiting:
                future.cancel()
