"""Where the time goes: one run of Holdfast inside this process, with every stage of the work timed.

`python -m bench.stages backup` (or restore, verify). A stage's time is its own: what it calls and is a stage
itself is taken off. Processor time is the thread's; the rest of the time it waited, for the server or the disk.
With `--jobs 1`, the default here, stages do not disturb each other. `--sample` shows the lines of code instead.

Not called profile.py: the standard library's cProfile would import that in place of its own module.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import io
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from bench import data
from bench.measure import BenchError
from bench.ours import Holdfast
from bench.server import Server, pick_toolset, runs_folder_in, serving, working_folder
from holdfast.cli.main import main as run_holdfast
from holdfast.cli.stop import Stop
from holdfast.domain.errors import HoldfastError

SAMPLE_SECONDS = 0.005
SHOWN_LINES = 30

# (what it does, module, name in it): a name that moved away fails loudly. A function is wrapped where it is used.
STAGES = (
    ("unlock (Argon2)", "holdfast.repository.keys.slots", "Argon2.derive"),
    ("lock tables, read catalog", "holdfast.postgres.session", "SourceSession.take"),
    ("definitions out (pg_dump)", "holdfast.workflows.taking", "dump_definitions"),
    ("rows out (COPY)", "holdfast.postgres.copy", "RangeReader.read_all"),
    ("join rows, cut chunks", "holdfast.workflows.chunking", "ChunkCutter.take"),
    ("identify (BLAKE3)", "holdfast.repository.seal", "Sealer.identify"),
    ("compress (zstd)", "holdfast.repository.seal", "pack"),
    ("encrypt (AES-GCM)", "holdfast.repository.seal", "Sealer.seal"),
    ("open again and compare", "holdfast.repository.seal", "Sealer.check"),
    ("open", "holdfast.repository.seal", "Sealer.open"),
    ("checksum (MD5)", "holdfast.repository.blobs", "md5_of"),
    ("fetch objects", "holdfast.storage.local", "LocalStorage.get"),
    ("store objects", "holdfast.storage.local", "LocalStorage.create"),
    ("flush to the disk", "os", "fsync"),
    ("definitions in (pg_restore)", "holdfast.postgres.definitions", "DefinitionWriter.restore"),
    ("rows in (COPY)", "holdfast.postgres.loading", "Loader._copy"),
    ("indexes, constraints", "holdfast.postgres.building", "Builder.build"),
    ("analyze", "holdfast.postgres.aftermath", "Aftermath.end"),
)


@dataclass(slots=True)
class Spent:
    calls: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0


@dataclass(slots=True)
class StageClock:
    """Wraps functions, and adds up the time that each keeps to itself. Threads are added together."""

    spent: dict[str, Spent] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _nested: threading.local = field(default_factory=threading.local)

    def wrap(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        self.spent[label] = Spent()

        @functools.wraps(function)
        def timed(*arguments: Any, **keywords: Any) -> Any:
            stack: list[list[float]] = self._nested.__dict__.setdefault("stack", [])
            inner = [0.0, 0.0]
            stack.append(inner)
            began, cpu_began = time.perf_counter(), time.thread_time()
            try:
                return function(*arguments, **keywords)
            finally:
                seconds, cpu_seconds = time.perf_counter() - began, time.thread_time() - cpu_began
                stack.pop()
                if stack:
                    stack[-1][0] += seconds
                    stack[-1][1] += cpu_seconds
                self._add(label, seconds - inner[0], cpu_seconds - inner[1])

        return timed

    def _add(self, label: str, seconds: float, cpu_seconds: float) -> None:
        with self._lock:
            spent = self.spent[label]
            spent.calls += 1
            spent.seconds += seconds
            spent.cpu_seconds += cpu_seconds

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Have every stage wrapped, and put back what was there."""
        with contextlib.ExitStack() as stack:
            for label, module, name in STAGES:
                owner, last = _find(module, name)
                original = getattr(owner, last)
                setattr(owner, last, self.wrap(label, original))
                stack.callback(setattr, owner, last, original)
            yield


def _find(module: str, name: str) -> tuple[Any, str]:
    """What holds a function, and the function's name in it."""
    owner: Any = importlib.import_module(module)
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part, None)
    if not hasattr(owner, last):
        raise BenchError(f"there is no {name} in {module} any more: bench/stages.py has to follow")
    return owner, last


class Sampler(threading.Thread):
    """Looks at all threads many times a second and counts the lines that they are in."""

    def __init__(self) -> None:
        super().__init__(name="sampler", daemon=True)
        self.lines: Counter[tuple[str, str]] = Counter()
        self.samples = 0
        self._finished = threading.Event()

    def run(self) -> None:
        while not self._finished.wait(SAMPLE_SECONDS):
            self.samples += 1
            for ident, frame in sys._current_frames().items():
                if ident != self.ident:
                    self.lines[_place(frame), _our_place(frame)] += 1

    def finish(self) -> None:
        self._finished.set()
        self.join()


def _place(frame: FrameType) -> str:
    path = Path(frame.f_code.co_filename)
    return f"{path.parent.name}/{path.name}:{frame.f_lineno} {frame.f_code.co_name}"


def _our_place(frame: FrameType) -> str:
    """The innermost function of Holdfast's own that led here."""
    place: FrameType | None = frame
    while place is not None and not place.f_globals.get("__name__", "").startswith("holdfast."):
        place = place.f_back
    return "" if place is None or place is frame else _place(place)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    try:
        with working_folder(options.keep) as folder, runs_folder_in(folder) as runs:
            toolset = pick_toolset(options.major)
            with serving(toolset, folder / "server", keep=options.keep is not None) as server:
                _profile(server, runs, options)
    except (BenchError, HoldfastError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.stages", description="Where Holdfast's time goes.")
    parser.add_argument("what", nargs="?", choices=("backup", "restore", "verify"), default="backup")
    parser.add_argument("--jobs", type=int, default=1, metavar="N")
    parser.add_argument("--sample", action="store_true", help="sample lines of code instead of timing stages")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="the same as of the benchmark")
    parser.add_argument("--major", type=int, metavar="N")
    parser.add_argument("--scale", type=int, default=data.STANDARD_SCALE, metavar="N")
    parser.add_argument("--rows-divisor", type=int, default=1, metavar="N")
    parser.add_argument("--tables", type=int, metavar="N", help="so many tiny tables instead")
    return parser.parse_args(arguments)


def _profile(server: Server, folder: Path, options: argparse.Namespace) -> None:
    database = data.application("standard", scale=options.scale, rows_divisor=options.rows_divisor)
    if options.tables is not None:
        database = data.many_tables("many", tables=options.tables)
    data.prepare(server, database)
    target = f"{database.name}_restored"
    # Nothing is started by it: it only knows what a run's environment is.
    holdfast = Holdfast(command=Path(sys.executable), server=server, folder=folder)
    os.environ.clear()
    os.environ.update(holdfast.environment())
    os.chdir(folder)
    repository, jobs = str(folder / "repository"), ("--jobs", str(options.jobs), "--repo")
    backup = ("backup", server.url(database.name), "--full", *jobs, repository)
    runs = {
        "backup": backup,
        "restore": ("restore", "latest", "--to", server.url(target), "--create", *jobs, repository),
        "verify": ("verify", "--all", *jobs, repository),
    }
    _run("init", "--no-kit", "--repo", repository)
    if options.what != "backup":
        _run(*backup)
    server.drop(target)
    server.settle()
    if options.sample:
        _sample(runs[options.what])
    else:
        _time(runs[options.what])
    server.drop(target)


def _run(*arguments: str) -> tuple[float, float]:
    """One command in this process: its seconds, and processor seconds of all threads and finished children."""
    began, times = time.perf_counter(), os.times()
    with contextlib.redirect_stdout(io.StringIO()):
        code = run_holdfast([*arguments], Stop())
    if code != 0:
        raise BenchError(f"holdfast {arguments[0]} ended with exit code {code}")
    return time.perf_counter() - began, sum(os.times()[:4]) - sum(times[:4])


def _time(arguments: Sequence[str]) -> None:
    clock = StageClock()
    with clock.watching():
        seconds, cpu_seconds = _run(*arguments)
    print(f"{'stage':<28}{'calls':>9}{'seconds':>10}{'processor':>11}{'waiting':>10}")
    for label, spent in clock.spent.items():
        if spent.calls:
            waiting = max(spent.seconds - spent.cpu_seconds, 0)
            times = f"{spent.seconds:>10.2f}{spent.cpu_seconds:>11.2f}{waiting:>10.2f}"
            print(f"{label:<28}{spent.calls:>9}{times}")
    known = sum(spent.cpu_seconds for spent in clock.spent.values())
    print(f"{'all else':<28}{'':>19}{cpu_seconds - known:>11.2f}")
    print(f"{'the whole command':<28}{'':>9}{seconds:>10.2f}{cpu_seconds:>11.2f}")


def _sample(arguments: Sequence[str]) -> None:
    sampler = Sampler()
    sampler.start()
    try:
        seconds, cpu_seconds = _run(*arguments)
    finally:
        sampler.finish()
    print(
        f"{seconds:.2f} s, {cpu_seconds:.2f} s of processors; a thread's share of {sampler.samples} samples:"
    )
    for (place, ours), count in sampler.lines.most_common(SHOWN_LINES):
        origin = f"  from {ours}" if ours else ""
        print(f"{count / sampler.samples:>7.1%}  {place}{origin}")


if __name__ == "__main__":
    sys.exit(main())
