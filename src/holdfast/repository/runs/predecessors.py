"""What a new run of a source finds: its newest snapshot, runs that died, and runs that are alive.

Invariant: what cannot be read is passed over, never in silence: it stands in the answer, for the caller to tell.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice

from holdfast.domain.errors import DamagedError, ObjectMissingError
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import SnapshotSummary
from holdfast.repository.registers.outcomes import Committed, Outcome
from holdfast.repository.registers.writers import Purpose, WriterRecord, is_dead, this_host
from holdfast.repository.repo import Repository

LOOK_BACK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Predecessors:
    """What a new run of a source may build on: its newest snapshot that is not removed, and dead undecided runs.

    `unreadable`: damaged records of writers, of which nobody knows whose they are. `damaged`: outcomes that were
    passed over in the search for the parent; `newest_damage`: the one that the source's head names is such.
    """

    parent: SnapshotSummary | None
    parent_journal_position: int
    crashed: tuple[WriterRecord, ...]
    alive: tuple[WriterRecord, ...]
    unreadable: tuple[DamagedError, ...] = ()
    damaged: tuple[DamagedError, ...] = ()
    newest_damage: DamagedError | None = None


def find_predecessors(repository: Repository, source: str, *, now: datetime) -> Predecessors:
    """Look around before a run. Undecided writers of other sources stay out of it, except that in single-writer
    mode any living one is in the way (`Predecessors.alive` names them all)."""
    found = _newest_of(repository, source)
    parent, position = (found.newest.summary, found.newest.journal_position) if found.newest else (None, 0)
    here = this_host()
    # A collection is in the way only where no register decides between the two.
    in_the_way = {Purpose.BACKUP, Purpose.COLLECT} if repository.config.single_writer else {Purpose.BACKUP}
    records, unreadable = undecided_writers(repository)
    crashed, alive = [], []
    for record in records:
        if not (record.finished or is_dead(record, now=now, here=here)):
            if record.purpose in in_the_way and (record.copy_of is None or repository.config.single_writer):
                alive.append(record)
        elif record.source == source and record.purpose is Purpose.BACKUP and record.copy_of is None:
            crashed.append(record)
    return Predecessors(
        parent=parent,
        parent_journal_position=position,
        crashed=tuple(crashed),
        alive=tuple(alive),
        unreadable=tuple(unreadable),
        damaged=tuple(found.damaged),
        newest_damage=found.newest_damage,
    )


@dataclass(slots=True)
class _Newest:
    """The newest readable snapshot of a source, and the damaged outcomes that were met on the way."""

    newest: Committed | None = None
    damaged: list[DamagedError] = field(default_factory=list)
    newest_damage: DamagedError | None = None


def _newest_of(repository: Repository, source: str) -> _Newest:
    """The newest snapshot of a source: by its head, or else among the newest outcomes of all sources.

    How far it looks back is bounded, so that a new source costs the same in an old repository as in a young one;
    the price is that a source which lost its head and was silent for long is read in full once.
    """
    looked = _Newest()
    head = repository.heads.find(source)
    if head is not None and not repository.graves.is_buried(head):
        outcome = _read_or_note(repository, head, looked)
        if isinstance(outcome, Committed) and outcome.summary.source == source:
            looked.newest = outcome
            return looked
        looked.newest_damage = next(iter(looked.damaged), None)
    others = set(repository.outcomes.names()) - repository.graves.buried() - {head}
    for snapshot in islice(sorted(others, reverse=True), LOOK_BACK):
        outcome = _read_or_note(repository, snapshot, looked)
        if isinstance(outcome, Committed) and outcome.summary.source == source:
            looked.newest = outcome
            break
    return looked


def _read_or_note(repository: Repository, snapshot: SnapshotId, looked: _Newest) -> Outcome | None:
    """None if it is missing (a collection has cleared it away), or damaged, which is noted."""
    try:
        return repository.outcomes.read(snapshot)
    except DamagedError as error:
        if not isinstance(error.__cause__, ObjectMissingError):
            looked.damaged.append(error)
        return None


def undecided_writers(repository: Repository) -> tuple[list[WriterRecord], list[DamagedError]]:
    """Records of all writers without an outcome, ascending, and those that are damaged. One that vanishes
    meanwhile has just been decided."""
    records, unreadable = [], []
    writers = dict(repository.writers.listed())
    decided = set(repository.outcomes.names(since=min(writers))) if writers else set()
    for snapshot in sorted(set(writers) - decided):
        try:
            records.append(replace(repository.writers.read(snapshot), written_at=writers[snapshot]))
        except DamagedError as error:
            if not isinstance(error.__cause__, ObjectMissingError):
                unreadable.append(error)
    return records, unreadable
