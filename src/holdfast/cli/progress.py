"""What a run is doing, while it does it: a live display on a terminal, plain lines elsewhere, nothing on stdout.

Invariant: showing never breaks a run. Events come from any thread; whatever goes wrong here stays here.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from holdfast.cli.secrets import blot
from holdfast.cli.words import counted, duration, printable, size
from holdfast.domain.events import (
    Event,
    Listener,
    Noticed,
    PhaseBegan,
    RowsMoved,
    TableFinished,
    TierReadable,
    WorkPlanned,
)

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

LINE_SECONDS = 5.0
CALM_LINE_SECONDS = 30.0
CALM_AFTER_SECONDS = 60.0
_RATE_WINDOW_SECONDS = 15.0

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told(Event):
    """A line for people, in a run that is told as a story (the demo)."""

    text: str


@dataclass(slots=True)
class Tally:
    """Where a run stands: the sum of its events."""

    clock: Clock = time.monotonic
    phase: str = "starting"
    tables: int = 0
    tables_planned: int | None = None
    rows: int = 0
    bytes: int = 0
    bytes_planned: int = 0
    began_at: float = 0.0
    phase_began_at: float = 0.0
    recent: deque[tuple[float, int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.began_at = self.phase_began_at = self.clock()

    def take(self, event: Event) -> None:
        now = self.clock()
        if isinstance(event, PhaseBegan):
            self.phase, self.phase_began_at = event.phase, now
            self.recent.clear()
        elif isinstance(event, Told):
            self.phase, self.phase_began_at, self.tables_planned = event.text, now, None
        elif isinstance(event, WorkPlanned):
            self.tables_planned, self.bytes_planned = event.tables, event.bytes_estimate
            self.tables = self.rows = self.bytes = 0
        elif isinstance(event, RowsMoved):
            self.rows += event.rows
            self.bytes += event.bytes
            self.recent.append((now, self.bytes))
        elif isinstance(event, TableFinished):
            self.tables += 1

    @property
    def rate(self) -> float | None:
        """Bytes per second over the last seconds of this phase; None while there is too little to say."""
        now = self.clock()
        while self.recent and now - self.recent[0][0] > _RATE_WINDOW_SECONDS:
            self.recent.popleft()
        if len(self.recent) < 2 or now - self.recent[0][0] < 0.5:
            return None
        return (self.recent[-1][1] - self.recent[0][1]) / (now - self.recent[0][0])

    @property
    def share(self) -> float | None:
        """How much is done, 0 to 1, by bytes; by tables where all are empty. A guess until the end."""
        if self.tables_planned is None:
            return None
        if self.tables >= self.tables_planned:
            return 1.0
        if self.bytes_planned:
            return min(self.bytes / self.bytes_planned, 0.99)
        return self.tables / self.tables_planned

    @property
    def seconds_left(self) -> float | None:
        """None where it cannot be said; never a made-up number once the estimate is used up."""
        rate, missing = self.rate, self.bytes_planned - self.bytes
        if not rate or missing <= 0 or self.share == 1.0:
            return None
        return missing / rate

    def facts(self) -> str:
        """`3 of 42 tables, 1,203 rows, 300 MB, 50.1 MB/s, 18 s left`."""
        if self.tables_planned is None:
            return duration(self.clock() - self.phase_began_at)
        parts = [f"{self.tables:,} of {counted(self.tables_planned, 'table')}", counted(self.rows, "row")]
        parts.append(size(self.bytes))
        if self.rate:
            parts.append(f"{size(self.rate)}/s")
        left = self.seconds_left
        parts.append(f"{duration(left)} left" if left is not None else self._elapsed())
        return ", ".join(parts)

    def _elapsed(self) -> str:
        return duration(self.clock() - self.phase_began_at)


@contextmanager
def watching(
    *, quiet: bool = False, secrets: Iterable[str] = (), stream: TextIO | None = None
) -> Iterator[Listener]:
    """A listener for one run. Notices are always shown; the rest not if `quiet`."""
    stream = stream or sys.stderr
    known = frozenset(secrets)
    if quiet:
        yield _guarded(_Lines(stream, known).notice)
    elif stream.isatty():
        with _live(stream, known) as listener:
            yield listener
    else:
        with _plain(_Lines(stream, known)) as listener:
            yield listener


class _Lines:
    """Whole lines on a stream, from several threads; above the live display if there is one."""

    def __init__(self, stream: TextIO, secrets: frozenset[str], console: Console | None = None) -> None:
        self._stream = stream
        self._secrets = secrets
        self._console = console
        self._lock = threading.Lock()

    def write(self, text: str) -> None:
        text = blot(text, self._secrets)
        with self._lock, suppress(OSError, ValueError):
            if self._console is not None:
                self._console.out(text, highlight=False)
            else:
                self._stream.write(text + "\n")
                self._stream.flush()

    def notice(self, event: Event) -> None:
        """What is shown however quiet it is asked to be."""
        if isinstance(event, Noticed):
            self.write(f"warning: {printable(event.message)}")
            if event.hint:
                self.write(f"hint: {printable(event.hint)}")

    def milestone(self, event: Event) -> None:
        self.notice(event)
        if isinstance(event, Told):
            self.write(f"- {printable(event.text)}")
        elif isinstance(event, TierReadable):
            self.write(f"{event.tier} tables readable after {duration(event.seconds)}")


def _guarded(listener: Listener) -> Listener:
    """A display that fails (a closed terminal, an encoding) must not fail the run."""
    lock = threading.Lock()

    def listen(event: Event) -> None:
        with lock, suppress(Exception):
            listener(event)

    return listen


@contextmanager
def _plain(lines: _Lines) -> Iterator[Listener]:
    tally = Tally()
    stopped = threading.Event()
    last_line_at = tally.began_at

    def listen(event: Event) -> None:
        nonlocal last_line_at
        tally.take(event)
        lines.milestone(event)
        if isinstance(event, PhaseBegan):
            lines.write(event.phase)
            last_line_at = tally.clock()

    def tick() -> None:
        nonlocal last_line_at
        while not stopped.wait(1.0):
            now = tally.clock()
            calm = now - tally.began_at > CALM_AFTER_SECONDS
            if now - last_line_at >= (CALM_LINE_SECONDS if calm else LINE_SECONDS):
                last_line_at = now
                with suppress(Exception):
                    lines.write(f"{tally.phase}: {tally.facts()}")

    ticker = threading.Thread(target=tick, name="holdfast-progress", daemon=True)
    ticker.start()
    try:
        yield _guarded(listen)
    finally:
        stopped.set()
        ticker.join(timeout=2)


class _Board:
    """Two lines that rich draws again and again: a bar, and the facts under it."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def __rich_console__(self, console: Console, options: object) -> Iterator[RenderableType]:
        del options
        from rich.progress_bar import ProgressBar
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        share = self._tally.share
        line = Table.grid(padding=(0, 1))
        line.add_row(
            Spinner("line"),
            Text(printable(self._tally.phase), style="bold"),
            ProgressBar(total=1.0, completed=share, width=max(10, min(40, console.width - 40)))
            if share is not None
            else Text(""),
            Text(f"{share:4.0%}" if share is not None else ""),
        )
        yield line
        yield Text("  " + self._tally.facts(), style="dim", no_wrap=True, overflow="ellipsis")


@contextmanager
def _live(stream: TextIO, secrets: frozenset[str]) -> Iterator[Listener]:
    from rich.live import Live

    from holdfast.cli.console import Console

    tally = Tally()
    console = Console(stream)
    lines = _Lines(stream, secrets, console)

    def listen(event: Event) -> None:
        tally.take(event)
        lines.milestone(event)

    # stdout is not redirected: the report is printed after the display has gone.
    live = Live(
        _Board(tally),
        console=console,
        refresh_per_second=8,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with suppress(OSError):
        live.start(refresh=True)
    try:
        yield _guarded(listen)
    finally:
        with suppress(OSError):
            live.stop()
