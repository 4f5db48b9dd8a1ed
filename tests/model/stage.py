"""A stage for actors: each runs the real code in a thread of its own, and waits before every call of the storage
until it is told to go on. Exactly one moves at a time, so a story is repeatable; one that is never told again has
crashed, and one that is told late has slept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from holdfast.repository.registers.writers import Host
from holdfast.storage import Buffer, ObjectInfo, Storage
from holdfast.storage.wrap import Through

PATIENCE_SECONDS = 60


class KilledError(BaseException):
    """The process was killed: no handler of errors sees this, and nothing is written any more."""


@dataclass(slots=True)
class Clock:
    """What all actors believe the time to be; it may jump, back as well. `passed` is what really went by."""

    now: datetime = datetime(2026, 3, 1, tzinfo=UTC)
    passed: timedelta = timedelta()

    def __call__(self) -> datetime:
        return self.now

    def jump(self, by: timedelta) -> None:
        self.now += by
        self.passed += abs(by)


@dataclass(slots=True)
class Late:
    """When names came and went, for storages whose listings come late: what happened less than `most` ago may be
    seen or not, each name by itself and each listing anew, as by a server that has not heard of it yet. Reading by
    name is always exact. `history`: all that was created, in order."""

    clock: Clock
    random: Random
    most: timedelta = timedelta()
    created: dict[str, timedelta] = field(default_factory=dict)
    history: list[str] = field(default_factory=list)
    deleted: dict[str, tuple[timedelta, ObjectInfo]] = field(default_factory=dict)

    def seen(self, infos: list[ObjectInfo], prefix: str, after: str | None) -> list[ObjectInfo]:
        if not self.most:
            return infos
        recent = self.clock.passed - self.most
        share = self.random.choice((0.0, 0.5, 1.0))  # of what is recent, how much this server knows
        shown = {
            info.name: info
            for info in infos
            if self.created.get(info.name, recent) <= recent or self.random.random() < share
        }
        for name, (when, info) in self.deleted.items():
            asked_for = name.startswith(prefix) and (after is None or name > after)
            if when > recent and asked_for and self.random.random() >= share:
                shown.setdefault(name, info)
        return [shown[name] for name in sorted(shown)]


class Actor(Through):
    """One process: the storage as it sees it, and the thread in which it works."""

    def __init__(self, name: str, inside: Storage, late: Late) -> None:
        super().__init__(inside)
        self.name = name
        self._late = late
        self._go = threading.Semaphore(0)
        self._waits = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._work: Callable[[], None] = lambda: None
        self._killed = False
        self.done = False
        self.steps = 0
        self.error: BaseException | None = None

    @property
    def host(self) -> Host:
        """A host of its own: whether it lives can only be told by its heartbeat."""
        return Host(name=self.name, boot=self.name, pid=1, process_started="1")

    def begin(self, work: Callable[[], None]) -> None:
        """Start, and wait at the first call of the storage."""
        self._work = work
        self._thread.start()
        self._settle()

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            if self.done:
                return
            self.steps += 1
            self._go.release()
            self._settle()

    def kill(self) -> None:
        self._killed = True
        self._go.release()
        self._thread.join(PATIENCE_SECONDS)

    def _settle(self) -> None:
        if not self._waits.acquire(timeout=PATIENCE_SECONDS):
            raise AssertionError(f"{self.name} neither ended nor called the storage")

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001  the test looks at it
            self.error = error
        self.done = True
        self._waits.release()

    def _turn(self) -> None:
        if self._killed:
            raise KilledError
        self._waits.release()
        self._go.acquire()
        if self._killed:
            raise KilledError

    def create(self, name: str, data: Buffer) -> None:
        self._turn()
        super().create(name, data)
        self._late.created[name] = self._late.clock.passed
        self._late.history.append(name)
        self._late.deleted.pop(name, None)

    def replace(self, name: str, data: Buffer) -> None:
        self._turn()
        super().replace(name, data)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        self._turn()
        return super().get(name, offset=offset, length=length)

    def stat(self, name: str) -> ObjectInfo:
        self._turn()
        return super().stat(name)

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        self._turn()
        return iter(self._late.seen([*super().list(prefix, after=after)], prefix, after))

    def delete(self, name: str) -> None:
        self._turn()
        for info in super().list(name):
            if info.name == name:
                self._late.deleted[name] = (self._late.clock.passed, info)
        super().delete(name)
