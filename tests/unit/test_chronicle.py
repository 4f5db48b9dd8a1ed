"""The journal is read in one way: what an entry must say and does not is damage to whoever asks, and what is gone
is forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from holdfast.domain.errors import DamagedError
from holdfast.domain.ids import SnapshotId, make_snapshot_id
from holdfast.repository import layout
from holdfast.repository.collecting.rules import CollectionRules
from holdfast.repository.registers.chronicle import Chronicle
from holdfast.repository.registers.losses import Losses
from holdfast.repository.repo import Repository
from holdfast.storage.memory import MemoryStorage
from holdfast.workflows.acceptance import accept_losses
from holdfast.workflows.collect import apply_collection
from holdfast.workflows.verify import verify
from repositories import make_repository
from snapshots import now, take

RULES = CollectionRules(share=1.0)
SOMEBODY = "0" * 26
ROOT = "ab" * 32

IMPOSSIBLE: dict[str, tuple[str, dict[str, Any]]] = {
    "nobody is committing": ("committing", {"root": ROOT}),
    "no snapshot is committing": ("committing", {"snapshot": "me", "root": ROOT}),
    "no identity": ("committing", {"snapshot": SOMEBODY, "root": "ab"}),
    "nothing collected": ("collected", {}),
    "no snapshot collected": ("collected", {"snapshots": ["you"]}),
    "no record": ("verified", {"level": 3}),
    "a hold of nothing": ("hold placed", {"hold": SOMEBODY, "by": "x", "why": "y", "until": None}),
    "a hold without end": (
        "hold placed",
        {"hold": SOMEBODY, "snapshots": [], "by": "x", "why": "y", "until": "never"},
    ),
    "no hold released": ("hold released", {}),
    "loss of nothing": ("loss accepted", {"losses": [{}], "snapshots": [], "by": "x", "reason": "y"}),
    "loss of no position": (
        "loss accepted",
        {
            "losses": [{"first": 3, "last": 1, "object": "x", "sha256": None}],
            "snapshots": [],
            "by": "x",
            "reason": "y",
        },
    ),
    "slots of no shape": ("key added", {"slots": 7}),
}


@pytest.mark.parametrize(("kind", "facts"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_an_entry_that_says_something_impossible_is_damage(kind: str, facts: Mapping[str, Any]) -> None:
    """A check names it, a collection stops at it and says what to do, and an acceptance ends that."""
    repository = make_repository(MemoryStorage())
    take(repository, {"a": [b"1\n"]})
    position = repository.journal.append(kind, facts, at=now())
    name = layout.journal(position)
    assert [finding.object_name for finding in verify(repository, None, level=0).findings] == [name]
    with pytest.raises(DamagedError, match=name) as caught:
        apply_collection(repository, rules=RULES, clock=now)
    assert f"--accept {position}" in (caught.value.hint or "")
    with pytest.raises(DamagedError):  # whether it was collected nobody can tell
        repository.summary(SnapshotId("1" * 26))
    accept_losses(repository, [(position, position)], by="us", reason="a bug", clock=now)
    assert verify(repository, None, level=0).findings == ()
    apply_collection(repository, rules=RULES, clock=now)


def heard(repository: Repository, chronicle: Chronicle) -> Chronicle:
    for step in repository.journal.walk():
        chronicle.hear(step)
    return chronicle


def test_what_is_gone_is_forgotten_unless_it_still_stands() -> None:
    """So a chronicle grows with what stands, and not with the age of a repository."""
    repository = make_repository(MemoryStorage())
    gone = [make_snapshot_id(now() + timedelta(seconds=second), bytes(10)) for second in range(20)]
    for snapshot in gone:
        repository.journal.append("committing", {"snapshot": snapshot, "root": ROOT}, at=now())
        repository.journal.append("collected", {"snapshots": [snapshot], "records": []}, at=now())
    standing = take(repository, {"a": [b"1\n"]}).snapshot
    losses = Losses(repository.storage)
    told = heard(repository, Chronicle(losses=losses, remembers={standing, gone[0]}))
    assert (set(told.announced), told.gone) == ({standing, gone[0]}, {gone[0]})
    every = heard(repository, Chronicle(losses=losses))
    assert (set(every.announced), every.gone) == ({standing, *gone}, set(gone))


def test_whoever_is_announced_again_is_not_gone() -> None:
    """A writer that slept through the acceptance of its loss commits after all."""
    repository = make_repository(MemoryStorage())
    snapshot = make_snapshot_id(now(), bytes(10))
    for kind, facts in (
        ("committing", {"snapshot": snapshot, "root": ROOT}),
        ("loss accepted", {"losses": [], "snapshots": [snapshot], "by": "x", "reason": "y"}),
        ("committing", {"snapshot": snapshot, "root": ROOT}),
        ("copied", {"slots": []}),
    ):
        repository.journal.append(kind, facts, at=now())
    told = heard(repository, Chronicle(losses=Losses(repository.storage)))
    assert (len(told.announced[snapshot]), told.gone) == (2, set())
