"""Being alone: where a storage cannot promise create-once, one process at a time writes, and says so first.

There no register decides between two: both would believe that they won. So whoever writes announces it and only
then looks who else does; of two that begin at once, at least one sees the other and steps aside. Who has died is
recognised as everywhere (`writers.is_dead`), and is in nobody's way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from holdfast.domain.errors import DamagedError, RefusedError, SteppedAsideError
from holdfast.domain.ids import SnapshotId
from holdfast.repository.registers.writers import Purpose, WriterRecord, is_dead, this_host
from holdfast.repository.repo import Repository
from holdfast.repository.runs.pins import reading
from holdfast.repository.runs.predecessors import undecided_writers

Clock = Callable[[], datetime]


def running_from(now: datetime) -> Clock:
    """A clock that showed `now` just now and goes on, for who was given a moment only."""
    began = time.monotonic()
    return lambda: now + timedelta(seconds=time.monotonic() - began)


@contextmanager
def alone(repository: Repository, *, clock: Clock) -> Iterator[None]:
    """Write registers in here: tombstones, fates, holds, keys, the journal, and what a collection writes and
    deletes.

    Where create-once holds this does nothing. Elsewhere it raises `SteppedAsideError` if somebody else writes, and
    `RefusedError` where nobody can know, or where it cannot be announced; nothing was written then.
    """
    if not repository.config.single_writer:
        yield
        return
    with reading(repository, (), purpose=Purpose.COLLECT, clock=clock) as pin:
        if pin.warning is not None:
            raise RefusedError(
                f"only one process may write at {repository.address}, and this one cannot say that it does: "
                f"{pin.warning}"
            )
        refuse_company_of(repository, pin.snapshot, clock=clock)
        yield


def refuse_company_of(repository: Repository, mine: SnapshotId, *, clock: Clock) -> None:
    """Look once the own announcement is there: raise `RefusedError` if somebody else writes, or may."""
    now, here = clock(), this_host()
    records, unreadable = undecided_writers(repository)
    alive = [
        other
        for other in records
        if other.snapshot != mine
        and other.purpose in (Purpose.BACKUP, Purpose.COLLECT)
        and not (other.finished or is_dead(other, now=now, here=here))
    ]
    refuse_company(repository, alive, unreadable)


def refuse_company(
    repository: Repository, alive: Sequence[WriterRecord], unreadable: Sequence[DamagedError]
) -> None:
    """Where the storage cannot have two writers: raise `RefusedError` if there is, or may be, another one."""
    for other in alive:
        who = f"{other.host.name} (process {other.host.pid})"
        doing = (
            f"snapshot {other.snapshot} of {other.source} is being written by {who}"
            if other.purpose is Purpose.BACKUP
            else f"{who} is collecting, removing or holding snapshots, changing keys or recording a check"
        )
        raise SteppedAsideError(
            f"{doing}, and the storage at {repository.address} cannot have two writers",
            snapshot=other.snapshot,
            hint="wait for it; move to a storage that honours create-once to write at the same time",
        )
    for error in unreadable:
        raise RefusedError(
            f"{error.message}, so nobody knows whether a writer is alive, and the storage at "
            f"{repository.address} cannot have two writers",
            hint=f"make sure that nothing else is running here, then remove {error.object_name} from the storage",
        )
