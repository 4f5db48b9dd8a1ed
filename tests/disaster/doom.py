"""The program dying.py, kept running, and what it leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from holdfast.domain.ids import SnapshotId
from holdfast.repository.keys.secrets import Secrets
from holdfast.repository.repo import Repository, open_repository
from holdfast.storage.local import LocalStorage
from holdfast.workflows.listing import list_snapshots
from holdfast.workflows.verify import verify
from program import SOURCE_FOLDER
from repositories import PASSPHRASE

HERE = Path(__file__).parent


class Doom:
    """Gives orders: each is carried out by a process of its own, which dies where it is told to."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "dying.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(SOURCE_FOLDER)])},
            text=True,
        )

    def send(self, what: str, folder: Path, *, at: int = 0, **facts: Any) -> None:
        """Begin; `at` which step to die, never if 0."""
        order = {"what": what, "folder": str(folder), "at": at, **facts}
        print(json.dumps(order), file=self._process.stdin, flush=True)

    def answer(self) -> dict[str, Any]:
        """How what was begun has ended."""
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def order(self, what: str, folder: Path, *, at: int = 0, **facts: Any) -> dict[str, Any]:
        self.send(what, folder, at=at, **facts)
        return self.answer()

    def rehearse(self, base: Path, what: str, **facts: Any) -> dict[str, Any]:
        """The whole of it, in a copy of `base` that is left beside it as `rehearsal`."""
        shutil.copytree(base, base.parent / "rehearsal")
        whole = self.order(what, base.parent / "rehearsal", **facts)
        assert whole["exit"] == 0, whole
        return whole

    def strikes(
        self, base: Path, what: str, whole: dict[str, Any], *, every: int = 1, **facts: Any
    ) -> Iterator[tuple[int, Path, dict[str, Any]]]:
        """For each step of `whole`, the last first: a copy of `base` after it was struck there, and the answer."""
        for at in range(whole["steps"], whole["before"], -every):
            folder = base.parent / f"at-{at}"
            shutil.copytree(base, folder)
            yield at, folder, self.order(what, folder, at=at, **facts)
            shutil.rmtree(folder)

    def deaths(self, base: Path, what: str, *, every: int = 1, **facts: Any) -> Iterator[tuple[int, Path]]:
        """For each step that the order takes, or every so many-th: a copy of `base` where it was killed there."""
        whole = self.rehearse(base, what, **facts)
        for at, folder, died in self.strikes(base, what, whole, every=every, **facts):
            assert died["signal"] == signal.SIGKILL, f"step {at}: {died}"
            yield at, folder

    def kill_children(self) -> None:
        listed = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        for pid in listed.split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def close(self) -> None:
        self._process.communicate()


def opened(folder: Path) -> Repository:
    return open_repository(LocalStorage(folder), Secrets(passphrase=PASSPHRASE))


def check(folder: Path) -> list[SnapshotId]:
    """Everything that stands is whole, every byte of it read; returns it."""
    repository = opened(folder)
    assert verify(repository, None, level=3).findings == ()
    return [item.summary.snapshot for item in list_snapshots(repository).snapshots]
