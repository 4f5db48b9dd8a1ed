"""One run of a source at a time: whoever comes second steps aside, unless the first is dead."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from holdfast.domain.errors import InterruptedRunError, OutOfTimeError, SteppedAsideError
from holdfast.domain.events import Event, PhaseBegan, ignore
from holdfast.domain.ids import SnapshotId, make_snapshot_id
from holdfast.postgres.address import ServerAddress
from holdfast.repository.repo import Repository
from holdfast.repository.runs.overlap import require_alone, stay_alone
from holdfast.repository.runs.predecessors import find_predecessors
from holdfast.repository.runs.run import Run
from holdfast.storage.local import LocalStorage
from holdfast.storage.memory import MemoryStorage
from holdfast.workflows.backup import BackupOptions, BackupSource, backup
from holdfast.workflows.listing import list_snapshots
from holdfast.workflows.turn import take_turn
from holdfast.workflows.verify import verify
from patience import PATIENCE_SECONDS, wait_until
from postgres_servers import Database
from repositories import PASSPHRASE, make_repository
from snapshots import begin, commit, now


@pytest.fixture
def source(database: Database) -> Database:
    database.execute(
        "create table t as select i, md5(i::text) as a from generate_series(1, 1000) i",
    )
    return database


def take(database: Database, repository: Repository, name: str = "shop", **options: object) -> str:
    report = backup(
        BackupSource(name=name, address=ServerAddress.parse(database.dsn)),
        repository,
        options=BackupOptions(**options),  # type: ignore[arg-type]
    )
    return report.snapshot


def test_the_second_run_of_a_source_steps_aside(source: Database) -> None:
    """It says which run is in the way, where and since when, and leaves no trace; other sources go on."""
    repository = make_repository(MemoryStorage())
    with begin(repository, "shop") as first:
        with pytest.raises(SteppedAsideError) as caught:
            take(source, repository)
        assert caught.value.exit_code == 5
        assert caught.value.snapshot == first.snapshot
        for fact in (first.snapshot, first.record.host.name, f"process {os.getpid()}"):
            assert fact in caught.value.message
        assert list(repository.writers.names()) == [first.snapshot]
        other = take(source, repository, "other")
        commit(first, {"t": [b"1\n"]})
    assert {item.summary.snapshot for item in list_snapshots(repository).snapshots} == {first.snapshot, other}


def test_a_run_that_waits_goes_on_when_the_other_has_ended(source: Database) -> None:
    """With `wait_seconds` the second run follows the first, and builds on it."""
    repository = make_repository(MemoryStorage())
    with begin(repository, "shop") as first:
        timer = threading.Timer(0.5, lambda: commit(first, {"t": [b"1\n"]}))
        timer.start()
        second = take(source, repository, wait_seconds=60.0)
        timer.join()
    assert repository.summary(list_snapshots(repository).snapshots[-1].summary.snapshot).snapshot == second
    assert (
        repository.summary(list_snapshots(repository).snapshots[-1].summary.snapshot).parent == first.snapshot
    )


def test_one_that_could_not_be_struck_off_is_not_in_the_way(source: Database) -> None:
    """A run that this process has ended, whose record says nothing of it, holds nobody up."""
    repository = make_repository(MemoryStorage())
    with begin(repository, "shop") as failed:
        pass
    assert list(repository.writers.names()) == [failed.snapshot]
    take(source, repository)


STEPS = ("look", "announce", "look again")


@pytest.mark.parametrize("order", sorted(set(itertools.permutations("AAABBB"))))
@pytest.mark.parametrize("first_has_the_lower_id", [True, False])
def test_of_two_that_begin_at_once_at_most_one_goes_on(
    order: tuple[str, ...], *, first_has_the_lower_id: bool
) -> None:
    """Whatever the order of their steps, and whichever id is lower."""
    repository = make_repository(MemoryStorage())
    ids = sorted(make_snapshot_id(now(), os.urandom(10)) for _ in "AB")
    names = dict(zip("AB" if first_has_the_lower_id else "BA", ids, strict=True))
    progress = {"A": iter(STEPS), "B": iter(STEPS)}
    runs: dict[str, Run] = {}
    out: set[str] = set()
    for who in order:
        step = next(progress[who])
        if who in out:
            continue
        try:
            if step == "look":
                require_alone(repository, "shop", now=now())
            elif step == "announce":
                runs[who] = Run.begin(
                    repository,
                    snapshot=names[who],
                    source="shop",
                    predecessors=find_predecessors(repository, "shop", now=now()),
                    level=1,
                    clock=now,
                )
            else:
                stay_alone(runs[who], clock=now, settle_seconds=0)
        except SteppedAsideError:
            out.add(who)
            if who in runs:
                runs[who].withdraw()
    assert out
    for who in set(runs) - out:
        runs[who].withdraw()


def test_a_run_looks_again_after_it_has_announced_itself() -> None:
    """A rival that came between the first look and the announcement is seen; nothing of the run is left."""
    repository = make_repository(MemoryStorage())
    rivals: list[Run] = []

    def rival_comes_first(at: datetime) -> SnapshotId:
        rivals.append(begin(repository))
        return make_snapshot_id(at + timedelta(seconds=1), os.urandom(10))

    with pytest.raises(SteppedAsideError):
        take_turn(
            repository,
            "shop",
            make_id=rival_comes_first,
            level=1,
            clock=now,
            listener=ignore,
            interrupted=threading.Event(),
        )
    assert list(repository.writers.names()) == [rivals[0].snapshot]
    rivals[0].withdraw()


def test_the_lower_id_outlasts_one_that_withdraws() -> None:
    """Two that have both announced do not both give way: the older looks again until the younger has gone."""
    repository = make_repository(MemoryStorage())
    older, younger = sorted((begin(repository), begin(repository)), key=lambda run: run.snapshot)

    def younger_gives_way(_: float) -> None:
        with pytest.raises(SteppedAsideError):
            stay_alone(younger, clock=now)
        younger.withdraw()

    stay_alone(older, clock=now, sleep=younger_gives_way)
    older.withdraw()


def test_overlapping_commits_are_sound() -> None:
    """Should two runs of a source overlap all the same, both snapshots hold what they captured."""
    repository = make_repository(MemoryStorage())
    with begin(repository) as one, begin(repository) as two:
        commit(two, {"t": [b"2\n"], "u": [b"same\n"]})
        commit(one, {"t": [b"1\n"], "u": [b"same\n"]})
    assert len(list_snapshots(repository).snapshots) == 2
    assert verify(repository, None, level=3).findings == ()


@pytest.fixture
def start(source: Database, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """`start()`: the program backs up `source`, in a process of its own."""
    make_repository(LocalStorage(tmp_path / "repository", create_root=True))
    started: list[subprocess.Popen[str]] = []

    def begin_process() -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-m",
            "holdfast",
            "backup",
            source.dsn,
            "--lock-timeout",
            "3600",
            "--quiet",
        ]
        process = subprocess.Popen(
            [*command, "--repo", str(tmp_path / "repository")],
            env={**os.environ, "HOLDFAST_PASSPHRASE": PASSPHRASE},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin_process
    for process in started:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate()


def test_of_many_processes_that_begin_at_once_one_commits(
    source: Database, start: Callable[[], subprocess.Popen[str]]
) -> None:
    """Real processes, started together: all but one exit with 5, whose reason names the run; one snapshot."""
    with psycopg.connect(source.dsn) as blocker:
        blocker.execute("lock table t in access exclusive mode")
        processes = [start() for _ in range(3)]
        wait_until(lambda: sum(process.poll() is not None for process in processes) >= 2)
        blocker.rollback()
        ended = [
            (*process.communicate(timeout=PATIENCE_SECONDS), process.returncode) for process in processes
        ]
    assert sorted(code for _, _, code in ended) == [0, 5, 5], ended
    for _, stderr, code in ended:
        if code == 5:
            assert "another run of" in stderr
            assert "is alive: snapshot" in stderr


def test_a_killed_run_is_not_in_the_way(
    source: Database, start: Callable[[], subprocess.Popen[str]], tmp_path: Path
) -> None:
    """kill -9, and the next run goes on at once: on the same machine the dead are known to be dead."""
    with psycopg.connect(source.dsn) as blocker:
        blocker.execute("lock table t in access exclusive mode")
        killed = start()
        wait_until(lambda: any((tmp_path / "repository" / "writers").glob("*")), "the run's record")
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        blocker.rollback()
    stdout, stderr = (next_run := start()).communicate(timeout=PATIENCE_SECONDS)
    assert next_run.returncode == 0, stderr
    assert "committed" in stdout


def test_a_run_that_takes_too_long_gives_up(source: Database) -> None:
    """At the limit it ends by itself, commits nothing, and says that the next run goes on from there."""
    repository = make_repository(MemoryStorage())
    with psycopg.connect(source.dsn) as blocker:
        blocker.execute("lock table t in access exclusive mode")
        with pytest.raises(OutOfTimeError, match=r"gave up after .*; nothing was committed"):
            take(source, repository, max_runtime=timedelta(seconds=1))
        blocker.rollback()
    assert list_snapshots(repository).snapshots == ()
    take(source, repository, max_runtime=timedelta(hours=1))


def test_an_operator_who_stops_a_limited_run_is_not_told_of_the_limit(source: Database) -> None:
    """Ctrl-C stays Ctrl-C."""
    stop = threading.Event()
    stop.set()
    with pytest.raises(InterruptedRunError):
        backup(
            BackupSource(name="shop", address=ServerAddress.parse(source.dsn)),
            make_repository(MemoryStorage()),
            options=BackupOptions(max_runtime=timedelta(hours=1)),
            interrupted=stop,
        )


def test_no_transaction_outlives_the_reading(source: Database) -> None:
    """When the commit begins, the source has no session of the run left: no lock, no snapshot held back."""
    seen: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, PhaseBegan) and event.phase == "committing":
            source.wait_for_none(
                "select pid, state from pg_stat_activity where datname = current_database()"
                " and pid <> pg_backend_pid() and backend_xmin is not null"
                " union all"
                " select pid, mode from pg_locks where relation = 't'::regclass and pid <> pg_backend_pid()"
            )
            seen.append(event.phase)

    backup(
        BackupSource(name="shop", address=ServerAddress.parse(source.dsn)),
        make_repository(MemoryStorage()),
        options=BackupOptions(),
        listener=listen,
    )
    assert seen == ["committing"]
