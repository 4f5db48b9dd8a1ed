"""The sweep: win the fates, delete what then nobody can name, clear the registers. Each step may be the last one
before a kill; the next collection goes on from there.

The order: fates first, and what is deleted is computed again from those that were won. Data, then manifests, then
roots, so that whatever is left of a swept snapshot can still be found by its manifests. Then the journal entry
`collected`, the outcome, the writer's record, the tombstones, the fates: so that nothing without a tombstone has
an outcome without objects, and no register opens again for somebody who slept.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from holdfast.domain.errors import InterruptedRunError, LackingRightsError, LockedObjectError
from holdfast.domain.ids import SnapshotId
from holdfast.repository import layout
from holdfast.repository.abreast import abreast
from holdfast.repository.collecting.decision import Decision, decide_swept
from holdfast.repository.collecting.plans import Plan
from holdfast.repository.collecting.survey import Survey
from holdfast.repository.registers.graves import Ending, Fate
from holdfast.repository.repo import Repository

DELETERS = 8
_RUN = 32


@dataclass(slots=True)
class Later:
    """Objects that could not be deleted yet, and why."""

    sizes: dict[str, int] = field(default_factory=dict)
    why: str | None = None
    until: datetime | None = None

    def add(self, name: str, size_bytes: int, error: LackingRightsError) -> None:
        self.sizes[name] = size_bytes
        self.why = self.why or error.message
        if isinstance(error, LockedObjectError) and error.until is not None:
            self.until = max(self.until or error.until, error.until)


class Sweep:
    """One sweep, by one survey."""

    def __init__(self, repository: Repository, survey: Survey, interrupted: threading.Event) -> None:
        self._repository = repository
        self._survey = survey
        self._interrupted = interrupted
        self.kept_back: dict[SnapshotId, Ending] = {}
        self.deleted: dict[str, int] = {}
        self.later = Later()

    def win_fates(self, snapshots: Collection[SnapshotId]) -> frozenset[SnapshotId]:
        """Decide these removals; returns those that are swept now, by us or by another collection."""

        def decide(snapshot: SnapshotId) -> Fate:
            self._stop_if_asked()
            if snapshot in self._survey.swept:
                return self._fate(snapshot)
            return self._repository.graves.decide(self._fate(snapshot))

        swept = set()
        for snapshot, fate in zip(snapshots, abreast(decide, snapshots, threads=DELETERS), strict=True):
            if fate.ending is Ending.SWEPT:
                swept.add(snapshot)
            else:
                self.kept_back[snapshot] = fate.ending
        return frozenset(swept)

    def delete(self, swept: Collection[SnapshotId], basis: Plan | None) -> Decision:
        """Delete what both plans name; returns what is garbage by these fates."""
        decision = decide_swept(self._survey, swept)
        planned = basis.objects if basis is not None else frozenset()
        both = {name: size for name, size in decision.garbage.items() if name in planned}
        self._delete({name: size for name, size in both.items() if name.startswith(layout.DATA)})
        manifests = {name: size for name, size in both.items() if name.startswith(layout.META)}
        kept = self._manifests_to_keep(swept, decision)
        roots = {layout.root(snapshot) for snapshot in self._survey.outcomes}
        free = {name: size for name, size in manifests.items() if name not in kept}
        self._delete({name: size for name, size in free.items() if name not in roots})
        kept = self._manifests_to_keep(swept, decision)
        self._delete({name: size for name, size in free.items() if name in roots and name not in kept})
        return decision

    def complete(self, swept: Collection[SnapshotId], decision: Decision) -> list[SnapshotId]:
        """Swept snapshots of which nothing is left that they alone need, or that they wrote and nobody needs."""
        left = set(decision.garbage) - set(self.deleted)
        if not left:
            return sorted(swept)
        owners = {name.split("/", 2)[1] for name in left}
        return sorted(
            item for item in swept if item not in owners and left.isdisjoint(self._survey.references.of(item))
        )

    def _manifests_to_keep(self, swept: Collection[SnapshotId], decision: Decision) -> set[str]:
        """Manifests and roots of snapshots of which something deeper is left: only they still know of it."""
        left = set(decision.garbage) - set(self.deleted)
        deeper = {name for name in left if name.startswith(layout.DATA)} | set(self.later.sizes)
        if not deeper:
            return set()
        keep: set[str] = set()
        for snapshot in swept:
            needed = self._survey.references.of(snapshot)
            if not deeper.isdisjoint(needed):
                keep.update(name for name in needed if name.startswith(layout.META))
        return keep

    def _delete(self, sizes: Mapping[str, int]) -> None:
        names = sorted(sizes)

        def delete(name: str) -> LackingRightsError | None:
            self._stop_if_asked()
            try:
                self._repository.storage.delete(name)
            except LackingRightsError as error:
                return error
            return None

        for name, error in zip(names, abreast(delete, names, threads=DELETERS, run=_RUN), strict=True):
            if error is None:
                self.deleted[name] = sizes[name]
            else:
                self.later.add(name, sizes[name], error)

    def _fate(self, snapshot: SnapshotId) -> Fate:
        return Fate(
            snapshot=snapshot,
            round=self._survey.graves[snapshot].round,
            at=self._survey.at,
            by="collection",
            ending=Ending.SWEPT,
        )

    def _stop_if_asked(self) -> None:
        if self._interrupted.is_set():
            raise InterruptedRunError("interrupted; run it again to go on, nothing that counts was deleted")
