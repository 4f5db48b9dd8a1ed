"""The connections of one restore and the threads that use them, with what the restore has to say in the end.

Invariant: whatever runs through a crew stops within seconds once the restore is interrupted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from holdfast.domain.errors import InterruptedRunError
from holdfast.domain.events import Listener, PhaseBegan
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.connection import Connection, connect
from holdfast.postgres.loading import Worker
from holdfast.postgres.rebuild_plan import RebuildPlan
from holdfast.postgres.target import TargetFacts
from holdfast.postgres.target_connection import APPLICATION_NAME, connect_as_user, connect_for_restore
from holdfast.postgres.tasks import Task, run_tasks

# The most that maintenance_work_mem can be on every platform.
MOST_MEMORY_BYTES = 2 * 1024 * 1024 * 1024 - 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """`address` is pinned: every connection reaches the very server that was examined. `memory_bytes` is what one
    worker may take to build an index. `warnings` and `left_out` grow as in `Rebuilt`."""

    plan: RebuildPlan
    address: ServerAddress
    memory_bytes: int
    listener: Listener
    interrupted: threading.Event
    workers: tuple[Worker, ...]
    warnings: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @classmethod
    @contextmanager
    def gathered(
        cls,
        plan: RebuildPlan,
        address: ServerAddress,
        facts: TargetFacts,
        *,
        listener: Listener,
        interrupted: threading.Event,
    ) -> Iterator[Crew]:
        """A crew of `plan.jobs` workers, whose connections are closed at the end."""
        with connect(address, application_name=APPLICATION_NAME, purpose="target") as connection:
            pinned = address.pinned(connection)
        jobs = max(plan.jobs, 1)
        total = plan.maintenance_memory_bytes or facts.maintenance_memory_bytes
        memory = min(total // jobs, MOST_MEMORY_BYTES)
        open_one = partial(
            connect_for_restore, pinned, snapshot=plan.snapshot, maintenance_memory_bytes=memory
        )
        crew = cls(
            plan=plan,
            address=pinned,
            memory_bytes=memory,
            listener=listener,
            interrupted=interrupted,
            workers=tuple(Worker(pinned, open_one) for _ in range(jobs)),
        )
        try:
            yield crew
        finally:
            for worker in crew.workers:
                worker.close()

    @property
    def connection(self) -> Connection:
        """The first worker's."""
        return self.workers[0].connection

    def run(self, tasks: Sequence[Task[Worker]], stopping: threading.Event | None = None) -> None:
        """All tasks, by all workers."""
        run_tasks(tasks, self.workers, cancel=Worker.cancel, interrupted=self.interrupted, stopping=stopping)

    def do(self, phase: str, step: Callable[[Worker], None]) -> None:
        """One step of the restore, by one worker."""
        self.begin(phase)
        self._alone(step, self.workers[0])

    def do_as_user(self, phase: str, step: Callable[[Worker], None]) -> None:
        """One step on a connection that has the database's own settings."""
        self.begin(phase)
        worker = Worker(self.address, partial(connect_as_user, self.address, snapshot=self.plan.snapshot))
        try:
            self._alone(step, worker)
        finally:
            worker.close()

    def begin(self, phase: str) -> None:
        """Announce a step. Raises `InterruptedRunError` if the restore is to end."""
        if self.interrupted.is_set():
            raise InterruptedRunError("stopped on request")
        self.listener(PhaseBegan(phase=phase))

    def _alone(self, step: Callable[[Worker], None], worker: Worker) -> None:
        run_tasks([Task(key="step", run=step)], [worker], cancel=Worker.cancel, interrupted=self.interrupted)
