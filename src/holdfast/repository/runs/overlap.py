"""Two runs of one source at once: sound, but a waste for the server and the storage, so one of them steps aside.

A run announces itself and only then looks for others; it goes on only if that last look shows nobody. So of two
that begin at the same moment, wherever they run, at most one goes on. Of those two the one with the lower id looks
again for a while, since the other is about to withdraw; the other withdraws at once. What is committed never
depends on this: snapshots of overlapping runs are sound, too (docs/FORMAT.md, "Commit").
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from holdfast.domain.errors import SteppedAsideError
from holdfast.domain.ids import SnapshotId
from holdfast.repository.registers.writers import SILENT_AFTER, Purpose, WriterRecord, is_dead, this_host
from holdfast.repository.repo import Repository
from holdfast.repository.runs.predecessors import undecided_writers
from holdfast.repository.runs.run import Run, is_running_here

Clock = Callable[[], datetime]

SETTLE_SECONDS = 10.0
SETTLE_STEP_SECONDS = 0.25


def living_runs(
    repository: Repository, source: str, *, now: datetime, besides: SnapshotId | None = None
) -> tuple[WriterRecord, ...]:
    """The undecided backups of this source that are not known to be dead, oldest first."""
    here = this_host()
    records, _ = undecided_writers(repository)
    return tuple(
        record
        for record in records
        if record.source == source
        and record.snapshot != besides
        and record.purpose is Purpose.BACKUP
        and record.copy_of is None
        and not record.finished
        and not is_dead(record, now=now, here=here)
        # One that this process has ended, but could not strike off (a full disk), is not in the way.
        and (record.host != here or is_running_here(record.snapshot))
    )


def require_alone(repository: Repository, source: str, *, now: datetime) -> None:
    """Before announcing anything: raises `SteppedAsideError` if another run of the source is alive."""
    for other in living_runs(repository, source, now=now):
        raise stepped_aside(other)


def stay_alone(
    run: Run,
    *,
    clock: Clock,
    settle_seconds: float = SETTLE_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """After announcing: raises `SteppedAsideError` unless a last look shows no other run of the source.

    The caller then withdraws the run (`Run.give_up`).
    """
    looks = int(settle_seconds / SETTLE_STEP_SECONDS)
    while others := living_runs(run.repository, run.record.source, now=clock(), besides=run.snapshot):
        older = [other for other in others if other.snapshot < run.snapshot]
        if older or looks <= 0:
            raise stepped_aside((older or others)[0])
        looks -= 1
        sleep(SETTLE_STEP_SECONDS)


def stepped_aside(other: WriterRecord) -> SteppedAsideError:
    """Which run is in the way: where, since when, and when it last showed that it lives."""
    silence = int(SILENT_AFTER.total_seconds() // 60)
    return SteppedAsideError(
        f"another run of {other.source} is alive: snapshot {other.snapshot}, on {other.host.name} (process "
        f"{other.host.pid}), since {other.started_at:%Y-%m-%d %H:%M:%S} UTC, last heard of at "
        f"{other.heartbeat_at:%H:%M:%S} UTC",
        snapshot=other.snapshot,
        hint="let it finish, or wait for it with --wait; "
        f"a run that died elsewhere is noticed after {silence} minutes of silence",
    )
