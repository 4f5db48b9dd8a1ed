"""Copy: snapshots replicated into other repositories, each of which has its own keys and its own retention.

A destination that fails neither blocks the others nor hides: its copies are reported as failed, with the reason.
What was copied is recorded on both sides, as are the checks that it passed.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime

from holdfast.domain.errors import (
    DamagedError,
    HoldfastError,
    InterruptedRunError,
    UsageError,
)
from holdfast.domain.events import Listener, Noticed, ignore
from holdfast.domain.ids import RANDOM_BYTES, SnapshotId, make_snapshot_id
from holdfast.domain.manifest import SnapshotSummary
from holdfast.repository.registers.outcomes import Committed
from holdfast.repository.registers.verifications import Verification, record_verification
from holdfast.repository.registers.writers import Purpose
from holdfast.repository.repo import Repository
from holdfast.repository.runs.company import alone
from holdfast.repository.runs.copies import Holdings, find_base, origin_of
from holdfast.repository.runs.pins import reading
from holdfast.workflows.copy_plan import CopySelection, Order, plan_copies
from holdfast.workflows.copy_report import CopyReport, CopyResult, CopyState, StillLacking
from holdfast.workflows.replicate import (
    BeingCopiedError,
    CopiedMeanwhileError,
    Replica,
    ReplicateOptions,
    damage_at,
    replicate,
)
from holdfast.workflows.settling import Undecided

Clock = Callable[[], datetime]


def now_utc() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What is to go to one destination. `name` is for reports; `open` is called once, when its turn comes."""

    name: str
    open: Callable[[], AbstractContextManager[Repository]]
    selection: CopySelection


def copy(
    source: Repository,
    errands: Sequence[Errand],
    *,
    place: str,
    options: ReplicateOptions,
    listener: Listener = ignore,
    interrupted: threading.Event | None = None,
    clock: Clock = now_utc,
) -> CopyReport:
    """Bring every destination what it is to have. Raises only if interrupted; failures are in the report.

    `place` is what the source repository is called in the report.
    """
    began = time.monotonic()
    copying = _Copying(source, place, options, listener, interrupted or threading.Event(), clock)
    for errand in errands:
        copying.run(errand)
    return CopyReport(
        copies=tuple(copying.results),
        lacking=tuple(copying.lacking),
        warnings=tuple(dict.fromkeys(copying.warnings)),
        seconds=time.monotonic() - began,
    )


class _Copying:
    """All errands of one run, one after the other."""

    def __init__(
        self,
        source: Repository,
        place: str,
        options: ReplicateOptions,
        listener: Listener,
        interrupted: threading.Event,
        clock: Clock,
    ) -> None:
        self._source = source
        self._place = place
        self._options = options
        self._listener = listener
        self._interrupted = interrupted
        self._clock = clock
        self.results: list[CopyResult] = []
        self.lacking: list[StillLacking] = []
        self.warnings: list[str] = []

    def run(self, errand: Errand) -> None:
        try:
            with errand.open() as destination:
                self._run_at(destination, errand)
        except InterruptedRunError:
            raise
        except HoldfastError as error:
            named = errand.selection.snapshots or (None,)
            settled = {result.snapshot for result in self.results if result.destination == errand.name}
            for snapshot in named:
                if snapshot is None or snapshot not in settled:
                    self._fail(errand, snapshot, errand.selection.source, error)

    def _run_at(self, destination: Repository, errand: Errand) -> None:
        if destination.config.repository_id == self._source.config.repository_id:
            raise UsageError(
                f"{errand.name} is the repository that the copies come from",
                hint="name another repository to copy to",
            )
        undecided = Undecided.of(self._source)  # before the outcomes: what is committed between is in either
        here, there = Holdings.of(self._source), Holdings.of(destination)
        plan = plan_copies(here, there, errand.selection, undecided=undecided)
        for snapshot, error in here.unreadable.items():
            self._fail(errand, snapshot, None, damage_at(self._source, error))
        for error in there.unreadable.values():  # if it was a copy, it is lacking now, and sent again
            self._fail(errand, None, None, damage_at(destination, error))
        for summary, copy_there in plan.present:
            self._present(errand, summary, copy_there)
        self.lacking += [
            StillLacking(destination=errand.name, source=item.source, snapshots=item.snapshots)
            for item in plan.lacking
        ]
        if not plan.orders:
            return
        bases = (find_base(here, there, order.summary) for order in plan.orders)
        wanted = (
            *(order.summary.snapshot for order in plan.orders),
            *(base.source.snapshot for base in bases if base is not None),
        )
        pinned = tuple(dict.fromkeys(wanted))
        done: list[tuple[Order, Replica]] = []
        try:
            with reading(self._source, pinned, purpose=Purpose.COPY, clock=self._clock) as pin:
                self._send_all(destination, errand, plan.orders, here, there, done)
            if pin.warning is not None:
                self.warnings.append(pin.warning)
        finally:
            if done:
                self._record(destination, done)

    def _send_all(
        self,
        destination: Repository,
        errand: Errand,
        orders: Sequence[Order],
        here: Holdings,
        there: Holdings,
        done: list[tuple[Order, Replica]],
    ) -> None:
        stopped: HoldfastError | None = None
        for order in orders:
            if stopped is not None:
                self._fail(errand, order.summary.snapshot, order.summary.source, stopped, CopyState.SKIPPED)
                continue
            began = time.monotonic()
            try:
                replica = self._send(destination, order, here, there)
            except CopiedMeanwhileError as error:
                order.arrived()
                self._present(errand, order.summary, error.copy)
            except InterruptedRunError:
                raise
            except HoldfastError as error:
                self._fail(errand, order.summary.snapshot, order.summary.source, error)
                if not isinstance(error, DamagedError | BeingCopiedError):
                    stopped = error
            else:
                done.append((order, replica))
                order.arrived()
                there.add(replica.summary)
                self._copied(errand, order, replica, time.monotonic() - began)

    def _send(self, destination: Repository, order: Order, here: Holdings, there: Holdings) -> Replica:
        origin = origin_of(self._source, order.summary)

        def look_again() -> SnapshotSummary | None:
            found = Holdings.of(destination).find(origin)
            return None if found is None or destination.graves.is_buried(found.snapshot) else found.summary

        return replicate(
            self._source,
            order.summary,
            destination,
            base=find_base(here, there, order.summary),
            options=self._options,
            settled=order.settled(),
            look_again=look_again,
            listener=self._listener,
            interrupted=self._interrupted,
            clock=self._clock,
        )

    def _record(self, destination: Repository, done: Sequence[tuple[Order, Replica]]) -> None:
        """The checks that the copies passed, at the destination; and that they were made, on both sides.

        The copies stand whatever becomes of these records.
        """
        at = self._clock()
        pairs = [[order.summary.snapshot, replica.summary.snapshot] for order, replica in done]
        ids = {"from": str(self._source.config.repository_id), "to": str(destination.config.repository_id)}
        facts = {**ids, "copies": pairs}
        try:
            with alone(destination, clock=self._clock):
                hint = _position_of(destination, done[-1][1].summary)
                for level in sorted({replica.level for _, replica in done}):
                    passed = tuple(replica.summary.snapshot for _, replica in done if replica.level == level)
                    record = make_snapshot_id(at, os.urandom(RANDOM_BYTES))
                    checked = Verification(record=record, level=level, at=at, passed=passed, failed=())
                    record_verification(destination, checked, journal_hint=hint)
                destination.journal.append("copied", facts, at=at, hint=hint)
            with alone(self._source, clock=self._clock):
                hint = _position_of(self._source, done[-1][0].summary)
                self._source.journal.append("copied", facts, at=at, hint=hint)
        except HoldfastError as error:
            self.warnings.append(f"the copies are committed, but not all of it is recorded: {error.message}")

    def _copied(self, errand: Errand, order: Order, replica: Replica, seconds: float) -> None:
        self.results.append(
            CopyResult(
                snapshot=order.summary.snapshot,
                source=order.summary.source,
                copy=replica.summary.snapshot,
                place=self._place,
                destination=errand.name,
                state=CopyState.COPIED,
                bytes_sent=replica.bytes_sent,
                chunks_sent=replica.chunks_sent,
                chunks_reused=replica.chunks_reused,
                level=replica.level,
                sent_level=replica.sent_level,
                seconds=seconds,
            )
        )

    def _present(self, errand: Errand, summary: SnapshotSummary, copy_there: SnapshotSummary) -> None:
        self.results.append(
            CopyResult(
                snapshot=summary.snapshot,
                source=summary.source,
                copy=copy_there.snapshot,
                place=self._place,
                destination=errand.name,
                state=CopyState.PRESENT,
            )
        )

    def _fail(
        self,
        errand: Errand,
        snapshot: SnapshotId | None,
        source: str | None,
        error: HoldfastError,
        state: CopyState = CopyState.FAILED,
    ) -> None:
        self._listener(Noticed(message=f"{errand.name} failed: {error.message}", hint=error.hint))
        self.results.append(
            CopyResult(
                snapshot=snapshot,
                source=source,
                copy=None,
                place=self._place,
                destination=errand.name,
                state=state,
                error=error,
            )
        )


def _position_of(repository: Repository, summary: SnapshotSummary) -> int:
    """A position of the journal that is known to exist, near its end."""
    outcome = repository.outcomes.read(summary.snapshot)
    return outcome.journal_position if isinstance(outcome, Committed) else 0
