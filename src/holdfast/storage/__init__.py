"""The port behind which bytes live: a flat name space of immutable objects, and a few verbs.

Contract, the same for every adapter (tests/contract holds all of them to it):

- Names obey `holdfast.storage.names`: segments of letters, digits and "-_.=", joined by "/". No name is also the
  folder of another ("a" beside "a/b"): file systems cannot hold both. A bad name is a `ValueError`.
- `create` and `replace` are atomic and durable: a reader sees the whole object or none, and after return it
  survives a power cut as far as the storage can promise it.
- `create` has exactly one winner, also between processes and hosts, when `create_once` is true; the losers get
  `ObjectExistsError`. A storage that cannot promise it (`create_once` false) checks first and then writes.
- Read after write: what returned is visible to `get`, `stat` and `list` at once.
- All verbs may be called from several threads. All but `create` may be repeated without harm. A `create`
  whose answer got lost may raise `ObjectExistsError` against itself; callers whose names are random ignore
  it after comparing, callers who race compare what is there with what they wrote.
- A missing object is `ObjectMissingError` for `get` and `stat`, nothing for `list`, and fine for `delete`.
- A deleted object may be back after a power cut; a missing bucket or folder is never taken for an empty one.
- Foreign exceptions never leave. `LackingRightsError`, `StorageFullError` and `StorageUnusableError` say that
  trying again does not help; a plain `UnreachableError` says that it may.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from holdfast.storage.object_lock import Locks

Buffer: TypeAlias = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """What a listing says of one object.

    `md5` is the hexadecimal MD5 of the bytes if the storage itself keeps and vouches for one (S3's ETag of a
    simple upload), otherwise None. `modified_at` is aware, UTC, by the storage's clock.
    """

    name: str
    size_bytes: int
    modified_at: datetime
    md5: str | None = None


class Storage(Protocol):
    """One place for objects. See the module's docstring for the contract."""

    @property
    def address(self) -> str:
        """For messages: the URL without any secret in it."""
        ...

    @property
    def create_once(self) -> bool:
        """Whether `create` has one winner; as found by `probe`, or as configured."""
        ...

    @property
    def locks(self) -> Locks | None:
        """What keeps objects from being deleted before a date; None where nothing does."""
        ...

    def create(self, name: str, data: Buffer) -> None:
        """Store a new object; raises `ObjectExistsError` if the name is taken."""
        ...

    def replace(self, name: str, data: Buffer) -> None:
        """Store an object, whether or not the name is taken; the last one wins, whole."""
        ...

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """The bytes from `offset`, at most `length` of them (to the end when None).

        A range past the end returns what is there, possibly nothing: callers know the sizes they expect.
        """
        ...

    def stat(self, name: str) -> ObjectInfo: ...

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        """Objects whose name starts with `prefix` (a plain string prefix), in ascending order of their names
        by code point, those after the name `after` only."""
        ...

    def delete(self, name: str) -> None:
        """Remove an object; raises `LockedObjectError` while a lock keeps it, which means "later"."""
        ...

    def close(self) -> None: ...
