"""Ctrl-C, SIGTERM and passwords in the process list: real processes, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from secrets import token_hex

import pytest

from patience import PATIENCE_SECONDS, wait_until
from program import Program

HANG = """
import os, signal, sys, threading, time
from holdfast.cli import stop as module
module.GRACE_SECONDS, module.HARD_SECONDS = {grace}, {hard}
stop = module.Stop()
stop.install()
def listen():
    with stop.listening() as interrupted:
        print("ready", flush=True)
        interrupted.wait(3600)
        print("ended by itself", flush=True)
    sys.exit(130)
def be_deaf():
    try:
        with stop.listening():
            print("ready", flush=True)
            time.sleep(3600)
    except KeyboardInterrupt:
        print("made to end", flush=True)
        sys.exit(130)
def ignore_everything():
    with stop.listening():
        print("ready", flush=True)
        while True:
            try:
                time.sleep(3600)
            except KeyboardInterrupt:
                print("ignored", flush=True)
def talk_to_nobody():
    with stop.listening():
        print("ready", flush=True)
        while True:
            try:
                print("x" * 100_000, flush=True)
            except KeyboardInterrupt:
                pass
def have_another_thread_take_it():
    def take():
        time.sleep(1)  # until the main thread hangs in the pipe
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    threading.Thread(target=take).start()
    talk_to_nobody()
def be_inside_the_event():
    try:
        with stop.listening() as interrupted, interrupted._cond:
            print("ready", flush=True)
            time.sleep(3600)
    except KeyboardInterrupt:
        print("made to end", flush=True)
        sys.exit(130)
{name}()
"""


def hang(run: Program, name: str, *, grace: float = 3600, hard: float = 3600) -> subprocess.Popen[str]:
    """A process that is stuck; it has `grace` seconds to end by itself, and `hard` in all. Limits that a test is
    not about are so long that no machine reaches them."""
    program = HANG.replace("{name}", name).replace("{grace}", str(grace)).replace("{hard}", str(hard))
    process = subprocess.Popen(
        [sys.executable, "-c", program],
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
        stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, stdout) == (130, "ended by itself\n")
    assert "interrupted: ending cleanly" in stderr


def last_words(run: Program, name: str, number: signal.Signals, *, grace: float, hard: float = 3600) -> str:
    """What a stuck process, sent this signal, prints before it has ended with exit code 130."""
    with hang(run, name, grace=grace, hard=hard) as process:
        process.send_signal(number)
        stdout, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    return stdout


def test_a_run_that_does_not_listen_is_made_to_end(run: Program) -> None:
    """Out of patience, KeyboardInterrupt is raised under it."""
    assert last_words(run, "be_deaf", signal.SIGINT, grace=0.4) == "made to end\n"


def test_a_run_that_ignores_even_that_is_gone_all_the_same(run: Program) -> None:
    """The operator waits seconds, whatever a run is stuck in."""
    assert last_words(run, "ignore_everything", signal.SIGTERM, grace=0.2, hard=5.0) == "ignored\n"


def test_a_signal_in_the_midst_of_the_event_itself_is_heard(run: Program) -> None:
    """A handler that waited for the event's lock, which the thread below it holds, would wait forever."""
    assert last_words(run, "be_inside_the_event", signal.SIGTERM, grace=0.2) == "made to end\n"


def test_a_run_whose_output_nobody_reads_is_gone_all_the_same(run: Program) -> None:
    """It hangs in a full pipe, whose lock it holds; the last words are given up."""
    with hang(run, "talk_to_nobody", grace=0.2, hard=1.0) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 130


def test_a_signal_that_no_call_of_the_main_thread_noticed_is_heard(run: Program) -> None:
    """As one that comes just before a call that hangs: here another thread takes it."""
    with hang(run, "have_another_thread_take_it", grace=0.2, hard=1.0) as process:
        assert process.wait(PATIENCE_SECONDS) == 130


def test_the_second_signal_ends_at_once(run: Program) -> None:
    """Whoever presses Ctrl-C twice means it."""
    with hang(run, "ignore_everything") as process:
        assert process.stderr is not None
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline().startswith("interrupted: ending cleanly")
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, stdout) == (130, ""), stderr


def test_a_command_that_only_looks_ends_at_once(run: Program, initialised: Path) -> None:
    """Exit code 130, one document, no traceback."""
    waiting = {
        "HOLDFAST_PASSPHRASE_COMMAND": f"touch {run.folder}/asked; exec sleep 3600",
        # subprocess.run kills its child on KeyboardInterrupt but does not wait for it, and warns of that.
        "PYTHONWARNINGS": "ignore::ResourceWarning",
    }
    arguments = ("list", "--repo", str(initialised / "repo"), "--json")
    with run.start_unhurried(*arguments, **waiting) as process:
        wait_for(run.folder / "asked", process)
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert '"kind": "interrupted"' in stdout
    assert "Traceback" not in stderr


def test_no_password_stands_in_the_process_list(run: Program, initialised: Path) -> None:
    """Neither that of a URL on the command line nor the passphrase, in no process that was started."""
    # Words that no other test has in its processes at the same time.
    secrets = tuple(f"{word}-{token_hex(8)}" for word in ("s3kret", "0ther", "third"))
    url = f"postgresql://me:{secrets[0]}@127.0.0.1:1/x?sslpassword={secrets[1]}"
    environ = {
        "HOLDFAST_PASSPHRASE_COMMAND": f"touch {run.folder}/asked; exec sleep 3600",
        "PGPASSWORD": secrets[2],
        "PYTHONWARNINGS": "ignore::ResourceWarning",
    }
    with run.start("backup", url, "--repo", str(initialised / "repo"), "--debug", **environ) as process:
        wait_for(run.folder / "asked", process)
        shown = {pid: shown_of(pid) for pid in pids()}
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert f"backup\0postgresql://me:{'*' * len(secrets[0])}@127.0.0.1" in shown[process.pid]
    for secret in secrets:
        assert [text for text in shown.values() if secret in text and "pytest" not in text] == []
        assert secret not in stderr


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    wait_until(lambda: path.exists() or process.poll() is not None, str(path))
    assert process.poll() is None


def pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def shown_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
