"""A process that collects, undeletes or holds over a storage that kills it at its n-th step.

Run as a program, it forks one child per order read from standard input (JSON, one a line) and answers with how
the child ended.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from disaster.dying import Doomed, die
from holdfast.domain.errors import HoldfastError
from holdfast.domain.ids import parse_snapshot_id
from holdfast.repository.collecting.rules import CollectionRules
from holdfast.repository.repo import open_repository
from holdfast.repository.secrets import Secrets
from holdfast.storage.local import LocalStorage
from holdfast.workflows.collect import apply_collection
from holdfast.workflows.removal import add_hold, bury, undelete
from repositories import PASSPHRASE


def run(order: dict[str, Any]) -> dict[str, Any]:
    """One order; returns the steps that it took, or the error that it ended with."""
    at = datetime.now(UTC) + timedelta(days=order["days"])
    snapshots = [parse_snapshot_id(item) for item in order["snapshots"]]
    storage = Doomed(LocalStorage(Path(order["folder"])), order["at"], die)
    before = 0
    try:
        repository = open_repository(storage, Secrets(passphrase=PASSPHRASE))
        before = storage.steps
        if order["what"] == "collect":
            apply_collection(repository, rules=CollectionRules(share=1.0), clock=lambda: at)
        elif order["what"] == "undelete":
            undelete(repository, snapshots, by="tests", clock=lambda: at)
        elif order["what"] == "hold":
            add_hold(repository, snapshots, by="tests", why="x", until=None, clock=lambda: at)
        else:
            bury(repository, dict.fromkeys(snapshots, "x"), by="tests", clock=lambda: at)
    except HoldfastError as error:
        return {"exit": error.exit_code, "message": error.message}
    return {"exit": 0, "before": before, "steps": storage.steps}


def main() -> None:
    for line in sys.stdin:
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read_end)
            os.write(write_end, json.dumps(run(json.loads(line))).encode())
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
