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
from dataclasses import dataclass
from datetime import datetime

from holdfast.domain.errors import DamagedError, RefusedError
from holdfast.domain.events import Listener, ignore
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import SnapshotSummary
from holdfast.repository.copies import Base, origin_of
from holdfast.repository.exposure import Exposures, measure_exposure
from holdfast.repository.outcomes import Committed
from holdfast.repository.repo import Repository
from holdfast.workflows.removal import bury
from holdfast.workflows.replicate import ReplicateOptions, replicate

REASON = "sealed anew after a compromise, as {copy}"

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resealed:
    """One snapshot and its copy under the new keys."""

    original: SnapshotId
    copy: SnapshotId


@dataclass(frozen=True, slots=True, kw_only=True)
class ResealReport:
    """`kept` are originals that stay although they have a copy, with the reason: a hold; `failed` those that could
    not be copied. `exposures`: what each epoch's keys open now; removed snapshots until they are collected."""

    resealed: tuple[Resealed, ...]
    kept: tuple[tuple[SnapshotId, str], ...]
    failed: tuple[tuple[SnapshotId, str], ...]
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
    everything = sorted(repository.committed(), key=lambda outcome: outcome.snapshot)
    old = [item for item in everything if not repository.has_current_identities(item.summary)]
    olds = {item.snapshot for item in old}
    copies = {
        _origin(repository, item.summary): item
        for item in everything
        if item.snapshot not in olds and item.summary.origin is not None
    }
    resealed: list[Resealed] = []
    kept: list[tuple[SnapshotId, str]] = []
    failed: list[tuple[SnapshotId, str]] = []
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
        except RefusedError as error:
            kept.append((summary.snapshot, error.message))
    return ResealReport(
        resealed=tuple(resealed),
        kept=tuple(kept),
        failed=tuple(failed),
        bytes_stored=stored,
        exposures=measure_exposure(repository),
    )


def _origin(repository: Repository, summary: SnapshotSummary) -> tuple[str, SnapshotId]:
    origin = origin_of(repository, summary)
    return origin.repository, origin.snapshot
