"""Backup: one consistent instant of one source, captured, stored, and committed as a whole or not at all."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from holdfast import __version__
from holdfast.domain.coverage import CoverageEntry, CoverageStatus, is_partial
from holdfast.domain.errors import HoldfastError, InterruptedRunError
from holdfast.domain.events import Listener, Noticed, PhaseBegan, ignore
from holdfast.domain.ids import RANDOM_BYTES, make_snapshot_id
from holdfast.domain.manifest import ArchiveRef, LargeObjectsRef, Root, SnapshotState, TableEntry
from holdfast.domain.tables import TablePatterns, TierRule, tier_of
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.copy import ReadSpec
from holdfast.postgres.schema import Definitions, dump_definitions
from holdfast.postgres.session import Selection, SourceSession, Taken, open_source
from holdfast.postgres.tools import Tool, Version, dump_tool, find_tools
from holdfast.repository.repo import Repository
from holdfast.repository.reuse import LeftBlobs
from holdfast.repository.run import Run, find_predecessors
from holdfast.repository.seal import ObjectType
from holdfast.repository.table_codec import encode_large_objects, encode_table
from holdfast.workflows.capture import LIVENESS_SECONDS, Capture, Captured, with_statements
from holdfast.workflows.parent import Parent, ReusingWriter, load_parent
from holdfast.workflows.reading import WorkerContext
from holdfast.workflows.reports import BackupReport

DEFAULT_JOBS = 2
DEFAULT_LOCK_TIMEOUT_SECONDS = 60.0
# An archive's first bytes hold the moment at which it was made; past them, unchanged definitions are the same
# bytes. Cut there, all but one tiny piece is reused (magic, versions and seven integers end before byte 64).
ARCHIVE_HEAD_BYTES = 64
ARCHIVE_PIECE_BYTES = 8 * 1024 * 1024
LARGE_OBJECTS_PER_LIST = 10_000

Clock = Callable[[], datetime]


def now_utc() -> datetime:
    return datetime.now(UTC)


def thread_pool(jobs: int) -> Executor:
    return ThreadPoolExecutor(jobs, thread_name_prefix="holdfast-read")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSource:
    """One database under care. `exclude_rows`: tables whose definitions are kept and whose rows are not."""

    name: str
    address: ServerAddress
    tiers: tuple[TierRule, ...] = ()
    exclude_rows: TablePatterns | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupOptions:
    """`full`: build on no parent; every chunk is stored anew. `tool_folder`: where pg_dump lies, if not found."""

    tags: tuple[str, ...] = ()
    jobs: int = DEFAULT_JOBS
    full: bool = False
    lock_timeout_seconds: float = DEFAULT_LOCK_TIMEOUT_SECONDS
    compression_level: int = 1
    tool_folder: Path | None = None


def backup(
    source: BackupSource,
    repository: Repository,
    *,
    options: BackupOptions,
    listener: Listener = ignore,
    interrupted: threading.Event | None = None,
    clock: Clock = now_utc,
    make_executor: Callable[[int], Executor] = thread_pool,
) -> BackupReport:
    """Take a snapshot. Returns only when it is committed; raises otherwise, and nothing is committed then.

    `make_executor` gives the executor for range tasks: threads by default; any other must reach the same
    storage from its processes.
    """
    began, started_at = time.monotonic(), clock()
    snapshot = make_snapshot_id(started_at, os.urandom(RANDOM_BYTES))
    predecessors = find_predecessors(repository, source.name, now=started_at)
    run = Run.begin(
        repository,
        snapshot=snapshot,
        source=source.name,
        predecessors=predecessors,
        level=options.compression_level,
        clock=clock,
    )
    with run:
        try:
            left = run.adopt(predecessors.crashed)
            if len(left):
                listener(Noticed(message=f"an earlier run died; {len(left)} of its chunks may be reused"))
            usable = None if options.full else predecessors.parent
            if usable is not None and not run.without_tombstone(usable.snapshot):
                usable = None
            parent = load_parent(repository, usable)
            taking = _Taking(source, run, parent, left, options, listener, interrupted or threading.Event())
            root, captured, stored_bytes = taking.take(started_at, make_executor)
            state = SnapshotState.PARTIAL if is_partial(root.coverage) else SnapshotState.COMMITTED
            summary = run.commit(root, state=state, stored_bytes=stored_bytes)
        except BaseException:
            # The next run adopts what was stored; saying so early only saves it the wait.
            with suppress(HoldfastError):
                run.give_up()
            raise
    problem = run.heartbeat_problem
    return BackupReport(
        snapshot=root.snapshot,
        source=root.source,
        state=state,
        taken_at=root.instant.taken_at,
        seconds=time.monotonic() - began,
        tables=len(root.tables),
        rows=root.rows,
        bytes_read=root.plain_bytes + root.large_objects.size_bytes,
        bytes_stored=summary.stored_bytes,
        chunks_stored=captured.chunks_stored,
        chunks_reused=captured.chunks_reused,
        parent=root.parent,
        adopted=max(left.snapshots(), default=None),
        coverage=root.coverage,
        readings=captured.readings,
        warnings=(*taking.warnings, *([f"the heartbeat failed: {problem.message}"] if problem else [])),
    )


class _Taking:
    """From an open session to a root that can be committed."""

    def __init__(
        self,
        source: BackupSource,
        run: Run,
        parent: Parent,
        left: LeftBlobs,
        options: BackupOptions,
        listener: Listener,
        interrupted: threading.Event,
    ) -> None:
        self._source = source
        self._run = run
        self._parent = parent
        self._left = left
        self._options = options
        self._listener = listener
        self._interrupted = interrupted
        self.warnings: tuple[str, ...] = ()

    def take(
        self, started_at: datetime, make_executor: Callable[[int], Executor]
    ) -> tuple[Root, Captured, int]:
        self._listener(PhaseBegan(phase="locking tables"))
        stop_dump = threading.Event()
        with (
            open_source(
                self._source.address,
                snapshot=self._run.snapshot,
                lock_timeout_seconds=self._options.lock_timeout_seconds,
                listener=self._listener,
                interrupted=self._interrupted,
            ) as session,
            ThreadPoolExecutor(1, thread_name_prefix="holdfast-definitions") as beside,
        ):
            taken = session.take(Selection(exclude_rows=self._source.exclude_rows))
            tool = self._dump_tool(taken)
            dump = beside.submit(
                dump_definitions,
                taken.address,
                exported=taken.exported,
                tool=tool,
                lock_timeout_seconds=self._options.lock_timeout_seconds,
                undefinable=taken.undefinable,
                stop=stop_dump,
            )
            try:
                self._listener(PhaseBegan(phase="reading rows"))
                captured = self._capture(session, taken, dump, make_executor)
                self._listener(PhaseBegan(phase="reading definitions"))
                definitions = self._wait_for(dump, session)
            except BaseException:
                stop_dump.set()
                raise
            session.check()
        if self._interrupted.is_set():
            raise InterruptedRunError("interrupted; nothing was committed")
        self._listener(PhaseBegan(phase="committing"))
        self.warnings = (*tool.warnings, *definitions.warnings)
        root, stored_bytes = self._assemble(started_at, taken, definitions, captured)
        return root, captured, captured.bytes_stored + stored_bytes

    def _dump_tool(self, taken: Taken) -> Tool:
        folder = self._options.tool_folder
        return dump_tool(
            Version.from_number(taken.database.server_version),
            find_tools([folder] if folder else ()),
            need_tls=taken.address.need_tls,
        )

    def _wait_for(self, dump: Future[Definitions], session: SourceSession) -> Definitions:
        while True:
            done, _ = wait([dump], timeout=LIVENESS_SECONDS)
            if done:
                return dump.result()
            if self._interrupted.is_set():
                raise InterruptedRunError("interrupted while reading definitions; nothing was committed")
            session.check()

    def _capture(
        self,
        session: SourceSession,
        taken: Taken,
        dump: Future[Definitions],
        make_executor: Callable[[int], Executor],
    ) -> Captured:
        def still_alive() -> None:
            session.check()
            if dump.done():
                dump.result()  # definitions that cannot be had make the rest pointless: say so now

        context = WorkerContext(
            snapshot=self._run.snapshot,
            read=ReadSpec(
                address=taken.address,
                exported=taken.exported,
                client_encoding=taken.client_encoding,
                application_name=f"holdfast/{self._run.snapshot}",
            ),
            storage=self._run.repository.storage,
            sealer=self._run.repository.sealer,
            level=self._options.compression_level,
            left=self._left,
        )
        capture = Capture(
            context,
            self._parent,
            jobs=self._options.jobs,
            server_version=taken.database.server_version,
            listener=self._listener,
            interrupted=self._interrupted,
            still_alive=still_alive,
        )
        return capture.run(taken.tables, (item.oid for item in taken.large_objects), make_executor)

    def _assemble(
        self, started_at: datetime, taken: Taken, definitions: Definitions, captured: Captured
    ) -> tuple[Root, int]:
        repository, known = self._run.repository, self._parent.known
        data = ReusingWriter(self._run.data_writer(), repository, known)
        meta = ReusingWriter(self._run.table_writer(), repository, known)
        for piece in _archive_pieces(definitions.archive):
            data.add(ObjectType.ARCHIVE, piece)
        for manifest in captured.manifests:
            meta.add(ObjectType.TABLE, encode_table(manifest))
        statements = {item.oid: item.statements for item in taken.large_objects}
        large_objects = with_statements(captured.large_objects, statements)
        for start in range(0, len(large_objects), LARGE_OBJECTS_PER_LIST):
            group = large_objects[start : start + LARGE_OBJECTS_PER_LIST]
            meta.add(ObjectType.LARGE_OBJECTS, encode_large_objects(group))
        pieces, references = data.finish(), meta.finish()
        entries = tuple(
            TableEntry(
                oid=manifest.oid,
                name=manifest.name,
                tier=tier_of(manifest.name, self._source.tiers),
                rows=manifest.rows,
                plain_bytes=manifest.plain_bytes,
                manifest=reference,
            )
            for manifest, reference in zip(captured.manifests, references, strict=False)
        )
        root = Root(
            snapshot=self._run.snapshot,
            source=self._source.name,
            parent=self._parent.snapshot,
            tags=self._options.tags,
            started_at=started_at,
            holdfast_version=__version__,
            lineage=taken.lineage,
            instant=taken.instant,
            database=taken.database,
            archive=ArchiveRef(
                pieces=pieces, size_bytes=len(definitions.archive), tool_version=definitions.tool_version
            ),
            tables=entries,
            sequences=taken.sequences,
            large_objects=LargeObjectsRef(
                count=len(large_objects),
                size_bytes=sum(item.size_bytes for item in large_objects),
                lists=references[len(entries) :],
            ),
            matviews=taken.matviews,
            roles=taken.roles,
            memberships=taken.memberships,
            coverage=(
                *_captured_entries(entries, len(large_objects)),
                *taken.coverage,
                *definitions.coverage,
            ),
            journal_position=0,
        )
        return root, data.stored_bytes + meta.stored_bytes


def _archive_pieces(archive: bytes) -> list[memoryview]:
    view = memoryview(archive)
    cuts = [0, *range(ARCHIVE_HEAD_BYTES, len(archive), ARCHIVE_PIECE_BYTES), len(archive)]
    return [view[first:end] for first, end in itertools.pairwise(cuts) if end > first]


def _captured_entries(tables: tuple[TableEntry, ...], large_objects: int) -> list[CoverageEntry]:
    entries = [
        CoverageEntry(kind="table", name=str(table.name), status=CoverageStatus.CAPTURED) for table in tables
    ]
    if large_objects:
        text = f"{large_objects} large objects"
        entries.append(CoverageEntry(kind="large objects", name=text, status=CoverageStatus.CAPTURED))
    return entries
