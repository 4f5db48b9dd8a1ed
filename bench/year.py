"""A simulated year: a snapshot every five minutes, retention and collection every day, and what that adds up to.

Everything but PostgreSQL is the real code: runs, manifests, reuse, commit, prune, collection, the journal and its
folding, on a storage in memory, under a clock that jumps. What is asked is whether anything grows with the age of
the repository: objects, requests and time of a run, time of a prune.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from bench.builder import HandClock, Shop, take
from holdfast.domain.policy import RetentionPolicy
from holdfast.repository.collecting.rules import CollectionRules
from holdfast.repository.config import Config, digest_of
from holdfast.repository.keys.keyring import Keyring, add_passphrase_slot
from holdfast.repository.keys.slots import Argon2
from holdfast.repository.repo import Repository, create_repository
from holdfast.storage.memory import MemoryStorage
from holdfast.storage.wrap import Counted
from holdfast.workflows.prune import prune
from holdfast.workflows.verify import verify

EVERY = timedelta(minutes=5)
POLICY = RetentionPolicy(keep_last=12, hourly=24, daily=7, weekly=5, monthly=12)
TABLES = ("accounts", "events", "orders", "products", "sessions", "settings")
RANGES = 4


@dataclass(slots=True)
class Month:
    """What was measured in thirty days: most and mean over the runs and prunes in it; the objects at its end."""

    name: str
    runs: int = 0
    run_requests: int = 0
    most_run_requests: int = 0
    run_seconds: float = 0.0
    prunes: int = 0
    prune_requests: int = 0
    prune_seconds: float = 0.0
    most_prune_seconds: float = 0.0
    objects: int = 0
    most_objects: int = 0
    stored_bytes: int = 0
    snapshots: int = 0
    kinds: dict[str, int] = field(default_factory=dict)


class Year:
    """The repository under simulation, and what was measured."""

    def __init__(self, *, sources: int = 1, seed: int = 1) -> None:
        self.clock = HandClock()
        self.storage = Counted(MemoryStorage())
        self.repository = _make_repository(self.storage, self.clock())
        self.months: list[Month] = []
        self.snapshots = 0
        self._shops = {
            f"shop{number}": Shop(TABLES, ranges=RANGES, seed=seed + number) for number in range(sources)
        }

    def simulate(
        self, days: int, *, per_day: int = 288, after_month: Callable[[int], None] = lambda _: None
    ) -> None:
        """`per_day` snapshots of every source a day, then a prune with its collection. `after_month` is told the
        days that are over, every thirty days and at the end."""
        for day in range(days):
            if day % 30 == 0:
                self.months.append(Month(name=f"{day + 1}–{min(day + 30, days)}"))
            month = self.months[-1]
            for _ in range(per_day):
                self.clock.now += timedelta(days=1) / per_day
                for source, shop in self._shops.items():
                    _live(shop)
                    self._measured_run(source, shop, month)
            self._measured_prune(month)
            if (day + 1) % 30 == 0 or day + 1 == days:
                after_month(day + 1)

    def take(self, source: str, shop: Shop) -> None:
        take(self.repository, source, shop, clock=self.clock)
        self.snapshots += 1

    def prune(self) -> None:
        prune(
            self.repository,
            lambda _: POLICY,
            apply=True,
            by="year",
            rules=CollectionRules(share=0.5),
            clock=self.clock,
        )

    def requests(self) -> int:
        return sum(item.requests for item in self.storage.traffic().values())

    def kinds(self) -> Counter[str]:
        """How many objects there are below each prefix."""
        return Counter(info.name.split("/", 1)[0] for info in self.storage.list(""))

    def _measured_run(self, source: str, shop: Shop, month: Month) -> None:
        before, began = self.requests(), time.perf_counter()
        self.take(source, shop)
        requests = self.requests() - before
        month.run_seconds += time.perf_counter() - began
        month.runs += 1
        month.run_requests += requests
        month.most_run_requests = max(month.most_run_requests, requests)

    def _measured_prune(self, month: Month) -> None:
        month.most_objects = max(month.most_objects, sum(self.kinds().values()))
        before, began = self.requests(), time.perf_counter()
        self.prune()
        seconds = time.perf_counter() - began
        month.prune_requests += self.requests() - before
        month.prune_seconds += seconds
        month.most_prune_seconds = max(month.most_prune_seconds, seconds)
        month.prunes += 1
        month.kinds = dict(self.kinds())
        month.objects = sum(month.kinds.values())
        month.stored_bytes = sum(info.size_bytes for info in self.storage.list(""))
        month.snapshots = sum(1 for _ in self.repository.committed())


def _live(shop: Shop) -> None:
    """With every snapshot a few rows of one or two tables have changed."""
    for name in shop.random.sample(TABLES, shop.random.choice((0, 1, 1, 2))):
        shop.change(name, shop.random.randrange(RANGES))


def _make_repository(storage: Counted, now: datetime) -> Repository:
    config = Config(repository_id=uuid.uuid4(), created_at=now, single_writer=False)
    keyring = Keyring.generate(repository_id=config.repository_id, config_digest=digest_of(config.encode()))
    cheap = Argon2(memory_kib=32, passes=1, lanes=1)
    slot = add_passphrase_slot(keyring, "a year", slot="passphrase", label="year", now=now, kdf=cheap)
    return create_repository(storage=storage, keyring=keyring, config=config, slots=[slot], now=now)


def page(year: Year, *, days: int, per_day: int, seconds: float) -> str:
    """The figures as a page of docs/."""
    intro = (
        f"`python -m bench.year` took {year.snapshots:,} snapshots in {days} days, one every "
        f"{24 * 60 // per_day} minutes, of a small database "
        f"({len(TABLES)} tables, {RANGES} ranges each, up to two of which change between snapshots) under the "
        f"policy “{POLICY.describe()}”, with a prune and a collection every day. Everything but PostgreSQL is the "
        f"real code, on a storage in memory under a virtual clock; it took {seconds / 60:.0f} minutes. The times "
        "are those of this simulation on a shared machine: look at whether they grow, not at how long they are."
    )
    columns = (
        "days", "snapshots taken", "kept or in their grace", "objects", "of these journal", "MiB",
        "requests a run (most)", "ms a run", "requests a prune", "s a prune (most)",
    )  # fmt: skip
    lines = [f"# Snapshots every {24 * 60 // per_day} minutes for {days} days, simulated", "", intro, ""]
    lines += [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    taken = 0
    for month in year.months:
        taken += month.runs
        journal = month.kinds.get("journal", 0) + month.kinds.get("segments", 0)
        lines.append(
            f"| {month.name} | {taken:,} | {month.snapshots + month.kinds.get('tombstones', 0):,} "
            f"| {month.objects:,} | {journal:,} | {month.stored_bytes / 2**20:.1f} "
            f"| {month.run_requests / month.runs:.1f} ({month.most_run_requests}) "
            f"| {1000 * month.run_seconds / month.runs:.1f} | {month.prune_requests / month.prunes:,.0f} "
            f"| {month.prune_seconds / month.prunes:.2f} ({month.most_prune_seconds:.2f}) |"
        )
    first, last = year.months[0], year.months[-1]
    growth = (last.stored_bytes - first.stored_bytes) / 2**20
    growing = (
        "What still grows, and is meant to: the journal is never cut. A thousand entries become one segment; "
        f"there were {last.kinds.get('segments', 0)} at the end, and what is stored grew by {growth:.1f} MiB "
        "since the first line. No run reads or lists them."
    )
    lines += ["", growing, ""]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--per-day", type=int, default=288)
    parser.add_argument("--sources", type=int, default=1)
    parser.add_argument("--write", type=Path, help="a folder for the page; the JSON goes to bench/out")
    parser.add_argument("--name", default="figures-year", help="what the page and the JSON are called")
    options = parser.parse_args()
    year, began = Year(sources=options.sources), time.perf_counter()

    def tell(days: int) -> None:
        text = page(year, days=days, per_day=options.per_day, seconds=time.perf_counter() - began)
        print(text.splitlines()[-3], flush=True)
        if options.write:  # also before the end: whoever stops it keeps what was measured
            out = Path(__file__).parent / "out"
            out.mkdir(exist_ok=True)
            (options.write / f"{options.name}.md").write_text(text)
            (out / f"{options.name}.json").write_text(
                json.dumps([asdict(item) for item in year.months], indent=1)
            )

    year.simulate(options.days, per_day=options.per_day, after_month=tell)
    findings = verify(year.repository, None, level=1, clock=year.clock).findings
    for finding in findings:
        print(f"error: {finding.object_name}: {finding.problem}", file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
