"""Ctrl-C, SIGTERM and passwords in the process list: real processes, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from program import Program

HANG = """
import os, signal, sys, threading, time
from holdfast.cli import stop as module
module.GRACE_SECONDS, module.HARD_SECONDS = 0.4, 1.2
stop = module.Stop()
stop.install()
def listen():
    with stop.listening() as interrupted:
        print("ready", flush=True)
        interrupted.wait(60)
        print("ended by itself", flush=True)
    sys.exit(130)
def be_deaf():
    try:
        with stop.listening():
            print("ready", flush=True)
            time.sleep(60)
    except KeyboardInterrupt:
        print("made to end", flush=True)
        sys.exit(130)
def ignore_everything():
    with stop.listening():
        print("ready", flush=True)
        while True:
            try:
                time.sleep(60)
            except KeyboardInterrupt:
                print("ignored", flush=True)
{name}()
"""


def hang(run: Program, name: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HANG.replace("{name}", name)],
        env=run.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_listens_ends_by_itself(run: Program, number: signal.Signals) -> None:
    """The first signal only sets the event, and says so."""
    with hang(run, "listen") as process:
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout) == (130, "ended by itself\n")
    assert "interrupted: ending cleanly" in stderr


def test_a_run_that_does_not_listen_is_made_to_end(run: Program) -> None:
    """Out of patience, KeyboardInterrupt is raised under it."""
    with hang(run, "be_deaf") as process:
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate(timeout=20)
    assert (process.returncode, stdout) == (130, "made to end\n")


def test_a_run_that_ignores_even_that_is_gone_all_the_same(run: Program) -> None:
    """The operator waits seconds, whatever a run is stuck in."""
    with hang(run, "ignore_everything") as process:
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        stdout, _ = process.communicate(timeout=20)
    assert (process.returncode, stdout) == (130, "ignored\n")
    assert time.monotonic() - began < 10


def test_the_second_signal_ends_at_once(run: Program) -> None:
    """Whoever presses Ctrl-C twice means it."""
    with hang(run, "ignore_everything") as process:
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 130


def test_a_command_that_only_looks_ends_at_once(run: Program, initialised: Path) -> None:
    """Exit code 130, one document, no traceback."""
    waiting = {
        "HOLDFAST_PASSPHRASE_COMMAND": f"sleep 1; touch {run.folder}/asked; exec sleep 60",
        # subprocess.run kills its child on KeyboardInterrupt but does not wait for it, and warns of that.
        "PYTHONWARNINGS": "ignore::ResourceWarning",
    }
    with run.start("list", "--repo", str(initialised / "repo"), "--json", **waiting) as process:
        wait_for(run.folder / "asked", process)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert '"kind": "interrupted"' in stdout
    assert "Traceback" not in stderr
    assert time.monotonic() - began < 5


def test_no_password_stands_in_the_process_list(run: Program, initialised: Path) -> None:
    """Neither that of a URL on the command line nor the passphrase, in no process that was started."""
    url = "postgresql://me:s3kret-pw@127.0.0.1:1/x?sslpassword=0ther-pw"
    environ = {
        "HOLDFAST_PASSPHRASE_COMMAND": f"sleep 1; touch {run.folder}/asked; exec sleep 60",
        "PGPASSWORD": "third-pw",
        "PYTHONWARNINGS": "ignore::ResourceWarning",
    }
    with run.start("backup", url, "--repo", str(initialised / "repo"), "--debug", **environ) as process:
        wait_for(run.folder / "asked", process)
        shown = {pid: shown_of(pid) for pid in pids()}
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
    assert "backup\0postgresql://me:*********@127.0.0.1" in shown[process.pid]
    for secret in ("s3kret-pw", "0ther-pw", "third-pw"):
        assert [text for text in shown.values() if secret in text and "pytest" not in text] == []
        assert secret not in stderr


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


def pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def shown_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
