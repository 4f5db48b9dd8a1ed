"""The mark that a restore in progress leaves in its target, so that no half of one is ever taken for a whole.

Invariant: committed before the restore's first change, dropped by its last transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from holdfast.postgres.connection import Connection
from holdfast.postgres.names import literal, quote
from holdfast.postgres.queries import query

MARKER_SCHEMA = "holdfast_incomplete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """The mark of a restore that has not finished: of which snapshot, and when it began."""

    snapshot: str
    started_at: datetime

    def __str__(self) -> str:
        moment = self.started_at.isoformat(sep=" ", timespec="seconds")
        return f"an incomplete restore of snapshot {self.snapshot} begun at {moment}"


def read_marker(connection: Connection) -> Marker | None:
    row = connection.execute(query("target_marker", connection.info.server_version)).fetchone()
    if row is None or not row[0]:
        return None
    found = connection.execute(
        f"SELECT snapshot, started_at FROM {MARKER_SCHEMA}.restore LIMIT 1".encode()  # noqa: S608
    ).fetchone()
    return Marker(snapshot=found[0], started_at=found[1]) if found else None


def set_marker(connection: Connection, snapshot: str, *, comment: bool) -> None:
    """Commit the mark of an unfinished restore; with `comment`, on the database too, where that is allowed."""
    database = quote(connection.info.dbname)
    with connection.transaction():
        connection.execute("SET LOCAL synchronous_commit = on")
        connection.execute(f"CREATE SCHEMA {MARKER_SCHEMA}".encode())
        connection.execute(
            f"CREATE TABLE {MARKER_SCHEMA}.restore"
            "(snapshot text NOT NULL, started_at timestamptz NOT NULL, note text NOT NULL)".encode()
        )
        connection.execute(
            f"INSERT INTO {MARKER_SCHEMA}.restore VALUES (%s, pg_catalog.now(), %s)".encode(),  # noqa: S608
            (snapshot, "this database is incomplete: a restore has not finished"),
        )
    if comment:
        text = f"INCOMPLETE: a restore of snapshot {snapshot} has not finished"
        _allowed(connection, f"COMMENT ON DATABASE {database} IS {literal(text)}")


def drop_marker(connection: Connection) -> None:
    """Take the mark away; part of the caller's last transaction."""
    connection.execute(f"DROP TABLE {MARKER_SCHEMA}.restore; DROP SCHEMA {MARKER_SCHEMA}".encode())


def restore_comment(connection: Connection, comment: str | None) -> None:
    """Put the database's own comment in the place of the mark's."""
    text = "NULL" if comment is None else literal(comment)
    _allowed(connection, f"COMMENT ON DATABASE {quote(connection.info.dbname)} IS {text}")


def _allowed(connection: psycopg.Connection[Any], statement: str) -> None:
    """Run what only the database's owner may; do without it if we are not."""
    try:
        connection.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege:
        return
