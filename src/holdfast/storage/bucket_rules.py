"""What a bucket of S3 is set to: versions, locks, and the lifecycle rules that act on a repository in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.domain.errors import HoldfastError, LackingRightsError, ObjectMissingError
from holdfast.storage.bucket import parse_bucket
from holdfast.storage.s3_client import S3Client, code_of

_NONE = {
    "ObjectLockConfigurationNotFoundError",
    "NoSuchObjectLockConfiguration",
    "NoSuchLifecycleConfiguration",
    "NotImplemented",
    "MethodNotAllowed",
    "InvalidRequest",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleRule:
    """One enabled rule that acts on the repository's objects, or on some of them. Days are None where it does no
    such thing; `moves_to` names another storage class."""

    name: str
    prefix: str
    expires_days: int | None
    expires_noncurrent_days: int | None
    aborts_uploads_days: int | None
    moves_to: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketRules:
    """`has_versions`, `has_object_lock` and `lifecycle` are None where these credentials may not look.
    `default_retention` says in words what the bucket locks by itself; empty if nothing."""

    has_versions: bool | None
    has_object_lock: bool | None
    default_retention: str
    lifecycle: tuple[LifecycleRule, ...] | None


def read_bucket_rules(url: str, options: Mapping[str, str]) -> BucketRules:
    """Ask the bucket itself. Raises `UnreachableError` and its kin, or `UsageError` without botocore."""
    client = S3Client(parse_bucket(url, options))
    versioning = _ask(client, "get_bucket_versioning", "read its versioning")
    lock = _ask(client, "get_object_lock_configuration", "read its object lock")
    lifecycle = _ask(client, "get_bucket_lifecycle_configuration", "read its lifecycle rules")
    locked = None if lock is None else lock.get("ObjectLockConfiguration", {})
    return BucketRules(
        has_versions=None if versioning is None else versioning.get("Status") == "Enabled",
        has_object_lock=None if locked is None else locked.get("ObjectLockEnabled") == "Enabled",
        default_retention=_default_of(locked or {}),
        lifecycle=None
        if lifecycle is None
        else tuple(_rules_for(client.key(""), lifecycle.get("Rules", ()))),
    )


def _ask(client: S3Client, operation: str, doing: str) -> dict[str, Any] | None:
    """None: these credentials may not look. Nothing: there is no such setting."""
    try:
        return client.ask(operation, doing)
    except LackingRightsError:
        return None
    except ObjectMissingError:
        return {}
    except HoldfastError as error:
        if code_of(error) in _NONE:
            return {}
        raise


def _default_of(configuration: Mapping[str, Any]) -> str:
    found = configuration.get("Rule", {}).get("DefaultRetention", {})
    if not found:
        return ""
    span = f"{found['Years']} years" if found.get("Years") else f"{found.get('Days')} days"
    return f"{str(found.get('Mode', '')).lower()} for {span}"


def _rules_for(base: str, rules: Iterable[Mapping[str, Any]]) -> Iterable[LifecycleRule]:
    for rule in rules:
        prefix = _prefix_of(rule)
        if rule.get("Status") != "Enabled" or not (prefix.startswith(base) or base.startswith(prefix)):
            continue
        moves = rule.get("Transitions") or ([rule["Transition"]] if "Transition" in rule else [])
        yield LifecycleRule(
            name=str(rule.get("ID", "")),
            prefix=prefix.removeprefix(base) if prefix.startswith(base) else "",
            expires_days=_expiry_of(rule.get("Expiration", {})),
            expires_noncurrent_days=rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays"),
            aborts_uploads_days=rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation"),
            moves_to=str(moves[0].get("StorageClass", "")) if moves else None,
        )


def _expiry_of(expiration: Mapping[str, Any]) -> int | None:
    """Also a fixed date counts, as the day on which all is gone."""
    if "Days" in expiration:
        return int(expiration["Days"])
    return 0 if "Date" in expiration else None


def _prefix_of(rule: Mapping[str, Any]) -> str:
    found = rule.get("Filter", {})
    return str(rule.get("Prefix") or found.get("Prefix") or found.get("And", {}).get("Prefix") or "")
