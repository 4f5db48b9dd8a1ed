"""Copies: which snapshots of other repositories are here, and which are on their way in.

A copy has an id of its own, made of the original's moment and fresh randomness, and says in its root and its
outcome where it comes from (`Origin`). So a copier that died or sleeps is fenced by the register of its own id, as
a backup is, and the next one simply takes another id. Since an id begins with its moment, a copy is found by the
first characters of the original's id, without reading what else is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from holdfast.domain.errors import DamagedError, LockedOutError, ObjectMissingError, UsageError
from holdfast.domain.ids import SnapshotId, make_snapshot_id, moment_of
from holdfast.domain.manifest import Origin, SnapshotSummary
from holdfast.repository.registers.outcomes import Aborted, Committed
from holdfast.repository.registers.writers import Purpose, WriterRecord, is_dead, this_host
from holdfast.repository.repo import Repository
from holdfast.repository.runs.predecessors import undecided_writers

MOMENT_CHARACTERS = 10  # of an id: 48 bits of milliseconds, and two of padding
LOOK_AROUND = 16  # snapshots on either side that are tried as a base; the nearest one nearly always serves


def origin_of(repository: Repository, summary: SnapshotSummary) -> Origin:
    """Where a snapshot was taken, and its id there: of a copy its origin, of any other here and its own."""
    if summary.origin is not None:
        return summary.origin
    return Origin(repository=str(repository.config.repository_id), snapshot=summary.snapshot, settled=None)


def is_same_snapshot(one: Origin, other: Origin) -> bool:
    return (one.repository, one.snapshot) == (other.repository, other.snapshot)


def find_replacements(
    repository: Repository, summaries: Iterable[SnapshotSummary]
) -> dict[SnapshotId, SnapshotId]:
    """Which of these snapshots were sealed anew as which others (reseal.py), by their ids.

    Two that hold the same are told apart by the keys: the one with the newest identities replaces the others.
    Where that cannot be read, or keys do not tell them apart, none replaces the other.
    """
    same: dict[tuple[str, SnapshotId], list[SnapshotSummary]] = {}
    for summary in summaries:
        origin = origin_of(repository, summary)
        same.setdefault((origin.repository, origin.snapshot), []).append(summary)
    found: dict[SnapshotId, SnapshotId] = {}
    for group in same.values():
        if len(group) < 2:
            continue
        try:
            current = [item for item in group if repository.has_current_identities(item)]
        except (DamagedError, LockedOutError):
            continue
        if len(current) == 1:
            new = current[0].snapshot
            found.update({item.snapshot: new for item in group if item.snapshot != new})
    return found


def moment_part(snapshot: SnapshotId) -> str:
    return snapshot[:MOMENT_CHARACTERS]


def make_copy_id(original: SnapshotId, randomness: bytes) -> SnapshotId:
    """A fresh id that sorts where the original does."""
    made = make_snapshot_id(moment_of(original), randomness)
    return SnapshotId(moment_part(original) + made[MOMENT_CHARACTERS:])


@dataclass(slots=True)
class Holdings:
    """The decided snapshots of one repository by their moments, from one listing; outcomes are read when asked
    for, once. A view of the moment at which it was made, plus what `add` was told.

    `unreadable`: outcomes that were asked for and are damaged. They are passed over; whoever asks reports them.
    """

    repository: Repository
    unreadable: dict[SnapshotId, DamagedError] = field(default_factory=dict)
    _by_moment: dict[str, list[SnapshotId]] = field(default_factory=dict)
    _read: dict[SnapshotId, Committed | Aborted | None] = field(default_factory=dict)
    _buried: set[SnapshotId] = field(default_factory=set)

    @classmethod
    def of(cls, repository: Repository) -> Holdings:
        holdings = cls(repository)
        holdings._buried = repository.graves.buried()
        for snapshot in repository.outcomes.names():
            holdings._by_moment.setdefault(moment_part(snapshot), []).append(snapshot)
        return holdings

    def add(self, summary: SnapshotSummary) -> None:
        """A snapshot that was committed since."""
        self._by_moment.setdefault(moment_part(summary.snapshot), []).append(summary.snapshot)

    def is_removed(self, snapshot: SnapshotId) -> bool:
        """Whether retention took it away, even if it can still be undeleted."""
        return snapshot in self._buried

    def moments(self) -> list[str]:
        return sorted(self._by_moment)

    def count(self, moment: str) -> int:
        return len(self._by_moment.get(moment, ()))

    def newest_first(self) -> Iterator[Committed]:
        """Committed snapshots, removed or not."""
        for moment in sorted(self._by_moment, reverse=True):
            yield from self._at(moment)

    def find(self, origin: Origin) -> Committed | None:
        """The snapshot with this origin, removed or not. Of several, which two copiers at the same time can make,
        one that is not removed, and of those the first by id: they hold the same."""
        found = [
            outcome
            for outcome in self._at(moment_part(origin.snapshot))
            if is_same_snapshot(origin_of(self.repository, outcome.summary), origin)
        ]
        return min(
            found, key=lambda outcome: (self.is_removed(outcome.snapshot), outcome.snapshot), default=None
        )

    def at(self, moment: str) -> list[Committed]:
        return list(self._at(moment))

    def _at(self, moment: str) -> Iterator[Committed]:
        for snapshot in sorted(self._by_moment.get(moment, ())):
            outcome = self._outcome(snapshot)
            if isinstance(outcome, Committed):
                yield outcome

    def _outcome(self, snapshot: SnapshotId) -> Committed | Aborted | None:
        if snapshot not in self._read:
            self._read[snapshot] = None
            try:
                self._read[snapshot] = self.repository.outcomes.read(snapshot)
            except DamagedError as error:
                if not isinstance(
                    error.__cause__, ObjectMissingError
                ):  # else a collection has just removed it
                    self.unreadable[snapshot] = error
        return self._read[snapshot]


def copy_named(repository: Repository, wanted: str, known: Sequence[SnapshotId]) -> SnapshotId | None:
    """The copy whose original's id begins with `wanted`, of several one that is not removed; None if there is
    none. Reads only outcomes of the same moment. Raises `UsageError` for originals that are not the same."""
    found: dict[tuple[str, SnapshotId], SnapshotId] = {}
    for snapshot in known:
        if len(wanted) < MOMENT_CHARACTERS or moment_part(snapshot) != wanted[:MOMENT_CHARACTERS]:
            continue
        outcome = repository.outcomes.read(snapshot)
        origin = outcome.summary.origin if isinstance(outcome, Committed) else None
        if origin is not None and origin.snapshot.startswith(wanted):
            other = found.setdefault((origin.repository, origin.snapshot), snapshot)
            if other != snapshot and repository.graves.is_buried(other):
                found[origin.repository, origin.snapshot] = snapshot
    if len(found) > 1:
        copies = ", ".join(found.values())
        raise UsageError(f"{wanted!r} names {len(found)} copies: {copies}", hint="give the id of one of them")
    return next(iter(found.values()), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """One snapshot as it lies in both repositories: what of it is unchanged need be neither read nor sent."""

    source: SnapshotSummary
    destination: SnapshotSummary
    journal_position: int


def find_base(here: Holdings, there: Holdings, summary: SnapshotSummary) -> Base | None:
    """The snapshot of the same source nearest to `summary` that both hold: the next older one, else a newer."""
    wanted = moment_part(summary.snapshot)
    shared = sorted(set(here.moments()) & set(there.moments()))
    older = [moment for moment in reversed(shared) if moment < wanted][:LOOK_AROUND]
    newer = [moment for moment in shared if moment >= wanted][:LOOK_AROUND]
    for moment in (*older, *newer):
        for mine in here.at(moment):
            if mine.summary.source != summary.source or mine.snapshot == summary.snapshot:
                continue
            if here.is_removed(mine.snapshot):
                continue  # a collection may be deleting it
            theirs = there.find(origin_of(here.repository, mine.summary))
            if theirs is not None and not there.is_removed(theirs.snapshot):
                return Base(
                    source=mine.summary,
                    destination=theirs.summary,
                    journal_position=theirs.journal_position,
                )
    return None


def is_removed(repository: Repository, snapshot: SnapshotId) -> bool:
    """Whether retention took it away, even if it can still be undeleted."""
    return repository.graves.is_buried(snapshot)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """Undecided writers: living copies, all who live and may write, dead copies whose chunks may be adopted, and
    damaged records."""

    alive_copies: tuple[WriterRecord, ...]
    alive: tuple[WriterRecord, ...]
    crashed_copies: tuple[WriterRecord, ...]
    unreadable: tuple[DamagedError, ...]


def find_incoming(repository: Repository, *, now: datetime) -> Incoming:
    here = this_host()
    records, unreadable = undecided_writers(repository)
    alive = [record for record in records if not (record.finished or is_dead(record, now=now, here=here))]
    gone = [record for record in records if record not in alive and record.copy_of is not None]
    return Incoming(
        alive_copies=tuple(record for record in alive if record.copy_of is not None),
        alive=tuple(record for record in alive if record.purpose in (Purpose.BACKUP, Purpose.COLLECT)),
        crashed_copies=tuple(gone),
        unreadable=tuple(unreadable),
    )
