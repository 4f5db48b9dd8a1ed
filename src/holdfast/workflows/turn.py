"""When a run may go on: one run of a source at a time, and none for longer than it was given."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

from holdfast.domain.durations import describe_duration
from holdfast.domain.errors import HoldfastError, InterruptedRunError, OutOfTimeError, SteppedAsideError
from holdfast.domain.events import Listener, Noticed
from holdfast.domain.ids import SnapshotId
from holdfast.repository.repo import Repository
from holdfast.repository.runs.overlap import require_alone, stay_alone
from holdfast.repository.runs.predecessors import Predecessors, find_predecessors
from holdfast.repository.runs.run import Run

Clock = Callable[[], datetime]

WAIT_STEP_SECONDS = 2.0


class Deadline(threading.Event):
    """`interrupted` of a run that is also over when its time is: set by whoever sets `outer`, or by the clock."""

    def __init__(
        self,
        outer: threading.Event | None,
        limit: timedelta | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._outer = outer
        self._clock = clock
        self._ends_at = None if limit is None else clock() + limit.total_seconds()

    @property
    def is_over(self) -> bool:
        return self._ends_at is not None and self._clock() >= self._ends_at

    def is_set(self) -> bool:
        return super().is_set() or (self._outer is not None and self._outer.is_set()) or self.is_over

    def wait(self, timeout: float | None = None) -> bool:
        """In short steps: no one event stands for all that can end the run."""
        ends_at = None if timeout is None else time.monotonic() + timeout
        while not self.is_set():
            left = 0.1 if ends_at is None else min(0.1, ends_at - time.monotonic())
            if left <= 0:
                break
            super().wait(left)
        return self.is_set()


@contextmanager
def within(limit: timedelta | None, interrupted: threading.Event | None) -> Iterator[Deadline]:
    """What happens in here stops when `limit` is over, with `OutOfTimeError`. None: no limit."""
    deadline = Deadline(interrupted, limit)
    try:
        yield deadline
    except InterruptedRunError as error:
        if limit is None or not deadline.is_over or (interrupted is not None and interrupted.is_set()):
            raise
        raise OutOfTimeError(
            f"gave up after {describe_duration(limit)}, as the limit on run time says; nothing was committed",
            hint="run it again: it reuses what this run has stored; give it more time with --max-runtime",
        ) from error


def take_turn(
    repository: Repository,
    source: str,
    *,
    make_id: Callable[[datetime], SnapshotId],
    level: int,
    clock: Clock,
    listener: Listener,
    interrupted: threading.Event,
    wait_seconds: float = 0.0,
) -> tuple[Run, Predecessors]:
    """Announce a run once no other run of the source is alive, waiting so long at most; else `SteppedAsideError`.

    The run is given as it is; the caller enters it.
    """
    ends_at = time.monotonic() + wait_seconds
    told: str | None = None
    while True:
        try:
            return _begin_alone(repository, source, make_id=make_id, level=level, clock=clock)
        except SteppedAsideError as error:
            if time.monotonic() >= ends_at:
                raise
            if told != error.snapshot:
                told = error.snapshot
                listener(Noticed(message=f"waiting: {error.message}"))
        if interrupted.wait(min(WAIT_STEP_SECONDS, max(0.0, ends_at - time.monotonic()))):
            raise InterruptedRunError("interrupted while waiting for another run; nothing was done")


def _begin_alone(
    repository: Repository,
    source: str,
    *,
    make_id: Callable[[datetime], SnapshotId],
    level: int,
    clock: Clock,
) -> tuple[Run, Predecessors]:
    now = clock()
    require_alone(repository, source, now=now)
    predecessors = find_predecessors(repository, source, now=now)
    run = Run.begin(
        repository,
        snapshot=make_id(now),
        source=source,
        predecessors=predecessors,
        level=level,
        clock=clock,
    )
    try:
        stay_alone(run, clock=clock)
    except BaseException:
        with suppress(HoldfastError):
            run.withdraw()
        raise
    return run, predecessors
