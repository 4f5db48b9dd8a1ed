"""A storage that counts the steps of a command, and strikes at one of them: for tests that kill it at each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

from holdfast.storage import Buffer, ObjectInfo, Storage
from holdfast.storage.memory import MemoryStorage
from holdfast.storage.wrap import Through


class KilledError(BaseException):
    """The process ends here: nothing catches it."""


def be_killed() -> NoReturn:
    raise KilledError


class Steps:
    """How many steps there were, from any thread. `left`: how many until it strikes, once; None or 0: never."""

    def __init__(self, strike: Callable[[], object] = be_killed, *, left: int | None = None) -> None:
        self._strike = strike
        self._lock = threading.Lock()
        self.count = 0
        self.left = left

    def add(self, *_: object) -> None:
        """One more: it may be given as a listener of events, too."""
        with self._lock:
            self.count += 1
            if self.left:
                self.left -= 1
                is_fatal = self.left == 0
            else:
                is_fatal = False
        if is_fatal:
            self._strike()


class Mortal(Through):
    """Every change has two steps, before and after it: done or not, never half. With `reads`, so has all that only
    looks: for tests in which something else may happen meanwhile."""

    def __init__(
        self, inside: Storage | None = None, steps: Steps | None = None, *, reads: bool = False
    ) -> None:
        super().__init__(inside or MemoryStorage())
        self._steps = steps or Steps()
        self._reads = reads

    @property
    def steps(self) -> int:
        return self._steps.count

    @property
    def left(self) -> int | None:
        return self._steps.left

    @left.setter
    def left(self, steps: int | None) -> None:
        self._steps.left = steps

    def create(self, name: str, data: Buffer) -> None:
        self._steps.add()
        super().create(name, data)
        self._steps.add()

    def replace(self, name: str, data: Buffer) -> None:
        self._steps.add()
        super().replace(name, data)
        self._steps.add()

    def delete(self, name: str) -> None:
        self._steps.add()
        super().delete(name)
        self._steps.add()

    def _look(self) -> None:
        if self._reads:
            self._steps.add()

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        self._look()
        data = super().get(name, offset=offset, length=length)
        self._look()
        return data

    def stat(self, name: str) -> ObjectInfo:
        self._look()
        return super().stat(name)

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        self._look()
        return super().list(prefix, after=after)
