"""The trials: what is run, in which order, and what must be true of the result.

The contenders of a trial take turns, and each round begins with another one, so that noise and caches hit all
alike. What prepares a run or checks it is outside its time. A result that is not what it should be is no figure.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.data import Contents, contents
from bench.measure import BenchError, Measured
from bench.ours import Holdfast, document_of
from bench.peers import Peers
from bench.server import Server

HOLDFAST = "holdfast"
PG_DUMP_GZIP = "pg_dump | gzip"
PG_DUMP_Z1 = "pg_dump -Fd -j2 -Z1"
PG_DUMP_Z0 = "pg_dump -Fd -j2 -Z0"
COPY_ALONE = "COPY alone"
PG_DUMP_FOLDER = "pg_dump -Fd -j2"
PG_RESTORE = "pg_restore -j2"

HELP_RUNS_PER_ROUND = 5

Runs = dict[str, tuple[Measured, ...]]
Say = Callable[[str], None]


def _nothing() -> None:
    pass


def _unmetered() -> float:
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """`prepare` before and `conclude` after every run; `output` is what the run writes."""

    name: str
    run: Callable[[], Measured]
    prepare: Callable[[], None] = _nothing
    conclude: Callable[[], None] = _nothing
    output: Path | None = None

    def turn(
        self, settle: Callable[[], None] = _nothing, meter: Callable[[], float] = _unmetered
    ) -> Measured:
        """One run. `meter` reads the server's processor time."""
        self.prepare()
        settle()
        before = meter()
        measured = self.run()
        server_seconds = meter() - before
        size = 0 if self.output is None else size_of(self.output)
        self.conclude()
        return replace(measured, output_bytes=size, server_seconds=server_seconds)

    def have_output(self) -> None:
        """What another trial starts from, unless it is there from an earlier run."""
        if self.output is not None and not self.output.exists():
            self.turn()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    name: str
    contenders: tuple[Contender, ...]
    needs: tuple[Contender, ...] = ()
    runs_per_round: int = 1


def race(
    trial: Trial,
    *,
    rounds: int,
    settle: Callable[[], None],
    say: Say,
    meter: Callable[[], float] = _unmetered,
) -> Runs:
    """All runs of a trial, by contender, in the order in which they were made."""
    for needed in trial.needs:
        needed.have_output()
    runs: dict[str, list[Measured]] = {contender.name: [] for contender in trial.contenders}
    for turn in range(rounds * trial.runs_per_round):
        first = turn % len(trial.contenders)
        for contender in (*trial.contenders[first:], *trial.contenders[:first]):
            measured = contender.turn(settle, meter)
            runs[contender.name].append(measured)
            megabytes = measured.client_bytes / 1e6
            say(f"{trial.name}: {contender.name}: {measured.seconds:.2f} s, at most {megabytes:.0f} MB")
    return {name: tuple(measured) for name, measured in runs.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where the trials take place. `folder` is for dumps and repositories."""

    server: Server
    peers: Peers
    holdfast: Holdfast
    folder: Path
    _contents: dict[str, Contents] = field(default_factory=dict)

    def backup(self, database: str) -> Contender:
        repository = self.folder / f"{database}.repository"

        def prepare() -> None:
            self.contents(database)  # counted now: not while the server's time is read
            remove(repository)
            self.holdfast.init(repository)

        def run() -> Measured:
            measured = self.holdfast.backup(database, repository)
            read, held = document_of(measured)["rows"], self.contents(database).rows
            if read != held:
                raise BenchError(f"holdfast backed up {read} rows of {database}, which has {held}")
            return measured

        return Contender(name=HOLDFAST, prepare=prepare, run=run, output=repository)

    def dump_gzip(self, database: str) -> Contender:
        file = self.folder / f"{database}.sql.gz"
        return Contender(
            name=PG_DUMP_GZIP,
            prepare=lambda: remove(file),
            run=lambda: self.peers.dump_gzip(database, file),
            output=file,
        )

    def dump_folder(self, database: str, name: str, *compression: str) -> Contender:
        folder = self.folder / f"{database}.dump{''.join(compression)}"
        return Contender(
            name=name,
            prepare=lambda: remove(folder),
            run=lambda: self.peers.dump_folder(database, folder, *compression),
            output=folder,
        )

    def restore(self, database: str, backup: Contender) -> Contender:
        target = f"{database}_restored"
        repository = output_of(backup)
        return Contender(
            name=HOLDFAST,
            prepare=lambda: self.server.drop(target),
            run=lambda: self.holdfast.restore(repository, target),
            conclude=lambda: self.check_restored(database, target),
        )

    def pg_restore(self, database: str, dump: Contender) -> Contender:
        target = f"{database}_restored_by_peer"
        folder = output_of(dump)

        def prepare() -> None:
            self.server.drop(target)
            self.server.create(target)

        return Contender(
            name=PG_RESTORE,
            prepare=prepare,
            run=lambda: self.peers.restore(folder, target),
            conclude=lambda: self.check_restored(database, target),
        )

    def contents(self, database: str) -> Contents:
        """Of a source, which nobody changes."""
        if database not in self._contents:
            self._contents[database] = contents(self.server, database)
        return self._contents[database]

    def row_bytes(self, database: str) -> int:
        """COPY text of the tables of a source, as the repository of its last backup has it."""
        backup = self.backup(database)
        backup.have_output()
        return self.holdfast.row_bytes(output_of(backup))

    def check_restored(self, database: str, target: str) -> None:
        """Everything is there; then drop it."""
        expected, found = self.contents(database), contents(self.server, target)
        if found != expected:
            raise BenchError(f"{target} is not what {database} is: expected {expected}, found {found}")
        self.server.drop(target)


def backup_trial(site: Site, database: str) -> Trial:
    contenders = (
        site.backup(database),
        site.dump_gzip(database),
        site.dump_folder(database, PG_DUMP_Z1, "-Z1"),
        site.dump_folder(database, PG_DUMP_Z0, "-Z0"),
        Contender(name=COPY_ALONE, run=lambda: site.peers.copy_alone(database)),
    )
    return Trial(name="backup", contenders=contenders)


def restore_trial(site: Site, database: str) -> Trial:
    backup, dump = site.backup(database), site.dump_folder(database, PG_DUMP_Z1, "-Z1")
    contenders = (site.restore(database, backup), site.pg_restore(database, dump))
    return Trial(name="restore", contenders=contenders, needs=(backup, dump))


def verify_trial(site: Site, database: str) -> Trial:
    backup = site.backup(database)
    repository = output_of(backup)

    def run() -> Measured:
        measured = site.holdfast.verify(repository)
        read, stored = document_of(measured)["bytes"], site.row_bytes(database)
        if read < stored:
            raise BenchError(f"holdfast verify read {read} bytes of {stored}")
        return measured

    return Trial(name="verify", contenders=(Contender(name=HOLDFAST, run=run),), needs=(backup,))


def help_trial(site: Site, _database: str) -> Trial:
    contender = Contender(name=HOLDFAST, run=site.holdfast.help)
    return Trial(name="help", contenders=(contender,), runs_per_round=HELP_RUNS_PER_ROUND)


def many_backup_trial(site: Site, database: str) -> Trial:
    contenders = (site.backup(database), site.dump_folder(database, PG_DUMP_FOLDER))
    return Trial(name="many backup", contenders=contenders)


def many_restore_trial(site: Site, database: str) -> Trial:
    backup, dump = site.backup(database), site.dump_folder(database, PG_DUMP_FOLDER)
    contenders = (site.restore(database, backup), site.pg_restore(database, dump))
    return Trial(name="many restore", contenders=contenders, needs=(backup, dump))


def large_backup_trial(site: Site, database: str) -> Trial:
    return Trial(name="large backup", contenders=(site.backup(database),))


def large_restore_trial(site: Site, database: str) -> Trial:
    backup = site.backup(database)
    return Trial(name="large restore", contenders=(site.restore(database, backup),), needs=(backup,))


def output_of(contender: Contender) -> Path:
    assert contender.output is not None
    return contender.output


def remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def size_of(place: Path) -> int:
    """Bytes in a file, or in all files of a folder."""
    if place.is_file():
        return place.stat().st_size
    return sum(
        os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(place) for name in names
    )
