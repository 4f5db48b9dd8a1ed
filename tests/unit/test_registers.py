"""Level 0 names every register that cannot be read; what newer keys sealed meanwhile is not called damage."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from holdfast.domain.errors import DamagedError, UsageError
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import SnapshotSummary
from holdfast.repository import layout
from holdfast.repository.checking.register_check import check_registers
from holdfast.repository.collecting.rules import CollectionRules
from holdfast.repository.keys.secrets import Secrets
from holdfast.repository.registers.verifications import read_verification
from holdfast.repository.repo import Repository, open_repository
from holdfast.storage.memory import MemoryStorage
from holdfast.storage.wrap import Through
from holdfast.workflows.collect import apply_collection
from holdfast.workflows.holding import add_hold, release_hold
from holdfast.workflows.listing import list_snapshots
from holdfast.workflows.removal import bury, undelete
from holdfast.workflows.rotation import rotate
from holdfast.workflows.verify import verify
from repositories import PASSPHRASE, make_repository
from snapshots import begin, commit, now, take

OURS = Secrets(passphrase=PASSPHRASE)
RULES = CollectionRules(share=1.0)


def later() -> datetime:
    return now() + timedelta(days=8)


@pytest.fixture
def repository() -> Repository:
    """Every register is in use: one snapshot removed, one brought back, holds that stand and that have ended."""
    repository = make_repository(MemoryStorage())
    summaries = [take(repository, {"a": [f"{n}\n".encode()]}) for n in range(4)]
    for summary in summaries[:2]:
        bury(repository, {summary.snapshot: "test"}, by="us", clock=now)
    undelete(repository, [summaries[1].snapshot], by="us", clock=now)
    for summary in summaries[2:]:
        add_hold(repository, [summary.snapshot], by="us", why="case", until=None, clock=now)
    release_hold(repository, ended_hold(repository), by="us", why="closed", clock=now)
    apply_collection(repository, rules=RULES, clock=now)
    return repository


def ended_hold(repository: Repository) -> str:
    return next(iter(repository.storage.list(layout.HOLDS))).name.split("/")[1]


def names(repository: Repository, prefix: str) -> list[str]:
    return [info.name for info in repository.storage.list(prefix)]


REGISTERS = (layout.TOMBSTONES, layout.FATES, layout.HOLDS, layout.PLANS)


def rubbish(repository: Repository, name: str) -> None:
    repository.storage.replace(name, b"rubbish")


def flipped(repository: Repository, name: str) -> None:
    data = bytearray(repository.storage.get(name))
    data[-1] ^= 1
    repository.storage.replace(name, data)


def anothers(repository: Repository, name: str) -> None:
    """Sealed by us, in the wrong place."""
    prefix = name.split("/")[0] + "/"
    other = next(
        item for item in (*names(repository, prefix), *names(repository, layout.OUTCOMES)) if item != name
    )
    repository.storage.replace(name, repository.storage.get(other))


@pytest.mark.parametrize("harm", [rubbish, flipped, anothers])
def test_every_damaged_register_is_named_at_level_0(
    repository: Repository, harm: Callable[[Repository, str], None]
) -> None:
    """A sound one has no finding; each that is damaged is a finding that names the object, whichever it is."""
    assert verify(repository, None, level=0).findings == ()
    for prefix in REGISTERS:
        assert names(repository, prefix)
        for name in names(repository, prefix):
            before = repository.storage.get(name)
            harm(repository, name)
            report = verify(repository, None, level=0)
            assert name in {finding.object_name for finding in report.findings}, name
            repository.storage.replace(name, before)
    assert verify(repository, None, level=3).findings == ()


class Distant(Through):
    """Answers each get after a while, some sooner than others."""

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        time.sleep(zlib.crc32(name.encode()) % 4 / 1000)
        return super().get(name, offset=offset, length=length)


def test_findings_come_in_the_order_of_the_listing(repository: Repository) -> None:
    """However long each register takes to read over a network, two checks of the same damage say the same."""
    newest = max(repository.outcomes.names())
    for _ in range(20):
        add_hold(repository, [newest], by="us", why="case", until=None, clock=now)
    expected = [name for prefix in REGISTERS for name in names(repository, prefix)]
    assert len(expected) > 20
    for name in expected:
        rubbish(repository, name)
    distant = open_repository(Distant(repository.storage), OURS)
    assert [problem.error.object_name for problem in check_registers(distant)] == expected


@pytest.mark.parametrize("prefix", REGISTERS)
def test_a_foreign_name_among_the_registers_is_a_finding(repository: Repository, prefix: str) -> None:
    """A collection stops at it, so verify names it."""
    repository.storage.create(f"{prefix}notes.txt", b"mine")
    report = verify(repository, None, level=0)
    assert [finding.object_name for finding in report.findings] == [f"{prefix}notes.txt"]


def test_the_snapshot_of_a_damaged_register_is_named_and_checked(repository: Repository) -> None:
    """Whether it is removed nobody knows: it does not pass, and its objects are looked at all the same."""
    (name, *_) = names(repository, layout.FATES)
    snapshot = layout.snapshot_in(name)
    rubbish(repository, name)
    report = verify(repository, None, level=1)
    assert [(finding.object_name, finding.snapshots) for finding in report.findings] == [(name, (snapshot,))]
    assert snapshot in report.snapshots


@pytest.mark.parametrize("harm", [rubbish, flipped, anothers])
def test_a_damaged_head_is_told_and_is_no_damage(
    repository: Repository, harm: Callable[[Repository, str], None]
) -> None:
    """Nothing rests on a head, and the next backup writes it anew."""
    (head,) = names(repository, layout.HEADS)
    harm(repository, head)
    report = verify(repository, None, level=0)
    assert report.findings == ()
    assert [hint.object_name for hint in report.hints] == [head]
    take(repository, {"a": [b"9\n"]})
    assert verify(repository, None, level=0).hints == ()


def rotated(repository: Repository) -> Repository:
    return rotate(repository, [OURS], now=now()).repository


def test_what_newer_keys_sealed_meanwhile_is_unseen_and_not_damaged() -> None:
    """A check that began before a rotation passes what it could open, and nothing else; the next one sees all."""
    storage = MemoryStorage()
    stale = make_repository(storage)
    old, gone = take(stale, {"a": [b"1\n"]}), take(stale, {"a": [b"2\n"]})
    newer = rotated(stale)
    new = take(newer, {"a": [b"3\n"]})
    add_hold(newer, [new.snapshot], by="us", why="case", until=None, clock=now)
    bury(newer, {gone.snapshot: "test"}, by="us", clock=now)
    apply_collection(newer, rules=RULES, clock=now)
    apply_collection(newer, rules=RULES, clock=later)
    with begin(newer):
        report = verify(stale, None, level=3)
    assert report.findings == ()
    unseen = {finding.object_name: finding for finding in report.unseen}
    assert layout.outcome(new.snapshot) in unseen
    assert "epoch 2" in unseen[layout.outcome(new.snapshot)].problem
    assert any(name.startswith(layout.HOLDS) for name in unseen)
    assert report.snapshots == (old.snapshot,)
    assert verify(newer, None, level=3).findings == ()
    by_name = verify(stale, [old.snapshot, new.snapshot], level=1)
    assert by_name.findings == ()
    assert new.snapshot in {snapshot for finding in by_name.unseen for snapshot in finding.snapshots}
    record = max(names(stale, layout.VERIFICATIONS)).removeprefix(layout.VERIFICATIONS)
    recorded = read_verification(stale, record)
    assert (recorded.passed, recorded.failed) == ((old.snapshot,), ())
    verdicts = {item.summary.snapshot: item.verified for item in list_snapshots(newer).snapshots}
    assert (verdicts[old.snapshot] or pytest.fail("never checked")).level == 3
    assert verdicts[new.snapshot] is not None  # by the sound check in between
    assert verify(open_repository(storage, OURS), None, level=3).unseen == ()


def test_a_newer_epoch_that_does_not_exist_is_damage() -> None:
    """A header that was altered does not hide behind keys that nobody made; nor does one of an epoch at hand."""
    repository = make_repository(MemoryStorage())
    summary = take(repository, {"a": [b"1\n"]})
    name = layout.outcome(summary.snapshot)
    whole = bytearray(repository.storage.get(name))
    for epoch in (2, 0):
        whole[8:12] = epoch.to_bytes(4, "little")
        repository.storage.replace(name, whole)
        report = verify(repository, None, level=0)
        assert [finding.object_name for finding in report.findings] == [name]
        assert report.unseen == ()


def collected(repository: Repository) -> SnapshotSummary:
    first = take(repository, {"a": [b"1\n"]})
    take(repository, {"a": [b"2\n"]})
    bury(repository, {first.snapshot: "test"}, by="Ann", clock=now)
    apply_collection(repository, rules=RULES, clock=now)
    apply_collection(repository, rules=RULES, clock=later)
    return first


def test_a_collected_snapshot_is_told_as_removed_and_not_as_damage() -> None:
    """Who removed it and when its objects went comes from the journal; what never was is not here."""
    repository = make_repository(MemoryStorage())
    first = collected(repository)
    with pytest.raises(
        UsageError, match=rf"no snapshot {first.snapshot} any more.*removed by Ann on 20.*deleted"
    ):
        repository.summary(first.snapshot)
    with pytest.raises(UsageError, match=r"there is no snapshot 0{26} here"):
        repository.summary(SnapshotId("0" * 26))


def test_an_outcome_that_is_gone_against_the_journal_stays_damage() -> None:
    """Only a collection may take it away; where the journal cannot be read, nothing is claimed."""
    repository = make_repository(MemoryStorage())
    first = collected(repository)
    with begin(repository) as run:
        kept = commit(run, {"a": [b"3\n"]})
    repository.storage.delete(layout.outcome(kept.snapshot))
    with pytest.raises(DamagedError, match=f"{layout.outcome(kept.snapshot)} is missing"):
        repository.summary(kept.snapshot)
    entry = next(
        step.name
        for step in repository.journal.walk()
        if step.entry is not None and step.entry.kind == "collected"
    )
    rubbish(repository, entry)
    with pytest.raises(DamagedError, match="is missing"):
        repository.summary(first.snapshot)
