"""Commit and collection as a small transition system, to be searched through completely.

Snapshot 0 is committed when the story begins; the others are runs that want the same rows and take them where
the rules allow: from the parent, from what a crashed run left, or by storing them anew. Every step is one
request to the storage. A crash is an actor that is never scheduled again, and sleep is one that is scheduled
late, so both happen everywhere by themselves; time only says that something may happen, never that it may not.

`Rules` can be left out one by one. A model whose loss nobody can find proves nothing, so the tests leave each one
out and see the loss.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

UNDECIDED, COMMITTED, ABORTED, GONE = range(4)
OPEN, UNDELETED, SWEPT = range(3)
ABSENT, PRESENT, RETIRED = range(3)
NOBODY = -1
REGISTERS = ("outcome", "fates", "writer")
ASK = 10  # a collector's step between 3 and 4, where listings are late
RULES = (
    "announce before looking for tombstones",
    "tombstones are listed before writers",
    "writers are listed before outcomes",
    "pinned snapshots are not swept",
    "one register decides commit or abort",
    "one register decides sweep or undelete",
    "every burial has a register of its own",
    "objects of undecided writers are spared",
    "leftovers are buried before they are swept",
    "a reused snapshot must still stand",
    "an undelete looks for the outcome afterwards",
    "two plans a grace apart",
    "the grace is over before anything is listed",
    "whom the journal names is asked for by name",
)


class Snapshot(NamedTuple):
    """The registers of one snapshot. `fates` holds one register per burial; `needs` is the owner of the object
    that holds its rows, once committed; `pins` is what its writer's record names. `fresh`: registers that changed
    so lately that a listing may not show it."""

    outcome: int = UNDECIDED
    fates: tuple[int, ...] = ()
    writer: int = ABSENT
    pins: frozenset[int] = frozenset()
    needs: int = NOBODY
    fresh: frozenset[str] = frozenset()

    @property
    def buried(self) -> bool:
        return bool(self.fates) and self.fates[-1] != UNDELETED


class Writer(NamedTuple):
    step: int = 0
    pins: frozenset[int] = frozenset()
    usable: frozenset[int] = frozenset()
    source: int = NOBODY


class Plan(NamedTuple):
    """Burials (snapshot, round) and objects that a collection found to be garbage."""

    graves: frozenset[tuple[int, int]] = frozenset()
    objects: frozenset[int] = frozenset()


class Collector(NamedTuple):
    step: int = 0
    left: int = 0
    basis: Plan | None = None
    graves: frozenset[tuple[int, int]] = frozenset()
    writers: frozenset[tuple[int, frozenset[int]]] = frozenset()
    outcomes: tuple[tuple[int, int, int], ...] = ()
    present: frozenset[int] = frozenset()
    sweeping: tuple[tuple[int, int], ...] = ()
    won: frozenset[tuple[int, int]] = frozenset()
    doomed: frozenset[int] = frozenset()


class Undelete(NamedTuple):
    """`aim` is the burial that it read; `told` says what it told the operator: "" until it did."""

    step: int = 0
    aim: int = NOBODY
    told: str = ""


class State(NamedTuple):
    snapshots: tuple[Snapshot, ...]
    objects: frozenset[int]
    writers: tuple[Writer, ...]
    collectors: tuple[Collector, ...]
    undelete: Undelete
    plan: Plan | None
    burials_left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """How many of each actor, and which rule is left out. `delays`: listings may not show what changed since the
    last plan was made (a grace is longer than any delay), each register by itself and each listing anew. What is
    read by name is exact, and so is the journal, which tells of every commit."""

    writers: int
    collectors: int
    collections: int
    burials: int
    undelete: bool
    delays: bool = False
    without: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if unknown := self.without - set(RULES):
            raise ValueError(f"no such rules: {unknown}")

    def keeps(self, rule: str) -> bool:
        if rule not in RULES:
            raise ValueError(f"no such rule: {rule}")
        return rule not in self.without

    def start(self) -> State:
        parent = Snapshot(outcome=COMMITTED, writer=RETIRED, needs=0)
        return State(
            snapshots=(parent, *(Snapshot() for _ in range(self.writers))),
            objects=frozenset({0}),
            writers=tuple(Writer() for _ in range(self.writers)),
            collectors=tuple(Collector(left=self.collections) for _ in range(self.collectors)),
            undelete=Undelete(),
            plan=None,
            burials_left=self.burials,
        )

    def steps(self, state: State) -> Iterator[State]:
        for following in self._moves(state):
            yield _freshened(state, following) if self.delays else following

    def _moves(self, state: State) -> Iterator[State]:
        for place in range(len(state.writers)):
            yield from self._write(state, place)
        for place in range(len(state.collectors)):
            yield from self._collect(state, place)
        if state.burials_left and state.snapshots[0].outcome == COMMITTED and not state.snapshots[0].buried:
            yield self._bury(state, 0)._replace(
                burials_left=state.burials_left - 1, undelete=state.undelete._replace(told="")
            )
        if self.undelete:
            yield from self._undelete(state)

    # Writers ------------------------------------------------------------------------------------------------

    def _write(self, state: State, place: int) -> Iterator[State]:  # noqa: C901  one branch a step
        """Look around, announce, fence, look for tombstones, then for outcomes, find the rows, store, commit,
        retire."""
        me, writer = place + 1, state.writers[place]
        snapshots = state.snapshots

        def at(step: int, state: State = state, **changes: object) -> State:
            moved = state.writers[place]._replace(step=step, **changes)  # type: ignore[arg-type]
            return state._replace(writers=_put(state.writers, place, moved))

        early = not self.keeps("announce before looking for tombstones")
        if writer.step == 0:
            pins = {0} if snapshots[0].outcome == COMMITTED and not snapshots[0].buried else set()
            pins |= {i for i in range(1, me) if snapshots[i].writer == PRESENT and not snapshots[i].outcome}
            yield at(3 if early else 1, pins=frozenset(pins))
        elif writer.step == 1:
            yield at(
                5 if early else 2,
                _set(state, me, writer=PRESENT, pins=writer.pins),
            )
        elif writer.step == 2:
            fenced = state
            for crashed in writer.pins - {0}:
                fenced = self._abort(fenced, crashed)
            yield at(3, fenced)
        elif writer.step == 3:
            usable = frozenset(i for i in writer.pins if not snapshots[i].buried)
            yield at(1 if early else 4, usable=usable)
        elif writer.step == 4:
            standing = {
                i for i in writer.usable if snapshots[i].outcome in ((COMMITTED,) if i == 0 else (ABORTED,))
            }
            is_asked = self.keeps("a reused snapshot must still stand")
            yield at(5, usable=frozenset(standing) if is_asked else writer.usable)
        elif writer.step == 5:
            # The parent's object is reused by the listing that step 4's rule includes; a crashed run's is read.
            is_asked = self.keeps("a reused snapshot must still stand")
            found = [i for i in sorted(writer.usable) if i in state.objects or (i == 0 and not is_asked)]
            yield at(6, source=found[0] if found else me)
        elif writer.step == 6:
            yield at(7, state._replace(objects=state.objects | {me}) if writer.source == me else state)
        elif writer.step == 7:
            is_free = snapshots[me].outcome == UNDECIDED
            if is_free or not self.keeps("one register decides commit or abort"):
                yield at(8, _set(state, me, outcome=COMMITTED, needs=writer.source))
            else:
                yield at(9)
        elif writer.step == 8:
            yield at(9, _set(state, me, writer=RETIRED))

    # Retention and undelete ----------------------------------------------------------------------------------

    def _bury(self, state: State, target: int) -> State:
        found = state.snapshots[target]
        if not self.keeps("every burial has a register of its own"):
            # One tombstone and one register for ever: what an undelete took away is put back, and open.
            return _set(state, target, fates=(OPEN,))
        return _set(state, target, fates=(*found.fates, OPEN))

    def _undelete(self, state: State) -> Iterator[State]:
        actor, parent = state.undelete, state.snapshots[0]
        if actor.step == 0 and parent.buried and parent.fates[-1] == OPEN:
            yield state._replace(undelete=Undelete(step=1, aim=len(parent.fates) - 1))
        elif actor.step == 1:
            yield from self._undelete_decide(state)
        elif actor.step == 2:
            is_there = parent.outcome == COMMITTED or not self.keeps(
                "an undelete looks for the outcome afterwards"
            )
            is_there = is_there and len(parent.fates) <= actor.aim + 1  # else it was removed once more
            yield state._replace(undelete=Undelete(step=3, told="restored" if is_there else "too late"))

    def _undelete_decide(self, state: State) -> Iterator[State]:
        actor, fates = state.undelete, state.snapshots[0].fates
        if not self.keeps("one register decides sweep or undelete"):
            fresh = _set(state, 0, fates=(*fates[:-1], UNDELETED) if fates else ())
            yield fresh._replace(undelete=actor._replace(step=2))
        elif (
            len(fates) <= actor.aim
        ):  # the registers were cleared away: creating one succeeds, and means nothing
            yield state._replace(undelete=actor._replace(step=2))
        elif fates[actor.aim] == SWEPT:
            yield state._replace(undelete=Undelete(step=3, told="too late"))
        else:
            decided = _put(fates, actor.aim, UNDELETED)
            yield _set(state, 0, fates=decided)._replace(undelete=actor._replace(step=2))

    def _abort(self, state: State, target: int) -> State:
        return state if state.snapshots[target].outcome else _set(state, target, outcome=ABORTED)

    # Collectors ----------------------------------------------------------------------------------------------

    def _collect(self, state: State, place: int) -> Iterator[State]:  # noqa: C901  one branch a step
        """Choose the earlier plan, list tombstones, writers, outcomes; ask by name; list objects; fence; win
        fates; delete; clear the registers; write a plan."""
        collector = state.collectors[place]

        def at(step: int, state: State = state, **changes: object) -> State:
            moved = state.collectors[place]._replace(step=step, **changes)  # type: ignore[arg-type]
            return state._replace(collectors=_put(state.collectors, place, moved))

        if collector.step == 0:
            if collector.left:
                yield at(1, basis=state.plan, left=collector.left - 1)
        elif collector.step <= 3:
            what = self._listing_order()[collector.step - 1]
            for seen in self._listed(state, what):
                following = ASK if collector.step == 3 and self.delays else collector.step + 1
                yield at(following, state, **{what: seen})
        elif collector.step == ASK:
            yield at(4, outcomes=self._asked(state, collector))
        elif collector.step == 4:
            for after in (state, self._fence(state, collector)):
                yield at(5, self._settled(after), present=state.objects)
        elif collector.step == 5:
            dead, _ = self._judge(collector, None)
            known = collector.basis.graves if collector.basis else frozenset()
            ripe = dead & known if self.keeps("two plans a grace apart") else dead
            yield at(6, sweeping=tuple(sorted(ripe)))
        elif collector.step == 6:
            yield self._win(state, place) if collector.sweeping else at(7, doomed=self._doomed(collector))
        elif collector.step == 7:
            for item in sorted(collector.doomed)[:1]:
                smaller = state._replace(objects=state.objects - {item})
                yield at(7, smaller, doomed=collector.doomed - {item})
            if not collector.doomed:
                cleared = state
                for target, _ in collector.won:
                    cleared = _set(cleared, target, outcome=GONE)
                yield at(8, cleared)
        elif collector.step == 8:
            cleared = state
            for target, _ in collector.won:
                cleared = _set(cleared, target, fates=())
            yield at(9, cleared)
        elif collector.step == 9:
            dead, garbage = self._judge(collector, None)
            graves = frozenset(dead - collector.won)
            fresh = state._replace(plan=Plan(graves=graves, objects=frozenset(garbage)))
            done = Collector(left=collector.left)
            yield fresh._replace(collectors=_put(fresh.collectors, place, done))

    def _listing_order(self) -> tuple[str, str, str]:
        if not self.keeps("tombstones are listed before writers"):
            return ("writers", "outcomes", "graves")
        if not self.keeps("writers are listed before outcomes"):
            return ("graves", "outcomes", "writers")
        return ("graves", "writers", "outcomes")

    def _listed(self, state: State, what: str) -> Iterator[object]:
        """What a listing may show: of each register how it is, and if it is fresh also how it was before."""
        choices = [_views(i, item, what) for i, item in enumerate(state.snapshots)]
        for views in product(*choices):
            shown = [view for view in views if view is not None]
            yield tuple(shown) if what == "outcomes" else frozenset(shown)

    def _asked(self, state: State, collector: Collector) -> tuple[tuple[int, int, int], ...]:
        """The outcomes that were listed, and those of listed writers and of commits in the journal."""
        found = {item[0]: item for item in collector.outcomes}
        if self.keeps("whom the journal names is asked for by name"):
            listed = {i for i, _ in collector.writers}
            for i, item in enumerate(state.snapshots):
                if item.outcome == COMMITTED or (item.outcome == ABORTED and i in listed):
                    found.setdefault(i, (i, item.outcome, item.needs))
        return tuple(sorted(found.values()))

    def _settled(self, state: State) -> State:
        """The survey is made: what changed before it is no longer fresh once its plan is a grace old."""
        if not self.delays or not self.keeps("the grace is over before anything is listed"):
            return state
        return state._replace(snapshots=tuple(item._replace(fresh=frozenset()) for item in state.snapshots))

    def _fence(self, state: State, collector: Collector) -> State:
        """Declare every undecided writer that was seen dead, and bury what it leaves."""
        decided = {i for i, _, _ in collector.outcomes}
        for target, _ in collector.writers:
            if target not in decided:
                state = self._abort(state, target)
                if state.snapshots[target].outcome == ABORTED and not state.snapshots[target].buried:
                    state = self._bury(state, target)
        return state

    def _judge(
        self, collector: Collector, only: frozenset[tuple[int, int]] | None
    ) -> tuple[frozenset[tuple[int, int]], set[int]]:
        """Removals that nothing keeps (or exactly `only`), and the objects that go with them."""
        outcomes = {i: what for i, what, _ in collector.outcomes}
        needs = {i: need for i, _, need in collector.outcomes}
        undecided = {i: pins for i, pins in collector.writers if i not in outcomes}
        pinned = {i for pins in undecided.values() for i in pins}
        if not self.keeps("pinned snapshots are not swept"):
            pinned = set()
        dead = only
        if dead is None:
            dead = frozenset(item for item in collector.graves if item[0] not in pinned)
        gone = {i for i, _ in dead}
        live = {needs[i] for i, what in outcomes.items() if what == COMMITTED and i not in gone}
        garbage = set()
        for owner in collector.present - live:
            what = outcomes.get(owner)
            if what is None:
                is_garbage = owner in undecided and not self.keeps("objects of undecided writers are spared")
            elif what == ABORTED:
                early = not self.keeps("leftovers are buried before they are swept")
                is_garbage = owner in gone or early
            else:
                is_garbage = owner not in pinned
            if is_garbage:
                garbage.add(owner)
        return dead, garbage

    def _win(self, state: State, place: int) -> State:
        """Race for the fate of one burial."""
        collector = state.collectors[place]
        (target, number), rest = collector.sweeping[0], collector.sweeping[1:]
        fates = state.snapshots[target].fates
        won = collector.won
        if not self.keeps("one register decides sweep or undelete"):
            won = won | {(target, number)}
        elif len(fates) <= number:
            won = won | {(target, number)}  # cleared by another collector that has swept
        elif fates[number] != UNDELETED:
            state = _set(state, target, fates=_put(fates, number, SWEPT))
            won = won | {(target, number)}
        moved = collector._replace(sweeping=rest, won=won)
        return state._replace(collectors=_put(state.collectors, place, moved))

    def _doomed(self, collector: Collector) -> frozenset[int]:
        _, garbage = self._judge(collector, collector.won)
        if self.keeps("two plans a grace apart"):
            garbage &= collector.basis.objects if collector.basis else frozenset()
        return frozenset(garbage)


def _freshened(before: State, after: State) -> State:
    return after._replace(
        snapshots=tuple(
            new._replace(
                fresh=new.fresh | {name for name in REGISTERS if getattr(old, name) != getattr(new, name)}
            )
            for old, new in zip(before.snapshots, after.snapshots, strict=True)
        )
    )


def _views(i: int, item: Snapshot, what: str) -> list[object]:
    """What a listing may show of one snapshot's register; None: nothing. What is listed is then read by name, so
    a name that is gone shows nothing; only a fate that is not listed is not read."""
    if what == "graves":
        if "fates" in item.fresh:
            return [None, *((i, number) for number in range(len(item.fates)))]
        return [(i, len(item.fates) - 1) if item.buried else None]
    if what == "writers":
        views: list[object] = [(i, item.pins) if item.writer == PRESENT else None]
        return views if views == [None] or "writer" not in item.fresh else [*views, None]
    views = [(i, item.outcome, item.needs) if item.outcome in (COMMITTED, ABORTED) else None]
    return views if views == [None] or "outcome" not in item.fresh else [*views, None]


def _put(items: tuple, place: int, item: object) -> tuple:  # type: ignore[type-arg]
    return (*items[:place], item, *items[place + 1 :])


def _set(state: State, target: int, **changes: object) -> State:
    changed = state.snapshots[target]._replace(**changes)  # type: ignore[arg-type]
    return state._replace(snapshots=_put(state.snapshots, target, changed))


def loss_in(state: State) -> str:
    """What is lost in this state, or "": every committed snapshot that is not removed has its rows, and what an
    undelete said was brought back is there."""
    for i, item in enumerate(state.snapshots):
        if item.outcome == COMMITTED and not item.buried and item.needs not in state.objects:
            return f"snapshot {i} is committed and not removed, and its rows are gone"
    parent = state.snapshots[0]
    if state.undelete.told == "restored" and (parent.outcome == GONE or 0 not in state.objects):
        return "snapshot 0 was said to be brought back, and is gone"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How many states were seen, and the story of the first loss: one state a line, or nothing."""

    states: int
    loss: str
    story: tuple[State, ...] = ()


def search(world: World) -> Found:
    """Every state that can be reached, breadth first, until one shows a loss."""
    start = world.start()
    before: dict[State, State | None] = {start: None}
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        for following in world.steps(state):
            if following in before:
                continue
            before[following] = state
            if loss := loss_in(following):
                return Found(states=len(before), loss=loss, story=tuple(_story(before, following)))
            waiting.append(following)
    return Found(states=len(before), loss="")


def _story(before: dict[State, State | None], state: State) -> list[State]:
    story: list[State] = []
    step: State | None = state
    while step is not None:
        story.append(step)
        step = before[step]
    return story[::-1]
