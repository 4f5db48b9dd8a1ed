"""What a storage can really do, found out by doing it.

Servers that speak S3 differ in what they silently ignore. Some ignore the condition of a create altogether
(rclone's server), some check it and then write, so that two at the same instant both win (OpenStack Swift). A
repository on such a storage is safe for a single writer only, and must know it: so the probe creates twice, and
lets several creates meet, with bodies large enough to overlap.

The answer holds for this moment and this server. A race that was won fairly a few times is evidence, not proof.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from holdfast.domain.errors import (
    HoldfastError,
    LackingRightsError,
    ObjectExistsError,
    ObjectMissingError,
    StorageUnusableError,
    UnreachableError,
)
from holdfast.storage import Storage

PROBE_PREFIX = "probe/"

_RACERS = 4
_RACES = 3
_RACE_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What `probe` found. Reading and writing work, or it would have raised.

    `create_once` means one winner, both for creates one after the other and for creates at the same time.
    `keeps_md5` means that the MD5 in listings is that of the bytes (not so with S3's KMS encryption).
    `clock_skew_seconds` is positive when the storage's clock is ahead; storages round to seconds.
    `findings` explains, for people, each ability that is lacking. `leftovers` are objects that could not be
    deleted.
    """

    create_once: bool
    lists_at_once: bool
    reads_ranges: bool
    deletes: bool
    keeps_md5: bool
    clock_skew_seconds: float
    findings: tuple[str, ...]
    leftovers: tuple[str, ...]


def probe(storage: Storage, *, now: datetime) -> Abilities:
    """Try every verb below `probe/` and clean up. `now` (aware) is the caller's clock, read just before.

    Open the storage with `create_once=True`: without, the adapter looks before it writes, and nothing can be
    learnt about races. Raises `UnreachableError` and its kin when the storage cannot be written and read at all.
    """
    run = _Run(storage)
    try:
        skew = run.write_and_read(now)
        is_once = run.create_twice() and run.create_at_once()
        lists = run.list_all()
        ranges = run.read_ranges()
        md5 = run.compare_md5()
        deletes = run.delete_all()
    except BaseException:
        run.clean_up()
        raise
    return Abilities(
        create_once=is_once,
        lists_at_once=lists,
        reads_ranges=ranges,
        deletes=deletes,
        keeps_md5=md5,
        clock_skew_seconds=skew,
        findings=tuple(run.findings),
        leftovers=tuple(sorted(run.expected)),
    )


class _Run:
    """One probe's objects and what was learnt; `expected` are the bytes that must be under each name."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._prefix = f"{PROBE_PREFIX}{secrets.token_hex(12)}/"
        self._first = self._prefix + "first"
        self.expected: dict[str, bytes] = {}
        self.findings: list[str] = []

    def write_and_read(self, now: datetime) -> float:
        """Returns the skew of the storage's clock in seconds."""
        old, new = secrets.token_bytes(100), secrets.token_bytes(100)
        self._create(self._first, old)
        skew = (self._storage.stat(self._first).modified_at - now).total_seconds()
        self._insist(self._first, old, "created")
        self._storage.replace(self._first, new)
        self.expected[self._first] = new
        self._insist(self._first, new, "replaced")
        return skew

    def create_twice(self) -> bool:
        try:
            self._storage.create(self._first, secrets.token_bytes(100))
        except ObjectExistsError:
            is_refused = True
        else:
            is_refused = False
            self.findings.append("a create on a taken name was accepted: the storage ignores create-once")
        stored = self._storage.get(self._first)
        if is_refused and stored != self.expected[self._first]:
            self.findings.append("a create on a taken name was refused, but changed the object")
            is_refused = False
        self.expected[self._first] = stored
        return is_refused

    def create_at_once(self) -> bool:
        if not self._storage.create_once:
            self.findings.append("opened without create-once, so who wins a race was not tried")
            return False
        return all(self._race(number) for number in range(_RACES))

    def list_all(self) -> bool:
        names = [info.name for info in self._storage.list(self._prefix)]
        if names == sorted(self.expected):
            return True
        self.findings.append(f"a listing shows {len(names)} of {len(self.expected)} objects just written")
        return False

    def read_ranges(self) -> bool:
        whole = self.expected[self._first]
        ranges = ((0, 10), (90, 10), (37, 1), (95, 50), (100, 5))
        if all(
            self._storage.get(self._first, offset=offset, length=length) == whole[offset : offset + length]
            for offset, length in ranges
        ):
            return True
        self.findings.append("ranges of an object are read wrongly")
        return False

    def compare_md5(self) -> bool:
        right = hashlib.md5(self._storage.get(self._first), usedforsecurity=False).hexdigest()
        found = self._storage.stat(self._first).md5
        if found is not None and found != right:
            self.findings.append(
                "what looks like an MD5 in listings is none (encryption with keys of a KMS does so)"
            )
        return found == right

    def delete_all(self) -> bool:
        for name in sorted(self.expected):
            try:
                self._storage.delete(name)
            except LackingRightsError:
                self.findings.append("these credentials may not delete (fine for a writer)")
                return False
            try:
                self._storage.stat(name)
            except ObjectMissingError:
                del self.expected[name]
            else:
                self.findings.append("a deleted object is still there")
                return False
        return True

    def clean_up(self) -> None:
        """After a failure: what goes, goes; the failure itself is what the caller needs to hear of."""
        for name in sorted(self.expected):
            try:
                self._storage.delete(name)
            except HoldfastError:
                return

    def _create(self, name: str, data: bytes) -> None:
        self.expected[name] = data
        self._storage.create(name, data)

    def _insist(self, name: str, data: bytes, how: str) -> None:
        if self._storage.get(name) != data:
            raise StorageUnusableError(
                f"{self._storage.address} returns other bytes than were just {how}",
                hint="do not keep backups there; look for a cache between here and the storage",
            )

    def _race(self, number: int) -> bool:
        """Several creates of one name at the same time: one must win, and its bytes must be what is there."""
        name = f"{self._prefix}race-{number}"
        bodies = [bytes([racer]) * _RACE_BYTES for racer in range(_RACERS)]
        self.expected[name] = bodies[0]
        winners = self._run_race(name, bodies)
        stored = self._storage.get(name)
        self.expected[name] = stored
        if len(winners) > 1:
            self.findings.append(
                f"{len(winners)} of {_RACERS} creates at the same time all won: the storage checks, then writes"
            )
            return False
        if not winners or stored != bodies[winners[0]]:
            self.findings.append("of several creates at the same time, one that was refused was stored")
            return False
        return True

    def _run_race(self, name: str, bodies: Sequence[bytes]) -> Sequence[int]:
        start = threading.Barrier(_RACERS)

        def run(racer: int) -> int | None:
            start.wait()
            try:
                self._storage.create(name, bodies[racer])
            except ObjectExistsError:
                return None
            return racer

        failures: list[UnreachableError] = []
        winners: list[int] = []
        with ThreadPoolExecutor(_RACERS) as pool:
            for future in [pool.submit(run, racer) for racer in range(_RACERS)]:
                try:
                    if (racer := future.result()) is not None:
                        winners.append(racer)
                except UnreachableError as error:
                    failures.append(error)
        if failures and len(winners) < 2:
            # Without every answer, who won is unknown.
            raise failures[0]
        return winners
