"""Keys from the command line: rotations, what is left behind, and what old keys still open."""

from __future__ import annotations

import stat
from pathlib import Path

from program import PASSPHRASE, Program


def secret(run: Program, name: str, text: str) -> str:
    path = run.folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return name


def test_a_passphrase_is_changed_in_one_command(with_repository: Program) -> None:
    """The new one opens, the old one does not, the kit still does."""
    run = with_repository
    new = secret(run, "new", "a new passphrase")
    changed = run(
        "key", "rotate", "--slot", "passphrase", "--new-passphrase-file", new, "--name", "ours", "--json"
    )
    assert changed.code == 0, changed.stderr
    assert changed.document["added"] == ["keys/00000001/ours"]
    assert changed.document["removed"] == ["keys/00000001/passphrase"]
    alone = {"HOLDFAST_IDENTITY_FILE": ""}
    assert run("list", **alone, HOLDFAST_PASSPHRASE=PASSPHRASE).code == 7
    assert run("list", **alone, HOLDFAST_PASSPHRASE_FILE=new).code == 0
    assert run("verify", "--level", "0").code == 0
    again = run("key", "rotate", "--slot", "passphrase", "--new-passphrase-file", new)
    assert (again.code, "no key slot is named 'passphrase'" in again.stderr) == (2, True)


def test_a_rotation_begins_an_epoch_that_kit_and_passphrase_open(with_repository: Program) -> None:
    """It refuses to leave a passphrase behind that is not at hand, and names it; the kit stays valid."""
    run = with_repository
    refused = run("key", "rotate")
    assert refused.code == 5
    assert "passphrase (its passphrase is not at hand)" in refused.stderr
    assert "--slot-passphrase-file" in refused.stderr
    done = run("key", "rotate", "--slot-passphrase-file", secret(run, "ours", PASSPHRASE), "--json")
    assert done.code == 0, done.stderr
    assert done.document["reason"] == "rotation"
    assert done.document["left_out"] == []
    assert [epoch["epoch"] for epoch in done.document["epochs"]] == [1, 2]
    assert [key["opens"] for key in done.document["keys"]] == [[1, 2], [1, 2]]
    assert run("list").code == 0
    assert run("list", HOLDFAST_IDENTITY_FILE="", HOLDFAST_PASSPHRASE_FILE="ours").code == 0
    assert run("verify", "--level", "0", "--json").document["findings"] == []


def test_a_compromise_says_what_the_old_keys_still_open(with_repository: Program) -> None:
    """The lost passphrase opens nothing new, and the report counts by epoch."""
    run = with_repository
    done = run("key", "compromised", "passphrase")
    assert done.code == 0, done.stderr
    assert "epoch 2 begun" in done.stdout
    assert "reads and stores everything anew" in done.stdout
    assert "PARTS OF NEWER" in done.stdout
    assert run("list", HOLDFAST_IDENTITY_FILE="", HOLDFAST_PASSPHRASE=PASSPHRASE).code == 7
    listed = run("key", "list", "--measure", "--json").document
    assert [item["epoch"] for item in listed["exposures"]] == [1, 2]
    assert [(epoch["reason"], epoch["reusable"]) for epoch in listed["epochs"]] == [
        ("init", False),
        ("compromise", True),
    ]
    assert run("verify", "--level", "0", "--json").document["findings"] == []


def test_a_lost_kit_is_missed(with_repository: Program) -> None:
    """Removing the recovery kit's slot is done, and said to be unwise."""
    run = with_repository
    kit = next(key for key in run("key", "list", "--json").document["keys"] if key["kind"] == "age")
    removed = run("key", "remove", kit["name"])
    assert removed.code == 0, removed.stderr
    assert "no recovery kit opens the newest snapshots" in removed.stdout


def test_options_that_do_not_go_together_are_said_so(with_repository: Program) -> None:
    """Nothing is changed then."""
    run = with_repository
    for options in (["--recipient", "age1x"], ["--slot", "passphrase", "--drop-slots"], ["--name", "x"]):
        finished = run("key", "rotate", *options)
        assert (finished.code, "--slot" in finished.stderr) == (2, True), finished.stderr
    unknown = run("key", "compromised", "nobody")
    assert (unknown.code, "choose one of" in unknown.stderr) == (2, True)
    assert run("key", "list", "--json").document["epoch"] == 1


def test_a_generated_passphrase_is_kept_in_the_file_that_is_configured(run: Program) -> None:
    """A strong one, readable by its owner only, never shown, never written over another."""
    options = ("init", "--repo", "./r", "--kit", "kit.txt", "--generate-passphrase")
    nowhere = run(*options)
    assert (nowhere.code, "HOLDFAST_PASSPHRASE_FILE" in nowhere.stderr) == (2, True)
    assert not (run.folder / "kit.txt").exists()
    assert run(*options, HOLDFAST_PASSPHRASE="given").code == 2
    made = run(*options, HOLDFAST_PASSPHRASE_FILE="passphrase")
    assert made.code == 0, made.stderr
    path = Path(run.folder / "passphrase")
    passphrase = path.read_text(encoding="utf-8").strip()
    assert len(passphrase.replace("-", "")) == 30
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert passphrase not in made.said()
    assert run("list", "--repo", "./r", HOLDFAST_PASSPHRASE_FILE="passphrase").code == 0
    again = run(
        "init", "--repo", "./r2", "--no-kit", "--generate-passphrase", HOLDFAST_PASSPHRASE_FILE="passphrase"
    )
    assert again.code == 5
    assert path.read_text(encoding="utf-8").strip() == passphrase


def test_reseal_of_nothing_is_calm(with_repository: Program) -> None:
    """Without snapshots there is nothing to store anew; the report has its shape."""
    run = with_repository
    assert run("key", "compromised", "passphrase").code == 0
    done = run("key", "reseal", "--json")
    assert done.code == 0, done.stderr
    assert (done.document["resealed"], done.document["failed"], done.document["bytes_stored"]) == ([], [], 0)
    assert run("key", "reseal").stdout.startswith("0 snapshots sealed with the new keys")
