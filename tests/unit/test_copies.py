"""Copies: the same snapshot in another repository, under other keys; incremental, checked, honest about gaps."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.domain.errors import (
    DamagedError,
    FencedError,
    InterruptedRunError,
    RefusedError,
    StorageFullError,
    UnreachableError,
    UsageError,
)
from holdfast.domain.ids import SnapshotId, make_snapshot_id, moment_of
from holdfast.domain.manifest import Origin, SnapshotState, SnapshotSummary, TableManifest
from holdfast.repository import layout
from holdfast.repository.collecting.rules import CollectionRules
from holdfast.repository.registers.outcomes import Committed
from holdfast.repository.registers.verifications import latest_verdicts
from holdfast.repository.repo import Repository
from holdfast.repository.runs.copies import Holdings, find_base, make_copy_id
from holdfast.repository.runs.predecessors import find_predecessors
from holdfast.repository.runs.run import Run
from holdfast.storage import Buffer, ObjectInfo, Storage
from holdfast.storage.memory import MemoryStorage
from holdfast.storage.memory_locks import MemoryLocks
from holdfast.storage.object_lock import Locking, LockMode, LockPolicy
from holdfast.storage.wrap import Counted, Through
from holdfast.workflows.collect import apply_collection
from holdfast.workflows.copy import Errand, copy
from holdfast.workflows.copy_plan import CopySelection
from holdfast.workflows.copy_report import CopyReport, CopyState
from holdfast.workflows.listing import list_snapshots, resolve
from holdfast.workflows.removal import bury, undelete
from holdfast.workflows.replicate import BeingCopiedError, ReplicateOptions, replicate
from holdfast.workflows.verify import verify
from repositories import make_repository
from snapshots import begin, commit, now, take

BIG = b"".join(b"%d\n" % number for number in range(5000))
RANDOM = os.urandom(3_000_000).hex().encode() + b"\n"
OTHER_RANDOM = os.urandom(3_000_000).hex().encode() + b"\n"
ALWAYS_NEW = 2  # the made-up snapshots differ in their definitions and in one large object


@pytest.fixture
def near() -> Repository:
    return make_repository(MemoryStorage())


@pytest.fixture
def far() -> Repository:
    return make_repository(MemoryStorage())


def over(repository: Repository, storage: Storage) -> Repository:
    """The same repository, reached through another storage."""
    return Repository(storage=storage, keyring=repository.keyring, config=repository.config)


def send(
    near: Repository, *far: Repository, selection: CopySelection | None = None, level: int = 2, jobs: int = 2
) -> CopyReport:
    """Copy to these repositories, called far-0, far-1, …"""

    def opening(repository: Repository) -> Callable[[], AbstractContextManager[Repository]]:
        @contextmanager
        def opened() -> Iterator[Repository]:
            yield repository

        return opened

    errands = [
        Errand(name=f"far-{place}", open=opening(repository), selection=selection or CopySelection())
        for place, repository in enumerate(far)
    ]
    return copy(near, errands, place="near", options=ReplicateOptions(jobs=jobs, verify_level=level))


def only(*snapshots: SnapshotSummary) -> CopySelection:
    return CopySelection(snapshots=tuple(summary.snapshot for summary in snapshots))


def rows_of(repository: Repository, snapshot: SnapshotId) -> dict[str, list[bytes]]:
    """Every chunk of every table, and the definitions and large objects."""
    root = repository.root(repository.summary(snapshot))
    found = {
        entry.name.name: [repository.chunk(chunk.blob) for chunk in repository.table(entry).chunks()]
        for entry in root.tables
    }
    found["definitions"] = [repository.archive(root)]
    found["large objects"] = [
        repository.chunk(piece) for item in repository.large_objects(root) for piece in item.pieces
    ]
    return found


def tables_of(repository: Repository, summary: SnapshotSummary) -> list[TableManifest]:
    return [repository.table(entry) for entry in repository.root(summary).tables]


def copies_in(repository: Repository) -> list[SnapshotSummary]:
    return [listed.summary for listed in list_snapshots(repository).snapshots]


def originals(repository: Repository) -> list[SnapshotId]:
    """What is there, by the ids of the originals, oldest first."""
    return [summary.origin.snapshot for summary in copies_in(repository) if summary.origin is not None]


def require_whole(repository: Repository) -> None:
    assert verify(repository, None, level=3).findings == ()


class Changing(Through):
    """A storage that a test interferes with: `before_create` may raise, or return other bytes or nothing."""

    def __init__(self, inside: Storage, before_create: Callable[[str, bytes], bytes | None]) -> None:
        super().__init__(inside)
        self._before_create = before_create

    def create(self, name: str, data: Buffer) -> None:
        changed = self._before_create(name, bytes(data))
        if changed is not None:
            super().create(name, changed)


class WithoutChecksums(Through):
    """A storage that vouches for no checksum, as a folder."""

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        for info in super().list(prefix, after=after):
            yield ObjectInfo(name=info.name, size_bytes=info.size_bytes, modified_at=info.modified_at)


def test_a_copy_holds_the_same_rows_under_other_keys(near: Repository, far: Repository) -> None:
    """Every row, the definitions and the large objects are the same; no identity is, and both sides are whole."""
    taken = take(near, {"a": [b"1\n", BIG], "b": [], "c": [RANDOM]})
    (result,) = send(near, far).copies
    assert (result.state, result.error) == (CopyState.COPIED, None)
    assert result.copy is not None
    assert rows_of(far, result.copy) == rows_of(near, taken.snapshot)
    mine, theirs = near.root(taken), far.root(far.summary(result.copy))
    assert {entry.manifest.identity for entry in mine.tables}.isdisjoint(
        entry.manifest.identity for entry in theirs.tables
    )
    assert (theirs.sequences, theirs.roles, theirs.coverage) == (mine.sequences, mine.roles, mine.coverage)
    require_whole(near)
    require_whole(far)


def test_a_copy_is_recognisably_the_same_snapshot(near: Repository, far: Repository) -> None:
    """Source, moment, tags and state are the original's; it sorts where the original does, and the original's id,
    or a beginning of it, names it."""
    with begin(near) as run:
        taken = commit(run, {"a": [b"1\n"]}, tags=("weekly",), state=SnapshotState.PARTIAL)
    (result,) = send(near, far).copies
    (found,) = copies_in(far)
    assert found.snapshot == result.copy != taken.snapshot
    assert (found.source, found.taken_at, found.tags) == (taken.source, taken.taken_at, ("weekly",))
    assert found.state is SnapshotState.PARTIAL
    assert moment_of(found.snapshot) == moment_of(taken.snapshot)
    assert found.origin is not None
    assert found.origin.repository == str(near.config.repository_id)
    for wanted in (taken.snapshot, taken.snapshot[:13], found.snapshot, found.snapshot[:13], "latest"):
        assert resolve(far, wanted) == found.snapshot
    with pytest.raises(UsageError):
        resolve(far, taken.snapshot[:-1] + ("0" if taken.snapshot[-1] != "0" else "1"))


def test_unchanged_chunks_are_neither_read_nor_sent(near: Repository, far: Repository) -> None:
    """The second copy sends the one chunk that changed; what did not change does not travel on either side."""
    first = take(near, {"same": [RANDOM], "changed": [b"1\n", b"2\n"]})
    assert send(near, far).copies[0].chunks_reused == 0
    source, destination = Counted(near.storage), Counted(far.storage)
    second = take(near, {"same": [RANDOM], "changed": [b"1\n", b"3\n"]})
    (result,) = send(over(near, source), over(far, destination)).copies
    assert result.copy is not None
    assert (result.chunks_sent, result.chunks_reused) == (1 + ALWAYS_NEW, 2)
    assert destination.traffic()["create"].sent_bytes < 100_000
    assert result.bytes_sent < 100_000
    assert rows_of(far, result.copy) == rows_of(near, second.snapshot)
    roots = [far.root(summary) for summary in copies_in(far)]
    assert roots[0].tables[0].manifest == roots[1].tables[0].manifest, (
        "an unchanged table's manifest was stored"
    )
    assert roots[1].parent == roots[0].snapshot
    assert first.snapshot != second.snapshot
    require_whole(far)


def test_source_bytes_of_unchanged_chunks_stay_where_they_are(near: Repository, far: Repository) -> None:
    """Of a table whose rows are in the base, no data object is fetched from the source."""
    with begin(near) as run:
        first = commit(run, {"same": [RANDOM]})
    send(near, far)
    stale = names(near, layout.data_prefix(first.snapshot))
    take_reusing(near, first)
    for name in stale:
        near.storage.replace(name, b"never read")
    report = send(near, far)
    assert [result.state for result in report.copies] == [CopyState.COPIED]
    require_whole(far)


def names(repository: Repository, prefix: str) -> list[str]:
    return [info.name for info in repository.storage.list(prefix)]


def take_reusing(near: Repository, first: SnapshotSummary) -> SnapshotSummary:
    """A snapshot whose only table is the first one's, manifest and all."""
    root = near.root(first)
    with begin(near) as run:
        again = replace(root, snapshot=run.snapshot, parent=first.snapshot)
        return run.commit(again, state=SnapshotState.COMMITTED, stored_bytes=0)


@pytest.mark.parametrize("fault", ["missing", "short", "altered"])
def test_what_the_destination_lost_is_sent_again(near: Repository, far: Repository, fault: str) -> None:
    """An object of the base that is gone, or not what it was, is no reason to copy a reference to nothing."""
    first = take(near, {"same": [RANDOM], "other": [BIG]})
    (before,) = send(near, far).copies
    assert before.copy is not None
    (chunk,) = far.table(far.root(far.summary(before.copy)).tables[0]).chunks()
    name = chunk.blob.object_name
    data = far.storage.get(name)
    if fault == "missing":
        far.storage.delete(name)
    else:
        far.storage.replace(name, data[:-1] if fault == "short" else data[:-1] + bytes([data[-1] ^ 1]))
    second = take_reusing(near, first)
    (result,) = send(near, far).copies
    assert result.copy is not None
    assert result.chunks_sent == 1
    assert rows_of(far, result.copy) == rows_of(near, second.snapshot)


def test_a_base_of_another_shape_is_not_matched(near: Repository, far: Repository) -> None:
    """A snapshot there that claims to be the same one, but has other rows of the same sizes, lends nothing."""
    first = take(near, {"a": [b"1\n2\n"]})
    other = far.root(take(far, {"a": [b"999\n"]}, source="other"))
    claim = Origin(repository=str(near.config.repository_id), snapshot=first.snapshot, settled=first.snapshot)
    run = Run.begin(
        far,
        snapshot=make_copy_id(first.snapshot, os.urandom(10)),
        source="shop",
        predecessors=find_predecessors(far, "shop", now=now()),
        level=1,
        clock=now,
        copy_of=first.snapshot,
    )
    with run:
        false = replace(other, snapshot=run.snapshot, source="shop", origin=claim)
        run.commit(false, state=SnapshotState.COMMITTED, stored_bytes=0)
    second = take_reusing(near, first)
    (result,) = send(near, far, selection=CopySelection(source="shop")).copies
    assert result.copy is not None
    assert rows_of(far, result.copy)["a"] == rows_of(near, second.snapshot)["a"]


def test_a_damaged_source_is_never_copied_as_good(near: Repository, far: Repository) -> None:
    """An altered object of the source ends its copy with its name, nothing is committed; others go on."""
    take(near, {"a": [b"1\n"]})
    bad = take(near, {"a": [RANDOM]})
    (chunk,) = near.table(near.root(bad).tables[0]).chunks()
    data = bytearray(near.storage.get(chunk.blob.object_name))
    data[-1] ^= 1
    near.storage.replace(chunk.blob.object_name, bytes(data))
    good = take(near, {"a": [b"2\n"]})
    by_id = {result.snapshot: result for result in send(near, far).copies}
    assert by_id[bad.snapshot].state is CopyState.FAILED
    error = by_id[bad.snapshot].error
    assert isinstance(error, DamagedError)
    assert chunk.blob.object_name in error.message
    assert near.address in error.message
    assert by_id[good.snapshot].state is CopyState.COPIED
    assert bad.snapshot not in originals(far)
    assert len(originals(far)) == 2
    require_whole(far)


def test_a_vanished_source_object_is_named_and_nothing_is_committed(
    near: Repository, far: Repository
) -> None:
    """As if a collector had swept under the copy."""
    taken = take(near, {"a": [RANDOM]})
    (chunk,) = near.table(near.root(taken).tables[0]).chunks()
    near.storage.delete(chunk.blob.object_name)
    (result,) = send(near, far).copies
    assert isinstance(result.error, DamagedError)
    assert f"object {chunk.blob.object_name} is missing" in result.error.message
    assert copies_in(far) == []


def test_a_failing_destination_neither_blocks_nor_hides(near: Repository, far: Repository) -> None:
    """With one destination full and one out of reach, the third has everything, and the report names the two."""
    first, second = take(near, {"a": [b"1\n"]}), take(near, {"a": [b"2\n"]})

    def full(name: str, data: bytes) -> bytes:
        if name.startswith(layout.DATA):
            raise StorageFullError("no room left", hint="make room")
        return data

    @contextmanager
    def unreachable() -> Iterator[Repository]:
        raise UnreachableError("connection refused")
        yield

    @contextmanager
    def reachable(repository: Repository) -> Iterator[Repository]:
        yield repository

    no_room = make_repository(MemoryStorage())
    report = copy(
        near,
        [
            Errand(name="gone", open=unreachable, selection=CopySelection()),
            Errand(
                name="full",
                open=lambda: reachable(over(no_room, Changing(no_room.storage, full))),
                selection=CopySelection(),
            ),
            Errand(name="fine", open=lambda: reachable(far), selection=CopySelection()),
        ],
        place="near",
        options=ReplicateOptions(),
    )
    states = [(result.destination, result.snapshot, result.state) for result in report.copies]
    assert states == [
        ("gone", None, CopyState.FAILED),
        ("full", second.snapshot, CopyState.FAILED),
        ("full", first.snapshot, CopyState.SKIPPED),
        ("fine", second.snapshot, CopyState.COPIED),
        ("fine", first.snapshot, CopyState.COPIED),
    ]
    assert {result.destination for result in report.failures} == {"gone", "full"}
    assert copies_in(no_room) == []
    assert len(copies_in(far)) == 2


def test_a_repository_is_not_copied_into_itself(near: Repository) -> None:
    """Two names for one repository are a mistake, and said so."""
    take(near, {"a": []})
    (result,) = send(near, near).copies
    assert isinstance(result.error, UsageError)
    assert len(copies_in(near)) == 1


def test_the_newest_goes_first_and_the_gap_is_filled_later(near: Repository, far: Repository) -> None:
    """A run that ends after the newest copy leaves a gap that the next run knows of and fills, oldest first."""
    taken = [take(near, {"a": [b"%d\n" % number]}) for number in range(5)]
    ids = [summary.snapshot for summary in taken]
    assert [r.snapshot for r in send(near, far, selection=only(*taken[:2])).copies] == ids[:2]
    report = send(near, far, selection=only(taken[4]))
    assert [(item.source, item.snapshots) for item in report.lacking] == [("shop", 2)]
    assert [result.snapshot for result in send(near, far).copies] == ids[2:4]
    assert send(near, far).copies == ()
    taken.append(take(near, {"a": [b"5\n"]}))
    taken.append(take(near, {"a": [b"6\n"]}))
    ids = [summary.snapshot for summary in taken]
    assert [result.snapshot for result in send(near, far).copies] == [ids[6], ids[5]]
    assert originals(far) == ids


def test_looking_for_what_is_lacking_does_not_grow_with_the_history(
    near: Repository, far: Repository
) -> None:
    """With everything settled, the next copy reads as many outcomes of an old history as of a young one."""

    def requests() -> int:
        source, destination = Counted(near.storage), Counted(far.storage)
        take(near, {"a": [b"1\n"]})
        selection = CopySelection(source="shop")
        assert len(send(over(near, source), over(far, destination), selection=selection).copies) == 1
        return source.traffic()["get"].requests + destination.traffic()["get"].requests

    send(near, far)
    requests()
    young = requests()
    for _ in range(20):
        requests()
    assert requests() <= young


def test_what_the_destination_let_go_is_not_sent_again(near: Repository, far: Repository) -> None:
    """Its retention is its own: a removed copy stays removed, unless it is asked for by name."""
    taken = [take(near, {"a": [b"%d\n" % number]}) for number in range(3)]
    done = {result.snapshot: result.copy for result in send(near, far).copies}
    removed = done[taken[1].snapshot]
    assert removed is not None
    far.graves.bury(removed, at=now(), by="a test", reason="a test")
    for everything in (False, True):
        assert send(near, far, selection=CopySelection(everything=everything)).copies == ()
    (again,) = send(near, far, selection=only(taken[1])).copies
    assert again.state is CopyState.COPIED
    assert originals(far) == [summary.snapshot for summary in taken]


def test_snapshots_removed_here_are_not_copied(near: Repository, far: Repository) -> None:
    """A tombstone in the source keeps a snapshot from being copied, and it is no base either."""
    gone, kept = take(near, {"a": [b"1\n"]}), take(near, {"a": [b"2\n"]})
    near.graves.bury(gone.snapshot, at=now(), by="a test", reason="a test")
    assert [result.snapshot for result in send(near, far).copies] == [kept.snapshot]


def test_newest_only_passes_over_the_rest(near: Repository, far: Repository) -> None:
    """A destination of dailies gets the newest, and the ones between are not lacking afterwards."""
    for _ in range(2):
        taken = [take(near, {"a": [b"%d\n" % number]}) for number in range(3)]
        report = send(near, far, selection=CopySelection(newest_only=True))
        assert [result.snapshot for result in report.copies] == [taken[-1].snapshot]
        assert report.lacking == ()
    assert send(near, far).copies == ()
    assert len(send(near, far, selection=CopySelection(everything=True)).copies) == 4


def test_since_means_the_moment_at_which_snapshots_were_taken(near: Repository, far: Repository) -> None:
    """Older ones stay lacking, and the report says how many."""
    taken = [take(near, {"a": []}) for _ in range(4)]
    selection = CopySelection(since=taken[2].taken_at)
    report = send(near, far, selection=selection)
    assert {result.snapshot for result in report.copies} == {taken[2].snapshot, taken[3].snapshot}
    assert [item.snapshots for item in report.lacking] == [2]
    assert len(send(near, far).copies) == 2


def test_sources_are_copied_apart_and_safety_snapshots_stay(near: Repository, far: Repository) -> None:
    """One source's copies are no base for another's, and what a restore replaced is not copied unasked."""
    take(near, {"a": []}, source="shop")
    take(near, {"a": []}, source="office")
    take(near, {"a": []}, source="before-restore-shop")
    assert sorted(r.source or "" for r in send(near, far).copies) == ["office", "shop"]
    only_shop = make_repository(MemoryStorage())
    send(near, only_shop, selection=CopySelection(source="shop"))
    assert [summary.source for summary in copies_in(only_shop)] == ["shop"]


def test_a_copy_of_a_copy_keeps_the_first_origin(near: Repository, far: Repository) -> None:
    """From hand to hand a snapshot stays the same one: back home it is there already."""
    taken = take(near, {"a": [b"1\n"]})
    third = make_repository(MemoryStorage())
    send(near, far)
    (result,) = send(far, third).copies
    (found,) = copies_in(third)
    assert found.origin is not None
    assert (found.origin.repository, found.origin.snapshot) == (
        str(near.config.repository_id),
        taken.snapshot,
    )
    assert resolve(third, taken.snapshot) == result.copy
    assert send(third, near).copies == ()
    (present,) = send(third, near, selection=only(found)).copies
    assert (present.state, present.copy) == (CopyState.PRESENT, taken.snapshot)


def test_a_backup_goes_on_from_a_copy(near: Repository, far: Repository) -> None:
    """Where the primary is lost, the next backup into the copy's repository has the copy as its parent."""
    take(near, {"a": [b"1\n"]})
    newest = take(near, {"a": [b"2\n"]})
    done = {result.snapshot: result.copy for result in send(near, far).copies}
    parent = find_predecessors(far, "shop", now=now()).parent
    assert parent is not None
    assert parent.snapshot == done[newest.snapshot], "an older copy that came later was taken for the newest"


def test_copies_keep_locked_what_they_reuse(near: Repository) -> None:
    """At a destination that locks objects, all of a copy is locked for a period from its commit."""
    today = [now()]
    policy = LockPolicy(mode=LockMode.GOVERNANCE, period=timedelta(days=30), prefixes=layout.LOCKED)
    memory = MemoryStorage()
    locks = MemoryLocks(memory, policy, clock=lambda: today[0])
    far = make_repository(Locking(memory, locks))
    first = take(near, {"same": [RANDOM]})
    send(near, far)
    today[0] += timedelta(days=20)
    take_reusing(near, first)
    (result,) = send(near, far).copies
    assert result.copy is not None
    assert result.chunks_sent == 0
    outcome = far.outcomes.read(result.copy)
    assert isinstance(outcome, Committed)
    assert outcome.locked_until is not None
    chunks = [chunk for table in tables_of(far, outcome.summary) for chunk in table.chunks()]
    for name in {chunk.blob.object_name for chunk in chunks} | {outcome.summary.root.object_name}:
        until = locks.locked_until(name)
        assert until is not None, name
        assert until >= max(outcome.locked_until, today[0] + policy.period), name


def test_what_did_not_arrive_is_not_committed(near: Repository, far: Repository) -> None:
    """A destination that loses an object, cuts it or garbles it is found out before the copy counts."""
    taken = take(near, {"a": [RANDOM]})
    lies = {
        "lost": lambda data: None,
        "cut": lambda data: data[:-1],
        "garbled": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    }
    for name, lie in lies.items():
        told: list[str] = []

        def tell(object_name: str, data: bytes, lie: Callable[[bytes], bytes | None] = lie) -> bytes | None:
            if object_name.startswith(layout.DATA) and not told:  # noqa: B023 - called in this turn of the loop
                told.append(object_name)  # noqa: B023
                return lie(data)
            return data

        for level in (1, 2, 3) if name != "garbled" else (2, 3):
            told.clear()
            lying = Changing(WithoutChecksums(far.storage), tell)
            (result,) = send(near, over(far, lying), level=level, jobs=1).copies
            assert isinstance(result.error, DamagedError), f"{name} at level {level}"
            assert result.error.object_name == told[0]
            assert copies_in(far) == []
    (result,) = send(near, far, selection=only(taken)).copies
    assert result.state is CopyState.COPIED
    require_whole(far)


def test_a_report_claims_no_more_than_was_checked(near: Repository, far: Repository) -> None:
    """Where the storage keeps no checksums, what was sent is read back, but what was there was only listed."""
    silent = over(far, WithoutChecksums(far.storage))
    take(near, {"a": [RANDOM]})
    (first,) = send(near, silent, level=3).copies
    take(near, {"a": [RANDOM]})
    (second,) = send(near, silent, level=3).copies
    take(near, {"a": [RANDOM]})
    (third,) = send(near, far, level=2).copies
    assert (first.level, first.sent_level) == (3, 3)
    assert (second.level, second.sent_level) == (1, 3)
    assert (third.level, third.sent_level) == (2, 2)
    for result in (first, second, third):
        assert result.copy is not None
        verdicts, _ = latest_verdicts(far, [result.copy])
        assert verdicts[result.copy].level == result.level


def test_both_journals_say_what_was_copied(near: Repository, far: Repository) -> None:
    """Health looks there: which copy of which snapshot, from where to where."""
    taken = take(near, {"a": []})
    (result,) = send(near, far).copies
    for repository in (near, far):
        facts = [
            walked.entry.facts
            for walked in repository.journal.walk()
            if walked.entry is not None and walked.entry.kind == "copied"
        ]
        assert facts == [
            {
                "from": str(near.config.repository_id),
                "to": str(far.config.repository_id),
                "copies": [[taken.snapshot, result.copy]],
            }
        ]
        require_whole(repository)


def test_a_copy_that_is_fenced_while_it_sleeps_cannot_commit(near: Repository, far: Repository) -> None:
    """Declared dead by another process, it says so, and the next copy takes another id."""
    take(near, {"a": [b"1\n"]})

    def fence(name: str, data: bytes) -> bytes:
        if name.startswith(layout.OUTCOMES):
            far.outcomes.abort(layout.snapshot_in(name), at=now(), reason="found dead")
        return data

    (result,) = send(near, over(far, Changing(far.storage, fence))).copies
    assert isinstance(result.error, FencedError)
    assert copies_in(far) == []
    assert send(near, far).copies[0].state is CopyState.COPIED
    require_whole(far)


def test_a_copy_that_broke_off_is_taken_up_by_the_next(near: Repository, far: Repository) -> None:
    """Chunks that it stored are opened once and kept; a backup of the same source leaves them alone."""
    take(near, {"a": [RANDOM], "b": [OTHER_RANDOM]})

    def stop(name: str, data: bytes) -> bytes:
        if "/table/" in name:
            raise UnreachableError("cut off")
        return data

    (broken,) = send(near, over(far, Changing(far.storage, stop))).copies
    assert isinstance(broken.error, UnreachableError)
    assert find_predecessors(far, "shop", now=now()).crashed == ()
    counted = Counted(far.storage)
    (result,) = send(near, over(far, counted)).copies
    assert result.chunks_reused >= 2
    assert counted.traffic()["create"].sent_bytes < 100_000
    require_whole(far)


def test_of_two_copiers_the_second_steps_aside(near: Repository, far: Repository) -> None:
    """While one is at it, another refuses in a word; once the first has committed, there is nothing to do."""
    take(near, {"a": [b"1\n"]})
    seen: list[CopyReport] = []

    def look(name: str, data: bytes) -> bytes:
        if name.startswith(layout.DATA) and not seen:
            seen.append(send(near, far))
        return data

    (result,) = send(near, over(far, Changing(far.storage, look))).copies
    assert result.state is CopyState.COPIED
    (other,) = seen[0].copies
    assert isinstance(other.error, BeingCopiedError)
    assert send(near, far).copies == ()
    assert len(copies_in(far)) == 1


def test_a_copy_committed_meanwhile_makes_this_one_needless(near: Repository, far: Repository) -> None:
    """A copier that was thought dead and woke up sees the other's copy right before its own commit."""
    take(near, {"a": [b"1\n"]})
    other: list[CopyReport] = []

    def overtake(name: str, data: bytes) -> bytes:
        if "/table/" in name and not other:
            for snapshot in far.writers.names():
                record = far.writers.read(snapshot)
                far.storage.delete(layout.writer(snapshot))  # it looks dead to the other one
            other.append(send(near, far))
            far.writers.announce(record)
        return data

    (late,) = send(near, over(far, Changing(far.storage, overtake))).copies
    assert other[0].copies[0].state is CopyState.COPIED
    assert (late.state, late.copy) == (CopyState.PRESENT, other[0].copies[0].copy)
    assert len(copies_in(far)) == 1
    require_whole(far)


def test_many_copiers_at_once_leave_whole_copies(near: Repository, far: Repository) -> None:
    """Whoever wins, every copy that is committed is whole, and each snapshot is there."""
    taken = [take(near, {"a": [b"%d\n" % number, BIG]}) for number in range(3)]
    barrier = threading.Barrier(3)
    reports: list[CopyReport] = []

    def run() -> None:
        barrier.wait()
        reports.append(send(near, far))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    send(near, far)
    assert set(originals(far)) == {summary.snapshot for summary in taken}
    for report in reports:
        assert all(isinstance(result.error, RefusedError) for result in report.failures)
    require_whole(far)


def test_what_is_being_copied_is_pinned(near: Repository, far: Repository) -> None:
    """While a copy reads, the source knows of a reader that relies on the snapshot; afterwards it does not."""
    taken = take(near, {"a": [b"1\n"]})
    pinned: list[tuple[SnapshotId, ...]] = []

    def look(name: str, data: bytes) -> bytes:
        pinned.extend(near.writers.read(snapshot).relies_on for snapshot in near.writers.names())
        return data

    send(near, over(far, Changing(far.storage, look)))
    assert set(pinned) == {(taken.snapshot,)}
    assert list(near.writers.names()) == []


def test_a_collection_beside_a_copy_does_not_sweep_under_it(near: Repository, far: Repository) -> None:
    """Removed by retention and collected twice, past every grace, while it is being copied: the copy is whole."""
    gone, _ = take(near, {"a": [RANDOM]}), take(near, {"a": [OTHER_RANDOM]})
    rules = CollectionRules(grace=timedelta(0), share=1.0, silence=timedelta(0))
    begun: list[str] = []

    def collect(name: str, data: bytes) -> bytes:
        if not begun:
            begun.append(name)
            near.graves.bury(gone.snapshot, at=now(), by="a test", reason="a test")
            for _ in range(3):
                apply_collection(near, rules=rules, clock=now)
        return data

    (result,) = send(near, over(far, Changing(far.storage, collect)), selection=only(gone)).copies
    assert (result.state, result.error) == (CopyState.COPIED, None)
    require_whole(far)
    for _ in range(3):
        apply_collection(near, rules=rules, clock=now)
    assert names(near, layout.data_prefix(gone.snapshot)) == [], "the collection would not have swept at all"


def test_an_interrupted_copy_commits_nothing(near: Repository, far: Repository) -> None:
    """Stopped by the operator while chunks travel: nothing is committed, and the next copy reuses them."""
    taken = take(near, {"a": [RANDOM], "b": [OTHER_RANDOM]})
    stop = threading.Event()

    def interrupt(name: str, data: bytes) -> bytes:
        if name.startswith(layout.DATA):
            stop.set()
        return data

    slow = over(far, Changing(far.storage, interrupt))
    options = ReplicateOptions(jobs=1)
    with pytest.raises(InterruptedRunError):
        replicate(near, taken, slow, base=None, options=options, interrupted=stop, clock=now)
    assert copies_in(far) == []
    (result,) = send(near, far).copies
    assert result.chunks_reused >= 1
    require_whole(far)


def test_an_unreadable_outcome_is_reported_and_stops_nothing_else(near: Repository, far: Repository) -> None:
    """On either side: it is named, and what can be copied is."""
    bad = take(near, {"a": [b"1\n"]})
    good = take(near, {"a": [b"2\n"]})
    near.storage.replace(layout.outcome(bad.snapshot), b"rotten")
    report = send(near, far)
    assert [(r.snapshot, r.state) for r in report.copies] == [
        (bad.snapshot, CopyState.FAILED),
        (good.snapshot, CopyState.COPIED),
    ]
    copied = report.copies[1].copy
    assert copied is not None
    far.storage.replace(layout.outcome(copied), b"rotten")
    report = send(near, far, selection=only(good))
    assert report.copies[-1].state is CopyState.COPIED
    named = {r.error.object_name for r in report.copies if isinstance(r.error, DamagedError)}
    assert named == {layout.outcome(bad.snapshot), layout.outcome(copied)}


def test_a_snapshot_can_be_sealed_anew_within_its_repository(near: Repository) -> None:
    """Without a base everything is written again under the current keys, as a compromise of a key asks for."""
    taken = take(near, {"a": [RANDOM]})
    replica = replicate(near, taken, near, base=None, options=ReplicateOptions(), clock=now)
    assert replica.chunks_reused == 0
    assert rows_of(near, replica.summary.snapshot) == rows_of(near, taken.snapshot)
    mine = set(names(near, layout.data_prefix(replica.summary.snapshot)))
    theirs = near.table(near.root(replica.summary).tables[0]).chunks()
    assert {chunk.blob.object_name for chunk in theirs} <= mine
    require_whole(near)


def test_the_base_is_the_next_older_snapshot_in_both(near: Repository, far: Repository) -> None:
    """A gap is filled from its older neighbour; before the first copy, from the nearest newer one."""
    taken = [take(near, {"a": [b"%d\n" % number]}) for number in range(5)]
    send(near, far, selection=only(taken[1], taken[3]))
    here, there = Holdings.of(near), Holdings.of(far)
    expected = {0: 1, 2: 1, 4: 3}
    for place, neighbour in expected.items():
        base = find_base(here, there, taken[place])
        assert base is not None
        assert base.source.snapshot == taken[neighbour].snapshot


def test_ids_of_copies_are_fresh_and_sort_as_the_original() -> None:
    """The moment is the original's to the bit, the rest is chance."""
    moment = datetime(2026, 11, 21, 5, 9, 2, 123_000, tzinfo=UTC)
    for step in range(2000):
        taken = make_snapshot_id(moment + timedelta(milliseconds=step), os.urandom(10))
        made = make_copy_id(taken, os.urandom(10))
        assert made[:10] == taken[:10]
        assert made != taken


def test_a_chain_claims_no_more_than_its_middle_has(near: Repository, far: Repository) -> None:
    """What the middle repository gets late goes on to the last one, although that has newer ones already."""
    last = make_repository(MemoryStorage())
    taken = [take(near, {"a": [b"0\n"]})]
    send(near, far)
    send(far, last)
    taken += [take(near, {"a": [b"%d\n" % number]}) for number in range(1, 4)]
    send(near, far, selection=only(taken[-1]))
    assert len(send(far, last).copies) == 1
    assert len(send(near, far).copies) == 2
    assert len(send(far, last).copies) == 2
    assert originals(last) == [summary.snapshot for summary in taken]
    assert send(far, last).copies == ()


def test_what_comes_from_a_repository_not_known_so_far_is_lacking(near: Repository, far: Repository) -> None:
    """Older snapshots that reach the middle of a chain from elsewhere are sent on, too."""
    last = make_repository(MemoryStorage())
    taken = [take(near, {"a": [b"1\n"]}), take(far, {"a": [b"2\n"]})]
    send(far, last)
    send(near, far)
    assert len(send(far, last, selection=CopySelection(source="shop")).copies) == 1
    assert {item.origin.snapshot for item in copies_in(last) if item.origin is not None} == {
        summary.snapshot for summary in taken
    }


def test_what_was_undeleted_is_lacking(near: Repository, far: Repository) -> None:
    """A snapshot that was removed when newer ones were copied follows once it is back."""
    taken = [take(near, {"a": [b"%d\n" % number]}) for number in range(2)]
    bury(near, {taken[0].snapshot: "a test"}, by="a test", clock=now)
    assert len(send(near, far).copies) == 1
    assert send(near, far).copies == ()
    undelete(near, [taken[0].snapshot], by="a test", clock=now)
    assert [result.snapshot for result in send(near, far).copies] == [taken[0].snapshot]
    taken.append(take(near, {"a": [b"2\n"]}))
    send(near, far)
    assert copies_in(far)[-1].origin == Origin(
        repository=str(near.config.repository_id), snapshot=taken[2].snapshot, settled=taken[2].snapshot
    )


@pytest.mark.parametrize("selection", [CopySelection(), CopySelection(source="shop")])
def test_what_could_not_be_read_is_lacking_once_it_can(
    near: Repository, far: Repository, selection: CopySelection
) -> None:
    """Each run names the damaged outcome, and copies what lies behind it as soon as it is healed."""
    taken = [take(near, {"a": [b"%d\n" % number]}) for number in range(3)]
    send(near, far, selection=only(taken[0]))
    name = layout.outcome(taken[1].snapshot)
    sound = near.storage.get(name)
    near.storage.replace(name, b"rotten")
    states = [[result.state for result in send(near, far, selection=selection).copies] for _ in range(2)]
    assert states == [[CopyState.FAILED, CopyState.COPIED], [CopyState.FAILED]]
    near.storage.replace(name, sound)
    assert [item.snapshot for item in send(near, far, selection=selection).copies] == [taken[1].snapshot]
    assert originals(far) == [summary.snapshot for summary in taken]


def test_what_was_undecided_is_lacking_once_it_is_committed(near: Repository, far: Repository) -> None:
    """A backup that began before a newer one was copied, and ends after that."""
    with begin(near) as slow:
        take(near, {"a": [b"1\n"]})
        assert len(send(near, far).copies) == 1
        late = commit(slow, {"a": [b"2\n"]})
    assert [result.snapshot for result in send(near, far).copies] == [late.snapshot]


def test_runs_that_copy_several_settle_them_too(near: Repository, far: Repository) -> None:
    """Copies that the destination let go and collected stay away, however many came in one run."""
    rules = CollectionRules(grace=timedelta(0), share=1.0, silence=timedelta(0))
    for _ in range(2):
        for number in range(3):
            take(near, {"a": [b"%d\n" % number]})
        assert len(send(near, far).copies) == 3
    old = [summary.snapshot for summary in copies_in(far)][:4]
    bury(far, dict.fromkeys(old, "a test"), by="a test", clock=now)
    for _ in range(3):
        apply_collection(far, rules=rules, clock=now)
    assert len(list(far.outcomes.names())) == 2
    new = [take(near, {"a": [b"%d\n" % number]}).snapshot for number in range(2)]
    assert {result.snapshot for result in send(near, far).copies} == set(new)


def test_a_source_that_is_not_there_is_a_failure(near: Repository, far: Repository) -> None:
    """A misspelt source is not a copy of nothing that went well."""
    take(near, {"a": [b"1\n"]})
    (result,) = send(near, far, selection=CopySelection(source="shpo")).failures
    assert isinstance(result.error, UsageError)
    assert "'shpo'" in result.error.message
    assert "shop" in str(result.error.hint)


def test_a_removed_snapshot_is_no_base_and_a_base_is_pinned(near: Repository, far: Repository) -> None:
    """What a collection may be deleting is not read, and what is read is not deleted."""
    taken = [take(near, {"a": [b"%d\n" % number]}) for number in range(3)]
    send(near, far, selection=only(*taken[:2]))
    bury(near, {taken[1].snapshot: "a test"}, by="a test", clock=now)
    base = find_base(Holdings.of(near), Holdings.of(far), taken[2])
    assert base is not None
    assert base.source.snapshot == taken[0].snapshot
    pinned: set[SnapshotId] = set()

    def look(name: str, data: bytes) -> bytes:
        for snapshot in near.writers.names():
            pinned.update(near.writers.read(snapshot).relies_on)
        return data

    send(near, over(far, Changing(far.storage, look)))
    assert pinned == {taken[0].snapshot, taken[2].snapshot}


def test_an_original_names_the_copy_that_stands(near: Repository, far: Repository) -> None:
    """Of several copies of one snapshot those that were removed are not meant."""
    taken = take(near, {"a": [b"1\n"]})
    for _ in range(6):
        (result,) = send(near, far, selection=only(taken)).copies
        assert result.copy is not None
        assert resolve(far, taken.snapshot) == result.copy
        bury(far, {result.copy: "a test"}, by="a test", clock=now)
