"""What may be set about a collection. Clocks decide when, never whether."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

DEFAULT_GRACE = timedelta(days=7)
DEFAULT_SHARE = 0.2
DEFAULT_SILENCE = timedelta(days=1)
PLANS_PER_GRACE = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionRules:
    """`grace`: how far apart the two plans lie that must both name what is deleted. `share`: of all objects or
    bytes, how much may go at once. `silence`: after which a writer without a sign of life is fenced, and the
    leftovers of an aborted run are given up."""

    grace: timedelta = DEFAULT_GRACE
    share: float = DEFAULT_SHARE
    silence: timedelta = DEFAULT_SILENCE

    @property
    def plan_every(self) -> timedelta:
        """Collections may run every five minutes; a few plans per grace are enough."""
        return self.grace / PLANS_PER_GRACE
