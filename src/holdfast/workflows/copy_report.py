"""What a copying run returns: what became of each snapshot at each destination, and what is still lacking."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.domain.errors import HoldfastError
from holdfast.domain.ids import SnapshotId


class CopyState(enum.StrEnum):
    """`PRESENT`: it was there already. `SKIPPED`: not tried, because of what failed before it."""

    COPIED = "copied"
    PRESENT = "present"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyResult:
    """What became of one snapshot at one destination.

    `snapshot` None: the destination could not even be asked what it lacks. `level` is the level that all of the
    copy passed, `sent_level` the one that the newly sent objects passed; 0 if nothing was copied.
    """

    snapshot: SnapshotId | None
    source: str | None
    copy: SnapshotId | None
    place: str
    destination: str
    state: CopyState
    bytes_sent: int = 0
    chunks_sent: int = 0
    chunks_reused: int = 0
    level: int = 0
    sent_level: int = 0
    seconds: float = 0.0
    error: HoldfastError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StillLacking:
    """Newer snapshots of a source that a destination lacks and that this run was not asked to copy."""

    destination: str
    source: str
    snapshots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyReport:
    copies: tuple[CopyResult, ...]
    lacking: tuple[StillLacking, ...]
    warnings: tuple[str, ...]
    seconds: float

    @property
    def failures(self) -> tuple[CopyResult, ...]:
        return tuple(result for result in self.copies if result.error is not None)


def joined(reports: Sequence[CopyReport]) -> CopyReport:
    """One report of several runs."""
    return CopyReport(
        copies=tuple(result for report in reports for result in report.copies),
        lacking=tuple(item for report in reports for item in report.lacking),
        warnings=tuple(dict.fromkeys(text for report in reports for text in report.warnings)),
        seconds=sum(report.seconds for report in reports),
    )


def unopened(place: str, destinations: Sequence[str], error: HoldfastError) -> CopyReport:
    """The report of a run whose source repository could not be had."""
    copies = tuple(
        CopyResult(
            snapshot=None,
            source=None,
            copy=None,
            place=place,
            destination=name,
            state=CopyState.FAILED,
            error=error,
        )
        for name in destinations
    )
    return CopyReport(copies=copies, lacking=(), warnings=(), seconds=0.0)
