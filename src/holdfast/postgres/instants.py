"""When a snapshot was taken, and of which cluster: what two snapshots have to share for their rows to be compared.

Invariant: what the role may not ask is recorded as unknown, never guessed.
"""

from __future__ import annotations

from datetime import UTC
from typing import Any

from holdfast.domain.manifest import UNKNOWN_SYSTEM, UNKNOWN_TIMELINE, Instant, Lineage
from holdfast.postgres.catalog import Server, ask_rows
from holdfast.postgres.connection import Connection

_SYSTEM = ("pg_catalog.pg_control_system()",)
_TIMELINE = {
    False: ("pg_catalog.pg_walfile_name(pg_lsn)", "pg_catalog.pg_current_wal_lsn()"),
    True: ("pg_catalog.pg_control_checkpoint()", "pg_catalog.pg_control_recovery()"),
}
_RUN = ("pg_catalog.pg_postmaster_start_time()", "pg_catalog.pg_stat_get_bgwriter_stat_reset_time()")
_WAL = {False: ("pg_catalog.pg_current_wal_lsn()",), True: ("pg_catalog.pg_last_wal_replay_lsn()",)}


def take_instant(connection: Connection, server: Server) -> tuple[str, Instant]:
    """Take the transaction's snapshot; its token for other connections, and what is known of the moment."""
    exported, taken_at, xmin, xmax = ask_rows(connection, "instant")[0]
    name = "wal_of_standby" if server.on_standby else "wal_of_primary"
    return exported, Instant(
        taken_at=taken_at.astimezone(UTC),
        xmin=xmin,
        xmax=xmax,
        wal_lsn=_ask_if_allowed(connection, name, _WAL[server.on_standby]),
        on_standby=server.on_standby,
    )


def read_lineage(connection: Connection, server: Server) -> Lineage:
    system = _ask_if_allowed(connection, "system_identifier", _SYSTEM)
    name = "timeline_of_standby" if server.on_standby else "timeline_of_primary"
    timeline = _ask_if_allowed(connection, name, _TIMELINE[server.on_standby])
    return Lineage(
        system_identifier=system or UNKNOWN_SYSTEM,
        timeline=timeline or UNKNOWN_TIMELINE,
        database_oid=ask_rows(connection, "database_oid")[0][0],
        server_run=_ask_if_allowed(connection, "server_run", _RUN) or "",
    )


def _ask_if_allowed(connection: Connection, name: str, functions: tuple[str, ...]) -> Any:
    """The single value of a query that calls these functions; None if any of them is forbidden."""
    allowed = ask_rows(connection, "callable", list(functions))
    return ask_rows(connection, name)[0][0] if len(allowed) == len(functions) else None
