"""Whole journeys with the rights that doctor prints, and no others: a writer that cannot delete loses nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import psycopg
import pytest

import snapshots
from contract.conftest import new_prefix
from holdfast.domain.errors import LackingRightsError, LockedObjectError, ObjectMissingError
from holdfast.domain.ids import SnapshotId
from holdfast.postgres.address import ServerAddress
from holdfast.repository import layout
from holdfast.repository.collecting.rules import CollectionRules
from holdfast.repository.keys.secrets import Secrets
from holdfast.repository.registers.outcomes import Aborted
from holdfast.repository.repo import Repository, open_repository
from holdfast.repository.runs.predecessors import find_predecessors
from holdfast.storage import Storage
from holdfast.storage.bucket import parse_bucket
from holdfast.storage.object_lock import LockMode, LockPolicy
from holdfast.storage.spec import StorageSpec
from holdfast.storage.wrap import Retrying
from holdfast.workflows.backup import BackupOptions, BackupSource, backup
from holdfast.workflows.collect import apply_collection
from holdfast.workflows.policies import policies_for
from holdfast.workflows.removal import bury
from holdfast.workflows.restore import RestoreOptions, restore
from holdfast.workflows.verify import verify
from postgres_servers import Database, ServerPool
from repositories import PASSPHRASE, make_repository
from servers import s3_guarded
from servers.process import BUCKET, Server

RULES = CollectionRules(share=1.0)
LOCK = LockPolicy(
    mode=LockMode.GOVERNANCE,
    period=timedelta(days=30),
    prefixes=layout.LOCKED,
    hidden=layout.HIDDEN,
)


class Place:
    """One repository on the guarded server, opened with the rights of each part."""

    def __init__(self, server: Server, *, locks: bool) -> None:
        self.server = server
        self.lock = LOCK if locks else None
        self.prefix = new_prefix()
        bucket = parse_bucket(server.url(self.prefix), server.options)
        report = policies_for(
            scheme="s3", bucket=bucket.name, prefix=bucket.prefix, address=bucket.address, locks=locks
        )
        self.rights = {
            policy.role: s3_guarded.guard(server, f"{policy.role}-{self.prefix}", policy.document)
            for policy in report.policies
        }
        self.rights["owner"] = dict(server.options)
        make_repository(self.storage("owner"))

    def storage(self, role: str) -> Storage:
        spec = StorageSpec(url=self.server.url(self.prefix), options=self.rights[role], lock=self.lock)
        return Retrying(spec.open(), sleep=lambda _: None)

    def open(self, role: str) -> Repository:
        return open_repository(self.storage(role), Secrets(passphrase=PASSPHRASE))

    def names(self, prefix: str = "") -> list[str]:
        return [info.name for info in self.storage("owner").list(prefix)]

    def versions(self, prefix: str = "") -> list[dict[str, Any]]:
        client = boto3.client(
            "s3",
            endpoint_url=self.server.endpoint,
            region_name="us-east-1",
            aws_access_key_id=s3_guarded.OWNER["access_key_id"],
            aws_secret_access_key=s3_guarded.OWNER["secret_access_key"],
        )
        found = client.list_object_versions(Bucket=BUCKET, Prefix=f"{self.prefix}/{prefix}")
        return list(found.get("Versions", []))


@pytest.fixture(params=[False, True], ids=["plain", "locked"])
def place(request: pytest.FixtureRequest, guarded: Server) -> Place:
    return Place(guarded, locks=request.param)


@pytest.fixture
def locked(guarded: Server) -> Place:
    return Place(guarded, locks=True)


def later(**delta: float) -> Callable[[], datetime]:
    return lambda: datetime.now(UTC) + timedelta(**delta)


def collect_twice(repository: Repository) -> Any:
    apply_collection(repository, rules=RULES, clock=later())
    return apply_collection(repository, rules=RULES, clock=later(days=8))


def test_a_database_is_backed_up_and_brought_back_without_a_right_to_delete(
    place: Place, pg: ServerPool, database: Database, request: pytest.FixtureRequest
) -> None:
    """The writer takes two snapshots and verifies them at every level; the reader restores."""
    database.execute("create table t as select i, md5(i::text) as text from generate_series(1, 20000) i")
    writer = place.open("writer")
    source = BackupSource(name="shop", address=ServerAddress.parse(database.dsn))
    backup(source, writer, options=BackupOptions())
    database.execute("insert into t values (0, 'late')")
    report = backup(source, writer, options=BackupOptions())
    assert report.parent is not None
    for level in range(4):
        assert verify(writer, None, level=level).findings == ()
    assert all(writer.writers.read(snapshot).finished for snapshot in writer.writers.names())
    target = pg().dsn(f"{database.name}_back")
    request.addfinalizer(lambda: pg().drop_database(f"{database.name}_back"))
    restore(
        place.open("reader"),
        report.snapshot,
        ServerAddress.parse(target),
        options=RestoreOptions(create=True),
    )
    query = "select count(*), md5(string_agg(text, '' order by i)) from t"
    with psycopg.connect(target) as connection:
        assert connection.execute(query).fetchall() == database.rows(query)


def test_a_crashed_run_is_adopted_without_a_right_to_delete(place: Place) -> None:
    """Fencing writes; it deletes nothing. Nor does the commit, which also points the head."""
    writer = place.open("writer")
    with snapshots.begin(writer) as died:
        rows = b"1\n" * 100
        snapshots.leave(died, rows)
        died.give_up()
    [crashed] = find_predecessors(writer, "shop", now=datetime.now(UTC)).crashed
    assert crashed.snapshot == died.snapshot
    with snapshots.begin(writer) as run:
        assert len(run.adopt((crashed,))) == 1
        summary = snapshots.commit(run, {"t": [rows]})
    assert run.warnings == ()
    assert isinstance(writer.outcomes.read(died.snapshot), Aborted)
    assert verify(writer, None, level=3).findings == ()
    assert writer.heads.find("shop") == summary.snapshot
    assert writer.writers.read(summary.snapshot).finished


def test_a_stolen_writer_can_neither_delete_nor_overwrite_nor_remove_snapshots(place: Place) -> None:
    """Tried on every object; only the records that change with every run may be replaced."""
    writer = place.open("writer")
    summary = snapshots.take(writer, {"t": [b"1\n", b"2\n"]})
    before = place.names()
    thief = StorageSpec(url=place.server.url(place.prefix), options=place.rights["writer"]).open()
    for name in before:
        with pytest.raises(LackingRightsError):
            thief.delete(name)
        if not name.startswith((layout.WRITERS, layout.HEADS)):
            with pytest.raises(LackingRightsError):
                thief.replace(name, b"rubbish")
    with pytest.raises(LackingRightsError):
        thief.create(layout.tombstone(summary.snapshot, 1), b"rubbish")
    with pytest.raises(LackingRightsError):
        thief.create(f"{layout.KEYS}00000001/mine", b"rubbish")
    assert place.names() == before
    assert verify(place.open("owner"), None, level=3).findings == ()


def test_a_reader_writes_nothing_but_its_own_record(place: Place) -> None:
    """It can take no snapshot, and it can destroy none."""
    snapshots.take(place.open("writer"), {"t": [b"1\n"]})
    reader = place.storage("reader")
    for name in (f"{layout.DATA}x/00/1", f"{layout.OUTCOMES}x", f"{layout.JOURNAL}000000000009"):
        with pytest.raises(LackingRightsError):
            reader.create(name, b"rubbish")
    for name in place.names():
        with pytest.raises(LackingRightsError):
            reader.delete(name)


def two_snapshots(place: Place) -> tuple[SnapshotId, SnapshotId]:
    writer = place.open("writer")
    first = snapshots.take(writer, {"t": [b"1\n" * 1000]})
    second = snapshots.take(writer, {"t": [b"2\n" * 1000]})
    return first.snapshot, second.snapshot


def test_the_collector_removes_what_nobody_needs(guarded: Server) -> None:
    """With its own few rights; what is hidden is still there as a version, for the lifecycle rule to take."""
    place = Place(guarded, locks=False)
    first, second = two_snapshots(place)
    collector = place.open("collector")
    bury(collector, {first: "test"}, by="test", clock=later())
    report = collect_twice(collector)
    assert report.collected == (first,)
    assert report.later.objects == 0
    assert not any(first in name for name in place.names(layout.DATA))
    assert any(first in version["Key"] for version in place.versions(layout.DATA))
    assert verify(place.open("owner"), None, level=3).findings == ()
    assert [item.snapshot for item in collector.committed()] == [second]


def test_what_is_locked_is_collected_later(locked: Place) -> None:
    """Access denied by a lock is no error: the report says how much stays, and until when."""
    first, second = two_snapshots(locked)
    collector = locked.open("collector")
    bury(collector, {first: "test"}, by="test", clock=later())
    kept = locked.names(layout.DATA)
    report = collect_twice(collector)
    assert report.deleted.objects == 0
    assert report.later.objects > 0
    assert report.later_until is not None
    assert report.later_until - datetime.now(UTC) > timedelta(days=44)
    assert locked.names(layout.DATA) == kept
    assert verify(locked.open("owner"), [second], level=3).findings == ()


def test_whatever_a_stolen_collector_deletes_comes_back(locked: Place) -> None:
    """It hides objects by deleting around us; not one byte is lost, and the way back works for each."""
    two_snapshots(locked)
    names = [name for name in locked.names() if name.startswith((layout.DATA, layout.META))]
    thief = StorageSpec(url=locked.server.url(locked.prefix), options=locked.rights["collector"]).open()
    for name in names:
        thief.delete(name)
        with pytest.raises(ObjectMissingError):
            thief.get(name)
    owner = locked.open("owner")
    findings = verify(owner, None, level=1).findings
    assert findings
    assert all("aws s3api delete-object" in finding.problem for finding in findings)
    locks = owner.storage.locks
    assert locks is not None
    for name in names:
        words = locks.way_back(name).split()
        options = dict(zip(words[3::2], words[4::2], strict=True))
        boto3.client(
            "s3",
            endpoint_url=options["--endpoint-url"],
            region_name="us-east-1",
            aws_access_key_id=s3_guarded.OWNER["access_key_id"],
            aws_secret_access_key=s3_guarded.OWNER["secret_access_key"],
        ).delete_object(Bucket=options["--bucket"], Key=options["--key"], VersionId=options["--version-id"])
    assert verify(owner, None, level=3).findings == ()


def test_no_part_may_bypass_a_lock_or_delete_versions(locked: Place) -> None:
    """Also with the one header, and by the version's id."""
    two_snapshots(locked)
    version = locked.versions(layout.DATA)[0]
    for role in ("writer", "reader", "collector"):
        access = locked.rights[role]
        client = boto3.client(
            "s3",
            endpoint_url=locked.server.endpoint,
            region_name="us-east-1",
            aws_access_key_id=access["access_key_id"],
            aws_secret_access_key=access["secret_access_key"],
        )
        for bypass in (False, True):
            with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
                client.delete_object(
                    Bucket=BUCKET,
                    Key=version["Key"],
                    VersionId=version["VersionId"],
                    **({"BypassGovernanceRetention": True} if bypass else {}),
                )


def test_a_removed_key_slot_opens_nothing_although_it_is_locked(locked: Place) -> None:
    """Its bytes stay as an earlier version; for us it is gone."""
    owner = locked.storage("owner")
    owner.create(f"{layout.KEYS}00000001/other", b"{}")
    owner.delete(f"{layout.KEYS}00000001/other")
    assert f"{layout.KEYS}00000001/other" not in locked.names(layout.KEYS)
    assert len(locked.versions(f"{layout.KEYS}00000001/other")) == 1
    with pytest.raises(LockedObjectError):
        owner.delete(layout.CONFIG)


@pytest.fixture
def printed() -> dict[str, Any]:
    report = policies_for(scheme="s3", bucket="b", prefix="p", address="s3://b/p", locks=True)
    return {policy.role: policy.document for policy in report.policies}


def test_the_printed_policies_are_what_providers_take(printed: dict[str, Any]) -> None:
    """JSON, one version, no wildcard action, no resource outside the repository, no right to bypass."""
    for document in printed.values():
        assert document["Version"] == "2012-10-17"
        text = json.dumps(document)
        assert "Bypass" not in text
        assert "DeleteObjectVersion" not in text
        for statement in document["Statement"]:
            assert not any("*" in action for action in statement["Action"])
            resource = statement["Resource"]
            for arn in [resource] if isinstance(resource, str) else resource:
                assert arn == "arn:aws:s3:::b" or arn.startswith("arn:aws:s3:::b/p/")
    assert not any("Delete" in action for part in ("writer", "reader") for action in _actions(printed[part]))


def _actions(document: dict[str, Any]) -> list[str]:
    return [action for statement in document["Statement"] for action in statement["Action"]]
