"""S3 Object Lock, object by object.

A server that takes the request and ignores the lock would let us promise what is not so: so each process asks once
whether the bucket has Object Lock, and looks once whether an object that it created is locked indeed.
"""

from __future__ import annotations

import hashlib
import threading
from base64 import b64encode
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from holdfast.domain.errors import (
    LackingRightsError,
    LockedObjectError,
    ObjectExistsError,
    ObjectMissingError,
    StorageUnusableError,
    UnreachableError,
)
from holdfast.storage import Buffer
from holdfast.storage.bucket import Bucket
from holdfast.storage.object_lock import LockPolicy, Version
from holdfast.storage.s3_client import S3Client, code_of

_NO_LOCK = {
    "NoSuchObjectLockConfiguration",
    "ObjectLockConfigurationNotFoundError",
    "InvalidRequest",
    "MethodNotAllowed",
    "NotImplemented",
}
_ROUNDING = timedelta(seconds=2)


class S3Locks:
    """Locks in one bucket of S3, by one policy."""

    def __init__(self, bucket: Bucket, policy: LockPolicy) -> None:
        self._client = S3Client(bucket)
        self._policy = policy
        self._guard = threading.Lock()
        self._is_asked = False
        self._is_enabled = False
        self._is_seen = False
        self._only_hides = False

    @property
    def policy(self) -> LockPolicy:
        return self._policy

    def now(self) -> datetime:
        self._ask_once()
        now = self._client.now
        if now is None:
            raise StorageUnusableError(
                f"{self._client.bucket.address} does not tell its time, so no lock can be set",
                hint="use a server that sends a Date with its answers",
            )
        return now

    def create(self, name: str, data: Buffer, *, once: bool) -> None:
        until = _whole(self.now() + self._policy.longest)
        body = data if isinstance(data, bytes) else bytes(data)
        arguments: dict[str, Any] = {"IfNoneMatch": "*"} if once else {}
        try:
            self._client.ask(
                "put_object",
                f"write {name}",
                again=False,
                Key=self._client.key(name),
                Body=body,
                ContentMD5=b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode(),
                ObjectLockMode=self._policy.mode.upper(),
                ObjectLockRetainUntilDate=until,
                **arguments,
            )
        except StorageUnusableError as error:
            if code_of(error) == "PreconditionFailed":
                raise ObjectExistsError(name) from error
            raise
        except LackingRightsError as error:
            error.hint = "allow these credentials s3:PutObject and s3:PutObjectRetention in the bucket"
            raise
        self._see_once(name, until)

    def extend(self, name: str, *, until: datetime) -> None:
        self._ask_once()
        try:
            self._retain(name, self._policy.mode.upper(), until)
        except (LackingRightsError, StorageUnusableError) as error:
            mode, kept_until = self._retention(name)
            if mode is None or kept_until is None:
                error.hint = "allow these credentials s3:PutObjectRetention in the bucket"
                raise
            if kept_until + _ROUNDING < until:
                # Nothing may be shortened or loosened: what is locked more strictly is extended in that mode.
                self._retain(name, mode, until)

    def remove(self, name: str) -> bool:
        if self._only_hides:
            self._refuse_locked(name, None)
            return False
        try:
            versions = self.earlier(name)
        except LackingRightsError:
            return self._hide(name, None)
        for version in versions:
            try:
                self._client.ask(
                    "delete_object",
                    f"delete {name}",
                    Key=self._client.key(name),
                    VersionId=version.version,
                )
            except LackingRightsError:
                return self._hide(name, None if version.is_marker else version.version)
            except StorageUnusableError:
                # Not every server says 403 of what is locked.
                self._refuse_locked(name, version.version)
                raise
        return True

    def earlier(self, name: str) -> tuple[Version, ...]:
        key = self._client.key(name)
        found = self._client.ask("list_object_versions", f"list versions of {name}", Prefix=key)
        versions = [
            _version(item, is_marker=is_marker)
            for kind, is_marker in (("Versions", False), ("DeleteMarkers", True))
            for item in found.get(kind, ())
            if item["Key"] == key
        ]
        return tuple(sorted(versions, key=lambda item: (item.is_latest, item.modified_at), reverse=True))

    def way_back(self, name: str) -> str:
        versions = self.earlier(name)
        if not any(not item.is_marker and not item.is_latest for item in versions):
            return ""
        newest = versions[0]
        bucket = self._client.bucket
        endpoint = f" --endpoint-url {bucket.options['endpoint']}" if "endpoint" in bucket.options else ""
        return (
            f"aws s3api delete-object --bucket {bucket.name} --key {self._client.key(name)} "
            f"--version-id {newest.version}{endpoint}"
        )

    def _retain(self, name: str, mode: str, until: datetime) -> None:
        self._client.ask(
            "put_object_retention",
            f"lock {name}",
            Key=self._client.key(name),
            Retention={"Mode": mode, "RetainUntilDate": _whole(until)},
        )

    def _retention(self, name: str, version: str | None = None) -> tuple[str | None, datetime | None]:
        """Mode and date of an object's lock; nothing if it has none."""
        which: dict[str, Any] = {} if version is None else {"VersionId": version}
        try:
            found = self._client.ask(
                "get_object_retention", f"read {name}", Key=self._client.key(name), **which
            )["Retention"]
        except (StorageUnusableError, UnreachableError) as error:
            if code_of(error) in _NO_LOCK:
                return None, None
            raise
        return found["Mode"], found["RetainUntilDate"].astimezone(UTC)

    def _hide(self, name: str, version: str | None) -> bool:
        """Without a lock in the way, it is the right that is lacking, for this object as for all others."""
        self._refuse_locked(name, version)
        self._only_hides = True
        return False

    def _refuse_locked(self, name: str, version: str | None) -> None:
        """Raises `LockedObjectError` if a lock is why. Whoever may not even look hears of lacking rights later."""
        until = None
        with suppress(LackingRightsError, StorageUnusableError, ObjectMissingError):
            _, until = self._retention(name, version)
        if until is not None and until > self.now():
            raise LockedObjectError(name, until=until)

    def _ask_once(self) -> None:
        """Whether the bucket has Object Lock; and by the way, what time it is there."""
        with self._guard:
            if self._is_asked:
                return
            try:
                found = self._client.ask("get_object_lock_configuration", "read its object lock")
            except LackingRightsError:
                pass  # then the first object tells
            except (StorageUnusableError, UnreachableError) as error:
                if code_of(error) not in _NO_LOCK:
                    raise
                raise self._without_locks() from error
            else:
                self._is_enabled = (
                    found.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"
                )
                if not self._is_enabled:
                    raise self._without_locks()
            self._is_asked = True

    def _see_once(self, name: str, until: datetime) -> None:
        if self._is_seen:
            return
        try:
            mode, kept_until = self._retention(name)
        except LackingRightsError as error:
            if not self._is_enabled:
                error.hint = "allow these credentials s3:GetObjectRetention in the bucket"
                raise
        else:
            if mode != self._policy.mode.upper() or kept_until is None or kept_until + _ROUNDING < until:
                raise self._without_locks()
        self._is_seen = True

    def _without_locks(self) -> StorageUnusableError:
        return StorageUnusableError(
            f"{self._client.bucket.address} keeps no locks on objects, although the settings ask for "
            f"{self._policy.mode} of {self._policy.period.days} days",
            hint="enable versioning and Object Lock on the bucket, or remove the lock section of the repository",
        )


def _whole(moment: datetime) -> datetime:
    """Servers keep whole seconds; rounded up, never down."""
    return (moment + timedelta(microseconds=999_999)).replace(microsecond=0)


def _version(item: dict[str, Any], *, is_marker: bool) -> Version:
    return Version(
        version=item["VersionId"],
        size_bytes=item.get("Size", 0),
        modified_at=item["LastModified"],
        is_marker=is_marker,
        is_latest=item["IsLatest"],
    )
