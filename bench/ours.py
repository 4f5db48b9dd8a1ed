"""Holdfast as its users run it: the installed command, with its start-up, in a folder without settings."""

from __future__ import annotations

import compileall
import json
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import holdfast
from bench.measure import BenchError, Measured, measure
from bench.server import Server


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdfast:
    """`jobs` None leaves the number of connections to Holdfast."""

    command: Path
    server: Server
    folder: Path
    jobs: int | None = None
    passphrase: str = field(default_factory=lambda: secrets.token_urlsafe(18), repr=False)

    def version(self) -> str:
        return self._run("--version").stdout.decode().strip()

    def help(self) -> Measured:
        return self._run("--help")

    def init(self, repository: Path) -> None:
        self._run("init", "--repo", repository, "--no-kit")

    def backup(self, database: str, repository: Path) -> Measured:
        """A full backup; raises `BenchError` if the snapshot is but partial."""
        source = self.server.url(database)
        return self._whole(
            database, self._run("backup", source, "--repo", repository, "--full", "--json", *self._jobs())
        )

    def incremental(self, database: str, repository: Path) -> Measured:
        """A backup on top of the last one; raises `BenchError` if the snapshot is but partial."""
        return self._whole(
            database,
            self._run("backup", self.server.url(database), "--repo", repository, "--json", *self._jobs()),
        )

    def restore(self, repository: Path, database: str) -> Measured:
        """The latest snapshot into a database that it creates."""
        target = self.server.url(database)
        where = ["latest", "--to", target, "--create"]
        return self._run("restore", *where, "--repo", repository, "--json", *self._jobs())

    def verify(self, repository: Path) -> Measured:
        """Every object read, opened and compared; raises `BenchError` at any finding."""
        run = self._run("verify", "--all", "--level", "3", "--repo", repository, "--json", *self._jobs())
        if findings := document_of(run)["findings"]:
            raise BenchError(f"holdfast verify found damage: {findings}")
        return run

    def prune(self, repository: Path, *options: str) -> Measured:
        return self._run("prune", *options, "--repo", repository, "--json")

    def check(self, repository: Path) -> None:
        """Every object that a snapshot needs is there; raises `BenchError` at any finding."""
        run = self._run("verify", "--all", "--level", "1", "--repo", repository, "--json")
        if findings := document_of(run)["findings"]:
            raise BenchError(f"holdfast verify found damage: {findings}")

    def row_bytes(self, repository: Path) -> int:
        """COPY text of all tables in all snapshots of a repository."""
        listed = document_of(self._run("list", "--repo", repository, "--json"))
        return sum(snapshot["bytes"] for snapshot in listed["snapshots"])

    def environment(self) -> Mapping[str, str]:
        return {**self.server.environment, "HOLDFAST_PASSPHRASE": self.passphrase, "HOLDFAST_NICE": "0"}

    def _whole(self, database: str, run: Measured) -> Measured:
        document = document_of(run)
        if document["state"] != "committed":
            gaps = [entry for entry in document["coverage"] if entry["status"] != "captured"]
            raise BenchError(f"holdfast backup of {database} is {document['state']}: {gaps}")
        return run

    def _jobs(self) -> tuple[str, ...]:
        return () if self.jobs is None else ("--jobs", str(self.jobs))

    def _run(self, *arguments: str | Path) -> Measured:
        return measure((self.command, *arguments), environment=self.environment(), folder=self.folder)


def document_of(run: Measured) -> dict[str, Any]:
    document = json.loads(run.stdout)
    assert isinstance(document, dict)
    return document


def compile_modules() -> None:
    """As an installation does it: the first run of a checkout would pay for it otherwise."""
    compileall.compile_dir(Path(holdfast.__file__).parent, quiet=1)


def find_command(python: Path) -> Path:
    """The `holdfast` installed beside this Python, or on PATH."""
    beside = python.parent / "holdfast"
    found = beside if beside.is_file() else shutil.which("holdfast")
    if not found:
        raise BenchError("the command holdfast is not installed: run make bench, or name it with --holdfast")
    return Path(found)
