"""The figures that Holdfast promises: what each must be, what it aims at, and the verdict on what was measured.

A time is judged by the ratio of medians, memory by the worst run.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench import trials
from bench.measure import Measured
from bench.ours import document_of
from bench.trials import HOLDFAST, Runs

MEGABYTE = 10**6
GIGABYTE = 10**9


class Verdict(enum.StrEnum):
    AIM_MET = "aim met"
    MUST_MET = "must met"
    MISSED = "missed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """`must` is the promise, `aim` the hope. `at_least`: whether more is better."""

    must: float
    aim: float
    at_least: bool

    def __post_init__(self) -> None:
        if (self.aim < self.must) if self.at_least else (self.aim > self.must):
            raise ValueError(f"an aim may not be easier than the must: {self.aim}, {self.must}")

    def judge(self, value: float) -> Verdict:
        if self._reached(value, self.aim):
            return Verdict.AIM_MET
        return Verdict.MUST_MET if self._reached(value, self.must) else Verdict.MISSED

    def _reached(self, value: float, bound: float) -> bool:
        return value >= bound if self.at_least else value <= bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """All runs of one contender in one quantity, and the one number that stands for them."""

    contender: str
    unit: str
    values: tuple[float, ...]
    statistic: str = "median"

    @property
    def value(self) -> float:
        return max(self.values) if self.statistic == "max" else median(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """`value` in `unit` is what the goal judges: a ratio where there is a peer. `trial` names where it is from."""

    name: str
    title: str
    trial: str
    unit: str
    value: float
    goal: Goal
    ours: Series
    peer: Series | None = None
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        return self.goal.judge(self.value)


def judge(results: Mapping[str, Runs], *, row_bytes: int) -> list[Figure]:
    """The figures that the trials at hand allow. `row_bytes`: COPY text in what was verified."""
    makers: tuple[tuple[str, Callable[[Runs], list[Figure]]], ...] = (
        ("backup", _backup),
        ("restore", _restore),
        ("many backup", lambda runs: [_many("many_backup", "backup", trials.PG_DUMP_FOLDER, runs)]),
        ("many restore", lambda runs: [_many("many_restore", "restore", trials.PG_RESTORE, runs)]),
        ("verify", lambda runs: [_verify(runs, row_bytes)]),
        ("help", _help),
        ("large backup", lambda runs: [_memory("memory_large_backup", "large backup", runs)]),
        ("large restore", lambda runs: [_memory("memory_large_restore", "large restore", runs)]),
    )
    figures = [figure for trial, make in makers if trial in results for figure in make(results[trial])]
    return figures + [
        _growth(doing, results[doing], results[f"large {doing}"])
        for doing in ("backup", "restore")
        if doing in results and f"large {doing}" in results
    ]


def _backup(runs: Runs) -> list[Figure]:
    goals = (
        ("backup_against_gzip", trials.PG_DUMP_GZIP, Goal(must=4.5, aim=6, at_least=True)),
        ("backup_against_z1", trials.PG_DUMP_Z1, Goal(must=1.6, aim=2, at_least=True)),
        ("backup_against_z0", trials.PG_DUMP_Z0, Goal(must=1, aim=1.3, at_least=True)),
    )
    figures = [
        _faster(name, f"full backup against {peer}", "backup", runs, peer, goal) for name, peer, goal in goals
    ]
    return [*figures, _stored(runs), _memory("memory_backup", "backup", runs)]


def _restore(runs: Runs) -> list[Figure]:
    title = f"restore against {trials.PG_RESTORE}"
    goal = Goal(must=1.2, aim=1.5, at_least=True)
    figure = _faster("restore_against_pg_restore", title, "restore", runs, trials.PG_RESTORE, goal)
    return [figure, _memory("memory_restore", "restore", runs)]


def _many(name: str, doing: str, peer: str, runs: Runs) -> Figure:
    goal = Goal(must=1, aim=2, at_least=True)
    return _faster(name, f"many tiny tables: {doing} against {peer}", f"many {doing}", runs, peer, goal)


def _faster(name: str, title: str, trial: str, runs: Runs, peer: str, goal: Goal) -> Figure:
    ours, theirs = _seconds(HOLDFAST, runs), _seconds(peer, runs)
    return Figure(
        name=name,
        title=title,
        trial=trial,
        unit="times faster",
        value=theirs.value / ours.value,
        goal=goal,
        ours=ours,
        peer=theirs,
    )


def _stored(runs: Runs) -> Figure:
    ours = _series(HOLDFAST, "bytes", runs, lambda run: run.output_bytes)
    theirs = _series(trials.PG_DUMP_GZIP, "bytes", runs, lambda run: run.output_bytes)
    return Figure(
        name="stored_against_gzip",
        title="stored bytes against gzip's",
        trial="backup",
        unit="of gzip's size",
        value=ours.value / theirs.value,
        goal=Goal(must=0.85, aim=0.75, at_least=False),
        ours=ours,
        peer=theirs,
        note="everything in the repository, keys and manifests included",
    )


def _memory(name: str, trial: str, runs: Runs) -> Figure:
    ours = _client_bytes(runs)
    tools = max(run.tool_bytes for run in runs[HOLDFAST])
    return Figure(
        name=name,
        title=f"peak memory of the client: {trial}",
        trial=trial,
        unit="MB",
        value=ours.value / MEGABYTE,
        goal=Goal(must=300, aim=200, at_least=False),
        ours=ours,
        note=f"pg_dump and pg_restore beside it: {tools / MEGABYTE:.0f} MB" if tools else "",
    )


def _growth(doing: str, standard: Runs, large: Runs) -> Figure:
    """Flat: ten times the data may take a tenth more, for its longer manifests."""
    ours, smaller = _client_bytes(large), _client_bytes(standard)
    return Figure(
        name=f"memory_growth_{doing}",
        title=f"peak memory of the client, large against standard: {doing}",
        trial=f"large {doing}",
        unit="times",
        value=ours.value / smaller.value,
        goal=Goal(must=1.25, aim=1.1, at_least=False),
        ours=ours,
        peer=smaller,
        note="both are Holdfast's: the large database, and the standard one",
    )


def _verify(runs: Runs, row_bytes: int) -> Figure:
    ours = _seconds(HOLDFAST, runs)
    own = median(document_of(run)["seconds"] for run in runs[HOLDFAST])
    speed = row_bytes / GIGABYTE / own if own else 0.0
    return Figure(
        name="verify_level_3",
        title="verify at level 3",
        trial="verify",
        unit="GB/s",
        value=row_bytes / GIGABYTE / ours.value,
        goal=Goal(must=0.8, aim=1.3, at_least=True),
        ours=ours,
        note=f"with the program's start and unlocking; by its own clock {own:.2f} s, {speed:.2f} GB/s",
    )


def _help(runs: Runs) -> list[Figure]:
    ours = _seconds(HOLDFAST, runs)
    return [
        Figure(
            name="help",
            title="holdfast --help",
            trial="help",
            unit="s",
            value=ours.value,
            goal=Goal(must=0.5, aim=0.3, at_least=False),
            ours=ours,
        )
    ]


def _seconds(contender: str, runs: Runs) -> Series:
    return _series(contender, "s", runs, lambda run: run.seconds)


def _client_bytes(runs: Runs) -> Series:
    return _series(HOLDFAST, "bytes", runs, lambda run: run.client_bytes, statistic="max")


def _series(
    contender: str,
    unit: str,
    runs: Runs,
    quantity: Callable[[Measured], float],
    *,
    statistic: str = "median",
) -> Series:
    values: Sequence[float] = [quantity(run) for run in runs[contender]]
    return Series(contender=contender, unit=unit, values=tuple(values), statistic=statistic)
