"""Writers that fell silent: fenced by their outcome, so that they cannot commit; and aborted runs that nobody
adopted: given up by a tombstone, like any snapshot."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from holdfast.domain.errors import DamagedError, ObjectMissingError
from holdfast.domain.ids import SnapshotId
from holdfast.repository import layout
from holdfast.repository.collecting.rules import CollectionRules
from holdfast.repository.collecting.survey import Survey, list_by_id
from holdfast.repository.registers.outcomes import Aborted
from holdfast.repository.registers.writers import Purpose, WriterRecord, is_dead, last_heard, this_host
from holdfast.repository.repo import Repository

BY = "collection"


def fence_silent(repository: Repository, rules: CollectionRules, *, now: datetime) -> tuple[SnapshotId, ...]:
    """Abort writers without a sign of life, and drop the pins of such readers. A writer that only slept loses
    the race for its outcome, and says so."""
    fenced = []
    decided = set(repository.outcomes.names())
    for snapshot, info in list_by_id(repository, layout.WRITERS).items():
        if snapshot in decided:
            continue
        try:
            record = replace(repository.writers.read(snapshot), written_at=info.modified_at)
        except DamagedError as error:
            if isinstance(error.__cause__, ObjectMissingError):
                continue
            # A living writer replaces its record every minute: one that stays damaged has nobody behind it.
            if now - info.modified_at <= rules.silence:
                raise
            reason = f"its record {info.name} cannot be read"
        else:
            if not is_gone(record, rules, now=now):
                continue
            if record.purpose is not Purpose.BACKUP:
                repository.writers.retire(record, now=now)
                continue
            reason = f"silent since {last_heard(record, now=now):%Y-%m-%d %H:%M} UTC"
        outcome = repository.outcomes.abort(snapshot, at=now, reason=f"fenced by a collection: {reason}")
        if isinstance(outcome, Aborted):
            fenced.append(snapshot)
    return tuple(fenced)


def is_gone(record: WriterRecord, rules: CollectionRules, *, now: datetime) -> bool:
    """Whether a writer has ended or died, and nobody has adopted it for long."""
    ended = record.finished or is_dead(record, now=now, here=this_host())
    return ended and now - last_heard(record, now=now) > rules.silence


def give_up_leftovers(
    repository: Repository, survey: Survey, rules: CollectionRules
) -> tuple[SnapshotId, ...]:
    """Bury aborted runs that left something behind, so that no run adopts it any more. Whoever relies on one by
    now is found by the next collection, which lists the writers after these tombstones."""
    owners = {SnapshotId(name.split("/", 2)[1]) for name in survey.objects}
    given_up = []
    for snapshot, outcome in sorted(survey.outcomes.items()):
        if not isinstance(outcome, Aborted) or snapshot in survey.graves:
            continue
        if survey.at - outcome.at <= rules.silence or not (snapshot in owners or snapshot in survey.records):
            continue
        repository.graves.bury(snapshot, at=survey.at, by=BY, reason=f"the run was aborted: {outcome.reason}")
        given_up.append(snapshot)
    return tuple(given_up)
