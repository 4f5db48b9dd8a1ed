"""The smallest rights with which each part of Holdfast does its work, in the words of the storage's provider.

Three parts: the writer backs up and verifies and deletes nothing; the reader restores; the collector prunes. The
owner, who makes the repository and changes its keys, needs all of them and no policy. Nobody needs the right to
bypass a lock, or to delete a version for good: that is left to the bucket's lifecycle rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.repository import layout
from holdfast.storage.probe import PROBE_PREFIX

Document = dict[str, Any]

CREATED_BY_WRITER = (layout.DATA, layout.META, layout.OUTCOMES, layout.JOURNAL, layout.VERIFICATIONS)
REPLACED_BY_WRITER = (layout.WRITERS, layout.HEADS, PROBE_PREFIX)
CREATED_BY_COLLECTOR = (
    layout.TOMBSTONES,
    layout.FATES,
    layout.HOLDS,
    layout.PLANS,
    layout.OUTCOMES,
    layout.JOURNAL,
    layout.SEGMENTS,
)
DELETED_BY_COLLECTOR = (
    layout.DATA,
    layout.META,
    layout.OUTCOMES,
    layout.WRITERS,
    layout.HEADS,
    layout.TOMBSTONES,
    layout.FATES,
    layout.HOLDS,
    layout.PLANS,
    layout.JOURNAL,
    layout.VERIFICATIONS,
    PROBE_PREFIX,
)
NONCURRENT_DAYS = 30

_FOLDER_NOTES = (
    "a folder has no rights of its own: whoever writes it can delete it",
    "let another host or account fetch copies (holdfast copy), or keep read-only snapshots of the file system",
    "chattr +i keeps single files from everyone but root; holdfast sets no attributes",
)
_S3_NOTES = (
    "the owner's credentials are for init and key, and stay where nothing runs by itself",
    "servers other than Amazon's may not know s3:if-none-match: leave that Condition out there",
    f"where versions are kept, deleting only hides; the lifecycle rule frees space {NONCURRENT_DAYS} days later",
    "nobody here may bypass a lock (s3:BypassGovernanceRetention) or delete versions (s3:DeleteObjectVersion)",
)
_GCS_NOTES = (
    "make a custom role of each list of permissions, and bind it to the account with its condition",
    "conditions need uniform bucket-level access",
    "holdfast locks no objects here: turn on the bucket's soft delete (--soft-delete-duration=30d)",
    "a retention policy on the bucket would also lock what changes with every run (writers/, heads/)",
)
_AZURE_NOTES = (
    "rights are for a whole container: give each repository a container of its own",
    "who may write may also overwrite: turn on versions and soft delete of blobs, as the owner",
    "holdfast locks no blobs here, and an immutability policy would also lock what changes (writers/, heads/)",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolePolicy:
    """What one part may do. `document` is ready to be given to the provider."""

    role: str
    purpose: str
    document: Document


@dataclass(frozen=True, slots=True, kw_only=True)
class PoliciesReport:
    """`lifecycle` is the bucket's rule that goes with them, where the provider has such rules."""

    address: str
    policies: tuple[RolePolicy, ...]
    lifecycle: Document | None
    notes: tuple[str, ...]


def policies_for(
    *, scheme: str, bucket: str, prefix: str, address: str, locks: bool, create_once: bool = True
) -> PoliciesReport:
    """`scheme` is "s3", "gs", "az", or "" for a folder. `locks`: the repository's settings ask for Object Lock."""
    base = f"{prefix}/" if prefix else ""
    if scheme == "s3":
        return _s3(bucket, base, address, locks=locks, create_once=create_once)
    if scheme == "gs":
        return _gcs(bucket, base, address)
    if scheme == "az":
        return _azure(address)
    return PoliciesReport(address=address, policies=(), lifecycle=None, notes=_FOLDER_NOTES)


_PURPOSES = {
    "writer": "backup, copy, verify, doctor; deletes nothing",
    "reader": "list, show, restore; it writes nothing but the record that keeps others from pruning meanwhile",
    "collector": "prune, hold, undelete: removes what no snapshot needs",
}


def _s3(bucket: str, base: str, address: str, *, locks: bool, create_once: bool) -> PoliciesReport:
    whole = f"arn:aws:s3:::{bucket}"

    def below(names: Sequence[str]) -> list[str]:
        return [f"{whole}/{base}{name}*" for name in names]

    def allow(actions: Sequence[str], resource: str | list[str], **more: Document) -> Document:
        return {
            "Effect": "Allow",
            "Action": [f"s3:{action}" for action in actions],
            "Resource": resource,
            **more,
        }

    def create(names: Sequence[str]) -> list[Document]:
        # With the condition, not even the writer can put another object in the place of one that is there.
        condition = {"Condition": {"Null": {"s3:if-none-match": "false"}}} if create_once else {}
        statements = [allow(["PutObject"], below(names), **condition)]
        if locks:
            kept = [name for name in names if name in layout.LOCKED]
            statements.append(allow(["PutObjectRetention"], below(kept)))
        return statements

    look = [
        allow(["ListBucket", *(["GetBucketObjectLockConfiguration"] if locks else [])], whole),
        allow(["GetObject", *(["GetObjectRetention"] if locks else [])], below([""])),
    ]
    extend = [allow(["PutObjectRetention"], below([layout.CONFIG, layout.KEYS]))] if locks else []
    settings = ["GetBucketVersioning", "GetLifecycleConfiguration"]
    statements = {
        "writer": [
            *look,
            allow(settings, whole),
            *create(CREATED_BY_WRITER),
            *extend,
            allow(["PutObject"], below(REPLACED_BY_WRITER)),
        ],
        "reader": [*look, allow(["PutObject"], below([layout.WRITERS]))],
        "collector": [
            *look,
            allow([*settings, "ListBucketVersions"], whole),
            *create(CREATED_BY_COLLECTOR),
            allow(["PutObject"], below(REPLACED_BY_WRITER)),
            allow(["DeleteObject"], below(DELETED_BY_COLLECTOR)),
        ],
    }
    return PoliciesReport(
        address=address,
        policies=tuple(
            RolePolicy(
                role=role,
                purpose=_PURPOSES[role],
                document={"Version": "2012-10-17", "Statement": statements[role]},
            )
            for role in _PURPOSES
        ),
        lifecycle=_lifecycle(base),
        notes=_S3_NOTES,
    )


def _lifecycle(base: str) -> Document:
    """Versions that are not current any more, markers that hide nothing, uploads that were broken off."""
    return {
        "Rules": [
            {
                "ID": "holdfast-versions",
                "Status": "Enabled",
                "Filter": {"Prefix": base},
                "NoncurrentVersionExpiration": {"NoncurrentDays": NONCURRENT_DAYS},
                "Expiration": {"ExpiredObjectDeleteMarker": True},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
            },
            {
                "ID": "holdfast-probe",
                "Status": "Enabled",
                "Filter": {"Prefix": f"{base}{PROBE_PREFIX}"},
                "Expiration": {"Days": 1},
            },
        ]
    }


def _gcs(bucket: str, base: str, address: str) -> PoliciesReport:
    """Replacing an object needs storage.objects.delete there, hence the conditions."""

    def only(names: Sequence[str]) -> Document:
        start = f"projects/_/buckets/{bucket}/objects/{base}"
        tests = " || ".join(f'resource.name.startsWith("{start}{name}")' for name in names)
        return {"title": "holdfast", "expression": tests}

    look: list[Document] = [{"permissions": ["storage.objects.get", "storage.objects.list"]}]
    put = ["storage.objects.create"]
    replace = [*put, "storage.objects.delete"]
    bindings = {
        "writer": [
            *look,
            {"permissions": put, "condition": only(CREATED_BY_WRITER)},
            {"permissions": replace, "condition": only(REPLACED_BY_WRITER)},
        ],
        "reader": [*look, {"permissions": replace, "condition": only([layout.WRITERS])}],
        "collector": [
            *look,
            {"permissions": put, "condition": only(CREATED_BY_COLLECTOR)},
            {"permissions": replace, "condition": only(DELETED_BY_COLLECTOR)},
        ],
    }
    return PoliciesReport(
        address=address,
        policies=tuple(
            RolePolicy(role=role, purpose=_PURPOSES[role], document={"bindings": bindings[role]})
            for role in _PURPOSES
        ),
        lifecycle={
            "rule": [
                {"action": {"type": "Delete"}, "condition": {"daysSinceNoncurrentTime": NONCURRENT_DAYS}}
            ]
        },
        notes=_GCS_NOTES,
    )


def _azure(address: str) -> PoliciesReport:
    blobs = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
    actions = {
        "writer": ["read", "write", "add/action"],
        "reader": ["read"],
        "collector": ["read", "write", "add/action", "delete"],
    }
    shared = {"writer": "racwl", "reader": "rl", "collector": "racwdl"}
    return PoliciesReport(
        address=address,
        policies=tuple(
            RolePolicy(
                role=role,
                purpose=_PURPOSES[role],
                document={
                    "DataActions": [f"{blobs}/{action}" for action in actions[role]],
                    "SharedAccessSignature": {"sr": "c", "sp": shared[role]},
                },
            )
            for role in _PURPOSES
        ),
        lifecycle=None,
        notes=_AZURE_NOTES,
    )
