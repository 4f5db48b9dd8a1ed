"""A process that dies on purpose while it copies: right after the n-th write to either repository it kills itself.
What it reads in between changes nothing, so these are all the states in which a death can leave the two.

Run as a program, it forks one child per order read from standard input (JSON, one a line), as dying.py does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from holdfast.domain.errors import HoldfastError
from holdfast.repository.repo import Repository, open_repository
from holdfast.repository.secrets import Secrets
from holdfast.storage import Buffer, Storage
from holdfast.storage.local import LocalStorage
from holdfast.storage.wrap import Through
from holdfast.workflows.copy import Errand, copy
from holdfast.workflows.copy_plan import CopySelection
from holdfast.workflows.copy_report import CopyReport
from holdfast.workflows.replicate import ReplicateOptions
from repositories import PASSPHRASE


class Writes:
    """How many writes there were, in both repositories together; the one numbered `fatal` is the last."""

    def __init__(self, fatal: int) -> None:
        self._fatal = fatal
        self._lock = threading.Lock()
        self.count = 0

    def add(self) -> None:
        with self._lock:
            self.count += 1
            if self.count == self._fatal:
                os.kill(os.getpid(), signal.SIGKILL)


class Deadly(Through):
    """Tells of every write that was done."""

    def __init__(self, inside: Storage, writes: Writes) -> None:
        super().__init__(inside)
        self._writes = writes

    def create(self, name: str, data: Buffer) -> None:
        super().create(name, data)
        self._writes.add()

    def replace(self, name: str, data: Buffer) -> None:
        super().replace(name, data)
        self._writes.add()

    def delete(self, name: str) -> None:
        super().delete(name)
        self._writes.add()


def run_copy(near: Storage, far: Storage) -> CopyReport:
    """Bring the repository at `far` what it lacks of the one at `near`."""

    @contextmanager
    def opened() -> Iterator[Repository]:
        yield open_repository(far, Secrets(passphrase=PASSPHRASE))

    repository = open_repository(near, Secrets(passphrase=PASSPHRASE))
    errand = Errand(name="far", open=opened, selection=CopySelection(source="shop"))
    return copy(repository, [errand], place="near", options=ReplicateOptions(jobs=2))


def run(order: dict[str, Any]) -> dict[str, Any]:
    """One copy; returns what it reported, or the error it ended with."""
    writes = Writes(order["at"])
    near = Deadly(LocalStorage(Path(order["near"])), writes)
    far = Deadly(LocalStorage(Path(order["far"])), writes)
    try:
        report = run_copy(near, far)
    except HoldfastError as error:
        return {"error": error.message}
    return {
        "writes": writes.count,
        "states": [result.state.value for result in report.copies],
        "errors": [result.error.message for result in report.failures if result.error],
        "reused": sum(result.chunks_reused for result in report.copies),
        "warnings": list(report.warnings),
    }


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read_end)
            os.write(write_end, json.dumps(run(order)).encode())
            os._exit(0)
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            answer_text = pipe.read()
        _, status = os.waitpid(child, 0)
        answer = json.loads(answer_text) if answer_text else {}
        answer["signal"] = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
