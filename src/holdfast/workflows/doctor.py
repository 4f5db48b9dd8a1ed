"""Doctor: what a backup would lack, found before it is needed, each with the statement or package that mends it.

Invariant: whatever makes a backup or a restore fail here and now is MISSING, and a question that could not be
asked counts as a bad answer. Nothing is changed; a few probe objects pass through the storage.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime

import psycopg

from holdfast.domain.coverage import CoverageEntry, CoverageStatus
from holdfast.domain.errors import HoldfastError, LockedOutError
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.catalog import Server, read_relations, read_server
from holdfast.postgres.connection import Connection, connect
from holdfast.postgres.failures import translate
from holdfast.postgres.large_objects import read_large_objects
from holdfast.postgres.names import quote
from holdfast.postgres.poolers import refuse_transaction_pooling
from holdfast.postgres.roles import password_gap, read_roles
from holdfast.postgres.session import OLDEST_SERVER, other_gaps
from holdfast.postgres.stock import Selection, Stock, take_stock
from holdfast.postgres.tools import Tool, Toolset, Version, dump_tool, find_tools, restore_tool
from holdfast.repository.repo import Repository
from holdfast.storage import Storage
from holdfast.storage.probe import probe
from holdfast.workflows.doctor_bucket import Protection, check_protection
from holdfast.workflows.keys import list_keys
from holdfast.workflows.reports import Check, CheckStatus, DoctorReport

APPLICATION_NAME = "holdfast/doctor"
CLOCK_SKEW_SECONDS = 60.0
READ_ALL_DATA_SINCE = 140_000

_SHARE_OF_LOCKS = 0.8

OpenStorage = Callable[[], AbstractContextManager[Storage]]
OpenRepository = Callable[[], AbstractContextManager[Repository]]


def doctor(
    *,
    address: ServerAddress | None,
    storage: OpenStorage | None,
    repository: OpenRepository | None,
    selection: Selection | None = None,
    protection: Protection | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> DoctorReport:
    """Look at a source, at a storage and the repository on it, or at both. Raises nothing that it can report.

    `storage` opens the storage with create-once assumed, as `probe` wants it. `protection`: what is known of the
    storage's own ways to protect what lies there; without it, a folder is assumed.
    """
    checks: list[Check] = []
    where = None
    if address is not None:
        checks += _check_source(address, selection or Selection())
    if storage is not None:
        where, found = _check_storage(storage, clock(), protection or Protection())
        checks += found
    if repository is not None and where is not None:
        checks += _check_repository(repository, create_once=not any(map(_lacks_create_once, checks)))
    return DoctorReport(
        source=None if address is None else address.display(), repository=where, checks=tuple(checks)
    )


def _fine(subject: str, detail: str) -> Check:
    return Check(subject=subject, status=CheckStatus.FINE, detail=detail)


def _warning(subject: str, detail: str, remedy: str = "") -> Check:
    return Check(subject=subject, status=CheckStatus.WARNING, detail=detail, remedy=remedy)


def _missing(subject: str, detail: str, remedy: str = "") -> Check:
    return Check(subject=subject, status=CheckStatus.MISSING, detail=detail, remedy=remedy)


def _failed(subject: str, error: HoldfastError) -> Check:
    return _missing(subject, error.message, error.hint or "")


def _check_source(address: ServerAddress, selection: Selection) -> Iterator[Check]:
    try:
        connection = connect(address, application_name=APPLICATION_NAME)
    except HoldfastError as error:
        yield _failed("connection", error)
        yield from _check_tools(None, find_tools(), need_tls=address.need_tls)
        return
    with connection:
        pinned = address.pinned(connection)
        yield _fine(
            "connection", f"reached {pinned.display()}{' with TLS' if pinned.need_tls else ' without TLS'}"
        )
        try:
            server = read_server(connection)
            yield from _check_server(server)
            yield from _check_pooler(connection, pinned)
            yield from _check_rights(connection, server, selection)
        except psycopg.Error as error:
            yield _failed("catalog", translate(error, address, doing="looking at the source"))
            return
    yield from _check_tools(server, find_tools(), need_tls=pinned.need_tls)


def _check_server(server: Server) -> Iterator[Check]:
    if server.server_version < OLDEST_SERVER:
        oldest = Version.from_number(OLDEST_SERVER).major
        yield _missing(
            "server",
            f"PostgreSQL {server.server_version_text} is older than {oldest}, the oldest that is read",
            f"upgrade the server to PostgreSQL {oldest} or newer",
        )
        return
    yield _fine("server", f"PostgreSQL {server.server_version_text}, role {server.role}")
    if server.on_standby:
        yield _warning(
            "standby",
            "long reads on a standby are cancelled when they hold up its replay",
            "ALTER SYSTEM SET hot_standby_feedback = on;  -- on the standby, then SELECT pg_reload_conf();",
        )


def _check_pooler(connection: Connection, address: ServerAddress) -> Iterator[Check]:
    try:
        refuse_transaction_pooling(connection, address, application_name=APPLICATION_NAME)
    except HoldfastError as error:
        yield _failed("pooler", error)
    else:
        yield _fine("pooler", "a session keeps its server connection")


def _check_rights(connection: Connection, server: Server, selection: Selection) -> Iterator[Check]:
    """Every gap that a backup would report in its coverage, from the same rules."""
    stock = take_stock(read_relations(connection), server, selection)
    large_objects, closed = read_large_objects(connection, server)
    gaps = [*stock.entries, *closed, *other_gaps(connection, server), *password_gap(read_roles(connection))]
    failed = [entry for entry in gaps if entry.status is CoverageStatus.FAILED]
    if failed:
        yield _missing(
            "rights", f"role {server.role} cannot read all: {_kinds(failed)}", _wide_grant(server, failed)
        )
    else:
        counts = {
            "tables": stock.tables,
            "sequences": stock.sequences,
            "large objects": large_objects,
        }
        things = ", ".join(f"{len(found)} {kind}" for kind, found in counts.items())
        yield _fine("rights", f"role {server.role} may read {things}")
    for entry in failed:
        yield _missing(f"{entry.kind} {entry.name}", entry.reason, entry.remedy)
    for entry in gaps:
        if entry.status is CoverageStatus.NOT_CAPTURABLE:
            yield _warning(f"{entry.kind} {entry.name}", f"not in a snapshot: {entry.reason}", entry.remedy)
    yield from _check_locks(connection, stock)


def _kinds(entries: Sequence[CoverageEntry]) -> str:
    kinds = sorted({entry.kind for entry in entries})
    return ", ".join(f"{sum(entry.kind == kind for entry in entries)} x {kind}" for kind in kinds)


def _wide_grant(server: Server, failed: Sequence[CoverageEntry]) -> str:
    """One statement instead of many, where the server has a role for it."""
    if len(failed) < 2 or server.server_version < READ_ALL_DATA_SINCE:
        return "see below, one by one"
    role = quote(server.role)
    statements = [f"GRANT pg_read_all_data TO {role};"]
    if any("BYPASSRLS" in entry.remedy for entry in failed):
        statements.append(f"ALTER ROLE {role} BYPASSRLS;")
    return " ".join(statements) + "  -- mends most of what follows; or one by one:"


def _check_locks(connection: Connection, stock: Stock) -> Iterator[Check]:
    """A backup locks all tables at once; the server's lock table has room for so many."""
    row = connection.execute(
        """SELECT pg_catalog.current_setting('max_locks_per_transaction')::int8,
                  pg_catalog.current_setting('max_connections')::int8
                    + pg_catalog.current_setting('max_prepared_transactions')::int8"""
    ).fetchone()
    assert row is not None
    per_transaction, sessions = row
    room, needed = per_transaction * sessions, len(stock.tables)
    if needed > room * _SHARE_OF_LOCKS:
        enough = math.ceil(needed / _SHARE_OF_LOCKS / sessions)
        yield _missing(
            "locks",
            f"{needed} tables are locked at once, and the server has room for {room} locks in all",
            f"ALTER SYSTEM SET max_locks_per_transaction = {enough};  -- then restart the server",
        )


def _check_tools(server: Server | None, toolsets: Iterable[Toolset], *, need_tls: bool) -> Iterator[Check]:
    """The client programs for this server; without it known, for the oldest one."""
    toolsets = tuple(toolsets)
    version = Version.from_number(OLDEST_SERVER if server is None else server.server_version)
    try:
        dump = dump_tool(version, toolsets, need_tls=need_tls)
    except HoldfastError as error:
        yield _failed("pg_dump", error)
    else:
        yield from _describe("pg_dump", dump)
    try:
        restore = restore_tool(version.major, version, toolsets, need_tls=need_tls)
    except HoldfastError as error:
        yield _failed("pg_restore", error)
    else:
        yield from _describe("pg_restore", restore)


def _describe(program: str, tool: Tool) -> Iterator[Check]:
    if not tool.warnings:
        yield _fine(program, f"{tool.version} at {tool.path}")
    for warning in tool.warnings:
        detail, _, remedy = warning.partition("; ")
        yield _warning(program, detail, remedy)


def _check_storage(
    open_storage: OpenStorage, now: datetime, protection: Protection
) -> tuple[str | None, list[Check]]:
    """The storage's address (None if it cannot be opened), and what it can do."""
    try:
        with open_storage() as storage:
            where = storage.address
            try:
                return where, list(_describe_storage(storage, now, protection))
            except HoldfastError as error:
                # What the bucket is set to may be why.
                return where, [_failed("storage", error), *check_protection(protection, deletes=None)]
    except HoldfastError as error:
        return None, [_failed("storage", error)]


def _describe_storage(storage: Storage, now: datetime, protection: Protection) -> Iterator[Check]:
    found = probe(storage, now=now)
    yield _fine("storage", "objects can be written, read and listed")
    if found.create_once:
        yield _fine(_CREATE_ONCE, "two writers never overwrite one another")
    else:
        yield _warning(
            _CREATE_ONCE,
            "it is not honoured: only one run may write at a time",
            "use a storage that honours it",
        )
    if not found.lists_at_once:
        yield _missing("listing", "objects just written are not listed", "use a storage that is consistent")
    if not found.reads_ranges:
        yield _missing("ranges", "parts of objects cannot be read", "use a storage that serves byte ranges")
    yield from check_protection(protection, deletes=found.deletes)
    if abs(found.clock_skew_seconds) > CLOCK_SKEW_SECONDS:
        yield _warning(
            "clock",
            f"this machine's clock and the storage's are {abs(found.clock_skew_seconds):.0f} s apart",
            "synchronise this machine's clock (NTP)",
        )
    for leftover in found.leftovers if found.deletes else ():
        yield _warning("leftovers", f"object {leftover} was written by this check and could not be deleted")


_CREATE_ONCE = "create-once"


def _lacks_create_once(check: Check) -> bool:
    return check.subject == _CREATE_ONCE and check.status is not CheckStatus.FINE


def _check_repository(open_repository: OpenRepository, *, create_once: bool) -> Iterator[Check]:
    try:
        with open_repository() as repository:
            yield _fine("repository", f"{repository.config.repository_id}, unlocked")
            for warning in repository.warnings:
                yield _warning("keys", warning)
            if not create_once and not repository.config.single_writer:
                yield _missing(
                    "repository",
                    "it was made for several writers, which this storage no longer keeps apart",
                    "move it to a storage that honours create-once, and never run two backups at once until then",
                )
            yield from _check_keys(repository)
    except LockedOutError as error:
        yield _failed("keys", error)
    except HoldfastError as error:
        yield _failed("repository", error)


def _check_keys(repository: Repository) -> Iterator[Check]:
    slots = list_keys(repository).slots
    for slot in slots:
        if slot.problem:
            yield _missing(f"key {slot.name}", slot.problem, f"holdfast key remove {slot.name}")
    sound = [slot for slot in slots if not slot.problem]
    if len(sound) < 2:
        yield _warning(
            "keys",
            "only one key opens this repository: if it is lost, every backup is lost",
            "holdfast key recovery-kit --kit FILE",
        )
    else:
        yield _fine("keys", f"{len(sound)} keys open it")
