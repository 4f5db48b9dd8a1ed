"""kill -9 at every step of a collection, a removal, an undelete and a hold: repeatable, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from disaster.doom import Doom, check, opened
from holdfast.domain.ids import SnapshotId
from holdfast.repository import layout
from holdfast.repository.collecting.rules import CollectionRules
from holdfast.repository.repo import Repository
from holdfast.repository.runs.predecessors import find_predecessors
from holdfast.repository.seal import ObjectType
from holdfast.storage.local import LocalStorage
from holdfast.workflows.collect import apply_collection
from holdfast.workflows.removal import bury, held
from repositories import make_repository
from snapshots import begin, commit, leave, now, take

RULES = CollectionRules(share=1.0)


def names(repository: Repository, prefix: str = "") -> set[str]:
    return {info.name for info in repository.storage.list(prefix)}


def make_base(folder: Path) -> tuple[Path, SnapshotId, SnapshotId, SnapshotId]:
    """A repository with a removed snapshot, one that shares chunks with it, and a dead run's leftovers, of which
    one was adopted; planned a grace ago. Returns it, the removed one, the standing one and the dead run."""
    base = folder / "base"
    base.mkdir()
    repository = make_repository(LocalStorage(base))
    first = take(repository, {"a": [b"1\n"], "b": [b"2\n"]})
    identity = repository.sealer.identify(ObjectType.CHUNK, b"7\n")
    with begin(repository) as dead:
        for rows in (b"7\n", b"8\n"):
            leave(dead, rows)
        dead.give_up()
    predecessors = find_predecessors(repository, "shop", now=now())
    with begin(repository) as run:
        left = run.adopt(predecessors.crashed)
        adopted = left.take(repository.storage, repository.sealer, identity, 2)
        assert adopted is not None
        known = {identity: adopted}
        for entry, manifest in repository.tables(repository.root(first).tables):
            known[entry.manifest.identity] = entry.manifest
            known.update({chunk.blob.identity: chunk.blob for chunk in manifest.chunks()})
        second = commit(run, {"a": [b"1\n"], "b": [b"7\n"]}, known=known)
    bury(repository, {first.snapshot: "test"}, by="tests", clock=now)
    for days in (2, 3):
        apply_collection(repository, rules=RULES, clock=_clock(days))
    return base, first.snapshot, second.snapshot, dead.snapshot


def _clock(days: float) -> Callable[[], datetime]:
    moment = now() + timedelta(days=days)
    return lambda: moment


def test_kill_9_at_every_step_of_a_collection(doom: Doom, tmp_path: Path) -> None:
    """Killed before or after any storage step, what stands is whole; the next collection finishes the work."""
    base, first, second, dead = make_base(tmp_path)
    expected: set[str] | None = None
    deaths = 0
    for at, folder in doom.deaths(base, "collect", days=11):
        deaths += 1
        assert check(folder) == [second], f"step {at}"
        again = doom.order("collect", folder, days=11.1)
        assert again["exit"] == 0, f"after step {at}: {again}"
        doom.order("collect", folder, days=12)
        assert check(folder) == [second], f"after step {at}"
        repository = opened(folder)
        left = {name for name in names(repository) if first in name or dead in name}
        expected = left if expected is None else expected
        assert left == expected, f"after step {at}"
        assert all(name.startswith(layout.DATA) or "/table/" in name for name in left), left
    assert deaths >= 60


@pytest.mark.parametrize("what", ["undelete", "hold"])
def test_kill_9_at_every_step_of_bringing_back(doom: Doom, tmp_path: Path, what: str) -> None:
    """Killed at any step, the snapshot is either back or still removed; doing it again brings it back whole, and
    no collection takes it away."""
    base, first, second, _ = make_base(tmp_path)
    for at, folder in doom.deaths(base, what, snapshots=[first]):
        stands = check(folder)
        assert stands in ([second], [first, second]), f"step {at}"
        again = doom.order(what, folder, snapshots=[first])
        assert again["exit"] == 0 or (first in stands and what == "undelete"), f"after step {at}: {again}"
        assert doom.order("collect", folder, days=11)["exit"] == 0
        assert check(folder) == [first, second], f"after step {at}"
        assert (first in held(opened(folder), now())) == (what == "hold")


def test_kill_9_at_every_step_of_a_removal(doom: Doom, tmp_path: Path) -> None:
    """Killed at any step, each snapshot is either removed or not; doing it again removes both."""
    base, _, second, _ = make_base(tmp_path)
    third = take(opened(base), {"c": [b"3\n"]}).snapshot
    wanted: Sequence[SnapshotId] = (second, third)
    for at, folder in doom.deaths(base, "bury", snapshots=wanted):
        assert set(check(folder)) <= set(wanted), f"step {at}"
        assert doom.order("bury", folder, snapshots=wanted)["exit"] == 0
        assert check(folder) == []


@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.soak)])
def test_kill_9_at_every_step_of_a_prune(doom: Doom, tmp_path: Path, every: int) -> None:
    """Killed at any step, from judging to the last deletion: what the policy keeps is whole, and the next prunes
    end where one that nobody killed ends."""
    base, _, second, _ = make_base(tmp_path)
    third = take(opened(base), {"c": [b"3\n"]}).snapshot
    ends: set[str] | None = None
    deaths = 0
    for at, folder in doom.deaths(base, "prune", every=every, days=11, keep=1):
        deaths += 1
        stands = check(folder)
        assert stands in ([second, third], [third]), f"step {at}"
        for days in (11.1, 20, 20.1):
            again = doom.order("prune", folder, days=days, keep=1)
            assert again["exit"] == 0, f"after step {at}: {again}"
            assert check(folder) == [third], f"after step {at}"
        left = {name for name in names(opened(folder)) if name.startswith((layout.DATA, "meta/"))}
        ends = left if ends is None else ends
        assert left == ends, f"after step {at}"
    assert deaths * every >= 80
