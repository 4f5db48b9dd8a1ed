"""What workflows announce while they run. Terminal, metrics and journal listen; none of them can break a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast.domain.tables import QualifiedName, Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The root of all events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseBegan(Event):
    """A step of a run, in plain words: `locking tables`, `reading rows`, `building indexes`, …"""

    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkPlanned(Event):
    """How much there is: of rows only what the server's statistics guess."""

    tables: int
    bytes_estimate: int
    rows_estimate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsMoved(Event):
    """Rows of a table were read, restored or checked; counts since the last such event."""

    table: QualifiedName
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFinished(Event):
    table: QualifiedName
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TierReadable(Event):
    """All tables of a tier are back, with their indexes and constraints. `seconds` since the start."""

    tier: Tier
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticed(Event):
    """Something the operator should know; the run goes on."""

    message: str
    hint: str | None = None


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A listener for those who do not care."""
