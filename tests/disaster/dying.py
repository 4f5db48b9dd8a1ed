"""A process that dies on purpose: runs a backup over a storage that, at its n-th step, kills the process or cuts
the database connections.

Run as a program, it forks one child per order read from standard input (JSON, one a line) and answers with how
the child ended. Forking from a process that has imported everything makes a hundred deaths cheap.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from holdfast.domain.errors import HoldfastError
from holdfast.domain.events import Event
from holdfast.postgres.address import ServerAddress
from holdfast.repository.repo import open_repository
from holdfast.repository.secrets import Secrets
from holdfast.storage import Buffer, ObjectInfo, Storage
from holdfast.storage.local import LocalStorage
from holdfast.workflows.backup import BackupOptions, BackupSource, backup
from repositories import PASSPHRASE


class Doomed:
    """A storage in which every verb has two steps, before and after; at step `at`, `strike` is called once."""

    def __init__(self, storage: Storage, at: int, strike: Any) -> None:
        self._storage = storage
        self._at = at
        self._strike = strike
        self._lock = threading.Lock()
        self.steps = 0
        self.create_once = storage.create_once
        self.locks = storage.locks
        self.address = storage.address

    def announced(self, event: Event) -> None:
        """What the run announces is a step too: between locks, reading, definitions and commit."""
        self._step()

    def _step(self) -> None:
        with self._lock:
            self.steps += 1
            struck = self.steps == self._at
        if struck:
            self._strike()

    def create(self, name: str, data: Buffer) -> None:
        self._step()
        self._storage.create(name, data)
        self._step()

    def replace(self, name: str, data: Buffer) -> None:
        self._step()
        self._storage.replace(name, data)
        self._step()

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        self._step()
        data = self._storage.get(name, offset=offset, length=length)
        self._step()
        return data

    def stat(self, name: str) -> ObjectInfo:
        self._step()
        return self._storage.stat(name)

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        self._step()
        return self._storage.list(prefix, after=after)

    def delete(self, name: str) -> None:
        self._step()
        self._storage.delete(name)
        self._step()

    def close(self) -> None:
        self._storage.close()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run(order: dict[str, Any]) -> dict[str, Any]:
    """One backup; returns what it reported, or the error and exit code it ended with."""

    def cut() -> None:
        with psycopg.connect(order["dsn"], autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name like 'holdfast/%' and datname = current_database()"
            )

    storage = Doomed(LocalStorage(Path(order["folder"])), order["at"], die if order["how"] == "kill" else cut)
    storage_steps = storage.steps
    try:
        repository = open_repository(storage, Secrets(passphrase=PASSPHRASE))
        storage_steps = storage.steps
        report = backup(
            BackupSource(name="doomed", address=ServerAddress.parse(order["dsn"])),
            repository,
            options=BackupOptions(jobs=2, full=order.get("full", False)),
            listener=storage.announced,
        )
    except HoldfastError as error:
        return {"exit": error.exit_code, "kind": type(error).__name__, "message": error.message}
    return {
        "exit": 0,
        "snapshot": report.snapshot,
        "reused": report.chunks_reused,
        "adopted": report.adopted,
        "steps_before": storage_steps,
        "steps": storage.steps,
    }


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read_end)
            answer = run(order)
            os.write(write_end, json.dumps(answer).encode())
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
