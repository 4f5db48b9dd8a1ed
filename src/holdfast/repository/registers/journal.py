"""The journal: runs, checks and decisions in the order in which they happened, chained by hash.

Entry n holds the identity of entry n-1; the first one holds the digest of the repository's config. So no entry
can be changed, swapped or taken out of the middle unseen. The end is held by the outcomes: each one names the
position of its own entry. Old entries are folded into segments; the newest ones stay objects of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from holdfast.domain.errors import DamagedError, LackingRightsError, ObjectExistsError, ObjectMissingError
from holdfast.repository import layout
from holdfast.repository.blobs import missing
from holdfast.repository.encoding import moment, parse_moment
from holdfast.repository.registers import segments
from holdfast.repository.registers.documents import open_document, seal_document
from holdfast.repository.registers.segments import Folded
from holdfast.repository.seal import HEADER_BYTES, ObjectType, SealBrokenError, Sealer, read_header
from holdfast.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`kind` is what happened (initialised, committing, verified, key added, …), `facts` are its details."""

    position: int
    previous: str
    at: datetime
    kind: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """One position of the journal: its entry and that entry's identity, or what is wrong with it.

    `name` is the object that holds it: its own, or a segment.
    """

    position: int
    name: str
    entry: Entry | None = None
    identity: bytes | None = None
    damage: DamagedError | None = None


UNREADABLE = "unreadable"


class Journal:
    """Append, read, fold. Safe with several writers: a position has one winner, the losers take the next one."""

    def __init__(self, storage: Storage, sealer: Sealer, config_digest: str) -> None:
        self._storage = storage
        self._sealer = sealer
        self._config_digest = config_digest

    def append(self, kind: str, facts: Mapping[str, Any], *, at: datetime, hint: int = 0) -> int:
        """Write the next entry and return its position.

        `hint` is any position known to exist (0 for none): the search for the end starts there, so that it
        does not grow with the journal.
        """
        last = self._last_position(hint)
        while True:
            previous = self._config_digest if last == 0 else self._identity_or_mark(last)
            position = last + 1
            document = {
                "position": position,
                "previous": previous,
                "at": moment(at),
                "kind": kind,
                "facts": dict(facts),
            }
            sealed, _ = seal_document(self._sealer, ObjectType.JOURNAL, document)
            try:
                self._storage.create(layout.journal(position), sealed)
            except ObjectExistsError:
                last = self._last_position(position)
                continue
            if self._stands(position, sealed):
                return position
            last = self._last_position(0)

    def read(self, position: int) -> tuple[Entry, bytes]:
        """One entry and its identity; `DamagedError` if it is missing, altered or another's."""
        name = layout.journal(position)
        try:
            return self._open(position, name, self._storage.get(name))
        except ObjectMissingError as error:
            folded = self._segment(segments.first_of(position))
            if folded is None:
                raise missing(name) from error
            index = position - segments.first_of(position)
            return self._open(position, segments.name_of(position), folded[index])

    def walk(self, after: int = 0) -> Iterator[Walked]:
        """Every position after `after`, ascending, up to the last one that there is, whether listed yet or not.

        Each segment is fetched once. Entries may be folded meanwhile: what is no object of its own any more is
        looked for in its segment.
        """
        singles = set(self._singles(after))
        firsts = set(self._folded_firsts())
        last = max(singles | {first + segments.SEGMENT_ENTRIES - 1 for first in firsts}, default=0)
        first = segments.first_of(after + 1)
        while first <= last:
            positions = [item for item in segments.positions_of(first) if after < item <= last]
            is_whole = first in firsts or not singles.issuperset(positions)
            yield from self._walk_segment(first, positions) if is_whole else map(self._look, positions)
            first += segments.SEGMENT_ENTRIES
        position = max(after, last) + 1
        while self._is_there(layout.journal(position)):
            yield self._look(position)
            position += 1

    def fold(self) -> Folded:
        """Join old entries into segments, and remove the single ones; the newest thousand stay single.

        May be killed at any step and run twice at once: a segment is created before its first entry goes, and
        it is read back and opened before anything goes. A segment in which an entry is damaged is not folded.
        """
        singles = sorted(self._singles(0))
        made, removed, refused = 0, 0, []
        last = singles[-1] if singles else 0
        for first in sorted({segments.first_of(position) for position in singles}):
            if first + segments.SEGMENT_ENTRIES - 1 + segments.KEEP_SINGLE > last:
                break
            try:
                made += self._make_segment(first)
                for item in self._walk_segment(first, segments.positions_of(first)):
                    if item.damage is not None:
                        raise item.damage
            except DamagedError as error:
                refused.append(error)
                continue
            for position in (item for item in singles if segments.first_of(item) == first):
                try:
                    self._storage.delete(layout.journal(position))
                except LackingRightsError:
                    return Folded(segments=made, entries=removed, refused=tuple(refused))
                removed += 1
        return Folded(segments=made, entries=removed, refused=tuple(refused))

    def _make_segment(self, first: int) -> bool:
        """Create the segment unless it is there; True if this call made it."""
        name = layout.segment(first)
        if self._is_there(name):
            return False
        sealed = []
        for position in segments.positions_of(first):
            single = layout.journal(position)
            try:
                data = self._storage.get(single)
            except ObjectMissingError as error:
                if self._is_there(name):
                    return False  # another collector folds, and is ahead of us
                raise missing(single) from error
            self._open(position, single, data)
            sealed.append(data)
        try:
            self._storage.create(name, segments.join(sealed))
        except ObjectExistsError:
            return False
        return True

    def _walk_segment(self, first: int, positions: range | list[int]) -> Iterator[Walked]:
        """These positions of one segment, if it is there; as single entries otherwise."""
        name = layout.segment(first)
        damage = None
        try:
            folded = self._segment(first)
            if folded is None and not any(self._is_there(layout.journal(item)) for item in positions):
                damage = missing(name)
        except DamagedError as error:
            damage = error
        if damage is not None:
            for position in positions:
                yield Walked(position=position, name=name, damage=damage)
            return
        for position in positions:
            if folded is None:
                yield self._look(position)
            else:
                yield self._walked(
                    position, name, partial(self._open, position, name, folded[position - first])
                )

    def _look(self, position: int) -> Walked:
        return self._walked(position, layout.journal(position), partial(self.read, position))

    def _walked(self, position: int, name: str, read: Callable[[], tuple[Entry, bytes]]) -> Walked:
        try:
            entry, identity = read()
        except DamagedError as error:
            return Walked(position=position, name=error.object_name, damage=error)
        return Walked(position=position, name=name, entry=entry, identity=identity)

    def _open(self, position: int, name: str, sealed: bytes) -> tuple[Entry, bytes]:
        entry, identity = open_document(self._sealer, ObjectType.JOURNAL, name, sealed, _decode)
        if entry.position != position:
            text = f"object {name} is damaged: it holds entry {entry.position} in the place of {position}"
            raise DamagedError(text, object_name=name)
        return entry, identity

    def _segment(self, first: int) -> list[bytes] | None:
        name = layout.segment(first)
        try:
            return segments.split(name, self._storage.get(name))
        except ObjectMissingError:
            return None

    def _stands(self, position: int, sealed: bytes) -> bool:
        """Whether the entry that was just created is the one that counts.

        A writer that slept since it looked for the end may create a name that was folded and removed meanwhile.
        The segment is created before the first of its entries goes, so it is there then, and counts.
        """
        if not self._is_there(segments.name_of(position)):
            return True
        folded = self._segment(segments.first_of(position))
        if folded is None or folded[position - segments.first_of(position)] == sealed:
            return True
        with suppress(LackingRightsError):  # where it may not be deleted, the next folding does it
            self._storage.delete(layout.journal(position))
        return False

    def _is_there(self, name: str) -> bool:
        try:
            self._storage.stat(name)
        except ObjectMissingError:
            return False
        return True

    def _singles(self, after: int) -> Iterator[int]:
        """Positions that have an object of their own. Foreign names are not ours to judge here."""
        start = layout.journal(after) if after else None
        for info in self._storage.list(layout.JOURNAL, after=start):
            try:
                yield layout.position_in(info.name)
            except ValueError:
                continue

    def _folded_firsts(self) -> Iterator[int]:
        for info in self._storage.list(layout.SEGMENTS):
            try:
                yield layout.segment_in(info.name)
            except ValueError:
                continue

    def _identity_or_mark(self, position: int) -> str:
        """A damaged entry must not stop backups: the chain goes on with a mark, and verify names the entry."""
        try:
            return self.read(position)[1].hex()
        except DamagedError:
            return self._stated_identity(position) or UNREADABLE

    def _stated_identity(self, position: int) -> str | None:
        """What the header of an entry says that was sealed in a newer epoch than this process has keys of: keys
        were rotated while it ran. Whoever has the new keys checks the chain."""
        try:
            header = read_header(self._storage.get(layout.journal(position), length=HEADER_BYTES))
        except (ObjectMissingError, SealBrokenError):
            return None
        is_newer = header.epoch > self._sealer.keyring.current
        return header.identity.hex() if is_newer and header.type is ObjectType.JOURNAL else None

    def _last_position(self, hint: int) -> int:
        """Where nothing comes after the hint, it is the last one: a folded entry has a thousand after it."""
        last = max(self._singles(hint), default=hint)
        if last == 0:
            folded = max(self._folded_firsts(), default=0)
            last = max(last, folded + segments.SEGMENT_ENTRIES - 1 if folded else 0)
        return last


def _decode(document: Any) -> Entry:
    return Entry(
        position=int(document["position"]),
        previous=str(document["previous"]),
        at=parse_moment(document["at"]),
        kind=str(document["kind"]),
        facts=dict(document["facts"]),
    )
