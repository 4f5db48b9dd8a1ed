"""A full reading found rows changed that the proof had called unchanged: who may hold old rows, and what to do.

The snapshot that found it is right, since all of it was read. What rests on proofs are the snapshots taken since
the full reading before it, up to the parent; those are named. The journal remembers it, whatever becomes of
the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from holdfast.domain.errors import DamagedError
from holdfast.domain.ids import SnapshotId, moment_of
from holdfast.domain.manifest import Root
from holdfast.domain.tables import QualifiedName
from holdfast.repository.registers.outcomes import Committed
from holdfast.repository.repo import Repository

PROOF_REFUTED = "proof refuted"
_LONGEST_START = timedelta(days=1)  # from a run's id to its snapshot: it may wait for locks
_MANY = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Refutation:
    """`tables` had changed unseen. `suspects` were taken after `since`, the full reading before, and may hold old
    rows of them."""

    tables: tuple[QualifiedName, ...]
    since: datetime
    suspects: tuple[SnapshotId, ...]

    @property
    def message(self) -> str:
        tables = ", ".join(map(str, self.tables))
        return (
            f"table {tables}: rows had changed that the proof of unchanged ranges had called the same; this "
            f"snapshot is right, since all was read; {self._earlier()}; restore it from this snapshot, or from "
            "one up to then, keep this one with holdfast hold add, and report this"
        )

    def _earlier(self) -> str:
        since = f"{self.since:%Y-%m-%d %H:%M:%S} UTC, when all was read"
        if not self.suspects:
            return f"no earlier one was taken after {since}"
        shown = ", ".join(self.suspects[:_MANY])
        more = len(self.suspects) - _MANY
        rest = f" and {more} more" if more > 0 else ""
        return f"those taken after {since}, may hold old rows of it: {shown}{rest}"


def note_refuted(
    repository: Repository,
    tables: Sequence[QualifiedName],
    *,
    snapshot: SnapshotId,
    parent: Root,
    at: datetime,
) -> Refutation:
    """Write it into the journal, before `snapshot` is committed: once it is, nothing finds it again."""
    since = parent.read_in_full_at or parent.instant.taken_at
    facts = {
        "tables": [str(table) for table in tables],
        "snapshot": snapshot,
        "parent": parent.snapshot,
        "since": since.isoformat(),
    }
    repository.journal.append(PROOF_REFUTED, facts, at=at, hint=parent.journal_position)
    return Refutation(tables=tuple(tables), since=since, suspects=_suspects(repository, parent, since))


def _suspects(repository: Repository, parent: Root, since: datetime) -> tuple[SnapshotId, ...]:
    """Snapshots of the source after that reading, up to the parent; also removed ones, which may come back."""
    found = []
    for snapshot in repository.outcomes.names():
        if snapshot > parent.snapshot or moment_of(snapshot) < since - _LONGEST_START:
            continue
        try:
            outcome = repository.outcomes.read(snapshot)
        except DamagedError:
            continue  # nothing can be taken from it
        if not isinstance(outcome, Committed) or outcome.summary.source != parent.source:
            continue
        if since < outcome.summary.taken_at:
            found.append(snapshot)
    return tuple(found)
