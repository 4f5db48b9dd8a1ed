"""Level 0: the history is whole. Config, key slots, journal chain, outcomes and writers say the same.

The rules (docs/FORMAT.md, "Journal"): entries are contiguous from 1 and chained; every committed outcome stands
in the journal at the position it names; every entry `committing` has an outcome, unless its writer is still
undecided; every key slot that the journal knows is there, and whole.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.domain.errors import DamagedError, ObjectMissingError
from holdfast.domain.ids import SnapshotId, parse_snapshot_id
from holdfast.repository import layout
from holdfast.repository.check import Problem
from holdfast.repository.config import digest_of
from holdfast.repository.journal import Entry
from holdfast.repository.outcomes import Committed
from holdfast.repository.repo import Repository
from holdfast.repository.slots import UnknownSlotError, read_slot
from holdfast.repository.verifications import read_verification

Report = Callable[[Problem], None]


def check_history(repository: Repository, report: Report) -> dict[SnapshotId, Committed]:
    """Report every contradiction; return the committed snapshots that could be read."""
    entries = _check_chain(repository, report)
    committed, decided = _check_outcomes(repository, entries, report)
    undecided = _check_writers(repository, report)
    for entry in entries.values():
        if entry.kind == "committing":
            snapshot = parse_snapshot_id(str(entry.facts["snapshot"]))
            if snapshot not in decided and snapshot not in undecided:
                name = layout.outcome(snapshot)
                _tell(report, name, f"object {name} is missing, although the journal speaks of it", snapshot)
    _check_slots(repository, entries, report)
    return committed


def _tell(report: Report, name: str, text: str, *snapshots: SnapshotId) -> None:
    report(Problem(object_name=name, snapshots=snapshots, tables=(), problem=text))


def _check_chain(repository: Repository, report: Report) -> dict[int, Entry]:
    entries: dict[int, Entry] = {}
    previous: str | None = digest_of(repository.config.encode())
    positions = sorted(repository.journal.positions())
    expected = range(1, (positions[-1] if positions else 1) + 1)
    for position in expected:
        name = layout.journal(position)
        try:
            entry, identity = repository.journal.read(position)
        except DamagedError as error:
            _tell(report, name, error.message)
            previous = None
            continue
        if previous is not None and entry.previous != previous:
            _tell(
                report, name, f"object {name} does not continue the entry before it: the history was changed"
            )
        entries[position] = entry
        previous = identity.hex()
    return entries


def _check_outcomes(
    repository: Repository, entries: dict[int, Entry], report: Report
) -> tuple[dict[SnapshotId, Committed], set[SnapshotId]]:
    committed: dict[SnapshotId, Committed] = {}
    decided = set(repository.outcomes.names())
    for snapshot in sorted(decided):
        name = layout.outcome(snapshot)
        try:
            outcome = repository.outcomes.read(snapshot)
        except DamagedError as error:
            _tell(report, name, f"{error.message}: every table of the snapshot is out of reach", snapshot)
            continue
        if not isinstance(outcome, Committed):
            continue
        committed[snapshot] = outcome
        entry = entries.get(outcome.journal_position)
        if entry is None or entry.facts.get("root") != outcome.summary.root.identity.hex():
            missing = layout.journal(outcome.journal_position)
            _tell(
                report,
                missing,
                f"object {missing} should speak of snapshot {snapshot} and does not",
                snapshot,
            )
    return committed, decided


def _check_writers(repository: Repository, report: Report) -> set[SnapshotId]:
    undecided = set()
    for snapshot in repository.writers.names():
        undecided.add(snapshot)
        try:
            repository.writers.read(snapshot)
        except DamagedError as error:
            _tell(report, error.object_name, error.message, snapshot)
    return undecided


def _check_slots(repository: Repository, entries: dict[int, Entry], report: Report) -> None:
    expected: set[str] = set()
    for _, entry in sorted(entries.items()):
        expected.update(entry.facts.get("slots", ()))
        expected.difference_update(entry.facts.get("removed_slots", ()))
    found = {info.name for info in repository.storage.list(layout.KEYS)}
    for name in sorted(expected - found):
        _tell(report, name, f"object {name} is missing: its secret opens nothing any more")
    for name in sorted(found):
        if name not in expected:
            _tell(report, name, f"object {name} is a key slot that the journal does not know")
        if (problem := _slot_problem(repository, name)) is not None:
            _tell(report, name, problem)


def _slot_problem(repository: Repository, name: str) -> str | None:
    try:
        slot = read_slot(name, repository.storage.get(name))
    except DamagedError as error:
        return error.message
    except UnknownSlotError as error:
        return f"key slot {name} is of a kind that this version of Holdfast does not know: {error}"
    except ObjectMissingError:
        return None  # removed since the listing; if it should be there, the journal says so
    if slot.repository_id != repository.config.repository_id:
        return f"key slot {name} belongs to another repository, {slot.repository_id}"
    return None


def check_records(repository: Repository, report: Report) -> None:
    """Verification records: each is whole, and those that the journal speaks of are there."""
    names = {info.name for info in repository.storage.list(layout.VERIFICATIONS)}
    for name in sorted(names):
        try:
            read_verification(repository, name.removeprefix(layout.VERIFICATIONS))
        except DamagedError as error:
            _tell(report, name, error.message)
    for position in repository.journal.positions():
        try:
            entry, _ = repository.journal.read(position)
        except DamagedError:
            continue  # named by the walk along the chain
        name = layout.verification(str(entry.facts.get("record", "")))
        if entry.kind == "verified" and name not in names:
            _tell(report, name, f"object {name} is missing, although the journal speaks of it")
