"""Large objects as tasks: read with plain SQL rights under the snapshot, cut into pieces, sealed like rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from holdfast.domain.manifest import BlobRef, LargeObject
from holdfast.repository import layout
from holdfast.repository.blobs import BlobWriter
from holdfast.repository.seal import ObjectType
from holdfast.workflows.parts import WorkerContext
from holdfast.workflows.reading import reader_of_this_thread

PIECE_BYTES = 8 * 1024 * 1024
OBJECTS_PER_TASK = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeObjectTask:
    """`oids` are read in this order. `known` are the parent's pieces that are present, by identity."""

    context: WorkerContext
    oids: tuple[int, ...]
    known: Mapping[bytes, BlobRef] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeObjectResult:
    """The objects, still without the statements that restore their owner, ACL and comment."""

    objects: tuple[LargeObject, ...]
    bytes_stored: int
    chunks_stored: int
    chunks_reused: int


def cut_tasks(
    context: WorkerContext, oids: Iterable[int], known: Mapping[bytes, BlobRef]
) -> Iterable[LargeObjectTask]:
    ordered = sorted(oids)
    for start in range(0, len(ordered), OBJECTS_PER_TASK):
        yield LargeObjectTask(
            context=context, oids=tuple(ordered[start : start + OBJECTS_PER_TASK]), known=known
        )


def run_large_object_task(task: LargeObjectTask) -> LargeObjectResult:
    """Read, identify, and store or reuse every piece of these large objects."""
    context = task.context
    reader = reader_of_this_thread(context)
    writer = BlobWriter(
        context.storage,
        context.sealer,
        lambda: layout.new_data_object(context.snapshot),
        level=context.level,
    )
    drafts: list[tuple[int, int, list[int | BlobRef]]] = []
    reused = 0
    for oid in task.oids:
        pieces: list[int | BlobRef] = []
        size = 0
        while piece := reader.read_large_object(oid, size, PIECE_BYTES):
            identity = context.sealer.identify(ObjectType.CHUNK, piece)
            known = task.known.get(identity)
            reused += known is not None
            pieces.append(
                known if known is not None else writer.add(ObjectType.CHUNK, piece, identity=identity)
            )
            size += len(piece)
            if len(piece) < PIECE_BYTES:
                break
        drafts.append((oid, size, pieces))
    writer.finish()
    return LargeObjectResult(
        objects=tuple(
            LargeObject(
                oid=oid,
                size_bytes=size,
                pieces=tuple(piece if isinstance(piece, BlobRef) else writer[piece] for piece in pieces),
            )
            for oid, size, pieces in drafts
        ),
        bytes_stored=writer.stored_bytes,
        chunks_stored=writer.stored_blobs,
        chunks_reused=reused,
    )
