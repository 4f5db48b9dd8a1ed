"""One backup run as the repository sees it: announced, kept alive, then committed or left to be adopted.

Order is safety here (docs/FORMAT.md, "Commit"): announce, then look for tombstones; store, then the root, then
the journal, then the outcome, which alone makes the snapshot exist.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from holdfast.domain.errors import HoldfastError, RefusedError
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import BlobRef, Root, SnapshotState, SnapshotSummary
from holdfast.repository import layout
from holdfast.repository.blobs import BlobWriter, md5_of, store_object
from holdfast.repository.outcomes import Aborted, Committed
from holdfast.repository.repo import Repository
from holdfast.repository.reuse import LeftBlobs, find_left_blobs
from holdfast.repository.root_codec import encode_root
from holdfast.repository.seal import ObjectType
from holdfast.repository.writers import HEARTBEAT_SECONDS, WriterRecord, is_dead, this_host

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Predecessors:
    """What a new run of a source may build on: its newest committed snapshot, and dead undecided runs."""

    parent: SnapshotSummary | None
    parent_journal_position: int
    crashed: tuple[WriterRecord, ...]
    alive: tuple[WriterRecord, ...]


def find_predecessors(repository: Repository, source: str, *, now: datetime) -> Predecessors:
    """Look around before a run. Undecided writers of other sources stay out of it, except that in single-writer
    mode any living one is in the way (`Predecessors.alive` names them all)."""
    parent, position = None, 0
    for outcome in repository.committed():
        position = max(position, outcome.journal_position)
        if outcome.summary.source == source:
            parent = outcome.summary
            break
    here = this_host()
    decided = set(repository.outcomes.names())
    crashed, alive = [], []
    for snapshot in sorted(set(repository.writers.names()) - decided):
        record = repository.writers.read(snapshot)
        if not (record.finished or is_dead(record, now=now, here=here)):
            alive.append(record)
        elif record.source == source:
            crashed.append(record)
    return Predecessors(
        parent=parent,
        parent_journal_position=position,
        crashed=tuple(crashed),
        alive=tuple(alive),
    )


class Run:
    """A run in progress. Use as a context manager: leaving it without `commit` leaves the snapshot undecided,
    so that the next run of this source adopts what was stored."""

    def __init__(
        self, repository: Repository, record: WriterRecord, hint: int, *, level: int, clock: Clock
    ) -> None:
        self.repository = repository
        self.record = record
        self._journal_hint = hint
        self._level = level
        self._clock = clock
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="holdfast-heartbeat", daemon=True)
        self.heartbeat_problem: HoldfastError | None = None

    @classmethod
    def begin(
        cls,
        repository: Repository,
        *,
        snapshot: SnapshotId,
        source: str,
        predecessors: Predecessors,
        level: int,
        clock: Clock,
    ) -> Run:
        """Announce the run, naming all it may reuse. The caller then asks `usable_parent` and `left_blobs`."""
        if repository.config.single_writer and predecessors.alive:
            other = predecessors.alive[0]
            raise RefusedError(
                f"snapshot {other.snapshot} of {other.source} is being written by {other.host.name} (process "
                f"{other.host.pid}), and the storage at {repository.address} cannot have two writers",
                hint="wait for it; move to a storage that honours create-once to write at the same time",
            )
        relies_on = {record.snapshot for record in predecessors.crashed}
        for record in predecessors.crashed:
            relies_on.update(record.relies_on)
        if predecessors.parent is not None:
            relies_on.add(predecessors.parent.snapshot)
        now = clock()
        record = WriterRecord(
            snapshot=snapshot,
            source=source,
            host=this_host(),
            started_at=now,
            heartbeat_at=now,
            relies_on=tuple(sorted(relies_on)),
        )
        repository.writers.announce(record)
        return cls(repository, record, predecessors.parent_journal_position, level=level, clock=clock)

    def __enter__(self) -> Run:
        self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._heart.join()

    @property
    def snapshot(self) -> SnapshotId:
        return self.record.snapshot

    def without_tombstone(self, snapshot: SnapshotId) -> bool:
        """Whether a snapshot that this run relies on is still there to stay. Ask after `begin` only."""
        return not any(
            info.name == layout.tombstone(snapshot)
            for info in self.repository.storage.list(layout.tombstone(snapshot))
        )

    def adopt(self, crashed: tuple[WriterRecord, ...]) -> LeftBlobs:
        """Fence the dead runs, and find the chunks that they finished.

        A run that was thought dead but commits first keeps its snapshot; it is not adopted then.
        """
        claims = {}
        decided = set(self.repository.outcomes.names())
        for record in crashed:
            reason = f"found dead by run {self.snapshot}, which may reuse its chunks"
            outcome = self.repository.outcomes.abort(record.snapshot, at=self._clock(), reason=reason)
            if not isinstance(outcome, Aborted):
                continue
            earlier = [item for item in record.relies_on if item in decided and self._was_aborted(item)]
            for snapshot in [*earlier, record.snapshot]:
                if self.without_tombstone(snapshot):
                    claims.update(find_left_blobs(self.repository.storage, snapshot))
        return LeftBlobs(claims)

    def _was_aborted(self, snapshot: SnapshotId) -> bool:
        return isinstance(self.repository.outcomes.read(snapshot), Aborted)

    def table_writer(self) -> BlobWriter:
        """For table manifests and lists of large objects."""
        return BlobWriter(
            self.repository.storage,
            self.repository.sealer,
            lambda: layout.new_table_object(self.snapshot),
            level=self._level,
        )

    def data_writer(self) -> BlobWriter:
        """For chunks, pieces of the definitions and of large objects."""
        return BlobWriter(
            self.repository.storage,
            self.repository.sealer,
            lambda: layout.new_data_object(self.snapshot),
            level=self._level,
        )

    def commit(self, root: Root, *, state: SnapshotState, stored_bytes: int) -> SnapshotSummary:
        """Store the root, write the journal entry, and decide. Raises `FencedError` if the run was given up."""
        root = replace(root, journal_position=self._journal_hint)
        root_ref = self._store_root(root)
        summary = SnapshotSummary(
            snapshot=self.snapshot,
            source=root.source,
            taken_at=root.instant.taken_at,
            state=state,
            tags=root.tags,
            tables=len(root.tables),
            rows=root.rows,
            plain_bytes=root.plain_bytes,
            stored_bytes=stored_bytes + root_ref.object_bytes,
            parent=root.parent,
            root=root_ref,
        )
        now = self._clock()
        position = self.repository.journal.append(
            "committing",
            {"snapshot": self.snapshot, "source": root.source, "root": root_ref.identity.hex()},
            at=now,
            hint=self._journal_hint,
        )
        self.repository.outcomes.commit(
            Committed(snapshot=self.snapshot, at=now, summary=summary, journal_position=position)
        )
        self._stop.set()
        self._heart.join()
        self.repository.writers.retire(self.record, now=self._clock())
        return summary

    def give_up(self) -> None:
        """Say that this run has ended by itself, so that the next one need not wait for silence."""
        self._stop.set()
        self._heart.join()
        ended = replace(self.record, finished=True)
        self.repository.writers.beat(ended, now=self._clock())

    def _store_root(self, root: Root) -> BlobRef:
        sealer, name = self.repository.sealer, layout.root(self.snapshot)
        plaintext = encode_root(root)
        identity = sealer.identify(ObjectType.ROOT, plaintext)
        sealed = sealer.seal_checked(ObjectType.ROOT, plaintext, identity=identity)
        store_object(self.repository.storage, name, sealed)
        return BlobRef(
            object_name=name,
            offset=0,
            length=len(sealed),
            object_bytes=len(sealed),
            object_md5=md5_of(sealed),
            identity=identity,
            plain_bytes=len(plaintext),
        )

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            try:
                self.repository.writers.beat(self.record, now=self._clock())
                self.heartbeat_problem = None
            except HoldfastError as error:
                # Not fatal: the outcome register decides. The workflow says it at the end.
                self.heartbeat_problem = error
