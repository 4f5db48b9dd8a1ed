"""Connections to a target, and what goes wrong on them, in our words.

Invariant: what such a connection commits is flushed to disk by the restore's last transaction, not before.
"""

from __future__ import annotations

import psycopg

from holdfast.domain.errors import HoldfastError, LackingRightsError, RestoreFailedError, UnreachableError
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.connection import Connection, connect, conninfo_for, settings_statement
from holdfast.postgres.failures import is_lost, refusal, translate

APPLICATION_NAME = "holdfast/restore"


def connect_for_restore(
    address: ServerAddress, *, snapshot: str, maintenance_memory_bytes: int
) -> Connection:
    """A connection that writes: what it commits is flushed by the restore's last transaction."""
    settings = {
        "synchronous_commit": "off",
        "maintenance_work_mem": f"{maintenance_memory_bytes // 1024}kB",
        "check_function_bodies": "off",
        "default_transaction_isolation": "read committed",
        "default_transaction_read_only": "off",
        "restrict_nonsystem_relation_kind": "",
        "vacuum_cost_delay": "0",
        "jit": "off",
    }
    connection = connect(address, application_name=f"holdfast/{snapshot}", purpose="target")
    try:
        connection.execute(settings_statement(settings).encode())
    except psycopg.Error as error:
        connection.close()
        raise failed(error, address, doing="preparing a connection") from error
    return connection


def connect_as_user(address: ServerAddress, *, snapshot: str) -> Connection:
    """A connection with the database's own settings, as its users have them; it only never gives up."""
    try:
        connection: Connection = psycopg.connect(
            conninfo_for(address, application_name=f"holdfast/{snapshot}"),
            autocommit=True,
            prepare_threshold=None,
        )
    except psycopg.Error as error:
        raise refusal(error, address) from error
    try:
        connection.execute(
            "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; "
            "SET default_transaction_read_only = off; SET client_min_messages = warning"
        )
    except psycopg.Error as error:
        connection.close()
        raise failed(error, address, doing="preparing a connection") from error
    return connection


def connect_beside(address: ServerAddress) -> Connection:
    """A connection to the server's maintenance database: `postgres`, or `template1` where there is none."""
    names = [name for name in ("postgres", "template1") if name != address.database]
    problem: HoldfastError | None = None
    for name in names:
        try:
            return connect(address.with_database(name), application_name=APPLICATION_NAME, purpose="target")
        except UnreachableError as error:
            cause = error.__cause__
            if problem is None:
                problem = error
            if not (isinstance(cause, psycopg.Error) and "does not exist" in str(cause)):
                break
    raise problem or UnreachableError(f"{address.display()} has no maintenance database")


def failed(error: BaseException, address: ServerAddress, *, doing: str) -> HoldfastError:
    """What went wrong with the target, in our words; for `raise failed(…) from error`."""
    if not isinstance(error, HoldfastError) and is_lost(error):
        return UnreachableError(
            f"the connection to {address.display()} was lost while {doing}: {_first_line(error, address)}",
            hint=f"start over with --replace {address.database} when the server is up again",
        )
    translated = translate(error, address, doing=doing)
    if isinstance(translated, LackingRightsError):
        translated.hint = "restore as a role with more rights, or with --no-owner and --no-acl"
    elif type(translated) is UnreachableError:
        return RestoreFailedError(
            translated.message,
            hint=f"mend what the server complains about, then restore with --replace {address.database}",
        )
    return translated


def _first_line(error: BaseException, address: ServerAddress) -> str:
    lines = str(error).strip().splitlines()
    return address.scrub(lines[0]) if lines else type(error).__name__
