"""kill -9 at every step of a copy: the source is untouched, the destination sound, and the next copy succeeds."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.domain.ids import SnapshotId
from holdfast.repository.repo import Repository, open_repository
from holdfast.repository.secrets import Secrets
from holdfast.storage.local import LocalStorage
from holdfast.workflows.listing import list_snapshots
from holdfast.workflows.verify import verify
from repositories import PASSPHRASE, make_repository
from snapshots import take

HERE = Path(__file__).parent
LINES = os.urandom(700_000).hex().encode() + b"\n"


class Doom:
    """The program dying_copy.py, kept running."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "dying_copy.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE.parent.parent / "src")]),
            },
            text=True,
        )

    def order(self, folder: Path, *, at: int = 0) -> dict[str, Any]:
        """Copy from folder/near to folder/far; die right after the write numbered `at`, never if 0."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"near": str(folder / "near"), "far": str(folder / "far"), "at": at}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


@pytest.fixture
def doom() -> Iterator[Doom]:
    doom = Doom()
    yield doom
    doom.close()


def opened(folder: Path) -> Repository:
    return open_repository(LocalStorage(folder), Secrets(passphrase=PASSPHRASE))


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
    assert doom.order(folder)["states"] == ["copied"]
    take(near, {"same": [LINES], "changed": [b"2\n", os.urandom(700_000).hex().encode() + b"\n"]})
    take(near, {"same": [LINES], "changed": [b"3\n"]})
    return folder


def test_kill_9_at_every_step_of_a_copy(doom: Doom, base: Path, tmp_path: Path) -> None:
    """Killed after any write on either side, all that is committed is whole, and the next copy brings the
    rest; where chunks were finished before the kill, it reuses them."""
    rehearsal = tmp_path / "rehearsal"
    shutil.copytree(base, rehearsal)
    whole = doom.order(rehearsal)
    assert whole["states"] == ["copied", "copied"]
    wanted = originals(rehearsal)
    assert len(wanted) == 3
    before = fingerprint(base / "near")
    counts: set[int] = set()
    reused: set[int] = set()
    for at in range(1, whole["writes"] + 1):
        folder = tmp_path / f"at-{at}"
        shutil.copytree(base, folder)
        died = doom.order(folder, at=at)
        assert died["signal"] == signal.SIGKILL, f"write {at}: {died}"
        there = originals(folder)
        counts.add(len(there))
        again = doom.order(folder)
        assert again.get("errors") == [], f"after write {at}: {again}"
        assert again["warnings"] == []
        assert originals(folder) == wanted, f"after write {at}"
        assert fingerprint(folder / "near") == before
        assert verify(opened(folder / "near"), None, level=1).findings == ()
        reused.add(again["reused"])
        assert doom.order(folder)["states"] == []
        shutil.rmtree(folder)
    assert counts == {1, 2, 3}
    assert whole["writes"] >= 20
    assert max(reused) > whole["reused"], "no copy adopted what a killed one had stored"
