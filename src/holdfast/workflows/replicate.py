"""Replicate: one snapshot brought into another repository, under its keys, by the same protocol as a backup.

Every blob is opened with the source's keys (its identity checked), identified and sealed anew with the
destination's, and stored; what a base, an earlier snapshot that both repositories hold, shows to be there already
is neither read nor sent. Before the copy is committed, the destination is asked for what was sent.

The invariant: a copy that is committed holds exactly the blobs that the original's manifests name. Whatever cannot
be read, sent or found there again ends the copy with an error, and nothing is committed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime

from holdfast.domain.errors import DamagedError, HoldfastError, InterruptedRunError, RefusedError
from holdfast.domain.events import Listener, Noticed, PhaseBegan, RowsMoved, WorkPlanned, ignore
from holdfast.domain.ids import RANDOM_BYTES, SnapshotId
from holdfast.domain.manifest import BlobRef, Origin, Root, SnapshotSummary
from holdfast.repository.packs import PackReader
from holdfast.repository.repo import Repository
from holdfast.repository.runs.copies import (
    Base,
    Incoming,
    find_incoming,
    make_copy_id,
    origin_of,
)
from holdfast.repository.runs.predecessors import Predecessors
from holdfast.repository.runs.reuse import LeftBlobs
from holdfast.repository.runs.run import Run
from holdfast.repository.seal import ObjectType
from holdfast.repository.table_store import resolve, store_tables
from holdfast.workflows.far_end import FarEnd, Sent
from holdfast.workflows.parcels import Wanted, cut_tasks, lists_of, manifest_refs, tables_of, wanted_of
from holdfast.workflows.shared_blobs import Contents, Shared, find_shared, read_contents

DEFAULT_JOBS = 4
DEFAULT_VERIFY_LEVEL = 2

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicateOptions:
    """`verify_level`: how what was sent is checked at the far end, 1 to 3 (docs/FORMAT.md, "Verification")."""

    jobs: int = DEFAULT_JOBS
    compression_level: int = 1
    verify_level: int = DEFAULT_VERIFY_LEVEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A committed copy. `level` is what all of it passed, `sent_level` what the newly sent objects passed.
    Chunks are counted without manifests; `bytes_sent` counts every sealed byte."""

    summary: SnapshotSummary
    bytes_sent: int
    chunks_sent: int
    chunks_reused: int
    level: int
    sent_level: int


class BeingCopiedError(RefusedError):
    """Another process is bringing the same snapshot to the same repository right now."""


class CopiedMeanwhileError(RefusedError):
    """Another process has brought the same snapshot there; `copy` is its id. Nothing is lost, nothing to do."""

    def __init__(self, message: str, *, copy: SnapshotSummary) -> None:
        super().__init__(message)
        self.copy = copy


def replicate(
    source: Repository,
    summary: SnapshotSummary,
    destination: Repository,
    *,
    base: Base | None,
    options: ReplicateOptions,
    settled: SnapshotId | None = None,
    look_again: Callable[[], SnapshotSummary | None] = lambda: None,
    listener: Listener = ignore,
    interrupted: threading.Event | None = None,
    clock: Clock,
) -> Replica:
    """Bring `summary`'s snapshot into `destination`, or raise with nothing committed there.

    `base` None reuses nothing. `settled` goes into the copy's `Origin`. `look_again`, asked right before the
    commit, returns a copy that another process has committed meanwhile. Raises `DamagedError` that names the
    repository and the object, `BeingCopiedError`, `CopiedMeanwhileError`, `FencedError`, `UnreachableError`.
    """
    origin = replace(origin_of(source, summary), settled=settled)
    incoming = find_incoming(destination, now=clock())
    _step_aside(destination, incoming, origin)
    crashed = tuple(record for record in incoming.crashed_copies if record.source == summary.source)
    run = Run.begin(
        destination,
        snapshot=make_copy_id(origin.snapshot, os.urandom(RANDOM_BYTES)),
        source=summary.source,
        predecessors=Predecessors(
            parent=None if base is None else base.destination,
            parent_journal_position=0 if base is None else base.journal_position,
            crashed=crashed,
            alive=incoming.alive,
            unreadable=incoming.unreadable,
        ),
        level=options.compression_level,
        clock=clock,
        copy_of=origin.snapshot,
    )
    with run:
        try:
            # Of two that announce at the same time at least the later one sees the other.
            _step_aside(destination, find_incoming(destination, now=clock()), origin, mine=run.snapshot)
            left = run.adopt(crashed)
            stands = (
                base is not None
                and run.still_stands(base.destination.snapshot)
                and destination.has_current_identities(base.destination)
            )
            sending = _Sending(source, run, options, left, listener, interrupted or threading.Event())
            return sending.send(summary, base if stands else None, origin, look_again)
        except BaseException:
            with suppress(HoldfastError):
                run.give_up()
            raise


def _step_aside(
    destination: Repository, incoming: Incoming, origin: Origin, *, mine: SnapshotId | None = None
) -> None:
    """Of two copiers of one snapshot that see each other, the one with the lower id goes on."""
    for record in incoming.alive_copies:
        if record.copy_of == origin.snapshot and (mine is None or record.snapshot < mine):
            raise BeingCopiedError(
                f"snapshot {origin.snapshot} is being copied to {destination.address} already, by process "
                f"{record.host.pid} on {record.host.name}",
                hint="wait for it; a copy that was killed is taken over as soon as it is known to be dead",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moved:
    """What one task did: where each blob lies now, by its identity in the source; and what was really sent."""

    places: dict[bytes, BlobRef]
    sent: list[Sent]


class _Sending:
    """One copy, from the manifests to the commit."""

    def __init__(
        self,
        source: Repository,
        run: Run,
        options: ReplicateOptions,
        left: LeftBlobs,
        listener: Listener,
        interrupted: threading.Event,
    ) -> None:
        self._source = source
        self._destination = run.repository
        self._run = run
        self._options = options
        self._left = left
        self._listener = listener
        self._interrupted = interrupted
        self._packs = PackReader(source.storage, source.sealer)
        self._far_end = FarEnd(run.repository, run.snapshot, level=options.verify_level)

    def send(
        self,
        summary: SnapshotSummary,
        base: Base | None,
        origin: Origin,
        look_again: Callable[[], SnapshotSummary | None],
    ) -> Replica:
        self._listener(PhaseBegan(phase=f"comparing {summary.snapshot} with {self._destination.address}"))
        with at(self._source):
            contents = read_contents(self._source, summary)
        shared = self._shared(base)
        wanted = wanted_of(contents)
        places = {identity: shared.by_source[identity] for identity in wanted if identity in shared.by_source}
        missing = [item for identity, item in wanted.items() if identity not in places]
        self._listener(PhaseBegan(phase=f"copying {summary.snapshot} to {self._destination.address}"))
        moved = self._move(missing, shared)
        places.update(moved.places)
        sent_names = {item.ref.object_name for item in moved.sent}
        reused = [ref for ref in places.values() if ref.object_name not in sent_names]
        root, kept = self._root(contents, base, origin, places, shared)
        self._listener(PhaseBegan(phase=f"checking what was sent to {self._destination.address}"))
        self._far_end.require(jobs=self._options.jobs, stop_if_asked=self._stop_if_asked)
        if (other := look_again()) is not None:
            raise CopiedMeanwhileError(
                f"snapshot {origin.snapshot} was copied to {self._destination.address} by another process",
                copy=other,
            )
        names = {ref.object_name for ref in (*places.values(), *manifest_refs(root))}
        build_on = root.parent if shared.objects else None
        self._run.keep_locked(names, base=build_on, adopted=self._left.snapshots())
        committed = self._run.commit(root, state=summary.state, stored_bytes=self._far_end.bytes_sent)
        self._destination.root(committed)  # stored since; raises `DamagedError` if it cannot be read back
        return Replica(
            summary=committed,
            bytes_sent=committed.stored_bytes,
            chunks_sent=len(moved.sent),
            chunks_reused=len(wanted) - len(moved.sent),
            level=min(self._options.verify_level, shared.level_of([*reused, *kept])),
            sent_level=self._options.verify_level,
        )

    def _shared(self, base: Base | None) -> Shared:
        """What the base shows to be there. A base that cannot be read is no base: all is copied again, which
        heals the destination, and verify names what is damaged."""
        if base is None:
            return Shared()
        try:
            with at(self._source):
                before = read_contents(self._source, base.source)
            with at(self._destination):
                there = read_contents(self._destination, base.destination)
        except DamagedError as error:
            self._listener(Noticed(message=f"everything is copied again: {error.message}", hint=error.hint))
            return Shared()
        return find_shared(before, there, self._destination.storage)

    def _move(self, missing: Sequence[Wanted], shared: Shared) -> _Moved:
        """Read, seal and store these blobs, several at a time."""
        tables = {item.table for item in missing}
        plain = sum(item.ref.plain_bytes for item in missing)
        self._listener(WorkPlanned(tables=len(tables), bytes_estimate=plain, rows_estimate=0))
        moved = _Moved(places={}, sent=[])
        pool = ThreadPoolExecutor(self._options.jobs, thread_name_prefix="holdfast-copy")
        try:
            futures = [pool.submit(self._move_some, task, shared) for task in cut_tasks(missing)]
            for future in as_completed(futures):
                done = future.result()
                moved.places.update(done.places)
                moved.sent.extend(done.sent)
                self._stop_if_asked()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        self._far_end.expect(moved.sent)
        return moved

    def _move_some(self, task: Sequence[Wanted], shared: Shared) -> _Moved:
        writer, sealer = self._run.data_writer(), self._destination.sealer
        tickets: list[tuple[Wanted, int]] = []
        places: dict[bytes, BlobRef] = {}
        plaintexts = self._packs.read_all((item.kind, item.ref) for item in task)
        for item in task:
            self._stop_if_asked()
            with at(self._source):
                plaintext = next(plaintexts)
            identity = sealer.identify(item.kind, plaintext)
            found = shared.by_destination.get(identity) or self._adopt(item.kind, identity, len(plaintext))
            if found is not None:
                places[item.ref.identity] = found
            else:
                tickets.append((item, writer.add(item.kind, plaintext, identity=identity)))
            self._listener(RowsMoved(table=item.table, rows=0, bytes=item.ref.plain_bytes))
        writer.finish()
        places.update({item.ref.identity: writer[ticket] for item, ticket in tickets})
        return _Moved(places=places, sent=[Sent(item.kind, writer[ticket]) for item, ticket in tickets])

    def _adopt(self, kind: ObjectType, identity: bytes, plain_bytes: int) -> BlobRef | None:
        """A chunk that an earlier copy stored before it died; opened once, since no manifest vouches for it."""
        if kind is not ObjectType.CHUNK or not len(self._left):
            return None
        return self._left.take(self._destination.storage, self._destination.sealer, identity, plain_bytes)

    def _root(
        self,
        contents: Contents,
        base: Base | None,
        origin: Origin,
        places: dict[bytes, BlobRef],
        shared: Shared,
    ) -> tuple[Root, list[BlobRef]]:
        """Store the manifests, with every reference replaced; the root that names them, and those reused."""
        writer, sealer = self._run.table_writer(), self._destination.sealer
        tables = store_tables(writer, sealer, tables_of(contents, places), shared.tables)
        lists: list[int | BlobRef] = []
        for plaintext in lists_of(contents, places):
            identity = sealer.identify(ObjectType.LARGE_OBJECTS, plaintext)
            known = shared.by_destination.get(identity)
            lists.append(known or writer.add(ObjectType.LARGE_OBJECTS, plaintext, identity=identity))
        writer.finish()
        for kind, stored in ((ObjectType.TABLE, tables), (ObjectType.LARGE_OBJECTS, lists)):
            self._far_end.expect(Sent(kind, writer[place]) for place in set(stored) if isinstance(place, int))
        before = contents.root
        root = replace(
            before,
            snapshot=self._run.snapshot,
            parent=None if base is None else base.destination.snapshot,
            archive=replace(
                before.archive, pieces=tuple(places[piece.identity] for piece in before.archive.pieces)
            ),
            tables=tuple(
                replace(entry, manifest=ref)
                for entry, ref in zip(before.tables, resolve(writer, tables), strict=True)
            ),
            large_objects=replace(before.large_objects, lists=tuple(resolve(writer, lists))),
            origin=origin,
        )
        return root, [place for place in (*tables, *lists) if isinstance(place, BlobRef)]

    def _stop_if_asked(self) -> None:
        if self._interrupted.is_set():
            raise InterruptedRunError("interrupted while copying; what was sent is reused by the next copy")


@contextmanager
def at(repository: Repository) -> Iterator[None]:
    """Damage found inside is damage of this repository: the message says so."""
    try:
        yield
    except DamagedError as error:
        raise damage_at(repository, error) from error


def damage_at(repository: Repository, error: DamagedError) -> DamagedError:
    return DamagedError(
        f"{error.message}, in the repository at {repository.address}",
        object_name=error.object_name,
        hint=f"run holdfast verify --all --level 3 --repo {repository.address}",
    )
