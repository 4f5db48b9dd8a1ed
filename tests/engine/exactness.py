"""What the tests of exact incremental reading share: one instant, captured twice, compared chunk by chunk."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

from bench.manifests import entry_of, root_of

from holdfast.domain.events import ignore
from holdfast.domain.ids import make_snapshot_id
from holdfast.domain.manifest import ArchiveRef, Root
from holdfast.domain.proof import Position
from holdfast.domain.tables import QualifiedName
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.copy import ReadSpec
from holdfast.postgres.session import Selection, Taken, open_source
from holdfast.repository import layout
from holdfast.repository.repo import Repository
from holdfast.repository.runs.reuse import LeftBlobs, list_sizes
from holdfast.storage.memory import MemoryStorage
from holdfast.workflows.basis import Ground, find_ground
from holdfast.workflows.capture import Capture, Captured, CaptureOrder
from holdfast.workflows.parent import Parent
from holdfast.workflows.parts import WorkerContext
from holdfast.workflows.plan import Sizes
from postgres_servers import Database
from repositories import make_repository

# First and last page, rows, and the identity of each chunk.
Content = dict[QualifiedName, list[tuple[int, int | None, int, tuple[bytes, ...]]]]


class Chain:
    """Snapshots of one database, each built on the one before, each compared with a full reading."""

    def __init__(
        self, database: Database, *, range_bytes: int = 16 * 1024, chunk_bytes: int = 2 * 1024
    ) -> None:
        self._database = database
        self._sizes = Sizes(range_bytes=range_bytes, chunk_bytes=chunk_bytes)
        self._repository: Repository = make_repository(MemoryStorage())
        self._parent = Parent()
        self.ground: Ground | None = None
        self.taken: Taken | None = None

    def snapshot(
        self,
        *,
        full: bool = False,
        before_parent: Callable[[Root], Root] = lambda root: root,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Captured:
        """Take the next snapshot, and check it against reading everything under the same exported snapshot.

        `before_parent` may falsify what is known of the parent. `meanwhile` runs after the snapshot was exported.
        """
        snapshot = make_snapshot_id(datetime.now(UTC), os.urandom(10))
        parent = self._parent
        if parent.root is not None:
            parent = replace(parent, root=before_parent(parent.root))
        address = ServerAddress.parse(self._database.dsn)
        with open_source(address, snapshot=snapshot, lock_timeout_seconds=5.0) as session:
            taken = session.take(Selection())
            meanwhile()
            now = Position(
                lineage=taken.lineage, instant=taken.instant, server_version=taken.database.server_version
            )
            ground = find_ground(parent, now, full=full, full_every_days=7)
            nothing = Ground(reason="to compare", read_in_full_at=taken.instant.taken_at)
            everything = self._capture(taken, nothing, parent)
            captured = self._capture(taken, ground, parent)
        self.ground, self.taken = ground, taken
        assert content_of(captured) == content_of(everything)
        self._parent = self._as_parent(taken, ground, captured)
        return captured

    def _capture(self, taken: Taken, ground: Ground, parent: Parent) -> Captured:
        snapshot = make_snapshot_id(datetime.now(UTC), os.urandom(10))
        context = WorkerContext(
            snapshot=snapshot,
            read=ReadSpec(
                address=taken.address,
                exported=taken.exported,
                client_encoding=taken.client_encoding,
                application_name=f"holdfast/{snapshot}",
            ),
            storage=self._repository.storage,
            sealer=self._repository.sealer,
            level=1,
            left=LeftBlobs({}),
            parent_xmin=ground.parent_xmin,
            rely=ground.relied_on,
        )
        order = CaptureOrder(
            context=context,
            parent=parent,
            ground=ground,
            jobs=1,
            sizes=self._sizes,
            server_version=taken.database.server_version,
            listener=ignore,
            interrupted=threading.Event(),
            still_alive=lambda: None,
        )
        return Capture(order).run(taken.tables, (), ThreadPoolExecutor)

    def _as_parent(self, taken: Taken, ground: Ground, captured: Captured) -> Parent:
        tables = {manifest.name: manifest for manifest in captured.manifests}
        named = {chunk.blob.object_name for manifest in tables.values() for chunk in manifest.chunks()}
        bare = root_of(
            snapshot=make_snapshot_id(datetime.now(UTC), os.urandom(10)),
            source="exactness",
            parent=None,
            at=taken.instant.taken_at,
            archive=ArchiveRef(pieces=(), size_bytes=0, tool_version=""),
            # Their manifests are not stored in these tests: any reference will do.
            tables=(
                entry_of(manifest, next(manifest.chunks()).blob)
                for manifest in captured.manifests
                if manifest.ranges[0].chunks
            ),
        )
        root = replace(
            bare,
            lineage=taken.lineage,
            instant=taken.instant,
            database=taken.database,
            read_in_full_at=ground.read_in_full_at,
        )
        sizes = list_sizes(self._repository.storage, {layout.snapshot_in(name) for name in named})
        return Parent(root=root, tables=tables, sizes=sizes)


def content_of(captured: Captured) -> Content:
    return {
        manifest.name: [
            (
                record.pages.first,
                record.pages.end,
                record.rows,
                tuple(chunk.blob.identity for chunk in record.chunks),
            )
            for record in manifest.ranges
        ]
        for manifest in captured.manifests
    }


def reading_of(captured: Captured, table: str) -> tuple[int, int, str]:
    """Ranges that were read, ranges that were proven unchanged, and why it was read in full."""
    found = next(reading for reading in captured.readings if reading.name.name == table)
    return found.ranges_read, found.ranges_unchanged, found.reason
