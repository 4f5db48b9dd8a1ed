"""Plans: what a collection found to be garbage, and what it knew. The next one deletes only what both name.

A plan holds all committed snapshots that it saw, how far it had read the journal, and which legal holds stood by
it, so that a later collection notices if a listing leaves one of them out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from holdfast.domain.errors import DamagedError, ObjectExistsError, ObjectMissingError
from holdfast.domain.ids import SnapshotId, parse_snapshot_id
from holdfast.repository import layout
from holdfast.repository.encoding import moment, parse_moment
from holdfast.repository.registers.documents import expect_name, read_document, seal_document
from holdfast.repository.registers.holds import Hold, decode_hold, encode_hold
from holdfast.repository.seal import ObjectType, Sealer
from holdfast.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`graves`: removed snapshots that nothing kept, with the round of their burial. `objects`: what nothing
    but those needed. `snapshots`: all committed ones. `journal_position`: up to where the journal was read;
    `holds`: legal holds that stood by it, None if the plan does not say."""

    number: int
    at: datetime
    journal_position: int
    snapshots: frozenset[SnapshotId]
    graves: Mapping[SnapshotId, int]
    objects: frozenset[str]
    holds: tuple[Hold, ...] | None


class Plans:
    """The `gc/<n>/plan` objects of one repository."""

    def __init__(self, storage: Storage, sealer: Sealer) -> None:
        self._storage = storage
        self._sealer = sealer

    def every(self) -> tuple[Plan, ...]:
        """All plans, oldest first. Raises `DamagedError` at one that cannot be read, or a name that is none."""
        plans = []
        for info in self._storage.list(layout.PLANS):
            try:
                plans.append(self.read(layout.plan_in(info.name)))
            except ValueError as error:
                raise DamagedError(
                    f"object {info.name} is no plan that this version of Holdfast knows",
                    object_name=info.name,
                    hint="find out what wrote it, or install a newer version of Holdfast",
                ) from error
            except DamagedError as error:
                # Another collector cleared it away; what it said is superseded.
                if not isinstance(error.__cause__, ObjectMissingError):
                    raise
        return tuple(plans)

    def write(self, plan: Plan) -> int:
        """Store it under its number, or the next free one; returns the number."""
        number = plan.number
        while True:
            document = {
                "number": number,
                "at": moment(plan.at),
                "journal_position": plan.journal_position,
                "snapshots": sorted(plan.snapshots),
                "graves": dict(sorted(plan.graves.items())),
                "objects": _group(plan.objects),
                "holds": None if plan.holds is None else [encode_hold(hold) for hold in plan.holds],
            }
            sealed, _ = seal_document(self._sealer, ObjectType.PLAN, document)
            try:
                self._storage.create(layout.plan(number), sealed)
            except ObjectExistsError:
                number += 1
                continue
            return number

    def remove(self, number: int) -> None:
        self._storage.delete(layout.plan(number))

    def read(self, number: int) -> Plan:
        """`DamagedError` if it is missing, altered or another's."""
        name = layout.plan(number)
        plan, _ = read_document(self._storage, self._sealer, ObjectType.PLAN, name, _decode)
        expect_name(name, layout.plan(plan.number))
        return plan


def basis_of(plans: Iterable[Plan], *, now: datetime, grace: timedelta) -> Plan | None:
    """The newest plan that was a grace old at `now`, which is before anything was listed: what was created before
    the plan, and no listing showed by then, is shown by now."""
    ripe = [plan for plan in plans if plan.at <= now - grace]
    return max(ripe, key=lambda plan: plan.number, default=None)


def _group(names: Iterable[str]) -> dict[str, list[str]]:
    """Names by their first two parts, which a hundred thousand of them share."""
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        kind, snapshot, rest = name.split("/", 2)
        groups.setdefault(f"{kind}/{snapshot}", []).append(rest)
    return groups


def _decode(document: Any) -> Plan:
    return Plan(
        number=int(document["number"]),
        at=parse_moment(document["at"]),
        journal_position=int(document["journal_position"]),
        snapshots=frozenset(map(parse_snapshot_id, document["snapshots"])),
        graves={parse_snapshot_id(key): int(value) for key, value in document["graves"].items()},
        objects=frozenset(
            f"{prefix}/{rest}" for prefix, rests in document["objects"].items() for rest in rests
        ),
        holds=None if document.get("holds") is None else tuple(map(decode_hold, document["holds"])),
    )
