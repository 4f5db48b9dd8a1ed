"""Key commands that are killed, by a real SIGKILL over a real folder: all still open, and repeating ends well."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyrage
import pytest

from holdfast.repository.repo import open_repository
from holdfast.repository.secrets import Secrets
from holdfast.storage.local import LocalStorage
from holdfast.workflows.key_slots import slots_of
from holdfast.workflows.keys import add_recipient
from holdfast.workflows.verify import verify
from repositories import PASSPHRASE, make_repository
from snapshots import now, take

OURS = Secrets(passphrase=PASSPHRASE)
HERE = Path(__file__).parent

Order = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def ordered() -> Iterator[Order]:
    """`ordered(**order)` runs one child and returns how it ended."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])}
    with subprocess.Popen(
        [sys.executable, str(HERE / "dying_keys.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdin is not None
        answers = process.stdout
        assert answers is not None

        def order(**facts: object) -> dict[str, Any]:
            print(json.dumps(facts), file=process.stdin, flush=True)
            answer: dict[str, Any] = json.loads(answers.readline())
            return answer

        yield order
        process.stdin.close()


@pytest.mark.parametrize("what", ["rotate", "compromised", "remove", "add"])
def test_key_commands_survive_being_killed(what: str, ordered: Order, tmp_path: Path) -> None:
    """At every change that the command makes: passphrase and kit open the newest epoch, and every row is there."""
    identity, lost, added = (pyrage.x25519.Identity.generate() for _ in range(3))
    kit = tmp_path / "kit.txt"
    kit.write_text(f"{identity}\n")
    kit.chmod(0o600)
    original = tmp_path / "original"
    original.mkdir()
    repository = make_repository(LocalStorage(original), recipient=str(identity.to_public()))
    take(repository, {"users": [b"1\tann\n"]})
    add_recipient(repository, str(lost.to_public()), slot="lost", label="", now=now())
    deaths = 0
    for at in range(1, 1000):
        folder = tmp_path / str(at)
        shutil.copytree(original, folder)
        orders = {"what": what, "folder": str(folder), "recipient": str(added.to_public())}
        answer = ordered(**orders, at=at)
        if not answer["killed"]:
            break
        deaths += 1
        for secrets in (OURS, Secrets(identity_file=kit)):
            opened = open_repository(LocalStorage(folder), secrets)
            opened.keyring.sealing()
            found = verify(opened, None, level=3).findings
            assert [item.problem for item in found if "remove it again" not in item.problem] == []
        names = {slot.name for slot in slots_of(opened)}
        is_due = "added" not in names if what == "add" else what == "rotate" or "lost" in names
        assert not is_due or ordered(**orders, at=0) == {"killed": False, "exit": 0}
        final = open_repository(LocalStorage(folder), OURS)
        assert verify(final, None, level=0).findings == ()
        assert ("lost" in {slot.name for slot in slots_of(final)}) == (what in ("rotate", "add"))
    assert answer == {"killed": False, "exit": 0}
    assert deaths >= 4
