"""The journal: runs, checks and decisions in the order in which they happened, chained by hash.

Entry n holds the identity of entry n-1; the first one holds the digest of the repository's config. So no entry
can be changed, swapped or taken out of the middle unseen. The end is held by the outcomes: each one names the
position of its own entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from holdfast.domain.errors import DamagedError, ObjectExistsError
from holdfast.repository import layout
from holdfast.repository.documents import expect_name, read_document, seal_document
from holdfast.repository.encoding import moment, parse_moment
from holdfast.repository.seal import ObjectType, Sealer
from holdfast.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`kind` is what happened (initialised, committing, verified, key added, …), `facts` are its details."""

    position: int
    previous: str
    at: datetime
    kind: str
    facts: Mapping[str, Any]


UNREADABLE = "unreadable"


class Journal:
    """Append and read. Safe with several writers: a position has one winner, the losers take the next one."""

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
            sealed, _ = seal_document(
                self._sealer,
                ObjectType.JOURNAL,
                {
                    "position": position,
                    "previous": previous,
                    "at": moment(at),
                    "kind": kind,
                    "facts": dict(facts),
                },
            )
            try:
                self._storage.create(layout.journal(position), sealed)
            except ObjectExistsError:
                last = self._last_position(position)
                continue
            return position

    def read(self, position: int) -> tuple[Entry, bytes]:
        """One entry and its identity; `DamagedError` if it is missing, altered or another's."""
        name = layout.journal(position)
        entry, identity = read_document(self._storage, self._sealer, ObjectType.JOURNAL, name, _decode)
        expect_name(name, layout.journal(entry.position))
        return entry, identity

    def positions(self) -> Iterator[int]:
        """The positions that the storage lists, ascending. Foreign names are not ours to judge here."""
        for info in self._storage.list(layout.JOURNAL):
            try:
                yield layout.position_in(info.name)
            except ValueError:
                continue

    def _identity_or_mark(self, position: int) -> str:
        """A damaged entry must not stop backups: the chain goes on with a mark, and verify names the entry."""
        try:
            return self.read(position)[1].hex()
        except DamagedError:
            return UNREADABLE

    def _last_position(self, hint: int) -> int:
        last = hint
        after = layout.journal(hint) if hint else None
        for info in self._storage.list(layout.JOURNAL, after=after):
            last = max(last, layout.position_in(info.name))
        return last


def _decode(document: Any) -> Entry:
    return Entry(
        position=int(document["position"]),
        previous=str(document["previous"]),
        at=parse_moment(document["at"]),
        kind=str(document["kind"]),
        facts=dict(document["facts"]),
    )
