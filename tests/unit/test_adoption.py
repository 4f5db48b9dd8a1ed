"""Chunks that a crashed run left behind are checked by the pack: a request for each, and every byte is right."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast.domain.errors import UnreachableError
from holdfast.domain.manifest import BlobRef
from holdfast.repository import layout
from holdfast.repository.keys.secrets import Secrets
from holdfast.repository.repo import open_repository
from holdfast.repository.runs.predecessors import find_predecessors
from holdfast.repository.runs.reuse import LeftBlobs
from holdfast.repository.seal import ObjectType
from holdfast.storage.memory import MemoryStorage
from holdfast.storage.wrap import Counted, Through
from holdfast.workflows.verify import verify
from repositories import PASSPHRASE, make_repository
from snapshots import begin, commit, leave, now, rows_of

PACKS, CHUNKS = 6, 30
OTHER_REQUESTS = 4  # of a run that begins to adopt: outcomes and records


class Crashed:
    """A run that died after it had stored some packs, and what it had read until then, chunk by chunk."""

    def __init__(self) -> None:
        self.storage = MemoryStorage()
        make_repository(self.storage)
        self.counted = Counted(self.storage)
        self.repository = open_repository(self.counted, Secrets(passphrase=PASSPHRASE))
        rows = random.Random(7)
        self.tables = {
            f"t{pack}": [
                b"%d\t%d\t%s\n" % (pack, place, rows.randbytes(200).hex().encode()) for place in range(CHUNKS)
            ]
            for pack in range(PACKS)
        }
        with begin(self.repository) as run:
            for chunks in self.tables.values():
                leave(run, *chunks)
            run.give_up()
        self.snapshot = run.snapshot
        assert len(self.packs()) == PACKS

    def packs(self) -> list[str]:
        return [info.name for info in self.storage.list(layout.data_prefix(self.snapshot))]

    def identify(self, rows: bytes) -> bytes:
        return self.repository.sealer.identify(ObjectType.CHUNK, rows)

    def requests(self) -> int:
        return self.counted.traffic()["get"].requests

    def take(self, left: LeftBlobs, rows: bytes) -> BlobRef | None:
        return left.take(self.counted, self.repository.sealer, self.identify(rows), len(rows))

    def in_order(self) -> list[bytes]:
        return [rows for chunks in self.tables.values() for rows in chunks]

    def in_turn(self) -> list[bytes]:
        """As many workers ask, each for the chunks of its own table."""
        return [rows for side_by_side in zip(*self.tables.values(), strict=True) for rows in side_by_side]


@pytest.fixture
def crashed() -> Crashed:
    return Crashed()


@pytest.mark.parametrize("is_in_turn", [False, True])
def test_adopting_costs_requests_by_the_pack(crashed: Crashed, is_in_turn: bool) -> None:
    """The next run's snapshot has the very rows, stores none of them again, and asked three times for each pack:
    for its first header, for all its headers, and to check what is in it."""
    predecessors = find_predecessors(crashed.repository, "shop", now=now())
    with begin(crashed.repository) as run:
        before = crashed.requests()
        left = run.adopt(predecessors.crashed)
        assert len(left) == PACKS * CHUNKS
        assert crashed.requests() - before <= 2 * PACKS + OTHER_REQUESTS
        before = crashed.requests()
        wanted = crashed.in_turn() if is_in_turn else crashed.in_order()
        found = {crashed.identify(rows): crashed.take(left, rows) for rows in wanted}
        assert crashed.requests() - before == PACKS
        known = {identity: ref for identity, ref in found.items() if ref is not None}
        assert len(known) == PACKS * CHUNKS
        summary = commit(run, crashed.tables, known=known)
    expected = {name: b"".join(chunks) for name, chunks in crashed.tables.items()}
    again = open_repository(crashed.storage, Secrets(passphrase=PASSPHRASE))
    assert rows_of(again, summary.snapshot) == expected
    assert summary.stored_bytes < sum(map(len, expected.values())) / 4
    assert verify(again, None, level=3).findings == ()


def taken_by_threads(crashed: Crashed, left: LeftBlobs, wanted: Iterable[bytes]) -> list[BlobRef | None]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda rows: crashed.take(left, rows), wanted))


def test_threads_that_want_one_pack_wait_for_one_request(crashed: Crashed) -> None:
    """Also in another process, which gets the claims and checks them itself."""
    with begin(crashed.repository) as run:
        left = run.adopt(find_predecessors(crashed.repository, "shop", now=now()).crashed)
    for claims in (left, pickle.loads(pickle.dumps(left))):
        before = crashed.requests()
        assert None not in taken_by_threads(crashed, claims, crashed.in_order())
        assert crashed.requests() - before == PACKS


class Broken(Through):
    """Fails once."""

    is_broken = True

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        if self.is_broken:
            self.is_broken = False
            raise UnreachableError("gone for a moment")
        return super().get(name, offset=offset, length=length)


def test_a_pack_that_could_not_be_fetched_is_asked_for_again(crashed: Crashed) -> None:
    """A network that fails is no claim that does not hold."""
    with begin(crashed.repository) as run:
        left = run.adopt(find_predecessors(crashed.repository, "shop", now=now()).crashed)
    (rows, *_), storage = crashed.in_order(), Broken(crashed.storage)
    asked = (storage, crashed.repository.sealer, crashed.identify(rows), len(rows))
    with pytest.raises(UnreachableError):
        left.take(*asked)
    assert left.take(*asked) is not None


def test_only_what_was_altered_is_stored_anew(crashed: Crashed) -> None:
    """One chunk of a pack is broken, one pack is cut short, one is gone: all others are adopted."""
    with begin(crashed.repository) as run:
        left = run.adopt(find_predecessors(crashed.repository, "shop", now=now()).crashed)
    altered, short, gone, *_ = crashed.packs()
    storage = crashed.storage
    whole = bytearray(storage.get(altered))
    whole[-1] ^= 1
    storage.replace(altered, whole)
    storage.replace(short, storage.get(short)[:-1])
    storage.delete(gone)
    found = [crashed.take(left, rows) for rows in crashed.in_order()]
    assert found.count(None) == 1 + 2 * CHUNKS
    for rows, ref in zip(crashed.in_order(), found, strict=True):
        assert ref is None or crashed.repository.chunk(ref) == rows
