"""Locking every table that is going to be read, before the snapshot is taken.

Invariant: when `lock_tables` returns, each of the tables is locked; when it raises, the caller's transaction is
over or has to be rolled back, and nothing stays locked.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import errors

from holdfast.domain.errors import TableBusyError
from holdfast.postgres.catalog import Relation, ask_rows
from holdfast.postgres.connection import Connection
from holdfast.postgres.names import qualified

LOCKS_PER_STATEMENT = 500

# The catalog moved between reading and locking: dropped, renamed, replaced by a view, closed to us.
MOVED = (
    errors.UndefinedTable,
    errors.InvalidSchemaName,
    errors.WrongObjectType,
    errors.InsufficientPrivilege,
    errors.DeadlockDetected,
)


class MovedError(Exception):
    """The catalog changed under our hands; taking a snapshot starts over."""


def lock_tables(connection: Connection, tables: Sequence[Relation]) -> None:
    """In batches, waiting as long as the session's lock_timeout says. LOCK TABLE takes no snapshot.

    Raises `TableBusyError` naming who is in the way (then the transaction is rolled back), or `MovedError`.
    """
    for start in range(0, len(tables), LOCKS_PER_STATEMENT):
        batch = tables[start : start + LOCKS_PER_STATEMENT]
        listed = ", ONLY ".join(qualified(relation.qualified_name) for relation in batch)
        try:
            connection.execute(f"LOCK TABLE ONLY {listed} IN ACCESS SHARE MODE")
        except errors.LockNotAvailable as error:
            connection.execute("ROLLBACK")
            raise _busy(connection, batch) from error
        except MOVED as error:
            raise MovedError(str(error).splitlines()[0]) from error


def _busy(connection: Connection, batch: Sequence[Relation]) -> TableBusyError:
    """Asked right after the wait: whoever shut us out holds or awaits an exclusive lock."""
    found = ask_rows(connection, "blockers", [relation.oid for relation in batch])
    if not found:
        return TableBusyError(
            f"one of {len(batch)} tables from {batch[0].qualified_name} on could not be locked in time",
            hint="run it again when no other session alters tables",
        )
    pid, name, user, application, state, statement, holds, seconds = found[0]
    if pid is None:
        return TableBusyError(
            f"table {name} cannot be locked: a prepared transaction holds an exclusive lock",
            hint="see pg_prepared_xacts, then run COMMIT PREPARED or ROLLBACK PREPARED",
        )
    shown = (user or "another user", application or "unnamed", state or "state not shown")
    who = f"{', '.join(shown)}, for {seconds or 0:.0f} s"
    return TableBusyError(
        f"table {name} cannot be locked: process {pid} ({who}) {'holds' if holds else 'waits for'} an exclusive "
        f"lock: {statement or 'its query is not shown to this role'}",
        hint=f"wait for process {pid}, or end it with SELECT pg_terminate_backend({pid})",
    )
