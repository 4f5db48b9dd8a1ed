"""A small scheduler: tasks with an order, a worth and locks, run by a few threads that each own a worker.

Invariant: a task runs only after everything it waits for has succeeded, and never beside a task that holds one
of its locks. The first failure (or an interruption) stops everything: running work is cancelled, nothing new is
begun, and the first failure is what the caller gets.
"""

from __future__ import annotations

import heapq
import threading
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from holdfast.domain.errors import InterruptedRunError

Worker = TypeVar("Worker")

_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(Generic[Worker]):
    """One piece of work.

    `key` names it to those that wait for it (`after`). `rank` orders first (0 is most urgent), then `cost`
    (seconds, or anything proportional to them) together with the cost of what waits for it: long chains start
    early. `exclusive` locks are held alone, `shared` ones together with other sharers.
    """

    key: Hashable
    run: Callable[[Worker], None]
    rank: int = 0
    cost: float = 0.0
    after: frozenset[Hashable] = frozenset()
    exclusive: frozenset[Hashable] = frozenset()
    shared: frozenset[Hashable] = frozenset()


def run_tasks(
    tasks: Collection[Task[Worker]],
    workers: Sequence[Worker],
    *,
    cancel: Callable[[Worker], None],
    interrupted: threading.Event,
    stopping: threading.Event | None = None,
) -> None:
    """Run all tasks, one thread per worker; return when all are done.

    `cancel` is called from another thread to make a worker's running task fail soon; it may be called again
    and must not raise. `stopping` is set when no more work is wanted, for tasks that look. Raises the first
    failure as it was, `InterruptedRunError` once `interrupted` is set, `ValueError` if tasks wait for each other.
    """
    if not tasks:
        return
    run = _Run(tasks, stopping or threading.Event())
    threads = [
        threading.Thread(target=run.work, args=(worker,), name=f"holdfast-worker-{number}")
        for number, worker in enumerate(workers)
    ]
    try:
        for thread in threads:
            thread.start()
        run.wait(interrupted)
    finally:
        run.stop()
        while any(thread.is_alive() for thread in threads):
            for worker in run.busy():
                cancel(worker)
            for thread in threads:
                if thread.ident is not None:
                    thread.join(_POLL_SECONDS)
    if run.failure is not None:
        raise run.failure


@dataclass(slots=True)
class _Graph(Generic[Worker]):
    """Who waits for whom, and how urgent each task is once its followers are counted in."""

    tasks: Mapping[Hashable, Task[Worker]]
    followers: dict[Hashable, list[Hashable]] = field(default_factory=dict)
    urgency: dict[Hashable, tuple[int, float, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, tasks: Collection[Task[Worker]]) -> _Graph[Worker]:
        graph = cls({task.key: task for task in tasks})
        if len(graph.tasks) != len(tasks):
            raise ValueError("two tasks have the same key")
        for task in tasks:
            for key in task.after:
                if key not in graph.tasks:
                    raise ValueError(f"task {task.key!r} waits for {key!r}, which is no task")
                graph.followers.setdefault(key, []).append(task.key)
        graph._rate(graph._in_order())
        return graph

    def _in_order(self) -> list[Hashable]:
        waiting = {key: len(task.after) for key, task in self.tasks.items()}
        ordered = [key for key, count in waiting.items() if count == 0]
        for key in ordered:  # grows while it is walked
            for follower in self.followers.get(key, ()):
                waiting[follower] -= 1
                if waiting[follower] == 0:
                    ordered.append(follower)
        if len(ordered) != len(self.tasks):
            stuck = next(key for key, count in waiting.items() if count)
            raise ValueError(f"tasks wait for each other, among them {stuck!r}")
        return ordered

    def _rate(self, ordered: list[Hashable]) -> None:
        """A task is as urgent as the most urgent that waits for it, and as long as the longest chain from it."""
        position = {key: number for number, key in enumerate(self.tasks)}
        for key in reversed(ordered):
            task = self.tasks[key]
            rank, rest = task.rank, 0.0
            for follower in self.followers.get(key, ()):
                its_rank, its_length, _ = self.urgency[follower]
                rank, rest = min(rank, its_rank), max(rest, -its_length)
            self.urgency[key] = (rank, -(task.cost + rest), position[key])


class _Run(Generic[Worker]):
    """The state that the threads share, behind one condition."""

    def __init__(self, tasks: Collection[Task[Worker]], stopping: threading.Event) -> None:
        self._graph = _Graph.of(tasks)
        self._waits = {task.key: len(task.after) for task in tasks}
        self._ready = [(self._graph.urgency[task.key], task.key) for task in tasks if not task.after]
        heapq.heapify(self._ready)
        self._left = len(tasks)
        self._exclusive: set[Hashable] = set()
        self._shared: Counter[Hashable] = Counter()
        self._busy: list[Worker] = []
        self._changed = threading.Condition()
        self._stopping = stopping
        self.failure: BaseException | None = None

    def wait(self, interrupted: threading.Event) -> None:
        with self._changed:
            while self._left and self.failure is None:
                if interrupted.is_set():
                    self.failure = InterruptedRunError("stopped on request")
                    return
                self._changed.wait(_POLL_SECONDS)

    def stop(self) -> None:
        with self._changed:
            self._stopping.set()
            self._changed.notify_all()

    def busy(self) -> list[Worker]:
        with self._changed:
            return list(self._busy)

    def work(self, worker: Worker) -> None:
        while (task := self._take(worker)) is not None:
            try:
                task.run(worker)
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
                self._finish(worker, task, error)
                return
            self._finish(worker, task, None)

    def _take(self, worker: Worker) -> Task[Worker] | None:
        with self._changed:
            while True:
                if not self._left or self.failure is not None or self._stopping.is_set():
                    return None
                task = self._pop()
                if task is not None:
                    self._exclusive |= task.exclusive
                    self._shared.update(task.shared)
                    self._busy.append(worker)
                    return task
                self._changed.wait(_POLL_SECONDS)

    def _pop(self) -> Task[Worker] | None:
        """The most urgent task whose locks are free."""
        blocked: list[tuple[tuple[int, float, int], Hashable]] = []
        found: Task[Worker] | None = None
        while self._ready and found is None:
            item = heapq.heappop(self._ready)
            task = self._graph.tasks[item[1]]
            if self._is_free(task):
                found = task
            else:
                blocked.append(item)
        for item in blocked:
            heapq.heappush(self._ready, item)
        return found

    def _is_free(self, task: Task[Worker]) -> bool:
        if any(lock in self._exclusive or self._shared[lock] for lock in task.exclusive):
            return False
        return not any(lock in self._exclusive for lock in task.shared)

    def _finish(self, worker: Worker, task: Task[Worker], error: BaseException | None) -> None:
        with self._changed:
            self._busy = [other for other in self._busy if other is not worker]
            self._exclusive -= task.exclusive
            self._shared.subtract(task.shared)
            if error is not None:
                if self.failure is None:
                    self.failure = error
            else:
                self._left -= 1
                for follower in self._graph.followers.get(task.key, ()):
                    self._waits[follower] -= 1
                    if self._waits[follower] == 0:
                        heapq.heappush(self._ready, (self._graph.urgency[follower], follower))
            self._changed.notify_all()
