"""Weeks of snapshots under a usual policy: nothing but the journal's segments grows with age.

Counts only, no times. `python -m bench.year` simulates the whole year at full rate, for docs/figures-year.md.
"""

from __future__ import annotations

import pytest
from bench.year import Year

from holdfast.repository import layout
from holdfast.repository.registers import segments
from holdfast.workflows.verify import verify

PER_DAY = 24
SEGMENT = 50


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT_ENTRIES", SEGMENT)
    monkeypatch.setattr(segments, "KEEP_SINGLE", SEGMENT)


def grow(days: int) -> Year:
    year = Year(seed=7)
    year.simulate(days, per_day=PER_DAY)
    return year


@pytest.mark.usefixtures("short_segments")
def test_nothing_but_folded_history_grows_with_age() -> None:
    """After 35 days, five times the grace, there are about as many objects as after 14; a run makes as many
    requests; what is left is whole."""
    young, old = grow(14), grow(35)
    sizes = {}
    for year in (young, old):
        kinds = year.kinds()
        folded = kinds.pop("segments", 0)
        assert folded >= year.snapshots // SEGMENT - 3
        assert kinds["journal"] <= 3 * SEGMENT
        sizes[year.snapshots] = sum(kinds.values())
        assert verify(year.repository, None, level=1, clock=year.clock).findings == ()
    assert sizes[35 * PER_DAY] <= 1.25 * sizes[14 * PER_DAY]
    last_young, last_old = young.months[-1], old.months[-1]
    assert last_old.most_run_requests <= 1.25 * last_young.most_run_requests
    # In the first week nothing is old enough to go, so the younger one's mean is lower.
    assert last_old.prune_requests / last_old.prunes <= 2 * last_young.prune_requests / last_young.prunes


def test_the_policy_keeps_what_it_says() -> None:
    """Of ten days, the newest twelve, a day of hours and a week of days are left, and no leftover of a run."""
    year = grow(10)
    kept = sorted(outcome.snapshot for outcome in year.repository.committed())
    assert 24 <= len(kept) <= 12 + 24 + 7 + 5 + 12
    assert not list(year.storage.list(layout.WRITERS))
