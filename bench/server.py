"""The server that everything is measured against: PostgreSQL with its default settings, on this machine.

One setting is raised: pg_dump locks every table at once, and ten thousand of them need room for their locks.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from bench.measure import BenchError, cpu_seconds_of_children
from holdfast.postgres.scratch import ScratchServer
from holdfast.postgres.tools import Toolset, find_tools

# A scratch server is normally run without waiting for the disk: here it is as safe as anyone's.
SETTINGS = {"fsync": "on", "full_page_writes": "on", "max_locks_per_transaction": "512"}

STATED_SETTINGS = (
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "wal_level",
    "shared_buffers",
    "work_mem",
    "maintenance_work_mem",
    "max_wal_size",
    "max_locks_per_transaction",
    "max_parallel_maintenance_workers",
    "autovacuum",
    "lc_collate",
)
_FAREWELL_SECONDS = 0.2  # a server process ends a little after its client
# What changes how programs run: an interpreter told to compile everything anew at each start, for example.
_OUTSIDE_PREFIXES = ("PG", "HOLDFAST_", "DATABASE_URL", "PYTHON")


class Server:
    """A running server. Its password is in `environment`, never in a URL: command lines are public."""

    def __init__(self, scratch: ScratchServer) -> None:
        self._scratch = scratch
        self.toolset = scratch.toolset
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OUTSIDE_PREFIXES)}
        self.environment: Mapping[str, str] = {**kept, "PGPASSWORD": scratch.password, "LC_ALL": "C.UTF-8"}

    def url(self, database: str) -> str:
        return f"postgresql://{self._scratch.superuser}@{self._scratch.host}:{self._scratch.port}/{database}"

    def tool(self, program: str) -> Path:
        return self.toolset.path(program)

    @contextmanager
    def connected(self, database: str = "postgres") -> Iterator[psycopg.Connection]:
        with psycopg.connect(self._scratch.dsn(database), autocommit=True) as connection:
            yield connection

    def run(self, *command: str | Path, stdin: str = "") -> None:
        """Run one of the server's own programs to prepare something. Raises `BenchError` if it fails."""
        done = subprocess.run(
            command, input=stdin, env=self.environment, cwd="/", capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise BenchError(f"{command[0]} failed, exit code {done.returncode}:\n{done.stderr[-4000:]}")

    def script(self, database: str, text: str, **variables: str) -> None:
        """Run SQL, stopping at the first error."""
        psql: list[str | Path] = [self.tool("psql"), "-X", "-q", "-d", self.url(database)]
        for name, value in {"ON_ERROR_STOP": "1", **variables}.items():
            psql += ["-v", f"{name}={value}"]
        self.run(*psql, stdin=text)

    def read_all(self, database: str) -> None:
        """Read every row of every table once, and every value that is stored out of line."""
        self.script(
            database,
            "SELECT format('COPY %s TO ''/dev/null''', oid::regclass) FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace <> 'pg_catalog'::regnamespace \\gexec",
        )

    def create(self, database: str) -> None:
        self._scratch.create_database(database)

    def copy(self, database: str, template: str) -> None:
        """A database of its own that begins as the template is, file by file."""
        with self.connected() as connection:
            statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            connection.execute(statement.format(sql.Identifier(database), sql.Identifier(template)))

    def drop(self, database: str) -> None:
        self._scratch.drop_database(database)

    def settle(self) -> None:
        """Have what was written so far on the disk, so that the next run does not pay for the last one's."""
        with self.connected() as connection:
            connection.execute("CHECKPOINT")
        os.sync()

    def cpu_seconds(self) -> float:
        """Processor time of all connections that have ended so far."""
        time.sleep(_FAREWELL_SECONDS)
        return cpu_seconds_of_children(self._scratch.pid)

    def stated_settings(self) -> dict[str, str]:
        with self.connected() as connection:
            wanted = sql.SQL("SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY (%s)")
            return dict(connection.execute(wanted, [list(STATED_SETTINGS)]).fetchall())


def pick_toolset(major: int | None) -> Toolset:
    """The newest PostgreSQL at hand, or the newest of a major version."""
    for toolset in find_tools():
        if toolset.is_server and "pg_dump" in toolset.programs and major in (None, toolset.major):
            return toolset
    wanted = f"PostgreSQL {major}" if major else "PostgreSQL"
    raise BenchError(f"no server of {wanted} is at hand; install its server package")


@contextmanager
def working_folder(keep: Path | None) -> Iterator[Path]:
    """Where everything is: the folder to keep, or one that goes at the end."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)  # the server may have to run as another user
        yield Path(folder)


@contextmanager
def runs_folder_in(folder: Path) -> Iterator[Path]:
    """For dumps and repositories: on the server's disk, and never kept."""
    with tempfile.TemporaryDirectory(prefix="runs-", dir=folder) as runs:
        yield Path(runs)


@contextmanager
def serving(toolset: Toolset, folder: Path, *, keep: bool) -> Iterator[Server]:
    """Run the server in `folder`. With `keep` its databases stay there for the next time."""
    if keep:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)  # the server may have to run as another user
        _require_major(folder, toolset)
    scratch = ScratchServer(toolset, folder, settings=SETTINGS, password=_password(folder, keep=keep))
    try:
        scratch.start()
        yield Server(scratch)
    finally:
        if keep:
            scratch.stop()
        else:
            scratch.close()


def _password(folder: Path, *, keep: bool) -> str:
    """A kept cluster keeps its password, too."""
    place = folder / "password"
    if keep and place.exists():
        return place.read_text(encoding="ascii")
    password = secrets.token_urlsafe(18)
    if keep:
        place.touch(mode=0o600)
        place.write_text(password, encoding="ascii")
    return password


def _require_major(folder: Path, toolset: Toolset) -> None:
    version = folder / "data" / "PG_VERSION"
    if version.exists() and (major := version.read_text().strip()) != str(toolset.major):
        raise BenchError(f"{folder} holds databases of PostgreSQL {major}, not {toolset.major}: give another")
