"""What workflows return: plain frozen values, which the ways in show as tables or as JSON."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from holdfast.domain.coverage import CoverageEntry
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import SnapshotState, SnapshotSummary
from holdfast.domain.tables import QualifiedName, Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class TableReading:
    """How one table was captured. What is unchanged was proven so, or found empty, and not read; `bytes_stored`
    counts new sealed bytes. `reason`: why all of it was read; empty if it could be proven."""

    name: QualifiedName
    rows: int
    rows_read: int
    rows_unchanged: int
    bytes_read: int
    bytes_unchanged: int
    bytes_stored: int
    ranges_read: int
    ranges_unchanged: int
    chunks_stored: int
    chunks_reused: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReport:
    """`bytes` counts all that the snapshot holds, `bytes_read` what was read of it. `reason`: why everything was
    read; empty if only what may have changed was. `refuted`: tables of which a full reading found rows
    changed that the proof had called the same; `suspects`: earlier snapshots that may hold old rows of them."""

    snapshot: SnapshotId
    source: str
    state: SnapshotState
    taken_at: datetime
    seconds: float
    tables: int
    rows: int
    bytes: int
    bytes_read: int
    bytes_stored: int
    chunks_stored: int
    chunks_reused: int
    definitions_reused: bool
    reason: str
    parent: SnapshotId | None
    adopted: SnapshotId | None
    coverage: tuple[CoverageEntry, ...]
    readings: tuple[TableReading, ...]
    warnings: tuple[str, ...]
    refuted: tuple[QualifiedName, ...] = ()
    suspects: tuple[SnapshotId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedAt:
    """The newest check that speaks of a snapshot: its level, when, and whether the snapshot passed it."""

    level: int
    at: datetime
    passed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSnapshot:
    """`held`: the ids of the legal holds that stand over it. `replaced_by`: the snapshot as which it was sealed
    anew; `replaces`: the one of which this is such a copy."""

    summary: SnapshotSummary
    verified: VerifiedAt | None
    held: tuple[str, ...] = ()
    replaced_by: SnapshotId | None = None
    replaces: SnapshotId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListReport:
    """`unreadable` names outcomes that could not be opened; a listing with any is not fine."""

    snapshots: tuple[ListedSnapshot, ...]
    unreadable: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something wrong with one object: which one, which snapshots and tables it touches, what is wrong."""

    object_name: str
    snapshots: tuple[SnapshotId, ...]
    tables: tuple[QualifiedName, ...]
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """`objects` and `bytes` count what was checked at this level (sealed objects; bytes of plaintext at
    level 3, sealed bytes below).

    `unseen` came after the check began, sealed with newer keys, and was not looked at. `accepted` are damaged
    journal entries whose loss an operator has accepted; `hints` are damaged, and nothing rests on them.

    `unrecorded`: why the repository does not remember this check; None if it does."""

    level: int
    snapshots: tuple[SnapshotId, ...]
    objects: int
    bytes: int
    seconds: float
    findings: tuple[Finding, ...]
    unseen: tuple[Finding, ...] = ()
    accepted: tuple[Finding, ...] = ()
    hints: tuple[Finding, ...] = ()
    unrecorded: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TierTime:
    """`seconds` from the start of the restore until every table of the tier was readable."""

    tier: Tier
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """What came back. `left_out` names what the snapshot holds and the target did not get, with what to do
    about it: a restore with any is partial. `refuted` and `suspects`: what the safety snapshot found, as in
    `BackupReport`; the restore itself does not rest on it."""

    snapshot: SnapshotId
    target: str
    seconds: float
    tables: int
    rows: int
    bytes: int
    tiers: tuple[TierTime, ...]
    warnings: tuple[str, ...]
    left_out: tuple[str, ...]
    safety_snapshot: SnapshotId | None
    refuted: tuple[QualifiedName, ...] = ()
    suspects: tuple[SnapshotId, ...] = ()


class CheckStatus(enum.StrEnum):
    FINE = "fine"
    WARNING = "warning"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that doctor looked at. `remedy` is the exact statement, package or setting that mends it."""

    subject: str
    status: CheckStatus
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorReport:
    source: str | None
    repository: str | None
    checks: tuple[Check, ...]

    @property
    def fine(self) -> bool:
        return all(check.status is not CheckStatus.MISSING for check in self.checks)
