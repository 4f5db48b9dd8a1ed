"""Wrappers around any storage, one concern each, to be put around one another.

`Limited(Retrying(Counted(storage)))` counts what goes over the wire, retries included.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from holdfast.domain.errors import (
    LackingRightsError,
    ObjectExistsError,
    ObjectMissingError,
    SourceLostError,
    StorageFullError,
    StorageUnusableError,
    UnreachableError,
    UsageError,
)
from holdfast.storage import Buffer, ObjectInfo, Storage

if TYPE_CHECKING:
    from holdfast.storage.object_lock import Locks

_T = TypeVar("_T")

_FINAL = (LackingRightsError, StorageFullError, StorageUnusableError, SourceLostError)


class Through:
    """Hands every verb on to the storage inside; the wrappers override what they care about."""

    def __init__(self, inside: Storage) -> None:
        self._inside = inside

    @property
    def address(self) -> str:
        return self._inside.address

    @property
    def create_once(self) -> bool:
        return self._inside.create_once

    @property
    def locks(self) -> Locks | None:
        return self._inside.locks

    def create(self, name: str, data: Buffer) -> None:
        self._inside.create(name, data)

    def replace(self, name: str, data: Buffer) -> None:
        self._inside.replace(name, data)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        return self._inside.get(name, offset=offset, length=length)

    def stat(self, name: str) -> ObjectInfo:
        return self._inside.stat(name)

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        return self._inside.list(prefix, after=after)

    def delete(self, name: str) -> None:
        self._inside.delete(name)

    def close(self) -> None:
        self._inside.close()


class Retrying(Through):
    """Tries again what failed for a reason that may pass, waiting longer each time, with jitter.

    A `create` whose answer got lost may have stored its object all the same. When the next try finds the name
    taken, the bytes that are there decide: our own mean success, others mean that we lost. So bytes that name
    their writer have one winner even here; two writers of the same bytes may both be told they won.
    """

    def __init__(
        self,
        inside: Storage,
        *,
        attempts: int = 6,
        first_wait_seconds: float = 0.2,
        longest_wait_seconds: float = 15.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(inside)
        self._attempts = attempts
        self._first = first_wait_seconds
        self._longest = longest_wait_seconds
        self._sleep = sleep

    def create(self, name: str, data: Buffer) -> None:
        is_lost = False

        def attempt() -> None:
            nonlocal is_lost
            try:
                self._inside.create(name, data)
            except ObjectExistsError:
                if not is_lost or not self._holds(name, data):
                    raise
            except UnreachableError:
                is_lost = True
                raise

        self._persist(attempt)

    def replace(self, name: str, data: Buffer) -> None:
        self._persist(lambda: self._inside.replace(name, data))

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        return self._persist(lambda: self._inside.get(name, offset=offset, length=length))

    def stat(self, name: str) -> ObjectInfo:
        return self._persist(lambda: self._inside.stat(name))

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        return self._walk(prefix, after, self._inside.list(prefix, after=after))

    def delete(self, name: str) -> None:
        self._persist(lambda: self._inside.delete(name))

    def _holds(self, name: str, data: Buffer) -> bool:
        try:
            return self._inside.get(name) == data
        except ObjectMissingError:
            return False

    def _walk(self, prefix: str, after: str | None, infos: Iterator[ObjectInfo]) -> Iterator[ObjectInfo]:
        """A listing that breaks off goes on after the last name it gave; each step forward forgives the past."""
        failures = 0
        while True:
            try:
                info = next(infos, None)
            except UnreachableError as error:
                failures += 1
                self._wait_or_raise(error, failures)
                infos = self._inside.list(prefix, after=after)
                continue
            if info is None:
                return
            failures = 0
            after = info.name
            yield info

    def _persist(self, attempt: Callable[[], _T]) -> _T:
        failures = 0
        while True:
            try:
                return attempt()
            except UnreachableError as error:
                failures += 1
                self._wait_or_raise(error, failures)

    def _wait_or_raise(self, error: UnreachableError, failures: int) -> None:
        """Called from the handler of `error`."""
        if isinstance(error, _FINAL) or failures >= self._attempts:
            raise error
        longest = min(self._longest, self._first * 2 ** (failures - 1))
        self._sleep(longest * secrets.SystemRandom().uniform(0.5, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """How often a verb was called, failures included, and the bytes it carried.

    A listing counts once, however many pages it has.
    """

    requests: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0


class Counted(Through):
    """Counts requests and bytes for each verb."""

    def __init__(self, inside: Storage) -> None:
        super().__init__(inside)
        self._lock = threading.Lock()
        self._traffic: dict[str, Traffic] = {}

    def traffic(self) -> Mapping[str, Traffic]:
        """What went through until now, by verb; verbs never used are left out."""
        with self._lock:
            return dict(self._traffic)

    def create(self, name: str, data: Buffer) -> None:
        self._count("create", sent_bytes=memoryview(data).nbytes)
        self._inside.create(name, data)

    def replace(self, name: str, data: Buffer) -> None:
        self._count("replace", sent_bytes=memoryview(data).nbytes)
        self._inside.replace(name, data)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        self._count("get")
        data = self._inside.get(name, offset=offset, length=length)
        self._count("get", requests=0, received_bytes=len(data))
        return data

    def stat(self, name: str) -> ObjectInfo:
        self._count("stat")
        return self._inside.stat(name)

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        self._count("list")
        return self._inside.list(prefix, after=after)

    def delete(self, name: str) -> None:
        self._count("delete")
        self._inside.delete(name)

    def _count(self, verb: str, *, requests: int = 1, sent_bytes: int = 0, received_bytes: int = 0) -> None:
        with self._lock:
            old = self._traffic.get(verb, Traffic())
            self._traffic[verb] = replace(
                old,
                requests=old.requests + requests,
                sent_bytes=old.sent_bytes + sent_bytes,
                received_bytes=old.received_bytes + received_bytes,
            )


class Limited(Through):
    """Keeps the average rate of all bytes, up and down together, at or below `bytes_per_second`.

    A token bucket that holds one second's worth. An object travels in one go at the line's own speed; the pause
    that it costs comes before it is sent, or after it was received. What is replaced is a sign of life, and must
    not come late: it goes at once, and the next object pays for it.
    """

    def __init__(
        self,
        inside: Storage,
        bytes_per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(inside)
        if not bytes_per_second > 0:
            raise UsageError(
                f"a rate of {bytes_per_second} bytes per second moves nothing", hint="give a rate above 0"
            )
        self._rate = bytes_per_second
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._tokens = bytes_per_second
        self._filled_at = clock()

    def create(self, name: str, data: Buffer) -> None:
        self._spend(memoryview(data).nbytes)
        self._inside.create(name, data)

    def replace(self, name: str, data: Buffer) -> None:
        self._spend(memoryview(data).nbytes, at_once=True)
        self._inside.replace(name, data)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        data = self._inside.get(name, offset=offset, length=length)
        self._spend(len(data))
        return data

    def _spend(self, amount: int, *, at_once: bool = False) -> None:
        with self._lock:
            now = self._clock()
            self._tokens = min(self._rate, self._tokens + (now - self._filled_at) * self._rate) - amount
            self._filled_at = now
            wait_seconds = max(0.0, -self._tokens / self._rate)
        if wait_seconds and not at_once:
            self._sleep(wait_seconds)
