"""What a collection knows: every register and listing, read in the one order that is safe.

Plans and journal, then tombstones, then writers, then outcomes, then fates and holds, then manifests, then the
objects. A writer that announced itself after the writers were listed found every tombstone of this survey; one
that announced itself before is in it, or its outcome is. A hold that was placed after the holds were listed finds
every tombstone of this survey, and races for its fate.

Listings may come late, by less than a grace; what is read by name is exact, and so is the journal. So whoever is
announced and has no outcome in the listing, and whoever the journal says to be committing meanwhile, is asked for
by name; two plans a grace apart make up for the rest.

Anything that cannot be read, or that is known and missing, stops the collection by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from holdfast.domain.errors import DamagedError, ObjectMissingError, RefusedError
from holdfast.domain.ids import SnapshotId, parse_snapshot_id
from holdfast.repository import layout
from holdfast.repository.abreast import abreast
from holdfast.repository.collecting.plans import Plan, Plans
from holdfast.repository.collecting.references import READERS, Opened, References, read_references
from holdfast.repository.collecting.told import (
    Told,
    read_told,
    require_holds,
    require_known,
    told_since,
)
from holdfast.repository.config import KNOWN_FEATURES
from holdfast.repository.registers.graves import Ending, Fate, Tombstone
from holdfast.repository.registers.holds import Hold
from holdfast.repository.registers.outcomes import Committed, Outcome
from holdfast.repository.registers.writers import WriterRecord
from holdfast.repository.repo import Repository
from holdfast.storage import ObjectInfo
from holdfast.storage.probe import PROBE_PREFIX

T = TypeVar("T")
K = TypeVar("K")

MAX_UNKNOWN = 1000
PREFIXES = (
    layout.KEYS,
    layout.DATA,
    layout.META,
    layout.WRITERS,
    layout.OUTCOMES,
    layout.TOMBSTONES,
    layout.FATES,
    layout.HOLDS,
    layout.PLANS,
    layout.JOURNAL,
    layout.SEGMENTS,
    layout.HEADS,
    layout.VERIFICATIONS,
    "proofs/",
    PROBE_PREFIX,
)
_AFTER_ALL = "~"  # sorts behind every character that a name may hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """`graves`: burials that stand; of those, `swept` are decided. `undecided`: writers without an outcome;
    `records`: those of decided ones, None where unreadable. `objects`: sizes of everything below data/ and meta/.
    `writers`: all that had a record, also those that came while the survey was made. `unknown`: names that
    belong to no prefix. `holds`: every one; `known_holds`: those that the journal knows as not released. `began`:
    before anything was listed; `at`: when all was. `accepted`: what is lost of the journal, as an operator has
    accepted."""

    began: datetime
    at: datetime
    plans: tuple[Plan, ...]
    journal_position: int
    rounds: frozenset[tuple[SnapshotId, int]]
    fates: frozenset[tuple[SnapshotId, int]]
    graves: dict[SnapshotId, Tombstone]
    swept: frozenset[SnapshotId]
    undecided: dict[SnapshotId, WriterRecord]
    records: dict[SnapshotId, WriterRecord | None]
    outcomes: dict[SnapshotId, Outcome]
    holds: tuple[Hold, ...]
    known_holds: tuple[Hold, ...]
    references: References
    objects: dict[str, int]
    writers: frozenset[SnapshotId]
    unknown: tuple[str, ...]
    accepted: tuple[str, ...] = ()

    def committed(self) -> Iterator[Committed]:
        for outcome in self.outcomes.values():
            if isinstance(outcome, Committed):
                yield outcome

    def held(self) -> set[SnapshotId]:
        return {snapshot for hold in self.holds if hold.stands(self.at) for snapshot in hold.snapshots}

    def pinned(self) -> dict[SnapshotId, list[WriterRecord]]:
        """What undecided writers rely on, and which."""
        pins: dict[SnapshotId, list[WriterRecord]] = {}
        for record in self.undecided.values():
            for snapshot in record.relies_on:
                pins.setdefault(snapshot, []).append(record)
        return pins


def take_survey(
    repository: Repository, *, clock: Callable[[], datetime], opened: Opened | None = None
) -> Survey:
    """`opened`: roots and manifests of an earlier survey of this process, which need not be opened again.

    Raises `DamagedError` for what cannot be read, `RefusedError` for what this version does not know, or for
    a snapshot that is known and missing."""
    _require_features(repository)
    began = clock()
    plans = Plans(repository.storage, repository.sealer).every()
    told = read_told(repository, plans)
    rounds = list(repository.graves.rounds())
    # Read before the outcomes are listed: a record that is gone by then was decided, and its outcome is there.
    writers = _read_many(lambda item: _writer(repository, item), list_by_id(repository, layout.WRITERS))
    found = _read_many(lambda item: _outcome(repository, item), list_by_id(repository, layout.OUTCOMES))
    outcomes = {snapshot: outcome for snapshot, outcome in found.items() if outcome is not None}
    meanwhile = told_since(repository, after=told.last, holds=told.holds.values())
    _ask_by_name(repository, writers, outcomes, meanwhile)
    undecided, records = _split(writers, outcomes)
    fates = set(repository.graves.fates())
    require_known(repository, (told, meanwhile), {*outcomes, *undecided})
    graves, swept = _read_graves(repository, rounds, fates)
    holds = require_holds(repository, meanwhile, repository.holds.every(), now=clock())
    summaries = [outcome.summary for outcome in outcomes.values() if isinstance(outcome, Committed)]
    references = read_references(
        repository,
        summaries,
        is_swept=lambda item: item in swept or _swept_meanwhile(repository, item),
        opened=opened or Opened(),
    )
    objects = {
        info.name: info.size_bytes
        for prefix in (layout.DATA, layout.META)
        for info in repository.storage.list(prefix)
    }
    return Survey(
        began=began,
        at=clock(),
        plans=plans,
        journal_position=told.until(undecided),
        rounds=frozenset(rounds),
        fates=frozenset(fates),
        graves=graves,
        swept=frozenset(swept),
        undecided=undecided,
        records=records,
        outcomes=outcomes,
        holds=holds,
        known_holds=tuple(meanwhile.holds.values()),
        references=references,
        objects=objects,
        writers=frozenset(list_by_id(repository, layout.WRITERS)) | frozenset(writers),
        unknown=tuple(_unknown(repository)),
        accepted=told.accepted,
    )


def _require_features(repository: Repository) -> None:
    config = repository.config
    unknown = sorted({*config.collect_features, *config.write_features} - KNOWN_FEATURES)
    if unknown:
        raise RefusedError(
            f"collecting here needs {', '.join(unknown)}, which this version of Holdfast does not know",
            hint="install a newer version of Holdfast",
        )


def _ask_by_name(
    repository: Repository,
    writers: dict[SnapshotId, WriterRecord | DamagedError | None],
    outcomes: dict[SnapshotId, Outcome],
    meanwhile: Told,
) -> None:
    """Add what the listings do not show, or not yet. Whoever committed before the writers were listed has its
    entry in the journal by now, at the latest in `meanwhile`; the record is looked for before the outcome, since a
    writer creates the one before it removes the other."""
    for snapshot in sorted({*writers, *meanwhile.known} - set(outcomes)):
        if snapshot not in writers:
            writers[snapshot] = _writer(repository, snapshot)
        outcome = _outcome(repository, snapshot)
        if outcome is not None:
            outcomes[snapshot] = outcome


def _read_graves(
    repository: Repository, rounds: list[tuple[SnapshotId, int]], fates: set[tuple[SnapshotId, int]]
) -> tuple[dict[SnapshotId, Tombstone], set[SnapshotId]]:
    """Burials that stand, with those among them whose fate is `swept`."""
    newest = list(dict(rounds).items())
    decided = _read_many(
        lambda item: repository.graves.fate(*item), [item for item in newest if item in fates]
    )
    open_or_swept = [item for item in newest if not _called_off(decided.get(item))]
    tombstones = _read_many(lambda item: _tombstone(repository, item), open_or_swept)
    graves = {snapshot: stone for (snapshot, _), stone in tombstones.items() if stone is not None}
    swept = {snapshot for (snapshot, number) in tombstones if decided.get((snapshot, number)) is not None}
    return graves, swept & set(graves)


def _called_off(fate: Fate | None) -> bool:
    return fate is not None and fate.ending is not Ending.SWEPT


def _tombstone(repository: Repository, item: tuple[SnapshotId, int]) -> Tombstone | None:
    """None if another collection cleared it away since the listing."""
    try:
        return repository.graves.tombstone(*item)
    except DamagedError as error:
        if isinstance(error.__cause__, ObjectMissingError):
            return None
        raise


def _writer(repository: Repository, snapshot: SnapshotId) -> WriterRecord | DamagedError | None:
    """None if the writer was decided, and removed its record, since the listing."""
    try:
        return repository.writers.read(snapshot)
    except DamagedError as error:
        return None if isinstance(error.__cause__, ObjectMissingError) else error


def _outcome(repository: Repository, snapshot: SnapshotId) -> Outcome | None:
    """None if another collection cleared it away since the listing; the journal must say so."""
    try:
        return repository.outcomes.read(snapshot)
    except DamagedError as error:
        if isinstance(error.__cause__, ObjectMissingError):
            return None
        raise


def _swept_meanwhile(repository: Repository, snapshot: SnapshotId) -> bool:
    """Whether another collection, which runs beside this one, has swept it, or even cleared it away."""
    standing = repository.graves.standing(snapshot)
    if standing is not None:
        return standing[1] is not None
    return _outcome(repository, snapshot) is None


def _split(
    writers: dict[SnapshotId, WriterRecord | DamagedError | None], outcomes: dict[SnapshotId, Outcome]
) -> tuple[dict[SnapshotId, WriterRecord], dict[SnapshotId, WriterRecord | None]]:
    """Undecided writers and the records of decided ones. Raises the `DamagedError` of an undecided one: nobody
    can know what it relies on."""
    undecided: dict[SnapshotId, WriterRecord] = {}
    decided: dict[SnapshotId, WriterRecord | None] = {}
    for snapshot, record in writers.items():
        if snapshot in outcomes:
            decided[snapshot] = None if isinstance(record, DamagedError) else record
        elif isinstance(record, DamagedError):
            raise record
        elif record is not None:
            undecided[snapshot] = record
    return undecided, decided


def list_by_id(repository: Repository, prefix: str) -> dict[SnapshotId, ObjectInfo]:
    """The objects below a prefix, by the ids that name them; `DamagedError` for any other name there."""
    found = {}
    for info in repository.storage.list(prefix):
        try:
            found[parse_snapshot_id(info.name.removeprefix(prefix))] = info
        except ValueError as error:
            raise DamagedError(
                f"object {info.name} has no name that belongs there",
                object_name=info.name,
                hint="find out what wrote it, or install a newer version of Holdfast",
            ) from error
    return found


def _unknown(repository: Repository) -> Iterator[str]:
    """Names outside of every known prefix, found by stepping over those."""
    cursor: str | None = layout.CONFIG
    while True:
        name = next((info.name for info in repository.storage.list("", after=cursor)), None)
        if name is None:
            return
        prefix = next((item for item in PREFIXES if name.startswith(item)), None)
        cursor = name if prefix is None else prefix + _AFTER_ALL
        if prefix is None:
            yield name


def _read_many(read: Callable[[K], T], keys: Iterable[K]) -> dict[K, T]:
    """Many small documents, several at a time."""
    wanted = list(keys)
    return dict(zip(wanted, abreast(read, wanted, threads=READERS), strict=True))
