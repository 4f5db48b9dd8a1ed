"""Level 0 of the registers: every tombstone, fate, hold, plan and head that is there can be read, in its place.

A collection stops at the first of them that it cannot read; here each is named. Heads are hints on which nothing
rests, and the next backup of the source writes its head anew: a damaged one is told, and fails no check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from holdfast.domain.errors import DamagedError, ObjectMissingError
from holdfast.domain.ids import SnapshotId
from holdfast.repository import layout
from holdfast.repository.abreast import abreast
from holdfast.repository.checking.check import Severity
from holdfast.repository.collecting.plans import Plans
from holdfast.repository.repo import Repository

Read: TypeAlias = Callable[[str], object]

READERS = 8


class RegisterProblem(NamedTuple):
    """`snapshot`: whose register it is, if it is one snapshot's."""

    error: DamagedError
    snapshot: SnapshotId | None
    severity: Severity


def check_registers(repository: Repository) -> Iterator[RegisterProblem]:
    """Everything below these prefixes is opened. What a collection clears away meanwhile is no problem."""
    graves, plans = repository.graves, Plans(repository.storage, repository.sealer)
    registers: Mapping[str, Read] = {
        layout.TOMBSTONES: lambda name: graves.tombstone(*layout.round_in(name)),
        layout.FATES: lambda name: graves.fate(*layout.round_in(name)),
        layout.HOLDS: repository.holds.check,
        layout.PLANS: lambda name: plans.read(layout.plan_in(name)),
        layout.HEADS: repository.heads.check,
    }
    # All in one run of requests: most registers are too short to be read side by side on their own.
    names = ((prefix, info.name) for prefix in registers for info in list(repository.storage.list(prefix)))
    problems = abreast(lambda item: _look(registers[item[0]], *item), names, threads=READERS)
    yield from (problem for problem in problems if problem is not None)


def find_buried(repository: Repository) -> set[SnapshotId]:
    """Removed snapshots, as `Graves.buried` finds them. One of which a register cannot be read counts as standing:
    so it is checked, and not passed over."""
    try:
        return repository.graves.buried()
    except DamagedError:
        buried = set()
        for info in repository.storage.list(layout.TOMBSTONES):
            try:
                snapshot, _ = layout.round_in(info.name)
                if repository.graves.is_buried(snapshot):
                    buried.add(snapshot)
            except (ValueError, DamagedError):
                continue
        return buried


def _look(read: Read, prefix: str, name: str) -> RegisterProblem | None:
    try:
        read(name)
        return None
    except ValueError:
        error = DamagedError(f"object {name} has no name that belongs there", object_name=name)
    except DamagedError as damage:
        if isinstance(damage.__cause__, ObjectMissingError):
            return None
        error = damage
    severity = Severity.HINT if prefix == layout.HEADS else Severity.DAMAGED
    return RegisterProblem(error, _owner(prefix, error.object_name), severity)


def _owner(prefix: str, name: str) -> SnapshotId | None:
    if prefix not in (layout.TOMBSTONES, layout.FATES):
        return None
    try:
        return layout.snapshot_in(name)
    except ValueError:
        return None
