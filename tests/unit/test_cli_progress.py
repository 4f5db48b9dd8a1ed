"""Progress: what a run tells while it runs, and that telling never breaks it."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import threading

import pytest

from holdfast.cli import progress
from holdfast.cli.progress import Tally, watching
from holdfast.cli.words import duration, iso, size
from holdfast.domain.events import (
    Noticed,
    PhaseBegan,
    RowsMoved,
    TableFinished,
    TierReadable,
    WorkPlanned,
)
from holdfast.domain.tables import QualifiedName, Tier
from patience import wait_until

USERS = QualifiedName(schema="public", name="users")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_tally_knows_rate_share_and_time_left() -> None:
    """Tables, rows, bytes, bytes per second, and the time that the rest takes at that rate."""
    clock = Clock()
    tally = Tally(clock=clock)
    tally.take(WorkPlanned(tables=2, bytes_estimate=1000, rows_estimate=10))
    tally.take(PhaseBegan(phase="reading rows"))
    for _ in range(5):
        tally.take(RowsMoved(table=USERS, rows=1, bytes=100))
        clock.now += 1
    assert (tally.rows, tally.bytes, tally.share) == (5, 500, 0.5)
    assert tally.rate == pytest.approx(80)
    assert tally.seconds_left == pytest.approx(500 / 80)
    assert tally.facts() == "0 of 2 tables, 5 rows, 500 B, 80 B/s, 6.2 s left"


def test_a_tally_never_claims_the_end_before_it() -> None:
    """Estimates are guesses: past them there is no time left to show, and 100 % only when all tables are done."""
    clock = Clock()
    tally = Tally(clock=clock)
    tally.take(WorkPlanned(tables=1, bytes_estimate=100, rows_estimate=1))
    for _ in range(3):
        tally.take(RowsMoved(table=USERS, rows=1, bytes=100))
        clock.now += 1
    assert tally.seconds_left is None
    assert tally.share == 0.99
    tally.take(TableFinished(table=USERS, rows=3, bytes=300))
    assert tally.share == 1.0


def test_plain_lines_for_those_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Phases as they begin, and where it stands every few seconds; no control characters."""
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.5)
    stream = io.StringIO()
    with watching(stream=stream) as listener:
        listener(PhaseBegan(phase="reading rows"))
        listener(WorkPlanned(tables=3, bytes_estimate=1000, rows_estimate=1))
        listener(RowsMoved(table=USERS, rows=7, bytes=100))
        wait_until(lambda: "reading rows: " in stream.getvalue(), "the first line")
        listener(Noticed(message="slow disk", hint="buy another"))
        listener(TierReadable(tier=Tier.CRITICAL, seconds=2.0))
    text = stream.getvalue()
    assert text.startswith("reading rows\nreading rows: 0 of 3 tables, 7 rows, 100 B, ")
    assert "\nwarning: slow disk\nhint: buy another\n" in text
    assert text.endswith("critical tables readable after 2.0 s\n")
    assert "\x1b" not in text


def test_quiet_still_shows_notices() -> None:
    """`--quiet` silences progress, not warnings."""
    stream = io.StringIO()
    with watching(stream=stream, quiet=True) as listener:
        listener(PhaseBegan(phase="reading rows"))
        listener(Noticed(message="slow disk"))
    assert stream.getvalue() == "warning: slow disk\n"


def test_notices_hold_no_passwords() -> None:
    """What a foreign library said reaches the terminal without secrets."""
    stream = io.StringIO()
    with watching(stream=stream, secrets=["s3kret"]) as listener:
        listener(Noticed(message="retrying s3kret at postgresql://u:other@h/d"))
    assert stream.getvalue() == "warning: retrying *** at postgresql://u:***@h/d\n"


def test_a_display_that_fails_does_not_break_the_run() -> None:
    """A closed stream, or one that cannot write the name."""
    closed = io.StringIO()
    closed.close()

    class Ascii(io.TextIOWrapper):
        def isatty(self) -> bool:
            return False

    narrow = Ascii(io.BytesIO(), encoding="ascii")
    with watching(stream=narrow) as listener:
        closed_listener = progress._guarded(progress._Lines(closed, frozenset()).milestone)
        for target in (listener, closed_listener):
            target(PhaseBegan(phase="lesen äöü"))
            target(Noticed(message="äöü"))


def test_events_come_from_any_thread() -> None:
    """No row is lost to a race."""
    tally_lines = io.StringIO()
    with watching(stream=tally_lines) as listener:
        listener(WorkPlanned(tables=1, bytes_estimate=10, rows_estimate=10))

        def work() -> None:
            for _ in range(200):
                listener(RowsMoved(table=USERS, rows=1, bytes=1))
            listener(Noticed(message="done"))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert tally_lines.getvalue().count("warning: done\n") == 4


class Screen(threading.Thread):
    """Reads all that is written to a terminal: who draws must never wait for us."""

    def __init__(self, master: int) -> None:
        super().__init__()
        self._master = master
        self._pieces: list[bytes] = []
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError):  # EIO: nothing more, and nobody to write it
            while piece := os.read(self._master, 65536):
                self._pieces.append(piece)

    @property
    def seen(self) -> str:
        return b"".join(self._pieces).decode(errors="replace")


def test_a_terminal_sees_a_bar_with_tables_rows_bytes_and_rate() -> None:
    """On a terminal the display is drawn in place, and is gone when the run ends."""
    master, slave = pty.openpty()
    screen = Screen(master)
    with os.fdopen(slave, "w", encoding="utf-8") as terminal, watching(stream=terminal) as listener:
        listener(PhaseBegan(phase="reading rows"))
        listener(WorkPlanned(tables=4, bytes_estimate=1000, rows_estimate=1))
        listener(TableFinished(table=USERS, rows=7, bytes=250))
        listener(RowsMoved(table=USERS, rows=7, bytes=250))
        listener(Noticed(message="slow disk"))
        wait_until(lambda: "1 of 4 tables" in screen.seen, "the bar")
    screen.join()
    os.close(master)
    seen = screen.seen
    assert "reading rows" in seen
    assert "25%" in seen
    assert "1 of 4 tables, 7 rows, 250 B" in seen
    assert "warning: slow disk" in seen
    assert seen.rstrip().endswith("\x1b[2K"), seen[-80:]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_499, "999 kB"),
        (999_600, "1.0 MB"),
        (1_234_567, "1.2 MB"),
        (164_000_000, "164 MB"),
        (1.2e9, "1.2 GB"),
        (5e15, "5.0 PB"),
        (5e18, "5000.0 PB"),
    ],
)
def test_sizes_read_like_invoices(count: float, text: str) -> None:
    """Powers of 1000, three figures at most."""
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (12.3, "12 s"),
        (119, "119 s"),
        (192, "3 min 12 s"),
        (7260, "2 h 01 min"),
    ],
)
def test_durations_read_like_speech(seconds: float, text: str) -> None:
    """Tenths only where they matter."""
    assert duration(seconds) == text


def test_moments_in_json_are_utc() -> None:
    """Whatever zone they came in."""
    from datetime import datetime, timedelta, timezone

    moment = datetime(2026, 1, 1, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    assert iso(moment) == "2025-12-31T23:00:00.000000Z"
