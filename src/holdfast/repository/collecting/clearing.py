"""Clearing the registers of what is gone, so that nothing grows with the age of a repository.

The journal names it first (`collected`), so that level 0 does not miss it. Then the outcome, the writer's record,
the tombstones, the fates, in this order: whoever finds no tombstone any more finds no outcome either.

An outcome goes only if its writer has surely ended: it retired its record, or marked it finished. Otherwise it may
sleep in the middle of creating this very outcome, and the register must not open again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from holdfast.domain.errors import LackingRightsError
from holdfast.domain.ids import SnapshotId
from holdfast.repository import layout
from holdfast.repository.abreast import abreast
from holdfast.repository.collecting.rules import CollectionRules
from holdfast.repository.collecting.survey import Survey
from holdfast.repository.collecting.sweep import DELETERS, Later
from holdfast.repository.registers.holds import Hold
from holdfast.repository.registers.outcomes import Aborted, Committed
from holdfast.repository.registers.verifications import latest_verdicts
from holdfast.repository.registers.writers import is_surely_gone, this_host
from holdfast.repository.repo import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clearance:
    """What may go of one snapshot: its outcome (else that stays as a fence for good), and everything else."""

    snapshot: SnapshotId
    outcome: bool


def clear_registers(
    repository: Repository,
    survey: Survey,
    complete: Collection[SnapshotId],
    rules: CollectionRules,
    later: Later,
    *,
    at: datetime,
) -> tuple[SnapshotId, ...]:
    """Clear what belongs to these swept snapshots, of which no object is left; returns those that are gone."""
    clearances = [item for snapshot in complete if (item := _judge(survey, snapshot)) is not None]
    gone = [item.snapshot for item in clearances if item.outcome]
    records = _superseded(repository, survey, gone, rules)
    named = [snapshot for snapshot in gone if snapshot in survey.outcomes]
    forgotten = _ended_holds(survey, gone)
    if named or records or forgotten:
        holds = [hold.hold for hold in forgotten]
        facts = {"snapshots": named, "records": records, "holds": holds}
        repository.journal.append("collected", facts, at=at, hint=survey.journal_position)
    for record in records:
        _delete(repository, layout.verification(record), later)

    def clear(item: _Clearance) -> bool:
        return _clear(repository, survey, item, later)

    cleared = list(abreast(clear, clearances, threads=DELETERS))
    _clear_strays(repository, survey, later)
    _retire_dead(repository, survey, rules, at=at)
    for hold in forgotten:
        repository.holds.forget(hold)
    return tuple(item.snapshot for item, done in zip(clearances, cleared, strict=True) if done)


def _judge(survey: Survey, snapshot: SnapshotId) -> _Clearance | None:
    outcome = survey.outcomes.get(snapshot)
    record = survey.records.get(snapshot)
    ended = record is not None and record.finished
    if isinstance(outcome, Committed) and snapshot in survey.records and not ended:
        return None
    if isinstance(outcome, Aborted):
        return _Clearance(snapshot=snapshot, outcome=ended)
    return _Clearance(snapshot=snapshot, outcome=True)


def _clear(repository: Repository, survey: Survey, item: _Clearance, later: Later) -> bool:
    snapshot = item.snapshot
    rounds = sorted(number for owner, number in survey.rounds if owner == snapshot)
    fates = sorted(number for owner, number in survey.fates if owner == snapshot)
    standing = survey.graves[snapshot].round
    names = [layout.outcome(snapshot)] if item.outcome else []
    names.append(layout.writer(snapshot))
    names += [layout.tombstone(snapshot, number) for number in rounds]
    names += [layout.fate(snapshot, number) for number in sorted({*fates, standing})]
    return all(_delete(repository, name, later) for name in names)


def _delete(repository: Repository, name: str, later: Later) -> bool:
    try:
        repository.storage.delete(name)
    except LackingRightsError as error:
        later.add(name, 0, error)
        return False
    return True


def _clear_strays(repository: Repository, survey: Survey, later: Later) -> None:
    """Registers that belong to nothing any more, left by kills in the middle of clearing, or created by somebody
    who slept through it; and records of writers that have ended and committed."""
    for owner, number in sorted(survey.rounds):
        if owner not in survey.outcomes and owner not in survey.writers and owner not in survey.graves:
            _delete(repository, layout.tombstone(owner, number), later)
    for owner, number in sorted(survey.fates - survey.rounds):
        if not isinstance(survey.outcomes.get(owner), Committed) and owner not in survey.graves:
            _delete(repository, layout.fate(owner, number), later)
    for snapshot, record in survey.records.items():
        if isinstance(survey.outcomes[snapshot], Committed) and record is not None and record.finished:
            _delete(repository, layout.writer(snapshot), later)


def _retire_dead(repository: Repository, survey: Survey, rules: CollectionRules, *, at: datetime) -> None:
    """Strike off writers that committed and were killed before they could do so themselves. Only those whose
    process has surely ended: one that is merely silent may sleep. The next collection clears their outcomes."""
    here = this_host()
    for snapshot, record in survey.records.items():
        if record is None or record.finished or not isinstance(survey.outcomes[snapshot], Committed):
            continue
        if is_surely_gone(record, here=here) and at - record.heartbeat_at > rules.silence:
            repository.writers.retire(record, now=at)


def _superseded(
    repository: Repository, survey: Survey, gone: Iterable[SnapshotId], rules: CollectionRules
) -> list[str]:
    """Records of checks that no snapshot's verdict rests on any more."""
    standing = set(survey.outcomes) - set(gone)
    verdicts, damaged = latest_verdicts(repository, standing)
    used = {item.record for item in verdicts.values()}
    broken = {error.object_name for error in damaged}
    superseded = []
    for info in repository.storage.list(layout.VERIFICATIONS):
        record = info.name.removeprefix(layout.VERIFICATIONS)
        old = survey.at - info.modified_at > rules.grace
        if old and record not in used and info.name not in broken:
            superseded.append(record)
    return superseded


def _ended_holds(survey: Survey, gone: Iterable[SnapshotId]) -> list[Hold]:
    """Holds that stand no more, of snapshots that are gone."""
    standing = set(survey.outcomes) - set(gone)
    return [
        hold for hold in survey.holds if not hold.stands(survey.at) and standing.isdisjoint(hold.snapshots)
    ]
