"""Level 0: the history is whole. Config, key slots, journal chain, outcomes and writers say the same.

The rules (docs/FORMAT.md, "Journal"): entries are contiguous from 1 and chained; every committed outcome stands
in the journal at the position it names; every entry `committing` has an outcome, unless its writer is still
undecided or an entry `collected` names its snapshot; every record of a check is there, unless it was collected;
every key slot that the journal knows is there, and whole.

The journal is walked once and not kept: what this needs of it grows with the snapshots that stand, not with age.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from holdfast.domain.errors import DamagedError, ObjectMissingError
from holdfast.domain.ids import SnapshotId, parse_snapshot_id
from holdfast.repository import layout
from holdfast.repository.check import Problem
from holdfast.repository.config import digest_of
from holdfast.repository.journal import Entry
from holdfast.repository.outcomes import Committed
from holdfast.repository.repo import Repository
from holdfast.repository.slot_check import check_slots
from holdfast.repository.verifications import read_verification

Report = Callable[[Problem], None]


@dataclass(slots=True)
class _Told:
    """What the journal says, as far as something else must agree with it.

    `commits` are the entries `committing` (position, identity of the root) of decided snapshots; `open` are those
    of all others, until an entry says that they were collected; `collected` are decided ones that are to go.
    """

    decided: set[SnapshotId]
    commits: dict[SnapshotId, set[tuple[int, str]]] = field(default_factory=dict)
    open: dict[SnapshotId, int] = field(default_factory=dict)
    collected: set[SnapshotId] = field(default_factory=set)
    records: set[str] = field(default_factory=set)
    slots: set[str] = field(default_factory=set)
    removed_slots: set[str] = field(default_factory=set)
    last: int = 0

    def hear(self, entry: Entry) -> None:
        facts = entry.facts
        self.slots.update(facts.get("slots", ()))
        self.slots.difference_update(facts.get("removed_slots", ()))
        self.removed_slots.difference_update(facts.get("slots", ()))
        self.removed_slots.update(facts.get("removed_slots", ()))
        if entry.kind == "committing":
            snapshot = parse_snapshot_id(str(facts["snapshot"]))
            if snapshot in self.decided:
                self.commits.setdefault(snapshot, set()).add((entry.position, str(facts.get("root"))))
            else:
                self.open[snapshot] = entry.position
        elif entry.kind == "verified":
            self.records.add(str(facts.get("record", "")))
        elif entry.kind == "collected":
            for item in facts.get("snapshots", ()):
                self.open.pop(SnapshotId(str(item)), None)
                if item in self.decided:
                    self.collected.add(SnapshotId(str(item)))
            self.records.difference_update(map(str, facts.get("records", ())))


def check_history(repository: Repository, report: Report) -> dict[SnapshotId, Committed]:
    """Report every contradiction; return the committed snapshots, without removed ones, that could be read.

    Runs beside backups and collections: what they do meanwhile is looked at again before it is called a
    contradiction.
    """
    told = _Told(decided=set(repository.outcomes.names()))
    _check_chain(repository, told, report)
    for slot in check_slots(repository, told=told.slots, removed=told.removed_slots):
        _tell(report, slot.object_name, slot.problem)
    committed = _check_outcomes(repository, told, report)
    # In this order: a run announces itself before its entry, and its record goes only after its outcome is there.
    undecided = _check_writers(repository, report)
    ends = {item for item in told.open if item not in undecided and not _is_decided(repository, item)}
    records = _check_records(repository, told, report)
    if ends or records:
        since = _collected_meanwhile(repository, told)
        names = [layout.outcome(item) for item in sorted(ends & since.open.keys())]
        names.extend(layout.verification(item) for item in sorted(records & since.records))
        for name in names:
            about = (layout.snapshot_in(name),) if name.startswith(layout.OUTCOMES) else ()
            _tell(report, name, f"object {name} is missing, although the journal speaks of it", *about)
    return committed


def _tell(report: Report, name: str, text: str, *snapshots: SnapshotId) -> None:
    report(Problem(object_name=name, snapshots=snapshots, tables=(), problem=text))


def _check_chain(repository: Repository, told: _Told, report: Report) -> None:
    previous: str | None = digest_of(repository.config.encode())
    for item in repository.journal.walk():
        told.last = item.position
        if item.entry is None or item.identity is None:
            _tell(report, item.name, item.damage.message if item.damage else "")
            previous = None
            continue
        if previous is not None and item.entry.previous != previous:
            name = item.name if item.name.startswith(layout.JOURNAL) else f"{item.name} ({item.position})"
            _tell(
                report,
                item.name,
                f"object {name} does not continue the entry before it: the history was changed",
            )
        told.hear(item.entry)
        previous = item.identity.hex()


def _collected_meanwhile(repository: Repository, told: _Told) -> _Told:
    """What the journal says since it was walked: collections announce there what they are about to remove."""
    since = _Told(decided=set(), open=dict(told.open), records=set(told.records), last=told.last)
    for item in repository.journal.walk(after=told.last):
        if item.entry is not None:
            since.hear(item.entry)
    return since


def _is_decided(repository: Repository, snapshot: SnapshotId) -> bool:
    try:
        repository.storage.stat(layout.outcome(snapshot))
    except ObjectMissingError:
        return False
    return True


def _check_outcomes(repository: Repository, told: _Told, report: Report) -> dict[SnapshotId, Committed]:
    committed: dict[SnapshotId, Committed] = {}
    # Removed ones may be swept just now, and lack objects; nobody restores them before an undelete.
    buried = repository.graves.buried()
    for snapshot in sorted(told.decided):
        name = layout.outcome(snapshot)
        try:
            outcome = repository.outcomes.read(snapshot)
        except DamagedError as error:
            if not isinstance(error.__cause__, ObjectMissingError):
                _tell(report, name, f"{error.message}: every table of the snapshot is out of reach", snapshot)
            elif snapshot not in told.collected:
                told.open[snapshot] = 0
            continue
        if not isinstance(outcome, Committed):
            continue
        if snapshot not in buried:
            committed[snapshot] = outcome
        expected = (outcome.journal_position, outcome.summary.root.identity.hex())
        if expected not in told.commits.get(snapshot, ()):
            missing = layout.journal(outcome.journal_position)
            _tell(
                report,
                missing,
                f"object {missing} should speak of snapshot {snapshot} and does not",
                snapshot,
            )
    return committed


def _check_writers(repository: Repository, report: Report) -> set[SnapshotId]:
    undecided = set()
    for snapshot in repository.writers.names():
        undecided.add(snapshot)
        try:
            repository.writers.read(snapshot)
        except DamagedError as error:
            if isinstance(error.__cause__, ObjectMissingError):
                continue  # retired since the listing
            _tell(report, error.object_name, error.message, snapshot)
    return undecided


def _check_records(repository: Repository, told: _Told, report: Report) -> set[str]:
    """Records of checks: each is whole. Returns those that the journal speaks of and that are not there."""
    names = {info.name for info in repository.storage.list(layout.VERIFICATIONS)}
    missing = {record for record in told.records if layout.verification(record) not in names}
    for name in sorted(names):
        record = name.removeprefix(layout.VERIFICATIONS)
        try:
            read_verification(repository, record)
        except DamagedError as error:
            if isinstance(error.__cause__, ObjectMissingError):
                missing.add(record)  # gone since the listing
            else:
                _tell(report, name, error.message)
    return missing & told.records
