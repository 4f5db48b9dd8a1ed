"""What a collection would do, and what it did: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from holdfast.domain.ids import SnapshotId
from holdfast.repository.collecting.decision import Amount, Kept
from holdfast.repository.registers.graves import Ending

NOTHING = Amount(objects=0, size_bytes=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionPlan:
    """`garbage`: what would go in the end; `freed`: the same by removed snapshot (or by the writer of leftovers).
    `ripe`: what an earlier plan, a grace older, names as well, so that it may go now; `ripe_share`: of all objects
    or bytes, whichever is more. `due_at`: when what waits becomes ripe, None if nothing is planned. `kept`: why
    space does not shrink. `pinned`: removed snapshots that living writers or readers rely on, and which. `spared`:
    objects of writers that may still live, or be adopted. `unknown`: names that nobody knows."""

    at: datetime
    total: Amount
    garbage: Amount
    freed: Mapping[SnapshotId, Amount]
    ripe: Amount
    ripe_share: float
    ripe_snapshots: tuple[SnapshotId, ...]
    due_at: datetime | None
    kept: tuple[Kept, ...]
    pinned: Mapping[SnapshotId, tuple[SnapshotId, ...]]
    held: tuple[SnapshotId, ...]
    spared: Amount
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionReport:
    """`plan`: what was known before anything was deleted. `swept`: removals that became final now; `kept_back`:
    those that an undelete or a late hold won. `collected`: snapshots that are gone, registers and all. `later`:
    objects that the storage would not let go yet, `later_why` and `later_until` say why and until when.
    `fenced`: silent writers that cannot commit any more; `given_up`: aborted runs whose leftovers will go.
    `warnings`: what went wrong beside it."""

    plan: CollectionPlan
    swept: tuple[SnapshotId, ...]
    kept_back: Mapping[SnapshotId, Ending]
    collected: tuple[SnapshotId, ...]
    deleted: Amount
    later: Amount
    later_why: str | None
    later_until: datetime | None
    fenced: tuple[SnapshotId, ...]
    given_up: tuple[SnapshotId, ...]
    warnings: tuple[str, ...]
