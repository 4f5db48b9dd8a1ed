"""kill -9 at every step of a copy: the source is untouched, the destination sound, and the next copy succeeds."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

import pytest

from disaster.doom import Doom, opened
from holdfast.domain.ids import SnapshotId
from holdfast.storage.local import LocalStorage
from holdfast.workflows.listing import list_snapshots
from holdfast.workflows.verify import verify
from repositories import make_repository
from snapshots import take

LINES = os.urandom(700_000).hex().encode() + b"\n"


def originals(folder: Path) -> list[SnapshotId]:
    """What the destination holds, every byte of it checked, by the ids of the originals."""
    repository = opened(folder / "far")
    assert verify(repository, None, level=3).findings == ()
    found = [listed.summary.origin for listed in list_snapshots(repository).snapshots]
    return [origin.snapshot for origin in found if origin is not None]


def fingerprint(folder: Path) -> dict[str, str]:
    """The source's snapshots, byte by byte; its journal and its pins may grow."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for prefix in ("config", "keys", "data", "meta", "outcomes")
        for path in sorted(folder.glob(f"{prefix}/**/*") if prefix != "config" else [folder / prefix])
        if path.is_file()
    }


@pytest.fixture
def base(tmp_path: Path, doom: Doom) -> Path:
    """One snapshot in both repositories, and two more in the source, one of which shares a chunk with it."""
    folder = tmp_path / "base"
    for name in ("near", "far"):
        (folder / name).mkdir(parents=True)
        make_repository(LocalStorage(folder / name))
    near = opened(folder / "near")
    take(near, {"same": [LINES], "changed": [b"1\n"]})
    assert doom.order("copy", folder)["states"] == ["copied"]
    take(near, {"same": [LINES], "changed": [b"2\n", os.urandom(700_000).hex().encode() + b"\n"]})
    take(near, {"same": [LINES], "changed": [b"3\n"]})
    return folder


@pytest.mark.parametrize("every", [2, pytest.param(1, marks=pytest.mark.soak)])
def test_kill_9_at_every_step_of_a_copy(doom: Doom, base: Path, every: int) -> None:
    """Killed before or after any write on either side, all that is committed is whole, and the next copy brings
    the rest; where chunks were finished before the kill, it reuses them."""
    whole = doom.rehearse(base, "copy")
    assert whole["states"] == ["copied", "copied"]
    wanted = originals(base.parent / "rehearsal")
    assert len(wanted) == 3
    before = fingerprint(base / "near")
    counts: set[int] = set()
    reused: set[int] = set()
    for at, folder, died in doom.strikes(base, "copy", whole, every=every):
        assert died["signal"] == signal.SIGKILL, f"step {at}: {died}"
        there = originals(folder)
        counts.add(len(there))
        again = doom.order("copy", folder)
        assert again.get("errors") == [], f"after step {at}: {again}"
        assert again["warnings"] == []
        assert originals(folder) == wanted, f"after step {at}"
        assert fingerprint(folder / "near") == before
        assert verify(opened(folder / "near"), None, level=1).findings == ()
        reused.add(again["reused"])
        assert doom.order("copy", folder)["states"] == []
    assert counts == {1, 2, 3}
    assert whole["steps"] >= 40
    assert max(reused) > whole["reused"], "no copy adopted what a killed one had stored"
