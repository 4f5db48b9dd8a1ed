"""Level 0: the history is whole. Config, key slots, journal chain, outcomes, writers and registers say the same.

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
from holdfast.repository.checking.check import Problem, Severity
from holdfast.repository.checking.register_check import check_registers, find_buried
from holdfast.repository.checking.slot_check import check_slots
from holdfast.repository.config import digest_of
from holdfast.repository.keys.epochs import marker_name
from holdfast.repository.registers.journal import Entry, Walked
from holdfast.repository.registers.losses import LOSS_ACCEPTED, Losses
from holdfast.repository.registers.outcomes import Committed
from holdfast.repository.registers.verifications import read_verification
from holdfast.repository.repo import Repository
from holdfast.repository.seal import UnknownEpochError

Report = Callable[[Problem], None]


@dataclass(slots=True)
class Told:
    """What the journal says, as far as something else must agree with it.

    `commits` are the entries `committing` (position, identity of the root) of decided snapshots; `open` are those
    of all others, until an entry says that they were collected; `collected` are decided ones that are to go.
    `damaged` could not be read; `accepted` are positions of those whose loss was accepted, `unseen` of those that
    newer keys sealed: what they said, nobody here knows.
    """

    decided: set[SnapshotId]
    losses: Losses
    commits: dict[SnapshotId, set[tuple[int, str]]] = field(default_factory=dict)
    open: dict[SnapshotId, int] = field(default_factory=dict)
    collected: set[SnapshotId] = field(default_factory=set)
    records: set[str] = field(default_factory=set)
    slots: set[str] = field(default_factory=set)
    removed_slots: set[str] = field(default_factory=set)
    damaged: list[Walked] = field(default_factory=list)
    accepted: set[int] = field(default_factory=set)
    unseen: set[int] = field(default_factory=set)
    last: int = 0

    def hear(self, entry: Entry) -> None:
        facts = entry.facts
        self.losses.hear(entry)
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
        elif entry.kind in ("collected", LOSS_ACCEPTED):
            for item in facts.get("snapshots", ()):
                self.open.pop(SnapshotId(str(item)), None)
                if item in self.decided:
                    self.collected.add(SnapshotId(str(item)))
            self.records.difference_update(map(str, facts.get("records", ())))


def check_history(repository: Repository, report: Report) -> dict[SnapshotId, Committed]:
    """Report every contradiction; return the committed snapshots, without removed ones, that could be read.

    Runs beside backups, collections and rotations: what they do meanwhile is looked at again before it is called a
    contradiction, and what newer keys than this process has sealed is called unseen.
    """
    tell = Telling(repository, report)
    told = Told(decided=set(repository.outcomes.names()), losses=Losses(repository.storage))
    walk_chain(repository, told, tell)
    for slot in check_slots(repository, told=told.slots, removed=told.removed_slots):
        tell.contradiction(told, slot.object_name, slot.problem)
    committed = _check_outcomes(repository, told, tell)
    for item in check_registers(repository):
        tell.error(item.error, *filter(None, (item.snapshot,)), severity=item.severity)
    for snapshot in gone_snapshots(repository, told, tell):
        tell.contradiction(told, layout.outcome(snapshot), _missing(layout.outcome(snapshot)), snapshot)
    for record in gone_records(repository, told, tell):
        tell.contradiction(told, layout.verification(record), _missing(layout.verification(record)))
    return committed


def _missing(name: str) -> str:
    return f"object {name} is missing, although the journal speaks of it"


class Telling:
    """Reports problems, each as what it is."""

    def __init__(self, repository: Repository, report: Report) -> None:
        self._repository = repository
        self._report = report

    def problem(
        self, name: str, text: str, *snapshots: SnapshotId, severity: Severity = Severity.DAMAGED
    ) -> None:
        self._report(
            Problem(object_name=name, snapshots=snapshots, tables=(), problem=text, severity=severity)
        )

    def error(
        self,
        error: DamagedError,
        *snapshots: SnapshotId,
        consequence: str = "",
        severity: Severity = Severity.DAMAGED,
    ) -> None:
        epoch = newer_epoch(self._repository, error)
        if epoch is None:
            self.problem(error.object_name, f"{error.message}{consequence}", *snapshots, severity=severity)
        else:
            text = (
                f"object {error.object_name} was made after this check began, with the keys of epoch {epoch}: "
                "it was not looked at"
            )
            self.problem(error.object_name, text, *snapshots, severity=Severity.UNSEEN)

    def contradiction(self, told: Told, name: str, text: str, *snapshots: SnapshotId) -> None:
        """Something that does not agree with the journal, unless an entry that was not seen explains it."""
        if told.unseen:
            text += ", as far as could be seen: newer keys have sealed entries of the journal meanwhile"
        severity = Severity.UNSEEN if told.unseen else Severity.DAMAGED
        self.problem(name, text, *snapshots, severity=severity)


def newer_epoch(repository: Repository, error: DamagedError) -> int | None:
    """The epoch of which this process has no keys, if that is all that is wrong, and the epoch does exist."""
    cause = error.__cause__
    if not isinstance(cause, UnknownEpochError) or cause.epoch <= repository.keyring.current:
        return None
    try:
        repository.storage.stat(marker_name(cause.epoch))
    except ObjectMissingError:
        return None
    return cause.epoch


def walk_chain(repository: Repository, told: Told, tell: Telling) -> None:
    """Hear every entry, and tell of those that are damaged, or do not continue the one before."""
    previous: str | None = digest_of(repository.config.encode())
    for item in repository.journal.walk():
        told.last = item.position
        if item.entry is None or item.identity is None:
            told.damaged.append(item)
            previous = None
            continue
        if previous is not None and item.entry.previous != previous:
            name = item.name if item.name.startswith(layout.JOURNAL) else f"{item.name} ({item.position})"
            tell.problem(
                item.name,
                f"object {name} does not continue the entry before it: the history was changed",
            )
        told.hear(item.entry)
        previous = item.identity.hex()
    for item in told.damaged:  # the acceptance of a loss comes later than the loss
        error = item.damage or DamagedError(f"object {item.name} is damaged", object_name=item.name)
        if newer_epoch(repository, error) is not None:
            told.unseen.add(item.position)
            tell.error(error)
        elif (why := told.losses.accepting(item)) is not None:
            told.accepted.add(item.position)
            tell.problem(item.name, f"{error.message}; {why}", severity=Severity.ACCEPTED)
        else:
            tell.error(error)


def gone_snapshots(repository: Repository, told: Told, tell: Telling) -> list[SnapshotId]:
    """Snapshots that the journal speaks of and that have neither an outcome nor a writer."""
    # In this order: a run announces itself before its entry, and its record goes only after its outcome is there.
    undecided = _check_writers(repository, tell)
    ends = {item for item in told.open if item not in undecided and not is_decided(repository, item)}
    return sorted(ends & _collected_meanwhile(repository, told).open.keys()) if ends else []


def gone_records(repository: Repository, told: Told, tell: Telling) -> list[str]:
    """Records of checks that the journal speaks of and that are not there."""
    records = _check_records(repository, told, tell)
    return sorted(records & _collected_meanwhile(repository, told).records) if records else []


def _collected_meanwhile(repository: Repository, told: Told) -> Told:
    """What the journal says since it was walked: collections announce there what they are about to remove."""
    since = Told(
        decided=set(),
        losses=told.losses,
        open=dict(told.open),
        records=set(told.records),
        last=told.last,
    )
    for item in repository.journal.walk(after=told.last):
        if item.entry is not None:
            since.hear(item.entry)
        elif item.damage is not None and newer_epoch(repository, item.damage) is not None:
            told.unseen.add(item.position)
    return since


def is_decided(repository: Repository, snapshot: SnapshotId) -> bool:
    try:
        repository.storage.stat(layout.outcome(snapshot))
    except ObjectMissingError:
        return False
    return True


def _check_outcomes(repository: Repository, told: Told, tell: Telling) -> dict[SnapshotId, Committed]:
    committed: dict[SnapshotId, Committed] = {}
    # Removed ones may be swept just now, and lack objects; nobody restores them before an undelete.
    buried = find_buried(repository)
    for snapshot in sorted(told.decided):
        try:
            outcome = repository.outcomes.read(snapshot)
        except DamagedError as error:
            if not isinstance(error.__cause__, ObjectMissingError):
                tell.error(error, snapshot, consequence=": every table of the snapshot is out of reach")
            elif snapshot not in told.collected:
                told.open[snapshot] = 0
            continue
        if not isinstance(outcome, Committed):
            continue
        if snapshot not in buried:
            committed[snapshot] = outcome
        expected = (outcome.journal_position, outcome.summary.root.identity.hex())
        if expected not in told.commits.get(snapshot, ()) and expected[0] not in told.accepted:
            missing = layout.journal(outcome.journal_position)
            tell.contradiction(
                told, missing, f"object {missing} should speak of snapshot {snapshot} and does not", snapshot
            )
    return committed


def _check_writers(repository: Repository, tell: Telling) -> set[SnapshotId]:
    undecided = set()
    for snapshot in repository.writers.names():
        undecided.add(snapshot)
        try:
            repository.writers.read(snapshot)
        except DamagedError as error:
            if isinstance(error.__cause__, ObjectMissingError):
                continue  # retired since the listing
            tell.error(error, snapshot)
    return undecided


def _check_records(repository: Repository, told: Told, tell: Telling) -> set[str]:
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
                tell.error(error)
    return missing & told.records
