"""Sealed blobs: what opens is to the byte what was sealed, and nothing else opens."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pickle
import sys
import threading
import tracemalloc
from uuid import UUID

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.domain.errors import DamagedError, LockedOutError, RefusedError
from holdfast.repository import seal as seal_module
from holdfast.repository.keys.keyring import EpochKeys, Keyring
from holdfast.repository.seal import (
    HEADER_BYTES,
    TAG_BYTES,
    Encoding,
    ObjectType,
    SealBrokenError,
    Sealer,
    SealFaultError,
    read_header,
)
from holdfast.storage import Buffer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

REPOSITORY = UUID("0192f0c1-2b3d-7e4f-8a5b-6c7d8e9fa0b1")
KEYS = EpochKeys(epoch=1, data_key=bytes(range(32)), identity_key=bytes(range(32, 64)), link=bytes(32))
KEYRING = Keyring(
    repository_id=REPOSITORY, config_digest=hashlib.sha256(b"config").hexdigest(), epochs=(KEYS,)
)
SEALER = Sealer(keyring=KEYRING)
ROWS = b"".join(b"%d\tcustomer %d\t2026-11-%02d\t\\N\n" % (n, n * 7919 % 1000, n % 30) for n in range(40))
CHUNK = ObjectType.CHUNK
CHECKSUM = zstd.CompressionParameter.checksum_flag

# Sealed once by version 1 with the keys above; it must open for ever.
GOLDEN = (
    "484653540101010001000000000000002e0000000000000091f4d341978cf1e2474c4d500a78dd0cd22040ee6331e2af"
    "8b1e15380024e442d4b9a3f600e87303e6892bb01fbfc1bc11a982c76c86eca0131c2aacbb92d9ec9eafebdde56f4e7c"
    "1008fc33205fe82712a5f810c763545e1ce9925909c389b13203f23e54aa97fb3cfb765b3fb2"
)


def forge(
    body: bytes,
    encoding: int,
    plaintext: bytes,
    *,
    kind: ObjectType = CHUNK,
    version: int = 1,
    reserved: bytes = bytes(4),
) -> bytes:
    """Seal by docs/FORMAT.md alone, with a body of the test's choice: what a holder of the keys could write."""
    context = b"holdfast/1/" + kind.name.lower().encode()
    salt = os.urandom(32)
    identity = blake3(context + b"\n" + plaintext, key=KEYS.identity_key).digest()
    header = b"HFST" + bytes([version, kind, encoding, 0]) + (1).to_bytes(4, "little") + reserved
    header += (len(body) + 16).to_bytes(8, "little") + salt + identity
    key = HKDF(algorithm=SHA256(), length=32, salt=salt, info=context).derive(KEYS.data_key)
    return header + AESGCM(key).encrypt(bytes(12), body, header + REPOSITORY.bytes)


def unseal_by_the_book(blob: bytes, kind: ObjectType) -> bytes:
    """Open by docs/FORMAT.md alone."""
    context = b"holdfast/1/" + kind.name.lower().encode()
    key = HKDF(algorithm=SHA256(), length=32, salt=blob[24:56], info=context).derive(KEYS.data_key)
    body = AESGCM(key).decrypt(bytes(12), blob[88:], blob[:88] + REPOSITORY.bytes)
    plaintext = zstd.decompress(body) if blob[6] == 1 else body
    assert blake3(context + b"\n" + plaintext, key=KEYS.identity_key).digest() == blob[56:88]
    return plaintext


def mixed_text(size: int) -> bytes:
    """COPY text of about `size` bytes that compresses to a half."""
    lines = (
        b"%d\t%s\tpaid\t\\N\n" % (n, hashlib.sha256(b"%d" % n).hexdigest().encode())
        for n in range(size // 77 + 1)
    )
    return b"".join(lines)


@given(plaintext=st.binary(max_size=3000), kind=st.sampled_from(ObjectType), level=st.integers(-3, 6))
@settings(deadline=None)
def test_what_was_sealed_opens_to_the_byte(plaintext: bytes, kind: ObjectType, level: int) -> None:
    """Whatever the plaintext, the type and the level, open gives back exactly what seal got."""
    identity = SEALER.identify(kind, plaintext)
    blob = SEALER.seal(kind, plaintext, level=level)
    assert read_header(blob).identity == identity
    assert read_header(blob).blob_bytes == len(blob)
    opened = SEALER.open(blob, type=kind, identity=identity, max_plain_bytes=len(plaintext))
    assert opened == plaintext == unseal_by_the_book(bytes(blob), kind)
    assert SEALER.check(blob, type=kind, identity=identity) == len(plaintext)


@pytest.mark.parametrize("size", [0, 1, 262143, 262144, 262145, 1048575, 1048576, 1048577, 3_500_000])
@pytest.mark.parametrize("fill", ["rows", "random"])
def test_sizes_around_the_pieces_open(size: int, fill: str) -> None:
    """Plaintexts that end just before, at and after a piece's end come back, compressible or not."""
    plaintext = (mixed_text(size) if fill == "rows" else os.urandom(size))[:size]
    blob = SEALER.seal_checked(CHUNK, plaintext)
    assert SEALER.open(blob, type=CHUNK, max_plain_bytes=size) == plaintext
    assert unseal_by_the_book(bytes(blob), CHUNK) == plaintext


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_any_buffer_may_be_sealed_and_opened(wrap: type) -> None:
    """bytes, bytearray and memoryview are the same plaintext and the same blob."""
    blob = SEALER.seal_checked(CHUNK, wrap(ROWS))
    assert SEALER.open(wrap(blob), type=CHUNK, identity=SEALER.identify(CHUNK, ROWS)) == ROWS


def test_identity_of_pieces_is_that_of_the_whole() -> None:
    """A plaintext that arrives in pieces is identified without joining it."""
    pieces: list[Buffer] = [ROWS[:7], memoryview(ROWS)[7:90], bytearray(ROWS[90:])]
    assert SEALER.identify(CHUNK, iter(pieces)) == SEALER.identify(CHUNK, ROWS)


def test_identity_depends_on_type_and_key() -> None:
    """The storage's owner cannot test for known content, and no type stands in for another."""
    other = Sealer(keyring=Keyring.generate(repository_id=REPOSITORY, config_digest=""))
    identities = {SEALER.identify(kind, ROWS) for kind in ObjectType} | {other.identify(CHUNK, ROWS)}
    assert len(identities) == len(ObjectType) + 1


def test_sealing_twice_gives_different_bytes() -> None:
    """Equal plaintexts cannot be told from their blobs but by the keyed identity."""
    first, second = SEALER.seal(CHUNK, ROWS), SEALER.seal(CHUNK, ROWS)
    assert first[24:56] != second[24:56]
    assert first[88:] != second[88:]


@pytest.mark.parametrize("plaintext", [ROWS, os.urandom(60), b""], ids=["zstd", "raw", "empty"])
def test_every_single_bit_flip_is_rejected(plaintext: bytes) -> None:
    """Each bit of a blob, header and body, is flipped in turn: none of them opens."""
    blob = SEALER.seal(CHUNK, plaintext)
    identity = SEALER.identify(CHUNK, plaintext)
    for bit in range(8 * len(blob)):
        blob[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealBrokenError):
            SEALER.open(blob, type=CHUNK, identity=identity)
        with pytest.raises(SealBrokenError):
            SEALER.open(blob, type=CHUNK)
        blob[bit // 8] ^= 1 << bit % 8
    assert SEALER.open(blob, type=CHUNK) == plaintext


@pytest.fixture(scope="module")
def long_blob() -> bytes:
    """A blob of several pieces."""
    return bytes(SEALER.seal(CHUNK, mixed_text(1_500_000)))


@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_a_bit_flip_anywhere_in_a_long_blob_is_rejected(long_blob: bytes, data: st.DataObject) -> None:
    """Also in a blob of several pieces."""
    bit = data.draw(st.integers(0, 8 * len(long_blob) - 1))
    broken = bytearray(long_blob)
    broken[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealBrokenError):
        SEALER.check(broken, type=CHUNK)


@given(plaintext=st.binary(max_size=500), extra=st.binary(min_size=1, max_size=200), data=st.data())
@settings(deadline=None)
def test_any_truncation_or_extension_is_rejected(plaintext: bytes, extra: bytes, data: st.DataObject) -> None:
    """One byte less, or any bytes more, and the blob does not open."""
    blob = bytes(SEALER.seal(CHUNK, plaintext))
    for broken in (blob[: data.draw(st.integers(0, len(blob) - 1))], blob[:-1], blob + extra, extra + blob):
        with pytest.raises(SealBrokenError):
            SEALER.open(broken, type=CHUNK)


def test_nothing_is_unpacked_before_it_is_authentic() -> None:
    """An altered body is refused by its tag; the decompressor never reads what a stranger wrote."""
    blob = SEALER.seal(CHUNK, ROWS)
    for position in range(HEADER_BYTES, len(blob)):
        blob[position] ^= 0xFF
        with pytest.raises(SealBrokenError, match="authentication tag"):
            SEALER.open(blob, type=CHUNK)
        blob[position] ^= 0xFF


def test_truncation_with_a_mended_length_is_rejected() -> None:
    """A blob cut short whose header was made to agree does not open either: the header is authenticated."""
    blob = SEALER.seal(CHUNK, ROWS)
    blob[16:24] = (len(blob) - HEADER_BYTES - 1).to_bytes(8, "little")
    with pytest.raises(SealBrokenError, match="authentication tag"):
        SEALER.open(blob[:-1], type=CHUNK)


@pytest.mark.parametrize("body_bytes", [0, 1, 15])
def test_a_body_shorter_than_a_tag_is_rejected(body_bytes: int) -> None:
    """Also when the length in the header agrees."""
    blob = SEALER.seal(CHUNK, ROWS)[: HEADER_BYTES + body_bytes]
    blob[16:24] = body_bytes.to_bytes(8, "little")
    with pytest.raises(SealBrokenError, match="less than a tag"):
        SEALER.open(blob, type=CHUNK)


def test_wrong_type_is_rejected_by_name() -> None:
    """A table manifest is no chunk, even if the caller has no identity to compare."""
    with pytest.raises(SealBrokenError, match="expected a chunk, found a table"):
        SEALER.open(SEALER.seal(ObjectType.TABLE, ROWS), type=CHUNK)


def test_wrong_identity_is_rejected() -> None:
    """A sound blob in another one's place is noticed."""
    with pytest.raises(SealBrokenError, match="expected identity"):
        SEALER.open(SEALER.seal(CHUNK, ROWS), type=CHUNK, identity=SEALER.identify(CHUNK, ROWS[1:]))


def test_blob_of_another_repository_is_rejected() -> None:
    """The repository's id is authenticated, although no byte of it is in the blob."""
    other = Sealer(keyring=dataclasses.replace(KEYRING, repository_id=UUID(int=7)))
    with pytest.raises(SealBrokenError, match="authentication tag"):
        other.open(SEALER.seal(CHUNK, ROWS), type=CHUNK)


@pytest.mark.parametrize(
    ("forged", "reason"),
    [
        (forge(ROWS, 0, ROWS, version=2), "format version 1, found 2"),
        (forge(ROWS, 2, ROWS), "unknown object type or encoding"),
        (forge(ROWS, 0, ROWS, reserved=b"\0\0\0\1"), "not zero"),
        (forge(ROWS, 0, ROWS + b"."), "expected content of identity"),
        (forge(zstd.compress(ROWS), 1, ROWS[:-1]), "expected content of identity"),
        (forge(ROWS, 1, ROWS), "no zstd frame"),
        (forge(b"", 1, b""), "no zstd frame"),
        (forge(zstd.compress(ROWS)[:-1], 1, ROWS), "does not unpack to the"),
        (forge(zstd.compress(ROWS, options={CHECKSUM: 1})[:-1], 1, ROWS), "does not unpack to the"),
        (forge(zstd.compress(ROWS) + b"\0", 1, ROWS), "does not unpack to the"),
        (forge(zstd.compress(ROWS) + zstd.compress(ROWS), 1, ROWS + ROWS), "does not unpack to the"),
    ],
    ids=[
        "version",
        "encoding",
        "reserved",
        "raw",
        "identity",
        "no-frame",
        "empty",
        "short",
        "unended",
        "long",
        "two-frames",
    ],
)
def test_what_a_key_holder_sealed_wrongly_is_rejected(forged: bytes, reason: str) -> None:
    """Authentic is not enough: the content must be one whole frame of the stated size and identity."""
    with pytest.raises(SealBrokenError, match=reason):
        SEALER.open(forged, type=CHUNK)


def test_forging_by_the_book_opens_when_right() -> None:
    """The forge of these tests writes good blobs, too: their rejections above have the reasons they claim."""
    assert SEALER.open(forge(ROWS, 0, ROWS), type=CHUNK) == ROWS
    assert SEALER.open(forge(zstd.compress(ROWS), 1, ROWS), type=CHUNK) == ROWS


def test_frame_without_its_size_is_rejected() -> None:
    """A frame that does not say how much it holds could unpack to anything."""
    compressor = zstd.ZstdCompressor()
    frame = compressor.compress(ROWS) + compressor.flush()
    with pytest.raises(SealBrokenError, match="that does not state a size"):
        SEALER.open(forge(frame, 1, ROWS), type=CHUNK)


def test_a_bomb_is_refused_before_it_unpacks() -> None:
    """A blob that would unpack to more than its caller expects is refused without taking the memory."""
    bomb = forge(zstd.compress(bytes(64 * 1024 * 1024)), 1, b"")
    tracemalloc.start()
    try:
        with pytest.raises(SealBrokenError, match="at most 1000 bytes"):
            SEALER.open(bomb, type=CHUNK, max_plain_bytes=1000)
        assert tracemalloc.get_traced_memory()[1] < 2 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_a_bomb_that_states_a_small_size_is_stopped_there() -> None:
    """A frame that holds more than it states is stopped as soon as that shows."""
    frame = bytearray(zstd.compress(bytes(64 * 1024 * 1024)))
    frame[6:10] = (1000).to_bytes(4, "little")
    assert zstd.get_frame_info(frame).decompressed_size == 1000
    tracemalloc.start()
    try:
        with pytest.raises(SealBrokenError, match="does not unpack"):
            SEALER.open(forge(bytes(frame), 1, b""), type=CHUNK, max_plain_bytes=1000)
        assert tracemalloc.get_traced_memory()[1] < 2 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_raw_content_is_bounded_as_well() -> None:
    """More than the caller expects is refused, compressed or not."""
    with pytest.raises(SealBrokenError, match="at most 99 bytes"):
        SEALER.open(SEALER.seal(CHUNK, os.urandom(100)), type=CHUNK, max_plain_bytes=99)


def test_a_plaintext_is_held_once() -> None:
    """Sealing takes a few times the blob's memory beside the plaintext, opening about the plaintext's."""
    plaintext = mixed_text(24_000_000)
    tracemalloc.start()
    try:
        blob = SEALER.seal_checked(CHUNK, plaintext)
        sealing = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        SEALER.open(blob, type=CHUNK)
        opening = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert sealing < 4 * len(blob) + 2_500_000
    assert opening < 1.2 * len(plaintext) + 2_500_000


def test_incompressible_content_is_stored_raw() -> None:
    """Compression that does not help is left out: a blob is never more than its overhead larger."""
    plaintext = os.urandom(2_000_000)
    blob = SEALER.seal(CHUNK, plaintext)
    assert read_header(blob).encoding is Encoding.RAW
    assert len(blob) == len(plaintext) + HEADER_BYTES + TAG_BYTES


def test_rows_that_changed_after_they_were_identified_are_not_stored() -> None:
    """A bit that flips in memory between identify and seal is noticed before anything is uploaded."""
    plaintext = bytearray(ROWS)
    identity = SEALER.identify(CHUNK, plaintext)
    plaintext[100] ^= 1
    with pytest.raises(SealFaultError, match="does not open to what went in") as caught:
        SEALER.seal_checked(CHUNK, plaintext, identity=identity)
    assert isinstance(caught.value, RefusedError)
    assert "memory" in str(caught.value.hint)


def test_a_faulty_compressor_is_noticed_before_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame that holds other rows than those given never leaves seal_checked."""
    wrong = zstd.compress(ROWS[:-1] + b"X")
    monkeypatch.setattr(seal_module, "pack", lambda view, level: [wrong])
    SEALER.seal(CHUNK, ROWS)
    with pytest.raises(SealFaultError):
        SEALER.seal_checked(CHUNK, ROWS)


def test_an_identity_of_the_wrong_length_is_a_bug() -> None:
    """A short identity would be padded into the header unseen."""
    with pytest.raises(ValueError, match="32 bytes"):
        SEALER.seal(CHUNK, ROWS, identity=b"short")


def test_more_than_one_blob_may_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plaintext above the format's bound is refused by name when sealed, not when restored."""
    monkeypatch.setattr(seal_module, "MAX_PLAIN_BYTES", 1000)
    with pytest.raises(RefusedError, match="a chunk of 1001 bytes"):
        SEALER.seal(CHUNK, bytes(1001))


def test_blobs_of_earlier_epochs_open_and_new_ones_use_the_newest() -> None:
    """After a rotation old blobs open, and what is sealed names the new epoch."""
    old = SEALER.seal(CHUNK, ROWS)
    rotated = Sealer(keyring=KEYRING.with_new_epoch(new_identity_key=True))
    new = rotated.seal_checked(CHUNK, ROWS)
    assert (read_header(old).epoch, read_header(new).epoch) == (1, 2)
    assert rotated.open(old, type=CHUNK, identity=SEALER.identify(CHUNK, ROWS)) == ROWS
    assert (
        rotated.identify(CHUNK, ROWS, epoch=1)
        == SEALER.identify(CHUNK, ROWS)
        != rotated.identify(CHUNK, ROWS)
    )
    with pytest.raises(SealBrokenError, match="names epoch 2"):
        SEALER.open(new, type=CHUNK)


def test_locked_epoch_is_locked_not_damaged() -> None:
    """A blob whose epoch exists but is locked says so; and sealing under it is refused."""
    rotated = KEYRING.with_new_epoch()
    new = Sealer(keyring=rotated).seal(CHUNK, ROWS)
    reader = Sealer(keyring=dataclasses.replace(KEYRING, locked=(2,)))
    with pytest.raises(LockedOutError, match="epoch 2 are locked"):
        reader.open(new, type=CHUNK)
    with pytest.raises(LockedOutError, match="epoch 2 are locked"):
        reader.seal(CHUNK, ROWS)
    assert reader.open(SEALER.seal(CHUNK, ROWS), type=CHUNK) == ROWS


def test_headers_lead_through_a_pack() -> None:
    """Blobs laid end to end are found by their headers alone, and each opens."""
    plaintexts = [b"%d\trow\n" % n * (n + 1) for n in range(5)]
    pack = memoryview(b"".join(SEALER.seal(CHUNK, plaintext) for plaintext in plaintexts))
    found = []
    while pack:
        size = read_header(pack).blob_bytes
        found.append(SEALER.open(pack[:size], type=CHUNK))
        pack = pack[size:]
    assert found == plaintexts


def test_broken_seal_becomes_damage_with_the_objects_name() -> None:
    """Callers name the object that is damaged."""
    error = SealBrokenError("it was altered").as_damage("data/x")
    assert isinstance(error, DamagedError)
    assert (error.message, error.object_name) == ("object data/x is damaged: it was altered", "data/x")


def test_sealer_travels_to_other_processes_and_hides_its_keys() -> None:
    """It pickles, and its repr shows no key."""
    assert pickle.loads(pickle.dumps(SEALER)) == SEALER
    for secret in (KEYS.data_key, KEYS.identity_key):
        assert repr(secret)[2:20] not in repr(SEALER)
        assert secret.hex() not in repr(SEALER)


def test_threads_share_a_sealer() -> None:
    """Four threads seal and open at once, and none sees another's bytes."""

    def work(number: int) -> None:
        for turn in range(20):
            plaintext = (b"%d\t%d\n" % (number, turn)) * 30000
            results.append(SEALER.open(SEALER.seal_checked(CHUNK, plaintext), type=CHUNK) == plaintext)

    results: list[bool] = []
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 80


def test_golden_blob_opens() -> None:
    """A blob of the first release opens with its keys, whatever later versions do."""
    assert SEALER.open(bytes.fromhex(GOLDEN), type=CHUNK) == b"1\talpha\n2\tbeta\n" * 4
