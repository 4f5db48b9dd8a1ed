"""From an open session to a root that can be committed: rows and definitions of one instant, stored.

Invariant: the session that holds the locks and the snapshot lives until the last row and definition is there.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from holdfast.domain.chunks import LEAST_CHUNK_BYTES
from holdfast.domain.errors import InterruptedRunError
from holdfast.domain.events import Listener, PhaseBegan
from holdfast.domain.manifest import ArchiveRef, Root
from holdfast.domain.proof import Position
from holdfast.domain.ranges import TARGET_RANGE_BYTES
from holdfast.domain.tables import TablePatterns, TierRule
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.copy import ReadSpec
from holdfast.postgres.schema import Definitions, dump_definitions
from holdfast.postgres.session import Selection, SourceSession, Taken, open_source
from holdfast.postgres.tools import Tool, Version, dump_tool, find_tools
from holdfast.repository.runs.reuse import LeftBlobs
from holdfast.repository.runs.run import Run
from holdfast.workflows.basis import Ground, find_ground
from holdfast.workflows.capture import (
    LIVENESS_SECONDS,
    Capture,
    Captured,
    CaptureOrder,
)
from holdfast.workflows.parent import Parent
from holdfast.workflows.parts import WorkerContext
from holdfast.workflows.plan import Sizes
from holdfast.workflows.root_making import RootOrder, make_root

DEFAULT_JOBS = 2
DEFAULT_LOCK_TIMEOUT_SECONDS = 60.0
DEFAULT_FULL_EVERY_DAYS = 7.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSource:
    """One database under care. `exclude_rows`: tables whose definitions are kept and whose rows are not."""

    name: str
    address: ServerAddress
    tiers: tuple[TierRule, ...] = ()
    exclude_rows: TablePatterns | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupOptions:
    """`full`: read everything, whatever could be proven unchanged; so does every run for which the last full
    reading is `full_every_days` old. `tool_folder`: where pg_dump lies, if not found. `range_bytes`: about how
    much of a table is proven and read as one piece; `chunk_bytes`: about how much of a small table is stored as
    one, of big ones more. A table keeps its own while they fit. `max_runtime`: the run gives up after that long;
    None: never. `wait_seconds`: so long at most it waits for another run of the source before it steps aside.
    """

    tags: tuple[str, ...] = ()
    jobs: int = DEFAULT_JOBS
    full: bool = False
    full_every_days: float = DEFAULT_FULL_EVERY_DAYS
    range_bytes: int = TARGET_RANGE_BYTES
    chunk_bytes: int = LEAST_CHUNK_BYTES
    lock_timeout_seconds: float = DEFAULT_LOCK_TIMEOUT_SECONDS
    compression_level: int = 1
    tool_folder: Path | None = None
    max_runtime: timedelta | None = None
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TakingOrder:
    """All that one taking needs."""

    source: BackupSource
    run: Run
    parent: Parent
    left: LeftBlobs
    options: BackupOptions
    started_at: datetime
    listener: Listener
    interrupted: threading.Event
    make_executor: Callable[[int], Executor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """What was taken and stored; `root` can be committed."""

    root: Root
    captured: Captured
    ground: Ground
    definitions_reused: bool
    bytes_stored: int
    warnings: tuple[str, ...]


def take(order: TakingOrder) -> Taking:
    """Lock, read, and store everything but the root."""
    order.listener(PhaseBegan(phase="locking tables"))
    with open_source(
        order.source.address,
        snapshot=order.run.snapshot,
        lock_timeout_seconds=order.options.lock_timeout_seconds,
        listener=order.listener,
        interrupted=order.interrupted,
    ) as session:
        taken = session.take(Selection(exclude_rows=order.source.exclude_rows))
        return _Taker(order, session, taken).take()


class _Taker:
    """One taking, while its session is open."""

    def __init__(self, order: TakingOrder, session: SourceSession, taken: Taken) -> None:
        self._order = order
        self._session = session
        self._taken = taken
        now = Position(
            lineage=taken.lineage, instant=taken.instant, server_version=taken.database.server_version
        )
        self._ground = find_ground(
            order.parent,
            now,
            full=order.options.full,
            full_every_days=order.options.full_every_days,
        )

    def take(self) -> Taking:
        order = self._order
        tool = self._dump_tool()
        seen = self._session.look_at_definitions(parent_xmin=self._ground.parent_xmin)
        fingerprint = _fingerprint(seen.fingerprint, tool, self._taken)
        kept = self._kept_archive(fingerprint, old=seen.old)
        stop_dump = threading.Event()
        with ThreadPoolExecutor(1, thread_name_prefix="holdfast-definitions") as beside:
            dump = self._begin_dump(beside, tool, stop_dump) if kept is None else None
            try:
                order.listener(PhaseBegan(phase="reading rows"))
                captured = self._capture(dump)
                definitions = self._definitions(kept, dump)
            except BaseException:
                stop_dump.set()
                raise
            self._session.check()
        self._session.close()
        if order.interrupted.is_set():
            raise InterruptedRunError("interrupted; nothing was committed")
        order.listener(PhaseBegan(phase="committing"))
        root, bytes_stored = make_root(
            RootOrder(
                run=order.run,
                source_name=order.source.name,
                tiers=order.source.tiers,
                tags=order.options.tags,
                started_at=order.started_at,
                parent=order.parent,
                left=order.left,
                taken=self._taken,
                captured=captured,
                archive=definitions,
                fingerprint=fingerprint,
                read_in_full_at=self._ground.read_in_full_at,
            )
        )
        return Taking(
            root=root,
            captured=captured,
            ground=self._ground,
            definitions_reused=kept is not None,
            bytes_stored=captured.bytes_stored + bytes_stored,
            warnings=(
                *tool.warnings,
                *(definitions.warnings if isinstance(definitions, Definitions) else ()),
            ),
        )

    def _kept_archive(self, fingerprint: str | None, *, old: bool) -> ArchiveRef | None:
        """The parent's archive, if it can be proven that pg_dump would write the same again, and it is there."""
        parent = self._order.parent
        if parent.root is None or fingerprint is None or not old or not self._ground.relied_on:
            return None
        archive = parent.root.archive
        there = all(parent.known.get(piece.identity) == piece for piece in archive.pieces)
        return archive if archive.fingerprint == fingerprint and there else None

    def _begin_dump(self, beside: Executor, tool: Tool, stop: threading.Event) -> Future[Definitions]:
        taken = self._taken
        return beside.submit(
            dump_definitions,
            taken.address,
            exported=taken.exported,
            tool=tool,
            lock_timeout_seconds=self._order.options.lock_timeout_seconds,
            undefinable=taken.undefinable,
            stop=stop,
        )

    def _dump_tool(self) -> Tool:
        taken, folder = self._taken, self._order.options.tool_folder
        return dump_tool(
            Version.from_number(taken.database.server_version),
            find_tools([folder] if folder else ()),
            need_tls=taken.address.need_tls,
        )

    def _definitions(
        self, kept: ArchiveRef | None, dump: Future[Definitions] | None
    ) -> Definitions | ArchiveRef:
        if dump is not None:
            return self._wait_for(dump)
        if kept is None:
            raise ValueError("definitions are neither kept nor dumped")
        return kept

    def _wait_for(self, dump: Future[Definitions]) -> Definitions:
        self._order.listener(PhaseBegan(phase="reading definitions"))
        while True:
            done, _ = wait([dump], timeout=LIVENESS_SECONDS)
            if done:
                return dump.result()
            if self._order.interrupted.is_set():
                raise InterruptedRunError("interrupted while reading definitions; nothing was committed")
            self._session.check()

    def _capture(self, dump: Future[Definitions] | None) -> Captured:
        order, taken = self._order, self._taken

        def still_alive() -> None:
            self._session.check()
            if dump is not None and dump.done():
                dump.result()  # definitions that cannot be had make the rest pointless: say so now

        context = WorkerContext(
            snapshot=order.run.snapshot,
            read=ReadSpec(
                address=taken.address,
                exported=taken.exported,
                client_encoding=taken.client_encoding,
                application_name=f"holdfast/{order.run.snapshot}",
            ),
            storage=order.run.repository.storage,
            sealer=order.run.repository.sealer,
            level=order.options.compression_level,
            left=order.left,
            parent_xmin=self._ground.parent_xmin,
            rely=self._ground.relied_on,
        )
        capture = Capture(
            CaptureOrder(
                context=context,
                parent=order.parent,
                ground=self._ground,
                jobs=order.options.jobs,
                sizes=Sizes(range_bytes=order.options.range_bytes, chunk_bytes=order.options.chunk_bytes),
                server_version=taken.database.server_version,
                listener=order.listener,
                interrupted=order.interrupted,
                still_alive=still_alive,
            )
        )
        return capture.run(taken.tables, (item.oid for item in taken.large_objects), order.make_executor)


def _fingerprint(seen: str | None, tool: Tool, taken: Taken) -> str | None:
    """What the catalogs say, and how pg_dump is called for them."""
    if seen is None:
        return None
    parts = [seen, str(tool.version), *sorted(map(str, taken.undefinable))]
    return hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest()
