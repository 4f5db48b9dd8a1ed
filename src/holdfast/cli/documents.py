"""Reports as JSON: fixed names, a stable order, moments in ISO 8601 with Z, sizes as whole bytes.

Scripts depend on these shapes; fields may be added at the end, none renamed or removed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import singledispatch
from typing import Any

from holdfast.cli.exposures import exposure_document
from holdfast.cli.words import iso
from holdfast.domain.coverage import CoverageEntry
from holdfast.domain.manifest import SnapshotSummary
from holdfast.workflows.key_slots import KeySlot
from holdfast.workflows.keys import InitReport, KeysReport
from holdfast.workflows.listing import ShowReport
from holdfast.workflows.reports import (
    BackupReport,
    DoctorReport,
    Finding,
    ListReport,
    RestoreReport,
    VerifiedAt,
    VerifyReport,
)

Document = dict[str, Any]


def encode(document: Document) -> str:
    """ASCII, whatever a database's names hold: it survives every terminal, pipe and locale.

    A line for each field, and for each item of a list: `json` would indent more, but in Python and not in C, which
    took half a second for the coverage of ten thousand tables.
    """
    fields = (f"  {json.dumps(name)}: {_lines(value)}" for name, value in document.items())
    return "{\n" + ",\n".join(fields) + "\n}\n"


def _lines(value: object) -> str:
    if not isinstance(value, list) or not value:
        return json.dumps(value, ensure_ascii=True)
    return "[\n" + ",\n".join(f"    {json.dumps(item, ensure_ascii=True)}" for item in value) + "\n  ]"


@singledispatch
def document_of(report: object) -> Document:
    """The document that shows a report; each kind of report has its own below."""
    raise TypeError(f"no document shows {type(report).__name__}")


@document_of.register
def _backup(report: BackupReport) -> Document:
    return {
        "snapshot": report.snapshot,
        "source": report.source,
        "state": report.state.value,
        "taken_at": iso(report.taken_at),
        "seconds": round(report.seconds, 3),
        "tables": report.tables,
        "rows": report.rows,
        "bytes_read": report.bytes_read,
        "bytes_stored": report.bytes_stored,
        "chunks_stored": report.chunks_stored,
        "chunks_reused": report.chunks_reused,
        "parent": report.parent,
        "coverage": _coverage(report.coverage),
        "adopted": report.adopted,
        "warnings": list(report.warnings),
        "readings": [
            {
                "table": str(reading.name),
                "rows": reading.rows,
                "bytes_read": reading.bytes_read,
                "bytes_stored": reading.bytes_stored,
                "chunks_stored": reading.chunks_stored,
                "chunks_reused": reading.chunks_reused,
                "rows_read": reading.rows_read,
                "rows_unchanged": reading.rows_unchanged,
                "bytes_unchanged": reading.bytes_unchanged,
                "ranges_read": reading.ranges_read,
                "ranges_unchanged": reading.ranges_unchanged,
                "reason": reading.reason or None,
            }
            for reading in report.readings
        ],
        "bytes": report.bytes,
        "reason": report.reason or None,
        "definitions_reused": report.definitions_reused,
        "refuted": [str(table) for table in report.refuted],
        "suspects": list(report.suspects),
    }


@document_of.register
def _list(report: ListReport) -> Document:
    return {
        "snapshots": [
            {
                **_summary(listed.summary, verified=listed.verified),
                "held": list(listed.held),
                "replaced_by": listed.replaced_by,
                "replaces": listed.replaces,
            }
            for listed in report.snapshots
        ],
        "unreadable": [_finding(finding) for finding in report.unreadable],
    }


@document_of.register
def _show(report: ShowReport) -> Document:
    root = report.root
    return {
        **_summary(report.summary, verified=report.verified),
        "started_at": iso(root.started_at),
        "holdfast_version": root.holdfast_version,
        "instant": {
            "taken_at": iso(root.instant.taken_at),
            "xmin": root.instant.xmin,
            "xmax": root.instant.xmax,
            "wal_lsn": root.instant.wal_lsn,
            "on_standby": root.instant.on_standby,
        },
        "database": {
            "name": root.database.name,
            "owner": root.database.owner,
            "encoding": root.database.encoding,
            "server_version": root.database.server_version,
            "server_version_text": root.database.server_version_text,
        },
        "definitions": {"bytes": root.archive.size_bytes, "tool_version": root.archive.tool_version},
        "table_list": [
            {
                "schema": table.name.schema,
                "name": table.name.name,
                "tier": table.tier.value,
                "rows": table.rows,
                "bytes": table.plain_bytes,
            }
            for table in root.tables
        ],
        "sequences": len(root.sequences),
        "large_objects": {"count": root.large_objects.count, "bytes": root.large_objects.size_bytes},
        "roles": [role.name for role in root.roles],
        "coverage": _coverage(root.coverage),
        "held": list(report.held),
        "unreadable": [_finding(finding) for finding in report.unreadable],
    }


@document_of.register
def _verify(report: VerifyReport) -> Document:
    return {
        "level": report.level,
        "snapshots": len(report.snapshots),
        "objects": report.objects,
        "bytes": report.bytes,
        "findings": [_finding(finding) for finding in report.findings],
        "seconds": round(report.seconds, 3),
        "snapshot_ids": list(report.snapshots),
        "unseen": [_finding(finding) for finding in report.unseen],
        "accepted": [_finding(finding) for finding in report.accepted],
        "hints": [_finding(finding) for finding in report.hints],
        "unrecorded": report.unrecorded,
    }


@document_of.register
def _restore(report: RestoreReport) -> Document:
    return {
        "snapshot": report.snapshot,
        "target": report.target,
        "seconds": round(report.seconds, 3),
        "tables": report.tables,
        "rows": report.rows,
        "tiers": [{"tier": tier.tier.value, "seconds": round(tier.seconds, 3)} for tier in report.tiers],
        "warnings": list(report.warnings),
        "bytes": report.bytes,
        "left_out": list(report.left_out),
        "safety_snapshot": report.safety_snapshot,
        "refuted": [str(table) for table in report.refuted],
        "suspects": list(report.suspects),
    }


@document_of.register
def _doctor(report: DoctorReport) -> Document:
    return {
        "source": report.source,
        "repository": report.repository,
        "fine": report.fine,
        "checks": [
            {
                "subject": check.subject,
                "status": check.status.value,
                "detail": check.detail,
                "remedy": check.remedy or None,
            }
            for check in report.checks
        ],
    }


@document_of.register
def _init(report: InitReport) -> Document:
    """The kit is a secret and goes to its file only."""
    return {
        "repository": str(report.repository_id),
        "address": report.address,
        "single_writer": report.single_writer,
        "slots": list(report.slots),
        "warnings": list(report.warnings),
    }


@document_of.register
def _keys(report: KeysReport) -> Document:
    return {
        "address": report.address,
        "epoch": report.epoch,
        "keys": [_slot(slot) for slot in report.slots],
        "added": list(report.added),
        "removed": list(report.removed),
        "epochs": [
            {
                "epoch": epoch.epoch,
                "began_at": None if epoch.began_at is None else iso(epoch.began_at),
                "reason": epoch.reason,
                "open": epoch.is_open,
                "reusable": epoch.shares_identities,
            }
            for epoch in report.epochs
        ],
        "warnings": list(report.warnings),
        "exposures": None if report.exposures is None else exposure_document(report.exposures),
    }


def _slot(slot: KeySlot) -> Document:
    return {
        "name": slot.name,
        "kind": slot.kind,
        "label": slot.label,
        "recipient": slot.recipient or None,
        "created_at": None if slot.created_at is None else iso(slot.created_at),
        "epochs": list(slot.epochs),
        "problem": slot.problem or None,
        "opens": list(slot.opens),
    }


def _summary(summary: SnapshotSummary, *, verified: VerifiedAt | None) -> Document:
    return {
        "snapshot": summary.snapshot,
        "source": summary.source,
        "taken_at": iso(summary.taken_at),
        "state": summary.state.value,
        "tags": list(summary.tags),
        "bytes": summary.plain_bytes,
        "verified": None
        if verified is None
        else {"level": verified.level, "at": iso(verified.at), "passed": verified.passed},
        "tables": summary.tables,
        "rows": summary.rows,
        "bytes_stored": summary.stored_bytes,
        "parent": summary.parent,
        "origin": None
        if summary.origin is None
        else {"repository": summary.origin.repository, "snapshot": summary.origin.snapshot},
    }


def _finding(finding: Finding) -> Document:
    return {
        "object": finding.object_name,
        "snapshot": finding.snapshots[0] if finding.snapshots else None,
        "tables": [str(table) for table in finding.tables],
        "problem": finding.problem,
        "snapshots": list(finding.snapshots),
    }


def _coverage(entries: Iterable[CoverageEntry]) -> list[Document]:
    return [
        {
            "kind": entry.kind,
            "name": entry.name,
            "status": entry.status.value,
            "reason": entry.reason,
            "remedy": entry.remedy or None,
        }
        for entry in entries
    ]
