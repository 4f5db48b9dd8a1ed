"""A memory storage whose user is killed: for tests that end a command at each of its changes."""

from __future__ import annotations

from holdfast.storage import Buffer
from holdfast.storage.memory import MemoryStorage


class KilledError(BaseException):
    """The process ends here: nothing catches it."""


class Mortal(MemoryStorage):
    """`left`: how many steps until death. Every change has two, before and after it: done or not, never half."""

    def __init__(self) -> None:
        super().__init__()
        self.left: int | None = None
        self.steps = 0

    def _step(self) -> None:
        self.steps += 1
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise KilledError

    def create(self, name: str, data: Buffer) -> None:
        self._step()
        super().create(name, data)
        self._step()

    def replace(self, name: str, data: Buffer) -> None:
        self._step()
        super().replace(name, data)
        self._step()

    def delete(self, name: str) -> None:
        self._step()
        super().delete(name)
        self._step()
