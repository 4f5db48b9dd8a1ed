"""Ctrl-C, SIGTERM and SIGHUP: the first asks the run to end, the second ends the process.

A run that listens gets its `interrupted` event and a few seconds to store what it has; then KeyboardInterrupt is
raised under it; then the process exits hard. Whatever the run waits for, the operator never does.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from holdfast.domain.errors import EXIT_INTERRUPTED

GRACE_SECONDS = 4.0
HARD_SECONDS = 8.0
BRIEFLY_SECONDS = 0.5

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# After a signal, the main thread is nudged as often, each time after a longer while.
_NUDGES_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8)


class Stop:
    """Install once, in the main thread, before anything that takes time."""

    def __init__(self) -> None:
        self.interrupted = threading.Event()
        self._asked = False
        self._listening = False
        self._out_of_patience = False
        self._main = threading.main_thread()

    def install(self) -> None:
        for number in _SIGNALS:
            # A signal that the parent told us to ignore (nohup, a shell's background job) stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._receive)
        _hear_at_once()

    @contextmanager
    def listening(self) -> Iterator[threading.Event]:
        """For runs that watch the event themselves; without it a signal raises KeyboardInterrupt at once."""
        self._listening = True
        try:
            yield self.interrupted
        finally:
            self._listening = False

    def exit_hard_after(self, seconds: float) -> None:
        """However the rest goes (threads that hang in a socket, say), the process is gone after that time."""
        _later(seconds, _exit_hard)

    @contextmanager
    def hard_limit(self, seconds: float, code: int) -> Iterator[None]:
        """If what happens in here hangs beyond that, in spite of its own limit, the process ends with `code`."""
        timer = threading.Timer(seconds, _exit_over, [code])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._out_of_patience:
            self._out_of_patience = False
            raise KeyboardInterrupt
        if self._asked:
            _exit_hard()
        self._asked = True
        self.exit_hard_after(HARD_SECONDS)
        _briefly(self.interrupted.set)
        if not self._listening:
            raise KeyboardInterrupt
        _tell("interrupted: ending cleanly; once more ends at once")
        _later(GRACE_SECONDS, self._lose_patience)

    def _lose_patience(self) -> None:
        if self._listening and self._main.ident is not None:
            self._out_of_patience = True
            signal.pthread_kill(self._main.ident, signal.SIGTERM)


def _hear_at_once() -> None:
    """Python handles signals in the main thread, between two of its steps. One that another thread took, or that
    came just before a system call, would have to wait for as long as that call blocks, which may be for ever. So a
    thread that is told of every signal makes the main thread's calls look up (SIGURG, whose handler does nothing;
    they go on by themselves, PEP 475)."""
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.signal(signal.SIGURG, lambda *_: None)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    threading.Thread(target=_nudge, args=[told], daemon=True, name="holdfast-signals").start()


def _nudge(told: int) -> None:
    main = threading.main_thread().ident
    assert main is not None
    while numbers := os.read(told, 64):
        if any(number in numbers for number in _SIGNALS):
            for seconds in _NUDGES_SECONDS:
                time.sleep(seconds)
                signal.pthread_kill(main, signal.SIGURG)


def _later(seconds: float, action: object) -> None:
    timer = threading.Timer(seconds, action)  # type: ignore[arg-type]
    timer.daemon = True
    timer.start()


def _tell(line: str) -> None:
    with suppress(OSError):
        os.write(2, f"\r\x1b[K{line}\n".encode() if os.isatty(2) else f"{line}\n".encode())


def _exit_over(code: int) -> None:
    _briefly(lambda: _tell("error: the run hangs beyond its limit on run time; nothing was committed by it"))
    _briefly(sys.stdout.flush)
    os._exit(code)


def _exit_hard() -> None:
    _briefly(sys.stdout.flush)
    os._exit(EXIT_INTERRUPTED)


def _briefly(act: Callable[[], object]) -> None:
    """The main thread may be, or hang, in the midst of this very stream or event, and have its lock: so another
    thread does it, and is not waited for."""

    def attempt() -> None:
        with suppress(OSError, ValueError, RuntimeError):
            act()

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(BRIEFLY_SECONDS)
