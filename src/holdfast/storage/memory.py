"""A storage that lives and dies with its process: for tests and for trying things out."""

from __future__ import annotations

import hashlib
import threading
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
    """Objects in a dictionary under one lock. Every instance is a storage of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}

    @property
    def address(self) -> str:
        return "memory:"

    @property
    def create_once(self) -> bool:
        return True

    def create(self, name: str, data: Buffer) -> None:
        check_name(name)
        held = _hold(name, data)
        with self._lock:
            if name in self._held:
                raise ObjectExistsError(name)
            self._held[name] = held

    def replace(self, name: str, data: Buffer) -> None:
        check_name(name)
        held = _hold(name, data)
        with self._lock:
            self._held[name] = held

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        end = None if length is None else offset + length
        return self._find(name).data[offset:end]

    def stat(self, name: str) -> ObjectInfo:
        return self._find(name).info

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        with self._lock:
            infos = [held.info for name, held in self._held.items() if name.startswith(prefix)]
        infos.sort(key=lambda info: info.name)
        return (info for info in infos if after is None or info.name > after)

    def delete(self, name: str) -> None:
        check_name(name)
        with self._lock:
            self._held.pop(name, None)

    def close(self) -> None:
        """Nothing to release; the objects stay, so that a test may look at them."""

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
