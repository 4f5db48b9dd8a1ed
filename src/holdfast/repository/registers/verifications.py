"""Records of past checks: which snapshots passed which level, and when. A claim always carries both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from holdfast.domain.errors import DamagedError
from holdfast.domain.ids import SnapshotId, parse_snapshot_id
from holdfast.repository import layout
from holdfast.repository.encoding import moment, parse_moment
from holdfast.repository.registers.documents import expect_name, read_document, seal_document
from holdfast.repository.repo import Repository
from holdfast.repository.seal import ObjectType


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """`passed` had no finding at this level; `failed` had at least one. `record` names it, a ULID."""

    record: str
    level: int
    at: datetime
    passed: tuple[SnapshotId, ...]
    failed: tuple[SnapshotId, ...]


def record_verification(repository: Repository, verification: Verification, *, journal_hint: int) -> None:
    """Store a record and say so in the journal, so that a removed record is noticed."""
    sealed, identity = seal_document(
        repository.sealer,
        ObjectType.VERIFY,
        {
            "record": verification.record,
            "level": verification.level,
            "at": moment(verification.at),
            "passed": list(verification.passed),
            "failed": list(verification.failed),
        },
    )
    name = layout.verification(verification.record)
    repository.storage.create(name, sealed)
    facts = {
        "record": verification.record,
        "identity": identity.hex(),
        "level": verification.level,
        "passed": len(verification.passed),
        "failed": len(verification.failed),
    }
    repository.journal.append("verified", facts, at=verification.at, hint=journal_hint)


def read_verification(repository: Repository, record: str) -> Verification:
    """`DamagedError` if it is missing, altered or another's."""
    name = layout.verification(record)
    verification, _ = read_document(repository.storage, repository.sealer, ObjectType.VERIFY, name, _decode)
    expect_name(name, layout.verification(verification.record))
    return verification


def latest_verdicts(
    repository: Repository, snapshots: Iterable[SnapshotId]
) -> tuple[dict[SnapshotId, Verification], list[DamagedError]]:
    """The record on which each snapshot's verdict rests, and records that cannot be read.

    That is the newest at the highest level since the last failure. A failure stands until a check at its level,
    or a higher one, passes: a lower one does not look where the damage is.
    """
    wanted = set(snapshots)
    verdicts: dict[SnapshotId, Verification] = {}
    damaged: list[DamagedError] = []
    names = [info.name for info in repository.storage.list(layout.VERIFICATIONS)]
    for name in sorted(names):
        try:
            found = read_verification(repository, name.removeprefix(layout.VERIFICATIONS))
        except DamagedError as error:
            damaged.append(error)
            continue
        for snapshot in found.failed:
            before = verdicts.get(snapshot)
            if snapshot in wanted and (snapshot not in _failed(before) or _reaches(found, before)):
                verdicts[snapshot] = found
        for snapshot in found.passed:
            if snapshot in wanted and _reaches(found, verdicts.get(snapshot)):
                verdicts[snapshot] = found
    return verdicts, damaged


def _failed(before: Verification | None) -> tuple[SnapshotId, ...]:
    return () if before is None else before.failed


def _reaches(found: Verification, before: Verification | None) -> bool:
    return before is None or found.level >= before.level


def _decode(document: Any) -> Verification:
    return Verification(
        record=str(document["record"]),
        level=int(document["level"]),
        at=parse_moment(document["at"]),
        passed=tuple(parse_snapshot_id(item) for item in document["passed"]),
        failed=tuple(parse_snapshot_id(item) for item in document["failed"]),
    )
