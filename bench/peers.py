"""The peers: PostgreSQL's own programs, of the server's version, as people run them."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.measure import BenchError, Measured, measure
from bench.server import Server

JOBS = "-j2"
# Two halves of the standard data that take about as long.
HALVES = (("app.events", "app.orders"), ("pgbench_accounts", "app.users"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """`folder` is where the programs run; nothing of theirs is read from it."""

    server: Server
    folder: Path

    def dump_gzip(self, database: str, file: Path) -> Measured:
        """`pg_dump | gzip > file`: neither flushes what it wrote."""
        pg_dump = (self.server.tool("pg_dump"), "-d", self.server.url(database))
        return measure(
            pg_dump, (_gzip(),), environment=self.server.environment, folder=self.folder, output=file
        )

    def dump_folder(self, database: str, folder: Path, *compression: str) -> Measured:
        """`pg_dump -Fd -j2 [-Z…]`: compressed by gzip's level 6 unless told otherwise, flushed at the end."""
        pg_dump, url = self.server.tool("pg_dump"), self.server.url(database)
        return measure(
            [pg_dump, "-Fd", JOBS, *compression, "-f", folder, "-d", url],
            environment=self.server.environment,
            folder=self.folder,
        )

    def copy_alone(self, database: str) -> Measured:
        """About what the server needs to hand out all rows: `COPY … TO STDOUT` over two connections, thrown away.

        No strict floor: psql takes every row on its own, and the two halves do not end together.
        """
        psql = shlex.join([str(self.server.tool("psql")), "-qX", "-d", self.server.url(database)])
        halves = (
            f"{psql} -c {shlex.quote('; '.join(f'COPY {table} TO STDOUT' for table in tables))} >/dev/null"
            for tables in HALVES
        )
        script = " & ".join(halves) + " & wait"
        return measure(("sh", "-c", script), environment=self.server.environment, folder=self.folder)

    def dump_custom(self, database: str, file: Path) -> Measured:
        """`pg_dump -Fc`: one file, compressed by gzip's level 6."""
        return measure(
            [self.server.tool("pg_dump"), "-Fc", "-f", file, "-d", self.server.url(database)],
            environment=self.server.environment,
            folder=self.folder,
        )

    def restic(self, repository: Path, *arguments: str) -> Measured:
        return measure(
            [*_restic(repository), *arguments], environment=self._restic_environment(), folder=self.folder
        )

    def dump_restic(self, database: str, repository: Path) -> Measured:
        """`pg_dump | restic backup --stdin`, compressed and deduplicated by content (format version 2)."""
        pg_dump = (self.server.tool("pg_dump"), "-d", self.server.url(database))
        backup = (*_restic(repository), "backup", "--stdin", "--stdin-filename", f"{database}.sql")
        return measure(pg_dump, backup, environment=self._restic_environment(), folder=self.folder)

    def _restic_environment(self) -> dict[str, str]:
        return {**self.server.environment, "RESTIC_PASSWORD": "bench", "HOME": str(self.folder)}

    def restore(self, folder: Path, database: str) -> Measured:
        """`pg_restore -j2` into an empty database that is there already."""
        command = (self.server.tool("pg_restore"), JOBS, "-d", self.server.url(database), folder)
        return measure(command, environment=self.server.environment, folder=self.folder)

    def gzip_version(self) -> str:
        done = subprocess.run([_gzip(), "--version"], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()[0]


def _gzip() -> str:
    path = shutil.which("gzip")
    if path is None:
        raise BenchError("gzip is not at hand; install the package gzip")
    return path


def has_restic() -> bool:
    return shutil.which("restic") is not None


def _restic(repository: Path) -> tuple[str, ...]:
    path = shutil.which("restic")
    if path is None:
        raise BenchError("restic is not at hand; install the package restic")
    return (path, "--quiet", "--repo", str(repository))
