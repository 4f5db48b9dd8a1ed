"""Heads: which snapshot of a source was committed last, so that the next run finds its parent in one request.

A head is a hint and nothing more: it may lag behind (a run that died right after its commit), be missing, or be
damaged. Then a run looks among the newest outcomes, or reads everything. What a word like `latest` means is never
taken from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from holdfast.domain.errors import DamagedError
from holdfast.domain.ids import SnapshotId, parse_snapshot_id
from holdfast.repository import layout
from holdfast.repository.registers.documents import expect_name, read_document, seal_document
from holdfast.repository.seal import ObjectType, Sealer
from holdfast.storage import Storage

_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    source: str
    snapshot: SnapshotId


class Heads:
    """The `heads/` objects of one repository. Names are keyed digests: the storage does not learn the sources."""

    def __init__(self, storage: Storage, sealer: Sealer) -> None:
        self._storage = storage
        self._sealer = sealer

    def point(self, head: Head) -> None:
        document = {"source": head.source, "snapshot": head.snapshot}
        sealed, _ = seal_document(self._sealer, ObjectType.HEAD, document)
        self._storage.replace(self._name(head.source), sealed)

    def find(self, source: str) -> SnapshotId | None:
        """What the source's head says, or None if it says nothing that can be used."""
        try:
            head, _ = read_document(self._storage, self._sealer, ObjectType.HEAD, self._name(source), _decode)
        except DamagedError:
            return None
        return head.snapshot if head.source == source else None

    def check(self, name: str) -> None:
        """Read one object below `heads/`; `DamagedError` if it is missing, altered or another's."""
        head, _ = read_document(self._storage, self._sealer, ObjectType.HEAD, name, _decode)
        if self._sealer.keyring.has_one_identity_key:  # else it may be named by a key of before a compromise
            expect_name(name, self._name(head.source))

    def _name(self, source: str) -> str:
        digest = self._sealer.identify(ObjectType.HEAD, source.encode("utf-8", "surrogateescape"))
        return layout.head(digest[:_DIGEST_BYTES].hex())


def _decode(document: Any) -> Head:
    return Head(source=str(document["source"]), snapshot=parse_snapshot_id(document["snapshot"]))
