"""Connections for catalog queries and for holding a snapshot: plain psycopg, with the settings that make rows
read the same whatever the database's own settings are.

Invariant: no session of ours reads or writes rows before `SETTINGS` hold in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from holdfast.postgres.address import ServerAddress
from holdfast.postgres.failures import refusal, translate
from holdfast.postgres.names import literal

Connection = psycopg.Connection[tuple[Any, ...]]

CONNECT_TIMEOUT_SECONDS = 15

# ENGINE 1: how values are written as text, which rows are seen, and that nothing gives up on its own.
SETTINGS: Mapping[str, str] = {
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmloption": "content",
    "xmlbinary": "base64",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "quote_all_identifiers": "off",
    "synchronize_seqscans": "off",
    "row_security": "off",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    "lock_timeout": "0",
    "default_transaction_deferrable": "off",
    "client_min_messages": "warning",
    "restrict_nonsystem_relation_kind": "view, foreign-table",
}

# Rows come in the order of the heap, so no plan but a scan of it, alone and from its beginning.
READING: Mapping[str, str] = {
    "enable_tidscan": "on",
    "enable_indexscan": "off",
    "enable_indexonlyscan": "off",
    "enable_bitmapscan": "off",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}

# Idle for as long as the longest table takes to read, through firewalls that forget idle connections.
_KEEPALIVE = {"keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3"}


def connect(address: ServerAddress, *, application_name: str, purpose: str = "source") -> Connection:
    """An open connection in autocommit mode with `SETTINGS`. `purpose` names it in messages.

    Raises `UnreachableError` or `LackingRightsError` with what to do.
    """
    try:
        connection: Connection = psycopg.connect(
            conninfo_for(address, application_name=application_name), autocommit=True, prepare_threshold=None
        )
    except (psycopg.Error, OSError, ValueError) as error:
        raise refusal(error, address) from error
    try:
        if server_encoding(connection) == "SQL_ASCII":
            # No encoding is known: one byte is one character, so that every name survives the round trip.
            connection.execute("SET client_encoding TO 'LATIN1'")
        connection.execute(settings_statement(SETTINGS))
    except psycopg.Error as error:
        connection.close()
        raise translate(error, address, doing=f"preparing the {purpose} connection") from error
    return connection


def conninfo_for(address: ServerAddress, *, application_name: str) -> str:
    """With what every connection of ours has beside the address. It holds the password."""
    ours = {name: value for name, value in _KEEPALIVE.items() if address.get(name) is None}
    if address.get("connect_timeout") is None:
        ours["connect_timeout"] = str(CONNECT_TIMEOUT_SECONDS)
    return make_conninfo(address.conninfo, client_encoding="UTF8", application_name=application_name, **ours)


def settings_statement(settings: Mapping[str, str]) -> str:
    """One text of two statements that sets them, passing over those that the server does not know.

    The search path goes first and alone: with the database's own, even `=` might be someone else's.
    """
    values = ", ".join(f"({literal(name)}, {literal(value)})" for name, value in settings.items())
    return (
        "SELECT pg_catalog.set_config('search_path', '', false); "  # noqa: S608 - quoted by literal
        f"SELECT pg_catalog.set_config(w.name, w.value, false) FROM (VALUES {values}) AS w (name, value) "
        "JOIN pg_catalog.pg_settings AS s ON s.name = w.name"
    )


def server_encoding(connection: Connection) -> str:
    """The database's encoding; the server reports it when a connection is made."""
    return (connection.pgconn.parameter_status(b"server_encoding") or b"").decode()
