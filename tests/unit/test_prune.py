"""Prune over the memory storage: what retention is told, what comes of it; and restores are not swept away."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

import snapshots
from holdfast.cli.render import render
from holdfast.cli.verdicts import prune_document, prune_text
from holdfast.domain.errors import DamagedError, HoldfastError, RefusedError
from holdfast.domain.events import Event
from holdfast.domain.ids import SnapshotId, make_snapshot_id
from holdfast.domain.policy import RetentionPolicy
from holdfast.postgres.address import ServerAddress
from holdfast.repository import layout
from holdfast.repository.collecting.rules import CollectionRules
from holdfast.repository.registers.verifications import Verification, record_verification
from holdfast.repository.registers.writers import Purpose
from holdfast.repository.repo import Repository
from holdfast.repository.runs.pins import reading
from holdfast.storage.memory import MemoryStorage
from holdfast.workflows.collect import apply_collection
from holdfast.workflows.listing import list_snapshots
from holdfast.workflows.prune import PruneReport, prune
from holdfast.workflows.removal import removed
from holdfast.workflows.restore import RestoreOptions, restore
from holdfast.workflows.verify import verify
from mortal import KilledError, Mortal
from repositories import make_repository

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
Take = Callable[..., SnapshotId]


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def repository(storage: MemoryStorage) -> Repository:
    return make_repository(storage)


@pytest.fixture
def take(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Take:
    """`take(days)`: a snapshot so many days ago."""

    def take_snapshot(days: float, source: str = "shop") -> SnapshotId:
        monkeypatch.setattr(snapshots, "now", lambda: NOW - days * DAY)
        return snapshots.take(repository, {"users": [f"{days}\n".encode() * 500]}, source=source).snapshot

    return take_snapshot


def run(
    repository: Repository,
    policy: RetentionPolicy,
    *,
    apply: bool = True,
    at: datetime = NOW,
    share: float = 1,
) -> PruneReport:
    return prune(
        repository,
        lambda source: policy if source == "shop" else None,
        apply=apply,
        by="anna@host",
        rules=CollectionRules(share=share),
        clock=lambda: at,
    )


def shown(report: PruneReport) -> str:
    stream = io.StringIO()
    render(stream, prune_text(report))
    return stream.getvalue()


def check(
    repository: Repository,
    *,
    passed: tuple[SnapshotId, ...] = (),
    failed: tuple[SnapshotId, ...] = (),
    level: int = 3,
    at: datetime = NOW,
) -> None:
    record = make_snapshot_id(at, bytes(10))
    found = Verification(record=record, level=level, at=at, passed=passed, failed=failed)
    record_verification(repository, found, journal_hint=0)


def test_a_snapshot_that_failed_its_check_is_not_the_newest_good_one(
    repository: Repository, take: Take
) -> None:
    """The older, sound one stays, although the policy keeps only the last."""
    sound, damaged = take(2), take(1)
    check(repository, passed=(sound,), failed=(damaged,))
    (shop,) = run(repository, RetentionPolicy(keep_last=1), apply=False).judgements
    assert [verdict.kept for verdict in shop.verdicts] == [True, True]
    assert shop.verdicts[1].reasons == ("newest good", "last 1 of 1")


def tidy_up(repository: Repository, *, at: datetime) -> None:
    apply_collection(repository, rules=CollectionRules(share=1), clock=lambda: at)


def test_a_failed_check_stands_until_one_that_looks_as_deep_passes(
    repository: Repository, take: Take
) -> None:
    """Neither a lower one that passes, nor a collection that tidies up, makes damage look sound."""
    sound, damaged = take(2), take(1)
    check(repository, failed=(damaged,))
    for hour, level in enumerate((1, 0, 2), start=1):
        check(repository, passed=(sound, damaged), level=level, at=NOW + hour * HOUR)
    check(repository, failed=(damaged,), level=0, at=NOW + 4 * HOUR)
    check(repository, passed=(damaged,), level=0, at=NOW + 5 * HOUR)
    for days in (1, 60, 120):
        tidy_up(repository, at=NOW + days * DAY)
        listed = list_snapshots(repository).snapshots[1].verified
        assert listed is not None
        assert (listed.level, listed.passed) == (3, False)
        (shop,) = run(repository, RetentionPolicy(keep_last=1), apply=False).judgements
        assert [verdict.kept for verdict in shop.verdicts] == [True, True]
    check(repository, passed=(damaged,), at=NOW + 6 * HOUR)
    listed = list_snapshots(repository).snapshots[1].verified
    assert listed is not None
    assert (listed.level, listed.passed) == (3, True)
    (shop,) = run(repository, RetentionPolicy(keep_last=1), apply=False).judgements
    assert [verdict.kept for verdict in shop.verdicts] == [True, False]


def test_nothing_is_judged_while_the_record_of_a_check_is_unreadable(
    repository: Repository, storage: MemoryStorage, take: Take
) -> None:
    """It may say which snapshot is damaged."""
    old, newest = take(2), take(1)
    check(repository, passed=(old,), failed=(newest,))
    (record,) = [info.name for info in storage.list(layout.VERIFICATIONS)]
    storage.replace(record, storage.get(record)[:-1] + b"x")
    with pytest.raises(DamagedError):
        run(repository, RetentionPolicy(keep_last=1))
    assert removed(repository) == ()


def test_a_prune_opens_every_root_once(
    repository: Repository, storage: MemoryStorage, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks before it removes and again before it deletes; what never changes is read once."""
    old, new = take(9), take(1)
    got: list[str] = []
    get = storage.get

    def noted(name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        got.append(name)
        return get(name, offset=offset, length=length)

    monkeypatch.setattr(storage, "get", noted)
    report = run(repository, RetentionPolicy(keep_last=1))
    assert [verdict.snapshot for verdict in report.removable] == [old]
    assert sorted(name for name in got if name.endswith("/root")) == [layout.root(old), layout.root(new)]


def test_pruning_again_removes_nothing_more(repository: Repository, take: Take) -> None:
    """And a source without a policy loses nothing, whenever it runs."""
    for days in range(1, 9):
        take(days)
        take(days, "crm")
    policy = RetentionPolicy(keep_last=1, daily=3)
    assert len(run(repository, policy).removable) == 5
    assert run(repository, policy).removable == ()
    late = run(repository, policy, at=NOW + 900 * DAY)
    assert late.removable == ()
    crm = [item.summary.source for item in repository.committed()].count("crm")
    assert crm == 8


def test_what_was_removed_is_deleted_after_its_grace(
    repository: Repository, storage: MemoryStorage, take: Take
) -> None:
    """Not a day earlier; the report says how much, and from when on."""
    old = take(9)
    take(1)
    policy = RetentionPolicy(keep_last=1)
    first = run(repository, policy)
    assert first.collection is not None
    assert first.collection.deleted.objects == 0
    waiting = re.search(r"deleted by a prune --apply from about (\S+)", shown(first))
    assert waiting is not None
    assert waiting[1] == f"{NOW + 7 * DAY:%Y-%m-%d}"
    assert "deleted now: 0 objects" in shown(run(repository, policy, at=NOW + 6 * DAY))
    assert any(storage.list(layout.data_prefix(old)))
    last = run(repository, policy, at=NOW + 7 * DAY)
    assert last.collection is not None
    assert last.collection.swept == (old,)
    assert not any(storage.list(layout.data_prefix(old)))
    assert prune_document(last)["collection"]["deleted"]["objects"] == last.collection.deleted.objects > 0


def test_too_much_at_once_is_told_before_and_refused(repository: Repository, take: Take) -> None:
    """More than the share: said when the verdicts are shown, refused when it would be deleted; nothing is lost."""
    take(9), take(1)
    policy = RetentionPolicy(keep_last=1)
    assert "more than 20% of all that is stored" in shown(run(repository, policy, apply=False, share=0.2))
    run(repository, policy, share=0.2)
    with pytest.raises(RefusedError, match="20%"):
        run(repository, policy, at=NOW + 8 * DAY, share=0.2)


def test_why_space_does_not_shrink_is_said(
    repository: Repository, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a removed snapshot wrote and a kept one reuses stays, with both names."""
    monkeypatch.setattr(snapshots, "now", lambda: NOW - 2 * DAY)
    old = snapshots.take(repository, {"users": [b"1\n" * 1000]})
    monkeypatch.setattr(snapshots, "now", lambda: NOW - DAY)
    new = snapshots.take(repository, {"users": [b"1\n" * 1000]}, on=old)
    text = shown(run(repository, RetentionPolicy(keep_last=1), apply=False))
    assert re.search(rf"not freed: .* written by {old.snapshot}, since {new.snapshot} needs them", text)
    with reading(repository, [old.snapshot], purpose=Purpose.COPY, clock=lambda: NOW):
        assert f"not freed: {old.snapshot}, in use by" in shown(run(repository, RetentionPolicy(keep_last=1)))


def test_a_prune_that_is_killed_at_any_step_is_run_again(repository: Repository, take: Take) -> None:
    """What must stay can be read whole at each death; the next prune ends where a whole one ends."""
    for days in (30, 20, 3, 2, 1):
        take(days)
    run(repository, RetentionPolicy(keep_last=1), at=NOW - 8 * DAY)
    policy = RetentionPolicy(keep_last=2)
    rehearsal = alike(repository)
    assert isinstance(rehearsal.storage, Mortal)
    run(rehearsal, policy)
    steps, ends = rehearsal.storage.steps, standing(rehearsal)
    assert (len(ends[0]), len(ends[1])) == (2, 2)
    for step in range(1, steps + 1):
        dying = alike(repository)
        assert isinstance(dying.storage, Mortal)
        dying.storage.left = step
        with pytest.raises(KilledError):
            run(dying, policy)
        dying.storage.left = None
        assert ends[0] <= standing(dying)[0]
        for _ in range(2):
            assert verify(dying, None, level=3, clock=lambda: NOW).findings == (), step
            run(dying, policy)
        assert standing(dying) == ends, step


def alike(repository: Repository) -> Repository:
    """The same repository in a storage of its own, whose user may be killed."""
    storage = MemoryStorage()
    for info in repository.storage.list(""):
        storage.create(info.name, repository.storage.get(info.name))
    return Repository(storage=Mortal(storage), keyring=repository.keyring, config=repository.config)


def standing(repository: Repository) -> tuple[set[SnapshotId], set[SnapshotId]]:
    """The snapshots that are there, and those that were removed and can come back."""
    there = {outcome.snapshot for outcome in repository.committed()}
    return there, {item.summary.snapshot for item in removed(repository) if not item.swept}


def test_a_restore_announces_what_it_reads(
    repository: Repository, storage: MemoryStorage, take: Take
) -> None:
    """From before the first byte is read until it ends, however it ends."""
    snapshot = take(1)
    seen: list[tuple[SnapshotId, ...]] = []

    def listener(event: Event) -> None:
        names = list(repository.writers.names())
        seen.append(tuple(item for name in names for item in repository.writers.read(name).relies_on))

    with pytest.raises(HoldfastError):  # what is made up here is no archive
        restore(
            repository,
            snapshot,
            ServerAddress.parse("postgresql://nobody@127.0.0.1:1/none"),
            options=RestoreOptions(),
            listener=listener,
        )
    assert seen[0] == (snapshot,)
    assert list(storage.list(layout.WRITERS)) == []
