"""Real PostgreSQL servers for tests: one per major and test process, started when first asked for.

Running initdb takes a second, copying its result a tenth: one run of the suite does it once per major.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from holdfast.postgres.scratch import ScratchServer
from holdfast.postgres.tools import Toolset, available_extensions, find_tools
from patience import wait_until

TEST_SETTINGS: Mapping[str, str] = {
    "shared_buffers": "64MB",
    "max_connections": "60",
    "max_locks_per_transaction": "256",
    "max_prepared_transactions": "10",
    "wal_level": "logical",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "1h",
    "jit": "off",
}


@cache
def servers_at_hand() -> Mapping[int, Toolset]:
    """The server programs of each major; of several, those with the most extensions, then the newest."""

    def rank(toolset: Toolset) -> tuple[int, int]:
        return len(available_extensions(toolset)), toolset.version.minor

    found = sorted((toolset for toolset in find_tools() if toolset.is_server), key=rank)
    return {toolset.major: toolset for toolset in found}


def majors_at_hand() -> tuple[int, ...]:
    """The majors that tests can run against, oldest first."""
    return tuple(sorted(servers_at_hand()))


def own_server(
    major: int | None = None,
    folder: Path | None = None,
    *,
    settings: Mapping[str, str] | None = None,
    template: Path | None = None,
) -> ScratchServer:
    """A server of one's own, tuned like the shared ones, not started; the newest major by default.

    For tests that kill it, fill its disk, or need a system identifier or settings of its own.
    """
    major = majors_at_hand()[-1] if major is None and majors_at_hand() else major
    toolset = servers_at_hand().get(major or 0)
    if toolset is None:
        pytest.skip(f"no server programs of PostgreSQL {major} at hand")
    return ScratchServer(
        toolset, folder, settings={**TEST_SETTINGS, **(settings or {})}, trust=True, template=template
    )


class ServerPool:
    """`pool(major)` is the shared server of that major, running; `pool()` the newest one.

    A test that stops or kills it does no harm to the next: it is started again when asked for.
    """

    def __init__(self, templates: Path) -> None:
        self._templates = templates
        self._servers: dict[int, ScratchServer] = {}

    def __call__(self, major: int | None = None) -> ScratchServer:
        major = majors_at_hand()[-1] if major is None and majors_at_hand() else major
        server = self._servers.get(major or 0)
        if server is None:
            server = self._create(major)
            self._servers[server.major] = server
        server.start()
        return server

    def close(self) -> None:
        for server in self._servers.values():
            server.close()

    def _create(self, major: int | None) -> ScratchServer:
        """The first process of the run to come here makes the template, the others wait for it."""
        template = self._templates / f"cluster-{major}"
        failed = template.with_suffix(".failed")
        first = own_server(major)  # skips if there is none
        try:
            template.with_suffix(".lock").mkdir()
        except FileExistsError:
            wait_until(lambda: template.exists() or failed.exists(), "the template of another process")
            first.close()
            return own_server(major, template=template if template.exists() else None)
        try:
            first.start()
            first.stop()
            unfinished = template.with_suffix(".unfinished")
            shutil.copytree(first.data, unfinished)
            unfinished.rename(template)
        except BaseException:
            failed.touch()
            raise
        return first


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A database of one test."""

    server: ScratchServer
    name: str

    @property
    def dsn(self) -> str:
        """As the superuser, over TCP."""
        return self.server.dsn(self.name)

    def dsn_as(self, user: str, password: str | None = None) -> str:
        return self.server.dsn(self.name, user=user, password=password)

    def connect(self, user: str | None = None) -> psycopg.Connection[tuple[object, ...]]:
        """A connection that commits every statement; the caller closes it."""
        return psycopg.connect(self.server.dsn(self.name, user=user), autocommit=True)

    def execute(self, *statements: str) -> None:
        """Run SQL scripts as the superuser, each in a transaction of its own."""
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def wait_for_blocked(self) -> None:
        """Return once somebody waits for a lock on something in this database."""
        waiting = (
            "select 1 from pg_locks where not granted and database ="
            " (select oid from pg_database where datname = current_database())"
        )
        wait_until(lambda: self.rows(waiting), "a wait for a lock")

    def wait_for_none(self, query: str) -> None:
        """Return once a query finds no row: server processes take a moment to go after their client has."""
        wait_until(lambda: not self.rows(query), lambda: f"no row of {query}, but {self.rows(query)},")

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """What a query returns, to the superuser."""
        with self.connect() as connection:
            return connection.execute(query.encode()).fetchall()


@contextmanager
def fresh_database(
    server: ScratchServer,
    name_prefix: str = "test",
    *,
    encoding: str | None = None,
    locale: str | None = None,
    owner: str | None = None,
    options: str = "",
) -> Iterator[Database]:
    """A new empty database, dropped with its connections at the end. Roles are the cluster's: drop your own."""
    name = f"{name_prefix}_{secrets.token_hex(4)}"
    server.create_database(name, encoding=encoding, locale=locale, owner=owner, options=options)
    try:
        yield Database(server=server, name=name)
    finally:
        if server.running:
            drop_with_subscriptions(server, name)


def drop_with_subscriptions(server: ScratchServer, name: str) -> None:
    """Drop a database, if it is there; a subscription in it would be in the way, and is dropped first."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        known = connection.execute("select 1 from pg_database where datname = %s", [name]).fetchall()
    if not known:
        return
    with psycopg.connect(server.dsn(name), autocommit=True) as connection:
        connection.execute("set torture.allow_ddl = on")  # what the torture database's event triggers ask for
        for (subscription,) in connection.execute(
            "select subname from pg_subscription where subdbid = (select oid from pg_database where datname = %s)",
            [name],
        ).fetchall():
            quoted = sql.Identifier(subscription)
            for change in ("disable", "set (slot_name = none)"):
                connection.execute(sql.SQL("alter subscription {} " + change).format(quoted))
            connection.execute(sql.SQL("drop subscription {}").format(quoted))
    server.drop_database(name)
