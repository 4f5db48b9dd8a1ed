"""Locks in memory, for tests and for trying things out: what `object_lock` promises, and no more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from holdfast.domain.errors import LockedObjectError
from holdfast.storage import Buffer, Storage
from holdfast.storage.object_lock import LockPolicy, Version


class MemoryLocks:
    """Remembers until when each object is locked. Deletes that go around it, straight to `storage`, succeed."""

    def __init__(self, storage: Storage, policy: LockPolicy, *, clock: Callable[[], datetime]) -> None:
        self._storage = storage
        self._policy = policy
        self._clock = clock
        self._guard = threading.Lock()
        self._until: dict[str, datetime] = {}

    @property
    def policy(self) -> LockPolicy:
        return self._policy

    def now(self) -> datetime:
        return self._clock()

    def locked_until(self, name: str) -> datetime | None:
        with self._guard:
            return self._until.get(name)

    def create(self, name: str, data: Buffer, *, once: bool) -> None:
        del once  # a name in memory has one winner in any case
        self._storage.create(name, data)
        with self._guard:
            self._until[name] = self._clock() + self._policy.longest

    def extend(self, name: str, *, until: datetime) -> None:
        self._storage.stat(name)
        with self._guard:
            self._until[name] = max(until, self._until.get(name, until))

    def remove(self, name: str) -> bool:
        with self._guard:
            until = self._until.get(name)
            if until is not None and until > self._clock():
                raise LockedObjectError(name, until=until)
            self._storage.delete(name)
            self._until.pop(name, None)
        return True

    def earlier(self, name: str) -> tuple[Version, ...]:
        """Memory keeps no versions."""
        del name
        return ()

    def way_back(self, name: str) -> str:
        del name
        return ""
