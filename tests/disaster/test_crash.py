"""kill -9 and lost connections at every step of a backup: nothing committed is ever unreadable."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from holdfast.domain.ids import SnapshotId
from holdfast.repository.repo import Repository, open_repository
from holdfast.repository.secrets import Secrets
from holdfast.storage.local import LocalStorage
from holdfast.workflows.listing import list_snapshots
from holdfast.workflows.verify import verify
from postgres_servers import Database
from repositories import PASSPHRASE, make_repository

HERE = Path(__file__).parent


class Doom:
    """The program dying.py, kept running, and a database for it to back up."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "dying.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE.parent.parent / "src")]),
            },
            text=True,
        )

    def send(self, folder: Path, *, at: int = 0, how: str = "kill", full: bool = False) -> None:
        assert self._process.stdin is not None
        order = {"dsn": self.database.dsn, "folder": str(folder), "at": at, "how": how, "full": full}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def order(self, folder: Path, *, at: int = 0, how: str = "kill", full: bool = False) -> dict[str, Any]:
        self.send(folder, at=at, how=how, full=full)
        return self.answer()

    def kill_children(self) -> None:
        listed = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        for pid in listed.split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def doom(make_database: Callable[..., Database]) -> Iterator[Doom]:
    database = make_database(name_prefix="doom")
    database.execute(
        "create table big as select i, md5(i::text) as text from generate_series(1, 60000) i",
        "create table small as select i from generate_series(1, 100) i",
        "create table empty (a int)",
        "select lo_from_bytea(77, 'content')",
    )
    doom = Doom(database)
    yield doom
    doom.close()


def base_repository(folder: Path, doom: Doom) -> Path:
    """A repository with one snapshot, taken before half of the rows changed, and the steps a run takes."""
    base = folder / "base"
    base.mkdir()
    make_repository(LocalStorage(base))
    assert doom.order(base)["exit"] == 0
    doom.database.execute("update big set text = md5(text) where i % 2 = 0")
    return base


def opened(folder: Path) -> Repository:
    return open_repository(LocalStorage(folder), Secrets(passphrase=PASSPHRASE))


def check(folder: Path) -> list[SnapshotId]:
    """Everything that is committed is whole; returns it."""
    repository = opened(folder)
    report = verify(repository, None, level=3)
    assert report.findings == ()
    return [item.summary.snapshot for item in list_snapshots(repository).snapshots]


def test_kill_9_at_every_step_of_a_backup(doom: Doom, tmp_path: Path) -> None:
    """Killed before or after any storage step, the repository is sound, and the next run succeeds.

    Where chunks were finished before the kill, the next run reuses them.
    """
    base = base_repository(tmp_path, doom)
    rehearsal = tmp_path / "rehearsal"
    shutil.copytree(base, rehearsal)
    whole = doom.order(rehearsal, full=True)
    first, last = whole["steps_before"] + 1, whole["steps"]
    assert last - first >= 30
    adopted = committed_in_death = 0
    for at in range(first, last + 1):
        folder = tmp_path / f"at-{at}"
        shutil.copytree(base, folder)
        died = doom.order(folder, at=at, full=True)
        assert died["signal"] == signal.SIGKILL, f"step {at}: {died}"
        after = check(folder)
        # Either the outcome was written before the kill, and the snapshot is there, or it is not: never half.
        committed_in_death += len(after) == 2
        again = doom.order(folder, full=True)
        assert again["exit"] == 0, f"after step {at}: {again}"
        adopted += again["adopted"] is not None and again["reused"] > 0
        assert len(check(folder)) == len(after) + 1
        shutil.rmtree(folder)
    assert adopted >= 5
    assert committed_in_death >= 1


def test_lost_connections_at_every_step_of_a_backup(doom: Doom, tmp_path: Path) -> None:
    """With all its database connections cut at any step, a run fails with exit 6, or had all it needed.

    Nothing half-done is committed, and the next run succeeds.
    """
    base = base_repository(tmp_path, doom)
    rehearsal = tmp_path / "rehearsal"
    shutil.copytree(base, rehearsal)
    whole = doom.order(rehearsal, full=True)
    failures = 0
    for at in range(whole["steps_before"] + 1, whole["steps"] + 1, 2):
        folder = tmp_path / f"at-{at}"
        shutil.copytree(base, folder)
        cut = doom.order(folder, at=at, how="cut", full=True)
        assert cut["exit"] in (0, 6), f"step {at}: {cut}"
        failures += cut["exit"] == 6
        assert len(check(folder)) == (2 if cut["exit"] == 0 else 1)
        again = doom.order(folder, full=True)
        assert again["exit"] == 0, f"after step {at}: {again}"
        assert len(check(folder)) == (3 if cut["exit"] == 0 else 2)
        shutil.rmtree(folder)
    assert failures >= 1


def test_kill_9_at_random_times(doom: Doom, tmp_path: Path) -> None:
    """Killed at a random moment, again and again, without a pause: every commit stands, the rest is reused."""
    base = base_repository(tmp_path, doom)
    chance = random.Random(20261121)
    for _ in range(15):
        before = check(base)
        doom.send(base, full=True)
        delay = chance.uniform(0.02, 0.5)
        killer = threading.Timer(delay, doom.kill_children)
        killer.start()
        answer = doom.answer()
        killer.join()
        after = check(base)
        assert after[: len(before)] == before
        if answer["signal"] is None:
            assert len(after) == len(before) + 1
    assert doom.order(base)["exit"] == 0
