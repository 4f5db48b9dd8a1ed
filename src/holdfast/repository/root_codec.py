"""Root manifests, and the summaries in outcomes, as JSON and back (docs/FORMAT.md, "Documents and manifests")."""

from __future__ import annotations

from holdfast.domain.coverage import CoverageEntry, CoverageStatus
from holdfast.domain.ids import parse_snapshot_id
from holdfast.domain.manifest import (
    ArchiveRef,
    DatabaseFacts,
    Instant,
    LargeObjectsRef,
    Lineage,
    Origin,
    Role,
    RoleMembership,
    Root,
    SnapshotState,
    SnapshotSummary,
    TableEntry,
)
from holdfast.domain.tables import SequenceValue, Tier
from holdfast.repository.encoding import (
    FORMAT,
    Json,
    ObjectTable,
    decode_blob,
    decode_blobs,
    decode_name,
    encode_name,
    from_bytes,
    moment,
    optional_id,
    parse_moment,
    to_bytes,
)


def _encode_instant(instant: Instant) -> Json:
    return {
        "taken_at": moment(instant.taken_at),
        "xmin": instant.xmin,
        "xmax": instant.xmax,
        "wal_lsn": instant.wal_lsn,
        "on_standby": instant.on_standby,
    }


def _decode_instant(row: Json) -> Instant:
    return Instant(
        taken_at=parse_moment(row["taken_at"]),
        xmin=int(row["xmin"]),
        xmax=int(row["xmax"]),
        wal_lsn=row["wal_lsn"],
        on_standby=bool(row["on_standby"]),
    )


def _encode_origin(origin: Origin | None) -> dict[str, Json]:
    """The field `origin`, which only copies have."""
    if origin is None:
        return {}
    return {
        "origin": {
            "repository": origin.repository,
            "snapshot": origin.snapshot,
            "settled": origin.settled,
        }
    }


def _decode_origin(document: Json) -> Origin | None:
    row = document.get("origin")
    if row is None:
        return None
    return Origin(
        repository=str(row["repository"]),
        snapshot=parse_snapshot_id(row["snapshot"]),
        settled=optional_id(row["settled"]),
    )


_DATABASE_FIELDS = (
    "name",
    "owner",
    "encoding",
    "locale_provider",
    "collate",
    "ctype",
    "locale",
    "icu_rules",
    "server_version",
    "server_version_text",
)


def encode_root(root: Root) -> bytes:
    objects = ObjectTable()
    tables = [
        [
            table.oid,
            encode_name(table.name),
            table.tier.value,
            table.rows,
            table.plain_bytes,
            objects.reference(table.manifest),
        ]
        for table in root.tables
    ]
    archive = {
        "size_bytes": root.archive.size_bytes,
        "tool_version": root.archive.tool_version,
        "fingerprint": root.archive.fingerprint,
        "pieces": [objects.reference(piece) for piece in root.archive.pieces],
    }
    large_objects = {
        "count": root.large_objects.count,
        "size_bytes": root.large_objects.size_bytes,
        "lists": [objects.reference(blob) for blob in root.large_objects.lists],
    }
    database: dict[str, Json] = {name: getattr(root.database, name) for name in _DATABASE_FIELDS}
    database["statements"] = list(root.database.statements)
    return to_bytes(
        {
            "format": FORMAT,
            "snapshot": root.snapshot,
            "source": root.source,
            "parent": root.parent,
            "tags": list(root.tags),
            "started_at": moment(root.started_at),
            "holdfast_version": root.holdfast_version,
            "lineage": {
                "system_identifier": root.lineage.system_identifier,
                "timeline": root.lineage.timeline,
                "database_oid": root.lineage.database_oid,
                "server_run": root.lineage.server_run,
            },
            "instant": _encode_instant(root.instant),
            "database": database,
            "archive": archive,
            "tables": tables,
            "sequences": [
                [item.oid, encode_name(item.name), item.last_value, item.is_called] for item in root.sequences
            ],
            "large_objects": large_objects,
            "matviews": [encode_name(name) for name in root.matviews],
            "roles": [
                [role.name, list(role.options), list(role.settings), role.comment, role.has_password]
                for role in root.roles
            ],
            "memberships": [
                [item.role, item.member, item.grantor, list(item.options)] for item in root.memberships
            ],
            "coverage": [
                [entry.kind, entry.name, entry.status.value, entry.reason, entry.remedy]
                for entry in root.coverage
            ],
            "journal_position": root.journal_position,
            "read_in_full_at": None if root.read_in_full_at is None else moment(root.read_in_full_at),
            **_encode_origin(root.origin),
            "objects": objects.rows(),
        }
    )


def _decode_table_entry(row: Json, objects: Json) -> TableEntry:
    oid, name, tier, rows, plain_bytes, manifest = row
    return TableEntry(
        oid=int(oid),
        name=decode_name(name),
        tier=Tier(tier),
        rows=int(rows),
        plain_bytes=int(plain_bytes),
        manifest=decode_blob(manifest, objects),
    )


def _decode_root(document: Json) -> Root:
    objects = document["objects"]
    lineage, archive = document["lineage"], document["archive"]
    large_objects, database = document["large_objects"], document["database"]
    return Root(
        snapshot=parse_snapshot_id(document["snapshot"]),
        source=str(document["source"]),
        parent=optional_id(document["parent"]),
        tags=tuple(map(str, document["tags"])),
        started_at=parse_moment(document["started_at"]),
        holdfast_version=str(document["holdfast_version"]),
        lineage=Lineage(
            system_identifier=str(lineage["system_identifier"]),
            timeline=int(lineage["timeline"]),
            database_oid=int(lineage["database_oid"]),
            server_run=str(lineage.get("server_run", "")),
        ),
        instant=_decode_instant(document["instant"]),
        database=DatabaseFacts(
            **{name: database[name] for name in _DATABASE_FIELDS},
            statements=tuple(map(str, database["statements"])),
        ),
        archive=ArchiveRef(
            pieces=decode_blobs(archive["pieces"], objects),
            size_bytes=int(archive["size_bytes"]),
            tool_version=str(archive["tool_version"]),
            fingerprint=archive.get("fingerprint"),
        ),
        tables=tuple(_decode_table_entry(row, objects) for row in document["tables"]),
        sequences=tuple(
            SequenceValue(
                oid=int(oid), name=decode_name(name), last_value=int(last_value), is_called=bool(is_called)
            )
            for oid, name, last_value, is_called in document["sequences"]
        ),
        large_objects=LargeObjectsRef(
            count=int(large_objects["count"]),
            size_bytes=int(large_objects["size_bytes"]),
            lists=decode_blobs(large_objects["lists"], objects),
        ),
        matviews=tuple(decode_name(row) for row in document["matviews"]),
        roles=tuple(
            Role(
                name=str(name),
                options=tuple(options),
                settings=tuple(settings),
                comment=comment,
                has_password=has_password,
            )
            for name, options, settings, comment, has_password in document["roles"]
        ),
        memberships=tuple(
            RoleMembership(role=role, member=member, grantor=grantor, options=tuple(options))
            for role, member, grantor, options in document["memberships"]
        ),
        coverage=tuple(
            CoverageEntry(kind=kind, name=name, status=CoverageStatus(status), reason=reason, remedy=remedy)
            for kind, name, status, reason, remedy in document["coverage"]
        ),
        journal_position=int(document["journal_position"]),
        origin=_decode_origin(document),
        # Before there was this field, every snapshot read everything.
        read_in_full_at=parse_moment(document.get("read_in_full_at") or document["instant"]["taken_at"]),
    )


def decode_root(data: bytes) -> Root:
    return from_bytes(data, _decode_root)


def encode_summary(summary: SnapshotSummary) -> dict[str, Json]:
    objects = ObjectTable()
    return {
        "snapshot": summary.snapshot,
        "source": summary.source,
        "taken_at": moment(summary.taken_at),
        "state": summary.state.value,
        "tags": list(summary.tags),
        "tables": summary.tables,
        "rows": summary.rows,
        "plain_bytes": summary.plain_bytes,
        "stored_bytes": summary.stored_bytes,
        "parent": summary.parent,
        "root": objects.reference(summary.root),
        **_encode_origin(summary.origin),
        "objects": objects.rows(),
    }


def decode_summary(document: Json) -> SnapshotSummary:
    return SnapshotSummary(
        snapshot=parse_snapshot_id(document["snapshot"]),
        source=str(document["source"]),
        taken_at=parse_moment(document["taken_at"]),
        state=SnapshotState(document["state"]),
        tags=tuple(map(str, document["tags"])),
        tables=int(document["tables"]),
        rows=int(document["rows"]),
        plain_bytes=int(document["plain_bytes"]),
        stored_bytes=int(document["stored_bytes"]),
        parent=optional_id(document["parent"]),
        root=decode_blob(document["root"], document["objects"]),
        origin=_decode_origin(document),
    )
