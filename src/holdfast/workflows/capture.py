"""Capturing all rows and large objects of a source: tasks handed to an executor, results gathered.

The session that holds the locks and the snapshot is asked all the while whether it still lives; if it died, or
the operator asked to stop, the running reads are made to fail at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field, replace

from holdfast.domain.errors import InterruptedRunError
from holdfast.domain.events import Listener, RowsMoved, TableFinished, WorkPlanned
from holdfast.domain.manifest import LargeObject, RangeRecord, TableManifest
from holdfast.domain.ranges import PageRange, open_ended
from holdfast.domain.tables import QualifiedName, Table
from holdfast.workflows.basis import Basis, Ground, find_bases
from holdfast.workflows.large_objects import LargeObjectResult, cut_tasks, run_large_object_task
from holdfast.workflows.parent import Parent
from holdfast.workflows.parts import PartResult, RangeTask, TablePart, WorkerContext
from holdfast.workflows.plan import Sizes, plan_tasks
from holdfast.workflows.reading import abort_readers, close_readers, run_task
from holdfast.workflows.reports import TableReading

LIVENESS_SECONDS = 1.0

MakeExecutor = Callable[[int], Executor]
Result = tuple[PartResult, ...] | LargeObjectResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """All rows and large objects of one snapshot, stored. `manifests` are in the order of the tables.

    `refuted` names tables of which the proof called a range unchanged that was not.
    """

    manifests: tuple[TableManifest, ...]
    readings: tuple[TableReading, ...]
    large_objects: tuple[LargeObject, ...]
    bytes_stored: int
    chunks_stored: int
    chunks_reused: int
    refuted: tuple[QualifiedName, ...]


@dataclass(slots=True)
class _Gathering:
    """What has come back of one table so far."""

    basis: Basis
    read: list[RangeRecord] = field(default_factory=list)
    proven: list[RangeRecord] = field(default_factory=list)
    refuted: int = 0
    bytes_stored: int = 0
    chunks_stored: int = 0
    chunks_reused: int = 0

    def add(self, part: PartResult) -> None:
        self.read.extend(part.read)
        self.proven.extend(part.proven)
        self.refuted += len(part.refuted)
        self.bytes_stored += part.bytes_stored
        self.chunks_stored += part.chunks_stored
        self.chunks_reused += part.chunks_reused

    @property
    def is_complete(self) -> bool:
        return len(self.read) + len(self.proven) == len(self.basis.ranges)

    def manifest(self) -> TableManifest:
        table = self.basis.table
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
            cutting=self.basis.cutting,
            ranges=_without_empty_end([*self.read, *self.proven]),
        )

    def reading(self) -> TableReading:
        return TableReading(
            name=self.basis.table.name,
            rows=rows_of(self.read) + rows_of(self.proven),
            rows_read=rows_of(self.read),
            rows_unchanged=rows_of(self.proven),
            bytes_read=bytes_of(self.read),
            bytes_unchanged=bytes_of(self.proven),
            bytes_stored=self.bytes_stored,
            ranges_read=len(self.read),
            ranges_unchanged=len(self.proven),
            chunks_stored=self.chunks_stored,
            chunks_reused=self.chunks_reused,
            reason=self.basis.reason,
        )


def rows_of(records: Iterable[RangeRecord]) -> int:
    return sum(record.rows for record in records)


def bytes_of(records: Iterable[RangeRecord]) -> int:
    return sum(chunk.blob.plain_bytes for record in records for chunk in record.chunks)


def _without_empty_end(records: Iterable[RangeRecord]) -> tuple[RangeRecord, ...]:
    """In the order of pages, and the same whatever the table's file has grown to: the last range that holds rows
    is the open-ended one."""
    ordered = sorted(records, key=lambda record: record.pages.first)
    while len(ordered) > 1 and ordered[-1].rows == 0:
        ordered.pop()
    ordered[-1] = replace(ordered[-1], pages=open_ended(ordered[-1].pages))
    return tuple(ordered)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureOrder:
    """What a capture needs to know. `still_alive` raises if the source has died."""

    context: WorkerContext
    parent: Parent
    ground: Ground
    jobs: int
    sizes: Sizes
    server_version: int
    listener: Listener
    interrupted: threading.Event
    still_alive: Callable[[], None]


class Capture:
    """One reading of one source, through one executor."""

    def __init__(self, order: CaptureOrder) -> None:
        self._order = order
        self._context = order.context
        self._tables: dict[int, _Gathering] = {}
        self._large_objects: list[LargeObject] = []
        self._bytes_stored = 0
        self._chunks_stored = 0
        self._chunks_reused = 0

    def run(
        self, tables: Sequence[Table], large_objects: Iterable[int], make_executor: MakeExecutor
    ) -> Captured:
        """Prove or read everything. Raises the first failure, after the other tasks were stopped."""
        order = self._order
        bases = find_bases(
            tables,
            order.parent,
            order.ground,
            server_version=order.server_version,
            sizes=order.sizes,
        )
        self._tables = {basis.table.oid: _Gathering(basis) for basis in bases}
        order.listener(
            WorkPlanned(
                tables=len(tables),
                bytes_estimate=sum(table.size_bytes for table in tables),
                rows_estimate=int(sum(max(table.rows_estimate, 0) for table in tables)),
            )
        )
        rest = [basis for basis in bases if not self._take_over(basis)]
        tasks = plan_tasks(
            [(basis.table, basis.ranges) for basis in rest], jobs=order.jobs, make_part=self._part
        )
        self._run_tasks(tasks, large_objects, make_executor)
        gatherings = [self._tables[table.oid] for table in tables]
        return Captured(
            manifests=tuple(gathering.manifest() for gathering in gatherings),
            readings=tuple(gathering.reading() for gathering in gatherings),
            large_objects=tuple(sorted(self._large_objects, key=lambda item: item.oid)),
            bytes_stored=self._bytes_stored,
            chunks_stored=self._chunks_stored,
            chunks_reused=self._chunks_reused,
            refuted=tuple(gathering.basis.table.name for gathering in gatherings if gathering.refuted),
        )

    def _run_tasks(
        self,
        tasks: Iterable[tuple[TablePart, ...]],
        large_objects: Iterable[int],
        make_executor: MakeExecutor,
    ) -> None:
        context = self._context
        executor = make_executor(self._order.jobs)
        try:
            futures: list[Future[Result]] = [
                executor.submit(run_task, RangeTask(context=context, parts=parts)) for parts in tasks
            ]
            futures += [
                executor.submit(run_large_object_task, task)
                for task in cut_tasks(context, large_objects, self._order.parent.known)
            ]
            self._gather(futures)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            abort_readers(context.snapshot)
            raise
        finally:
            executor.shutdown(wait=True, cancel_futures=True)
            close_readers(context.snapshot)

    def _take_over(self, basis: Basis) -> bool:
        """Take all of a table from the parent without asking the server, if nothing was written since and every
        chunk is there. Says whether it did."""
        ground = self._order.ground
        before = basis.before
        if not (ground.quiet and ground.relied_on and basis.is_whole) or before is None:
            return False
        # What lies past the parent's ranges is empty: it was, and nothing was written.
        records = tuple(
            RangeRecord(pages=pages, rows=record.rows, chunks=record.chunks)
            if (record := before.get(pages.first)) is not None
            else RangeRecord(pages=pages, rows=0, chunks=())
            for pages in basis.ranges
        )
        chunks = sum(len(record.chunks) for record in records)
        self._take_part(
            PartResult(
                oid=basis.table.oid,
                read=(),
                proven=records,
                refuted=(),
                bytes_stored=0,
                chunks_stored=0,
                chunks_reused=chunks,
            )
        )
        return True

    def _part(self, table: Table, ranges: tuple[PageRange, ...]) -> TablePart:
        basis = self._tables[table.oid].basis
        return TablePart(
            table=table,
            ranges=ranges,
            chunk_bytes=basis.cutting.chunk_bytes,
            known=basis.known,
            before=None
            if basis.before is None
            else {pages.first: basis.before[pages.first] for pages in ranges if pages.first in basis.before},
        )

    def _gather(self, futures: list[Future[Result]]) -> None:
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, timeout=LIVENESS_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                self._take(future.result())
            if self._order.interrupted.is_set():
                raise InterruptedRunError("interrupted while reading; nothing was committed")
            self._order.still_alive()

    def _take(self, result: Result) -> None:
        if isinstance(result, LargeObjectResult):
            self._large_objects.extend(result.objects)
            self._count(result)
            return
        for part in result:
            self._take_part(part)

    def _take_part(self, part: PartResult) -> None:
        self._count(part)
        gathering = self._tables[part.oid]
        gathering.add(part)
        records, name = [*part.read, *part.proven], gathering.basis.table.name
        self._order.listener(RowsMoved(table=name, rows=rows_of(records), bytes=bytes_of(records)))
        if gathering.is_complete:
            all_records = [*gathering.read, *gathering.proven]
            rows, size = rows_of(all_records), bytes_of(all_records)
            self._order.listener(TableFinished(table=name, rows=rows, bytes=size))

    def _count(self, result: PartResult | LargeObjectResult) -> None:
        self._bytes_stored += result.bytes_stored
        self._chunks_stored += result.chunks_stored
        self._chunks_reused += result.chunks_reused


def with_statements(
    large_objects: Iterable[LargeObject], statements: dict[int, tuple[str, ...]]
) -> tuple[LargeObject, ...]:
    """Large objects together with what restores their owner, ACL and comment."""
    return tuple(replace(item, statements=statements.get(item.oid, ())) for item in large_objects)
