"""On a terminal: questions, the recovery kit, and a display that clears up after itself."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from patience import PATIENCE_SECONDS
from postgres_servers import Database
from program import Program

# A terminal must be the process's controlling one: getpass opens /dev/tty.
OWN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A run on a terminal of 80 columns: what it shows, and what is typed."""

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self._master = master
        self._process = process
        self._decoder = codecs.getincrementaldecoder("utf-8")()  # a read may end in the midst of a letter
        self.seen = ""

    def wait_for(self, text: str) -> None:
        while text not in self.seen:
            assert self._read(), self.seen

    def type(self, line: str) -> None:
        os.write(self._master, f"{line}\n".encode())

    def end(self) -> int:
        while self._read():
            pass
        return self._process.wait(timeout=PATIENCE_SECONDS)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], PATIENCE_SECONDS)
        if not ready:
            return False
        try:
            piece = os.read(self._master, 65536)
        except OSError:  # the other side has gone
            return False
        self.seen += self._decoder.decode(piece)
        return bool(piece)


@contextmanager
def on_terminal(run: Program, arguments: Sequence[str], **environ: str) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-c", OWN_TERMINAL, *run.command(*arguments)],
        cwd=run.folder,
        env=run.environment(TERM="xterm", **environ),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    ) as process:
        os.close(slave)
        try:
            yield Terminal(master, process)
        finally:
            process.kill()
            os.close(master)


def test_init_asks_twice_and_shows_the_kit(run: Program) -> None:
    """The passphrase is not echoed; the kit on the screen opens the repository; the advice follows it."""
    with on_terminal(run, ["init", "--repo", "./r"]) as terminal:
        terminal.wait_for("new passphrase: ")
        terminal.type("m0re than a word")
        terminal.wait_for("new passphrase again: ")
        terminal.type("m0re than a word")
        assert terminal.end() == 0
    assert "m0re" not in terminal.seen
    assert "not on this machine" in terminal.seen.partition("AGE-SECRET-KEY-1")[2]
    (key,) = re.findall(r"AGE-SECRET-KEY-1[A-Z0-9]{20,}", terminal.seen)
    (run.folder / "kit.txt").write_text(f"{key}\n", encoding="utf-8")
    (run.folder / "kit.txt").chmod(0o600)
    assert run("list", "--repo", "./r", "--identity-file", "kit.txt").code == 0


def test_two_passphrases_that_differ_make_no_repository(run: Program) -> None:
    """A slip of the finger must not lock everybody out."""
    with on_terminal(run, ["init", "--repo", "./r"]) as terminal:
        terminal.wait_for("new passphrase: ")
        terminal.type("m0re than a word")
        terminal.wait_for("new passphrase again: ")
        terminal.type("m0re than a w0rd")
        assert terminal.end() == 2
    assert "the two passphrases differ" in terminal.seen
    assert not (run.folder / "r" / "config").exists()


def test_a_locked_repository_asks(with_repository: Program) -> None:
    """Where nothing is configured and somebody sits there, ask; Ctrl-C at the question ends with 130."""
    with on_terminal(with_repository, ["list"], HOLDFAST_IDENTITY_FILE="") as terminal:
        terminal.wait_for("passphrase of the repository: ")
        terminal.type("\x03")
        assert terminal.end() == 130
    assert "Traceback" not in terminal.seen


def test_replacing_asks_for_the_databases_name(with_repository: Program, database: Database) -> None:
    """`--replace -`: whoever types another name replaces nothing."""
    run = with_repository
    database.execute("CREATE TABLE t AS SELECT 1 AS a")
    assert run("backup", database.dsn).code == 0
    database.execute("UPDATE t SET a = 2")
    for typed, code, value in (("other", 5, 2), (database.name, 0, 1)):
        with on_terminal(run, ["restore", "latest", "--to", database.dsn, "--replace", "-"]) as terminal:
            terminal.wait_for("type the name of the database to replace")
            terminal.type(typed)
            assert terminal.end() == code, terminal.seen
        assert database.rows("SELECT a FROM t") == [(value,)]


def test_a_backup_shows_where_it_stands_and_leaves_its_report(
    with_repository: Program, database: Database
) -> None:
    """Drawn in place while it runs; afterwards the report alone is left on the screen."""
    database.execute(
        "CREATE TABLE t AS SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 20000) AS n"
    )
    with on_terminal(with_repository, ["backup", database.dsn]) as terminal:
        assert terminal.end() == 0
    assert "reading rows" in terminal.seen
    assert "of 1 table, " in terminal.seen
    last = terminal.seen.rpartition("\x1b[2K")[2]
    assert re.search(r"snapshot \w{26} committed", last)
    assert "reading rows" not in last
