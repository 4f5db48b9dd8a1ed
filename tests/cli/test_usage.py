"""Being asked the wrong thing: exit code 2, one line of reason, one of advice, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from program import Finished, Program

Inside = Callable[..., Finished]
Write = Callable[[str, str], Path]


def test_help_needs_no_settings_and_tells_the_exit_codes(run: Program, write: Write) -> None:
    """`holdfast --help` works beside a broken settings file."""
    write("holdfast.toml", "[broken")
    finished = run("--help")
    assert (finished.code, finished.stderr) == (0, "")
    for word in ("backup", "restore", "verify", "doctor", "demo", "init", "key", "4 damage was found"):
        assert word in finished.stdout


@pytest.mark.parametrize(
    "command",
    [
        "backup",
        "restore",
        "list",
        "show",
        "verify",
        "prune",
        "undelete",
        "hold",
        "init",
        "doctor",
        "demo",
        "key",
    ],
)
def test_every_command_has_help(inside: Inside, command: str) -> None:
    """`-h` and `--help` at every level."""
    finished = inside(command, "-h")
    assert (finished.code, finished.stderr) == (0, "")
    assert f"Usage: holdfast {command}" in finished.stdout


def test_without_a_command_help_is_shown(run: Program) -> None:
    """The first thing anyone types."""
    assert "Commands:" in run().stdout


def test_the_version_is_told(run: Program) -> None:
    """One line, for scripts and bug reports."""
    finished = run("--version")
    assert (finished.code, finished.stdout) == (0, "holdfast 0.1.0\n")


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["bakcup"], "no such command 'bakcup'", "did you mean 'backup'?"),
        (["backup", "--jbos", "2"], "no such option: --jbos", "--jobs"),
        (["restore", "latest"], "missing option '--to'", "run holdfast restore --help"),
        (["backup", "--jobs", "0"], "invalid value for '--jobs' / '-j'", "run holdfast backup --help"),
        (["verify", "--level", "4"], "invalid value for '--level'", "run holdfast verify --help"),
        (
            ["verify", "x", "--all", "--repo", "/r"],
            "--all, --at and snapshots by name exclude each other",
            "leave all but one",
        ),
        (["backup", "nope"], "no source is named 'nope'", "postgresql://"),
        (["list"], "no repository is named", "--repo"),
        (["list", "--repo", "s4://bucket"], "no storage is called s4:", "s3://"),
        (["backup", "x=y", "--repo", "/r"], "address of the database", ""),
        (["key"], "missing command", "run holdfast key --help"),
        (["--config", "gone.toml", "list"], "gone.toml does not exist", ""),
        (["list", "--config", "gone.toml"], "gone.toml does not exist", ""),
        (["list", "--config=gone.toml"], "gone.toml does not exist", ""),
    ],
)
def test_a_mistake_is_explained(inside: Inside, arguments: list[str], message: str, hint: str) -> None:
    """Reason and advice on standard error, nothing on standard output."""
    finished = inside(*arguments)
    assert (finished.code, finished.stdout) == (2, ""), finished.stderr
    lines = finished.stderr.splitlines()
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert hint in "\n".join(lines[1:])
    assert len(lines) <= 2


@pytest.mark.parametrize(
    "arguments", [["bakcup", "--json"], ["backup", "--jobs", "x", "--json"], ["list", "--json"]]
)
def test_with_json_the_mistake_is_the_one_document(inside: Inside, arguments: list[str]) -> None:
    """Also when the command line itself cannot be parsed."""
    finished = inside(*arguments)
    assert finished.code == 2
    assert list(finished.error) == ["kind", "message", "hint", "exit_code"]
    assert finished.error["kind"] == "usage"
    assert finished.stderr == ""


def test_an_unknown_key_is_found_whatever_the_command(run: Program, write: Write) -> None:
    """The settings file is checked whole, with a suggestion."""
    write("holdfast.toml", '[sources.a]\nurl="x"\njbos=3\n')
    finished = run("list", "--json")
    assert finished.code == 2
    assert finished.error["hint"] == "did you mean jobs?"


def test_env_file_names_the_repository(run: Program, write: Write) -> None:
    """`.env` in the working folder is read before anything is looked up."""
    write(".env", "HOLDFAST_REPOSITORY=s4://from-env-file/x\n")
    assert "s4:" in run("list").stderr


def test_a_bug_has_its_own_exit_code_and_asks_to_be_reported(run: Program) -> None:
    """Exit code 1 is for bugs alone; the traceback waits for --debug."""
    broken = {"PYTHONPATH": f"{run.folder}:{run.environment()['PYTHONPATH']}"}
    (run.folder / "sitecustomize.py").write_text(
        "import holdfast.settings\n"
        "def load(**_): raise RuntimeError('boom at postgresql://u:s3kret@h/d')\n"
        "holdfast.settings.load = load\n",
        encoding="utf-8",
    )
    finished = run("list", **broken)
    assert finished.code == 1
    assert finished.stderr.splitlines()[0] == "error: unexpected RuntimeError: boom at postgresql://u:***@h/d"
    assert "--debug" in finished.stderr
    assert "Traceback" not in finished.stderr
    for loud in (run("list", "--debug", **broken), run("list", HOLDFAST_DEBUG="1", **broken)):
        assert "Traceback" in loud.stderr
        assert "s3kret" not in loud.stderr
    assert run("list", "--json", **broken).error["kind"] == "bug"
