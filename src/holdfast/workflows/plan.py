"""Which ranges make which tasks: largest first, tiny tables by the hundred, so that all workers end together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from holdfast.domain.manifest import TableManifest
from holdfast.domain.proof import RANGES_FROM_VERSION
from holdfast.domain.ranges import WHOLE, PageRange, choose_pages_per_range, cut
from holdfast.domain.tables import Table
from holdfast.workflows.parts import TablePart

TASK_BYTES_LEAST = 16 * 1024 * 1024
TASK_BYTES_MOST = 128 * 1024 * 1024
TASKS_PER_WORKER = 12
TABLES_PER_TASK_MOST = 250
# A frozen range size is given up when the data per range is this many times off the target.
DRIFT = 4

MakePart = Callable[[Table, tuple[PageRange, ...]], TablePart]


def pages_per_range_of(
    table: Table, parent: TableManifest | None, *, server_version: int, range_bytes: int
) -> int:
    """Pages per range for this reading; 0 to read the table as one piece.

    The parent's value is kept while it fits, since moving boundaries destroys dedup.
    """
    if not table.heap or server_version < RANGES_FROM_VERSION:
        return 0
    ideal = choose_pages_per_range(pages=table.pages, size_bytes=table.size_bytes, target_bytes=range_bytes)
    if parent is None or parent.pages_per_range == 0:
        return ideal
    frozen = parent.pages_per_range
    fits = table.pages <= frozen or ideal / DRIFT <= frozen <= ideal * DRIFT
    return frozen if fits else ideal


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
