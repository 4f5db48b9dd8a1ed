"""Whatever happens beside a collection, at whichever of its steps: nothing that stands is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import pytest

from holdfast.domain.errors import HoldfastError, RefusedError
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import BlobRef, SnapshotSummary
from holdfast.repository.collecting.rules import CollectionRules
from holdfast.repository.repo import Repository
from holdfast.repository.runs.predecessors import find_predecessors
from holdfast.repository.runs.run import Run
from holdfast.repository.seal import ObjectType
from holdfast.storage import Buffer, ObjectInfo
from holdfast.storage.memory import MemoryStorage
from holdfast.workflows.collect import apply_collection
from holdfast.workflows.holding import add_hold
from holdfast.workflows.listing import list_snapshots
from holdfast.workflows.removal import bury, held, undelete
from holdfast.workflows.verify import verify
from repositories import make_repository
from snapshots import begin, blobs_of, commit, leave, now, take

RULES = CollectionRules(share=1.0)


class Stepping:
    """A storage that counts its steps (all but reading single objects), and does something before one of them."""

    locks = None

    def __init__(self, storage: MemoryStorage, at: int, act: Callable[[], None]) -> None:
        self._storage = storage
        self._at = at
        self._act = act
        self._lock = threading.Lock()
        self.steps = 0
        self.address = storage.address
        self.create_once = storage.create_once

    def _step(self) -> None:
        with self._lock:
            self.steps += 1
            if self.steps == self._at:
                self._act()

    def create(self, name: str, data: Buffer) -> None:
        self._step()
        self._storage.create(name, data)

    def replace(self, name: str, data: Buffer) -> None:
        self._step()
        self._storage.replace(name, data)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        return self._storage.get(name, offset=offset, length=length)

    def stat(self, name: str) -> ObjectInfo:
        self._step()
        return self._storage.stat(name)

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        self._step()
        return self._storage.list(prefix, after=after)

    def delete(self, name: str) -> None:
        self._step()
        self._storage.delete(name)

    def close(self) -> None:
        self._storage.close()


@dataclass(kw_only=True)
class Scene:
    """A repository a grace after its first collection: `removed` is swept unless somebody steps in, `pinned` is
    removed, too, but `run` builds on it, `standing` shares chunks with both. A dead run waits to be reclaimed."""

    repository: Repository
    removed: SnapshotSummary
    pinned: SnapshotSummary
    standing: SnapshotSummary
    run: Run
    known: dict[bytes, BlobRef]

    def through(self, at: int, act: Callable[[], None]) -> tuple[Repository, Stepping]:
        assert isinstance(self.repository.storage, MemoryStorage)
        storage = Stepping(self.repository.storage, at, act)
        return Repository(
            storage=storage, keyring=self.repository.keyring, config=self.repository.config
        ), storage


def make_scene() -> Scene:
    repository = make_repository(MemoryStorage())
    removed = take(repository, {"a": [b"1\n"], "b": [b"2\n"]})
    pinned = take(repository, {"a": [b"1\n"], "b": [b"3\n"]}, on=removed)
    standing = take(repository, {"a": [b"1\n"], "b": [b"4\n"]}, on=pinned, source="other")
    with begin(repository, source="third") as dead:
        leave(dead, b"7\n")
        dead.give_up()
    run = begin(repository)
    assert run.still_stands(pinned.snapshot)
    known = blobs_of(repository, pinned)
    bury(repository, {removed.snapshot: "x", pinned.snapshot: "x"}, by="tests", clock=now)
    for days in (2, 3):
        apply_collection(repository, rules=RULES, clock=_clock(days))
    return Scene(
        repository=repository, removed=removed, pinned=pinned, standing=standing, run=run, known=known
    )


def _clock(days: float) -> Callable[[], datetime]:
    moment = now() + timedelta(days=days)
    return lambda: moment


def _commit(scene: Scene) -> set[SnapshotId]:
    """The run that built on a removed snapshot commits, with chunks of it."""
    with scene.run:
        commit(scene.run, {"a": [b"1\n"], "b": [b"3\n", b"5\n"]}, known=scene.known)
    return {scene.run.snapshot}


def _undelete(scene: Scene) -> set[SnapshotId]:
    try:
        undelete(scene.repository, [scene.removed.snapshot], by="tests", clock=now)
    except HoldfastError:
        return set()
    return {scene.removed.snapshot}


def _hold(scene: Scene) -> set[SnapshotId]:
    try:
        add_hold(
            scene.repository, [scene.removed.snapshot], by="tests", why="x", until=None, clock=_clock(11)
        )
    except HoldfastError:
        return set()
    assert scene.removed.snapshot in held(scene.repository, now())
    return {scene.removed.snapshot}


def _backup(scene: Scene) -> set[SnapshotId]:
    """A whole backup, which builds on whatever parent it finds."""
    repository = scene.repository
    parent = find_predecessors(repository, "other", now=now()).parent
    assert parent == scene.standing
    return {
        take(repository, {"a": [b"1\n"], "b": [b"4\n"], "c": [b"6\n"]}, on=parent, source="other").snapshot
    }


def _adopt(scene: Scene) -> set[SnapshotId]:
    """A run that begins and adopts what it may of the dead one."""
    repository = scene.repository
    identity = repository.sealer.identify(ObjectType.CHUNK, b"7\n")
    predecessors = find_predecessors(repository, "third", now=now())
    with begin(repository, source="third") as run:
        left = run.adopt(predecessors.crashed)
        ref = left.take(repository.storage, repository.sealer, identity, 2)
        commit(run, {"d": [b"7\n"]}, known={} if ref is None else {identity: ref})
    return {run.snapshot}


def _collect(scene: Scene) -> set[SnapshotId]:
    """A second collector, on another host."""
    apply_collection(scene.repository, rules=RULES, clock=_clock(11))
    return set()


def _act(act: Callable[[Scene], set[SnapshotId]], scene: Scene, told: set[SnapshotId]) -> None:
    told.update(act(scene))


@pytest.mark.parametrize("act", [_commit, _undelete, _hold, _backup, _adopt, _collect])
def test_whatever_happens_beside_a_collection_nothing_is_lost(
    act: Callable[[Scene], set[SnapshotId]],
) -> None:
    """At each of its steps somebody else acts; then all that was told to stand is whole, also after the next
    collections, and no register is left of what is gone."""
    at, last, brought_back = 0, 1, 0
    while at < last:
        at += 1
        scene = make_scene()
        told: set[SnapshotId] = set()
        repository, storage = scene.through(at, partial(_act, act, scene, told))
        apply_collection(repository, rules=RULES, clock=_clock(11))
        last = storage.steps
        brought_back += scene.removed.snapshot in told
        expected = {scene.standing.snapshot, *told}
        for days in (None, 12, 20):
            if days is not None:
                apply_collection(scene.repository, rules=RULES, clock=_clock(days))
            listed = {item.summary.snapshot for item in list_snapshots(scene.repository).snapshots}
            assert listed == expected, f"step {at}, day {days}"
            findings = verify(scene.repository, None, level=3).findings
            assert findings == (), f"step {at}, day {days}: {findings}"
    assert last >= 30
    if act in (_undelete, _hold):
        assert 5 <= brought_back < last


def test_a_vanished_snapshot_that_another_collector_cleared_is_no_alarm() -> None:
    """Between reading the journal and listing outcomes, another collector clears a snapshot: nothing is amiss."""
    for at in range(1, 14, 2):
        scene = make_scene()
        repository, _ = scene.through(at, partial(_act, _collect, scene, set()))
        try:
            apply_collection(repository, rules=RULES, clock=_clock(11))
        except RefusedError as error:
            pytest.fail(f"step {at}: {error.message}")
