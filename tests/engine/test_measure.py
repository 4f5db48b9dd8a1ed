"""The benchmark's measuring: real processes, their time, their memory, and their failures."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from bench.measure import BenchError, Measured, measure

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")

HOLD = "import time; held = b'x' * {bytes}; time.sleep({seconds})"
MEGABYTE = 10**6


def measured(folder: Path, *pipeline: list[str], output: Path | None = None) -> Measured:
    return measure(*pipeline, environment=dict(os.environ), folder=folder, output=output)


def test_memory_of_a_process_is_its_peak(tmp_path: Path) -> None:
    """What a process held at most is measured, though it gave it back before it ended."""
    program = HOLD.format(bytes=150 * MEGABYTE, seconds=0.2) + "; del held; time.sleep(0.2)"
    run = measured(tmp_path, [sys.executable, "-c", program])
    assert 150 * MEGABYTE < run.client_bytes < 220 * MEGABYTE
    assert run.tool_bytes == 0
    assert run.seconds >= 0.4


def test_tools_of_postgres_are_counted_beside_the_client(tmp_path: Path) -> None:
    """The memory of a pg_dump that the client starts is not the client's, but is not lost either."""
    tool = tmp_path / "pg_dump"
    tool.write_text(f"#!{sys.executable}\n{HOLD.format(bytes=100 * MEGABYTE, seconds=1.0)}\n")
    tool.chmod(0o755)
    run = measured(tmp_path, [sys.executable, "-c", f"import subprocess; subprocess.run([{str(tool)!r}])"])
    assert run.tool_bytes > 100 * MEGABYTE
    assert 0 < run.client_bytes < 100 * MEGABYTE


def test_output_of_a_pipeline_goes_to_its_file(tmp_path: Path) -> None:
    """What the last command of a pipeline writes is in the file, all of it."""
    output = tmp_path / "output"
    run = measured(tmp_path, ["sh", "-c", "seq 100000"], ["wc", "-l"], output=output)
    assert output.read_text().strip() == "100000"
    assert run.stdout == b""


def test_failure_anywhere_in_a_pipeline_is_no_measurement(tmp_path: Path) -> None:
    """A pg_dump that fails into a gzip that does not is an error that tells what it said."""
    with pytest.raises(BenchError, match="exit code 3\nno such table"):
        measured(tmp_path, ["sh", "-c", "echo no such table >&2; exit 3"], ["cat"])


def test_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A program that cannot be started is named, and what was started before it is ended."""
    with pytest.raises(BenchError, match="no-such-program cannot be started"):
        measured(tmp_path, ["sleep", "60"], ["no-such-program"])
