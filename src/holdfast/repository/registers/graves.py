"""Tombstones and fates: which snapshots are removed, and the one register that decides how each removal ends.

A burial opens a round, `tombstones/<snapshot>/<round>`; its create-once `fates/<snapshot>/<round>` ends it, with
one winner: undeleted, held (a legal hold came late), or swept. Rounds count up, so a snapshot may be buried again
after an undelete, and a register that is decided is never opened again while the snapshot lives: a collector
that sleeps through an undelete cannot sweep by what it knew before.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from holdfast.domain.errors import DamagedError, ObjectExistsError, ObjectMissingError
from holdfast.domain.ids import SnapshotId, parse_snapshot_id
from holdfast.repository import layout
from holdfast.repository.encoding import moment, parse_moment
from holdfast.repository.registers.documents import expect_name, read_document, seal_document
from holdfast.repository.seal import ObjectType, Sealer
from holdfast.storage import Storage

FIRST_ROUND = 1


class Ending(enum.StrEnum):
    """How a burial ended. The first two bring the snapshot back; after `SWEPT` its objects go."""

    UNDELETED = "undeleted"
    HELD = "held"
    SWEPT = "swept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """`snapshot` is to be removed: since when, by whom, and why."""

    snapshot: SnapshotId
    round: int
    at: datetime
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of one burial."""

    snapshot: SnapshotId
    round: int
    at: datetime
    by: str
    ending: Ending


class Graves:
    """The `tombstones/` and `fates/` objects of one repository."""

    def __init__(self, storage: Storage, sealer: Sealer) -> None:
        self._storage = storage
        self._sealer = sealer

    def is_buried(self, snapshot: SnapshotId) -> bool:
        """Whether its newest burial was not called off. A snapshot that was swept and forgotten is not buried:
        whoever must know that it is still there looks for its outcome afterwards, which is removed first."""
        return self.standing(snapshot) is not None

    def standing(self, snapshot: SnapshotId) -> tuple[int, Fate | None] | None:
        """The round of the burial that stands, with `SWEPT` or nothing as its fate; None if none stands.

        By direct questions, not by a listing. Raises `DamagedError` for a fate that cannot be read.
        """
        round_number = FIRST_ROUND
        while self._is_there(layout.tombstone(snapshot, round_number)):
            fate = self.fate(snapshot, round_number)
            if fate is None or fate.ending is Ending.SWEPT:
                return round_number, fate
            round_number += 1
        return None

    def buried(self) -> set[SnapshotId]:
        """All snapshots whose newest burial was not called off, by two listings.

        Raises `DamagedError` for a name that is no tombstone's, and for a fate that cannot be read.
        """
        newest = dict(self.rounds())
        if not newest:
            return set()
        decided = set(self.fates())
        return {
            snapshot
            for snapshot, round_number in newest.items()
            if (snapshot, round_number) not in decided or self.is_buried(snapshot)
        }

    def rounds(self) -> Iterator[tuple[SnapshotId, int]]:
        """All tombstones that the storage lists, by snapshot and round, ascending."""
        yield from self._listed(layout.TOMBSTONES, "tombstone")

    def fates(self) -> Iterator[tuple[SnapshotId, int]]:
        """All fates that the storage lists, by snapshot and round, ascending."""
        yield from self._listed(layout.FATES, "fate")

    def tombstone(self, snapshot: SnapshotId, round_number: int) -> Tombstone:
        """`DamagedError` if it is missing, altered or another's."""
        name = layout.tombstone(snapshot, round_number)
        found, _ = read_document(self._storage, self._sealer, ObjectType.TOMBSTONE, name, _decode_tombstone)
        expect_name(name, layout.tombstone(found.snapshot, found.round))
        return found

    def fate(self, snapshot: SnapshotId, round_number: int) -> Fate | None:
        """What became of this burial, or None while it is open."""
        name = layout.fate(snapshot, round_number)
        try:
            found, _ = read_document(self._storage, self._sealer, ObjectType.FATE, name, _decode_fate)
        except DamagedError as error:
            if isinstance(error.__cause__, ObjectMissingError):
                return None
            raise
        expect_name(name, layout.fate(found.snapshot, found.round))
        return found

    def bury(self, snapshot: SnapshotId, *, at: datetime, by: str, reason: str) -> Tombstone:
        """Open a burial, or return the one that stands already."""
        round_number = FIRST_ROUND
        while True:
            if not self._is_there(layout.tombstone(snapshot, round_number)):
                mine = Tombstone(snapshot=snapshot, round=round_number, at=at, by=by, reason=reason)
                try:
                    self._create(ObjectType.TOMBSTONE, layout.tombstone(snapshot, round_number), mine)
                except ObjectExistsError:
                    continue
                return mine
            fate = self.fate(snapshot, round_number)
            if fate is None or fate.ending is Ending.SWEPT:
                return self._standing_tombstone(snapshot, round_number, at=at, by=by, reason=reason)
            round_number += 1

    def decide(self, fate: Fate) -> Fate:
        """End a burial; returns the fate that stands, which may be an earlier one."""
        try:
            self._create(ObjectType.FATE, layout.fate(fate.snapshot, fate.round), fate)
        except ObjectExistsError:
            found = self.fate(fate.snapshot, fate.round)
            # It vanished between the two: another collector has swept, and cleared the registers meanwhile.
            return found if found is not None else _swept_by_another(fate)
        return fate

    def _standing_tombstone(
        self, snapshot: SnapshotId, round_number: int, *, at: datetime, by: str, reason: str
    ) -> Tombstone:
        """The one that was there just now. Where a collection has swept the snapshot and cleared its registers in
        this moment, what was asked for has happened, and nothing is damaged."""
        try:
            return self.tombstone(snapshot, round_number)
        except DamagedError as error:
            if isinstance(error.__cause__, ObjectMissingError):
                return Tombstone(snapshot=snapshot, round=round_number, at=at, by=by, reason=reason)
            raise

    def _is_there(self, name: str) -> bool:
        try:
            self._storage.stat(name)
        except ObjectMissingError:
            return False
        return True

    def _listed(self, prefix: str, what: str) -> Iterator[tuple[SnapshotId, int]]:
        for info in self._storage.list(prefix):
            try:
                yield layout.round_in(info.name)
            except ValueError as error:
                raise DamagedError(
                    f"object {info.name} is no {what} that this version of Holdfast knows",
                    object_name=info.name,
                    hint="find out what wrote it, or install a newer version of Holdfast",
                ) from error

    def _create(self, kind: ObjectType, name: str, what: Tombstone | Fate) -> None:
        facts: dict[str, Any] = {"snapshot": what.snapshot, "round": what.round, "at": moment(what.at)}
        facts["by"] = what.by
        if isinstance(what, Tombstone):
            facts["reason"] = what.reason
        else:
            facts["ending"] = what.ending.value
        self._storage.create(name, seal_document(self._sealer, kind, facts)[0])


def _swept_by_another(fate: Fate) -> Fate:
    return Fate(
        snapshot=fate.snapshot, round=fate.round, at=fate.at, by="another collector", ending=Ending.SWEPT
    )


def _decode_tombstone(document: Any) -> Tombstone:
    return Tombstone(
        snapshot=parse_snapshot_id(document["snapshot"]),
        round=int(document["round"]),
        at=parse_moment(document["at"]),
        by=str(document["by"]),
        reason=str(document["reason"]),
    )


def _decode_fate(document: Any) -> Fate:
    return Fate(
        snapshot=parse_snapshot_id(document["snapshot"]),
        round=int(document["round"]),
        at=parse_moment(document["at"]),
        by=str(document["by"]),
        ending=Ending(document["ending"]),
    )
