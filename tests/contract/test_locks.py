"""Locks on objects: set by the creating request, only ever growing, and never claimed where they are not."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from contract.conftest import new_prefix
from holdfast.domain.errors import (
    LackingRightsError,
    LockedObjectError,
    ObjectExistsError,
    ObjectMissingError,
    StorageUnusableError,
    UnreachableError,
    UsageError,
)
from holdfast.storage import Storage
from holdfast.storage.memory import MemoryStorage
from holdfast.storage.memory_locks import MemoryLocks
from holdfast.storage.object_lock import Locking, LockMode, LockPolicy, Locks
from holdfast.storage.spec import StorageSpec
from holdfast.storage.wrap import Counted, Retrying
from servers import s3_guarded
from servers.cutting import cutting_line
from servers.process import BUCKET, Server, deaf_port

PERIOD = timedelta(days=30)
LONGEST = timedelta(days=45)


def policy(mode: LockMode = LockMode.GOVERNANCE) -> LockPolicy:
    return LockPolicy(mode=mode, period=PERIOD, prefixes=("data/", "config"))


def open_locked(
    server: Server,
    *,
    mode: LockMode = LockMode.GOVERNANCE,
    bucket: str = BUCKET,
    prefix: str | None = None,
    access: dict[str, str] | None = None,
    endpoint: str | None = None,
    extra: str = "",
) -> Storage:
    url = server.url(prefix or new_prefix(), bucket=bucket, endpoint=endpoint, extra=extra)
    return StorageSpec(url=url, options=access or server.options, lock=policy(mode)).open()


def client_of(server: Server) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=s3_guarded.OWNER["access_key_id"],
        aws_secret_access_key=s3_guarded.OWNER["secret_access_key"],
    )


def retention(server: Server, prefix: str, name: str) -> tuple[str, datetime]:
    found = client_of(server).get_object_retention(Bucket=BUCKET, Key=f"{prefix}/{name}")["Retention"]
    return found["Mode"], found["RetainUntilDate"]


def locks_of(storage: Storage) -> Locks:
    assert storage.locks is not None
    return storage.locks


@pytest.mark.parametrize("mode", LockMode)
def test_a_created_object_is_locked_by_the_request_that_made_it(guarded: Server, mode: LockMode) -> None:
    """There is no moment without the lock: whoever deletes it at once is refused."""
    prefix = new_prefix()
    storage = open_locked(guarded, mode=mode, prefix=prefix)
    storage.create("data/one", b"rows")
    kept, until = retention(guarded, prefix, "data/one")
    assert kept == mode.upper()
    assert abs(until - datetime.now(UTC) - LONGEST) < timedelta(minutes=10)
    with pytest.raises(LockedObjectError, match=r"object data/one is locked until \d{4}-") as caught:
        storage.delete("data/one")
    assert caught.value.until == until
    assert storage.get("data/one") == b"rows"
    assert [info.name for info in storage.list("")] == ["data/one"]


def test_objects_that_must_change_are_never_locked(guarded: Server) -> None:
    """A writer's record is replaced and deleted as ever."""
    storage = open_locked(guarded)
    storage.create("writers/one", b"1")
    storage.replace("writers/one", b"2")
    storage.delete("writers/one")
    with pytest.raises(ObjectMissingError):
        storage.get("writers/one")


def test_a_taken_name_is_refused_and_a_race_has_one_winner(guarded: Server) -> None:
    """Create-once holds for locked objects as for others."""
    storage = open_locked(guarded)
    storage.create("data/first", b"first")
    with pytest.raises(ObjectExistsError):
        storage.create("data/first", b"second")
    start = threading.Barrier(4)

    def race(racer: int) -> int | None:
        start.wait()
        try:
            storage.create("data/race", bytes([racer]) * 100_000)
        except ObjectExistsError:
            return None
        return racer

    with ThreadPoolExecutor(4) as pool:
        winners = [racer for racer in pool.map(race, range(4)) if racer is not None]
    assert len(winners) == 1
    assert storage.get("data/race") == bytes(winners) * 100_000


def test_a_lost_answer_does_not_lose_the_object(guarded: Server) -> None:
    """The create is tried again, finds its own bytes, and means success; nothing inside hides the first try."""
    with cutting_line(guarded.port) as line:
        inside = Counted(open_locked(guarded, endpoint=line.endpoint))
        storage = Retrying(inside, sleep=lambda _: None)
        storage.create("data/warm", b"the connection and the checks")
        before = inside.traffic()["create"].requests
        line.cuts = 1
        storage.create("data/lost", b"rows")
        assert line.swallowed == 1
        assert inside.traffic()["create"].requests - before == 2
        assert storage.get("data/lost") == b"rows"


def test_a_lock_is_extended_and_never_shortened(guarded: Server) -> None:
    """Extending twice does no harm, a shorter date leaves the longer one, and a missing object is told."""
    prefix = new_prefix()
    storage = open_locked(guarded, prefix=prefix)
    locks = locks_of(storage)
    storage.create("data/one", b"rows")
    far = locks.now() + timedelta(days=100)
    locks.extend("data/one", until=far)
    locks.extend("data/one", until=far)
    locks.extend("data/one", until=far - timedelta(days=50))
    assert abs(retention(guarded, prefix, "data/one")[1] - far) < timedelta(seconds=2)
    with pytest.raises(ObjectMissingError):
        locks.extend("data/none", until=far)


def test_what_was_locked_more_strictly_is_extended_as_strictly(guarded: Server) -> None:
    """After a change from compliance to governance, old objects are kept as they were promised to be."""
    prefix = new_prefix()
    open_locked(guarded, mode=LockMode.COMPLIANCE, prefix=prefix).create("data/one", b"rows")
    locks = locks_of(open_locked(guarded, prefix=prefix))
    far = locks.now() + timedelta(days=100)
    locks.extend("data/one", until=far)
    mode, until = retention(guarded, prefix, "data/one")
    assert mode == "COMPLIANCE"
    assert abs(until - far) < timedelta(seconds=2)


def test_an_object_from_before_the_locks_is_locked_by_extending(guarded: Server) -> None:
    """Locks may be switched on later: what has none gets one."""
    prefix = new_prefix()
    plain = StorageSpec(url=guarded.url(prefix), options=guarded.options).open()
    plain.create("data/old", b"rows")
    storage = open_locked(guarded, prefix=prefix)
    locks = locks_of(storage)
    locks.extend("data/old", until=locks.now() + PERIOD)
    with pytest.raises(LockedObjectError):
        storage.delete("data/old")


def test_deleting_what_is_free_removes_every_version(guarded: Server) -> None:
    """Space comes back: no earlier version and no marker is left."""
    prefix = new_prefix()
    plain = StorageSpec(url=guarded.url(prefix), options=guarded.options).open()
    plain.create("data/old", b"rows")
    plain.replace("data/old", b"more rows")
    storage = open_locked(guarded, prefix=prefix)
    storage.delete("data/old")
    found = client_of(guarded).list_object_versions(Bucket=BUCKET, Prefix=f"{prefix}/")
    assert not found.get("Versions")
    assert not found.get("DeleteMarkers")
    storage.delete("data/old")


def test_an_object_hidden_by_a_thief_is_brought_back(guarded: Server) -> None:
    """A delete without a version only hides; the way back is a command that works as it is written."""
    prefix = new_prefix()
    storage = open_locked(guarded, prefix=prefix)
    locks = locks_of(storage)
    storage.create("data/one", b"rows")
    assert locks.way_back("data/one") == ""
    thief = StorageSpec(url=guarded.url(prefix), options=guarded.options).open()
    thief.delete("data/one")
    with pytest.raises(ObjectMissingError):
        storage.get("data/one")
    assert [version.is_marker for version in locks.earlier("data/one")] == [True, False]
    words = locks.way_back("data/one").split()
    assert words[:3] == ["aws", "s3api", "delete-object"]
    options = dict(zip(words[3::2], words[4::2], strict=True))
    client_of(guarded).delete_object(
        Bucket=options["--bucket"], Key=options["--key"], VersionId=options["--version-id"]
    )
    assert storage.get("data/one") == b"rows"


def test_a_bucket_without_object_lock_is_refused_before_anything_is_written(guarded: Server) -> None:
    """A lock that the bucket cannot keep is not promised."""
    storage = open_locked(guarded, bucket=s3_guarded.PLAIN_BUCKET)
    with pytest.raises(StorageUnusableError, match="keeps no locks on objects") as caught:
        storage.create("data/one", b"rows")
    assert "enable versioning and Object Lock" in str(caught.value.hint)
    assert list(storage.list("")) == []


def test_a_bucket_with_locks_whose_server_sets_none_is_caught(guarded: Server) -> None:
    """Its settings say yes, its objects say no: the first one is looked at."""
    storage = open_locked(guarded, access=s3_guarded.access(s3_guarded.DEAF))
    with pytest.raises(StorageUnusableError, match="keeps no locks on objects"):
        storage.create("data/one", b"rows")


def test_locks_cost_two_requests_for_a_whole_run(guarded: Server) -> None:
    """The bucket is asked once, one object is looked at once; each create stays one request."""
    key = f"key-{new_prefix()}"
    storage = open_locked(guarded, access=s3_guarded.access(key))
    for number in range(10):
        storage.create(f"data/{number}", b"rows")
    assert s3_guarded.asked(guarded, key) == {"PUT": 10, "GET object-lock": 1, "GET retention": 1}


def test_a_server_that_ignores_locks_is_caught(rclone: Server) -> None:
    """It takes every header without a word; an object without the lock that it should have is an error."""
    storage = open_locked(rclone, access=dict(rclone.options))
    with pytest.raises((StorageUnusableError, UnreachableError)):
        storage.create("data/one", b"rows")


def test_rights_that_are_lacking_are_named(guarded: Server) -> None:
    """Locking needs a right of its own, and the message says which."""
    rights = s3_guarded.guard(
        guarded,
        "no-retention",
        {
            "Statement": [
                {"Effect": "Allow", "Action": ["s3:PutObject", "s3:Get*", "s3:ListBucket"], "Resource": "*"}
            ]
        },
    )
    storage = open_locked(guarded, access=rights)
    with pytest.raises(LackingRightsError) as caught:
        storage.create("data/one", b"rows")
    assert "s3:PutObjectRetention" in str(caught.value.hint)
    assert not isinstance(caught.value, LockedObjectError)


def test_a_server_that_is_not_there_is_unreachable(guarded: Server) -> None:
    """In the words that any storage has for it, and with no secret in them."""
    with deaf_port() as port:
        storage = open_locked(guarded, endpoint=f"http://127.0.0.1:{port}", extra="&timeout=1")
        with pytest.raises(UnreachableError) as caught:
            storage.create("data/one", b"rows")
    assert s3_guarded.OWNER["secret_access_key"] not in str(caught.value)


@pytest.mark.parametrize("url", ["memory:", "az://container/prefix?account=a", "gs://bucket/prefix"])
def test_locks_are_refused_where_there_are_none(url: str) -> None:
    """A setting that would do nothing is an error."""
    with pytest.raises(UsageError, match="has no locks on objects"):
        StorageSpec(url=url, lock=policy()).open()


class TestMemory:
    """The same promises in memory, by a clock that tests may turn."""

    @pytest.fixture
    def hours(self) -> list[int]:
        return [0]

    @pytest.fixture
    def storage(self, hours: list[int]) -> Storage:
        def clock() -> datetime:
            return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours[0])

        memory = MemoryStorage()
        return Locking(memory, MemoryLocks(memory, policy(), clock=clock))

    def test_a_lock_ends(self, storage: Storage, hours: list[int]) -> None:
        """Locked for a period and a half, free after it."""
        storage.create("data/one", b"rows")
        hours[0] = 45 * 24 - 1
        with pytest.raises(LockedObjectError, match="until 2026-02-15 00:00 UTC"):
            storage.delete("data/one")
        hours[0] += 1
        storage.delete("data/one")
        assert list(storage.list("")) == []

    def test_extending_only_adds(self, storage: Storage, hours: list[int]) -> None:
        """A shorter date changes nothing."""
        locks = locks_of(storage)
        storage.create("data/one", b"rows")
        locks.extend("data/one", until=locks.now() + timedelta(days=60))
        locks.extend("data/one", until=locks.now() + timedelta(days=1))
        hours[0] = 59 * 24
        with pytest.raises(LockedObjectError):
            storage.delete("data/one")

    def test_wrappers_hand_the_locks_on(self, storage: Storage) -> None:
        """Whoever holds a wrapped storage reaches its locks."""
        assert Retrying(Counted(storage)).locks is storage.locks
