"""kill -9 and lost connections at every step of a backup: nothing committed is ever unreadable."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from disaster.doom import Doom, check
from holdfast.storage.local import LocalStorage
from postgres_servers import Database
from repositories import make_repository


@pytest.fixture
def shop(make_database: Callable[..., Database]) -> Database:
    database = make_database(name_prefix="doom")
    database.execute(
        "create table big as select i, md5(i::text) as text from generate_series(1, 60000) i",
        "create table small as select i from generate_series(1, 100) i",
        "create table empty (a int)",
        "select lo_from_bytea(77, 'content')",
    )
    return database


@pytest.fixture
def base(doom: Doom, shop: Database, tmp_path: Path) -> Path:
    """A repository with one snapshot, taken before half of the rows changed."""
    base = tmp_path / "base"
    base.mkdir()
    make_repository(LocalStorage(base))
    assert doom.order("backup", base, dsn=shop.dsn)["exit"] == 0
    shop.execute("update big set text = md5(text) where i % 2 = 0")
    return base


def test_kill_9_at_every_step_of_a_backup(doom: Doom, shop: Database, base: Path) -> None:
    """Killed before or after any storage step, the repository is sound, and the next run succeeds.

    Where chunks were finished before the kill, the next run reuses them.
    """
    facts: dict[str, Any] = {"dsn": shop.dsn, "full": True}
    adopted = committed_in_death = deaths = 0
    for at, folder in doom.deaths(base, "backup", **facts):
        deaths += 1
        after = check(folder)
        # Either the outcome was written before the kill, and the snapshot is there, or it is not: never half.
        committed_in_death += len(after) == 2
        again = doom.order("backup", folder, **facts)
        assert again["exit"] == 0, f"after step {at}: {again}"
        adopted += again["adopted"] is not None and again["reused"] > 0
        assert len(check(folder)) == len(after) + 1
    assert deaths >= 30
    assert adopted >= 5
    assert committed_in_death >= 1


def test_lost_connections_at_every_step_of_a_backup(doom: Doom, shop: Database, base: Path) -> None:
    """With all its database connections cut at any step, a run fails with exit 6, or had all it needed.

    Nothing half-done is committed, and the next run succeeds.
    """
    facts: dict[str, Any] = {"dsn": shop.dsn, "full": True}
    whole = doom.rehearse(base, "backup", **facts)
    failures = 0
    for at, folder, cut in doom.strikes(base, "backup", whole, every=2, how="cut", **facts):
        assert cut["exit"] in (0, 6), f"step {at}: {cut}"
        failures += cut["exit"] == 6
        assert len(check(folder)) == (2 if cut["exit"] == 0 else 1)
        again = doom.order("backup", folder, **facts)
        assert again["exit"] == 0, f"after step {at}: {again}"
        assert len(check(folder)) == (3 if cut["exit"] == 0 else 2)
    assert failures >= 1


def test_kill_9_at_random_times(doom: Doom, shop: Database, base: Path) -> None:
    """Killed at a random moment, again and again, without a pause: every commit stands, the rest is reused."""
    chance = random.Random(20261121)
    for _ in range(15):
        before = check(base)
        doom.send("backup", base, dsn=shop.dsn, full=True)
        delay = chance.uniform(0.02, 0.5)
        killer = threading.Timer(delay, doom.kill_children)
        killer.start()
        answer = doom.answer()
        killer.join()
        after = check(base)
        assert after[: len(before)] == before
        if answer["signal"] is None:
            assert len(after) == len(before) + 1, answer
    assert doom.order("backup", base, dsn=shop.dsn)["exit"] == 0
