"""Level 0 of the registers: every tombstone, fate, hold, plan and head that is there can be read, in its place.

A collection stops at the first of them that it cannot read; here each is named. Heads are hints on which nothing
rests, and the next backup of the source writes its head anew: a damaged one is told, and fails no check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from holdfast.domain.errors import DamagedError, ObjectMissingError
from holdfast.domain.ids import SnapshotId
from holdfast.repository import layout
from holdfast.repository.checking.check import Severity
from holdfast.repository.collecting.plans import Plans
from holdfast.repository.repo import Repository

READERS = 8


class RegisterProblem(NamedTuple):
    """`snapshot`: whose register it is, if it is one snapshot's."""

    error: DamagedError
    snapshot: SnapshotId | None
    severity: Severity


def check_registers(repository: Repository) -> Iterator[RegisterProblem]:
    """Everything below these prefixes is opened. What a collection clears away meanwhile is no problem."""
    graves, plans = repository.graves, Plans(repository.storage, repository.sealer)
    for prefix, read in (
        (layout.TOMBSTONES, lambda name: graves.tombstone(*layout.round_in(name))),
        (layout.FATES, lambda name: graves.fate(*layout.round_in(name))),
        (layout.HOLDS, repository.holds.check),
        (layout.PLANS, lambda name: plans.read(layout.plan_in(name))),
        (layout.HEADS, repository.heads.check),
    ):
        severity = Severity.HINT if prefix == layout.HEADS else Severity.DAMAGED
        for error in _problems(repository, prefix, read):
            yield RegisterProblem(error, _owner(prefix, error.object_name), severity)


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


def _problems(repository: Repository, prefix: str, read: Callable[[str], object]) -> Iterator[DamagedError]:
    def look(name: str) -> DamagedError | None:
        try:
            read(name)
        except ValueError:
            return DamagedError(f"object {name} has no name that belongs there", object_name=name)
        except DamagedError as error:
            return None if isinstance(error.__cause__, ObjectMissingError) else error
        return None

    names = [info.name for info in repository.storage.list(prefix)]
    with ThreadPoolExecutor(READERS, thread_name_prefix="holdfast-verify") as pool:
        yield from (error for error in pool.map(look, names) if error is not None)


def _owner(prefix: str, name: str) -> SnapshotId | None:
    if prefix not in (layout.TOMBSTONES, layout.FATES):
        return None
    try:
        return layout.snapshot_in(name)
    except ValueError:
        return None
