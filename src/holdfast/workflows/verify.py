"""Verify: does the repository still hold what was written? Levels 0 to 3, every finding named, all recorded.

Invariant: a snapshot passes only if all that its level looks at was looked at, and nothing was found. What could
not be recorded is reported all the same, and says so."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from holdfast.domain.errors import HoldfastError, InterruptedRunError, UsageError
from holdfast.domain.events import Listener, PhaseBegan, RowsMoved, WorkPlanned, ignore
from holdfast.domain.ids import RANDOM_BYTES, SnapshotId, make_snapshot_id
from holdfast.domain.tables import QualifiedName
from holdfast.repository.checking.check import (
    Inventory,
    Problem,
    Severity,
    Uses,
    check_checksum,
    check_contents,
    check_presence,
)
from holdfast.repository.checking.history import check_history
from holdfast.repository.registers.outcomes import Committed
from holdfast.repository.registers.verifications import Verification
from holdfast.repository.repo import Repository
from holdfast.workflows.recording import RECORD_WAIT_SECONDS, record_check
from holdfast.workflows.reports import Finding, VerifyReport

HIGHEST_LEVEL = 3
WAYS_BACK = 100
"""For so many findings, one request each tells whether a versioned bucket still has what is missing."""


def now_utc() -> datetime:
    return datetime.now(UTC)


def verify(
    repository: Repository,
    snapshots: Sequence[SnapshotId] | None,
    *,
    level: int,
    jobs: int = 2,
    listener: Listener = ignore,
    interrupted: threading.Event | None = None,
    clock: Callable[[], datetime] = now_utc,
    record_wait_seconds: float = RECORD_WAIT_SECONDS,
) -> VerifyReport:
    """Check these snapshots, or all when None. The history (level 0) is checked whole in any case.

    Never raises for damage: that is what the findings are for. The result is recorded in the repository; where
    only one may write, once nobody else does, or not at all after so many seconds.
    """
    if not 0 <= level <= HIGHEST_LEVEL:
        raise UsageError(f"there is no level {level}", hint=f"choose 0 to {HIGHEST_LEVEL}")
    began = time.monotonic()
    stop = interrupted or threading.Event()
    checking = _Checking(repository, listener, stop)
    committed = checking.history(clock)
    wanted = sorted(committed) if snapshots is None else list(snapshots)
    checking.require(wanted, committed)
    objects, size = checking.objects([committed[item] for item in wanted if item in committed], level, jobs)
    findings, unseen = checking.findings(Severity.DAMAGED), checking.findings(Severity.UNSEEN)
    touched = {snapshot for finding in findings for snapshot in finding.snapshots}
    unknown = {snapshot for finding in unseen for snapshot in finding.snapshots}
    at = clock()
    unrecorded = record_check(
        repository,
        Verification(
            record=make_snapshot_id(at, os.urandom(RANDOM_BYTES)),
            level=level,
            at=at,
            passed=tuple(item for item in wanted if item not in touched | unknown),
            failed=tuple(item for item in wanted if item in touched),
        ),
        journal_hint=checking.journal_hint,
        clock=clock,
        listener=listener,
        interrupted=stop,
        wait_seconds=record_wait_seconds,
    )
    return VerifyReport(
        level=level,
        snapshots=tuple(wanted),
        objects=objects,
        bytes=size,
        seconds=time.monotonic() - began,
        findings=findings,
        unseen=unseen,
        accepted=checking.findings(Severity.ACCEPTED),
        hints=checking.findings(Severity.HINT),
        unrecorded=unrecorded,
    )


class _Checking:
    """One verification: collects problems, and merges those of the same object."""

    def __init__(self, repository: Repository, listener: Listener, interrupted: threading.Event) -> None:
        self._repository = repository
        self._listener = listener
        self._interrupted = interrupted
        self._problems: dict[tuple[str, str], Problem] = {}
        self.journal_hint = 0

    def report(self, problem: Problem) -> None:
        key = (problem.object_name, problem.problem)
        before = self._problems.get(key)
        if before is not None:
            problem = Problem(
                object_name=problem.object_name,
                snapshots=tuple(sorted({*before.snapshots, *problem.snapshots})),
                tables=tuple(sorted({*before.tables, *problem.tables})),
                problem=problem.problem,
                severity=problem.severity,
            )
        self._problems[key] = problem

    def history(self, clock: Callable[[], datetime]) -> dict[SnapshotId, Committed]:
        self._listener(PhaseBegan(phase="checking the history"))
        return check_history(self._repository, self.report, clock=clock)

    def require(self, wanted: Sequence[SnapshotId], committed: dict[SnapshotId, Committed]) -> None:
        """A snapshot that was asked for by name and is not there is a finding, unless something names it."""
        named = {snapshot for problem in self._problems.values() for snapshot in problem.snapshots}
        for snapshot in wanted:
            if snapshot not in committed and snapshot not in named:
                text = f"snapshot {snapshot} was never committed, or its outcome is gone"
                name = f"outcomes/{snapshot}"
                self.report(Problem(object_name=name, snapshots=(snapshot,), tables=(), problem=text))

    def objects(self, committed: Sequence[Committed], level: int, jobs: int) -> tuple[int, int]:
        """Levels 1 to 3 over all objects of these snapshots; returns how many objects and bytes were checked."""
        self._listener(PhaseBegan(phase="reading manifests"))
        inventory = Inventory(self._repository, self.report)
        for outcome in committed:
            self._stop_if_asked()
            inventory.add_snapshot(outcome.summary)
        objects = [uses for _, uses in sorted(inventory.objects.items())]
        if level == 0:
            return len(committed), 0
        self._listener(PhaseBegan(phase="listing objects"))
        checksums = check_presence(self._repository, objects, self.report)
        present = [uses for uses in objects if uses.name in checksums]
        if level == 1:
            return len(objects), sum(uses.size_bytes for uses in present)
        if level == 2:
            return len(objects), self._checksums(present, checksums)
        return len(objects), self._contents(present, jobs)

    def _checksums(self, objects: Sequence[Uses], vouched: dict[str, str | None]) -> int:
        self._listener(PhaseBegan(phase="comparing checksums"))
        self._plan(objects)
        for uses in objects:
            self._stop_if_asked()
            if problem := check_checksum(self._repository, uses, vouched[uses.name]):
                self.report(problem)
            self._moved(uses, uses.size_bytes)
        return sum(uses.size_bytes for uses in objects)

    def _contents(self, objects: Sequence[Uses], jobs: int) -> int:
        self._listener(PhaseBegan(phase="reading every object"))
        self._plan(objects)
        total = 0
        for uses, plain_bytes, problem in check_contents(self._repository, objects, jobs=jobs):
            self._stop_if_asked()
            if problem is not None:
                self.report(problem)
            total += plain_bytes
            self._moved(uses, plain_bytes)
        return total

    def _plan(self, objects: Sequence[Uses]) -> None:
        tables = {table for uses in objects for table in uses.tables}
        plain = sum(ref.plain_bytes for uses in objects for _, ref in uses.blobs.values())
        self._listener(WorkPlanned(tables=len(tables), bytes_estimate=plain, rows_estimate=0))

    def _moved(self, uses: Uses, size: int) -> None:
        table = min(uses.tables, default=QualifiedName(schema="", name="definitions"))
        self._listener(RowsMoved(table=table, rows=0, bytes=size))

    def _stop_if_asked(self) -> None:
        if self._interrupted.is_set():
            raise InterruptedRunError("interrupted; what was not looked at is not verified")

    def findings(self, severity: Severity) -> tuple[Finding, ...]:
        found = [problem for _, problem in sorted(self._problems.items()) if problem.severity is severity]
        return tuple(
            Finding(
                object_name=problem.object_name,
                snapshots=problem.snapshots,
                tables=problem.tables,
                problem=problem.problem + (self._way_back(problem) if count < WAYS_BACK else ""),
            )
            for count, problem in enumerate(found)
        )

    def _way_back(self, problem: Problem) -> str:
        """What is locked can be hidden and not destroyed: then an earlier version is there."""
        locks = self._repository.storage.locks
        if locks is None:
            return ""
        try:
            command = locks.way_back(problem.object_name)
        except HoldfastError:
            return ""  # who may not look is no wiser, and the finding stands
        return f"; an earlier version is there, and comes back with: {command}" if command else ""
