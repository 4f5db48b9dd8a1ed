"""A proof that a full reading refutes is told as damage: of which table, in which snapshots, and what to do."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.cli.main import main
from holdfast.cli.stop import Stop
from holdfast.domain.errors import EXIT_DAMAGED
from holdfast.domain.ids import SnapshotId
from holdfast.postgres.address import ServerAddress
from holdfast.repository import layout
from holdfast.repository.blobs import md5_of
from holdfast.repository.registers.outcomes import Committed
from holdfast.repository.repo import Repository
from holdfast.repository.root_codec import encode_root
from holdfast.repository.seal import ObjectType
from holdfast.storage.memory import MemoryStorage
from holdfast.storage.spec import StorageSpec
from holdfast.workflows.backup import BackupOptions, BackupSource, backup
from holdfast.workflows.listing import SAFETY_PREFIX
from holdfast.workflows.reports import BackupReport
from postgres_servers import Database
from repositories import PASSPHRASE, make_repository


def take(
    database: Database, repository: Repository, *, full: bool = False, name: str = "shop"
) -> BackupReport:
    source = BackupSource(name=name, address=ServerAddress.parse(database.dsn))
    options = BackupOptions(jobs=1, full=full)
    return backup(source, repository, options=options)


def falsify(repository: Repository, snapshot: SnapshotId, *, read_in_full_at: datetime | None = None) -> None:
    """Make a snapshot's root claim to be two transactions newer than it is, as a hole in the argument would; and
    that the last full reading before it was at that time."""
    outcome = repository.outcomes.read(snapshot)
    assert isinstance(outcome, Committed)
    before = repository.root(outcome.summary)
    instant = replace(before.instant, xmin=before.instant.xmin + 2, xmax=before.instant.xmax + 2)
    changed = replace(before, instant=instant, read_in_full_at=read_in_full_at or before.read_in_full_at)
    plaintext = encode_root(changed)
    identity = repository.sealer.identify(ObjectType.ROOT, plaintext)
    sealed = repository.sealer.seal(ObjectType.ROOT, plaintext, identity=identity)
    repository.storage.replace(layout.root(snapshot), sealed)
    root = replace(
        outcome.summary.root,
        length=len(sealed),
        object_bytes=len(sealed),
        object_md5=md5_of(sealed),
        identity=identity,
        plain_bytes=len(plaintext),
    )
    repository.storage.delete(layout.outcome(snapshot))
    repository.outcomes.commit(replace(outcome, summary=replace(outcome.summary, root=root)))


def change(database: Database, value: int) -> None:
    database.execute("SELECT pg_current_xact_id()")
    database.execute(f"UPDATE t SET a = {value} WHERE id = 3000")


def fooled(
    database: Database,
    repository: Repository,
    *,
    name: str = "shop",
    read_in_full_at: datetime | None = None,
) -> list[SnapshotId]:
    """Three snapshots, the first one read in full; the last one's proof overlooks what changed since."""
    database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, a int DEFAULT 0, b text DEFAULT repeat('b', 100))",
        "CREATE TABLE quiet AS SELECT 1 AS a",
        "INSERT INTO t (id) SELECT generate_series(1, 3000)",
    )
    taken = [take(database, repository, name=name).snapshot for _ in range(3)]
    change(database, 9)
    falsify(repository, taken[-1], read_in_full_at=read_in_full_at)
    return taken


def test_a_refuted_proof_is_reported_and_remembered(database: Database) -> None:
    """The report names the table and the snapshots since the last full reading; the journal keeps it."""
    repository = make_repository(MemoryStorage())
    taken = fooled(database, repository)
    report = take(database, repository, full=True)
    assert list(map(str, report.refuted)) == ["public.t"]
    assert list(report.suspects) == taken[1:]
    (warning,) = (item for item in report.warnings if "public.t" in item)
    assert all(snapshot in warning for snapshot in taken[1:])
    assert taken[0] not in warning
    (entry,) = (
        step.entry
        for step in repository.journal.walk()
        if step.entry is not None and step.entry.kind == "proof refuted"
    )
    assert entry.facts["tables"] == ["public.t"]
    assert (entry.facts["snapshot"], entry.facts["parent"]) == (report.snapshot, taken[-1])
    assert take(database, repository, full=True).refuted == ()


def test_a_refuted_proof_reaches_the_exit_code(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 4, in JSON and in words, for one source and for all of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOLDFAST_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv("HOLDFAST_REPOSITORY", "./repo")
    (tmp_path / "holdfast.toml").write_text(f"[sources.shop]\nurl = {json.dumps(database.dsn)}\n")
    repository = make_repository(StorageSpec(url=str(tmp_path / "repo")).open(create_root=True))
    taken = fooled(database, repository)
    code = main(["backup", "shop", "--full", "--json", "--quiet"], Stop())
    document = json.loads(capsys.readouterr().out)
    assert (code, document["exit_code"]) == (EXIT_DAMAGED, EXIT_DAMAGED)
    assert document["state"] == "committed"
    assert (document["refuted"], document["suspects"]) == (["public.t"], taken[1:])

    again = take(database, repository)
    change(database, 8)
    falsify(repository, again.snapshot)
    assert main(["backup", "--all-sources", "--full", "--quiet"], Stop()) == EXIT_DAMAGED
    text = capsys.readouterr().out
    assert "DAMAGED: earlier snapshots may hold old rows of public.t" in text
    assert again.snapshot in text
    assert "1 source: 0 fine" in text
    assert "DAMAGED: shop" in text


def test_a_safety_snapshot_that_refutes_a_proof_reaches_the_restore(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A weekly full reading is due just then: the restore is done, and says so with exit code 4, in JSON and in
    words."""
    monkeypatch.setenv("HOLDFAST_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv("HOLDFAST_REPOSITORY", str(tmp_path / "repo"))
    repository = make_repository(StorageSpec(url=str(tmp_path / "repo")).open(create_root=True))
    safety, long_ago = f"{SAFETY_PREFIX}{database.name}", datetime.now(UTC) - timedelta(days=8)
    taken = fooled(database, repository, name=safety, read_in_full_at=long_ago)
    again = ["restore", taken[0], "--to", database.dsn, "--replace", database.name, "--quiet"]

    assert main([*again, "--json"], Stop()) == EXIT_DAMAGED
    document = json.loads(capsys.readouterr().out)
    assert (document["snapshot"], document["refuted"], document["suspects"]) == (
        taken[0],
        ["public.t"],
        taken,
    )
    told, touched, *_ = document["warnings"]
    assert told.startswith("safety snapshot: table public.t: rows had changed")
    assert f"snapshot {taken[0]}, which was restored, is one of those" in touched
    assert document["safety_snapshot"] not in taken
    assert database.rows("SELECT DISTINCT a FROM t") == [(0,)]

    change(database, 8)
    newest = take(database, repository, name=safety)
    change(database, 7)
    falsify(repository, newest.snapshot, read_in_full_at=long_ago)
    assert main(again, Stop()) == EXIT_DAMAGED
    text = capsys.readouterr().out
    assert "DAMAGED: earlier snapshots may hold old rows of public.t" in text
    assert f"snapshot {taken[0]} restored" in text
