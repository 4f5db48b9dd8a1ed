"""The scheduler: order, locks, urgency, and that the first failure ends everything."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from holdfast.domain.errors import InterruptedRunError
from holdfast.postgres.tasks import Task, run_tasks
from patience import PATIENCE_SECONDS, wait_until

Log = list[str]


def run(tasks: list[Task[int]], *, workers: int = 1, interrupted: threading.Event | None = None) -> None:
    run_tasks(
        tasks, list(range(workers)), cancel=lambda _: None, interrupted=interrupted or threading.Event()
    )


def noting(log: Log, name: str) -> Callable[[int], None]:
    return lambda _: log.append(name)


def test_tasks_run_after_what_they_wait_for() -> None:
    """A chain runs in its order, however its tasks are listed."""
    log: Log = []
    run(
        [
            Task(key="c", run=noting(log, "c"), after=frozenset({"b"})),
            Task(key="b", run=noting(log, "b"), after=frozenset({"a"})),
            Task(key="a", run=noting(log, "a")),
        ],
        workers=3,
    )
    assert log == ["a", "b", "c"]


def test_lower_rank_and_longer_chains_come_first() -> None:
    """The most urgent rank first; within it, what holds up the longest chain."""
    log: Log = []
    run(
        [
            Task(key="late", run=noting(log, "late"), rank=1, cost=100),
            Task(key="short", run=noting(log, "short"), cost=5),
            Task(key="head", run=noting(log, "head"), cost=1),
            Task(key="tail", run=noting(log, "tail"), cost=10, after=frozenset({"head"})),
        ]
    )
    assert log == ["head", "tail", "short", "late"]


def test_what_an_urgent_task_waits_for_is_urgent() -> None:
    """A task of low rank that a vital one waits for is not left to the end."""
    log: Log = []
    run(
        [
            Task(key="other", run=noting(log, "other"), rank=1, cost=50),
            Task(key="needed", run=noting(log, "needed"), rank=2),
            Task(key="vital", run=noting(log, "vital"), rank=0, after=frozenset({"needed"})),
        ]
    )
    assert log == ["needed", "vital", "other"]


def test_an_exclusive_lock_is_held_alone() -> None:
    """Sharers run beside each other; whoever holds the lock alone runs beside none of them."""
    inside: Log = []
    seen: set[frozenset[str]] = set()
    guard, together = threading.Lock(), threading.Event()
    sharers: Log = []

    def body(name: str) -> Callable[[int], None]:
        def work(_: int) -> None:
            with guard:
                inside.append(name)
                seen.add(frozenset(inside))
            # Whoever may run beside this one has its chance to come in; two sharers wait for each other, once.
            if name.startswith("shared") and not together.is_set():
                sharers.append(name)
                wait_until(lambda: len(sharers) > 1, "a second sharer")
                together.set()
            time.sleep(0.01)
            with guard:
                seen.add(frozenset(inside))
                inside.remove(name)

        return work

    tasks = [
        Task(key=f"{kind}{number}", run=body(f"{kind}{number}"), **{kind: frozenset({"t"})})  # type: ignore[arg-type]
        for number in range(4)
        for kind in ("shared", "exclusive")
    ]
    run(tasks, workers=4)
    assert any(len(group) > 1 for group in seen)
    assert all(len(group) == 1 for group in seen if any("exclusive" in name for name in group))


def test_the_first_failure_is_raised_and_stops_the_rest() -> None:
    """Nothing new begins after a failure, running work is cancelled, and the failure arrives as it was."""
    log: Log = []
    cancelled = threading.Event()

    def long(_: int) -> None:
        if not cancelled.wait(PATIENCE_SECONDS):
            log.append("ran to its end")
        raise RuntimeError("cancelled")

    def failing(_: int) -> None:
        raise LookupError("the first")

    tasks = [
        Task(key="long", run=long, cost=9),
        Task(key="failing", run=failing, cost=8),
        *(Task(key=number, run=noting(log, "began"), cost=1) for number in range(20)),
    ]
    with pytest.raises(LookupError, match="the first"):
        run_tasks(tasks, [0, 1], cancel=lambda _: cancelled.set(), interrupted=threading.Event())
    assert log == []


def test_an_interruption_stops_within_seconds() -> None:
    """Once asked to stop, running work is cancelled and the run ends as interrupted."""
    interrupted, cancelled = threading.Event(), threading.Event()

    def long(_: int) -> None:
        interrupted.set()
        assert cancelled.wait(PATIENCE_SECONDS)

    with pytest.raises(InterruptedRunError):
        run_tasks(
            [Task(key="long", run=long), Task(key="next", run=long, after=frozenset({"long"}))],
            [0],
            cancel=lambda _: cancelled.set(),
            interrupted=interrupted,
        )


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ([("a", "b"), ("b", "a")], "wait for each other"),
        ([("a", "nothing")], "which is no task"),
        ([("a", None), ("a", None)], "same key"),
    ],
)
def test_impossible_orders_are_refused(tasks: list[tuple[str, str | None]], said: str) -> None:
    """Circles, unknown names and double names are mistakes of ours, found before anything runs."""
    built: list[Task[int]] = [
        Task(key=key, run=lambda _: None, after=frozenset({after} if after else ())) for key, after in tasks
    ]
    with pytest.raises(ValueError, match=said):
        run(built)


def test_ten_thousand_tasks_cost_little() -> None:
    """The scheduler itself is no burden, even when every task wants the same lock."""
    tasks: list[Task[int]] = [
        Task(key=number, run=lambda _: None, cost=number % 7, exclusive=frozenset({"t"}))
        for number in range(10_000)
    ]
    began = time.monotonic()
    run(tasks, workers=2)
    assert time.monotonic() - began < 100
