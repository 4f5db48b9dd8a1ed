"""`holdfast copy` as an operator and as a script run it, and the copies that follow a backup."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg
import pytest

from holdfast.repository.keys.secrets import Secrets
from holdfast.repository.repo import open_repository
from holdfast.storage.local import LocalStorage
from postgres_servers import Database, ServerPool
from program import Program
from repositories import PASSPHRASE, make_repository
from snapshots import take

SETTINGS = """
[repositories.primary]
url = "./near"
passphrase_env = "OURS"

[repositories.offsite]
url = "./far"
passphrase_env = "THEIRS"

[repositories.broken]
url = "./nowhere"
passphrase_env = "THEIRS"

[sources.shop]
url = "${SHOP_URL:-postgresql://nobody@127.0.0.1:1/shop}"
repository = "primary"
"""

RESULT = [
    "snapshot",
    "source",
    "copy",
    "from",
    "to",
    "state",
    "bytes_sent",
    "chunks_sent",
    "chunks_reused",
    "verified",
    "seconds",
    "error",
]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Two repositories with keys of their own, and one that is configured but not there."""
    for name in ("near", "far"):
        (tmp_path / name).mkdir()
        make_repository(LocalStorage(tmp_path / name))
    (tmp_path / "holdfast.toml").write_text(SETTINGS + 'copies = ["offsite"]\n', encoding="utf-8")
    return Program(folder=tmp_path, environ={"OURS": PASSPHRASE, "THEIRS": PASSPHRASE})


def take_one(folder: Path, rows: bytes = b"1\n") -> str:
    repository = open_repository(LocalStorage(folder / "near"), Secrets(passphrase=PASSPHRASE))
    return take(repository, {"a": [rows]}).snapshot


def settings(program: Program, copies: str) -> None:
    (program.folder / "holdfast.toml").write_text(f"{SETTINGS}copies = {copies}\n", encoding="utf-8")


def test_copy_brings_every_destination_up_to_date(program: Program) -> None:
    """Without arguments it goes by the settings; a second run has nothing to do; the document's shape is fixed."""
    snapshot = take_one(program.folder)
    finished = program("copy", "--json")
    assert finished.code == 0, finished.stderr
    assert list(finished.document) == ["copies", "lacking", "warnings", "seconds"]
    (result,) = finished.document["copies"]
    assert list(result) == RESULT
    assert (result["snapshot"], result["from"], result["to"]) == (snapshot, "primary", "offsite")
    assert (result["state"], result["verified"]) == ("copied", {"level": 2, "sent_level": 2})
    again = program("copy")
    assert again.code == 0
    assert again.stdout == "nothing to copy: every destination has what it is to have\n"
    listed = program("list", "--repo", "offsite", "--json").document["snapshots"]
    assert [(item["snapshot"], item["origin"]["snapshot"]) for item in listed] == [(result["copy"], snapshot)]
    shown = program("show", snapshot[:13], "--repo", "offsite")
    assert f"copy of        {snapshot}" in shown.stdout


def test_a_destination_that_fails_is_named_and_the_others_have_theirs(program: Program) -> None:
    """Exit code 3; where nothing went well, the code says why."""
    settings(program, '["broken", { repository = "offsite" }]')
    take_one(program.folder)
    finished = program("copy")
    assert finished.code == 3
    assert "PARTIAL: not everything was copied to broken" in finished.stdout
    assert "FAILED" in finished.stdout
    assert "copied" in finished.stdout
    alone = program("copy", "--to", "broken", "--json")
    assert alone.code == 6
    assert alone.document["copies"][0]["error"]["exit_code"] == alone.code


def test_a_damaged_source_is_exit_code_4(program: Program) -> None:
    """The object is named, with the repository that it is in."""
    take_one(program.folder)
    damaged = max((program.folder / "near" / "data").rglob("*"), key=lambda path: path.is_file())
    damaged.chmod(0o600)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    finished = program("copy", "--json")
    assert finished.code == 4
    (result,) = finished.document["copies"]
    assert result["error"]["kind"] == "damaged"
    assert str(damaged.relative_to(program.folder / "near")) in result["error"]["message"]
    assert program("list", "--repo", "offsite").stdout == "no snapshots\n"


def test_other_keys_can_be_given_on_the_command_line(program: Program) -> None:
    """The destination's passphrase from a file, by its URL; a wrong one is exit code 7, and says where."""
    take_one(program.folder)
    secret = program.folder / "theirs"
    secret.write_text(f"{PASSPHRASE}\n", encoding="utf-8")
    secret.chmod(0o600)
    arguments = ("copy", "latest", "--from", "./near", "--to", "./far", "--to-passphrase-file", "theirs")
    assert program(*arguments, HOLDFAST_PASSPHRASE=PASSPHRASE).code == 0
    secret.write_text("wrong\n", encoding="utf-8")
    refused = program(*arguments, "--json", HOLDFAST_PASSPHRASE=PASSPHRASE)
    assert refused.code == 7
    assert refused.document["copies"][0]["to"] == "./far"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("latest", "--all"), "exclude each other"),
        (("--since", "yesterday"), "neither a moment nor a span of time"),
        (("--source", "office"), "has no copies configured"),
        (("--to", "offsight"), "did you mean offsite?"),
        (("--to", "primary", "--from", "primary"), "the repository that the copies come from"),
    ],
)
def test_what_makes_no_sense_is_refused(program: Program, arguments: tuple[str, ...], said: str) -> None:
    """Exit code 2, with the word that helps."""
    take_one(program.folder)
    finished = program("copy", *arguments)
    assert finished.code == 2
    assert said in finished.said()


def test_a_backup_brings_its_copies_along_and_a_restore_takes_one(
    program: Program, pg: ServerPool, database: Database, request: pytest.FixtureRequest
) -> None:
    """The snapshot stands when a copy fails (exit code 3); with the primary gone, the error names the copy, and
    `--from` it brings the rows back."""
    settings(program, '["offsite", "broken"]')
    database.execute("create table t as select generate_series(1, 1000) as i")
    finished = program("backup", "shop", "--json", SHOP_URL=database.dsn)
    assert finished.code == 3, finished.said()
    document = finished.document
    assert document["state"] == "committed"
    states = {result["to"]: result["state"] for result in document["copies"]}
    assert states == {"offsite": "copied", "broken": "failed"}
    text = program("backup", "shop", SHOP_URL=database.dsn)
    assert text.code == 3
    assert "PARTIAL: the snapshot is committed, but broken does not have it" in text.stdout
    assert "run holdfast copy when that is mended" in text.stdout
    shutil.rmtree(program.folder / "near")
    target = pg().dsn(f"{database.name}_back")
    request.addfinalizer(lambda: pg().drop_database(f"{database.name}_back"))
    lost = program("restore", "latest", "--repo", "primary", "--to", target, "--create")
    assert lost.code != 0
    assert "take a copy: --from offsite or --from broken" in lost.stderr
    back = program(
        "restore", document["snapshot"], "--from", "offsite", "--to", target, "--create", "--quiet"
    )
    assert back.code == 0, back.stderr
    with psycopg.connect(target) as connection:
        assert connection.execute("select sum(i) from t").fetchone() == (500500,)
