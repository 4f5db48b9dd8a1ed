"""Runs that meet trouble: two at once, no space left, a damaged repository, kill -9 while restoring."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import psycopg
import pytest

from holdfast.domain.errors import (
    DamagedError,
    InterruptedRunError,
    RefusedError,
    SteppedAsideError,
    StorageFullError,
    UnreachableError,
)
from holdfast.domain.tables import TablePatterns
from holdfast.postgres.address import ServerAddress
from holdfast.repository import layout
from holdfast.repository.repo import Repository
from holdfast.repository.runs import pins
from holdfast.storage import Buffer
from holdfast.storage.local import LocalStorage
from holdfast.storage.memory import MemoryStorage
from holdfast.workflows.backup import BackupOptions, BackupSource, backup
from holdfast.workflows.listing import list_snapshots
from holdfast.workflows.reports import BackupReport
from holdfast.workflows.restore import RestoreOptions, restore
from holdfast.workflows.verify import verify
from patience import wait_until
from postgres_servers import Database, ServerPool
from repositories import PASSPHRASE, make_repository

ROWS = 120_000


@pytest.fixture
def source(database: Database) -> Database:
    database.execute(
        "create table big as select i, md5(i::text) as a, md5((i * 7)::text) as b"
        f" from generate_series(1, {ROWS}) i",
        "alter table big add primary key (i)",
        "create table small as select i from generate_series(1, 10) i",
    )
    return database


@pytest.fixture
def target(source: Database, pg: ServerPool) -> Iterator[str]:
    """The address of a database that does not exist yet."""
    name = f"{source.name}_back"
    yield pg().dsn(name)
    pg().drop_database(name)


def take(database: Database, repository: Repository, name: str = "one", **more: object) -> BackupReport:
    return backup(
        BackupSource(name=name, address=ServerAddress.parse(database.dsn)),
        repository,
        options=BackupOptions(),
        **more,  # type: ignore[arg-type]
    )


def bring_back(repository: Repository, taken: BackupReport, dsn: str, **options: object) -> None:
    restore(
        repository,
        taken.snapshot,
        ServerAddress.parse(dsn),
        options=RestoreOptions(**{"create": True, **options}),  # type: ignore[arg-type]
    )


def content(dsn: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            "select count(*), md5(string_agg(a || b, '' order by i)) from big"
        ).fetchall()


def test_two_runs_of_one_source_and_one_of_another_at_once(
    source: Database, make_database: Callable[..., Database]
) -> None:
    """Three runs into one repository at the same time: of one source one steps aside, or comes after the other;
    every snapshot is sound."""
    other = make_database(name_prefix="other")
    other.execute("create table t as select i from generate_series(1, 50000) i")
    repository = make_repository(MemoryStorage())

    def take_in_turn(database: Database, name: str) -> str | None:
        try:
            return take(database, repository, name).snapshot
        except SteppedAsideError:
            return None

    with ThreadPoolExecutor(3) as pool:
        ones = [pool.submit(take_in_turn, source, "one") for _ in range(2)]
        others = pool.submit(take_in_turn, other, "other")
        taken = {run.result() for run in ones} - {None}
    assert taken
    assert {item.summary.snapshot for item in list_snapshots(repository).snapshots} == {
        *taken,
        others.result(),
    }
    assert verify(repository, None, level=3).findings == ()


def test_ranges_are_read_by_any_executor(source: Database, tmp_path: Path) -> None:
    """Worker processes instead of threads capture the same chunks: tasks are plain data."""

    def processes(jobs: int) -> Executor:
        return ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))

    repository = make_repository(LocalStorage(tmp_path / "repository", create_root=True))
    by_threads = take(source, repository)
    by_processes = take(source, repository, make_executor=processes)
    assert by_processes.rows == by_threads.rows == ROWS + 10
    assert by_processes.chunks_stored == 0
    assert by_processes.chunks_reused == by_threads.chunks_stored
    assert verify(repository, None, level=3).findings == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_a_full_disk_ends_a_run_with_nothing_committed(source: Database, tmp_path: Path) -> None:
    """With no room left, the error says so, the older snapshot stays whole, and no new one is there."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=7m", "tmpfs", str(folder)], check=True)
    try:
        repository = make_repository(LocalStorage(folder))
        first = take(source, repository)
        source.execute("update big set a = md5(a), b = md5(b)")
        with pytest.raises(StorageFullError) as caught:
            take(source, repository)
        assert caught.value.hint
        assert [item.summary.snapshot for item in list_snapshots(repository).snapshots] == [first.snapshot]
        subprocess.run(["mount", "-o", "remount,size=60m", str(folder)], check=True)
        assert verify(repository, None, level=3).findings == ()
        take(source, repository)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_an_interrupted_run_commits_nothing(source: Database) -> None:
    """Asked to stop, a run ends with InterruptedRunError, and the next one reuses what was stored."""
    repository = make_repository(MemoryStorage())
    stop = threading.Event()
    stop.set()
    with pytest.raises(InterruptedRunError):
        take(source, repository, interrupted=stop)
    assert list_snapshots(repository).snapshots == ()
    take(source, repository)


def test_unchanged_tables_are_not_stored_again(source: Database) -> None:
    """The second snapshot of an unchanged database stores no chunk, and its tables' manifests are reused."""
    repository = make_repository(MemoryStorage())
    first = take(source, repository)
    second = take(source, repository)
    assert second.parent == first.snapshot
    assert second.chunks_stored == 0
    assert second.chunks_reused == first.chunks_stored
    assert second.bytes_stored < first.bytes_stored / 50


def test_a_parent_whose_object_is_gone_is_healed(source: Database, target: str) -> None:
    """A chunk whose object vanished is stored again by the next run, whose snapshot then restores."""
    storage = MemoryStorage()
    repository = make_repository(storage)
    take(source, repository)
    name = max(storage.list("data/"), key=lambda info: info.size_bytes).name
    storage.delete(name)
    healed = take(source, repository)
    assert healed.chunks_stored > 0
    assert verify(repository, [healed.snapshot], level=3).findings == ()
    bring_back(repository, healed, target)
    assert content(target) == content(source.dsn)


@pytest.mark.parametrize("damage", ["flipped", "truncated", "emptied", "removed", "swapped"])
def test_a_restore_stops_before_a_wrong_row(source: Database, target: str, damage: str) -> None:
    """With a damaged chunk, the restore names the object, and the table has no rows but those of whole chunks
    that were checked: none, since its rows are one transaction."""
    storage = MemoryStorage()
    repository = make_repository(storage)
    taken = take(source, repository)
    objects = sorted(storage.list("data/"), key=lambda info: info.size_bytes)
    name, data = objects[-1].name, storage.get(objects[-1].name)
    if damage == "removed":
        storage.delete(name)
    elif damage == "swapped":
        storage.replace(name, storage.get(objects[0].name))
    else:
        middle = len(data) // 2
        storage.replace(
            name,
            {
                "flipped": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
                "truncated": data[:-1],
                "emptied": b"",
            }[damage],
        )
    with pytest.raises(DamagedError) as caught:
        bring_back(repository, taken, target)
    assert caught.value.object_name == name
    if damage in ("truncated", "emptied", "removed", "swapped"):
        # Seen in the listing, before the target was touched: it was not even made.
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(target)
        return
    with psycopg.connect(target) as connection:
        assert connection.execute("select count(*) from big").fetchall() == [(0,)]
        assert connection.execute("select count(*) from holdfast_incomplete.restore").fetchall() == [(1,)]


def test_what_is_to_be_replaced_stays_while_a_large_object_is_missing(
    source: Database, make_database: Callable[..., Database]
) -> None:
    """The restore looks for everything it will read before it drops anything; one of tables needs none of that."""
    source.execute(
        "select lo_from_bytea(0, string_agg(decode(md5(i::text), 'hex'), '')) from generate_series(1, 99999) i"
    )
    occupied = make_database(name_prefix="occupied")
    occupied.execute("create table precious (a int)", "insert into precious values (42)")
    storage = MemoryStorage()
    repository = make_repository(storage)
    taken = take(source, repository)
    (item,) = repository.large_objects(repository.root(repository.summary(taken.snapshot)))
    storage.delete(item.pieces[0].object_name)
    replacing = {"create": False, "replace": occupied.name, "safety_snapshot": False}
    with pytest.raises(DamagedError, match="missing; nothing was changed"):
        bring_back(repository, taken, occupied.dsn, **replacing)
    assert occupied.rows("select a from precious") == [(42,)]
    small = TablePatterns(patterns=("public.small",))
    bring_back(repository, taken, occupied.dsn, include=small, **replacing)
    assert occupied.rows("select count(*) from small") == [(10,)]


class Unheard(MemoryStorage):
    """A storage that takes no heartbeat."""

    def replace(self, name: str, data: Buffer) -> None:
        if name.startswith(layout.WRITERS):
            raise UnreachableError("the network is down")
        super().replace(name, data)


def test_a_restore_says_that_nothing_kept_what_it_read(
    source: Database, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its heartbeat failed while it ran: the report says so at the end."""
    monkeypatch.setattr(pins, "HEARTBEAT_SECONDS", 0.01)
    repository = make_repository(Unheard())
    taken = take(source, repository)
    report = restore(
        repository, taken.snapshot, ServerAddress.parse(target), options=RestoreOptions(create=True)
    )
    assert "the heartbeat failed: the network is down" in report.warnings


def test_a_damaged_outcome_stops_its_source_only_and_not_a_full_run(source: Database) -> None:
    """Another source's run says that it passed it over. The source itself is refused, unless it reads anew."""
    storage = MemoryStorage()
    repository = make_repository(storage)
    first, newest = take(source, repository), take(source, repository)
    name = layout.outcome(newest.snapshot)
    storage.replace(name, b"x" * 200)
    other = take(source, repository, "two")
    assert any(name in text for text in other.warnings)
    with pytest.raises(DamagedError, match=name) as caught:
        take(source, repository)
    assert "--full" in str(caught.value.hint)
    again = backup(
        BackupSource(name="one", address=ServerAddress.parse(source.dsn)),
        repository,
        options=BackupOptions(full=True),
    )
    assert again.parent == first.snapshot
    assert any(name in text for text in again.warnings)
    assert verify(repository, [again.snapshot], level=3).snapshots == (again.snapshot,)
    assert take(source, repository).parent == again.snapshot


def test_a_killed_restore_says_so_and_is_replaced(source: Database, target: str, tmp_path: Path) -> None:
    """kill -9 while restoring: the target says that it is incomplete, is refused, and --replace rebuilds it."""
    source.execute(
        "insert into big select i, repeat('x', 200), repeat('y', 200) from generate_series(200000, 500000) i"
    )
    repository = make_repository(LocalStorage(tmp_path / "repository", create_root=True))
    taken = take(source, repository)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "holdfast", "restore", taken.snapshot, "--to", target, "--create"),
            *("--repo", str(tmp_path / "repository")),
        ],
        env={**os.environ, "HOLDFAST_PASSPHRASE": PASSPHRASE},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: is_marked(target) or process.poll() is not None, "the restore's mark")
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    with pytest.raises(RefusedError, match="incomplete"):
        bring_back(repository, taken, target, create=False)
    name = ServerAddress.parse(target).database
    bring_back(repository, taken, target, create=False, replace=name)
    assert content(target) == content(source.dsn)
    with psycopg.connect(target) as connection:
        assert connection.execute("select to_regclass('holdfast_incomplete.restore')").fetchall() == [(None,)]


def is_marked(target: str) -> bool:
    """Whether the restore has set its mark."""
    try:
        with psycopg.connect(target) as connection:
            connection.execute("select * from holdfast_incomplete.restore")
    except psycopg.Error:
        return False
    return True


def test_a_target_that_is_not_empty_is_refused(
    source: Database, make_database: Callable[..., Database]
) -> None:
    """A database with anything in it is refused, and nothing in it changes; --replace takes a snapshot first."""
    occupied = make_database(name_prefix="occupied")
    occupied.execute("create table precious (a int)", "insert into precious values (42)")
    repository = make_repository(MemoryStorage())
    taken = take(source, repository)
    with pytest.raises(RefusedError):
        bring_back(repository, taken, occupied.dsn, create=False)
    assert occupied.rows("select a from precious") == [(42,)]
    with pytest.raises(RefusedError):
        bring_back(repository, taken, occupied.dsn, create=False, replace="another")
    assert occupied.rows("select a from precious") == [(42,)]
    report = restore(
        repository,
        taken.snapshot,
        ServerAddress.parse(occupied.dsn),
        options=RestoreOptions(replace=occupied.name),
    )
    assert content(occupied.dsn) == content(source.dsn)
    assert report.safety_snapshot is not None
    assert repository.summary(report.safety_snapshot).rows == 1
