"""Doctor's look at what protects a repository from its own credentials: rights, versions, locks, lifecycle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from holdfast.domain.errors import HoldfastError
from holdfast.domain.policy import RetentionPolicy
from holdfast.storage.bucket_rules import BucketRules, LifecycleRule
from holdfast.storage.object_lock import LockPolicy
from holdfast.storage.probe import PROBE_PREFIX
from holdfast.workflows.reports import Check, CheckStatus

POLICIES_HINT = "holdfast doctor --policies  # prints the smallest rights for writer, reader and collector"

_NO_LOCKS = {
    "gs": "holdfast locks no single objects in Google Cloud Storage: its owner sets the bucket's soft delete",
    "az": "holdfast locks no single objects in Azure: its owner sets versions and soft delete of blobs",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """What doctor needs to judge a repository's protection. `scheme` is "" for a folder; `rules` asks an S3
    bucket, None without botocore; `retention` is the policy by which its snapshots go, if there is one."""

    scheme: str = ""
    lock: LockPolicy | None = None
    rules: Callable[[], BucketRules] | None = None
    retention: RetentionPolicy | None = None


def check_protection(protection: Protection, *, deletes: bool | None) -> Iterator[Check]:
    """`deletes`: whether these credentials could delete what they had written; None if they wrote nothing."""
    if deletes is not None:
        yield from _check_rights(protection, deletes=deletes)
    if protection.scheme in _NO_LOCKS:
        yield _check("immutability", CheckStatus.FINE, _NO_LOCKS[protection.scheme])
    if protection.scheme == "s3":
        yield from _check_bucket(protection)
    if protection.lock is not None:
        yield from _check_period(protection.lock, protection.retention)


def _check(subject: str, status: CheckStatus, detail: str, remedy: str = "") -> Check:
    return Check(subject=subject, status=status, detail=detail, remedy=remedy)


def _check_rights(protection: Protection, *, deletes: bool) -> Iterator[Check]:
    if not deletes:
        detail = (
            f"these credentials cannot delete: right for a writer; what was tried stays below {PROBE_PREFIX}"
        )
        yield _check("deleting", CheckStatus.FINE, detail)
    elif not protection.scheme:
        detail = "who writes this folder can delete it: keep a copy that another account or host writes"
        yield _check("deleting", CheckStatus.FINE, detail)
    else:
        detail = "these credentials can delete: whoever steals them can destroy the backups"
        if protection.lock is not None:
            detail = "these credentials can delete: whoever steals them can hide what is locked"
        yield _check("deleting", CheckStatus.WARNING, detail, POLICIES_HINT)


def _check_bucket(protection: Protection) -> Iterator[Check]:
    lock = protection.lock
    if protection.rules is None:
        if lock is not None:
            detail = "the settings ask for locks, and botocore, which sets them, is not installed"
            yield _check("object lock", CheckStatus.MISSING, detail, "pip install botocore")
        return
    try:
        rules = protection.rules()
    except HoldfastError as error:
        yield _check("bucket", CheckStatus.WARNING, error.message, error.hint or "")
        return
    yield from _check_object_lock(rules, lock)
    yield from _check_lifecycle(rules)


def _check_object_lock(rules: BucketRules, lock: LockPolicy | None) -> Iterator[Check]:
    subject = "object lock"
    if lock is None:
        if rules.has_object_lock:
            detail = "the bucket has Object Lock, and this repository does not use it"
            remedy = 'add to its settings: lock = { mode = "governance", days = 30 }'
            yield _check(subject, CheckStatus.WARNING, detail, remedy)
    elif rules.has_object_lock is False:
        detail = (
            f"the settings ask for {lock.mode}, and the bucket has no Object Lock: nothing can be written"
        )
        remedy = "enable versioning and Object Lock on the bucket (aws s3api put-object-lock-configuration)"
        yield _check(subject, CheckStatus.MISSING, detail, remedy)
    elif rules.has_object_lock is None:
        detail = "these credentials may not see whether the bucket has Object Lock; the next backup tries it"
        yield _check(subject, CheckStatus.WARNING, detail, "allow s3:GetBucketObjectLockConfiguration")
    else:
        detail = f"{lock.mode}: every snapshot stays for {lock.period.days} days at least, whoever deletes it"
        yield _check(subject, CheckStatus.FINE, detail)
    if rules.default_retention:
        yield _check(
            subject,
            CheckStatus.WARNING,
            f"the bucket locks every object by default ({rules.default_retention}), also those that change with "
            "every run: they cannot be written, or their versions pile up",
            "aws s3api put-object-lock-configuration --bucket BUCKET "
            "--object-lock-configuration ObjectLockEnabled=Enabled",
        )


def _check_lifecycle(rules: BucketRules) -> Iterator[Check]:
    if rules.lifecycle is None:
        if rules.has_versions:
            detail = "these credentials may not see the bucket's lifecycle rules"
            yield _check("lifecycle", CheckStatus.WARNING, detail, "allow s3:GetLifecycleConfiguration")
        return
    for rule in rules.lifecycle:
        yield from _check_rule(rule)
    if rules.has_versions and not any(
        rule.expires_noncurrent_days is not None and not rule.prefix for rule in rules.lifecycle
    ):
        yield _check(
            "lifecycle",
            CheckStatus.WARNING,
            "the bucket keeps every version for ever: what is deleted or replaced never frees space",
            "add the lifecycle rule that holdfast doctor --policies prints",
        )


def _check_rule(rule: LifecycleRule) -> Iterator[Check]:
    name = f"lifecycle rule {rule.name!r}"
    harmless = rule.prefix.startswith(PROBE_PREFIX)
    if rule.expires_days is not None and not harmless:
        yield _check(
            "lifecycle",
            CheckStatus.MISSING,
            f"{name} deletes this repository's objects by age, whether or not a snapshot needs them",
            "remove its Expiration; holdfast prune decides what goes",
        )
    if rule.moves_to is not None and not harmless:
        yield _check(
            "lifecycle",
            CheckStatus.WARNING,
            f"{name} moves objects to {rule.moves_to}: a restore may have to wait for them, or fail",
            "leave out classes that must be restored before they can be read",
        )


def _check_period(lock: LockPolicy, retention: RetentionPolicy | None) -> Iterator[Check]:
    """A lock and a retention policy that disagree surprise somebody later."""
    longest = None if retention is None or not retention.chooses else reach_of(retention)
    days = lock.period.days
    if longest is None or longest > lock.period:
        kept = "for ever" if longest is None else f"for up to {longest.days} days"
        yield _check(
            "object lock",
            CheckStatus.WARNING,
            f"snapshots are kept {kept} and locked for {days} days: older ones are protected by rights alone",
            "raise days in the lock section, or accept it",
        )
    elif longest < lock.period:
        yield _check(
            "object lock",
            CheckStatus.WARNING,
            f"snapshots are kept for up to {longest.days} days and locked for {days}: what is pruned earlier "
            "frees no space until its lock ends",
            "lower days in the lock section, or accept it",
        )


def reach_of(retention: RetentionPolicy) -> timedelta | None:
    """How old a snapshot gets at most under a policy, as far as its rules say in time; None if they do not."""
    spans = [timedelta(0), *([retention.keep_within] if retention.keep_within else [])]
    lengths = {"hourly": 1 / 24, "daily": 1, "weekly": 7, "monthly": 31, "yearly": 366}
    spans += [timedelta(days=lengths[period.value] * count) for period, count in retention.calendar()]
    spans += [rule.keep for rule in retention.tags]
    longest = max(spans)
    return longest or None
