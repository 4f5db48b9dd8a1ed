"""Manifests as JSON and back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.domain.manifest import BlobRef, ChunkRef, RangeRecord, TableManifest
from holdfast.domain.ranges import Cutting, cut
from holdfast.domain.tables import Column, QualifiedName
from holdfast.repository.encoding import MalformedError
from holdfast.repository.root_codec import decode_root, encode_root
from holdfast.repository.table_codec import decode_tables, encode_tables
from holdfast.storage.memory import MemoryStorage
from repositories import make_repository
from snapshots import take

# Names may hold lone surrogates: that is how bytes that are no text come out of an SQL_ASCII database.
NAMES = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=20)
BLOBS = st.builds(
    BlobRef,
    object_name=st.sampled_from(["data/a/00/x", "data/b/01/y"]),
    offset=st.integers(0, 2**40),
    length=st.integers(1, 2**40),
    object_bytes=st.integers(1, 2**40),
    object_md5=st.just("0" * 32),
    identity=st.binary(min_size=32, max_size=32),
    plain_bytes=st.integers(0, 2**40),
)


@st.composite
def manifests(draw: st.DrawFn) -> TableManifest:
    pages_per_range = draw(st.integers(1, 5))
    records = []
    for pages in cut(pages=draw(st.integers(0, 30)), pages_per_range=pages_per_range):
        chunks = tuple(
            ChunkRef(blob=draw(BLOBS), rows=draw(st.integers(0, 99))) for _ in range(draw(st.integers(0, 2)))
        )
        records.append(RangeRecord(pages=pages, rows=sum(chunk.rows for chunk in chunks), chunks=chunks))
    return TableManifest(
        oid=draw(st.integers(1, 2**32 - 1)),
        name=QualifiedName(schema=draw(NAMES), name=draw(NAMES)),
        columns=tuple(Column(attnum=n + 1, name=draw(NAMES), type_name="text") for n in range(2)),
        filenode=draw(st.none() | st.integers(1, 2**32 - 1)),
        fingerprint=draw(st.none() | NAMES),
        unlogged=draw(st.booleans()),
        condition=draw(NAMES),
        extension=draw(st.none() | NAMES),
        load_via=draw(st.none() | st.builds(QualifiedName, schema=NAMES, name=NAMES)),
        cutting=Cutting(pages_per_range=pages_per_range, chunk_bytes=draw(st.integers(1, 1 << 24))),
        ranges=tuple(records),
    )


@given(st.lists(manifests(), max_size=3, unique_by=lambda manifest: manifest.oid))
def test_table_manifests_come_back_the_same(tables: list[TableManifest]) -> None:
    """Whatever table manifests hold, decoding their encoding gives equal ones, and encoding is repeatable."""
    encoded = encode_tables(tables)
    assert decode_tables(encoded) == {manifest.oid: manifest for manifest in tables}
    assert encode_tables(decode_tables(encoded).values()) == encoded


@given(manifests())
def test_two_manifests_of_one_table_are_malformed(manifest: TableManifest) -> None:
    """Which of them would be the table's, nobody could say."""
    with pytest.raises(MalformedError, match="same oid"):
        decode_tables(encode_tables([manifest, manifest]))


def test_a_root_comes_back_the_same() -> None:
    """A root read from the repository encodes to the bytes it was decoded from."""
    repository = make_repository(MemoryStorage())
    root = repository.root(take(repository, {"a": [b"1\n"], "b": []}))
    assert decode_root(encode_root(root)) == root


@given(st.sampled_from(["oid", "name", "columns", "ranges", "objects", "tables", "format"]), st.data())
def test_a_manifest_of_another_shape_is_malformed(field: str, data: st.DataObject) -> None:
    """A missing or strange field is MalformedError, never another exception and never a guess."""
    document = json.loads(encode_tables([data.draw(manifests())]))
    holder = document if field in document else document["tables"][0]
    # With no chunk, nothing looks into the list of objects: only its absence can be noticed.
    if field == "objects" or data.draw(st.booleans()):
        del holder[field]
    else:
        holder[field] = data.draw(st.sampled_from(["x", -1.5, None, [[1]], {"a": 1}]))
        if field == "oid" and holder[field] == -1.5:
            holder[field] = "x"
    with pytest.raises(MalformedError):
        decode_tables(json.dumps(document).encode())
