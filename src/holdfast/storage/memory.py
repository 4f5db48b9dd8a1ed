"""A storage that lives and dies with its process: for tests and for trying things out."""

from __future__ import annotations

import hashlib
import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from holdfast.domain.errors import ObjectExistsError, ObjectMissingError
from holdfast.storage import Buffer, ObjectInfo
from holdfast.storage.names import check_name, check_prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    data: bytes
    info: ObjectInfo


class MemoryStorage:
    """Objects in a dictionary under one lock, and their names in order, so that a listing costs what it shows.
    Every instance is a storage of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}
        self._names: list[str] = []

    @property
    def address(self) -> str:
        return "memory:"

    @property
    def create_once(self) -> bool:
        return True

    @property
    def locks(self) -> None:
        """Nothing keeps objects here; `holdfast.storage.object_lock.Locking` adds it where the storage can."""
        return None

    def create(self, name: str, data: Buffer) -> None:
        check_name(name)
        held = _hold(name, data)
        with self._lock:
            if name in self._held:
                raise ObjectExistsError(name)
            self._keep(name, held)

    def replace(self, name: str, data: Buffer) -> None:
        check_name(name)
        held = _hold(name, data)
        with self._lock:
            self._keep(name, held)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        end = None if length is None else offset + length
        return self._find(name).data[offset:end]

    def stat(self, name: str) -> ObjectInfo:
        return self._find(name).info

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        with self._lock:
            start = bisect_left(self._names, prefix)
            if after is not None:
                start = max(start, bisect_right(self._names, after))
            # No character of a name sorts behind the last one there is.
            end = bisect_left(self._names, prefix + chr(0x10FFFF)) if prefix else len(self._names)
            infos = [self._held[name].info for name in self._names[start:end]]
        return iter(infos)

    def delete(self, name: str) -> None:
        check_name(name)
        with self._lock:
            if self._held.pop(name, None) is not None:
                del self._names[bisect_left(self._names, name)]

    def close(self) -> None:
        """Nothing to release; the objects stay, so that a test may look at them."""

    def _keep(self, name: str, held: _Held) -> None:
        if name not in self._held:
            insort(self._names, name)
        self._held[name] = held

    def _find(self, name: str) -> _Held:
        check_name(name)
        with self._lock:
            held = self._held.get(name)
        if held is None:
            raise ObjectMissingError(name)
        return held


def _hold(name: str, data: Buffer) -> _Held:
    copy = bytes(data)
    md5 = hashlib.md5(copy, usedforsecurity=False).hexdigest()
    info = ObjectInfo(name=name, size_bytes=len(copy), modified_at=datetime.now(UTC), md5=md5)
    return _Held(data=copy, info=info)
