"""Running writers: what they rely on, whether they live, and what a dead one left behind.

A writer first says which snapshots it will reuse, then checks that none of them has a tombstone; a collector
first writes tombstones, then looks for writers. Whoever comes second sees the other.
"""

from __future__ import annotations

import enum
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from holdfast.domain.errors import LackingRightsError
from holdfast.domain.ids import SnapshotId, parse_snapshot_id
from holdfast.repository import layout
from holdfast.repository.encoding import moment, optional_id, parse_moment
from holdfast.repository.registers.documents import expect_name, read_document, seal_document
from holdfast.repository.seal import ObjectType, Sealer
from holdfast.storage import Storage

HEARTBEAT_SECONDS = 60
SILENT_AFTER = timedelta(minutes=15)
PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Which process on which boot of which machine: enough to tell a dead neighbour from a living one."""

    name: str
    boot: str
    pid: int
    process_started: str


class Purpose(enum.StrEnum):
    """What a process does here. Only a backup commits or leaves chunks behind; restores and copies pin what they
    read, a collection says so where only one may write."""

    BACKUP = "backup"
    RESTORE = "restore"
    COPY = "copy"
    COLLECT = "collect"


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterRecord:
    """`relies_on` are the snapshots (parents and adopted runs) whose chunks this run may reuse, or reads.

    `copy_of`: this run brings in a copy of the snapshot that has that id where it was taken; None for all else.
    `written_at`: when the record was written last, by the storage's clock; no part of it, None if nobody asked.
    """

    snapshot: SnapshotId
    source: str
    host: Host
    started_at: datetime
    heartbeat_at: datetime
    relies_on: tuple[SnapshotId, ...]
    finished: bool = False
    purpose: Purpose = Purpose.BACKUP
    copy_of: SnapshotId | None = None
    written_at: datetime | None = field(default=None, compare=False)


def this_host() -> Host:
    pid = os.getpid()
    started = _process_started(pid) or ""
    return Host(name=socket.gethostname(), boot=_boot_id(), pid=pid, process_started=started)


def is_dead(record: WriterRecord, *, now: datetime, here: Host) -> bool:
    """Whether the writer is surely gone, or has been silent for long. A silent one may only sleep: it is fenced
    by its outcome before anyone acts on this."""
    gone = is_surely_gone(record, here=here)
    return now - last_heard(record, now=now) > SILENT_AFTER if gone is None else gone


def is_surely_gone(record: WriterRecord, *, here: Host) -> bool | None:
    """Whether the writer's process has ended, or lives; None where that cannot be told: on another machine, or
    after another boot, or where other users' processes are hidden (proc(5), hidepid)."""
    if not here.boot or (record.host.name, record.host.boot) != (here.name, here.boot):
        return None
    started = _process_started(record.host.pid)
    if started is not None:
        return started != record.host.process_started
    return None if _exists(record.host.pid) else True


def last_heard(record: WriterRecord, *, now: datetime) -> datetime:
    """When the writer last showed that it lives: by its own word, unless that lies so far ahead that its clock
    was wrong; then by the clock of the storage."""
    if record.written_at is not None and record.heartbeat_at - now > SILENT_AFTER:
        return record.written_at
    return record.heartbeat_at


class Writers:
    """The `writers/` objects of one repository."""

    def __init__(self, storage: Storage, sealer: Sealer) -> None:
        self._storage = storage
        self._sealer = sealer

    def announce(self, record: WriterRecord) -> None:
        """Create the record; its name is the new snapshot's id, so nobody else has it."""
        self._storage.create(layout.writer(record.snapshot), self._seal(record))

    def beat(self, record: WriterRecord, *, now: datetime) -> None:
        self._storage.replace(layout.writer(record.snapshot), self._seal(replace(record, heartbeat_at=now)))

    def retire(self, record: WriterRecord, *, now: datetime) -> None:
        """The run is decided. Where deleting is not allowed, the record says so itself."""
        try:
            self._storage.delete(layout.writer(record.snapshot))
        except LackingRightsError:
            done = replace(record, heartbeat_at=now, finished=True)
            self._storage.replace(layout.writer(record.snapshot), self._seal(done))

    def read(self, snapshot: SnapshotId) -> WriterRecord:
        """`DamagedError` if it is missing, altered or another's."""
        name = layout.writer(snapshot)
        record, _ = read_document(self._storage, self._sealer, ObjectType.WRITER, name, _decode)
        expect_name(name, layout.writer(record.snapshot))
        return record

    def names(self) -> Iterator[SnapshotId]:
        yield from (snapshot for snapshot, _ in self.listed())

    def listed(self) -> Iterator[tuple[SnapshotId, datetime]]:
        """Who has a record, and when it was written last by the storage's clock."""
        for info in self._storage.list(layout.WRITERS):
            with suppress(ValueError):
                yield layout.snapshot_in(info.name), info.modified_at

    def _seal(self, record: WriterRecord) -> bytes:
        document = {
            "snapshot": record.snapshot,
            "source": record.source,
            "host": {
                "name": record.host.name,
                "boot": record.host.boot,
                "pid": record.host.pid,
                "process_started": record.host.process_started,
            },
            "started_at": moment(record.started_at),
            "heartbeat_at": moment(record.heartbeat_at),
            "relies_on": list(record.relies_on),
            "finished": record.finished,
            "purpose": record.purpose.value,
            "copy_of": record.copy_of,
        }
        return seal_document(self._sealer, ObjectType.WRITER, document)[0]


def _decode(document: Any) -> WriterRecord:
    host = document["host"]
    return WriterRecord(
        snapshot=parse_snapshot_id(document["snapshot"]),
        source=str(document["source"]),
        host=Host(
            name=str(host["name"]),
            boot=str(host["boot"]),
            pid=int(host["pid"]),
            process_started=str(host["process_started"]),
        ),
        started_at=parse_moment(document["started_at"]),
        heartbeat_at=parse_moment(document["heartbeat_at"]),
        relies_on=tuple(parse_snapshot_id(item) for item in document["relies_on"]),
        finished=bool(document["finished"]),
        purpose=Purpose(document.get("purpose", Purpose.BACKUP.value)),
        copy_of=optional_id(document.get("copy_of")),
    )


def _boot_id() -> str:
    """The boot and the process name space: where both are the same, a pid means the same process.

    Linux names both; elsewhere nothing does, and only silence tells that a writer is dead.
    """
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return ""


def _process_started(pid: int) -> str | None:
    """The start time of a process in clock ticks since boot (proc(5), field 22); "" if it has ended; None if
    nothing can be read of it, since there is none, or it is hidden.

    Two processes that get the same pid one after the other differ in it.
    """
    with suppress(OSError, IndexError):
        text = (PROC / str(pid) / "stat").read_text()
        fields = text[text.rindex(")") + 2 :].split()
        # A zombie (state Z) has ended; only its parent has not looked yet.
        return "" if fields[0] == "Z" else fields[19]
    return None


def _exists(pid: int) -> bool:
    """Whether there is such a process, also one that is hidden: signals are refused to it, not lost."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
