"""Folding the journal: fewer objects, the same history, also after a kill at any step and beside sleepers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.domain.errors import LackingRightsError
from holdfast.repository import layout
from holdfast.repository.checking.check import Problem
from holdfast.repository.checking.history import check_history
from holdfast.repository.registers import segments
from holdfast.repository.registers.journal import Journal
from holdfast.repository.repo import Repository
from holdfast.repository.runs.predecessors import find_predecessors
from holdfast.storage import Buffer
from holdfast.storage.memory import MemoryStorage
from holdfast.storage.wrap import Counted, Through
from repositories import make_repository
from snapshots import now, take

ENTRIES = 10


class StoppedError(Exception):
    """The process was killed here."""


class Dying(Through):
    """Lets so many changes through, and then no more; may do something else before the change at `pause`."""

    def __init__(self, inside: MemoryStorage) -> None:
        super().__init__(inside)
        self.left = 10**9
        self.before_create: Callable[[], None] | None = None
        self.may_delete = True

    def create(self, name: str, data: Buffer) -> None:
        if self.before_create is not None and name.startswith(layout.JOURNAL):
            act, self.before_create = self.before_create, None
            act()
        self._pay()
        super().create(name, data)

    def delete(self, name: str) -> None:
        if not self.may_delete:
            raise LackingRightsError("no right to delete")
        self._pay()
        super().delete(name)

    def _pay(self) -> None:
        if self.left == 0:
            raise StoppedError
        self.left -= 1


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT_ENTRIES", ENTRIES)
    monkeypatch.setattr(segments, "KEEP_SINGLE", ENTRIES)


def grow(repository: Repository, count: int) -> None:
    for number in range(count):
        repository.journal.append("noted", {"number": number}, at=now())


def told(journal: Journal) -> list[tuple[int, str]]:
    """The whole journal; fails at the first entry that cannot be read."""
    found = []
    for item in journal.walk():
        assert item.entry is not None, item.damage
        assert item.identity is not None
        found.append((item.position, item.identity.hex()))
    return found


def findings(repository: Repository) -> list[Problem]:
    problems: list[Problem] = []
    check_history(repository, problems.append, clock=now)
    return problems


def names(storage: MemoryStorage, prefix: str) -> list[str]:
    return [info.name for info in storage.list(prefix)]


def test_a_folded_journal_tells_the_same_with_fewer_objects() -> None:
    """Every entry keeps its position and its identity; the newest ones stay single; nothing is a finding."""
    storage = MemoryStorage()
    repository = make_repository(storage)
    take(repository, {"users": [b"1\n"]})
    grow(repository, 5 * ENTRIES)
    before = told(repository.journal)
    folded = repository.journal.fold()
    assert folded.segments == 4
    assert folded.entries == 4 * ENTRIES
    assert len(names(storage, layout.JOURNAL)) == len(before) - folded.entries >= ENTRIES
    assert told(repository.journal) == before
    assert [repository.journal.read(position)[1].hex() for position, _ in before] == [x for _, x in before]
    assert findings(repository) == []
    grow(repository, 3)
    assert [position for position, _ in told(repository.journal)] == list(range(1, len(before) + 4))
    assert findings(repository) == []
    assert repository.journal.fold().segments == 0


@pytest.mark.parametrize("steps", range(2 * ENTRIES + 2))
def test_folding_may_be_killed_at_any_step(steps: int) -> None:
    """After a kill the history is whole, a run can append, and folding again finishes what was begun."""
    storage = MemoryStorage()
    dying = Dying(storage)
    repository = make_repository(dying)
    grow(repository, 3 * ENTRIES)
    before = told(repository.journal)
    dying.left = steps
    with pytest.raises(StoppedError):
        repository.journal.fold()
    dying.left = 10**9
    assert told(repository.journal) == before
    assert findings(repository) == []
    grow(repository, 1)
    repository.journal.fold()
    assert told(repository.journal)[:-1] == before
    assert len(names(storage, layout.SEGMENTS)) == 2
    assert findings(repository) == []


def test_two_collectors_may_fold_at_once() -> None:
    """One is overtaken by the other between reading the entries and creating the segment, and goes on."""
    storage = MemoryStorage()
    dying = Dying(storage)
    slow = make_repository(dying)
    grow(slow, 3 * ENTRIES)
    before = told(slow.journal)
    quick = Repository(storage=storage, keyring=slow.keyring, config=slow.config)

    class Overtaken(Dying):
        def create(self, name: str, data: Buffer) -> None:
            if name.startswith(layout.SEGMENTS):
                quick.journal.fold()
            super().create(name, data)

        def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
            if name == layout.journal(ENTRIES + 3):
                quick.journal.fold()
            return super().get(name, offset=offset, length=length)

    overtaken = Repository(storage=Overtaken(storage), keyring=slow.keyring, config=slow.config)
    assert overtaken.journal.fold().refused == ()
    assert told(slow.journal) == before
    assert findings(slow) == []


def test_a_sleeper_cannot_reopen_a_position_that_was_folded() -> None:
    """A writer that sleeps between finding the end and creating its entry, while its position is taken, folded
    and removed, gets the next free position, and the history stays one."""
    storage = MemoryStorage()
    dying = Dying(storage)
    repository = make_repository(dying)
    awake = Repository(storage=storage, keyring=repository.keyring, config=repository.config)

    def meanwhile() -> None:
        grow(awake, 4 * ENTRIES)
        assert awake.journal.fold().segments > 0

    dying.before_create = meanwhile
    position = repository.journal.append("slept", {}, at=now())
    assert position == 4 * ENTRIES + 2
    assert repository.journal.read(position)[0].kind == "slept"
    assert [entry for entry, _ in told(repository.journal)] == list(range(1, position + 1))
    assert findings(repository) == []
    assert layout.journal(2) not in names(storage, layout.JOURNAL)


def test_a_sleeper_killed_at_once_leaves_a_rest_that_does_not_count() -> None:
    """Its stray entry is no part of the history, and the next folding clears it away."""
    storage = MemoryStorage()
    repository = make_repository(storage)
    grow(repository, 4 * ENTRIES)
    before = told(repository.journal)
    stray = storage.get(layout.journal(4 * ENTRIES))
    repository.journal.fold()
    storage.create(layout.journal(2), stray)
    assert told(repository.journal) == before
    assert findings(repository) == []
    repository.journal.fold()
    assert layout.journal(2) not in names(storage, layout.JOURNAL)


def test_without_the_right_to_delete_folding_leaves_the_entries() -> None:
    """The segment is there, the entries too, and the history is whole."""
    dying = Dying(MemoryStorage())
    repository = make_repository(dying)
    grow(repository, 3 * ENTRIES)
    before = told(repository.journal)
    dying.may_delete = False
    assert repository.journal.fold().entries == 0
    assert told(repository.journal) == before
    assert findings(repository) == []


def test_a_damaged_entry_is_not_folded_away() -> None:
    """Folding refuses its segment by name, and folds the others; the finding stays."""
    storage = MemoryStorage()
    repository = make_repository(storage)
    grow(repository, 4 * ENTRIES)
    name = layout.journal(3)
    storage.replace(name, storage.get(name)[:-1] + b"\0")
    folded = repository.journal.fold()
    assert [error.object_name for error in folded.refused] == [name]
    assert names(storage, layout.SEGMENTS) == [layout.segment(ENTRIES + 1), layout.segment(2 * ENTRIES + 1)]
    assert name in {problem.object_name for problem in findings(repository)}


@pytest.mark.parametrize("fault", ["removed", "cut", "altered", "swapped"])
def test_damage_to_a_segment_is_named(fault: str) -> None:
    """A segment that is gone, short, altered or in another's place is a finding with its name."""
    storage = MemoryStorage()
    repository = make_repository(storage)
    grow(repository, 5 * ENTRIES)
    repository.journal.fold()
    first, second = names(storage, layout.SEGMENTS)[:2]
    data = storage.get(first)
    if fault == "removed":
        storage.delete(first)
    elif fault == "cut":
        storage.replace(first, data[:-1])
    elif fault == "altered":
        storage.replace(first, data[:300] + bytes([data[300] ^ 1]) + data[301:])
    else:
        storage.replace(first, storage.get(second))
    found = findings(repository)
    assert {problem.object_name for problem in found} == {first}
    grow(repository, 1)


def test_an_outcome_that_was_collected_is_no_finding_but_a_removed_one_is() -> None:
    """The entry `collected` accounts for an outcome that is gone; without one, its absence is a finding."""
    storage = MemoryStorage()
    repository = make_repository(storage)
    kept, collected, stolen = (take(repository, {"users": [b"1\n"]}).snapshot for _ in range(3))
    repository.journal.append("collected", {"snapshots": [collected], "records": []}, at=now())
    assert findings(repository) == []  # announced, not yet removed
    storage.delete(layout.outcome(collected))
    assert findings(repository) == []
    grow(repository, 3 * ENTRIES)
    repository.journal.fold()
    assert findings(repository) == []
    storage.delete(layout.outcome(stolen))
    assert [problem.object_name for problem in findings(repository)] == [layout.outcome(stolen)]
    assert kept in {item.snapshot for item in repository.committed(buried=True)}


def test_collection_during_the_check_is_no_finding() -> None:
    """An outcome that is collected between the listing and the reading is looked up in the journal again."""
    storage = MemoryStorage()
    repository = make_repository(storage)
    gone = take(repository, {"users": [b"1\n"]}).snapshot

    class Late(Through):
        def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
            if name == layout.outcome(gone) and name in names(storage, layout.OUTCOMES):
                repository.journal.append("collected", {"snapshots": [gone]}, at=now())
                storage.delete(name)
            return super().get(name, offset=offset, length=length)

    assert (
        findings(Repository(storage=Late(storage), keyring=repository.keyring, config=repository.config))
        == []
    )


def test_finding_the_parent_costs_the_same_however_old_the_repository() -> None:
    """With its head, a source finds its parent by the same few requests after 2 and after 60 snapshots of
    others; a source without any looks back at a bounded number of outcomes."""
    counted = Counted(MemoryStorage())
    repository = make_repository(counted)

    def requests(source: str) -> int:
        before = sum(item.requests for item in counted.traffic().values())
        find_predecessors(repository, source, now=now())
        return sum(item.requests for item in counted.traffic().values()) - before

    mine = take(repository, {"users": [b"1\n"]}, source="quiet").snapshot
    take(repository, {"users": [b"1\n"]}, source="busy")
    young = requests("quiet")
    for _ in range(58):
        take(repository, {"users": [b"1\n"]}, source="busy")
    assert requests("quiet") == young <= 5
    parent = find_predecessors(repository, "quiet", now=now()).parent
    assert parent is not None
    assert parent.snapshot == mine


def test_a_head_that_lies_is_not_believed() -> None:
    """A head that names a snapshot of another source, or none at all, is passed over."""
    storage = MemoryStorage()
    repository = make_repository(storage)
    mine = take(repository, {"users": [b"1\n"]}, source="mine").snapshot
    heads = names(storage, layout.HEADS)
    take(repository, {"users": [b"1\n"]}, source="other")
    (other,) = set(names(storage, layout.HEADS)) - set(heads)
    for data in (storage.get(other), b"rubbish"):
        storage.replace(heads[0], data)
        parent = find_predecessors(repository, "mine", now=now()).parent
        assert parent is not None
        assert parent.snapshot == mine
