"""Outcomes: one create-once register per snapshot, written once, with exactly one winner.

`committed` makes a snapshot exist; `aborted` means that it never will. Whoever creates the object first decides,
so a writer that was declared dead while it slept cannot commit any more, and is told so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from holdfast.domain.errors import FencedError, ObjectExistsError
from holdfast.domain.ids import SnapshotId, parse_snapshot_id
from holdfast.domain.manifest import SnapshotSummary
from holdfast.repository import layout
from holdfast.repository.encoding import moment, parse_moment
from holdfast.repository.registers.documents import expect_name, read_document, seal_document
from holdfast.repository.root_codec import decode_summary, encode_summary
from holdfast.repository.seal import ObjectType, Sealer
from holdfast.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """`journal_position` is where the journal speaks of this commit. `locked_until`: all that the snapshot needs
    is locked until then, at least; None if nothing is, or nobody knows."""

    snapshot: SnapshotId
    at: datetime
    summary: SnapshotSummary
    journal_position: int
    locked_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Aborted:
    snapshot: SnapshotId
    at: datetime
    reason: str


Outcome = Committed | Aborted


class Outcomes:
    """The `outcomes/` objects of one repository."""

    def __init__(self, storage: Storage, sealer: Sealer) -> None:
        self._storage = storage
        self._sealer = sealer

    def commit(self, outcome: Committed) -> None:
        """Make the snapshot exist, or raise `FencedError` if it was declared dead meanwhile."""
        try:
            self._create(
                outcome,
                {
                    "state": "committed",
                    "summary": encode_summary(outcome.summary),
                    "journal_position": outcome.journal_position,
                    **({"locked_until": moment(outcome.locked_until)} if outcome.locked_until else {}),
                },
            )
        except ObjectExistsError as error:
            found = self.read(outcome.snapshot)
            if isinstance(found, Committed) and found.summary == outcome.summary:
                return  # our own write, whose answer got lost
            reason = found.reason if isinstance(found, Aborted) else "another process committed under its id"
            raise FencedError(
                f"snapshot {outcome.snapshot} was given up before it could be committed: {reason}",
                hint="run the backup again; what was stored is reused",
            ) from error

    def abort(self, snapshot: SnapshotId, *, at: datetime, reason: str) -> Outcome:
        """Declare a snapshot dead; returns the outcome that stands, which may be an earlier one."""
        outcome = Aborted(snapshot=snapshot, at=at, reason=reason)
        try:
            self._create(outcome, {"state": "aborted", "reason": reason})
        except ObjectExistsError:
            return self.read(snapshot)
        return outcome

    def read(self, snapshot: SnapshotId) -> Outcome:
        """`DamagedError` if it is missing, altered or another's."""
        name = layout.outcome(snapshot)
        outcome, _ = read_document(self._storage, self._sealer, ObjectType.OUTCOME, name, _decode)
        expect_name(name, layout.outcome(outcome.snapshot))
        return outcome

    def names(self, *, since: SnapshotId | None = None) -> Iterator[SnapshotId]:
        """Ids of all decided snapshots, ascending, which is by the time at which they began; only `since` and
        those after it, if given."""
        # "-" comes before every character of an id: the listing begins with `since` itself.
        after = None if since is None else layout.outcome(SnapshotId(f"{since[:-1]}-"))
        for info in self._storage.list(layout.OUTCOMES, after=after):
            with suppress(ValueError):
                yield layout.snapshot_in(info.name)

    def _create(self, outcome: Outcome, facts: dict[str, Any]) -> None:
        document = {"snapshot": outcome.snapshot, "at": moment(outcome.at), **facts}
        sealed, _ = seal_document(self._sealer, ObjectType.OUTCOME, document)
        self._storage.create(layout.outcome(outcome.snapshot), sealed)


def _decode(document: Any) -> Outcome:
    snapshot, at = parse_snapshot_id(document["snapshot"]), parse_moment(document["at"])
    if document["state"] == "aborted":
        return Aborted(snapshot=snapshot, at=at, reason=str(document["reason"]))
    if document["state"] != "committed":
        raise ValueError(f"unknown state {document['state']!r}")
    summary = decode_summary(document["summary"])
    if summary.snapshot != snapshot:
        raise ValueError("the summary belongs to another snapshot")
    locked_until = document.get("locked_until")
    return Committed(
        snapshot=snapshot,
        at=at,
        summary=summary,
        journal_position=int(document["journal_position"]),
        locked_until=None if locked_until is None else parse_moment(locked_until),
    )
