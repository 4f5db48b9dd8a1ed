"""One way to start a server program, wait until it answers, and end it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from patience import wait_until

BUCKET = "holdfast"
"""Every server is started with one bucket of this name; tests keep apart by prefixes."""


PYTHON_ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join(
        filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")])
    )
}


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running storage server and how `holdfast.storage` reaches it."""

    scheme: str
    endpoint: str
    query: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        return int(self.endpoint.rsplit(":", 1)[1].split("/")[0])

    def url(
        self, prefix: str = "", *, bucket: str = BUCKET, endpoint: str | None = None, extra: str = ""
    ) -> str:
        """The repository's address; `extra` is more of the query, like "&timeout=1"."""
        return f"{self.scheme}://{bucket}/{prefix}?endpoint={endpoint or self.endpoint}{self.query}{extra}"

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The server accepts connections (the kernel does) but never answers."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def deaf_port() -> Iterator[int]:
    """A port that refuses every connection, and that nobody else can take meanwhile: bound, but not listening."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@contextmanager
def running(
    command: Sequence[str], log: Path, *, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A program with its standard output and errors in `log`; killed on the way out, or when we are killed."""
    keeper = shutil.which("setpriv")
    leash = [keeper, "--pdeathsig", "KILL"] if keeper else []
    with log.open("w") as sink:
        process = subprocess.Popen(
            [*leash, *command],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def python_server(module: str, *arguments: str) -> Sequence[str]:
    """The command that runs a module of this folder; its warnings are its own affair."""
    return [sys.executable, "-W", "ignore", "-m", f"servers.{module}", *arguments]


def wait_for_line(process: subprocess.Popen[str], log: Path, pattern: str) -> re.Match[str]:
    """The first match of a sign of life in `log`, which should be told from any traceback."""
    found: list[re.Match[str]] = []

    def looked() -> bool:
        ended = process.poll() is not None
        found.extend(re.finditer(pattern, log.read_text(errors="replace"), re.MULTILINE))
        return bool(found) or ended

    def said() -> str:
        return f"server {process.args!r} did not start:\n{log.read_text(errors='replace')[-4000:]}"

    wait_until(looked, said)
    if not found:
        raise RuntimeError(said())
    return found[0]
