"""Doctor on a real bucket: what protects the repository from its own credentials, and what would undo it."""

from __future__ import annotations

import secrets
from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from typing import Any

import boto3
import pytest

from holdfast.domain.policy import RetentionPolicy, TagRule
from holdfast.repository import layout
from holdfast.storage.bucket_rules import read_bucket_rules
from holdfast.storage.memory import MemoryStorage
from holdfast.storage.object_lock import LockMode, LockPolicy
from holdfast.storage.spec import StorageSpec
from holdfast.workflows.doctor import doctor
from holdfast.workflows.doctor_bucket import Protection, check_protection, reach_of
from holdfast.workflows.policies import policies_for
from holdfast.workflows.reports import Check, CheckStatus
from servers import s3_guarded
from servers.process import Server

LOCK = LockPolicy(mode=LockMode.GOVERNANCE, period=timedelta(days=30), prefixes=layout.LOCKED)
MONTH = RetentionPolicy(keep_within=timedelta(days=30))


class Bucket:
    """A bucket of one test's own."""

    def __init__(self, server: Server, **options: Any) -> None:
        self.server = server
        self.name = f"bucket-{secrets.token_hex(6)}"
        self.client = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            region_name="us-east-1",
            aws_access_key_id=s3_guarded.OWNER["access_key_id"],
            aws_secret_access_key=s3_guarded.OWNER["secret_access_key"],
        )
        self.client.create_bucket(Bucket=self.name, **options)

    def examine(
        self,
        *,
        access: dict[str, str] | None = None,
        lock: LockPolicy | None = None,
        retention: RetentionPolicy | None = None,
    ) -> dict[str, list[Check]]:
        spec = StorageSpec(
            url=self.server.url("shop", bucket=self.name), options=access or self.server.options, lock=lock
        )
        protection = Protection(
            scheme="s3",
            lock=lock,
            rules=partial(read_bucket_rules, spec.url, spec.options),
            retention=retention,
        )
        report = doctor(
            address=None, storage=lambda: nullcontext(spec.open()), repository=None, protection=protection
        )
        found: dict[str, list[Check]] = {}
        for check in report.checks:
            found.setdefault(check.subject, []).append(check)
        return found

    def add_rules(self, *rules: dict[str, Any]) -> None:
        self.client.put_bucket_lifecycle_configuration(
            Bucket=self.name, LifecycleConfiguration={"Rules": list(rules)}
        )


@pytest.fixture
def with_locks(guarded: Server) -> Bucket:
    return Bucket(guarded, ObjectLockEnabledForBucket=True)


@pytest.fixture
def plain(guarded: Server) -> Bucket:
    return Bucket(guarded)


def statuses(checks: list[Check]) -> list[CheckStatus]:
    return [check.status for check in checks]


def test_a_sound_bucket_needs_nothing_more(with_locks: Bucket) -> None:
    """Locks as asked for, the printed lifecycle rules, a writer with the printed rights: nothing to warn of."""
    report = policies_for(scheme="s3", bucket=with_locks.name, prefix="shop", address="", locks=True)
    assert report.lifecycle is not None
    with_locks.add_rules(*report.lifecycle["Rules"])
    writer = s3_guarded.guard(with_locks.server, f"writer-{with_locks.name}", report.policies[0].document)
    found = with_locks.examine(access=writer, lock=LOCK, retention=MONTH)
    assert {check.status for checks in found.values() for check in checks} == {CheckStatus.FINE}
    assert "cannot delete" in found["deleting"][0].detail
    assert found["object lock"][0].detail.startswith("governance: every snapshot stays for 30 days")


def test_credentials_that_can_delete_are_a_warning(plain: Bucket) -> None:
    """And the hint leads to the policies."""
    [check] = plain.examine()["deleting"]
    assert check.status is CheckStatus.WARNING
    assert "whoever steals them" in check.detail
    assert "holdfast doctor --policies" in check.remedy


def test_locks_that_the_bucket_cannot_keep_are_missing(plain: Bucket) -> None:
    """Found before the first backup fails of it."""
    assert statuses(plain.examine(lock=LOCK)["object lock"])[0] is CheckStatus.MISSING


def test_locks_that_are_not_used_are_mentioned(with_locks: Bucket) -> None:
    """A bucket made for locks whose repository sets none is an oversight."""
    [check] = with_locks.examine()["object lock"]
    assert check.status is CheckStatus.WARNING
    assert "lock = {" in check.remedy


def test_a_default_retention_is_a_warning(with_locks: Bucket) -> None:
    """It also locks the records that change with every run."""
    with_locks.client.put_object_lock_configuration(
        Bucket=with_locks.name,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 3}},
        },
    )
    checks = with_locks.examine(lock=LOCK, retention=MONTH)["object lock"]
    assert statuses(checks) == [CheckStatus.FINE, CheckStatus.WARNING]
    assert "by default (compliance for 3 days)" in checks[1].detail


def test_versions_without_a_lifecycle_rule_are_a_warning(with_locks: Bucket) -> None:
    """Nothing that is deleted would ever free space."""
    [check] = with_locks.examine(lock=LOCK)["lifecycle"]
    assert check.status is CheckStatus.WARNING
    assert "never frees space" in check.detail


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        ({"Filter": {"Prefix": ""}, "Expiration": {"Days": 90}}, CheckStatus.MISSING),
        ({"Filter": {"Prefix": "shop/data/"}, "Expiration": {"Days": 90}}, CheckStatus.MISSING),
        ({"Filter": {"Prefix": "shop/probe/"}, "Expiration": {"Days": 1}}, None),
        ({"Filter": {"Prefix": "other/"}, "Expiration": {"Days": 1}}, None),
        (
            {"Filter": {"Prefix": ""}, "Transitions": [{"Days": 30, "StorageClass": "GLACIER"}]},
            CheckStatus.WARNING,
        ),
    ],
)
def test_rules_that_act_on_live_objects_are_found(
    plain: Bucket, rule: dict[str, Any], status: CheckStatus | None
) -> None:
    """A rule that deletes by age deletes what snapshots need; one for other prefixes is none of our business."""
    plain.add_rules({"ID": "tidy", "Status": "Enabled", **rule})
    found = plain.examine().get("lifecycle", [])
    assert statuses(found) == ([] if status is None else [status])
    assert all("'tidy'" in check.detail for check in found)


def test_a_disabled_rule_does_nothing(plain: Bucket) -> None:
    """So there is nothing to say."""
    plain.add_rules({"ID": "off", "Status": "Disabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}})
    assert "lifecycle" not in plain.examine()


def test_credentials_that_may_not_look_are_told_what_to_allow(with_locks: Bucket) -> None:
    """Not seeing is not the same as not being there."""
    rights = ["s3:PutObject", "s3:GetObject", "s3:ListBucket", "s3:GetBucketVersioning"]
    blind = s3_guarded.guard(
        with_locks.server,
        f"blind-{with_locks.name}",
        {"Statement": [{"Effect": "Allow", "Action": rights, "Resource": "*"}]},
    )
    found = with_locks.examine(access=blind, lock=LOCK, retention=MONTH)
    assert [check.remedy for check in found["object lock"]] == ["allow s3:GetBucketObjectLockConfiguration"]
    assert [check.remedy for check in found["lifecycle"]] == ["allow s3:GetLifecycleConfiguration"]


def test_locks_without_botocore_are_missing() -> None:
    """The extra is named; without locks in the settings nobody misses it."""
    wanted = Protection(scheme="s3", lock=LOCK, retention=MONTH)
    checks = list(check_protection(wanted, deletes=False))
    assert [check.remedy for check in checks if check.status is CheckStatus.MISSING] == [
        "pip install botocore"
    ]
    assert {check.status for check in check_protection(Protection(scheme="s3"), deletes=False)} == {
        CheckStatus.FINE
    }


@pytest.mark.parametrize(
    ("scheme", "said"),
    [("gs", "Google Cloud Storage"), ("az", "Azure"), ("", "who writes this folder can delete it")],
)
def test_where_nothing_is_locked_it_is_said(scheme: str, said: str) -> None:
    """Plainly, so that nobody believes otherwise."""
    details = [check.detail for check in check_protection(Protection(scheme=scheme), deletes=True)]
    assert any(said in detail for detail in details)


@pytest.mark.parametrize(
    ("policy", "status"),
    [
        (None, CheckStatus.WARNING),
        (RetentionPolicy(), CheckStatus.WARNING),
        (RetentionPolicy(daily=7), CheckStatus.WARNING),
        (RetentionPolicy(monthly=12), CheckStatus.WARNING),
        (RetentionPolicy(keep_within=timedelta(days=30), hourly=24), None),
    ],
)
def test_a_period_that_does_not_fit_the_retention_is_a_warning(
    policy: RetentionPolicy | None, status: CheckStatus | None
) -> None:
    """Longer: space comes back late. Shorter, or kept for ever: old snapshots are not locked any more."""
    protection = Protection(scheme="", lock=LOCK, retention=policy)
    found = [item for item in check_protection(protection, deletes=False) if item.subject == "object lock"]
    assert statuses(found) == ([] if status is None else [status])


def test_how_far_a_retention_reaches() -> None:
    """The longest of its rules; a count of snapshots says nothing of time."""
    assert reach_of(RetentionPolicy(keep_last=10)) is None
    tags = (TagRule(tag="x", keep=timedelta(days=50)),)
    assert reach_of(RetentionPolicy(daily=7, weekly=4, tags=tags)) == timedelta(days=50)
    assert reach_of(RetentionPolicy(daily=7, monthly=2)) == timedelta(days=62)


def test_a_folder_is_no_warning() -> None:
    """Everybody can delete in a folder; a warning that nobody can mend is noise."""
    report = doctor(address=None, storage=lambda: nullcontext(MemoryStorage()), repository=None)
    assert {check.status for check in report.checks} == {CheckStatus.FINE}
