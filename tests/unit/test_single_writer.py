"""Where a storage cannot have two writers, whoever writes registers says so, and the second one steps aside."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from holdfast.domain.errors import EXIT_REFUSED, RefusedError, SteppedAsideError
from holdfast.domain.ids import make_snapshot_id
from holdfast.domain.manifest import SnapshotSummary
from holdfast.repository import layout
from holdfast.repository.collecting.rules import CollectionRules
from holdfast.repository.keys.secrets import Secrets
from holdfast.repository.registers.graves import Ending, Fate
from holdfast.repository.registers.writers import Purpose, WriterRecord, this_host
from holdfast.repository.repo import Repository, open_repository
from holdfast.storage import Buffer
from holdfast.storage.memory import MemoryStorage
from holdfast.workflows.collect import apply_collection
from holdfast.workflows.holding import add_hold, list_holds, release_hold
from holdfast.workflows.removal import bury, undelete
from holdfast.workflows.replicate import ReplicateOptions
from holdfast.workflows.reseal import reseal
from holdfast.workflows.rotation import compromised
from repositories import PASSPHRASE, make_repository
from snapshots import begin, now, take

RULES = CollectionRules(share=1.0)
LATER = timedelta(days=8)


class Interrupting(MemoryStorage):
    """A storage in which something else happens just before an object is created or replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.before: dict[str, Callable[[], None]] = {}

    def create(self, name: str, data: Buffer) -> None:
        for prefix in [item for item in self.before if name.startswith(item)]:
            self.before.pop(prefix)()
        super().create(name, data)


def undeletes(repository: Repository, summary: SnapshotSummary) -> None:
    undelete(repository, [summary.snapshot], by="us", clock=now)


def holds(repository: Repository, summary: SnapshotSummary) -> None:
    add_hold(repository, [summary.snapshot], by="us", why="case", until=None, clock=now)


def buries(repository: Repository, summary: SnapshotSummary) -> None:
    bury(repository, {summary.snapshot: "test"}, by="us", clock=now)


COMMANDS = pytest.mark.parametrize("command", [undeletes, holds, buries])
Command = Callable[[Repository, SnapshotSummary], None]


def removed_long_ago(storage: MemoryStorage) -> tuple[Repository, SnapshotSummary]:
    """A removed snapshot that the next collection sweeps."""
    repository = make_repository(storage, single_writer=True)
    old = take(repository, {"a": [b"1\n"]})
    take(repository, {"a": [b"2\n"]})
    buries(repository, old)
    apply_collection(repository, rules=RULES, clock=now)
    return repository, old


def later() -> datetime:
    return now() + LATER


def fates(repository: Repository) -> list[Ending]:
    found = [repository.graves.fate(*item) for item in repository.graves.fates()]
    return [fate.ending for fate in found if fate is not None]


@COMMANDS
def test_who_writes_registers_steps_aside_for_a_collection(command: Command) -> None:
    """In the middle of a sweep nothing is undeleted, held or buried: exit code 5, in plain words."""
    storage = Interrupting()
    repository, old = removed_long_ago(storage)
    refused: list[SteppedAsideError] = []

    def meanwhile() -> None:
        with pytest.raises(SteppedAsideError) as caught:
            command(repository, old)
        refused.append(caught.value)

    storage.before[layout.FATES] = meanwhile
    report = apply_collection(repository, rules=RULES, clock=later)
    (error,) = refused
    assert error.exit_code == EXIT_REFUSED
    assert "is collecting, removing or holding snapshots" in error.message
    assert f"process {os.getpid()}" in error.message
    assert error.hint
    assert report.swept == (old.snapshot,)
    assert list_holds(repository) == ()
    assert list(storage.list(layout.WRITERS)) == []


@pytest.mark.parametrize(
    ("command", "written"), [(undeletes, layout.FATES), (holds, layout.HOLDS), (buries, layout.TOMBSTONES)]
)
def test_a_collection_steps_aside_for_who_writes_registers(command: Command, written: str) -> None:
    """While a fate, a hold or a tombstone is being written, a collection is refused, and so is a backup."""
    storage = Interrupting()
    repository, old = removed_long_ago(storage)
    if command is buries:
        undeletes(repository, old)
    refused: list[str] = []

    def meanwhile() -> None:
        for other in (
            lambda: apply_collection(repository, rules=RULES, clock=later),
            lambda: begin(repository),
        ):
            with pytest.raises(SteppedAsideError, match="cannot have two writers") as caught:
                other()
            refused.append(caught.value.message)

    storage.before[written] = meanwhile
    command(repository, old)
    assert len(refused) == 2
    assert Ending.SWEPT not in fates(repository)
    assert list(storage.list(layout.WRITERS)) == []


def test_who_writes_registers_steps_aside_for_a_backup() -> None:
    """A backup writes the same journal; a release of a hold waits for its end, too."""
    repository, old = removed_long_ago(MemoryStorage())
    hold = add_hold(repository, [old.snapshot], by="us", why="case", until=None, clock=now)
    before = len(list(repository.journal.walk()))
    with begin(repository) as run:
        for command in (
            lambda: undeletes(repository, old),
            lambda: release_hold(repository, hold.hold, by="us", why="closed", clock=now),
        ):
            with pytest.raises(SteppedAsideError, match=f"snapshot {run.snapshot} of shop is being written"):
                command()
        assert len(list(repository.journal.walk())) == before
        run.withdraw()
    release_hold(repository, hold.hold, by="us", why="closed", clock=now)


def announced(repository: Repository, pid: int, *, living: bool = False) -> WriterRecord:
    """Somebody who announced to write registers from a process of this host, and was killed then; or from another
    host, and lives."""
    at = now() - timedelta(minutes=1)
    host = replace(this_host(), pid=pid, process_started="1")
    record = WriterRecord(
        snapshot=make_snapshot_id(at, os.urandom(10)),
        source="",
        host=replace(host, name="elsewhere", boot="x") if living else host,
        started_at=at,
        heartbeat_at=at,
        relies_on=(),
        purpose=Purpose.COLLECT,
    )
    repository.writers.announce(record)
    return record


def test_a_dead_announcement_is_in_nobodys_way() -> None:
    """Of a process that has ended at once; of one on another host after its silence, and not before."""
    repository, old = removed_long_ago(MemoryStorage())
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        announced(repository, process.pid)
    undeletes(repository, old)
    elsewhere = replace(announced(repository, 1), host=replace(this_host(), name="elsewhere", boot="x"))
    repository.writers.beat(elsewhere, now=now())
    with pytest.raises(SteppedAsideError, match="elsewhere"):
        buries(repository, old)
    repository.writers.beat(elsewhere, now=now() - timedelta(minutes=16))
    buries(repository, old)
    apply_collection(repository, rules=RULES, clock=now)


def test_a_damaged_announcement_is_named_with_what_to_do() -> None:
    """Nobody knows whether it lives, so nothing is written until somebody has looked."""
    repository, old = removed_long_ago(MemoryStorage())
    name = layout.writer(announced(repository, 1).snapshot)
    repository.storage.replace(name, b"rubbish")
    for attempt in (
        lambda: undeletes(repository, old),
        lambda: apply_collection(repository, rules=RULES, clock=now),
    ):
        with pytest.raises(RefusedError, match=name) as caught:
            attempt()
        assert name in (caught.value.hint or "")


def test_a_reseal_that_meets_somebody_steps_aside_and_goes_on_when_repeated() -> None:
    """Between a copy and the removal of its original: that is no hold, and is not told as one."""
    storage = Interrupting()
    before = make_repository(storage, single_writer=True)
    old = take(before, {"a": [b"1\n"]})
    ours = Secrets(passphrase=PASSPHRASE)
    compromised(before, [], [ours], now=now())
    repository = open_repository(storage, ours)
    others: list[WriterRecord] = []
    storage.before[layout.OUTCOMES] = lambda: others.append(announced(repository, os.getppid(), living=True))
    one = ReplicateOptions(jobs=1)
    with pytest.raises(SteppedAsideError, match="is collecting, removing or holding"):
        reseal(repository, by="us", clock=now, options=one)
    repository.writers.retire(others[0], now=now())
    report = reseal(repository, by="us", clock=now, options=one)
    assert ([item.original for item in report.resealed], report.kept) == ([old.snapshot], ())


@COMMANDS
def test_elsewhere_nobody_announces_anything(command: Command) -> None:
    """Where create-once holds, the registers decide, and a collection beside is no hindrance."""
    storage = Interrupting()
    repository = make_repository(storage)
    old = take(repository, {"a": [b"1\n"]})
    take(repository, {"a": [b"2\n"]})
    announced(repository, os.getpid())
    storage.before[layout.WRITERS] = lambda: pytest.fail("an announcement was made")
    if command is undeletes:
        buries(repository, old)
    command(repository, old)
    assert repository.graves.decide(
        Fate(snapshot=old.snapshot, round=1, at=now(), by="x", ending=Ending.SWEPT)
    )
