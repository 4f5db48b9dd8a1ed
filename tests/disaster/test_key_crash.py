"""Key commands that are killed, by a real SIGKILL over a real folder: all still open, and repeating ends well."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyrage
import pytest

from disaster.doom import Doom, check
from holdfast.domain.ids import SnapshotId
from holdfast.repository.keys.secrets import Secrets
from holdfast.repository.repo import open_repository
from holdfast.storage.local import LocalStorage
from holdfast.workflows.key_slots import slots_of
from holdfast.workflows.keys import add_recipient
from holdfast.workflows.rotation import compromised
from holdfast.workflows.verify import verify
from repositories import PASSPHRASE, make_repository
from snapshots import now, rows_of, take

OURS = Secrets(passphrase=PASSPHRASE)


@pytest.mark.parametrize("what", ["rotate", "compromised", "remove", "add"])
def test_key_commands_survive_being_killed(what: str, doom: Doom, tmp_path: Path) -> None:
    """At every change that the command makes: passphrase and kit open the newest epoch, and every row is there."""
    identity, lost, added = (pyrage.x25519.Identity.generate() for _ in range(3))
    kit = tmp_path / "kit.txt"
    kit.write_text(f"{identity}\n")
    kit.chmod(0o600)
    base = tmp_path / "base"
    base.mkdir()
    repository = make_repository(LocalStorage(base), recipient=str(identity.to_public()))
    take(repository, {"users": [b"1\tann\n"]})
    add_recipient(repository, str(lost.to_public()), slot="lost", label="", now=now())
    facts: dict[str, Any] = {"recipient": str(added.to_public())}
    deaths = 0
    for at, folder in doom.deaths(base, what, **facts):
        deaths += 1
        for secrets in (OURS, Secrets(identity_file=kit)):
            opened = open_repository(LocalStorage(folder), secrets)
            opened.keyring.sealing()
            found = verify(opened, None, level=3).findings
            assert [item.problem for item in found if "remove it again" not in item.problem] == []
        names = {slot.name for slot in slots_of(opened)}
        is_due = "added" not in names if what == "add" else what == "rotate" or "lost" in names
        if is_due:
            again = doom.order(what, folder, **facts)
            assert again["exit"] == 0, f"after step {at}: {again}"
        final = open_repository(LocalStorage(folder), OURS)
        assert verify(final, None, level=0).findings == ()
        assert ("lost" in {slot.name for slot in slots_of(final)}) == (what in ("rotate", "add"))
    assert deaths >= 4


@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.soak)])
def test_kill_9_at_every_step_of_a_reseal(doom: Doom, tmp_path: Path, every: int) -> None:
    """Killed at any change, no snapshot is lost: each stands as itself or as its copy, every byte of it; the next
    reseal ends with each under the new keys, once."""
    base = tmp_path / "base"
    base.mkdir()
    repository = make_repository(LocalStorage(base))
    taken = [
        take(repository, {"users": [b"1\tann\n"]}),
        take(repository, {"users": [b"1\tann\n", b"2\tbob\n"]}),
        take(repository, {"orders": [b"7\n"]}, source="orders"),
    ]
    wanted = {item.snapshot: rows_of(repository, item.snapshot) for item in taken}
    compromised(repository, [], [OURS], now=now())
    deaths = 0
    for at, folder in doom.deaths(base, "reseal", every=every):
        deaths += 1
        check(folder)
        assert {original for original, _ in standing(folder, wanted)} == set(wanted), f"step {at}"
        again = doom.order("reseal", folder)
        assert again["exit"] == 0, f"after step {at}: {again}"
        assert check(folder)
        final = standing(folder, wanted)
        assert [original for original, _ in final] == sorted(wanted), f"after step {at}"
        assert all(is_new for _, is_new in final), f"after step {at}"
    assert deaths * every >= 40


def standing(folder: Path, wanted: Mapping[SnapshotId, Mapping[str, bytes]]) -> list[tuple[SnapshotId, bool]]:
    """What stands, whose rows are as they were: by the original's id, and whether it is under the new keys."""
    repository = open_repository(LocalStorage(folder), OURS)
    found = []
    for outcome in repository.committed():
        origin = outcome.summary.origin
        original = origin.snapshot if origin is not None else outcome.snapshot
        assert rows_of(repository, outcome.snapshot) == wanted[original]
        found.append((original, repository.has_current_identities(outcome.summary)))
    return sorted(found)
