"""Locks on objects: what keeps an object from being deleted, by anyone, before a date.

A lock is set by the request that creates the object, never afterwards and never as a bucket's default: so there is
no moment at which a new object stands without it, and the objects that must change (`writers/`) stay free.
Locks only grow. What is locked can still be hidden (by a delete that leaves a marker, or by another object of the
same name): the bytes are there all the same, as an earlier version.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from holdfast.domain.errors import ObjectExistsError, ObjectMissingError
from holdfast.storage import Buffer, Storage
from holdfast.storage.names import check_name
from holdfast.storage.wrap import Through


class LockMode(enum.StrEnum):
    """GOVERNANCE yields to a right of its own (s3:BypassGovernanceRetention), COMPLIANCE to nobody at all."""

    GOVERNANCE = "governance"
    COMPLIANCE = "compliance"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockPolicy:
    """Which objects are locked (those whose names start with one of `prefixes`), how, and how long.

    Every snapshot stays locked for at least one `period` after its commit. Objects get `longest`, half a period
    more: so an object that every snapshot reuses is extended once per half period, not with every snapshot.

    `hidden`: a delete below these prefixes hides what is locked instead of failing; its bytes stay as an earlier
    version. For what must stop counting at once when it is removed.
    """

    mode: LockMode
    period: timedelta
    prefixes: tuple[str, ...]
    hidden: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.period < timedelta(days=1):
            raise ValueError("a lock of less than a day protects nothing")

    @property
    def longest(self) -> timedelta:
        return self.period * 3 / 2

    def covers(self, name: str) -> bool:
        return name.startswith(self.prefixes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of an object that a versioned bucket keeps; a marker says only "deleted"."""

    version: str
    size_bytes: int
    modified_at: datetime
    is_marker: bool
    is_latest: bool


class Locks(Protocol):
    """A storage's own way to lock objects. All verbs may be called from several threads, and all but `create` be
    repeated without harm. Failures are those of `Storage`."""

    @property
    def policy(self) -> LockPolicy: ...

    def now(self) -> datetime:
        """The storage's clock, aware, UTC. Ours may be wrong: locks would be too short, or bind for years."""
        ...

    def create(self, name: str, data: Buffer, *, once: bool) -> None:
        """Store a new object, locked for the longest time, in one request. `once`: `ObjectExistsError` if the
        name is taken; without it, the caller looked before."""
        ...

    def extend(self, name: str, *, until: datetime) -> None:
        """Keep an object at least until then. A lock that already lasts longer is left as it is.

        Raises `ObjectMissingError` if there is no such object."""
        ...

    def remove(self, name: str) -> bool:
        """Delete every version of an object for good; `LockedObjectError` while one is locked.

        False if these credentials may not: then only a plain delete is left, which hides the object."""
        ...

    def earlier(self, name: str) -> tuple[Version, ...]:
        """All that a versioned bucket keeps under one name, newest first."""
        ...

    def way_back(self, name: str) -> str:
        """The command that brings an earlier version of an object back to light; empty if there is none."""
        ...


class Locking(Through):
    """Creates objects locked where the policy covers them; the rest goes through as it is."""

    def __init__(self, inside: Storage, locks: Locks) -> None:
        super().__init__(inside)
        self._locks = locks

    @property
    def locks(self) -> Locks:
        return self._locks

    def create(self, name: str, data: Buffer) -> None:
        check_name(name)
        if not self._locks.policy.covers(name):
            self._inside.create(name, data)
            return
        if not self._inside.create_once:
            self._refuse_taken(name)
        self._locks.create(name, data, once=self._inside.create_once)

    def delete(self, name: str) -> None:
        check_name(name)
        policy = self._locks.policy
        only_hides = name.startswith(policy.hidden) or not policy.covers(name)
        if only_hides or not self._locks.remove(name):
            self._inside.delete(name)

    def _refuse_taken(self, name: str) -> None:
        try:
            self._inside.stat(name)
        except ObjectMissingError:
            return
        raise ObjectExistsError(name)
