"""Is there a pooler between us and the server, and does it keep a session on one server connection?

A snapshot is shared between sessions of one server and held by a session that stays. Poolers in transaction mode
give each transaction to whichever server connection is free: settings leak, and locks end up in strange hands.
"""

from __future__ import annotations

import psycopg

from holdfast.domain.errors import RefusedError
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.connection import Connection, connect

_ROUNDS = 3


def refuse_transaction_pooling(
    connection: Connection, address: ServerAddress, *, application_name: str
) -> None:
    """Raises `RefusedError` naming the address to use instead, if sessions do not keep their connection."""
    if is_direct(connection):
        return
    if pools_transactions(connection, address, application_name=application_name):
        raise RefusedError(
            f"{address.display()} is a pooler in transaction mode, through which no snapshot can be held",
            hint=direct_address_hint(address),
        )


def is_direct(connection: Connection) -> bool:
    """Whether the server itself answered the connection: poolers hand out a process id of their own making."""
    row = connection.execute("SELECT pg_catalog.pg_backend_pid()").fetchone()
    return row is not None and row[0] == connection.pgconn.backend_pid


def pools_transactions(connection: Connection, address: ServerAddress, *, application_name: str) -> bool:
    """Whether two statements of one session can run on two server connections, or cannot be one transaction.

    A second session occupies, in an open transaction, whichever server connection is free: in transaction mode
    that may be the one that the first session had, which then gets another.
    """
    mine = {_pid(connection)}
    others = []
    try:
        for _ in range(_ROUNDS):
            other = connect(address, application_name=application_name)
            others.append(other)
            other.execute("BEGIN")
            theirs = _pid(other)
            mine.add(_pid(connection))
            if theirs in mine or len(mine) > 1:
                return True
    except psycopg.Error:  # statement mode has no transactions at all
        return True
    finally:
        for other in others:
            other.close()
    return False


def direct_address_hint(address: ServerAddress) -> str:
    """Where the server itself, or a session-mode pool, is to be found with the providers that are known."""
    host = address.host
    if host.endswith(".pooler.supabase.com"):
        return f"use port 5432 of {host} (session mode), or the direct host db.<project>.supabase.co"
    if host.endswith(".supabase.co"):
        return f"use port 5432 of {host}"
    if ".neon." in host and "-pooler." in host:
        return f"use the host {host.replace('-pooler.', '.', 1)}"
    if host.endswith(".ondigitalocean.com"):
        return "use the cluster's own port (25060) instead of the connection pool's"
    return "give the address of the server itself, or of a pool in session mode"


def _pid(connection: Connection) -> int:
    row = connection.execute("SELECT pg_catalog.pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])
