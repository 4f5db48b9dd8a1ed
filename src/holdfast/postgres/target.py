"""The database that a restore goes into: whether it may be used, how it is made, and the mark it bears meanwhile.

Invariant: nothing is restored into a database that holds anything, and a database that holds part of a restore
says so: the mark is committed before the first definition and is dropped by the restore's last transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from holdfast.domain.errors import (
    HoldfastError,
    LackingRightsError,
    RefusedError,
    UnreachableError,
)
from holdfast.domain.manifest import DatabaseFacts
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.connection import Connection, connect
from holdfast.postgres.failures import sqlstate_of
from holdfast.postgres.marker import MARKER_SCHEMA, Marker, read_marker
from holdfast.postgres.names import literal, quote
from holdfast.postgres.queries import query
from holdfast.postgres.target_connection import APPLICATION_NAME, connect_beside, failed

NAMED_AT_MOST = 5

# For all index builds of a restore together, on a server that says nothing of its memory but shared_buffers.
LEAST_MAINTENANCE_BYTES = 512 * 1024 * 1024

_NO_SUCH_DATABASE = "3D000"
_IN_USE = "55006"
_LACKING_RIGHTS = "42501"
_PROVIDERS_SINCE = {"libc": 0, "icu": 150_000, "builtin": 170_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerated:
    """What a target may hold and still count as empty: what a provider puts into every new database."""

    schemas: frozenset[str] = frozenset()
    extensions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFacts:
    """A database that is ready to be restored into. `comment` is the one it has now.

    `maintenance_memory_bytes` is what all index builds together may take, judged from the server's settings;
    `parallel_maintenance_workers` how many processes beside its own one build may have.
    """

    server_version: int
    encoding: str
    collate: str | None
    comment: str | None
    maintenance_memory_bytes: int
    parallel_maintenance_workers: int


class Target:
    """One database on the server to restore to, existing or not. Every method opens its own connection."""

    def __init__(self, address: ServerAddress) -> None:
        self.address = address

    def exists(self) -> bool:
        """Whether the database is there. Raises `UnreachableError` if the server cannot be asked."""
        with self._maintenance() as connection:
            found = connection.execute(
                "SELECT FROM pg_catalog.pg_database WHERE datname = %s", (self.address.database,)
            )
            return found.fetchone() is not None

    def create(self, facts: DatabaseFacts, *, owner: bool = True) -> None:
        """Create it with the encoding and the locale of the one that was captured.

        `owner`: give it the same owner, if there is such a role. Raises `RefusedError` if it exists, and
        `UnreachableError` if this server cannot make one like it.
        """
        with self._maintenance() as connection:
            if owner:
                known = connection.execute(
                    "SELECT FROM pg_catalog.pg_roles WHERE rolname = %s", (facts.owner,)
                ).fetchone()
                owner = known is not None
            statement = creation(
                self.address.database,
                facts,
                connection.info.server_version,
                owner=facts.owner if owner else None,
            )
            try:
                connection.execute(statement.encode())
            except psycopg.Error as error:
                raise self._not_created(error, facts) from error

    def check_can_drop(self) -> None:
        """Raise `RefusedError` with the reason if the database could not be dropped."""
        with self._maintenance() as connection:
            text = query("target_hindrances", connection.info.server_version)
            row = connection.execute(text.encode(), (self.address.database,)).fetchone()
        if row is None:
            return
        owned, template, owner, subscriptions, slots = row
        name = self.address.database
        if template:
            raise RefusedError(
                f"database {name} is a template and cannot be dropped",
                hint=f"run ALTER DATABASE {quote(name)} IS_TEMPLATE false",
            )
        if not owned:
            raise RefusedError(
                f"database {name} belongs to {owner}, so {self.address.user} cannot drop it",
                hint="restore into a new database with --create, or connect as its owner",
            )
        if subscriptions:
            raise RefusedError(
                f"database {name} has the subscription {subscriptions[0]} and cannot be dropped",
                hint=f"in it run ALTER SUBSCRIPTION {quote(subscriptions[0])} DISABLE, then DROP SUBSCRIPTION",
            )
        if slots:
            raise RefusedError(
                f"database {name} is read through the replication slot {slots[0]} and cannot be dropped",
                hint="stop what reads from the slot",
            )

    def drop(self) -> None:
        """Drop the database with all its connections. The caller has asked the operator."""
        self.check_can_drop()
        with self._maintenance() as connection:
            force = " WITH (FORCE)" if connection.info.server_version >= 130_000 else ""
            statement = f"DROP DATABASE IF EXISTS {quote(self.address.database)}{force}"
            try:
                connection.execute(statement.encode())
            except psycopg.Error as error:
                if sqlstate_of(error) in (_IN_USE, _LACKING_RIGHTS):
                    reason = failed(error, self.address, doing="dropping it")
                    raise RefusedError(f"database {self.address.database} stays: {reason}") from error
                raise failed(error, self.address, doing=f"dropping {self.address.database}") from error

    def unfinished_restore(self) -> str | None:
        """In words, the unfinished restore that it holds a part of, if it does."""
        with self._inside() as connection:
            marker = read_marker(connection)
        return None if marker is None else str(marker)

    def check_ready(
        self,
        *,
        source_version: int,
        encoding: str | None = None,
        tolerate: Tolerated | None = None,
        empty: bool = True,
    ) -> TargetFacts:
        """Make sure that a snapshot of a server of that version can be restored here; change nothing.

        `encoding` is the snapshot's. Raises `RefusedError` if the database holds anything (unless `empty` is
        False), part of another restore, or if the server is older, a standby, or stores text in an encoding
        that may not hold it.
        """
        with self._inside() as connection:
            row = connection.execute(query("target_facts", connection.info.server_version)).fetchone()
            if row is None:
                raise UnreachableError(f"{self.address.display()} does not know its own database")
            version, standby, read_only, own_encoding, collate, comment, shared, maintenance, parallel = row
            self._check_server(version, source_version, standby=standby, read_only=read_only)
            self._check_encoding(own_encoding, encoding or own_encoding)
            marker = read_marker(connection)
            if marker is not None:
                raise self._incomplete(marker, empty=empty)
            if empty:
                self._check_empty(connection, tolerate or Tolerated())
        return TargetFacts(
            server_version=version,
            encoding=own_encoding,
            collate=collate,
            comment=comment,
            maintenance_memory_bytes=max(LEAST_MAINTENANCE_BYTES, 2 * shared, maintenance),
            parallel_maintenance_workers=parallel,
        )

    def _check_server(self, version: int, source_version: int, *, standby: bool, read_only: bool) -> None:
        where = self.address.display()
        if standby:
            raise RefusedError(f"{where} is a standby", hint="restore to its primary")
        if read_only:
            raise RefusedError(
                f"transactions in {where} are read-only by default",
                hint=f"run ALTER DATABASE {quote(self.address.database)} RESET default_transaction_read_only",
            )
        if version // 10_000 < source_version // 10_000:
            major = source_version // 10_000
            raise RefusedError(
                f"{where} is PostgreSQL {version // 10_000}, the snapshot is of PostgreSQL {major}",
                hint=f"restore to a server of version {major} or later",
            )

    def _check_encoding(self, encoding: str, source: str) -> None:
        if encoding == source or (encoding == "UTF8" and source != "SQL_ASCII"):
            return
        raise RefusedError(
            f"{self.address.display()} stores text as {encoding}, the snapshot's is {source}",
            hint=f"restore into a database made with ENCODING '{source}', or let --create make it",
        )

    def _check_empty(self, connection: Connection, tolerate: Tolerated) -> None:
        found = [
            f"{kind} {name}" if schema in ("pg_catalog", name) else f"{kind} {schema}.{name}"
            for kind, schema, name in connection.execute(
                query("target_contents", connection.info.server_version)
            )
            if not (schema in tolerate.schemas or (kind == "extension" and name in tolerate.extensions))
        ]
        if found:
            named = ", ".join(found[:NAMED_AT_MOST])
            more = f" and {len(found) - NAMED_AT_MOST} more" if len(found) > NAMED_AT_MOST else ""
            raise RefusedError(
                f"{self.address.display()} is not empty: it holds {named}{more}",
                hint=f"restore into a new database with --create, or overwrite it with "
                f"--replace {self.address.database}",
            )

    def _incomplete(self, marker: Marker, *, empty: bool) -> RefusedError:
        again = f"start over with --replace {self.address.database}"
        mend = f"empty the tables that were being loaded, then run DROP SCHEMA {MARKER_SCHEMA} CASCADE"
        return RefusedError(f"{self.address.display()} holds {marker}", hint=again if empty else mend)

    def _not_created(self, error: psycopg.Error, facts: DatabaseFacts) -> HoldfastError:
        name = self.address.database
        doing = f"creating database {name}"
        if sqlstate_of(error) == "42P04":
            return RefusedError(
                f"database {name} exists already",
                hint=f"overwrite it with --replace {name}, or choose another name",
            )
        if sqlstate_of(error) == _LACKING_RIGHTS:
            return LackingRightsError(
                str(failed(error, self.address, doing=doing)),
                hint=f"as an administrator run ALTER ROLE {quote(self.address.user)} CREATEDB",
            )
        said = str(error).lower()
        if any(word in said for word in ("locale", "collat", "lc_", "icu", "builtin", "provider")):
            wanted = facts.locale or facts.collate
            return UnreachableError(
                f"{doing} failed: this server lacks the {facts.locale_provider} locale {wanted}: "
                f"{self.address.scrub(str(error).splitlines()[0])}",
                hint="install that locale on the server's host, or create an empty database with another one "
                "and restore into it",
            )
        return failed(error, self.address, doing=doing)

    @contextmanager
    def _inside(self) -> Iterator[Connection]:
        connection = connect(self.address, application_name=APPLICATION_NAME, purpose="target")
        with connection:
            try:
                yield connection
            except psycopg.Error as error:
                raise failed(error, self.address, doing=f"examining {self.address.display()}") from error

    @contextmanager
    def _maintenance(self) -> Iterator[Connection]:
        """A connection to another database of the server, from which this one can be made and dropped."""
        with connect_beside(self.address) as connection:
            try:
                yield connection
            except psycopg.Error as error:
                raise failed(error, self.address, doing="examining the server") from error


def creation(name: str, facts: DatabaseFacts, server_version: int, *, owner: str | None) -> str:
    """CREATE DATABASE for one like the captured one. Raises `UnreachableError` if the server is too old for it."""
    provider = facts.locale_provider
    since = _PROVIDERS_SINCE.get(provider)
    if since is None or server_version < since:
        raise UnreachableError(
            f"PostgreSQL {server_version // 10_000} cannot make a database with the locale provider {provider}",
            hint="create an empty database with another locale and restore into it",
        )
    words = [f"CREATE DATABASE {quote(name)} TEMPLATE template0 ENCODING {literal(facts.encoding)}"]
    if server_version >= 150_000:
        words.append(f"LOCALE_PROVIDER {provider}")
    if facts.collate is not None:
        words.append(f"LC_COLLATE {literal(facts.collate)}")
    if facts.ctype is not None:
        words.append(f"LC_CTYPE {literal(facts.ctype)}")
    if facts.locale is not None and provider in ("icu", "builtin"):
        words.append(f"{provider.upper()}_LOCALE {literal(facts.locale)}")
    if facts.icu_rules is not None and server_version >= 160_000:
        words.append(f"ICU_RULES {literal(facts.icu_rules)}")
    if owner is not None:
        words.append(f"OWNER {quote(owner)}")
    return " ".join(words)
