"""Reading all rows and large objects of a source: tasks handed to an executor, results gathered.

The session that holds the locks and the snapshot is asked all the while whether it still lives; if it died, or
the operator asked to stop, the running reads are made to fail at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, replace

from holdfast.domain.errors import InterruptedRunError
from holdfast.domain.events import Listener, RowsMoved, TableFinished, WorkPlanned
from holdfast.domain.manifest import LargeObject, RangeRecord, TableManifest
from holdfast.domain.ranges import PageRange
from holdfast.domain.tables import Table
from holdfast.workflows.large_objects import LargeObjectResult, cut_tasks, run_large_object_task
from holdfast.workflows.parent import Parent
from holdfast.workflows.plan import pages_per_range_of, plan_tasks, ranges_of
from holdfast.workflows.reading import (
    PartResult,
    RangeTask,
    TablePart,
    WorkerContext,
    abort_readers,
    close_readers,
    run_task,
)
from holdfast.workflows.reports import TableReading

LIVENESS_SECONDS = 1.0

MakeExecutor = Callable[[int], Executor]
Result = tuple[PartResult, ...] | LargeObjectResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """All rows and large objects of one snapshot, stored. `manifests` are in the order of the tables."""

    manifests: tuple[TableManifest, ...]
    readings: tuple[TableReading, ...]
    large_objects: tuple[LargeObject, ...]
    bytes_stored: int
    chunks_stored: int
    chunks_reused: int


@dataclass(slots=True)
class _Gathering:
    """What has come back of one table so far."""

    table: Table
    pages_per_range: int
    expected: int
    records: list[RangeRecord]
    bytes_stored: int = 0
    chunks_stored: int = 0
    chunks_reused: int = 0

    def manifest(self) -> TableManifest:
        table = self.table
        return TableManifest(
            oid=table.oid,
            name=table.name,
            columns=table.columns,
            filenode=table.filenode,
            fingerprint=table.fingerprint,
            unlogged=table.unlogged,
            condition=table.condition,
            extension=table.extension,
            load_via=table.load_via,
            pages_per_range=self.pages_per_range,
            ranges=tuple(sorted(self.records, key=lambda record: record.pages.first)),
        )

    def reading(self) -> TableReading:
        return TableReading(
            name=self.table.name,
            rows=sum(record.rows for record in self.records),
            bytes_read=sum(chunk.blob.plain_bytes for record in self.records for chunk in record.chunks),
            bytes_stored=self.bytes_stored,
            chunks_stored=self.chunks_stored,
            chunks_reused=self.chunks_reused,
        )


class Capture:
    """One reading of one source, through one executor."""

    def __init__(
        self,
        context: WorkerContext,
        parent: Parent,
        *,
        jobs: int,
        server_version: int,
        listener: Listener,
        interrupted: threading.Event,
        still_alive: Callable[[], None],
    ) -> None:
        self._context = context
        self._parent = parent
        self._jobs = jobs
        self._server_version = server_version
        self._listener = listener
        self._interrupted = interrupted
        self._still_alive = still_alive
        self._tables: dict[int, _Gathering] = {}
        self._large_objects: list[LargeObject] = []
        self._bytes_stored = 0
        self._chunks_stored = 0
        self._chunks_reused = 0

    def run(
        self, tables: Sequence[Table], large_objects: Iterable[int], make_executor: MakeExecutor
    ) -> Captured:
        """Read everything. Raises the first failure, after the other tasks were stopped."""
        self._listener(
            WorkPlanned(
                tables=len(tables),
                bytes_estimate=sum(table.size_bytes for table in tables),
                rows_estimate=int(sum(max(table.rows_estimate, 0) for table in tables)),
            )
        )
        tasks = plan_tasks(
            [(table, self._ranges(table)) for table in tables], jobs=self._jobs, make_part=self._part
        )
        executor = make_executor(self._jobs)
        try:
            futures: list[Future[Result]] = [
                executor.submit(run_task, RangeTask(context=self._context, parts=parts)) for parts in tasks
            ]
            futures += [
                executor.submit(run_large_object_task, task)
                for task in cut_tasks(self._context, large_objects, self._parent.known)
            ]
            self._gather(futures)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            abort_readers(self._context.snapshot)
            raise
        finally:
            executor.shutdown(wait=True, cancel_futures=True)
            close_readers(self._context.snapshot)
        return Captured(
            manifests=tuple(self._tables[table.oid].manifest() for table in tables),
            readings=tuple(self._tables[table.oid].reading() for table in tables),
            large_objects=tuple(sorted(self._large_objects, key=lambda item: item.oid)),
            bytes_stored=self._bytes_stored,
            chunks_stored=self._chunks_stored,
            chunks_reused=self._chunks_reused,
        )

    def _ranges(self, table: Table) -> tuple[PageRange, ...]:
        before = self._parent.tables.get(table.name)
        pages_per_range = pages_per_range_of(table, before, server_version=self._server_version)
        ranges = ranges_of(table, pages_per_range)
        self._tables[table.oid] = _Gathering(table, pages_per_range, len(ranges), [])
        return ranges

    def _part(self, table: Table, ranges: tuple[PageRange, ...]) -> TablePart:
        return TablePart(table=table, ranges=ranges, known=self._parent.chunks_of(table.name))

    def _gather(self, futures: list[Future[Result]]) -> None:
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, timeout=LIVENESS_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                self._take(future.result())
            if self._interrupted.is_set():
                raise InterruptedRunError("interrupted while reading; nothing was committed")
            self._still_alive()

    def _take(self, result: Result) -> None:
        if isinstance(result, LargeObjectResult):
            self._large_objects.extend(result.objects)
            self._count(result)
            return
        for part in result:
            self._count(part)
            gathering = self._tables[part.oid]
            gathering.records.extend(part.records)
            gathering.bytes_stored += part.bytes_stored
            gathering.chunks_stored += part.chunks_stored
            gathering.chunks_reused += part.chunks_reused
            rows = sum(record.rows for record in part.records)
            size = sum(chunk.blob.plain_bytes for record in part.records for chunk in record.chunks)
            name = gathering.table.name
            self._listener(RowsMoved(table=name, rows=rows, bytes=size))
            if len(gathering.records) == gathering.expected:
                reading = gathering.reading()
                self._listener(TableFinished(table=name, rows=reading.rows, bytes=reading.bytes_read))

    def _count(self, result: PartResult | LargeObjectResult) -> None:
        self._bytes_stored += result.bytes_stored
        self._chunks_stored += result.chunks_stored
        self._chunks_reused += result.chunks_reused


def with_statements(
    large_objects: Iterable[LargeObject], statements: dict[int, tuple[str, ...]]
) -> tuple[LargeObject, ...]:
    """Large objects together with what restores their owner, ACL and comment."""
    return tuple(replace(item, statements=statements.get(item.oid, ())) for item in large_objects)
