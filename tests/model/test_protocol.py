"""The exhaustive model finds no loss, and finds one as soon as any rule is left out.

Without delays the rules hold with one plan only: a grace protects people, not bytes ("clocks decide when,
never whether"). So most worlds leave the second plan out, which makes them smaller and harder. Against listings
that come late, two plans a grace apart protect, but not alone: the grace must be over before anything is listed,
and a commit that the journal tells of must be asked for by name.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from model.protocol import RULES, World, search

TWO_PLANS = "two plans a grace apart"
ONE_PLAN = frozenset({TWO_PLANS})
REMOVED_TWICE = World(writers=1, collectors=1, collections=1, burials=2, undelete=True, without=ONE_PLAN)
TWO_WRITERS = World(writers=2, collectors=1, collections=1, burials=1, undelete=False, without=ONE_PLAN)
TWO_COLLECTORS = World(writers=1, collectors=2, collections=1, burials=1, undelete=True, without=ONE_PLAN)
TWICE = World(writers=1, collectors=1, collections=2, burials=1, undelete=True)
LATE_LISTINGS = World(writers=1, collectors=1, collections=2, burials=1, undelete=False, delays=True)
LATE_AND_UNDELETED = replace(LATE_LISTINGS, undelete=True)
TWO_WRITERS_TWICE = replace(TWO_WRITERS, collections=2, without=frozenset())

FOUND_IN = {
    "announce before looking for tombstones": REMOVED_TWICE,
    "tombstones are listed before writers": REMOVED_TWICE,
    "writers are listed before outcomes": REMOVED_TWICE,
    "pinned snapshots are not swept": REMOVED_TWICE,
    "one register decides commit or abort": TWO_WRITERS,
    "one register decides sweep or undelete": REMOVED_TWICE,
    "every burial has a register of its own": REMOVED_TWICE,
    "objects of undecided writers are spared": REMOVED_TWICE,
    "leftovers are buried before they are swept": TWO_WRITERS,
    "a reused snapshot must still stand": REMOVED_TWICE,
    "an undelete looks for the outcome afterwards": REMOVED_TWICE,
    TWO_PLANS: LATE_LISTINGS,
    "the grace is over before anything is listed": LATE_LISTINGS,
    "whom the journal names is asked for by name": LATE_LISTINGS,
}


@pytest.mark.parametrize(
    ("world", "at_least"),
    [(REMOVED_TWICE, 10_000), (TWICE, 15_000), (LATE_LISTINGS, 8_000), (TWO_WRITERS, 150_000)],
)
def test_no_interleaving_loses_anything(world: World, at_least: int) -> None:
    """Every state is searched, and there are as many as the model is meant to have: it did not stop early."""
    found = search(world)
    assert found.loss == ""
    assert found.states >= at_least


@pytest.mark.soak
@pytest.mark.parametrize(
    ("world", "at_least"),
    [(TWO_COLLECTORS, 500_000), (TWO_WRITERS_TWICE, 500_000), (LATE_AND_UNDELETED, 40_000)],
)
def test_no_interleaving_of_the_larger_worlds_loses_anything(world: World, at_least: int) -> None:
    """One writer, retention, undelete and two collectors; two writers and a collector with two plans; and late
    listings with an undelete."""
    found = search(world)
    assert found.loss == ""
    assert found.states >= at_least


@pytest.mark.parametrize("rule", RULES)
def test_without_any_one_rule_something_is_lost(rule: str) -> None:
    """The search finds a story that ends in a loss, and the story starts at the beginning."""
    world = FOUND_IN[rule]
    found = search(replace(world, without=world.without | {rule}))
    assert found.loss
    assert found.story[0] == world.start()


def test_late_listings_need_the_second_plan_only() -> None:
    """What the second plan is for: the same world without delays loses nothing with one plan."""
    world = replace(LATE_LISTINGS, delays=False, without=ONE_PLAN)
    assert search(world).loss == ""
