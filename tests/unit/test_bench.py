"""The benchmark's judgement: what counts as met, which runs are compared, and what is shown of them."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
from bench import picture, report
from bench.figures import Goal, Verdict, judge
from bench.measure import Measured
from bench.trials import (
    HOLDFAST,
    PG_DUMP_FOLDER,
    PG_DUMP_GZIP,
    PG_DUMP_Z0,
    PG_DUMP_Z1,
    Contender,
    Runs,
    Trial,
    race,
)


def run(seconds: float, *, client_bytes: int = 0, output_bytes: int = 0, stdout: bytes = b"") -> Measured:
    return Measured(
        seconds=seconds,
        cpu_seconds=seconds,
        client_bytes=client_bytes,
        tool_bytes=0,
        output_bytes=output_bytes,
        stdout=stdout,
    )


def backup_runs(*seconds: float) -> Runs:
    peers = {PG_DUMP_GZIP: (40.0, 45.0, 41.0), PG_DUMP_Z1: (14.0,) * 3, PG_DUMP_Z0: (9.5,) * 3}
    runs = {name: tuple(run(value, output_bytes=1000) for value in values) for name, values in peers.items()}
    memory = (150_000_000, 310_000_000, 150_000_000)
    ours = [run(value, client_bytes=memory[i], output_bytes=700) for i, value in enumerate(seconds)]
    return {HOLDFAST: tuple(ours), **runs}


def document(results: dict[str, Runs]) -> dict[str, Any]:
    machine = {
        "cores": 2,
        "cpu": "a <fast> one",
        "memory_gb": 8.0,
        "file_system": "ext4",
        "system": "Linux",
        "python": "3.11",
        "load_before": 0.1,
    }
    facts = {
        "taken_at": "2026-11-01 10:00 UTC",
        "standard": True,
        "runs": 3,
        "holdfast": "holdfast 1",
        "machine": machine,
        "server": {"version": "15.1", "settings": {"fsync": "on"}},
        "gzip": "gzip 1.12",
        "data": {"standard": {"recipe": "app.sql", "rows": 10, "row_bytes": 1_280_000_000}},
    }
    return report.make_document(facts=facts, figures=judge(results, row_bytes=0), results=results)


@pytest.mark.parametrize(
    ("at_least", "value", "verdict"),
    [
        (True, 2.0, Verdict.AIM_MET),
        (True, 1.999, Verdict.MUST_MET),
        (True, 1.6, Verdict.MUST_MET),
        (True, 1.599, Verdict.MISSED),
        (False, 1.6, Verdict.AIM_MET),
        (False, 2.0, Verdict.MUST_MET),
        (False, 2.001, Verdict.MISSED),
    ],
)
def test_goal_is_met_at_its_bound_and_missed_beyond_it(
    at_least: bool, value: float, verdict: Verdict
) -> None:
    """A goal is met at its bound and missed just beyond it, whichever way is better."""
    goal = Goal(must=1.6 if at_least else 2.0, aim=2.0 if at_least else 1.6, at_least=at_least)
    assert goal.judge(value) is verdict


def test_aim_easier_than_the_must_is_refused() -> None:
    """An aim that is easier than its must is a slip of the pen, and refused."""
    with pytest.raises(ValueError, match="easier"):
        Goal(must=300, aim=400, at_least=False)


def test_times_are_judged_by_medians_and_memory_by_the_worst_run() -> None:
    """One slow run does not spoil a time; one hungry run does spoil the memory."""
    figures = {figure.name: figure for figure in judge({"backup": backup_runs(7.0, 30.0, 8.0)}, row_bytes=0)}
    assert figures["backup_against_gzip"].value == pytest.approx(41.0 / 8.0)
    assert figures["backup_against_gzip"].verdict is Verdict.MUST_MET
    assert figures["backup_against_z1"].verdict is Verdict.MUST_MET
    assert figures["backup_against_z0"].verdict is Verdict.MUST_MET
    assert figures["stored_against_gzip"].verdict is Verdict.AIM_MET
    assert figures["memory_backup"].value == pytest.approx(310.0)
    assert figures["memory_backup"].verdict is Verdict.MISSED


def test_only_trials_that_were_run_give_figures() -> None:
    """A part that was left out gives no figure, instead of a good one."""
    small: Runs = {HOLDFAST: (run(1.0),), PG_DUMP_FOLDER: (run(3.0),)}
    assert [figure.name for figure in judge({"many backup": small}, row_bytes=0)] == ["many_backup"]


def test_memory_that_grows_with_the_data_is_missed() -> None:
    """Ten times the data may not take half as much memory again."""
    results: dict[str, Runs] = {
        "backup": backup_runs(7.0),
        "large backup": {HOLDFAST: (run(70.0, client_bytes=225_000_000),)},
    }
    figures = {figure.name: figure for figure in judge(results, row_bytes=0)}
    assert figures["memory_large_backup"].verdict is Verdict.MUST_MET
    assert figures["memory_growth_backup"].value == pytest.approx(1.5)
    assert figures["memory_growth_backup"].verdict is Verdict.MISSED


def test_verify_is_judged_by_bytes_of_rows_in_a_second() -> None:
    """The speed of verify is that of the rows, in powers of ten."""
    said = b'{"seconds": 0.5}'
    runs = tuple(run(seconds, stdout=said) for seconds in (1.0, 1.0, 9.0))
    results: dict[str, Runs] = {"verify": {HOLDFAST: runs}}
    (figure,) = judge(results, row_bytes=1_280_000_000)
    assert figure.value == pytest.approx(1.28)
    assert figure.verdict is Verdict.MUST_MET
    assert "2.56 GB/s" in figure.note


def test_contenders_take_turns_and_each_comes_first_once() -> None:
    """Contenders take turns, each round begins with another one, and all are prepared just before."""
    happened: list[str] = []

    def contender(name: str) -> Contender:
        def ran() -> Measured:
            happened.append(name)
            return run(1.0)

        return Contender(name=name, run=ran, prepare=lambda: happened.append(f"prepare {name}"))

    trial = Trial(name="two", contenders=(contender("a"), contender("b")))
    results = race(trial, rounds=2, settle=lambda: happened.append("settle"), say=lambda _: None)
    assert [word for word in happened if word in ("a", "b")] == ["a", "b", "b", "a"]
    assert happened[:3] == ["prepare a", "settle", "a"]
    assert {name: len(runs) for name, runs in results.items()} == {"a": 2, "b": 2}


def test_picture_is_whole_and_shows_every_contender() -> None:
    """The picture is well-formed, and every contender and time is in it."""
    drawn = picture.draw(document({"backup": backup_runs(7.0, 8.0, 9.0)}))
    words = [
        element.text for element in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert {HOLDFAST, PG_DUMP_GZIP, PG_DUMP_Z1, PG_DUMP_Z0, "8.0 s", "41.0 s"} <= set(words)


def test_page_and_verdicts_name_what_was_missed() -> None:
    """What was missed is in the document and on the page, beside the machine that it was measured on."""
    made = document({"backup": backup_runs(20.0, 20.0, 20.0)})
    assert report.missed(made) == [
        "backup_against_gzip",
        "backup_against_z1",
        "backup_against_z0",
        "memory_backup",
    ]
    page = report.make_page(made)
    assert "| full backup against pg_dump \\| gzip | 20.00 s | 41.00 s | 2.05 times faster |" in page
    assert "2 cores of a <fast> one" in page
    assert "1.28 GB of COPY text" in page
