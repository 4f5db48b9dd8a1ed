"""The program as an operator or a script starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import holdfast
from patience import PATIENCE_SECONDS

SOURCE_FOLDER = Path(holdfast.__file__).parents[1]
PASSPHRASE = "correct horse battery"

# The program, but for its patience with a run that was interrupted: no machine is so slow that it ends.
UNHURRIED = """
from holdfast.cli import stop
stop.GRACE_SECONDS = stop.HARD_SECONDS = 3600
from holdfast.__main__ import run
run()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a run ended and what it said."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on standard output; anything else there fails."""
        found = json.loads(self.stdout)
        assert isinstance(found, dict)
        return found

    @property
    def error(self) -> dict[str, Any]:
        error = self.document["error"]
        assert isinstance(error, dict)
        assert error["exit_code"] == self.code
        return error

    def said(self) -> str:
        return self.stdout + self.stderr


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """`holdfast` in a folder, with an environment of its own: nothing of the caller's leaks in."""

    folder: Path
    environ: Mapping[str, str]

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": str(SOURCE_FOLDER),
            "PYTHONWARNINGS": "error",
            "HOLDFAST_NICE": "0",
            **self.environ,
            **more,
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "holdfast", *arguments]

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        return self._start(self.command(*arguments), environ)

    def start_unhurried(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """Once interrupted it may take its time, so that what it then says and does is its own doing."""
        return self.start_as(UNHURRIED, *arguments, **environ)

    def start_as(self, text: str, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """Through a Python program of the test's own."""
        return self._start([sys.executable, "-c", text, *arguments], environ)

    def _start(self, command: list[str], environ: Mapping[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment(**environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str, **environ: str) -> Finished:
        with self.start(*arguments, **environ) as process:
            try:
                stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            return Finished(code=process.returncode, stdout=stdout, stderr=stderr)
