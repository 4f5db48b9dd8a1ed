"""Real runs of the program, as an operator or a script starts it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import holdfast

SOURCE_FOLDER = Path(holdfast.__file__).parents[1]
PASSPHRASE = "correct horse battery"


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
            **self.environ,
            **more,
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "holdfast", *arguments]

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
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
                stdout, stderr = process.communicate(timeout=90)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            return Finished(code=process.returncode, stdout=stdout, stderr=stderr)


@pytest.fixture
def run(tmp_path: Path) -> Program:
    """The program in an empty folder without any settings."""
    return Program(folder=tmp_path, environ={})


@pytest.fixture(scope="session")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an empty repository `repo` and its recovery kit `kit.txt`, made once by the program."""
    folder = tmp_path_factory.mktemp("initialised")
    program = Program(folder=folder, environ={"HOLDFAST_PASSPHRASE": PASSPHRASE})
    made = program("init", "--repo", "./repo", "--kit", "kit.txt")
    assert made.code == 0, made.stderr
    return folder


@pytest.fixture
def with_repository(tmp_path: Path, initialised: Path) -> Program:
    """The program in a folder of its own with a fresh repository, opened by its kit (which is quicker)."""
    shutil.copytree(initialised, tmp_path, dirs_exist_ok=True)
    return Program(
        folder=tmp_path, environ={"HOLDFAST_REPOSITORY": "./repo", "HOLDFAST_IDENTITY_FILE": "kit.txt"}
    )


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Callable[[str, str], Path]]:
    """`write(name, text)`: a file in the program's folder."""

    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_file
