"""A process that dies on purpose while it changes keys: at its n-th step over a folder, by SIGKILL.

Run as a program, it forks one child per order read from standard input (JSON, one a line) and answers with how
the child ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from holdfast.repository.repo import open_repository
from holdfast.repository.secrets import Secrets
from holdfast.storage import Buffer
from holdfast.storage.local import LocalStorage
from holdfast.workflows.keys import add_recipient, remove_key
from holdfast.workflows.rotation import compromised, rotate
from repositories import PASSPHRASE


class Doomed(LocalStorage):
    """A folder in which every change has two steps, before and after; at step `at` the process is killed."""

    def __init__(self, folder: Path, at: int) -> None:
        super().__init__(folder)
        self._left = at

    def _step(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def create(self, name: str, data: Buffer) -> None:
        self._step()
        super().create(name, data)
        self._step()

    def replace(self, name: str, data: Buffer) -> None:
        self._step()
        super().replace(name, data)
        self._step()

    def delete(self, name: str) -> None:
        self._step()
        super().delete(name)
        self._step()


def run(order: dict[str, Any]) -> None:
    secrets = [Secrets(passphrase=PASSPHRASE)]
    storage = Doomed(Path(order["folder"]), order["at"])
    repository = open_repository(storage, secrets[0])
    now = datetime.now(UTC)
    if order["what"] == "rotate":
        rotate(repository, secrets, now=now)
    elif order["what"] == "compromised":
        compromised(repository, ["lost"], secrets, keep=["kit"], now=now)
    elif order["what"] == "remove":
        remove_key(repository, "lost", now=now)
    else:
        add_recipient(repository, order["recipient"], slot="added", label="", now=now)


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(json.loads(line))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        answer = {"killed": os.WIFSIGNALED(status), "exit": os.waitstatus_to_exitcode(status)}
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
