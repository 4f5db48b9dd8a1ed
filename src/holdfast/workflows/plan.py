"""Which ranges make which tasks: largest first, tiny tables by the hundred, so that all workers end together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from holdfast.domain.chunks import LEAST_CHUNK_BYTES, choose_chunk_bytes
from holdfast.domain.manifest import TableManifest
from holdfast.domain.proof import RANGES_FROM_VERSION
from holdfast.domain.ranges import (
    TARGET_RANGE_BYTES,
    WHOLE,
    Cutting,
    PageRange,
    choose_pages_per_range,
    cut,
)
from holdfast.domain.tables import Table
from holdfast.workflows.parts import TablePart

TASK_BYTES_LEAST = 16 * 1024 * 1024
TASK_BYTES_MOST = 128 * 1024 * 1024
TASKS_PER_WORKER = 12
TABLES_PER_TASK_MOST = 250
# What is kept from the parent is given up when it is this many times off what would be chosen now.
DRIFT = 4

MakePart = Callable[[Table, tuple[PageRange, ...]], TablePart]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """About how much of a table is one range, and how much of a small table's COPY text one chunk, in bytes."""

    range_bytes: int = TARGET_RANGE_BYTES
    chunk_bytes: int = LEAST_CHUNK_BYTES


def cutting_of(table: Table, parent: TableManifest | None, *, server_version: int, sizes: Sizes) -> Cutting:
    """How to cut a table for this reading: like the parent, while that fits."""
    chunk_bytes = choose_chunk_bytes(table.size_bytes, least=sizes.chunk_bytes)
    if parent is not None and _fits(parent.cutting.chunk_bytes, chunk_bytes):
        chunk_bytes = parent.cutting.chunk_bytes
    if not table.heap or server_version < RANGES_FROM_VERSION:
        return Cutting(pages_per_range=0, chunk_bytes=chunk_bytes)
    ideal = choose_pages_per_range(
        pages=table.pages, size_bytes=table.size_bytes, target_bytes=sizes.range_bytes
    )
    frozen = 0 if parent is None else parent.cutting.pages_per_range
    fits = frozen and (table.pages <= frozen or _fits(frozen, ideal))
    return Cutting(pages_per_range=frozen if fits else ideal, chunk_bytes=chunk_bytes)


def _fits(frozen: int, ideal: int) -> bool:
    return ideal / DRIFT <= frozen <= ideal * DRIFT


def ranges_of(pages: int, pages_per_range: int) -> tuple[PageRange, ...]:
    return (WHOLE,) if pages_per_range == 0 else cut(pages=pages, pages_per_range=pages_per_range)


def plan_tasks(
    tables: Iterable[tuple[Table, tuple[PageRange, ...]]], *, jobs: int, make_part: MakePart
) -> list[tuple[TablePart, ...]]:
    """Parts of tables grouped into tasks, the most bytes first."""
    wanted = sorted(tables, key=lambda item: item[0].size_bytes, reverse=True)
    total = sum(table.size_bytes for table, _ in wanted)
    goal = min(max(total // (max(jobs, 1) * TASKS_PER_WORKER), TASK_BYTES_LEAST), TASK_BYTES_MOST)
    tasks: list[tuple[TablePart, ...]] = []
    small: list[TablePart] = []
    small_bytes = 0
    for table, ranges in wanted:
        if table.size_bytes >= goal // 2:
            tasks.extend((make_part(table, group),) for group in _groups(table, ranges, goal))
            continue
        small.append(make_part(table, ranges))
        small_bytes += table.size_bytes
        if small_bytes >= goal or len(small) >= TABLES_PER_TASK_MOST:
            tasks.append(tuple(small))
            small, small_bytes = [], 0
    if small:
        tasks.append(tuple(small))
    return tasks


def _groups(table: Table, ranges: Sequence[PageRange], goal: int) -> Iterable[tuple[PageRange, ...]]:
    bytes_per_range = max(table.size_bytes // len(ranges), 1)
    count = max(1, goal // bytes_per_range)
    for start in range(0, len(ranges), count):
        yield tuple(ranges[start : start + count])
