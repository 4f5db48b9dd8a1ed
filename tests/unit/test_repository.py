"""Runs, commits, predecessors and listings, over the memory storage."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.domain.errors import DamagedError, FencedError, LockedOutError, RefusedError, UsageError
from holdfast.domain.ids import SnapshotId
from holdfast.repository import layout
from holdfast.repository.keys.secrets import Secrets
from holdfast.repository.registers import writers
from holdfast.repository.registers.outcomes import Aborted
from holdfast.repository.registers.writers import is_dead, is_surely_gone, this_host
from holdfast.repository.repo import open_repository
from holdfast.repository.runs.predecessors import find_predecessors
from holdfast.repository.runs.reuse import find_left_blobs, list_sizes
from holdfast.storage.memory import MemoryStorage
from holdfast.workflows.listing import list_snapshots, resolve
from holdfast.workflows.verify import verify
from repositories import PASSPHRASE, make_repository
from snapshots import begin, commit, leave, now, take


def test_what_was_committed_is_read_back_after_opening_again() -> None:
    """A snapshot read through a freshly opened repository holds the rows that were stored."""
    storage = MemoryStorage()
    summary = take(make_repository(storage), {"users": [b"1\tann\n", b"2\tbob\n"], "empty": []})
    repository = open_repository(storage, Secrets(passphrase=PASSPHRASE))
    root = repository.root(repository.summary(summary.snapshot))
    tables = {manifest.name.name: manifest for _, manifest in repository.tables(root.tables)}
    rows = b"".join(repository.chunk(chunk.blob) for chunk in tables["users"].chunks())
    assert rows == b"1\tann\n2\tbob\n"
    assert list(tables["empty"].chunks()) == []


def test_a_wrong_passphrase_is_locked_out() -> None:
    """Opening with another passphrase raises LockedOutError."""
    storage = MemoryStorage()
    make_repository(storage)
    with pytest.raises(LockedOutError):
        open_repository(storage, Secrets(passphrase="wrong"))


def test_a_second_repository_at_the_same_place_is_refused() -> None:
    """Making a repository where one is raises RefusedError and changes nothing."""
    storage = MemoryStorage()
    make_repository(storage)
    before = {info.name: storage.get(info.name) for info in storage.list("")}
    with pytest.raises(RefusedError):
        make_repository(storage)
    assert {info.name: storage.get(info.name) for info in storage.list("")} == before


def test_an_uncommitted_run_is_no_snapshot() -> None:
    """Chunks and manifests alone make no snapshot: without an outcome, nothing is listed."""
    repository = make_repository(MemoryStorage())
    with begin(repository) as run:
        leave(run, b"1\n")
    assert list_snapshots(repository).snapshots == ()


def test_a_fenced_writer_cannot_commit() -> None:
    """A run that was declared dead while it slept gets FencedError, and its snapshot never exists."""
    repository = make_repository(MemoryStorage())
    with begin(repository) as run:
        repository.outcomes.abort(run.snapshot, at=now(), reason="silent for an hour")
        with pytest.raises(FencedError, match="silent for an hour"):
            commit(run, {"users": [b"1\n"]})
    assert list_snapshots(repository).snapshots == ()


def test_a_committed_snapshot_cannot_be_aborted() -> None:
    """The outcome has one winner: aborting after the commit returns the commit."""
    repository = make_repository(MemoryStorage())
    summary = take(repository, {"users": [b"1\n"]})
    outcome = repository.outcomes.abort(summary.snapshot, at=now(), reason="too late")
    assert not isinstance(outcome, Aborted)
    assert repository.summary(summary.snapshot) == summary


def test_a_dead_run_is_adopted_by_the_next_one_of_its_source_only() -> None:
    """Chunks of a run that ended without outcome are found again by the same source, and by no other."""
    repository = make_repository(MemoryStorage())
    with begin(repository) as dead:
        (identity,) = leave(dead, b"7\n")
        dead.give_up()
    assert find_predecessors(repository, "other", now=now()).crashed == ()
    predecessors = find_predecessors(repository, "shop", now=now())
    assert [record.snapshot for record in predecessors.crashed] == [dead.snapshot]
    with begin(repository) as run:
        left = run.adopt(predecessors.crashed)
        ref = left.take(repository.storage, repository.sealer, identity, 2)
        assert ref is not None
        assert repository.chunk(ref) == b"7\n"
        assert dead.snapshot in run.record.relies_on


def test_a_left_chunk_that_was_altered_is_not_adopted() -> None:
    """A claim in a header is believed only after the chunk was opened: an altered one is stored anew."""
    storage = MemoryStorage()
    repository = make_repository(storage)
    with begin(repository) as dead:
        (identity,) = leave(dead, b"7\n")
        dead.give_up()
    (name,) = [info.name for info in storage.list(layout.DATA)]
    data = bytearray(storage.get(name))
    data[-1] ^= 1
    storage.replace(name, data)
    assert identity in find_left_blobs(storage, dead.snapshot)
    with begin(repository) as run:
        left = run.adopt(find_predecessors(repository, "shop", now=now()).crashed)
        assert left.take(storage, repository.sealer, identity, 2) is None


def test_a_living_run_is_not_adopted() -> None:
    """A run of this very process is alive; only silence beyond the limit or a dead process makes it dead."""
    repository = make_repository(MemoryStorage())
    with begin(repository) as run:
        found = find_predecessors(repository, "shop", now=now())
        assert [record.snapshot for record in found.alive] == [run.snapshot]
        elsewhere = replace(run.record, host=replace(run.record.host, boot="another boot"))
        repository.writers.beat(elsewhere, now=now() - timedelta(minutes=16))
        assert [r.snapshot for r in find_predecessors(repository, "shop", now=now()).crashed] == [
            run.snapshot
        ]
        repository.writers.beat(elsewhere, now=now() - timedelta(minutes=14))
        assert find_predecessors(repository, "shop", now=now()).crashed == ()


def test_a_run_in_a_hidden_process_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the processes of others are hidden (proc(5), hidepid), the one that cannot be looked at is dead only
    if no signal reaches it, or after a long silence."""
    repository = make_repository(MemoryStorage())
    with subprocess.Popen(["sleep", "600"]) as other:
        try:
            with begin(repository) as run:
                host = replace(run.record.host, pid=other.pid)
            monkeypatch.setattr(writers, "PROC", tmp_path)
            record = replace(run.record, host=host)
            assert not is_dead(record, now=now(), here=this_host())
            assert is_surely_gone(record, here=this_host()) is None
            assert is_dead(record, now=now() + timedelta(minutes=16), here=this_host())
        finally:
            other.kill()
    assert is_dead(record, now=now(), here=this_host())


def test_a_clock_that_ran_ahead_does_not_keep_a_dead_run_alive() -> None:
    """Its heartbeat lies in the future: then the storage's clock tells when it was last heard of."""
    repository = make_repository(MemoryStorage())
    with begin(repository) as run:
        elsewhere = replace(run.record, host=replace(run.record.host, boot="another boot"))
        repository.writers.beat(elsewhere, now=now() + timedelta(days=3650))
        assert find_predecessors(repository, "shop", now=now()).crashed == ()
        later = find_predecessors(repository, "shop", now=now() + timedelta(minutes=16))
        assert [record.snapshot for record in later.crashed] == [run.snapshot]


def test_a_damaged_outcome_of_another_source_does_not_stop_a_run() -> None:
    """It is passed over, and the run says so; the newest one of the source itself is heard of as what it is."""
    storage = MemoryStorage()
    repository = make_repository(storage)
    first, other = take(repository, {"a": [b"1\n"]}), take(repository, {"a": [b"2\n"]}, source="other")
    name = layout.outcome(other.snapshot)
    storage.replace(name, b"x" * 200)
    for info in list(storage.list(layout.HEADS)):
        storage.delete(info.name)
    found = find_predecessors(repository, "shop", now=now())
    assert (found.parent, found.newest_damage) == (first, None)
    with begin(repository) as run:
        newest = commit(run, {"a": [b"3\n"]})
    assert any(name in text for text in run.warnings)
    storage.replace(layout.outcome(newest.snapshot), b"x" * 200)
    found = find_predecessors(repository, "shop", now=now())
    assert found.parent == first
    assert found.newest_damage is not None
    assert found.newest_damage.object_name == layout.outcome(newest.snapshot)


def test_only_runs_that_were_announced_are_adopted() -> None:
    """A collection spares what a run says it relies on: what an earlier one relied on, and this one does not, may
    be deleted under it."""
    repository = make_repository(MemoryStorage())
    earlier = []
    for number in range(40):
        with begin(repository) as dead:
            leave(dead, b"%d\n" % number)
        repository.outcomes.abort(dead.snapshot, at=now(), reason="test")
        repository.writers.retire(dead.record, now=now())
        earlier.append(dead.snapshot)
    with begin(repository) as last:
        ended = replace(last.record, relies_on=tuple(earlier), finished=True)
    repository.writers.beat(ended, now=now())
    crashed = find_predecessors(repository, "shop", now=now()).crashed
    with begin(repository) as run:
        adopted = run.adopt(crashed).snapshots()
    assert len(adopted) == 32
    assert adopted <= set(run.record.relies_on)


def test_single_writer_storage_refuses_a_second_writer() -> None:
    """Where create-once cannot be had, a second run is refused while the first one lives."""
    repository = make_repository(MemoryStorage(), single_writer=True)
    with begin(repository), pytest.raises(RefusedError, match="cannot have two writers"):
        begin(repository, source="another")


def test_latest_never_means_an_older_snapshot_because_the_newest_is_damaged() -> None:
    """If the newest outcome cannot be read, `latest` is an error that names it."""
    storage = MemoryStorage()
    repository = make_repository(storage)
    take(repository, {"users": [b"1\n"]})
    newest = take(repository, {"users": [b"2\n"]})
    assert resolve(repository, "latest") == newest.snapshot
    storage.replace(layout.outcome(newest.snapshot), b"rubbish")
    with pytest.raises(DamagedError, match=newest.snapshot):
        resolve(repository, "latest")


def test_prefixes_name_snapshots() -> None:
    """A unique prefix names one snapshot; one that several share, or none has, is a usage error."""
    repository = make_repository(MemoryStorage())
    first = take(repository, {}).snapshot
    second = take(repository, {}).snapshot
    assert resolve(repository, second[:-1]) == second
    assert resolve(repository, first) == first
    with pytest.raises(UsageError, match="2 snapshots"):
        resolve(repository, first[:4])
    with pytest.raises(UsageError):
        resolve(repository, "zz")


def test_a_sound_repository_has_no_findings_at_any_level() -> None:
    """Every level passes on a sound repository, with live and dead writers about."""
    repository = make_repository(MemoryStorage())
    take(repository, {"users": [b"1\n", b"2\n"], "empty": []})
    with begin(repository) as dead:
        dead.give_up()
    with begin(repository):
        for level in range(4):
            assert verify(repository, None, level=level).findings == ()
    assert all(item.verified is not None for item in list_snapshots(repository).snapshots)


def test_a_snapshot_that_is_not_there_is_a_finding() -> None:
    """Verifying a snapshot that was never committed does not pass in silence."""
    repository = make_repository(MemoryStorage())
    ghost = SnapshotId("0" * 26)
    report = verify(repository, [ghost], level=1)
    assert [finding.snapshots for finding in report.findings] == [(ghost,)]


def test_sizes_are_listed_per_snapshot() -> None:
    """The listing that reuse relies on holds exactly the data and table objects of the snapshots asked for."""
    storage = MemoryStorage()
    repository = make_repository(storage)
    first, second = take(repository, {"a": [b"1\n"]}), take(repository, {"a": [b"2\n"]})
    sizes = list_sizes(storage, [first.snapshot])
    assert sizes
    assert all(first.snapshot in name and second.snapshot not in name for name in sizes)
