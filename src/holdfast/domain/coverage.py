"""The ledger of everything found in a source: what was captured, and what was not and why; never silent."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class CoverageStatus(enum.StrEnum):
    """captured: it is in the snapshot. not configured: left out because someone asked for that.
    not capturable: no tool with these rights could, and every restore says what to do about it (role
    passwords, rows behind foreign tables). failed: it belongs in the snapshot and is not there; the snapshot
    is partial."""

    CAPTURED = "captured"
    NOT_CONFIGURED = "not configured"
    NOT_CAPTURABLE = "not capturable"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageEntry:
    """`kind` is the catalog's word for the thing (table, sequence, large object, role, definitions, …).

    `remedy` is the statement or step that would mend it, where one is known.
    """

    kind: str
    name: str
    status: CoverageStatus
    reason: str = ""
    remedy: str = ""


def is_partial(entries: Iterable[CoverageEntry]) -> bool:
    """Whether a snapshot with this coverage lacks something that belongs in it."""
    return any(entry.status is CoverageStatus.FAILED for entry in entries)
