"""Random stories over the real code: backups, retention, undelete, holds, restores, copies and collections take
turns at every call of the storage, are killed, sleep, and their clocks jump; listings may come late.

What must always be true: every committed snapshot that is not removed has all its rows; so has one that a hold
names, and one of which an undelete said that it is back; and a restore or copy that was pinned reads to its end.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from holdfast.domain.errors import DamagedError, RefusedError, UsageError
from holdfast.domain.ids import SnapshotId, make_snapshot_id
from holdfast.domain.manifest import SnapshotSummary
from holdfast.repository import layout
from holdfast.repository.collecting import clearing, decision, fencing, references, survey, sweep
from holdfast.repository.collecting.rules import CollectionRules
from holdfast.repository.encoding import moment
from holdfast.repository.registers.documents import seal_document
from holdfast.repository.registers.graves import Graves
from holdfast.repository.registers.outcomes import Aborted, Outcomes
from holdfast.repository.registers.writers import Purpose
from holdfast.repository.repo import Repository
from holdfast.repository.root_codec import encode_summary
from holdfast.repository.runs import company, pins, run
from holdfast.repository.runs.pins import reading
from holdfast.repository.runs.predecessors import find_predecessors
from holdfast.repository.runs.reuse import is_present, list_sizes
from holdfast.repository.runs.run import Run
from holdfast.repository.seal import ObjectType
from holdfast.storage import ObjectInfo
from holdfast.storage.memory import MemoryStorage
from holdfast.workflows import collect, holding, removal, replicate
from holdfast.workflows import copy as copying
from holdfast.workflows.collect import apply_collection
from holdfast.workflows.copy import Errand
from holdfast.workflows.copy_plan import CopySelection
from holdfast.workflows.copy_report import CopyState
from holdfast.workflows.holding import add_hold
from holdfast.workflows.removal import bury, undelete
from holdfast.workflows.replicate import ReplicateOptions
from holdfast.workflows.verify import verify
from model.stage import Actor, Clock, KilledError, Late
from repositories import make_repository
from snapshots import blobs_of, commit

# A grace shorter than the silence after which a writer counts as dead: then only the rules protect, not time.
RULES = CollectionRules(share=1.0, grace=timedelta(hours=1))
ROWS = [b"1\tann\n", b"2\tbob\n", b"3\tcid\n"]
MOST_ACTORS = 4
TALLY = {"stories": 0, "steps": 0, "snapshots": 0, "swept objects": 0, "copies": 0}


class Races(RuleBasedStateMachine):
    """One repository, and two who meet there at the worst moments."""

    late = timedelta()

    @initialize(seed=st.integers(0, 2**16))
    def begin(self, seed: int) -> None:
        self.clock = Clock()
        self.random = random.Random(seed)
        self.memory = MemoryStorage()
        self.truth = make_repository(self.memory)
        self.delays = Late(self.clock, random.Random(seed), most=self.late)
        self.actors: list[Actor] = []
        self.moving: Actor | None = None
        self.count = 0
        self.needed: dict[SnapshotId, set[str]] = {}
        self.undeleted: dict[SnapshotId, int] = {}
        self.held: set[SnapshotId] = set()
        self.patches = patch.multiple(layout, secrets=SimpleNamespace(token_hex=self._token))
        self.patches.start()
        self.hosts = [
            patch.object(module, "this_host", self._host) for module in (run, pins, fencing, company)
        ]
        chance: Any = SimpleNamespace(urandom=self.random.randbytes)
        self.hosts += [patch.object(module, "os", chance) for module in (pins, holding, copying, replicate)]
        for item in self.hosts:
            item.start()
        TALLY["stories"] += 1
        for rows in ([ROWS[0]], [ROWS[0], ROWS[1]]):
            self.whole_backup("shop", rows)
        self.other = make_repository(MemoryStorage())  # copies come from there, and go there; never collected
        self._backup(self.other, "shop", [ROWS[1]])
        self.clock.jump(timedelta(minutes=5))

    def end(self) -> None:
        for actor in self.actors:
            actor.kill()
        self.actors.clear()
        for item in (*self.hosts, self.patches):
            item.stop()

    def teardown(self) -> None:
        if not hasattr(self, "actors"):
            return
        try:
            for actor in self.actors:
                actor.kill()
            self.clock.jump(timedelta(days=1))
            TALLY["snapshots"] += len(self.needed)
            there = {info.name for info in self.memory.list("")}
            TALLY["swept objects"] += len(set().union(*self.needed.values()) - there)
            damage = [
                item.problem for item in verify(self.truth, None, level=3, jobs=1, clock=self.clock).findings
            ]
            damage += [
                item.problem for item in verify(self.other, None, level=3, jobs=1, clock=self.clock).findings
            ]
            assert damage == []
        finally:
            self.end()

    @precondition(lambda self: len(self.actors) < MOST_ACTORS)
    @rule(
        source=st.sampled_from(["shop", "blog"]), rows=st.lists(st.sampled_from(ROWS), min_size=1, max_size=2)
    )
    def whole_backup(self, source: str, rows: list[bytes]) -> None:
        self._move(self._play("backup", lambda repository: self._backup(repository, source, rows)), 3000)
        self.clock.jump(timedelta(minutes=5))
        self.nothing_is_lost()

    @precondition(lambda self: not self.actors and self.needed)
    @rule(
        who=st.sampled_from(
            ["backup", "backup", "backup", "undelete", "hold", "restore", "copy in", "copy out"]
        ),
        before=st.one_of(st.integers(2, 6), st.integers(15, 21), st.integers(0, 45)),
        sweeping=st.integers(10, 90),
        between=st.integers(0, 60),
        crash=st.booleans(),
        asleep=st.booleans(),
    )
    def race(
        self, who: str, before: int, sweeping: int, between: int, *, crash: bool = False, asleep: bool = False
    ) -> None:
        """Somebody begins; the newest snapshot is removed and planned, the grace is over; the sweep begins, the
        other goes on for a while, the sweep ends, the other ends. Most losses need no more than these switches."""
        snapshot = max(self.needed)
        if who == "backup" and crash:  # then there is something to adopt
            victim = self._play("backup", lambda item: self._backup(item, "shop", [ROWS[2]]))
            self._move(victim, 25)
            if victim in self.actors:
                self.actors.remove(victim)
                victim.kill()
            self.clock.jump(timedelta(minutes=20))
        works: dict[str, Callable[[Repository], object]] = {
            "backup": lambda item: self._backup(item, "shop", [*ROWS]),
            "undelete": lambda item: self._undelete(item, snapshot),
            "hold": lambda item: self._hold(item, snapshot),
            "restore": lambda item: self._restore(item, snapshot),
            "copy in": lambda item: self._copy(self.other, item),
            "copy out": lambda item: self._copy(item, self.other),
        }
        if who == "copy in":  # then there is a base, and it is the one that is removed
            self._move(self._play("copy", works["copy in"]), 3000)
            self._backup(self.other, "shop", [ROWS[1], ROWS[2]])
            self.nothing_is_lost()
            snapshot = self._newest_copy() or snapshot
        other = None
        if who in ("backup", "restore", "copy in", "copy out"):
            other = self._play(who, works[who])
            self._move(other, before)
        if asleep:  # for so long that it is taken for dead
            self.clock.jump(timedelta(days=2))
        self._remove_and_plan(sorted(self.needed).index(snapshot), collections=1)
        sweep_actor = self._play(
            "collection", lambda item: apply_collection(item, rules=RULES, clock=self.clock)
        )
        if other is None:
            other = self._play(who, works[who])
        for actor, steps in ((sweep_actor, sweeping), (other, between), (sweep_actor, 3000), (other, 3000)):
            if not actor.done:
                self._move(actor, steps)
            self.nothing_is_lost()

    # What must be true ---------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_lost(self) -> None:
        if not hasattr(self, "truth"):
            return
        there = {info.name for info in self.memory.list("")}
        standing = set()
        for outcome in self.truth.committed():
            standing.add(outcome.snapshot)
            if outcome.snapshot not in self.needed:
                self.needed[outcome.snapshot] = self._objects(outcome.summary)
        undeleted = {item for item, since in self.undeleted.items() if not self._buried_since(item, since)}
        promised = self.held | undeleted
        for snapshot in (standing | promised) & set(self.needed):
            gone = sorted(self.needed[snapshot] - there)
            assert not gone, f"snapshot {snapshot} lost {gone}"
        for snapshot in promised:
            assert layout.outcome(snapshot) in there, (
                f"snapshot {snapshot} was promised and its outcome is gone"
            )

    # How -----------------------------------------------------------------------------------------------------

    def _play(self, name: str, work: Callable[[Repository], object]) -> Actor:
        self.count += 1
        actor = Actor(f"{name}-{self.count}", self.memory, self.delays)
        repository = Repository(storage=actor, keyring=self.truth.keyring, config=self.truth.config)
        self.actors.append(actor)
        self.moving = actor
        actor.begin(lambda: (work(repository), None)[1])
        return actor

    def _move(self, actor: Actor, steps: int) -> None:
        self.moving = actor
        before = actor.steps
        actor.advance(steps)
        TALLY["steps"] += actor.steps - before
        if actor.done:
            self.actors.remove(actor)
            if actor.error is not None and not isinstance(
                actor.error, KilledError | RefusedError | UsageError
            ):
                raise actor.error

    def _backup(self, repository: Repository, source: str, rows: list[bytes]) -> None:
        predecessors = find_predecessors(repository, source, now=self.clock())
        self.count += 1
        fresh = make_snapshot_id(self.clock(), self.count.to_bytes(10, "big"))
        taken = Run.begin(
            repository, snapshot=fresh, source=source, predecessors=predecessors, level=1, clock=self.clock
        )
        try:
            with taken:
                left = taken.adopt(predecessors.crashed)
                known: dict[bytes, Any] = {}
                parent = predecessors.parent
                if parent is not None and taken.still_stands(parent.snapshot):
                    blobs = blobs_of(repository, parent)
                    owners = {layout.snapshot_in(ref.object_name) for ref in blobs.values()}
                    sizes = list_sizes(repository.storage, owners)
                    known = {key: ref for key, ref in blobs.items() if is_present(ref, sizes)}
                for item in rows:
                    identity = repository.sealer.identify(ObjectType.CHUNK, item)
                    ref = left.take(repository.storage, repository.sealer, identity, len(item))
                    if ref is not None and identity not in known:
                        known[identity] = ref
                commit(taken, {"users": rows}, parent=parent.snapshot if parent else None, known=known)
        except DamagedError:
            is_decided = fresh in set(self.truth.outcomes.names())
            if is_decided and isinstance(self.truth.outcomes.read(fresh), Aborted):
                return  # it was declared dead while it slept; what it relied on may be gone
            raise

    def _undelete(self, repository: Repository, snapshot: SnapshotId) -> None:
        since = len(self.delays.history)
        undelete(repository, [snapshot], by="story", clock=self.clock)
        self.undeleted[snapshot] = since

    def _buried_since(self, snapshot: SnapshotId, since: int) -> bool:
        """Whether a removal that was begun at any time has dug a new grave since then: it undoes the undelete."""
        prefix = f"{layout.TOMBSTONES}{snapshot}/"
        return any(name.startswith(prefix) for name in self.delays.history[since:])

    def _hold(self, repository: Repository, snapshot: SnapshotId) -> None:
        add_hold(repository, [snapshot], by="story", why="court", until=None, clock=self.clock)
        self.held.add(snapshot)

    def _restore(self, repository: Repository, snapshot: SnapshotId) -> None:
        began, is_pinned = self.clock.passed, False
        try:
            with reading(repository, [snapshot], purpose=Purpose.RESTORE, clock=self.clock):
                is_pinned = True
                root = repository.root(repository.summary(snapshot))
                for _, manifest in repository.tables(root.tables):
                    for chunk in manifest.chunks():
                        repository.chunk(chunk.blob)
        except DamagedError:
            # Collected long before; or the reader slept without a heartbeat and was taken for dead.
            if is_pinned and self.clock.passed - began < RULES.silence:
                raise

    def _copy(self, source: Repository, destination: Repository) -> None:
        """All that the destination lacks. Where listings come late, what was sent may not be found again; such a
        copy is refused, not committed."""
        began = self.clock.passed
        errand = Errand(name="far", open=lambda: nullcontext(destination), selection=CopySelection())
        report = copying.copy(
            source, [errand], place="near", options=ReplicateOptions(jobs=1), clock=self.clock
        )
        for result in report.copies:
            TALLY["copies"] += result.state is CopyState.COPIED
            is_late = bool(self.late) and "does not hold what was sent" in str(result.error)
            slept = self.clock.passed - began >= RULES.silence
            if not isinstance(result.error, DamagedError) or is_late or slept:
                continue
            # One that slept was taken for dead, and pins nothing. And outcomes are read right after the
            # announcement: what was collected between the choice and the pin was not promised.
            if not result.error.object_name.startswith(layout.OUTCOMES):
                raise result.error

    def _newest_copy(self) -> SnapshotId | None:
        return next(
            (item.snapshot for item in self.truth.committed() if item.summary.origin is not None), None
        )

    def _objects(self, summary: SnapshotSummary) -> set[str]:
        """All objects of a snapshot, read and opened once: objects never change, so that they are there is enough
        from then on."""
        root = self.truth.root(summary)
        found = {summary.root.object_name, *(piece.object_name for piece in root.archive.pieces)}
        found.update(ref.object_name for ref in root.large_objects.lists)
        found.update(piece.object_name for item in self.truth.large_objects(root) for piece in item.pieces)
        for entry, manifest in self.truth.tables(root.tables):
            found.add(entry.manifest.object_name)
            for chunk in manifest.chunks():
                self.truth.chunk(chunk.blob)
                found.add(chunk.blob.object_name)
        return found

    def _pick(self, which: int) -> SnapshotId:
        return sorted(self.needed)[which % len(self.needed)]

    def _token(self, size: int) -> str:
        return self.random.randbytes(size).hex()

    def _host(self) -> Any:
        assert self.moving is not None
        return self.moving.host

    def _remove_and_plan(self, which: int, collections: int = 2) -> None:
        """The common case in one go, so that stories come to a sweep: removed, planned, and the grace is over."""
        snapshot = self._pick(which)
        self._move(
            self._play("remove", lambda item: bury(item, {snapshot: "story"}, by="story", clock=self.clock)),
            3000,
        )
        for _ in range(collections):
            self._move(
                self._play("collection", lambda item: apply_collection(item, rules=RULES, clock=self.clock)),
                3000,
            )
            self.clock.jump(timedelta(hours=2))


class Story(Races):
    """Whoever works on the repository does so at random."""

    # Actors --------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.actors) < MOST_ACTORS)
    @rule(
        source=st.sampled_from(["shop", "shop", "blog"]),
        rows=st.lists(st.sampled_from(ROWS), min_size=1, max_size=2),
    )
    def backup(self, source: str, rows: list[bytes]) -> None:
        self._play("backup", lambda repository: self._backup(repository, source, rows))

    @precondition(lambda self: len(self.actors) < MOST_ACTORS)
    @rule()
    def collection(self) -> None:
        self._play(
            "collection", lambda repository: apply_collection(repository, rules=RULES, clock=self.clock)
        )

    @precondition(lambda self: len(self.actors) < MOST_ACTORS and self.needed)
    @rule(which=st.integers(0, 9))
    def remove(self, which: int) -> None:
        snapshot = self._pick(which)
        self._play(
            "remove", lambda repository: bury(repository, {snapshot: "story"}, by="story", clock=self.clock)
        )

    @precondition(lambda self: len(self.actors) < MOST_ACTORS and self.needed)
    @rule(which=st.integers(0, 9))
    def bring_back(self, which: int) -> None:
        snapshot = self._pick(which)
        self._play("undelete", lambda repository: self._undelete(repository, snapshot))

    @precondition(lambda self: len(self.actors) < MOST_ACTORS and self.needed)
    @rule(which=st.integers(0, 9))
    def hold(self, which: int) -> None:
        snapshot = self._pick(which)
        self._play("hold", lambda repository: self._hold(repository, snapshot))

    @precondition(lambda self: len(self.actors) < MOST_ACTORS and self.needed)
    @rule(which=st.integers(0, 9))
    def restore(self, which: int) -> None:
        snapshot = self._pick(which)
        self._play("restore", lambda repository: self._restore(repository, snapshot))

    @precondition(lambda self: len(self.actors) < MOST_ACTORS)
    @rule(rows=st.lists(st.sampled_from(ROWS), max_size=2))
    def copy_in(self, rows: list[bytes]) -> None:
        if rows:
            self._backup(self.other, "shop", rows)
        self._play("copy", lambda repository: self._copy(self.other, repository))

    @precondition(lambda self: len(self.actors) < MOST_ACTORS)
    @rule()
    def copy_out(self) -> None:
        self._play("copy", lambda repository: self._copy(repository, self.other))

    # What happens to them ------------------------------------------------------------------------------------

    @precondition(lambda self: self.actors)
    @rule(which=st.integers(0, 9), steps=st.sampled_from([1, 1, 2, 3, 5, 8, 13, 21, 34]))
    def go_on(self, which: int, steps: int) -> None:
        self._move(self.actors[which % len(self.actors)], steps)

    @precondition(lambda self: self.actors)
    @rule(which=st.integers(0, 9))
    def finish(self, which: int) -> None:
        self._move(self.actors[which % len(self.actors)], 3000)

    @precondition(lambda self: self.actors)
    @rule(which=st.integers(0, 9), really=st.sampled_from([False, False, True]))
    def kill(self, which: int, *, really: bool) -> None:
        if really:
            self.actors.pop(which % len(self.actors)).kill()

    @rule(
        by=st.sampled_from(
            [timedelta(minutes=5), timedelta(minutes=20), timedelta(hours=2), timedelta(days=2)]
        )
    )
    def time_passes(self, by: timedelta) -> None:
        self.clock.jump(by)

    @rule(by=st.sampled_from([timedelta(minutes=-30), timedelta(days=-3)]))
    def clock_is_set_back(self, by: timedelta) -> None:
        self.clock.jump(by)

    @precondition(lambda self: len(self.actors) < MOST_ACTORS and self.needed)
    @rule(which=st.integers(0, 9))
    def removed_and_planned(self, which: int) -> None:
        """The common case in one go, so that stories come to a sweep."""
        self._remove_and_plan(which)


class LateStory(Story):
    """The same where a listing may not show what came or went in the last quarter of an hour."""

    late = timedelta(minutes=15)


class LateRaces(Races):
    """Two who meet at the worst moments, over such listings."""

    late = timedelta(minutes=15)


class Unheard(Late):
    """Listings that know of nothing recent below some prefixes, and of all else at once."""

    prefixes = (layout.WRITERS, layout.OUTCOMES, layout.JOURNAL)

    def seen(self, infos: list[ObjectInfo], prefix: str, after: str | None) -> list[ObjectInfo]:
        recent = self.clock.passed - self.most
        return [
            info
            for info in infos
            if self.created.get(info.name, recent) <= recent or not info.name.startswith(self.prefixes)
        ]


class LateMeeting(Races):
    """A backup builds on a snapshot that is removed meanwhile, and listings do not show who announced himself."""

    late = timedelta(minutes=15)

    def meet(self) -> Actor:
        """A backup that has found no tombstone of its parent, which is removed and planned then."""
        self.clock.jump(timedelta(hours=1))
        self.delays = Unheard(self.clock, random.Random(1), most=self.late)
        writer = self._play("backup", lambda item: self._backup(item, "shop", [*ROWS]))
        there = {info.name for info in self.memory.list(layout.DATA)}
        while {info.name for info in self.memory.list(layout.DATA)} == there:
            self._move(writer, 1)
        snapshot = max(self.needed)
        self._move(
            self._play("remove", lambda item: bury(item, {snapshot: "story"}, by="story", clock=self.clock)),
            3000,
        )
        self._move(self.collect(), 3000)
        return writer

    def collect(self) -> Actor:
        return self._play("collection", lambda item: apply_collection(item, rules=RULES, clock=self.clock))

    def go_on(self, actor: Actor, steps: int = 3000) -> None:
        if not actor.done:
            self._move(actor, steps)
        self.nothing_is_lost()


@contextmanager
def late_meeting() -> Iterator[LateMeeting]:
    story = LateMeeting()
    story.begin(seed=1)
    try:
        yield story
    finally:
        story.end()


@pytest.fixture(autouse=True)
def one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools of one thread make a story repeatable; which of eight threads comes first is up to the machine."""
    for module, name in (
        (references, "READERS"),
        (survey, "READERS"),
        (sweep, "DELETERS"),
        (clearing, "DELETERS"),
    ):
        monkeypatch.setattr(module, name, 1)


def tell(
    story: type[Races], *, stories: int, length: int, phases: tuple[Phase, ...] = (Phase.generate,)
) -> None:
    run_state_machine_as_test(
        story,
        settings=settings(
            max_examples=stories,
            stateful_step_count=length,
            deadline=None,
            database=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        ),
    )


def _ignore(*_: Any, **__: Any) -> None:
    """What a rule did, left out."""


def _commit_anyway(self: Outcomes, outcome: Any) -> None:
    """Without the register: the last one to write wins."""
    document = {
        "snapshot": outcome.snapshot,
        "at": moment(outcome.at),
        "state": "committed",
        "summary": encode_summary(outcome.summary),
        "journal_position": outcome.journal_position,
    }
    sealed, _ = seal_document(self._sealer, ObjectType.OUTCOME, document)
    self._storage.replace(layout.outcome(outcome.snapshot), sealed)


Meeting = tuple[str, int, int, int, bool]
"""Who races with the sweep; its steps before the removal; the sweep's steps; the other's steps after that; whether
it sleeps for so long that it is taken for dead."""
MUTANTS: dict[str, tuple[Any, str, Any, Meeting]] = {
    "a parent must stand after the announcement": (
        Run,
        "still_stands",
        lambda *_: True,
        ("backup", 4, 30, 0, False),
    ),
    "tombstones are looked for after the announcement": (
        Run,
        "without_tombstone",
        lambda *_: True,
        ("backup", 4, 30, 12, False),
    ),
    "what undecided writers rely on is pinned": (
        survey.Survey,
        "pinned",
        lambda _: {},
        ("backup", 18, 30, 0, False),
    ),
    "one register decides commit or abort": (Outcomes, "commit", _commit_anyway, ("backup", 18, 90, 0, True)),
    "one register decides sweep or undelete": (
        Graves,
        "decide",
        lambda _, fate: fate,
        ("undelete", 0, 30, 12, False),
    ),
    "objects of undecided writers are spared": (
        decision._Owners,
        "_judge",
        lambda *_: "decided",
        ("backup", 18, 30, 0, False),
    ),
    "an undelete looks for the outcome afterwards": (
        removal,
        "_is_committed",
        lambda *_: True,
        ("undelete", 0, 10, 2, False),
    ),
}


def meet(meeting: Meeting) -> None:
    """One race, without chance."""
    who, before, sweeping, between, asleep = meeting
    story = Races()
    story.begin(seed=1)
    try:
        story.race(who=who, before=before, sweeping=sweeping, between=between, asleep=asleep)
    finally:
        story.end()


@pytest.mark.parametrize("name", MUTANTS)
def test_the_worst_meetings_lose_nothing(name: str) -> None:
    """The very meetings at which the code without a rule loses data are harmless with it."""
    meet(MUTANTS[name][3])


@pytest.mark.parametrize("name", MUTANTS)
def test_without_any_one_rule_a_meeting_loses_data(name: str) -> None:
    """The real code with one rule taken out: something committed is gone, or a pinned reader fails."""
    target, attribute, instead, meeting = MUTANTS[name]
    with patch.object(target, attribute, instead), pytest.raises((AssertionError, DamagedError)):
        meet(meeting)


def commits_beside_a_sweep(steps: int) -> bool:
    """A writer of which the plan knows nothing commits when the sweep has made some steps; True if it was over.
    No listing shows the record, which is gone then, or the outcome."""
    with late_meeting() as story:
        writer = story.meet()
        story.clock.jump(timedelta(hours=2))
        collector = story.collect()
        story.go_on(collector, steps)
        is_over = collector.done
        story.go_on(writer)
        story.go_on(collector)
    return is_over


def sleeps_in_a_sweep(steps: int) -> bool:
    """A sweep begins right after the plan, and sleeps for longer than the grace after some steps; True if it was
    over. Its listings do not show the writer that the plan does not know either."""
    with late_meeting() as story:
        writer = story.meet()
        collector = story.collect()
        story.go_on(collector, steps)
        is_over = collector.done
        story.clock.jump(timedelta(hours=2))
        story.go_on(collector)
        story.go_on(writer)
    return is_over


def at_every_step(scene: Callable[[int], bool]) -> None:
    steps = 0
    while not scene(steps):
        steps += 1
    assert steps > 20


LATE_MUTANTS: dict[str, tuple[Callable[[int], bool], list[tuple[Any, str, Any]]]] = {
    "what the journal tells is in the survey": (
        commits_beside_a_sweep,
        [(survey, "_ask_by_name", _ignore), (survey, "require_known", _ignore)],
    ),
    "a plan is a grace old before anything is listed": (
        sleeps_in_a_sweep,
        [(collect, "basis_of", lambda plans, **_: plans[-1] if plans else None)],
    ),
}


@pytest.mark.parametrize("name", LATE_MUTANTS)
def test_what_listings_do_not_show_is_not_lost(name: str) -> None:
    """Two plans are not enough where a record is missing in the one and an outcome in the other, nor where both
    were made of the same listings: wherever the sweep is by then, nothing is lost."""
    at_every_step(LATE_MUTANTS[name][0])


@pytest.mark.parametrize("name", LATE_MUTANTS)
def test_without_a_rule_late_listings_lose_data(name: str) -> None:
    """The same meetings over the real code without what makes them harmless."""
    scene, changes = LATE_MUTANTS[name]
    with ExitStack() as stack:
        for target, attribute, instead in changes:
            stack.enter_context(patch.object(target, attribute, instead))
        with pytest.raises((AssertionError, DamagedError), match=r"lost|missing"):
            at_every_step(scene)


@pytest.mark.soak
def test_many_stories_lose_nothing() -> None:
    """Long random stories, and races."""
    tell(Races, stories=400, length=10)
    tell(Story, stories=1000, length=60)


@pytest.mark.soak
def test_many_stories_with_late_listings_lose_nothing() -> None:
    """The same where each listing leaves out some of what came in the last quarter of an hour."""
    tell(LateRaces, stories=400, length=10)
    tell(LateStory, stories=1000, length=60)


def test_no_story_loses_anything() -> None:
    """A few random stories in every run of the tests; the soak tells thousands."""
    tell(Story, stories=10, length=30)


def test_no_story_with_late_listings_loses_anything() -> None:
    """And a few over a storage whose listings come late."""
    tell(LateStory, stories=10, length=30)
