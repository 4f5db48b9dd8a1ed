"""Backup: one consistent instant of one source, captured, stored, and committed as a whole or not at all."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime

from holdfast.domain.coverage import is_partial
from holdfast.domain.errors import DamagedError, HoldfastError
from holdfast.domain.events import Listener, Noticed, ignore
from holdfast.domain.ids import RANDOM_BYTES, SnapshotId, make_snapshot_id
from holdfast.domain.manifest import SnapshotState, SnapshotSummary
from holdfast.repository.repo import Repository
from holdfast.repository.runs.predecessors import Predecessors
from holdfast.repository.runs.run import Run
from holdfast.workflows.parent import Parent, load_parent
from holdfast.workflows.refuted import Refutation, note_refuted
from holdfast.workflows.reports import BackupReport
from holdfast.workflows.taking import (
    DEFAULT_FULL_EVERY_DAYS,
    DEFAULT_JOBS,
    DEFAULT_LOCK_TIMEOUT_SECONDS,
    BackupOptions,
    BackupSource,
    Taking,
    TakingOrder,
    take,
)
from holdfast.workflows.turn import take_turn, within

__all__ = [
    "DEFAULT_FULL_EVERY_DAYS",
    "DEFAULT_JOBS",
    "DEFAULT_LOCK_TIMEOUT_SECONDS",
    "BackupOptions",
    "BackupSource",
    "backup",
]

Clock = Callable[[], datetime]


def now_utc() -> datetime:
    return datetime.now(UTC)


def thread_pool(jobs: int) -> Executor:
    return ThreadPoolExecutor(jobs, thread_name_prefix="holdfast-read")


def backup(
    source: BackupSource,
    repository: Repository,
    *,
    options: BackupOptions,
    listener: Listener = ignore,
    interrupted: threading.Event | None = None,
    clock: Clock = now_utc,
    make_executor: Callable[[int], Executor] = thread_pool,
) -> BackupReport:
    """Take a snapshot. Returns only when it is committed; raises otherwise, and nothing is committed then.

    One run of a source at a time: `SteppedAsideError` if another is alive. `OutOfTimeError` if it takes too long.

    `make_executor` gives the executor for range tasks: threads by default; any other must reach the same
    storage from its processes.
    """
    began = time.monotonic()
    with within(options.max_runtime, interrupted) as deadline:
        run, predecessors = take_turn(
            repository,
            source.name,
            make_id=lambda now: make_snapshot_id(now, os.urandom(RANDOM_BYTES)),
            level=options.compression_level,
            clock=clock,
            listener=listener,
            interrupted=deadline,
            wait_seconds=options.wait_seconds,
        )
        with run:
            try:
                left = run.adopt(predecessors.crashed)
                if len(left):
                    listener(Noticed(message=f"an earlier run died; {len(left)} of its chunks may be reused"))
                parent = _parent_of(run, predecessors, options, listener)
                taking = take(
                    TakingOrder(
                        source=source,
                        run=run,
                        parent=parent,
                        left=left,
                        options=options,
                        started_at=run.record.started_at,
                        listener=listener,
                        interrupted=deadline,
                        make_executor=make_executor,
                    )
                )
                root = taking.root
                refutation = _refutation(taking, run, parent, clock)
                state = SnapshotState.PARTIAL if is_partial(root.coverage) else SnapshotState.COMMITTED
                summary = run.commit(root, state=state, stored_bytes=taking.bytes_stored)
            except BaseException:
                # The next run adopts what was stored; saying so early only saves it the wait.
                with suppress(HoldfastError):
                    run.give_up()
                raise
    return _report(
        taking,
        summary,
        seconds=time.monotonic() - began,
        adopted=max(left.snapshots(), default=None),
        warnings=run.warnings,
        refutation=refutation,
    )


def _refutation(taking: Taking, run: Run, parent: Parent, clock: Clock) -> Refutation | None:
    tables = taking.captured.refuted
    if not tables or parent.root is None:
        return None
    return note_refuted(run.repository, tables, snapshot=run.snapshot, parent=parent.root, at=clock())


def _parent_of(run: Run, predecessors: Predecessors, options: BackupOptions, listener: Listener) -> Parent:
    """The newest snapshot, as far as its blobs may be reused. Damage of it raises `DamagedError`: it must be heard
    of, and only a run with `full` goes on."""
    newest, damage = predecessors.parent, predecessors.newest_damage
    if damage is not None and not options.full:
        raise DamagedError(
            f"the newest snapshot of {run.record.source} cannot be built on: {damage.message}",
            object_name=damage.object_name,
            hint="run holdfast verify --level 0; backup --full goes on without that snapshot",
        ) from damage
    if newest is None or not run.still_stands(newest.snapshot):
        return Parent()
    try:
        if not run.repository.shares_identities(newest):
            listener(Noticed(message="the keys were changed after a compromise: all is read and stored anew"))
            return Parent()
        return load_parent(run.repository, newest)
    except DamagedError as error:
        if not options.full:
            raise
        listener(Noticed(message=f"building on no earlier snapshot: {error.message}"))
        return Parent()


def _report(
    taking: Taking,
    summary: SnapshotSummary,
    *,
    seconds: float,
    adopted: SnapshotId | None,
    warnings: tuple[str, ...],
    refutation: Refutation | None,
) -> BackupReport:
    root, captured = taking.root, taking.captured
    return BackupReport(
        snapshot=root.snapshot,
        source=root.source,
        state=summary.state,
        taken_at=root.instant.taken_at,
        seconds=seconds,
        tables=len(root.tables),
        rows=root.rows,
        bytes=root.plain_bytes + root.large_objects.size_bytes,
        bytes_read=sum(reading.bytes_read for reading in captured.readings) + root.large_objects.size_bytes,
        bytes_stored=summary.stored_bytes,
        chunks_stored=captured.chunks_stored,
        chunks_reused=captured.chunks_reused,
        definitions_reused=taking.definitions_reused,
        reason=taking.ground.reason,
        parent=root.parent,
        adopted=adopted,
        coverage=root.coverage,
        readings=captured.readings,
        warnings=(*([refutation.message] if refutation else ()), *taking.warnings, *warnings),
        refuted=refutation.tables if refutation else (),
        suspects=refutation.suspects if refutation else (),
    )
