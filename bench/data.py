"""The databases that are measured, built once, and recognised when a kept server has them already.

How a database was built is written into its comment; another recipe means that it is built anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

from bench.measure import BenchError
from bench.server import Server

HERE = Path(__file__).parent
APP_COUNTS = ("400000", "2500000", "800000")  # rows of users, events, orders in app.sql

STANDARD_SCALE = 60
LARGE_SCALE_FACTOR = 20  # the application's part stays as it is, so ten times the bytes takes more of pgbench
STANDARD_TABLES = 10_000

_OBJECTS = """
    SELECT
      (SELECT count(*) FROM pg_class c WHERE c.relnamespace = ANY (ours) AND c.relkind IN ('r', 'p')),
      (SELECT count(*) FROM pg_class c WHERE c.relnamespace = ANY (ours) AND c.relkind = 'i'),
      (SELECT count(*) FROM pg_constraint c WHERE c.connamespace = ANY (ours)),
      (SELECT count(*) FROM pg_policy)
    FROM (
      SELECT array_agg(oid) AS ours FROM pg_namespace
      WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
    ) AS schemas
"""
_COUNT_ROWS = """
    CREATE FUNCTION pg_temp.count_rows() RETURNS bigint LANGUAGE plpgsql AS $$
    DECLARE
      place regclass;
      here bigint;
      total bigint := 0;
    BEGIN
      FOR place IN
        SELECT oid FROM pg_class WHERE relkind = 'r' AND oid >= 16384 AND relpersistence <> 't'
      LOOP
        EXECUTE format('SELECT count(*) FROM ONLY %s', place) INTO here;
        total := total + here;
      END LOOP;
      RETURN total;
    END
    $$
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A database to measure. `recipe` says how it is built, in words that change when the result would."""

    name: str
    recipe: str
    build: Callable[[Server, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a restored database must have as many of as its source."""

    tables: int
    indexes: int
    constraints: int
    policies: int
    rows: int


def application(name: str, *, scale: int, rows_divisor: int = 1) -> Database:
    """The schema of app.sql beside pgbench's. At scale 60 it is 1.28 GB of COPY text."""

    def build(server: Server, database: str) -> None:
        server.script(database, _app_sql(rows_divisor))
        server.run(server.tool("pgbench"), "-i", "-q", "-s", str(scale), server.url(database))

    words = f"app.sql with rows / {rows_divisor}" if rows_divisor > 1 else "app.sql"
    return Database(name=name, recipe=f"{words} and pgbench scale {scale}", build=build)


def many_tables(name: str, *, tables: int) -> Database:
    """Tables of ten rows each, with a primary key."""

    def build(server: Server, database: str) -> None:
        server.script(database, (HERE / "many.sql").read_text(encoding="utf-8"), tables=str(tables))

    return Database(name=name, recipe=f"{tables} tables of 10 rows", build=build)


def prepare(server: Server, database: Database) -> None:
    """Have the database on the server, and its files in the system's cache."""
    if _comment(server, database.name) == database.recipe:
        _read_once(server, database.name)
        return
    server.drop(database.name)
    server.create(database.name)
    database.build(server, database.name)
    with server.connected() as connection:
        comment = sql.SQL("COMMENT ON DATABASE {} IS {}")
        connection.execute(comment.format(sql.Identifier(database.name), sql.Literal(database.recipe)))


def contents(server: Server, database: str) -> Contents:
    with server.connected(database) as connection:
        objects = connection.execute(_OBJECTS).fetchone()
        connection.execute(_COUNT_ROWS)
        rows = connection.execute("SELECT pg_temp.count_rows()").fetchone()
    if objects is None or rows is None:
        raise BenchError(f"database {database} does not say what it holds")
    tables, indexes, constraints, policies = objects
    return Contents(tables=tables, indexes=indexes, constraints=constraints, policies=policies, rows=rows[0])


def _comment(server: Server, database: str) -> str | None:
    with server.connected() as connection:
        row = connection.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [database]
        ).fetchone()
    return row[0] if row else None


def _read_once(server: Server, database: str) -> None:
    """A server that was just started has cold caches; the first contender should not pay for that."""
    server.run(server.tool("pg_dump"), "--no-sync", "-f", "/dev/null", "-d", server.url(database))


def _app_sql(rows_divisor: int) -> str:
    text = (HERE / "app.sql").read_text(encoding="utf-8")
    for count in APP_COUNTS:
        text = re.sub(rf"\b{count}\b", str(max(int(count) // rows_divisor, 1)), text)
    return text
