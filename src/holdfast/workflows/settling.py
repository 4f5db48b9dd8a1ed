"""Settling: up to which snapshot a destination needs nothing more, because it had each, or passed it over.

The invariant: what is settled stays below everything that may still come to the destination, which is what it
lacks, what cannot be read, what was removed and can be undeleted, what is not decided yet, and, of snapshots that
are themselves copies here, what this repository may still be sent. Ids of one repository say nothing about those
of another, so each origin has a ledger of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import Origin
from holdfast.repository import layout
from holdfast.repository.registers.writers import Purpose
from holdfast.repository.repo import Repository
from holdfast.repository.runs.copies import Holdings, moment_part
from holdfast.repository.runs.predecessors import undecided_writers


@dataclass(frozen=True, slots=True)
class Undecided:
    """Snapshots that may yet be committed: ids of their originals by source, and moments of damaged records."""

    by_source: dict[str, set[SnapshotId]]
    unknown: frozenset[str]

    @classmethod
    def of(cls, repository: Repository) -> Undecided:
        """To be asked for before the outcomes are listed, so that what is committed between is in either."""
        records, damaged = undecided_writers(repository)
        by_source: dict[str, set[SnapshotId]] = {}
        for record in records:
            if record.purpose is Purpose.BACKUP and not record.finished:
                by_source.setdefault(record.source, set()).add(record.copy_of or record.snapshot)
        return cls(
            by_source, frozenset(moment_part(layout.snapshot_in(item.object_name)) for item in damaged)
        )


@dataclass(slots=True)
class Ledger:
    """What a destination has of one source's snapshots of one origin, above `floor`, up to which all is settled.

    `limit`: up to where all is settled in the repository that the copies come from; None if nothing bounds it.
    """

    here: Holdings
    undecided: frozenset[str]
    floor: SnapshotId | None
    limit: str | None
    there: set[SnapshotId] = field(default_factory=set)
    lacking: set[SnapshotId] = field(default_factory=set)
    removed: set[SnapshotId] = field(default_factory=set)

    @classmethod
    def of(cls, here: Holdings, there: Holdings, undecided: Undecided, source: str, origin: str) -> Ledger:
        waiting: set[str] = {*undecided.unknown, *undecided.by_source.get(source, ())}
        mine = origin == str(here.repository.config.repository_id)
        limit = None if mine else (floor_of(here, source, origin) or "")
        return cls(here, frozenset(waiting), floor_of(there, source, origin), limit)

    def is_settled(self, snapshot: SnapshotId) -> bool:
        return self.floor is not None and snapshot <= self.floor

    def arrived(self, snapshot: SnapshotId) -> None:
        self.lacking.discard(snapshot)
        self.there.add(snapshot)

    def settled_with(self, snapshot: SnapshotId, *, passing_over: bool) -> SnapshotId | None:
        """Up to where all is settled once this one is there, too. `passing_over`: the rest is not wanted."""
        open_ones: set[str] = {*self.removed, *self.undecided, *map(moment_part, self.here.unreadable)}
        if not passing_over:
            open_ones |= self.lacking - {snapshot}
        lowest = min((item for item in open_ones if self.floor is None or item > self.floor), default=None)
        reached = [
            item
            for item in (*self.there, snapshot)
            if (lowest is None or item < lowest) and (self.limit is None or item <= self.limit)
        ]
        return max([*reached, *([] if self.floor is None else [self.floor])], default=None)


def floor_of(holdings: Holdings, source: str, origin: str) -> SnapshotId | None:
    """What the copies of a source that came from `origin` say to be settled, removed or not; None if nothing.

    Usually one of the newest says it all: nothing newer than the newest copy can be settled.
    """
    newest: SnapshotId | None = None
    floor: SnapshotId | None = None
    for outcome in holdings.newest_first():
        copied: Origin | None = outcome.summary.origin
        if outcome.summary.source != source or copied is None or copied.repository != origin:
            continue
        newest = newest or copied.snapshot
        if copied.settled is not None:
            floor = max(floor or copied.settled, copied.settled)
        if floor is not None and floor >= newest:
            break
    return floor
