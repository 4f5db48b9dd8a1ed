"""Pruning a big repository on a disk: a thousand snapshots of a hundred thousand objects, most of which may go.

Three commands, as their users run them: look at what may go, remove it (`--apply`, which plans its collection),
and, a grace later, delete it. For the last one the grace time is set to nothing: it is the same work a week
earlier. Every round begins with a fresh copy of the repository. Requests and phases are counted by the library, in
this process.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from bench.builder import HandClock, Shop, take, unflushed
from bench.figures import MEGABYTE, Figure, Goal, Series
from bench.measure import BenchError, Measured
from bench.ours import Holdfast, document_of
from bench.trials import HOLDFAST, Runs, remove
from holdfast.domain.events import Event, PhaseBegan
from holdfast.domain.policy import RetentionPolicy
from holdfast.repository.collecting.rules import CollectionRules
from holdfast.repository.keys.secrets import Secrets
from holdfast.repository.repo import Repository, open_repository
from holdfast.storage.local import LocalStorage
from holdfast.storage.wrap import Counted
from holdfast.workflows.prune import prune

SNAPSHOTS = 1000
EVERY = timedelta(hours=1)
TABLES = tuple(f"table{number:02}" for number in range(20))
RANGES = 8
CHANGED = 100
"""Of all ranges, how many every snapshot stores anew."""

POLICY = RetentionPolicy(hourly=24, daily=7, weekly=5, monthly=12)
_POLICY_OPTIONS = ("--hourly", "24", "--daily", "7", "--weekly", "5", "--monthly", "12")
_AT_ONCE = ("--grace", "0min", "--allow-share", "1")
_RULES = (CollectionRules(), CollectionRules(grace=timedelta(), share=1.0))

SHOWN_SECONDS = 0.05
LOOK, BURY, DELETE = "prune", "prune --apply, first", "prune --apply, a grace later"
COMMANDS = (LOOK, BURY, DELETE)

Say = Callable[[str], None]


@dataclass(slots=True)
class Phases:
    """Where a prune in this process spent its time: seconds by phase, in the order in which they began."""

    seconds: dict[str, float] = field(default_factory=dict)
    _phase: str = ""
    _began: float = 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, PhaseBegan):
            self.end()
            self._phase, self._began = event.phase, time.perf_counter()

    def end(self) -> None:
        if self._phase:
            spent = time.perf_counter() - self._began
            self.seconds[self._phase] = self.seconds.get(self._phase, 0.0) + spent
        self._phase = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """One command inside this process: its phases and its requests by verb."""

    phases: dict[str, float]
    requests: dict[str, int]

    def __str__(self) -> str:
        phases = ", ".join(
            f"{phase} {seconds:.1f} s" for phase, seconds in self.phases.items() if seconds >= SHOWN_SECONDS
        )
        requests = ", ".join(f"{count:,} {verb}" for verb, count in sorted(self.requests.items()))
        return f"{phases}; requests: {requests}"


def study_prune(
    holdfast: Holdfast, folder: Path, *, rounds: int, snapshots: int, settle: Callable[[], None], say: Say
) -> tuple[list[Figure], Runs]:
    """The figures, and all runs of the three commands."""
    built, used = folder / "prune.built", folder / "prune.repository"
    build(holdfast, built, snapshots=snapshots, say=say)
    runs: dict[str, list[Measured]] = {command: [] for command in COMMANDS}
    for _ in range(rounds):
        _copy(built, used)
        for command in COMMANDS:
            settle()
            measured = _run(holdfast, used, command)
            runs[command].append(measured)
            say(f"{command}: {measured.seconds:.2f} s, at most {measured.client_bytes / MEGABYTE:.0f} MB")
        deleted = _require_result(holdfast, used, runs[BURY][-1], runs[DELETE][-1])
    _copy(built, used)
    looked = look_inside(open_at(holdfast, used))
    for place in (built, used):
        remove(place)
    say(f"deleted {deleted:,} objects")
    for command, found in looked.items():
        say(f"{command}: {found}")
    measured_runs = {command: tuple(items) for command, items in runs.items()}
    return _figures(measured_runs, deleted=deleted, snapshots=snapshots, looked=looked), measured_runs


def build(holdfast: Holdfast, place: Path, *, snapshots: int, say: Say) -> None:
    """A repository with one snapshot an hour up to now, each of which stores a hundred objects of rows."""
    remove(place)
    holdfast.init(place)
    say(f"filling a repository with {snapshots} snapshots")
    repository = open_at(holdfast, place)
    shop = Shop(TABLES, ranges=RANGES, seed=1)
    ranges = [(name, number) for name in TABLES for number in range(RANGES)]
    clock = HandClock(now=datetime.now(UTC) - snapshots * EVERY)
    with unflushed():
        for _ in range(snapshots):
            take(repository, "shop", shop, clock=clock, chunks_alone=True)
            clock.now += EVERY
            for name, number in shop.random.sample(ranges, CHANGED):
                shop.change(name, number)


def open_at(holdfast: Holdfast, place: Path) -> Repository:
    return open_repository(Counted(LocalStorage(place)), Secrets(passphrase=holdfast.passphrase))


def look_inside(repository: Repository) -> dict[str, Looked]:
    """The three commands by the library, with phases and requests."""
    storage = repository.storage
    assert isinstance(storage, Counted)
    found = {}
    for command, rules in zip(COMMANDS, (_RULES[0], *_RULES), strict=True):
        before = {verb: item.requests for verb, item in storage.traffic().items()}
        phases = Phases()
        prune(
            repository,
            lambda _: POLICY,
            apply=command is not LOOK,
            by="bench",
            rules=rules,
            clock=lambda: datetime.now(UTC),
            listener=phases,
        )
        phases.end()
        after = {verb: item.requests - before.get(verb, 0) for verb, item in storage.traffic().items()}
        found[command] = Looked(phases=phases.seconds, requests={k: n for k, n in after.items() if n})
    return found


def _run(holdfast: Holdfast, repository: Path, command: str) -> Measured:
    options = () if command is LOOK else ("--apply",)
    at_once = _AT_ONCE if command is DELETE else ()
    return holdfast.prune(repository, "--all-sources", *_POLICY_OPTIONS, *options, *at_once)


def _require_result(holdfast: Holdfast, repository: Path, buried: Measured, swept: Measured) -> int:
    """Raise `BenchError` unless all that was to go has gone, and the rest is whole; returns how many objects."""
    announced, done = document_of(buried), document_of(swept)["collection"]
    removable, garbage = announced["removable"], announced["plan"]["garbage"]["objects"]
    deleted = int(done["deleted"]["objects"])
    if sorted(done["swept"]) != sorted(removable) or deleted != garbage:
        raise BenchError(
            f"prune swept {len(done['swept'])} of {len(removable)} snapshots, {deleted} of {garbage} objects"
        )
    holdfast.check(repository)
    return deleted


def _copy(built: Path, used: Path) -> None:
    remove(used)
    subprocess.run(["cp", "-a", built, used], check=True)  # shutil's takes minutes for as many files


def _figures(runs: Runs, *, deleted: int, snapshots: int, looked: dict[str, Looked]) -> list[Figure]:
    rounds = list(zip(*(runs[command] for command in COMMANDS), strict=True))
    seconds = Series(
        contender=HOLDFAST, unit="s", values=tuple(sum(run.seconds for run in turn) for turn in rounds)
    )
    peaks = Series(
        contender=HOLDFAST,
        unit="bytes",
        values=tuple(float(max(run.client_bytes for run in turn)) for turn in rounds),
        statistic="max",
    )
    parts = ", ".join(
        f"`{command}` {median(run.seconds for run in runs[command]):.1f} s" for command in COMMANDS
    )
    counted = sum(sum(item.requests.values()) for item in looked.values())
    inside = "; ".join(f"{command}: {item}" for command, item in looked.items())
    return [
        Figure(
            name="prune",
            title=f"prune and collection of {snapshots:,} snapshots, {snapshots * CHANGED:,} objects",
            trial="prune",
            unit="s",
            value=seconds.value,
            goal=Goal(must=60, aim=20, at_least=False),
            ours=seconds,
            note=f"{parts}; {deleted:,} objects deleted, {counted:,} requests. By the library alone: {inside}",
        ),
        Figure(
            name="memory_prune",
            title="peak memory of the client: prune",
            trial="prune",
            unit="MB",
            value=peaks.value / MEGABYTE,
            goal=Goal(must=300, aim=200, at_least=False),
            ours=peaks,
        ),
    ]
