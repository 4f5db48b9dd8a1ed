"""`--max-runtime` ends a run whatever hangs: real processes, and storages that take a request and never answer."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator

import pytest

from holdfast.storage.spec import StorageSpec
from patience import PATIENCE_SECONDS, wait_until
from postgres_servers import Database
from program import PASSPHRASE, Program
from repositories import PASSPHRASE as OURS
from repositories import make_repository
from servers.fixtures import moto
from servers.process import Server

__all__ = ["moto"]

# The program, but that the limit at which it ends hard comes after so many seconds, not an hour and a minute.
PROGRAM = """
import sys
from holdfast.cli import backing_up
backing_up.HARD_LIMIT_GRACE_SECONDS = float(sys.argv.pop(1)) - 3600
from holdfast.__main__ import run
run()
"""
SAID = "error: the run hangs beyond its limit on run time; nothing was committed by it\n"


def backup(run: Program, seconds: int, *arguments: str, **environ: str) -> subprocess.Popen[str]:
    return run.start_as(PROGRAM, str(seconds), "backup", *arguments, "--max-runtime", "1h", **environ)


@pytest.fixture
def mute() -> Iterator[int]:
    """The port of a server that accepts every connection (the kernel does) and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield listener.getsockname()[1]


def test_a_storage_that_never_answers_is_waited_for_until_the_limit(run: Program, mute: int) -> None:
    """Not even the repository can be opened; its own timeout would be an hour."""
    url = f"s3://bucket/p?endpoint=http://127.0.0.1:{mute}&region=us-east-1&timeout=3600"
    keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}
    arguments = ("postgresql://nobody@127.0.0.1:1/none", "--repo", url)
    with backup(run, 2, *arguments, HOLDFAST_PASSPHRASE=PASSPHRASE, **keys) as process:
        stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, stdout) == (5, ""), stderr
    assert stderr.endswith(SAID)


def test_a_storage_that_falls_silent_is_waited_for_until_the_limit(
    run: Program, moto: Server, database: Database
) -> None:
    """In the midst of a run, when it has rows to store: every thread of it waits for the storage."""
    database.execute("CREATE TABLE t AS SELECT 1 AS a")
    url = moto.url(f"hanging-{database.name}", extra="&timeout=3600")
    make_repository(StorageSpec(url=url, options=moto.options).open())
    keys = {f"AWS_{name.upper()}": value for name, value in moto.options.items()}
    arguments = (database.dsn, "--repo", url, "--lock-timeout", "3600")
    for seconds in (6, 60, 250):  # a busy machine may need longer to come as far as the lock
        with database.connect() as blocker:
            blocker.execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
            with backup(run, seconds, *arguments, HOLDFAST_PASSPHRASE=OURS, **keys) as process:
                waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 't'::regclass"
                wait_until(lambda: database.rows(waiting) or process.poll() is not None)  # noqa: B023
                came_so_far = process.poll() is None
                with moto.paused():
                    blocker.execute("ROLLBACK")
                    stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
        if came_so_far:
            break
    assert came_so_far
    assert (process.returncode, stdout) == (5, ""), stderr
    assert stderr.endswith(SAID)
