"""Real runs of the program: in an empty folder, or in one with a repository."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.cli.main import main
from holdfast.cli.stop import Stop
from program import PASSPHRASE, Finished, Program


@pytest.fixture(autouse=True)
def all_signals() -> Iterator[None]:
    """Whoever runs the tests in the background has them ignore signals; what they start must not inherit that."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    for number in (number for number, how in before.items() if how is signal.SIG_IGN):
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, how in before.items():
        signal.signal(number, how)


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
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """`write(name, text)`: a file in the program's folder."""

    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


@pytest.fixture
def inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Finished]:
    """The same program in this process, in an empty folder: quick, for what needs no process of its own."""
    for name in os.environ:
        if name.startswith(("PG", "HOLDFAST_", "DATABASE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)

    def run_inside(*arguments: str) -> Finished:
        code = main(arguments, Stop())
        said = capsys.readouterr()
        return Finished(code=code, stdout=said.out, stderr=said.err)

    return run_inside
