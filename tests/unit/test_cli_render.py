"""Reports as text and as JSON: shapes that scripts rely on, words that nobody can overlook."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.cli.documents import document_of, encode
from holdfast.cli.render import render, shortest_prefixes, text_of
from holdfast.domain.coverage import CoverageEntry, CoverageStatus
from holdfast.domain.ids import SnapshotId, make_snapshot_id
from holdfast.domain.manifest import BlobRef, SnapshotState, SnapshotSummary
from holdfast.domain.tables import QualifiedName, Tier
from holdfast.workflows.reports import (
    BackupReport,
    Check,
    CheckStatus,
    DoctorReport,
    Finding,
    ListedSnapshot,
    ListReport,
    RestoreReport,
    TierTime,
    VerifiedAt,
    VerifyReport,
)

TAKEN = datetime(2026, 11, 21, 1, 40, 53, 120000, tzinfo=UTC)
FIRST = make_snapshot_id(TAKEN, b"0123456789")
SECOND = make_snapshot_id(TAKEN + timedelta(hours=1), b"0123456789")
GRANT = 'GRANT SELECT ON TABLE "secret"."a_rather_long_table_name_that_would_be_wrapped" TO "backup_role";'
GAP = CoverageEntry(
    kind="table",
    name="secret.no_select",
    status=CoverageStatus.FAILED,
    reason="permission denied",
    remedy=GRANT,
)


def shown(report: object) -> str:
    stream = io.StringIO()
    render(stream, text_of(report))
    return stream.getvalue()


def document(report: object) -> dict[str, object]:
    text = encode(document_of(report))
    assert text.isascii()
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def backup_report(*coverage: CoverageEntry, state: SnapshotState = SnapshotState.COMMITTED) -> BackupReport:
    return BackupReport(
        snapshot=SECOND,
        source="shop",
        state=state,
        taken_at=TAKEN,
        seconds=12.3456,
        tables=42,
        rows=1_203_331,
        bytes=1_200_000_000,
        bytes_read=1_200_000_000,
        definitions_reused=False,
        reason="",
        bytes_stored=164_000_000,
        chunks_stored=12,
        chunks_reused=340,
        parent=FIRST,
        adopted=None,
        coverage=coverage,
        readings=(),
        warnings=(),
    )


def summary(snapshot: SnapshotId, state: SnapshotState = SnapshotState.COMMITTED) -> SnapshotSummary:
    root = BlobRef(
        object_name="meta/x/root",
        offset=0,
        length=1,
        object_bytes=1,
        object_md5="",
        identity=b"",
        plain_bytes=1,
    )
    return SnapshotSummary(
        snapshot=snapshot,
        source="shop",
        taken_at=TAKEN,
        state=state,
        tags=("nightly",),
        tables=42,
        rows=1_203_331,
        plain_bytes=1_200_000_000,
        stored_bytes=164_000_000,
        parent=None,
        root=root,
    )


def test_backup_json_has_the_promised_shape() -> None:
    """Names and order are fixed; moments end in Z; sizes are whole bytes."""
    found = document(backup_report(GAP, state=SnapshotState.PARTIAL))
    assert list(found)[:13] == [
        "snapshot",
        "source",
        "state",
        "taken_at",
        "seconds",
        "tables",
        "rows",
        "bytes_read",
        "bytes_stored",
        "chunks_stored",
        "chunks_reused",
        "parent",
        "coverage",
    ]
    assert found["state"] == "partial"
    assert found["taken_at"] == "2026-11-21T01:40:53.120000Z"
    assert found["seconds"] == 12.346
    assert found["bytes_read"] == 1_200_000_000
    assert found["coverage"] == [
        {
            "kind": "table",
            "name": "secret.no_select",
            "status": "failed",
            "reason": "permission denied",
            "remedy": GRANT,
        }
    ]


def test_a_committed_backup_reads_calm() -> None:
    """Nothing in capitals, nothing that looks like a problem."""
    text = shown(backup_report(replace(GAP, status=CoverageStatus.CAPTURED)))
    assert text.splitlines()[0] == f"snapshot {SECOND} committed"
    assert "42 tables, 1,203,331 rows, 1.2 GB" in text
    assert "12 new chunks, 340 reused" in text
    for loud in ("PARTIAL", "MISSING", "warning"):
        assert loud not in text


def test_a_partial_backup_shouts_with_the_statement_that_mends_it() -> None:
    """First line, each gap, and its GRANT whole on a line of its own, however narrow the output."""
    text = shown(backup_report(GAP, state=SnapshotState.PARTIAL))
    lines = text.splitlines()
    assert lines[0] == f"PARTIAL: snapshot {SECOND} lacks 1 thing"
    assert "  MISSING table secret.no_select: permission denied" in lines
    assert GRANT in [line.strip() for line in lines]
    assert lines[-1] == "mend what is listed as MISSING, then run the backup again"


def test_what_cannot_be_captured_is_said_but_does_not_shout() -> None:
    """Role passwords are nobody's mistake; many of a kind are counted, not scrolled away."""
    passwords = CoverageEntry(
        kind="role", name="app", status=CoverageStatus.NOT_CAPTURABLE, reason="its password cannot be read"
    )
    text = shown(backup_report(passwords, *[replace(passwords, name=f"r{n}") for n in range(30)]))
    assert "cannot be captured: role app: its password cannot be read" in text
    assert "cannot be captured: 11 roles more (--json lists all)" in text
    assert "MISSING" not in text


def test_list_json_has_the_promised_shape() -> None:
    """`latest` scripts read snapshot, state, verified."""
    report = ListReport(
        snapshots=(
            ListedSnapshot(summary=summary(FIRST), verified=VerifiedAt(level=3, at=TAKEN, passed=True)),
            ListedSnapshot(summary=summary(SECOND), verified=None),
        ),
        unreadable=(),
    )
    first, second = json.loads(encode(document_of(report)))["snapshots"]
    assert list(first)[:7] == ["snapshot", "source", "taken_at", "state", "tags", "bytes", "verified"]
    assert first["verified"] == {"level": 3, "at": "2026-11-21T01:40:53.120000Z", "passed": True}
    assert second["verified"] is None


def test_list_is_one_line_for_each_snapshot() -> None:
    """Without a terminal no row is folded, and partial ones stand out without colour."""
    report = ListReport(
        snapshots=(
            ListedSnapshot(summary=summary(FIRST), verified=VerifiedAt(level=3, at=TAKEN, passed=False)),
            ListedSnapshot(
                summary=replace(summary(SECOND, SnapshotState.PARTIAL), source="a-very-long-source-name" * 4),
                verified=None,
            ),
        ),
        unreadable=(
            Finding(object_name="outcomes/x", snapshots=(FIRST,), tables=(), problem="it is damaged"),
        ),
    )
    lines = shown(report).splitlines()
    assert lines[0].split() == [
        "SNAPSHOT",
        "SOURCE",
        "TAKEN",
        "AT",
        "(UTC)",
        "STATE",
        "SIZE",
        "VERIFIED",
        "TAGS",
    ]
    assert FIRST[:12] in lines[1]
    assert "FAILED level 3 2026-11-21" in lines[1]
    assert "PARTIAL" in lines[2]
    assert "a-very-long-source-name" * 4 in lines[2]
    assert "never" in lines[2]
    assert "UNREADABLE: 1 object" in lines
    assert "    it is damaged" in lines


def test_an_empty_list_says_so() -> None:
    """Not an empty screen."""
    assert shown(ListReport(snapshots=(), unreadable=())) == "no snapshots\n"


def test_shown_ids_name_one_snapshot_each() -> None:
    """Abbreviations are long enough to be used as they are shown."""
    close = SnapshotId(FIRST[:-1] + ("0" if FIRST[-1] != "0" else "1"))
    prefixes = shortest_prefixes([SECOND, close, FIRST])
    assert prefixes[SECOND] == SECOND[:12]
    assert prefixes[close] != prefixes[FIRST]
    assert (len(prefixes[FIRST]), len(prefixes[close])) == (26, 26)


def test_verify_json_has_the_promised_shape() -> None:
    """A finding names its first snapshot, and all of them."""
    finding = Finding(
        object_name="data/x/y",
        snapshots=(FIRST, SECOND),
        tables=(QualifiedName(schema="public", name="users"),),
        problem="object data/x/y is missing",
    )
    report = VerifyReport(
        level=1, snapshots=(FIRST, SECOND), objects=7, bytes=99, seconds=1.0, findings=(finding,)
    )
    found = document(report)
    assert list(found)[:5] == ["level", "snapshots", "objects", "bytes", "findings"]
    assert found["findings"] == [
        {
            "object": "data/x/y",
            "snapshot": FIRST,
            "tables": ["public.users"],
            "problem": "object data/x/y is missing",
            "snapshots": [FIRST, SECOND],
        }
    ]
    text = shown(report)
    assert text.startswith("DAMAGED: 1 finding")
    for fact in ("data/x/y", "public.users", FIRST, SECOND):
        assert fact in text


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_no_findings_always_say_at_which_level(level: int) -> None:
    """`verified` without its level would claim too much."""
    text = shown(VerifyReport(level=level, snapshots=(FIRST,), objects=7, bytes=99, seconds=1.0, findings=()))
    assert f"checked at level {level}" in text
    assert ("proves only" in text) == (level < 3)


def test_nothing_to_verify_is_not_called_fine() -> None:
    """An empty repository has no findings, which proves nothing."""
    text = shown(VerifyReport(level=3, snapshots=(), objects=0, bytes=0, seconds=1.0, findings=()))
    assert text.startswith("no snapshots yet")


def restore_report(*left_out: str) -> RestoreReport:
    return RestoreReport(
        snapshot=FIRST,
        target="localhost:5432/shop as me",
        seconds=75.0,
        tables=3,
        rows=10,
        bytes=1000,
        tiers=(TierTime(tier=Tier.CRITICAL, seconds=2.5),),
        warnings=("role app has no password",),
        left_out=left_out,
        safety_snapshot=None,
    )


def test_restore_json_has_the_promised_shape() -> None:
    """Tiers with their seconds, warnings as a list."""
    found = document(restore_report())
    assert list(found)[:7] == ["snapshot", "target", "seconds", "tables", "rows", "tiers", "warnings"]
    assert found["tiers"] == [{"tier": "critical", "seconds": 2.5}]
    assert found["warnings"] == ["role app has no password"]


def test_a_restore_that_left_something_out_shouts() -> None:
    """What the snapshot holds and the target did not get comes first."""
    assert shown(restore_report()).startswith(f"snapshot {FIRST} restored\n")
    text = shown(restore_report("foreign key orders_user_fkey: table users was not restored"))
    assert text.startswith("PARTIAL")
    assert "MISSING foreign key orders_user_fkey" in text
    assert "critical tables  readable after 2.5 s" in text


def test_doctor_says_what_is_missing_and_what_mends_it() -> None:
    """Fine things without remedies; missing ones with theirs, whole, and a verdict at the end."""
    checks = (
        Check(subject="connection", status=CheckStatus.FINE, detail="reached", remedy="unused"),
        Check(subject="table secret.x", status=CheckStatus.MISSING, detail="no SELECT", remedy=GRANT),
        Check(
            subject="pg_dump", status=CheckStatus.WARNING, detail="old", remedy="install postgresql-client-18"
        ),
    )
    report = DoctorReport(source="shop", repository=None, checks=checks)
    lines = [line.strip() for line in shown(report).splitlines()]
    assert "MISSING table secret.x: no SELECT" in lines
    assert GRANT in lines
    assert "unused" not in lines
    assert lines[-1] == "NOT READY: mend what is MISSING above, then run holdfast doctor again"
    assert document(report)["fine"] is False
    ready = DoctorReport(source="shop", repository=None, checks=checks[:1])
    assert shown(ready).splitlines()[-1] == "ready"


def test_names_cannot_play_with_the_terminal() -> None:
    """A table's name may hold escape sequences and markup; neither takes effect."""
    nasty = "a\x1b[2Jb\nc[bold]d\u202ee"
    entry = replace(GAP, name=nasty, remedy="")
    text = shown(backup_report(entry, state=SnapshotState.PARTIAL))
    assert "\x1b" not in text
    assert r"a\x1b[2Jb\nc[bold]d\u202ee" in text
    assert document(backup_report(entry))["coverage"][0]["name"] == nasty  # type: ignore[index]


def test_every_line_of_text_is_readable_without_colour() -> None:
    """No escape sequence where there is no terminal."""
    for report in (backup_report(GAP), restore_report("x"), ListReport(snapshots=(), unreadable=())):
        assert "\x1b" not in shown(report)
