"""Backups that run by themselves: several sources, limits of rate, of time and of priority, and stepping aside."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from patience import PATIENCE_SECONDS, wait_until
from postgres_servers import Database
from program import Finished, Program

Write = Callable[[str, str], Path]


@pytest.fixture
def two(
    with_repository: Program, write: Write, make_database: Callable[..., Database]
) -> tuple[Program, Database, Database]:
    """The program with two sources, `one` and `two`, and between them a third that cannot be reached."""
    first, second = make_database(name_prefix="one"), make_database(name_prefix="two")
    for database in (first, second):
        database.execute("create table t as select i from generate_series(1, 100) i")
    write(
        "holdfast.toml",
        f'[sources.one]\nurl = "{first.dsn}"\n'
        '[sources.gone]\nurl = "postgresql://u:s3kret@127.0.0.1:1/nothing"\n'
        '[sources.unset]\nurl = "${NOT_SET_ANYWHERE}"\n'
        f'[sources.two]\nurl = "{second.dsn}"\n',
    )
    return with_repository, first, second


def test_a_source_that_fails_neither_blocks_nor_hides(two: tuple[Program, Database, Database]) -> None:
    """Each in turn; the worst exit code wins, and the summary names who failed."""
    program, _, _ = two
    finished = program("backup", "--all-sources")
    assert finished.code == 6, finished.said()
    last = finished.stdout.splitlines()[-2:]
    assert last == ["4 sources: 2 fine", "  FAILED: gone, unset"]
    assert "s3kret" not in finished.said()
    listed = program("list", "--json").document["snapshots"]
    assert [item["source"] for item in listed] == ["one", "two"]


def test_with_json_all_runs_are_one_document(two: tuple[Program, Database, Database]) -> None:
    """Reports and errors side by side, in the order of the settings."""
    program, _, _ = two
    document = (finished := program("backup", "--all-sources", "--json")).document
    assert document["exit_code"] == finished.code == 6
    runs = document["runs"]
    assert [(run["source"], run["state"], run["exit_code"]) for run in runs] == [
        ("one", "committed", 0),
        ("gone", "failed", 6),
        ("unset", "failed", 2),
        ("two", "committed", 0),
    ]
    assert runs[1]["error"]["kind"] == "unreachable"
    assert runs[0]["snapshot"]


@pytest.fixture
def busy(two: tuple[Program, Database, Database]) -> Callable[..., Finished]:
    """`busy(…)`: the program, while another run of source `one` waits for a lock."""
    program, first, _ = two

    def run(*arguments: str) -> Finished:
        with psycopg.connect(first.dsn) as blocker:
            blocker.execute("lock table t in access exclusive mode")
            other = program.start("backup", "one", "--lock-timeout", "3600", "--quiet")
            writers = program.folder / "repo" / "writers"
            wait_until(lambda: other.poll() is not None or (writers.is_dir() and any(writers.iterdir())))
            assert other.poll() is None, other.communicate()
            finished = program(*arguments)
            blocker.rollback()
            stdout, stderr = other.communicate(timeout=PATIENCE_SECONDS)
            assert other.returncode == 0, stdout + stderr
        return finished

    return run


def test_stepping_aside_is_exit_code_5_and_said_plainly(busy: Callable[..., Finished]) -> None:
    """Which run is in the way, where, and since when."""
    finished = busy("backup", "one")
    assert (finished.code, finished.stdout) == (5, "")
    assert finished.stderr.splitlines()[-2].startswith("error: another run of one is alive: snapshot 0")
    assert "UTC" in finished.stderr


def test_schedules_may_say_that_stepping_aside_is_fine(busy: Callable[..., Finished]) -> None:
    """`--unless-running`: exit code 0, not a word with --quiet, and JSON that tells it from a snapshot."""
    finished = busy("backup", "one", "--unless-running", "--quiet")
    assert (finished.code, finished.said()) == (0, "")


def test_stepping_aside_is_told_from_a_snapshot_in_json(busy: Callable[..., Finished]) -> None:
    """`state` says it, and `error` why."""
    document = busy("backup", "one", "--unless-running", "--json").document
    assert (document["state"], document["exit_code"]) == ("stepped_aside", 0)
    assert document["error"]["kind"] == "stepped_aside"


def test_unless_running_excuses_nothing_else(two: tuple[Program, Database, Database]) -> None:
    """A source that cannot be reached stays a failure."""
    program, _, _ = two
    assert program("backup", "gone", "--unless-running", "--quiet").code == 6


def test_a_rate_holds_for_a_whole_backup(with_repository: Program, write: Write, database: Database) -> None:
    """What is stored takes at least its bytes' time; 0 on the command line lifts what the settings say."""
    database.execute(
        "create table t as select i, sha512(i::text::bytea) as a, sha512((-i)::text::bytea) as b"
        " from generate_series(1, 20000) i"
    )
    write(
        "holdfast.toml",
        '[repositories.disk]\nurl = "repo"\nidentity_file = "kit.txt"\nmax_rate = "1B"\n',
    )
    arguments = ("backup", database.dsn, "--repo", "disk", "--json")
    slow = with_repository(*arguments, "--max-rate", "1MB").document
    assert slow["bytes_stored"] > 2_500_000
    assert slow["seconds"] > slow["bytes_stored"] / 1e6 - 1.1
    assert with_repository(*arguments, "--max-rate", "0").code == 0


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        ((), {"HOLDFAST_NICE": ""}, 10),
        (("--nice", "3"), {}, 3),
        ((), {"HOLDFAST_NICE": "7"}, 7),
        ((), {"HOLDFAST_NICE": "0"}, 0),
    ],
)
def test_without_a_terminal_a_run_lowers_its_priority(
    run: Program, arguments: tuple[str, ...], environ: dict[str, str], expected: int
) -> None:
    """By 10, or by what is asked for: seen by the command that gives the passphrase."""
    base = os.nice(0)
    told = run.folder / "niceness"
    script = run.folder / "passphrase.py"
    script.write_text(f"import os\nopen({str(told)!r}, 'w').write(str(os.nice(0)))\nprint('wrong')\n")
    made = run("init", "--repo", "./repo", "--no-kit", HOLDFAST_PASSPHRASE="right and long enough")
    assert made.code == 0, made.stderr
    finished = run(
        *("verify", "--repo", "./repo", *arguments),
        HOLDFAST_PASSPHRASE_COMMAND=f"{sys.executable} {script}",
        **environ,
    )
    assert finished.code == 7, finished.stderr
    assert int(told.read_text()) == max(base, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["backup", "x", "--all-sources"], "exclude each other"),
        (["backup", "--all-sources"], "no source is configured"),
        (["backup", "postgresql://h/d", "--max-rate", "20Mbit"], "is no rate"),
        (["backup", "postgresql://h/d", "--max-runtime", "5m"], "its units are"),
        (["backup", "postgresql://h/d", "--max-runtime", "0h"], "may take no time"),
        (["backup", "postgresql://h/d", "--wait", "soon"], "is no length of time"),
    ],
)
def test_what_makes_no_sense_is_explained(
    inside: Callable[..., Finished], arguments: list[str], message: str
) -> None:
    """Exit code 2, before anything is touched."""
    finished = inside(*arguments)
    assert (finished.code, finished.stdout) == (2, "")
    assert message in finished.stderr
