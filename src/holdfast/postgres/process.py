"""One running PostgreSQL server: started without privileges, watched, and gone when its owner is gone.

Invariants:
- A watchdog process stops the server and removes its files when the owner's process has ended, however it ended:
  a drill's files are somebody's data in the clear.
- Nothing of the owner's environment is inherited: restoring runs functions that strangers wrote.
- `kill` returns when the last of the server's processes is gone, so that its folder may be used again.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from holdfast.domain.errors import UnreachableError
from holdfast.postgres.identity import Identity

START_SECONDS = 120
STOP_SECONDS = 60
_POLL_SECONDS = 0.02
_TAIL_LINES = 12
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")

# Reads the server's pid, then waits. Any further line: the owner has stopped the server itself. End of input
# without one: the owner is dead. The pid is trusted only if the data folder's own record names it, for which a
# server that was just started is given two seconds.
_WATCHDOG = """
data=$1 doomed=$2
read -r pid || exit 0
read -r word && exit 0
tries=0
until [ "$(head -n 1 "$data/postmaster.pid" 2>/dev/null)" = "$pid" ] || [ "$tries" -ge 20 ]; do
    tries=$((tries + 1)); sleep 0.1
done
if [ "$tries" -lt 20 ]; then
    kill -QUIT "$pid" 2>/dev/null
    tries=0
    while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 100 ]; do tries=$((tries + 1)); sleep 0.1; done
    kill -KILL "$pid" 2>/dev/null
fi
[ -z "$doomed" ] || rm -rf -- "$doomed" || { sleep 1; rm -rf -- "$doomed"; }
"""


class ServerProcess:
    """The server of one data folder. `doomed` is what the watchdog removes if the owner dies.

    Construction starts it; `wait_ready` says when it takes connections. Raises `UnreachableError` if the
    program cannot be run at all.
    """

    def __init__(
        self,
        bindir: Path,
        data: Path,
        *,
        options: Mapping[str, str],
        log_path: Path,
        identity: Identity | None,
        doomed: Path | None,
    ) -> None:
        self._data = data
        self._log_path = log_path
        self._log_start = log_path.stat().st_size if log_path.exists() else 0
        command = [str(bindir / "postgres"), "-D", str(data)]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self._watchdog = _start_watchdog(data, doomed)
        # Every process of the server inherits the writing end: ours reads end-of-file when the last is gone.
        self._lifeline, held = os.pipe()
        try:
            self._process = self._spawn(command, identity, held)
        except OSError as error:
            os.close(self._lifeline)
            self._tell_watchdog("stopped")
            raise UnreachableError(f"{command[0]} cannot be started: {error}") from error
        finally:
            os.close(held)
        self._tell_watchdog(str(self._process.pid))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def new_log(self) -> str:
        """What the server wrote to its log since it was started."""
        with self._log_path.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def wait_ready(self, timeout_seconds: float) -> None:
        """Return when the server takes connections. Raises `UnreachableError` if it ends or takes too long."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            if not self.running:
                raise self._failure("ended while starting")
            if self._says_ready():
                return
            time.sleep(_POLL_SECONDS)
        raise self._failure(f"is not ready after {timeout_seconds:g} s")

    def stop(self, *, immediate: bool) -> None:
        """Fast shutdown, or immediate; and `kill` if the server does not heed it."""
        self._process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """`kill -9` all of the server's processes and wait for them; safe to repeat.

        Left alone, a busy session would go on for as long as its query lasts, and keep the data folder taken.
        """
        if self._lifeline < 0:
            return
        if self.running:
            self._process.send_signal(signal.SIGSTOP)  # so that it starts no more of them meanwhile
            for child in _children(self.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        ended = _wait_for_end_of_file(self._lifeline, STOP_SECONDS)
        os.close(self._lifeline)
        self._lifeline = -1
        self._tell_watchdog("stopped")
        if not ended:
            raise UnreachableError(
                f"the server in {self._data.parent} still has processes {STOP_SECONDS} s after it was killed",
                hint=f"look for them by ps -ef | grep {self._data.parent}",
            )

    def _spawn(self, command: Sequence[str], identity: Identity | None, held: int) -> subprocess.Popen[bytes]:
        with self._log_path.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self._data,
                env=plain_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                pass_fds=(held,),
                start_new_session=True,  # Ctrl-C is the owner's to handle
                user=identity.uid if identity else None,
                group=identity.gid if identity else None,
                extra_groups=[] if identity else None,
                umask=0o077,
            )

    def _says_ready(self) -> bool:
        """The eighth line of postmaster.pid is the server's own statement; pg_ctl goes by it too."""
        try:
            lines = (self._data / "postmaster.pid").read_text(errors="replace").splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() in ("ready", "standby")

    def _failure(self, what: str) -> UnreachableError:
        tail = "\n".join(self.new_log().splitlines()[-_TAIL_LINES:])
        return UnreachableError(
            f"the scratch server in {self._data.parent} {what}"
            + (f"; its log ends with:\n{tail}" if tail else "")
        )

    def _tell_watchdog(self, word: str) -> None:
        """A pid to watch, or anything at all to be dismissed."""
        assert self._watchdog.stdin is not None
        with contextlib.suppress(OSError):
            self._watchdog.stdin.write(f"{word}\n".encode())
            self._watchdog.stdin.flush()
        if word == "stopped":
            self._watchdog.stdin.close()
            self._watchdog.wait()


def initdb(
    bindir: Path,
    data: Path,
    *,
    identity: Identity | None,
    superuser: str,
    password: str,
    encoding: str = "UTF8",
    locale: str = "C",
    initdb_args: Sequence[str] = (),
) -> None:
    """Create a cluster in the empty folder `data`, which its user owns. Raises `UnreachableError` with what
    initdb said."""
    # A file, since initdb as another user may not open our end of a pipe; and beside `data`, which must be empty.
    password_file = data.with_name(".password")
    command = [str(bindir / "initdb"), "-D", str(data), "-U", superuser, "-E", encoding]
    command += ["--locale", locale, "--no-sync", "--no-instructions", "--pwfile", str(password_file)]
    command += ["--auth-local=trust", "--auth-host=scram-sha-256", *initdb_args]
    try:
        password_file.touch(mode=0o600)
        password_file.write_text(f"{password}\n", encoding="utf-8")
        if identity is not None:
            os.chown(password_file, identity.uid, identity.gid)
        done = subprocess.run(
            command,
            cwd=data,
            env=plain_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            start_new_session=True,
            user=identity.uid if identity else None,
            group=identity.gid if identity else None,
            extra_groups=[] if identity else None,
            umask=0o077,
        )
    except OSError as error:
        raise UnreachableError(f"{command[0]} cannot be started: {error}") from error
    finally:
        password_file.unlink(missing_ok=True)
    if done.returncode != 0:
        tail = "\n".join(done.stdout.decode(errors="replace").splitlines()[-_TAIL_LINES:])
        raise UnreachableError(f"initdb could not create a cluster in {data}:\n{tail}")


def plain_environment() -> dict[str, str]:
    """What a server may know of our surroundings: no secrets, no libpq settings, messages in English."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return {"LC_ALL": "C", **kept}


def _start_watchdog(data: Path, doomed: Path | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["/bin/sh", "-c", _WATCHDOG, "holdfast-scratch-watchdog", str(data), str(doomed or "")],
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _children(pid: int) -> list[int]:
    """The processes that `pid` started, where the system tells (Linux); otherwise they end in their own time."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if stat.read_text(errors="replace").rpartition(")")[2].split()[1] == str(pid):
                found.append(int(stat.parent.name))
    return found


def _wait_for_end_of_file(descriptor: int, timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([descriptor], [], [], left)
        if ready and not os.read(descriptor, 4096):
            return True
    return False
