"""Repositories from the command line: init, its recovery kit, keys, and an empty repository's answers."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from program import PASSPHRASE, Program


def test_init_hands_out_a_kit_that_opens_the_repository(initialised: Path, with_repository: Program) -> None:
    """The kit alone is enough, readable by its owner only, and holds no passphrase."""
    kit = initialised / "kit.txt"
    assert stat.S_IMODE(kit.stat().st_mode) == 0o600
    assert PASSPHRASE not in kit.read_text(encoding="utf-8")
    assert with_repository("list").stdout == "no snapshots\n"


def test_init_says_to_keep_the_kit_elsewhere(run: Program) -> None:
    """The advice is on standard error; the report on standard output."""
    finished = run("init", "--repo", "./r", "--kit", "k.txt", HOLDFAST_PASSPHRASE=PASSPHRASE)
    assert finished.code == 0
    assert finished.stdout.startswith(f"repository made at file://{run.folder}/r\n")
    assert "not on this machine" in finished.stderr
    assert "k.txt" in finished.stderr
    again = run("init", "--repo", "./r", "--kit", "k2.txt", HOLDFAST_PASSPHRASE=PASSPHRASE)
    assert again.code == 5
    assert "there is a repository" in again.stderr
    assert not (run.folder / "k2.txt").exists()


def test_init_never_overwrites_a_kit(run: Program) -> None:
    """A file of that name may be the only kit of another repository; nothing is made then."""
    (run.folder / "kit.txt").write_text("precious", encoding="utf-8")
    finished = run("init", "--repo", "./r", "--kit", "kit.txt", HOLDFAST_PASSPHRASE=PASSPHRASE)
    assert finished.code == 5
    assert (run.folder / "kit.txt").read_text(encoding="utf-8") == "precious"
    assert not (run.folder / "r").exists()


def test_init_without_a_kit_must_be_asked_for(run: Program) -> None:
    """No terminal to show it on and no file: that is a mistake, not a repository without a kit."""
    finished = run("init", "--repo", "./r", HOLDFAST_PASSPHRASE=PASSPHRASE)
    assert finished.code == 2
    assert "--kit FILE" in finished.stderr
    assert not (run.folder / "r").exists()
    finished = run("init", "--repo", "./r", "--no-kit", "--json", HOLDFAST_PASSPHRASE=PASSPHRASE)
    assert finished.code == 0
    assert finished.document["slots"] == ["keys/00000001/passphrase"]
    assert "a lost passphrase means that every backup is lost" in finished.stderr


def test_init_without_a_passphrase_asks_or_refuses(run: Program) -> None:
    """Without a terminal there is nobody to ask; nothing is left behind."""
    finished = run("init", "--repo", "./r", "--kit", "k.txt")
    assert finished.code == 2
    assert "passphrase" in finished.stderr
    assert not (run.folder / "k.txt").exists()


@pytest.mark.parametrize("source", ["env", "file", "command", "settings"])
def test_the_passphrase_may_come_from_anywhere(run: Program, initialised: Path, source: str) -> None:
    """Environment, file, command, and what the settings name."""
    (run.folder / "pw").write_text(f"{PASSPHRASE}\n", encoding="utf-8")
    (run.folder / "pw").chmod(0o600)
    environ = {
        "env": {"HOLDFAST_PASSPHRASE": PASSPHRASE},
        "file": {"HOLDFAST_PASSPHRASE_FILE": "pw"},
        "command": {"HOLDFAST_PASSPHRASE_COMMAND": "cat pw"},
        "settings": {"OURS": PASSPHRASE},
    }[source]
    repo = str(initialised / "repo")
    if source == "settings":
        text = f'[repositories.main]\nurl = "{repo}"\npassphrase_env = "OURS"\n'
        (run.folder / "holdfast.toml").write_text(text, encoding="utf-8")
        repo = "main"
    finished = run("key", "list", "--repo", repo, **environ)
    assert (finished.code, finished.stderr) == (0, "")
    assert "passphrase" in finished.stdout


def test_a_wrong_passphrase_is_locked_out(run: Program, initialised: Path) -> None:
    """Exit code 7, and the passphrase is not repeated."""
    finished = run("list", "--repo", str(initialised / "repo"), "--json", HOLDFAST_PASSPHRASE="wr0ng-guess")
    assert finished.code == 7
    assert finished.error["kind"] == "locked_out"
    assert "wr0ng-guess" not in finished.said()
    finished = run("list", "--repo", str(initialised / "repo"))
    assert finished.code == 7
    assert "hint: " in finished.stderr


def test_keys_are_added_and_removed_but_never_the_last(with_repository: Program) -> None:
    """Both are journalled: verify finds nothing afterwards."""
    run = with_repository
    (run.folder / "new").write_text("another passphrase", encoding="utf-8")
    added = run("key", "add", "--new-passphrase-file", "new", "--name", "team", "--label", "team", "--json")
    assert added.document["added"] == ["keys/00000001/team"]
    names = [key["name"] for key in added.document["keys"]]
    assert "team" in names
    ours = {"HOLDFAST_IDENTITY_FILE": "", "HOLDFAST_PASSPHRASE_FILE": "new"}
    for name in names:
        removed = run("key", "remove", name, **ours)
        assert removed.code == (5 if name == "team" else 0), removed.stderr
    assert "all data is lost" in removed.stderr
    verified = run("verify", "--level", "0", "--json", **ours)
    assert (verified.code, verified.document["findings"]) == (0, [])


def test_an_unknown_key_is_not_removed(with_repository: Program) -> None:
    """The error names those that there are."""
    finished = with_repository("key", "remove", "nope")
    assert finished.code == 2
    assert "passphrase" in finished.stderr


def test_another_kit_opens_what_the_first_one_opened(with_repository: Program) -> None:
    """`key recovery-kit` makes a fresh one; verify at level 0 knows its slot."""
    run = with_repository
    made = run("key", "recovery-kit", "--kit", "second.txt")
    assert made.code == 0, made.stderr
    assert "AGE-SECRET-KEY" not in made.said()
    assert run("list", HOLDFAST_IDENTITY_FILE="second.txt").code == 0
    verified = run("verify", "--level", "0", "--json")
    assert verified.document["findings"] == []


def test_nothing_there_is_said_as_such(with_repository: Program) -> None:
    """An empty repository lists nothing, shows nothing, and is not called verified."""
    run = with_repository
    assert run("list", "--json").document == {"snapshots": [], "unreadable": []}
    shown = run("show")
    assert (shown.code, "there is no snapshot here yet" in shown.stderr) == (2, True)
    verified = run("verify")
    assert (verified.code, "no snapshots yet" in verified.stdout) == (0, True)


def test_damage_to_the_history_is_found(with_repository: Program) -> None:
    """A journal entry that was changed: exit code 4, the object by name, one JSON document."""
    run = with_repository
    (entry,) = (run.folder / "repo" / "journal").iterdir()
    entry.chmod(0o600)
    entry.write_bytes(entry.read_bytes()[:-1] + b"x")
    finished = run("verify", "--level", "0", "--json")
    assert finished.code == 4
    assert finished.document["findings"][0]["object"] == f"journal/{entry.name}"
    assert finished.document["findings"][0]["snapshot"] is None
    text = run("verify", "--level", "0")
    assert (text.code, text.stdout.startswith("DAMAGED: ")) == (4, True)


def test_a_reader_that_goes_away_changes_nothing(with_repository: Program) -> None:
    """`holdfast list | head -0` ends as the run ended, without a complaint."""
    process = subprocess.run(
        ["bash", "-c", f"{' '.join(with_repository.command('list'))} | true; echo ${{PIPESTATUS[0]}}"],
        cwd=with_repository.folder,
        env=with_repository.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert (process.stdout, process.stderr) == ("0\n", "")


def test_a_report_that_cannot_be_written_is_not_fine(with_repository: Program) -> None:
    """A full disk behind standard output: exit code 6, since the script got no document."""
    for option in ([], ["--json"]):
        with Path("/dev/full").open("w", encoding="utf-8") as full:
            process = subprocess.run(
                with_repository.command("list", *option),
                cwd=with_repository.folder,
                env=with_repository.environment(),
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert process.returncode == 6
    assert "standard output cannot be written" in process.stderr or option
