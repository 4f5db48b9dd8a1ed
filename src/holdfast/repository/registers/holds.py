"""Legal holds: what they name is never removed. Placed by a record, released by another; neither is replaced.

A hold is placed first and only then looks for tombstones; a collection lists tombstones first and then the holds.
Whoever comes second sees the other. The journal says that a hold was placed once its object is there, and that it
is released before that object is: so what stands by the journal and has no object was taken away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from holdfast.domain.errors import DamagedError, ObjectExistsError, ObjectMissingError
from holdfast.domain.ids import SnapshotId, parse_snapshot_id
from holdfast.repository import layout
from holdfast.repository.encoding import moment, parse_moment
from holdfast.repository.registers.documents import expect_name, read_document, seal_document
from holdfast.repository.seal import ObjectType, Sealer
from holdfast.storage import Storage

HOLD_PLACED = "hold placed"
HOLD_RELEASED = "hold released"
HOLD_PUT_BACK = "hold put back"
_MANY = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Who ended a hold, when, and why."""

    at: datetime
    by: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """`hold` is its id, a ULID. It stands until it is released, or until `until` has passed."""

    hold: str
    snapshots: tuple[SnapshotId, ...]
    at: datetime
    by: str
    why: str
    until: datetime | None
    released: Release | None = None

    def stands(self, now: datetime) -> bool:
        return self.released is None and (self.until is None or now < self.until)


class Holds:
    """The `holds/` objects of one repository."""

    def __init__(self, storage: Storage, sealer: Sealer) -> None:
        self._storage = storage
        self._sealer = sealer

    def place(self, hold: Hold) -> None:
        self._create(layout.hold_placed(hold.hold), encode_hold(hold))

    def release(self, hold: Hold, release: Release) -> Hold:
        """End it; returns the hold with the release that stands, which may be an earlier one."""
        document = {
            "hold": hold.hold,
            "state": "released",
            "at": moment(release.at),
            "by": release.by,
            "why": release.why,
        }
        try:
            self._create(layout.hold_released(hold.hold), document)
        except ObjectExistsError:
            return replace(hold, released=self._release(hold.hold))
        return replace(hold, released=release)

    def every(self) -> Iterator[Hold]:
        """All holds, also those that stand no more. Raises `DamagedError` at one that cannot be read, or at
        a name that is no hold's: nobody can know what it protects."""
        names = [info.name for info in self._storage.list(layout.HOLDS)]
        released = {_id_in(name) for name in names if name.endswith("/released")}
        for name in names:
            hold = _id_in(name)
            if name == layout.hold_placed(hold):
                found = self._placed(hold)
                if found is not None:
                    yield replace(found, released=self._release(hold)) if hold in released else found
            elif name != layout.hold_released(hold):
                raise _no_hold(name)

    def find(self, hold: str) -> Hold | None:
        """One hold by its id, listed or not; None if it is not there."""
        found = self._placed(hold)
        if found is None:
            return None
        try:
            return replace(found, released=self._release(hold))
        except DamagedError as error:
            if isinstance(error.__cause__, ObjectMissingError):
                return found
            raise

    def is_placed(self, hold: str) -> bool:
        """Whether its object is there, sound or not."""
        try:
            self._storage.stat(layout.hold_placed(hold))
        except ObjectMissingError:
            return False
        return True

    def check(self, name: str) -> None:
        """Read one object below `holds/`; `DamagedError` if it is missing, altered, another's, or no hold's."""
        hold = _id_in(name)
        if name == layout.hold_placed(hold):
            self._placed(hold)
        elif name == layout.hold_released(hold):
            self._release(hold)
        else:
            raise _no_hold(name)

    def forget(self, hold: Hold) -> None:
        """Remove a hold that stands no more, of snapshots that are gone."""
        self._storage.delete(layout.hold_placed(hold.hold))
        self._storage.delete(layout.hold_released(hold.hold))

    def _placed(self, hold: str) -> Hold | None:
        """None if a collection has forgotten it since the listing."""
        name = layout.hold_placed(hold)
        try:
            found, _ = read_document(self._storage, self._sealer, ObjectType.HOLD, name, decode_hold)
        except DamagedError as error:
            if isinstance(error.__cause__, ObjectMissingError):
                return None
            raise
        expect_name(name, layout.hold_placed(found.hold))
        return found

    def _release(self, hold: str) -> Release:
        name = layout.hold_released(hold)
        (about, release), _ = read_document(
            self._storage, self._sealer, ObjectType.HOLD, name, _decode_release
        )
        expect_name(name, layout.hold_released(about))
        return release

    def _create(self, name: str, document: dict[str, Any]) -> None:
        self._storage.create(name, seal_document(self._sealer, ObjectType.HOLD, document)[0])


def taken_away(hold: Hold) -> DamagedError:
    """What to say of a hold that stands by the journal and has no object."""
    name, more = layout.hold_placed(hold.hold), len(hold.snapshots) - _MANY
    over = ", ".join(hold.snapshots[:_MANY]) + (f" and {more} more" if more > 0 else "")
    return DamagedError(
        f"object {name} is missing, although the journal says that {hold.by} placed this legal hold at "
        f"{moment(hold.at)} over snapshot {over} ({hold.why}), and not that it was released",
        object_name=name,
        hint=f"place it again with holdfast hold put-back {hold.hold}, or end it with holdfast hold release "
        f"{hold.hold}",
    )


def _no_hold(name: str) -> DamagedError:
    return DamagedError(
        f"object {name} is no hold that this version of Holdfast knows",
        object_name=name,
        hint="find out what wrote it, or install a newer version of Holdfast",
    )


def _id_in(name: str) -> str:
    return name.split("/")[1]


def _expect_state(document: Any, state: str) -> None:
    """Both records are of one type: without this, a copy of the first would pass for the second."""
    if document["state"] != state:
        raise ValueError(f"expected a hold that is {state}, found {document['state']!r}")


def encode_hold(hold: Hold) -> dict[str, Any]:
    """A hold as it was placed."""
    return {
        "hold": hold.hold,
        "state": "placed",
        "snapshots": list(hold.snapshots),
        "at": moment(hold.at),
        "by": hold.by,
        "why": hold.why,
        "until": None if hold.until is None else moment(hold.until),
    }


def decode_hold(document: Any) -> Hold:
    _expect_state(document, "placed")
    until = document["until"]
    return Hold(
        hold=str(document["hold"]),
        snapshots=tuple(parse_snapshot_id(item) for item in document["snapshots"]),
        at=parse_moment(document["at"]),
        by=str(document["by"]),
        why=str(document["why"]),
        until=None if until is None else parse_moment(until),
    )


def _decode_release(document: Any) -> tuple[str, Release]:
    _expect_state(document, "released")
    release = Release(at=parse_moment(document["at"]), by=str(document["by"]), why=str(document["why"]))
    return str(document["hold"]), release
