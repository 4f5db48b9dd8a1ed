"""A program that dies on purpose. Each line of its standard input is an order (JSON): what to do, `at` which step
to strike (0: never), and what the work needs. A child does it, over storages that count its steps, and at that
step kills itself, or has its database connections cut.

It answers with a line: what the child reported, and the signal that ended it. Forking from a process that has
imported everything makes a hundred deaths cheap.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from holdfast.domain.errors import HoldfastError
from holdfast.domain.ids import parse_snapshot_id
from holdfast.domain.policy import RetentionPolicy
from holdfast.postgres.address import ServerAddress
from holdfast.repository.collecting.rules import CollectionRules
from holdfast.repository.keys.secrets import Secrets
from holdfast.repository.repo import Repository, open_repository
from holdfast.storage.local import LocalStorage
from holdfast.workflows.backup import BackupOptions, BackupSource, backup
from holdfast.workflows.collect import apply_collection
from holdfast.workflows.copy import Errand, copy
from holdfast.workflows.copy_plan import CopySelection
from holdfast.workflows.holding import add_hold
from holdfast.workflows.keys import add_recipient, remove_key
from holdfast.workflows.prune import prune
from holdfast.workflows.removal import bury, undelete
from holdfast.workflows.replicate import ReplicateOptions
from holdfast.workflows.reseal import reseal
from holdfast.workflows.rotation import compromised, rotate
from mortal import Mortal, Steps
from repositories import PASSPHRASE

OURS = Secrets(passphrase=PASSPHRASE)
RULES = CollectionRules(share=1.0)

Order = dict[str, Any]
Answer = dict[str, Any]


class Work:
    """One order being carried out; `before` is how many steps it took to open the repository."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.steps = Steps(self.strike, left=order["at"])
        self.before = 0

    def strike(self) -> None:
        if self.order.get("how") != "cut":
            os.kill(os.getpid(), signal.SIGKILL)
        with psycopg.connect(self.order["dsn"], autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name like 'holdfast/%' and datname = current_database()"
            )

    def open(self, *, reads: bool, place: str = "folder") -> Repository:
        repository = open_repository(
            Mortal(LocalStorage(Path(self.order[place])), self.steps, reads=reads), OURS
        )
        self.before = self.steps.count
        return repository

    def clock(self) -> datetime:
        return datetime.now(UTC) + timedelta(days=self.order.get("days", 0))

    def run(self) -> Answer:
        try:
            done = WORKS[self.order["what"]](self)
        except HoldfastError as error:
            return {"exit": error.exit_code, "kind": type(error).__name__, "message": error.message}
        return {"exit": 0, "before": self.before, "steps": self.steps.count, **done}


def _backup(work: Work) -> Answer:
    """What the run announces is a step, too: between locks, reading, definitions and commit."""
    repository = work.open(reads=True)
    report = backup(
        BackupSource(name="doomed", address=ServerAddress.parse(work.order["dsn"])),
        repository,
        options=BackupOptions(jobs=2, full=work.order.get("full", False)),
        listener=work.steps.add,
    )
    return {"reused": report.chunks_reused, "adopted": report.adopted}


def _copy(work: Work) -> Answer:
    """From the repository at folder/near to the one at folder/far. What it reads in between changes nothing."""
    work.order |= {place: f"{work.order['folder']}/{place}" for place in ("near", "far")}

    @contextmanager
    def opened() -> Iterator[Repository]:
        yield work.open(reads=False, place="far")

    errand = Errand(name="far", open=opened, selection=CopySelection(source="shop"))
    near = work.open(reads=False, place="near")
    report = copy(near, [errand], place="near", options=ReplicateOptions(jobs=2))
    return {
        "states": [result.state.value for result in report.copies],
        "errors": [result.error.message for result in report.failures if result.error],
        "reused": sum(result.chunks_reused for result in report.copies),
        "warnings": list(report.warnings),
        "before": 0,
    }


def _removal(act: Callable[[Repository, Work, list[Any]], object]) -> Callable[[Work], Answer]:
    """What others may do meanwhile matters: looking has its steps, too."""

    def do(work: Work) -> Answer:
        snapshots = [parse_snapshot_id(item) for item in work.order.get("snapshots", ())]
        act(work.open(reads=True), work, snapshots)
        return {}

    return do


def _keys(act: Callable[[Repository, Work], object]) -> Callable[[Work], Answer]:
    def do(work: Work) -> Answer:
        act(work.open(reads=False), work)
        return {}

    return do


WORKS: dict[str, Callable[[Work], Answer]] = {
    "backup": _backup,
    "copy": _copy,
    "collect": _removal(
        lambda repository, work, _: apply_collection(repository, rules=RULES, clock=work.clock)
    ),
    "undelete": _removal(
        lambda repository, work, snapshots: undelete(repository, snapshots, by="tests", clock=work.clock)
    ),
    "hold": _removal(
        lambda repository, work, snapshots: add_hold(
            repository, snapshots, by="tests", why="x", until=None, clock=work.clock
        )
    ),
    "bury": _removal(
        lambda repository, work, snapshots: bury(
            repository, dict.fromkeys(snapshots, "x"), by="tests", clock=work.clock
        )
    ),
    "prune": _removal(
        lambda repository, work, _: prune(
            repository,
            lambda source: RetentionPolicy(keep_last=work.order["keep"]),
            apply=True,
            by="tests",
            rules=RULES,
            clock=work.clock,
        )
    ),
    "rotate": _keys(lambda repository, work: rotate(repository, [OURS], now=work.clock())),
    "compromised": _keys(
        lambda repository, work: compromised(repository, ["lost"], [OURS], keep=["kit"], now=work.clock())
    ),
    "remove": _keys(lambda repository, work: remove_key(repository, "lost", now=work.clock())),
    "add": _keys(
        lambda repository, work: add_recipient(
            repository, work.order["recipient"], slot="added", label="", now=work.clock()
        )
    ),
    "reseal": _keys(
        lambda repository, work: reseal(
            repository, by="tests", clock=work.clock, options=ReplicateOptions(jobs=1)
        )
    ),
}


def main() -> None:
    for line in sys.stdin:
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read_end)
            os.write(write_end, json.dumps(Work(json.loads(line)).run()).encode())
            os._exit(0)
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            text = pipe.read()
        _, status = os.waitpid(child, 0)
        answer = json.loads(text) if text else {}
        answer["signal"] = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
