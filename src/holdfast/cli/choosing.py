"""Which snapshot a command is about: one that is named, or the one that shows a moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from holdfast.cli.invocation import Invocation
from holdfast.cli.words import iso, moment, moment_there, printable, span
from holdfast.domain.errors import UsageError
from holdfast.domain.ids import SnapshotId

if TYPE_CHECKING:
    from holdfast.cli.documents import Document
    from holdfast.repository.repo import Repository
    from holdfast.workflows.point_in_time import PointInTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for, before the repository was opened: a name, or a moment."""

    name: str | None
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The snapshot that is meant. `point` says how far it is from the moment that was asked for."""

    snapshot: SnapshotId
    point: PointInTime | None = None

    def document(self) -> Document:
        """What a report's document says beside the rest."""
        if self.point is None:
            return {}
        before = round(self.point.before.total_seconds(), 3)
        asked = self.point.asked
        return {"at": {"asked": iso(asked), "asked_there": asked.isoformat(), "seconds_before": before}}


def wanted(name: str | None, at: str | None, *, otherwise: str | None = None) -> Wanted:
    """Raises `UsageError` unless exactly one is given, or none and there is an `otherwise`."""
    from holdfast.domain.moments import parse_moment

    if name is not None and at is not None:
        raise UsageError("a snapshot and --at exclude each other", hint="leave one of them out")
    if at is not None:
        return Wanted(name=None, at=parse_moment(at, now=datetime.now(UTC)))
    if name is None and otherwise is None:
        raise UsageError(
            "no snapshot is named", hint='name one, say latest, or give a moment with --at "2026-11-20 14:05"'
        )
    return Wanted(name=name or otherwise, at=None)


def choose(invocation: Invocation, repository: Repository, wanted: Wanted, *, source: str | None) -> Chosen:
    """The snapshot meant. How far it is from the moment asked for is said on standard error, quiet or not: what
    lies between is not in it."""
    from holdfast.workflows.listing import resolve

    if wanted.at is None:
        return Chosen(snapshot=resolve(repository, wanted.name or "latest", source=source))
    from holdfast.workflows.point_in_time import find_at

    point = find_at(repository, wanted.at, now=datetime.now(UTC), source=source)
    invocation.tell(describe(point), quiet=False)
    return Chosen(snapshot=point.summary.snapshot, point=point)


def describe(point: PointInTime) -> str:
    summary = point.summary
    text = (
        f"snapshot {summary.snapshot} of {printable(summary.source)} was taken {span(point.before)} before "
        f"{moment_there(point.asked)}, at {moment(summary.taken_at)}"
    )
    return f"{text}; it is PARTIAL" if point.partial else text
