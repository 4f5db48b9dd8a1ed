"""Run a command to its end and say what it took: seconds, processor time, memory.

The clock runs from before the first process is started until the last one has been waited for, so a program's
start-up counts. Memory is what /proc says (Linux): each process's own high-water mark, and sums over the tree.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

SAMPLE_SECONDS = 0.05
SCAN_SECONDS = 0.2
PAGE_OF_ERRORS = 4000

# What Holdfast starts to do part of its work; their memory is reported beside its own.
POSTGRES_TOOLS = frozenset({"pg_dump", "pg_dumpall", "pg_restore", "psql"})

Command = Sequence[str | Path]


class BenchError(Exception):
    """Something that was to be measured did not work: there is no figure then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run. `client_bytes` is the most that the command and its own processes held at once, `tool_bytes` the
    most that PostgreSQL's programs started by it did. `output_bytes` is the size of what it wrote, and
    `server_seconds` the processor time of the server's processes that served it and ended."""

    seconds: float
    cpu_seconds: float
    client_bytes: int
    tool_bytes: int
    stdout: bytes = field(default=b"", repr=False)
    output_bytes: int = 0
    server_seconds: float = 0.0


def measure(
    *pipeline: Command, environment: Mapping[str, str], folder: Path, output: Path | None = None
) -> Measured:
    """Run a command, or several joined by pipes, in `folder`. The last one's standard output goes to the file
    `output`, or is kept. Raises `BenchError` with what they said if any of them fails."""
    with ExitStack() as stack:
        errors = stack.enter_context(tempfile.TemporaryFile())
        kept = stack.enter_context(tempfile.TemporaryFile())
        sink: IO[bytes] = stack.enter_context(output.open("wb")) if output else kept
        began = time.perf_counter()
        processes = _start(pipeline, environment, folder, sink, errors)
        watch = MemoryWatch([process.pid for process in processes])
        try:
            watch.start()
            cpu_seconds = sum(_wait(process) for process in processes)
            seconds = time.perf_counter() - began
        finally:
            _end(processes)
            watch.finish()
        for command, process in zip(pipeline, processes, strict=True):
            if process.returncode != 0:
                raise BenchError(_failure(command, process.returncode, errors))
        kept.seek(0)
        return Measured(
            seconds=seconds,
            cpu_seconds=cpu_seconds,
            client_bytes=watch.client_bytes,
            tool_bytes=watch.tool_bytes,
            stdout=kept.read(),
        )


def _start(
    pipeline: Sequence[Command],
    environment: Mapping[str, str],
    folder: Path,
    sink: IO[bytes],
    errors: IO[bytes],
) -> list[subprocess.Popen[bytes]]:
    processes: list[subprocess.Popen[bytes]] = []
    for number, command in enumerate(pipeline):
        last = number == len(pipeline) - 1
        before = processes[-1].stdout if processes else None
        try:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=before or subprocess.DEVNULL,
                stdout=sink if last else subprocess.PIPE,
                stderr=errors,
                cwd=folder,
                env=dict(environment),
            )
        except OSError as error:
            _end(processes)
            raise BenchError(f"{command[0]} cannot be started: {error}") from error
        if before is not None:
            before.close()  # the reader's alone now, so that the writer learns of its end
        processes.append(process)
    return processes


def _wait(process: subprocess.Popen[bytes]) -> float:
    """The processor time of a process and of those it waited for."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """After an interruption: nothing that was started here stays."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _failure(command: Command, code: int, errors: IO[bytes]) -> str:
    errors.seek(0)
    said = errors.read()[-PAGE_OF_ERRORS:].decode(errors="replace").strip()
    words = " ".join(str(part) for part in command)
    return f"{words}: exit code {code}\n{said}"


class MemoryWatch(threading.Thread):
    """Follows the memory of processes and their descendants until `finish`."""

    def __init__(self, roots: Sequence[int]) -> None:
        super().__init__(name="memory-watch", daemon=True)
        self.client_bytes = 0
        self.tool_bytes = 0
        self._roots = frozenset(roots)
        self._finished = threading.Event()
        self._seen: set[int] = set(roots)
        self._family: set[int] = set(roots)

    def run(self) -> None:
        next_scan = 0.0
        while not self._finished.wait(SAMPLE_SECONDS):
            if time.monotonic() >= next_scan:
                self._scan()
                next_scan = time.monotonic() + SCAN_SECONDS
            self._sample()

    def finish(self) -> None:
        self._finished.set()
        if self.ident is not None:
            self.join()

    def _scan(self) -> None:
        """Find descendants. One counts from its second sighting: between fork and exec it only mirrors its
        parent."""
        found = _descendants(self._roots)
        self._family = {pid for pid in found if pid in self._seen} | self._roots
        self._seen = found | self._roots

    def _sample(self) -> None:
        client = tools = 0
        roots_are_tools = any(_name_of(pid) in POSTGRES_TOOLS for pid in self._roots)
        for pid in self._family:
            now, peak = _memory_of(pid)
            if not roots_are_tools and _name_of(pid) in POSTGRES_TOOLS:
                tools += now
                self.tool_bytes = max(self.tool_bytes, peak)
            else:
                client += now
                self.client_bytes = max(self.client_bytes, peak)
        self.client_bytes = max(self.client_bytes, client)
        self.tool_bytes = max(self.tool_bytes, tools)


def _descendants(roots: frozenset[int]) -> set[int]:
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            parents[int(entry)] = _parent_of(int(entry))
    found = set(roots)
    grew = True
    while grew:
        children = {pid for pid, parent in parents.items() if parent in found and pid not in found}
        found |= children
        grew = bool(children)
    return found - roots


def cpu_seconds_of_children(pid: int) -> float:
    """Processor time of the children of a process that have ended, and of theirs."""
    fields = _stat(pid)
    return sum(map(int, fields[13:15])) / os.sysconf("SC_CLK_TCK")


def _parent_of(pid: int) -> int:
    return int((_stat(pid) or [b"", b"0"])[1])


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the third on; the second is a name that may hold anything."""
    text = _read(f"/proc/{pid}/stat")
    return text[text.rfind(b")") + 1 :].split()


def _name_of(pid: int) -> str:
    return _read(f"/proc/{pid}/comm").decode(errors="replace").strip()


def _memory_of(pid: int) -> tuple[int, int]:
    """Resident bytes now, and at most so far; zeros once it is gone."""
    now = peak = 0
    for line in _read(f"/proc/{pid}/status").splitlines():
        if line.startswith(b"VmHWM:"):
            peak = int(line.split()[1]) * 1024
        elif line.startswith(b"VmRSS:"):
            now = int(line.split()[1]) * 1024
            break
    return now, peak


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""
