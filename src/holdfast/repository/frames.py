"""Frames: a plaintext as one zstd frame that states its size, and back, without trusting the frame.

The invariant: `unpack` yields exactly the content of one whole frame with nothing behind it, of the size it
states, which is at most what the caller allows; or it raises. It never yields more than it was told to expect,
whatever the frame would unpack to.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

from holdfast.storage import Buffer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# A whole chunk goes in by one call: the compressor then reads it where it lies, instead of copying it into a
# window of its own first (a fifth faster). Only single values beyond this come in pieces.
PACK_PIECE: Final = 32 * 1024 * 1024
UNPACK_PIECE: Final = 256 * 1024  # stays in a core's cache between decrypting, unpacking and hashing


# Level 1 looks for matches through a table of 2^14 entries, 64 KiB, which is more than a core's nearest cache
# holds. COPY text repeats itself close by: 2^11 entries find more of it (160.7 instead of 164.2 MB of 1.28 GB), in
# no more time alone and in less beside a server that wants the cache, too.
_FASTEST: Final[dict[int, int]] = {
    zstd.CompressionParameter.compression_level: 1,
    zstd.CompressionParameter.hash_log: 11,
    zstd.CompressionParameter.min_match: 6,
}


class MalformedFrameError(Exception):
    """These bytes are not one whole frame of a size that is allowed."""


def pack(view: memoryview, level: int) -> list[bytes] | None:
    """One zstd frame that states its content's size, in pieces; None if it would not be smaller.

    The compressor is new each time: reusing one gained nothing measurable, and one of a high level holds up to
    hundreds of megabytes.
    """
    compressor = zstd.ZstdCompressor(options=_FASTEST) if level == 1 else zstd.ZstdCompressor(level=level)
    compressor.set_pledged_input_size(len(view))
    pieces: list[bytes] = []
    packed_bytes = 0
    for start in range(0, len(view), PACK_PIECE):
        end = start + PACK_PIECE
        if end < len(view):
            pieces.append(compressor.compress(view[start:end], compressor.CONTINUE))
        else:
            pieces.append(compressor.compress(view[start:end], compressor.FLUSH_FRAME))
        packed_bytes += len(pieces[-1])
        if packed_bytes >= len(view):
            return None
    return pieces or None


def unpack(pieces: Iterator[memoryview], limit: int) -> Iterator[bytes]:
    """Unpack exactly one zstd frame, which states its size, is whole, and has nothing behind it."""
    first = next(pieces, memoryview(b""))
    expected = _stated_size(first, limit)
    unpacker = zstd.ZstdDecompressor()
    unpacked_bytes = 0
    piece: Buffer | None = first
    try:
        while piece is not None:
            output = unpacker.decompress(piece, UNPACK_PIECE)
            unpacked_bytes += len(output)
            if unpacked_bytes > expected:
                break
            if output:
                yield output
            more_inside = not unpacker.eof and not unpacker.needs_input
            piece = b"" if more_inside else next(pieces, None)
    except (zstd.ZstdError, EOFError) as error:
        raise MalformedFrameError("does not unpack as one zstd frame") from error
    if not unpacker.eof or unpacker.unused_data or unpacked_bytes != expected:
        raise MalformedFrameError(f"does not unpack to the {expected} bytes that it states")


def _stated_size(frame_start: memoryview, limit: int) -> int:
    try:
        stated = zstd.get_frame_info(frame_start).decompressed_size
    except zstd.ZstdError as error:
        raise MalformedFrameError("is no zstd frame") from error
    if stated is None:
        raise MalformedFrameError("is a zstd frame that does not state a size")
    if stated > limit:
        raise MalformedFrameError(f"is expected to have at most {limit} bytes, but states {stated}")
    return int(stated)
