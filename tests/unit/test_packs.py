"""Blobs that lie side by side come by one request, and every one of them is checked."""

from __future__ import annotations

import uuid

import pytest

from holdfast.domain.errors import DamagedError
from holdfast.domain.manifest import BlobRef
from holdfast.repository.blobs import BlobWriter
from holdfast.repository.keys.keyring import Keyring
from holdfast.repository.packs import ALONE_BYTES, RUN_BYTES, PackReader
from holdfast.repository.seal import ObjectType, Sealer
from holdfast.storage.memory import MemoryStorage

SEALER = Sealer(keyring=Keyring.generate(repository_id=uuid.uuid4(), config_digest="0" * 64))
CHUNK = ObjectType.CHUNK


class Counting(MemoryStorage):
    """Notes what was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, int | None]] = []

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        self.asked.append((offset, length))
        return super().get(name, offset=offset, length=length)


def packed(storage: Counting, plaintexts: list[bytes]) -> list[BlobRef]:
    writer = BlobWriter(storage, SEALER, lambda: f"data/{uuid.uuid4()}", level=1)
    tickets = [writer.add(CHUNK, text, identity=SEALER.identify(CHUNK, text)) for text in plaintexts]
    writer.finish()
    return [writer[ticket] for ticket in tickets]


def random_chunks(size: int, count: int) -> list[bytes]:
    """Such as cannot be compressed."""
    return [b"".join(uuid.uuid4().bytes for _ in range(size // 16)) for _ in range(count)]


def test_a_run_of_chunks_is_one_request() -> None:
    """Many chunks of one range lie side by side."""
    storage, plaintexts = Counting(), random_chunks(50_000, 20)
    refs = packed(storage, plaintexts)
    assert list(PackReader(storage, SEALER).read_all((CHUNK, ref) for ref in refs)) == plaintexts
    assert len(storage.asked) == 1


def test_a_run_has_an_end() -> None:
    """So that no reader holds a whole pack of a big table."""
    storage, plaintexts = Counting(), random_chunks(400_000, 30)
    refs = packed(storage, plaintexts)
    assert list(PackReader(storage, SEALER).read_all((CHUNK, ref) for ref in refs)) == plaintexts
    assert len(storage.asked) == 3
    assert all(length is not None and length <= RUN_BYTES for _, length in storage.asked)


def test_what_was_replaced_in_between_is_not_fetched() -> None:
    """A range of which a chunk changed: what lies before, the new one, what lies behind."""
    storage, plaintexts = Counting(), random_chunks(100_000, 9)
    refs = packed(storage, plaintexts)
    [other] = packed(storage, [b"other" * 20_000])
    wanted = [*refs[:4], other, *refs[5:]]
    texts = [*plaintexts[:4], b"other" * 20_000, *plaintexts[5:]]
    assert list(PackReader(storage, SEALER).read_all((CHUNK, ref) for ref in wanted)) == texts
    assert sum(length or 0 for _, length in storage.asked) <= sum(ref.length for ref in wanted)


def test_order_and_repetition_do_not_matter() -> None:
    """Equal chunks are stored once, wherever they come."""
    storage, plaintexts = Counting(), random_chunks(60_000, 5)
    refs = packed(storage, plaintexts)
    order = [4, 0, 0, 1, 3, 2, 2]
    found = PackReader(storage, SEALER).read_all((CHUNK, refs[place]) for place in order)
    assert list(found) == [plaintexts[place] for place in order]


def test_tiny_blobs_come_with_their_pack() -> None:
    """Ten thousand tables of ten rows are not ten thousand requests, but a chunk of some size brings no other."""
    storage, plaintexts = Counting(), random_chunks(200, 500)
    refs = packed(storage, plaintexts)
    reader = PackReader(storage, SEALER)
    assert [reader.read(CHUNK, ref) for ref in reversed(refs)] == plaintexts[::-1]
    assert len(storage.asked) == 1
    storage, plaintexts = Counting(), random_chunks(ALONE_BYTES, 5)
    refs = packed(storage, plaintexts)
    assert PackReader(storage, SEALER).read(CHUNK, refs[2]) == plaintexts[2]
    assert storage.asked == [(refs[2].offset, refs[2].length)]


@pytest.mark.parametrize("place", [0, 3, 7])
def test_damage_in_a_run_is_named(place: int) -> None:
    """Nothing from the damaged chunk on is handed out."""
    storage, plaintexts = Counting(), random_chunks(50_000, 8)
    refs = packed(storage, plaintexts)
    data = bytearray(storage.get(refs[0].object_name))
    data[refs[place].offset + refs[place].length // 2] ^= 1
    storage.replace(refs[0].object_name, bytes(data))
    handed_out = PackReader(storage, SEALER).read_all((CHUNK, ref) for ref in refs)
    assert [next(handed_out) for _ in range(place)] == plaintexts[:place]
    with pytest.raises(DamagedError) as caught:
        next(handed_out)
    assert caught.value.object_name == refs[0].object_name


def test_an_object_cut_short_is_damage() -> None:
    """The last chunk of the run is not there whole."""
    storage, plaintexts = Counting(), random_chunks(50_000, 4)
    refs = packed(storage, plaintexts)
    storage.replace(refs[0].object_name, storage.get(refs[0].object_name)[:-1])
    with pytest.raises(DamagedError):
        list(PackReader(storage, SEALER).read_all((CHUNK, ref) for ref in refs))
