"""Reseal: what the old keys still open is stored anew under the new ones, and the originals are removed.

After a compromise, old snapshots would otherwise stay open to the old keys until retention lets them go. Each is
replicated within the repository, as a copy that names its original; then the original gets a tombstone, and the
collection deletes it after its grace time. Nothing can be done about what somebody has copied.

The invariant: an original is removed only after its copy is committed and checked; it may be killed anywhere and
run again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from holdfast.domain.errors import DamagedError, ObjectMissingError, RefusedError, SteppedAsideError
from holdfast.domain.events import Listener, ignore
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import SnapshotSummary
from holdfast.repository import layout
from holdfast.repository.checking.exposure import Exposures, measure_exposure
from holdfast.repository.registers.outcomes import Committed
from holdfast.repository.registers.writers import Purpose
from holdfast.repository.repo import Repository
from holdfast.repository.runs.copies import Base, origin_of
from holdfast.repository.runs.predecessors import undecided_writers
from holdfast.repository.seal import HEADER_BYTES, read_header
from holdfast.workflows.holding import add_hold, list_holds
from holdfast.workflows.removal import bury
from holdfast.workflows.replicate import ReplicateOptions, replicate

REASON = "sealed anew after a compromise, as {copy}"
HELD_TOO = "{why} (hold {hold} of {original}, of which this is a copy)"

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resealed:
    """One snapshot and its copy under the new keys."""

    original: SnapshotId
    copy: SnapshotId


@dataclass(frozen=True, slots=True, kw_only=True)
class ResealReport:
    """`kept` are originals that stay although they have a copy, with the reason: a hold, which stands over the
    copy, too; `failed` those that could not be copied. `still_writing`: undecided ones that began with the old
    keys and may yet be committed. `exposures`: what each epoch's keys open now; removed snapshots until they are
    collected."""

    resealed: tuple[Resealed, ...]
    kept: tuple[tuple[SnapshotId, str], ...]
    failed: tuple[tuple[SnapshotId, str], ...]
    still_writing: tuple[SnapshotId, ...]
    bytes_stored: int
    exposures: Exposures


def reseal(
    repository: Repository,
    *,
    by: str,
    clock: Clock,
    options: ReplicateOptions | None = None,
    listener: Listener = ignore,
    interrupted: threading.Event | None = None,
) -> ResealReport:
    """Copy every snapshot of before the compromise, oldest first, each on top of the one before."""
    old: list[Committed] = []
    copies: dict[tuple[str, SnapshotId], Committed] = {}
    resealed: list[Resealed] = []
    kept: list[tuple[SnapshotId, str]] = []
    failed: list[tuple[SnapshotId, str]] = []
    for outcome in sorted(repository.committed(), key=lambda item: item.snapshot):
        try:
            is_current = repository.has_current_identities(outcome.summary)
        except DamagedError as error:
            failed.append((outcome.snapshot, error.message))
            continue
        if not is_current:
            old.append(outcome)
        elif outcome.summary.origin is not None:
            copies[_origin(repository, outcome.summary)] = outcome
    bases: dict[str, Base] = {}
    stored = 0
    for outcome in old:
        summary = outcome.summary
        copy = copies.get(_origin(repository, summary))
        if copy is None:
            try:
                replica = replicate(
                    repository,
                    summary,
                    repository,
                    base=bases.get(summary.source),
                    options=options or ReplicateOptions(),
                    settled=None if summary.origin is None else summary.origin.settled,
                    listener=listener,
                    interrupted=interrupted,
                    clock=clock,
                )
            except DamagedError as error:
                failed.append((summary.snapshot, error.message))
                continue
            stored += replica.bytes_sent
            made = repository.outcomes.read(replica.summary.snapshot)
            assert isinstance(made, Committed)
            copy = made
        bases[summary.source] = Base(
            source=summary, destination=copy.summary, journal_position=copy.journal_position
        )
        resealed.append(Resealed(original=summary.snapshot, copy=copy.snapshot))
        try:
            bury(repository, {summary.snapshot: REASON.format(copy=copy.snapshot)}, by=by, clock=clock)
        except SteppedAsideError:
            raise  # nothing keeps it: the next reseal goes on here
        except RefusedError as error:
            kept.append((summary.snapshot, error.message))
            _hold_copy(repository, summary.snapshot, copy.snapshot, clock=clock)
    return ResealReport(
        resealed=tuple(resealed),
        kept=tuple(kept),
        failed=tuple(failed),
        still_writing=_still_writing(repository),
        bytes_stored=stored,
        exposures=measure_exposure(repository),
    )


def _hold_copy(repository: Repository, original: SnapshotId, copy: SnapshotId, *, clock: Clock) -> None:
    """What holds the original holds its copy, too, by a hold of its own; one that was ended stays ended."""
    every = list_holds(repository)
    reasons = {hold.why for hold in every if copy in hold.snapshots}
    now = clock()
    for hold in every:
        why = HELD_TOO.format(why=hold.why, hold=hold.hold, original=original)
        if original in hold.snapshots and hold.stands(now) and why not in reasons:
            add_hold(repository, [copy], by=hold.by, why=why, until=hold.until, clock=clock)


def _still_writing(repository: Repository) -> tuple[SnapshotId, ...]:
    """Undecided snapshots that are written with the old keys, or whose records cannot be read."""
    records, damaged = undecided_writers(repository)
    found = [layout.snapshot_in(error.object_name) for error in damaged]
    for record in records:
        if record.purpose is Purpose.BACKUP and not record.finished:
            with suppress(ObjectMissingError):  # decided meanwhile
                data = repository.storage.get(layout.writer(record.snapshot), length=HEADER_BYTES)
                if not repository.keyring.shares_identities(read_header(data).epoch):
                    found.append(record.snapshot)
    return tuple(sorted(found))


def _origin(repository: Repository, summary: SnapshotSummary) -> tuple[str, SnapshotId]:
    origin = origin_of(repository, summary)
    return origin.repository, origin.snapshot
