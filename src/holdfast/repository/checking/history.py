"""Level 0: the history is whole. Config, key slots, journal chain, outcomes, writers and registers say the same.

The rules (docs/FORMAT.md, "Journal"): entries are contiguous from 1 and chained; every committed outcome stands
in the journal at the position it names; every entry `committing` has an outcome, unless its writer is still
undecided or an entry `collected` names its snapshot; every record of a check is there, unless it was collected;
every key slot that the journal knows is there, and whole; every legal hold that it knows is there, or has ended.

The journal is walked once and not kept: what this needs of it grows with the snapshots that stand, not with age.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from holdfast.domain.errors import DamagedError, ObjectMissingError
from holdfast.domain.ids import SnapshotId
from holdfast.repository import layout
from holdfast.repository.checking.check import Problem, Severity
from holdfast.repository.checking.register_check import check_registers, find_buried
from holdfast.repository.checking.slot_check import check_slots
from holdfast.repository.config import digest_of
from holdfast.repository.keys.epochs import marker_name
from holdfast.repository.registers.chronicle import Chronicle
from holdfast.repository.registers.holds import Hold, taken_away
from holdfast.repository.registers.journal import Walked
from holdfast.repository.registers.losses import Losses
from holdfast.repository.registers.outcomes import Committed
from holdfast.repository.registers.verifications import read_verification
from holdfast.repository.repo import Repository
from holdfast.repository.seal import UnknownEpochError

Report = Callable[[Problem], None]


@dataclass(slots=True)
class History:
    """The journal as this check read it, and what became of what it speaks of.

    `decided`: who had an outcome before it was read; `vanished`: those of them whose outcome went since then.
    `accepted` are positions of damaged entries whose loss was accepted, `unseen` of those that newer keys sealed:
    what they said, nobody here knows.
    """

    chronicle: Chronicle
    decided: frozenset[SnapshotId]
    vanished: set[SnapshotId] = field(default_factory=set)
    accepted: set[int] = field(default_factory=set)
    unseen: set[int] = field(default_factory=set)

    @classmethod
    def begin(cls, repository: Repository) -> History:
        """Nothing is read yet."""
        decided = frozenset(repository.outcomes.names())
        return cls(chronicle=Chronicle(losses=Losses(repository.storage), remembers=decided), decided=decided)

    def read_on(self, repository: Repository) -> None:
        """Hear what came meanwhile: collections announce there what they are about to remove, and so do those who
        release holds."""
        for step in repository.journal.walk(after=self.chronicle.last):
            self.chronicle.hear(step)
            if step.damage is not None and newer_epoch(repository, step.damage) is not None:
                self.unseen.add(step.position)


def check_history(
    repository: Repository, report: Report, *, clock: Callable[[], datetime]
) -> dict[SnapshotId, Committed]:
    """Report every contradiction; return the committed snapshots, without removed ones, that could be read.

    Runs beside backups, collections and rotations: what they do meanwhile is looked at again before it is called a
    contradiction, and what newer keys than this process has sealed is called unseen.
    """
    tell = Telling(repository, report)
    told = History.begin(repository)
    walk_chain(repository, told, tell)
    chronicle = told.chronicle
    for slot in check_slots(repository, told=chronicle.slots, removed=chronicle.removed_slots):
        tell.contradiction(told, slot.object_name, slot.problem)
    committed = _check_outcomes(repository, told, tell)
    for item in check_registers(repository):
        tell.error(item.error, *filter(None, (item.snapshot,)), severity=item.severity)
    for snapshot in gone_snapshots(repository, told, tell):
        tell.contradiction(told, layout.outcome(snapshot), _missing(layout.outcome(snapshot)), snapshot)
    for record in gone_records(repository, told, tell):
        tell.contradiction(told, layout.verification(record), _missing(layout.verification(record)))
    for hold in gone_holds(repository, told, now=clock()):
        error = taken_away(hold)
        tell.contradiction(told, error.object_name, f"{error.message}; {error.hint}")
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

    def contradiction(self, told: History, name: str, text: str, *snapshots: SnapshotId) -> None:
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


def walk_chain(repository: Repository, told: History, tell: Telling) -> None:
    """Hear every entry, and tell of those that are damaged, or do not continue the one before."""
    chronicle = told.chronicle
    previous: str | None = digest_of(repository.config.encode())
    for step in repository.journal.walk():
        chronicle.hear(step)
        if step.entry is None or step.identity is None:
            previous = None
            continue
        if previous is not None and step.entry.previous != previous:
            tell.problem(
                step.name,
                f"object {_place(step)} does not continue the entry before it: the history was changed",
            )
        previous = step.identity.hex()
    for step in chronicle.damaged:  # the acceptance of a loss comes later than the loss
        error = step.damage or DamagedError(f"object {step.name} is damaged", object_name=step.name)
        if newer_epoch(repository, error) is not None:
            told.unseen.add(step.position)
            tell.error(error)
        elif (why := chronicle.losses.accepting(step)) is not None:
            told.accepted.add(step.position)
            tell.problem(step.name, f"{error.message}; {why}", severity=Severity.ACCEPTED)
        else:
            tell.error(error)


def _place(step: Walked) -> str:
    return step.name if step.name.startswith(layout.JOURNAL) else f"{step.name} ({step.position})"


def gone_snapshots(repository: Repository, told: History, tell: Telling) -> list[SnapshotId]:
    """Snapshots that the journal speaks of and that have neither an outcome nor a writer."""
    # In this order: a run announces itself before its entry, and its record goes only after its outcome is there.
    undecided = _check_writers(repository, tell)
    announced = told.chronicle.announced
    ends = {
        item
        for item in {*announced, *told.vanished} - (told.decided - told.vanished)
        if item not in undecided and not is_decided(repository, item)
    }
    if ends:
        told.read_on(repository)
    return sorted((ends & {*announced, *told.vanished}) - told.chronicle.gone)


def gone_records(repository: Repository, told: History, tell: Telling) -> list[str]:
    """Records of checks that the journal speaks of and that are not there."""
    records = _check_records(repository, told, tell)
    if records:
        told.read_on(repository)
    return sorted(records & told.chronicle.records)


def gone_holds(repository: Repository, told: History, *, now: datetime) -> list[Hold]:
    """Legal holds that stand by the journal and are not there."""
    holds = told.chronicle.holds
    missing = [
        hold for hold in holds.values() if hold.stands(now) and not repository.holds.is_placed(hold.hold)
    ]
    if missing:
        told.read_on(repository)
    return [hold for hold in missing if hold.hold in holds]


def is_decided(repository: Repository, snapshot: SnapshotId) -> bool:
    try:
        repository.storage.stat(layout.outcome(snapshot))
    except ObjectMissingError:
        return False
    return True


def _check_outcomes(repository: Repository, told: History, tell: Telling) -> dict[SnapshotId, Committed]:
    committed: dict[SnapshotId, Committed] = {}
    # Removed ones may be swept just now, and lack objects; nobody restores them before an undelete.
    buried = find_buried(repository)
    for snapshot in sorted(told.decided):
        try:
            outcome = repository.outcomes.read(snapshot)
        except DamagedError as error:
            if not isinstance(error.__cause__, ObjectMissingError):
                tell.error(error, snapshot, consequence=": every table of the snapshot is out of reach")
            elif snapshot not in told.chronicle.gone:
                told.vanished.add(snapshot)
            continue
        if not isinstance(outcome, Committed):
            continue
        if snapshot not in buried:
            committed[snapshot] = outcome
        position, root = outcome.journal_position, outcome.summary.root.identity.hex()
        announced = told.chronicle.announced.get(snapshot, ())
        if position not in told.accepted and not any(
            (item.position, item.root) == (position, root) for item in announced
        ):
            missing = layout.journal(position)
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


def _check_records(repository: Repository, told: History, tell: Telling) -> set[str]:
    """Records of checks: each is whole. Returns those that the journal speaks of and that are not there."""
    names = {info.name for info in repository.storage.list(layout.VERIFICATIONS)}
    records = told.chronicle.records
    missing = {record for record in records if layout.verification(record) not in names}
    for name in sorted(names):
        record = name.removeprefix(layout.VERIFICATIONS)
        try:
            read_verification(repository, record)
        except DamagedError as error:
            if isinstance(error.__cause__, ObjectMissingError):
                missing.add(record)  # gone since the listing
            else:
                tell.error(error)
    return missing & records
