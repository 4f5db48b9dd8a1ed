"""What servers and drivers say when something fails, in Holdfast's words: the kind, the thing, the next step.

psycopg, asyncpg and the operating system are translated here and nowhere else. Invariant: no message repeats a
secret of the address.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from holdfast.domain.errors import (
    HoldfastError,
    LackingRightsError,
    SourceLostError,
    StorageFullError,
    TableBusyError,
    UnreachableError,
)

if TYPE_CHECKING:
    from holdfast.postgres.address import ServerAddress

LOCK_NOT_AVAILABLE = "55P03"
UNDEFINED_TABLE = "42P01"
UNDEFINED_SCHEMA = "3F000"
INSUFFICIENT_PRIVILEGE = "42501"
OUT_OF_MEMORY = ("53200", "53400")
DISK_FULL = "53100"
# The connection, the server or the transaction is gone.
_LOST = re.compile(r"(08...|57P0[12345]|25P0[34]|XX002)\Z")

_LOCKS_HINT = "raise max_locks_per_transaction on the server, or leave tables out"

# What libpq and servers say when a connection cannot be made: no SQLSTATE is handed out for these.
_REFUSALS = (
    (r"no password supplied|empty password", "give the password in PGPASSWORD, ~/.pgpass, or the address"),
    (r"authentication failed|password.*(wrong|incorrect|invalid)", "check the user's name and password"),
    (r"no pg_hba\.conf entry.*(no encryption|SSL off)", "add sslmode=require to the address"),
    (r"no pg_hba\.conf entry", "allow this host, user and database in the server's pg_hba.conf"),
    (r"role .* does not exist", "check the user's name in the address"),
    (r"database .* does not exist|Database not found", "check the database's name in the address"),
    (r"permission denied for database", "as the database's owner run GRANT CONNECT ON DATABASE … TO …"),
    (r"not permitted to log in", "as an administrator run ALTER ROLE … LOGIN"),
    (
        r"too many (clients|connections)|connection slots|MaxClientsInSessionMode|max_client_conn",
        "close other connections, raise max_connections, or lower the number of jobs",
    ),
    (r"Tenant or user not found", "write the pooler's user as postgres.<project reference>"),
    (
        r"could not translate host name|Name or service not known|nodename nor servname",
        "check the host's name",
    ),
    (r"Connection refused|No such file or directory", "check host and port, and that the server runs"),
    (
        r"timeout expired|timed out|No route to host|Network is unreachable",
        "check the network and the firewall",
    ),
    (r"server does not support SSL", "the server has no TLS: use sslmode=prefer if that is acceptable"),
    (r"certificate|SSL error", "give the authority's certificate in sslrootcert, or use sslrootcert=system"),
    (r"starting up|shutting down|recovery mode|not yet accepting|in recovery", "wait until the server is up"),
    (r"channel binding", "leave out channel_binding=require, or reach the server without a proxy"),
)


def sqlstate_of(error: BaseException | None) -> str:
    """The five characters of a server's error, from either driver; empty if there are none."""
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else ""


def refusal(error: BaseException, address: ServerAddress) -> HoldfastError:
    """Why no connection could be made."""
    said = _told(error, address)
    hints = (hint for pattern, hint in _REFUSALS if re.search(pattern, said, flags=re.IGNORECASE))
    hint = next(hints, "check the address, the network and the server's log")
    kind = LackingRightsError if "permission denied" in said or "not permitted" in said else UnreachableError
    return kind(f"cannot connect to {address.display()}: {said}", hint=hint)


def translate(error: BaseException, address: ServerAddress, *, doing: str) -> HoldfastError:
    """Why `doing` failed on an open connection; for `raise translate(…) from error`. Ours pass unchanged."""
    if isinstance(error, HoldfastError):
        return error
    state, said = sqlstate_of(error), _told(error, address)
    message = f"{doing} failed: {said}"
    if state == INSUFFICIENT_PRIVILEGE:
        return LackingRightsError(
            message, hint="run holdfast doctor: it names the statement that grants the right"
        )
    if state == LOCK_NOT_AVAILABLE:
        return TableBusyError(message, hint="run it again when no other session alters the table")
    if state in OUT_OF_MEMORY:
        return UnreachableError(
            message, hint=_LOCKS_HINT if "lock" in said or "shared memory" in said else None
        )
    if state == DISK_FULL:
        return StorageFullError(message, hint="make room on the database server")
    if state == "40001" and "recovery" in said:
        return SourceLostError(
            message, hint="set hot_standby_feedback=on on the standby, or read from the primary"
        )
    if is_lost(error):
        return SourceLostError(
            f"the connection to {address.display()} was lost while {doing}: {said}",
            hint="run it again; what was stored so far is reused",
        )
    return UnreachableError(message, hint="see the server's log")


def is_lost(error: BaseException) -> bool:
    """Whether the connection, or the transaction that held the snapshot, is gone."""
    state = sqlstate_of(error)
    if state:
        return bool(_LOST.match(state))
    # Without a SQLSTATE it was not the server that spoke: the driver or the system lost it.
    return isinstance(error, OSError | EOFError) or type(error).__name__ in (
        "OperationalError",
        "ConnectionDoesNotExistError",
        "InterfaceError",
        "InternalClientError",
    )


def _told(error: BaseException, address: ServerAddress) -> str:
    """The first line of what was said, with its detail, without secrets and prefixes."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[0] if lines else type(error).__name__
    for line in lines[1:]:
        if not line.startswith(("LINE", "^", "HINT:", "CONTEXT:", "Multiple connection attempts", "- ")):
            said += f" ({line})"
    said = re.sub(r"^(connection failed: )+", "", said).replace("FATAL: ", "").replace("ERROR: ", "")
    return address.scrub(" ".join(said.split())).rstrip(".")
