"""One backup run as the repository sees it: announced, kept alive, then committed or left to be adopted.

Order is safety here (docs/FORMAT.md, "Commit"): announce, then look for tombstones; store, then the root, then
the journal, then the outcome, which alone makes the snapshot exist.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import datetime

from holdfast.domain.errors import (
    DamagedError,
    HoldfastError,
    ObjectMissingError,
    RefusedError,
)
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import BlobRef, Root, SnapshotState, SnapshotSummary
from holdfast.repository import layout
from holdfast.repository.blobs import BlobWriter, md5_of, store_object
from holdfast.repository.registers.heads import Head
from holdfast.repository.registers.outcomes import Aborted, Committed
from holdfast.repository.registers.writers import (
    HEARTBEAT_SECONDS,
    WriterRecord,
    this_host,
)
from holdfast.repository.repo import Repository
from holdfast.repository.root_codec import encode_root
from holdfast.repository.runs.company import refuse_company, refuse_company_of
from holdfast.repository.runs.locking import keep_locked
from holdfast.repository.runs.predecessors import Predecessors
from holdfast.repository.runs.reuse import LeftBlobs, find_left_blobs, list_sizes
from holdfast.repository.seal import ObjectType

Clock = Callable[[], datetime]
KEEP_EARLIER = 32
"""Of how many earlier crashed runs, at most, chunks may still be adopted: failures in a row must not add up."""


_running_here: set[SnapshotId] = set()


def is_running_here(snapshot: SnapshotId) -> bool:
    """Whether this very process is writing that snapshot: what its own record cannot tell after a failure to end
    it (a full disk)."""
    return snapshot in _running_here


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
        self._notes: list[str] = []
        self._in_journal = False
        self._locks_began: datetime | None = None
        self._locked_until: datetime | None = None

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
        copy_of: SnapshotId | None = None,
    ) -> Run:
        """Announce the run, naming all it may reuse. The caller then asks `still_stands` and `adopt`.

        `copy_of`: the run brings in a copy of the snapshot with that id.
        """
        if repository.config.single_writer:
            refuse_company(repository, predecessors.alive, predecessors.unreadable)
        relies_on = {record.snapshot for record in predecessors.crashed}
        for record in predecessors.crashed:
            relies_on.update(sorted(record.relies_on)[-KEEP_EARLIER:])
        if predecessors.parent is not None:
            relies_on.add(predecessors.parent.snapshot)
        # Asked first: where no lock can be kept, the run must end before it has written anything.
        locks_began = None if repository.storage.locks is None else repository.storage.locks.now()
        now = clock()
        record = WriterRecord(
            snapshot=snapshot,
            source=source,
            host=this_host(),
            started_at=now,
            heartbeat_at=now,
            relies_on=tuple(sorted(relies_on)),
            copy_of=copy_of,
        )
        _running_here.add(snapshot)
        try:
            repository.writers.announce(record)
            if repository.config.single_writer:
                _require_alone(repository, record, clock)
        except BaseException:
            _running_here.discard(snapshot)
            raise
        run = cls(repository, record, predecessors.parent_journal_position, level=level, clock=clock)
        run._locks_began = locks_began
        passed_over = (*predecessors.unreadable, *predecessors.damaged)
        run._notes += [f"passed over: {error.message}" for error in passed_over]
        return run

    def __enter__(self) -> Run:
        self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        _running_here.discard(self.snapshot)
        self._stop.set()
        self._heart.join()

    @property
    def snapshot(self) -> SnapshotId:
        return self.record.snapshot

    @property
    def warnings(self) -> tuple[str, ...]:
        """What went wrong beside the run itself, for the report."""
        problem = self.heartbeat_problem
        return (*self._notes, *([f"the heartbeat failed: {problem.message}"] if problem else []))

    def without_tombstone(self, snapshot: SnapshotId) -> bool:
        """Whether a crashed run that this run relies on may be adopted. Ask after `begin` only."""
        return not self.repository.graves.is_buried(snapshot)

    def still_stands(self, snapshot: SnapshotId) -> bool:
        """Whether a snapshot that this run relies on is there to stay. Ask after `begin` only.

        The tombstone first, then the outcome: a collector that has swept removes them the other way round.
        """
        if not self.without_tombstone(snapshot):
            return False
        try:
            return isinstance(self.repository.outcomes.read(snapshot), Committed)
        except DamagedError as error:
            if isinstance(error.__cause__, ObjectMissingError):
                return False
            raise

    def adopt(self, crashed: tuple[WriterRecord, ...]) -> LeftBlobs:
        """Fence the dead runs, and find the chunks that they finished; of runs before those, only what this run
        announced to rely on, since a collection spares nothing else.

        A run that was thought dead but commits first keeps its snapshot; it is not adopted then.
        """
        claims = {}
        announced = set(self.repository.outcomes.names()).intersection(self.record.relies_on)
        for record in crashed:
            reason = f"found dead by run {self.snapshot}, which may reuse its chunks"
            outcome = self.repository.outcomes.abort(record.snapshot, at=self._clock(), reason=reason)
            if not isinstance(outcome, Aborted):
                continue
            earlier = [item for item in record.relies_on if item in announced and self._was_aborted(item)]
            for snapshot in [*earlier, record.snapshot]:
                if self.without_tombstone(snapshot):
                    claims.update(find_left_blobs(self.repository.storage, snapshot))
        return LeftBlobs(claims)

    def _was_aborted(self, snapshot: SnapshotId) -> bool:
        """Not if its outcome cannot be read: what it left is not adopted then."""
        try:
            return isinstance(self.repository.outcomes.read(snapshot), Aborted)
        except DamagedError:
            return False

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

    def keep_locked(
        self, names: Iterable[str], *, base: SnapshotId | None, adopted: Collection[SnapshotId] = ()
    ) -> None:
        """Where objects are locked: see that all `names`, which the snapshot refers to, stay so for a period.

        `base`: the snapshot that the reused ones belong to, but for those of `adopted` runs. Call it before
        `commit`; without it, the next run knows of no locks and extends all that it reuses.
        """
        if self._locks_began is not None:
            self._locked_until = keep_locked(
                self.repository.storage,
                self.repository.outcomes,
                names,
                own=self.snapshot,
                began=self._locks_began,
                base=base,
                adopted=adopted,
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
            origin=root.origin,
        )
        now = self._clock()
        self._in_journal = True
        position = self.repository.journal.append(
            "committing",
            {"snapshot": self.snapshot, "source": root.source, "root": root_ref.identity.hex()},
            at=now,
            hint=self._journal_hint,
        )
        self.repository.outcomes.commit(
            Committed(
                snapshot=self.snapshot,
                at=now,
                summary=summary,
                journal_position=position,
                locked_until=self._locked_until,
            )
        )
        self._stop.set()
        self._heart.join()
        try:
            self._point_head(root.source)
            self.repository.writers.retire(self.record, now=self._clock())
        except HoldfastError as error:
            # The outcome decides, and it stands.
            self._notes.append(f"the snapshot is committed, but not all was tidied up: {error.message}")
        return summary

    def _point_head(self, source: str) -> None:
        """A copy of an older snapshot may come after a newer one; then the head stays where it is."""
        if self.record.copy_of is not None:
            before = self.repository.heads.find(source)
            if before is not None and before > self.snapshot:
                return
        self.repository.heads.point(Head(source=source, snapshot=self.snapshot))

    def withdraw(self) -> None:
        """End a run that was announced and never entered: it leaves no trace."""
        _running_here.discard(self.snapshot)
        self.repository.writers.retire(self.record, now=self._clock())

    def give_up(self) -> None:
        """Say that this run has ended by itself, so that the next one need not wait for silence; one that has
        stored nothing leaves no trace."""
        self._stop.set()
        self._heart.join()
        # What the journal names needs a record or an outcome: without either it would pass for taken away.
        if not self._in_journal and not list_sizes(self.repository.storage, [self.snapshot]):
            self.repository.writers.retire(self.record, now=self._clock())
            return
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


def _require_alone(repository: Repository, record: WriterRecord, clock: Clock) -> None:
    """Look again after the record is there: of two that begin at once, at least one sees the other."""
    try:
        refuse_company_of(repository, record.snapshot, clock=clock)
    except RefusedError:
        repository.writers.retire(record, now=clock())
        raise
