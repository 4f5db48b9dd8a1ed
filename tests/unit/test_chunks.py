"""Where ranges are cut into chunks: by the rows alone."""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.domain.chunks import (
    LEAST_CHUNK_BYTES,
    MOST_CHUNK_BYTES,
    choose_chunk_bytes,
    most_bytes,
    next_cut,
)
from holdfast.domain.errors import DamagedError
from holdfast.domain.ids import make_snapshot_id
from holdfast.domain.ranges import WHOLE
from holdfast.domain.tables import QualifiedName, Table
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.copy import ReadSpec
from holdfast.repository import layout
from holdfast.repository.blobs import BlobWriter, read_blob
from holdfast.repository.keys.keyring import Keyring
from holdfast.repository.runs.reuse import LeftBlobs
from holdfast.repository.seal import ObjectType, Sealer
from holdfast.storage.memory import MemoryStorage
from holdfast.workflows.chunking import ChunkCutter
from holdfast.workflows.parts import TablePart, WorkerContext

NOW = datetime(2026, 11, 20, tzinfo=UTC)
CHUNK_BYTES = 1024
TABLE = Table(
    oid=20_000,
    name=QualifiedName(schema="public", name="t"),
    columns=(),
    pages=1,
    size_bytes=8192,
    rows_estimate=1,
    heap=True,
    unlogged=False,
    filenode=1,
    fingerprint=None,
)
SEALER = Sealer(keyring=Keyring.generate(repository_id=uuid.uuid4(), config_digest="0" * 64))


def rows_of(count: int, *, seed: int = 1) -> list[bytes]:
    chance = random.Random(seed)
    return [b"%d\t%d\n" % (number, chance.getrandbits(100)) for number in range(count)]


def cut(data: bytes, chunk_bytes: int = CHUNK_BYTES) -> list[bytes]:
    cuts = [0]
    while (end := next_cut(data, cuts[-1], len(data), chunk_bytes)) is not None:
        cuts.append(end)
    return [data[start:end] for start, end in itertools.pairwise([*cuts, len(data)])]


@given(st.lists(st.binary(max_size=3000).map(lambda data: data.replace(b"\n", b"") + b"\n"), max_size=60))
def test_chunks_are_whole_rows_of_bounded_size(rows: Sequence[bytes]) -> None:
    """Joined they are what came; each ends with a row, and is long only if it is one row."""
    data = b"".join(rows)
    chunks = cut(data)
    assert b"".join(chunks) == data
    for chunk in chunks:
        assert not chunk or chunk.endswith(b"\n")
        assert len(chunk) <= most_bytes(CHUNK_BYTES) or chunk.count(b"\n") == 1


@settings(deadline=None)
@given(st.integers(0, 3999), st.binary(max_size=200).map(lambda data: data.replace(b"\n", b"") + b"\n"))
def test_a_changed_row_leaves_the_chunks_before_it_alone(place: int, other: bytes) -> None:
    """Those before it stay as they were."""
    rows = rows_of(4000)
    before = cut(b"".join(rows))
    rows[place] = other
    after = cut(b"".join(rows))
    same = [one == two for one, two in zip(before, after, strict=False)]
    at = sum(map(len, rows_of(4000)[:place]))
    ends = list(itertools.accumulate(map(len, before)))
    untouched = sum(end + most_bytes(CHUNK_BYTES) <= at for end in ends)
    assert all(same[:untouched])


def test_changes_cost_little_more_than_their_own_chunks() -> None:
    """The measure of it, over changes that move bytes; what makes it so is the width of the window."""
    rows = rows_of(60_000)
    before = set(cut(b"".join(rows), 16_384))
    lost = []
    for seed in range(40):
        changed = list(rows)
        place = random.Random(seed).randrange(30_000)
        changed[place:place] = rows_of(15, seed=seed)
        lost.append(len(before - set(cut(b"".join(changed), 16_384))))
    assert sum(lost) / len(lost) < 2.5


def test_the_same_rows_over_and_over_are_cut_all_the_same() -> None:
    """No row differs from the next: there is still a cut within the window."""
    chunks = cut(b"same\tagain\n" * 10_000)
    assert {len(chunk) <= most_bytes(CHUNK_BYTES) for chunk in chunks} == {True}


def test_a_big_row_is_a_chunk_by_itself() -> None:
    """What lies before it is not made bigger by it."""
    small, big = rows_of(10), b"x" * 5000 + b"\n"
    assert cut(b"".join([*small, big, *small])) == [b"".join(small), big, b"".join(small)]


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        (0, 1 << 18),
        (10**9, 1 << 18),
        (10**10, 1 << 19),
        (10**11, 1 << 21),
        (10**12, 1 << 23),
        (10**15, MOST_CHUNK_BYTES),
    ],
)
def test_bigger_tables_have_bigger_chunks(size: int, wanted: int) -> None:
    """So that neither their manifests nor their changed chunks get out of hand."""
    assert choose_chunk_bytes(size) == wanted
    assert wanted >= LEAST_CHUNK_BYTES


def cutter(storage: MemoryStorage, chunk_bytes: int) -> tuple[BlobWriter, ChunkCutter]:
    snapshot = make_snapshot_id(NOW, bytes(10))
    address = ServerAddress.parse("postgresql://localhost/nothing")
    context = WorkerContext(
        snapshot=snapshot,
        read=ReadSpec(address=address, exported=None, client_encoding="UTF8", application_name="test"),
        storage=storage,
        sealer=SEALER,
        level=1,
        left=LeftBlobs({}),
    )
    writer = BlobWriter(storage, SEALER, lambda: layout.new_data_object(snapshot), level=1)
    part = TablePart(table=TABLE, ranges=(WHOLE,), chunk_bytes=chunk_bytes)
    return writer, ChunkCutter(writer, context, part)


def cut_in_pieces(pieces: Iterable[bytes], rows: int, chunk_bytes: int = CHUNK_BYTES) -> list[bytes]:
    storage = MemoryStorage()
    writer, taking = cutter(storage, chunk_bytes)
    for piece in pieces:
        taking.take(piece)
    found = taking.finish(rows)
    writer.finish()
    assert found.rows == rows
    return [
        read_blob(storage, SEALER, ObjectType.CHUNK, writer[place] if isinstance(place, int) else place)
        for place, _ in found.places
    ]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 700), max_size=8), st.sampled_from([900, 3_000, 2_500_000]))
def test_pieces_do_not_matter(sizes: Sequence[int], big: int) -> None:
    """However the rows arrive, also with one among them that outgrows the buffer, the chunks are the same."""
    rows = [*rows_of(1000), b"y" * big + b"\n", *rows_of(1000, seed=2)]
    whole = cut_in_pieces([b"".join(rows)], len(rows))
    assert b"".join(whole) == b"".join(rows)
    left, pieces = rows, []
    for size in sizes:
        pieces.append(b"".join(left[:size]))
        left = left[size:]
    pieces.append(b"".join(left))
    assert cut_in_pieces((piece for piece in pieces if piece), len(rows)) == whole


@pytest.mark.parametrize("claimed", [0, 999, 1001])
def test_rows_that_did_not_arrive_are_heard_of(claimed: int) -> None:
    """The server's count and ours must agree."""
    with pytest.raises(DamagedError, match=f"counted {claimed} rows, 1000 arrived"):
        cut_in_pieces([b"".join(rows_of(1000))], claimed)
