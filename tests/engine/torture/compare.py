"""The independent judge: is the target the same database as the source?

It shares no code with Holdfast, reads with psycopg's row protocol and pg_dump only, and compares
- every table's rows as a multiset of COPY text lines, whatever their physical order, generated columns included;
- sequences, large objects, extensions' configuration rows, materialized views and whether they are filled;
- pg_dump's text of all definitions, and apart from it the catalog facts of facts.sql and cluster.sql.

Partitions of a table that hashes an enum are compared together: the hash follows the label's oid, which a restore
changes, so rows rightly move between them. Invalid indexes are not compared: pg_dump leaves them out.

Between majors (`cross_version`) are not compared: versions of extensions, the right MAINTAIN where one side does
not know it, rights on the server's own objects, memberships' options. Definitions go through a reference
(definitions.py).
"""

from __future__ import annotations

import hashlib
import re
import string
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
from psycopg import sql

from .definitions import compare_definitions

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
Facts: TypeAlias = "dict[str, Counter[tuple[str, ...]]]"

HERE = Path(__file__).parent
LONG_ROW_BYTES = 4096
SETTINGS = (
    "search_path = ''",
    "DateStyle = ISO, MDY",
    "IntervalStyle = postgres",
    "TimeZone = UTC",
    "extra_float_digits = 3",
    "bytea_output = hex",
    "lc_monetary = 'C'",
    "xmloption = content",
    "row_security = off",
    "statement_timeout = 0",
    "lock_timeout = 0",
    "idle_in_transaction_session_timeout = 0",
    "default_transaction_deferrable = off",
    "quote_all_identifiers = off",
)


def queries(file: Path) -> Iterator[tuple[str, str]]:
    """The named queries of a file: each follows a line `--? name`."""
    parts = re.split(r"(?m)^--\? (.*)\n", file.read_text(encoding="utf-8"))
    yield from zip(parts[1::2], parts[2::2], strict=True)


ROWS = dict(queries(HERE / "rows.sql"))


def compare(
    source_dsn: str,
    target_dsn: str,
    *,
    pg_dump: Path | str,
    ignore_roles: Collection[str] = (),
    cross_version: bool = False,
    reference_dump: Path | None = None,
    database: bool = True,
    roles: bool = False,
) -> list[str]:
    """Return one line for every difference; an empty list says that the databases are the same.

    Across majors, `reference_dump` is the pg_dump that the backup used, if it is not `pg_dump`.

    Both sides are read as superuser. `pg_dump` is at least as new as both servers, with pg_restore beside it.
    `database` compares the database's own settings, rights, owner and comment; `roles` the cluster's roles,
    memberships and settings, without those in `ignore_roles` (whose rights are left out everywhere).
    """
    found = compare_definitions(
        source_dsn,
        target_dsn,
        pg_dump=Path(pg_dump),
        ignore_roles=ignore_roles,
        cross_version=cross_version,
        reference_dump=reference_dump,
    )
    with _session(source_dsn) as source, _session(target_dsn) as target:
        older = min(source.info.server_version, target.info.server_version)
        values = {
            "cross": str(cross_version).lower(),
            "maintain": str(not cross_version or older >= 170000).lower(),
            "ignored": sql.Literal([*ignore_roles]).as_string(source) + "::text[]",
        }
        wanted = [*queries(HERE / "facts.sql")]
        for name, text in queries(HERE / "cluster.sql"):
            if database if "database" in name else roles:
                wanted.append((name, text))
        for name, text in wanted:
            query = string.Template(text).substitute(values)
            found += _compare_facts(name, _facts(source, query), _facts(target, query))
        found += _compare_facts("sequence", _sequences(source), _sequences(target))
        found += _compare_rows(source, target)
    return found


@contextmanager
def _session(dsn: str) -> Iterator[Connection]:
    """One read-only snapshot under fixed settings. SQL_ASCII is read as LATIN1: a character for every byte."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("; ".join(f"SET {setting}" for setting in SETTINGS))
        ascii_only = connection.info.parameter_status("server_encoding") == "SQL_ASCII"
        connection.execute(f"SET client_encoding = {'LATIN1' if ascii_only else 'UTF8'}")
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield connection


def _facts(connection: Connection, query: str) -> Facts:
    facts: Facts = {}
    cursor = connection.execute(query.encode())
    assert cursor.description is not None
    names = [column.name for column in cursor.description][1:]
    for key, *values in cursor:
        told = tuple(f"{name}={value!r}" for name, value in zip(names, values, strict=True))
        facts.setdefault(str(key), Counter())[told] += 1
    return facts


def _compare_facts(kind: str, source: Facts, target: Facts) -> list[str]:
    found = []
    for key in sorted(source.keys() | target.keys()):
        ours, theirs = source.get(key, Counter()), target.get(key, Counter())
        if ours == theirs:
            continue
        if not ours or not theirs:
            found.append(f"{kind} {key}: only in {'source' if ours else 'target'}")
            continue
        only_ours, only_theirs = [*(ours - theirs).elements()], [*(theirs - ours).elements()]
        if len(only_ours) == len(only_theirs) == 1:
            pairs = [pair for pair in zip(only_ours[0], only_theirs[0], strict=True) if pair[0] != pair[1]]
            found.append(f"{kind} {key}: " + "; ".join(f"source {a}, target {b}" for a, b in pairs))
        else:
            found.append(f"{kind} {key}: source {only_ours}, target {only_theirs}")
    return found


def _sequences(connection: Connection) -> Facts:
    """last_value and is_called of every sequence that is not an extension's own."""
    facts: Facts = {}
    for schema, name in connection.execute(ROWS["sequence"].encode()).fetchall():
        where = sql.Identifier(schema, name)
        row = connection.execute(sql.SQL("SELECT last_value, is_called FROM {}").format(where)).fetchone()
        assert row is not None
        facts[where.as_string(connection)] = Counter([(f"last_value={row[0]}", f"is_called={row[1]}")])
    return facts


def _compare_rows(source: Connection, target: Connection) -> list[str]:
    """Rows of every table of either side; a table on one side only is reported as such."""
    ours = {(row[0], row[1]): row for row in source.execute(ROWS["table"].encode())}
    theirs = {(row[0], row[1]): row for row in target.execute(ROWS["table"].encode())}
    found = []
    for key in sorted(ours.keys() | theirs.keys()):
        name = sql.Identifier(*key).as_string(source)
        if key not in ours or key not in theirs:
            found.append(f"rows of {name}: only in {'source' if key in ours else 'target'}")
            continue
        if ours[key][3] != theirs[key][3]:
            found.append(f"rows of {name}: columns differ: source {ours[key][3]}, target {theirs[key][3]}")
            continue
        before, after = _rows(source, ours[key]), _rows(target, theirs[key])
        if before != after:
            missing, extra = before - after, after - before
            found.append(
                f"rows of {name}: {before.total()} in source, {after.total()} in target; "
                f"{missing.total()} only in source{_examples(missing)}; "
                f"{extra.total()} only in target{_examples(extra)}"
            )
    return found


def _rows(connection: Connection, table: tuple[Any, ...]) -> Counter[bytes]:
    """The multiset of COPY text lines; long ones as their digest."""
    schema, name, whole, columns, condition = table
    query = sql.SQL("COPY (SELECT {} FROM {} {} {}) TO STDOUT").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL("" if whole else "ONLY"),
        sql.Identifier(schema, name),
        sql.SQL(condition or ""),
    )
    rows: Counter[bytes] = Counter()
    with connection.cursor().copy(query) as stream:
        for part in stream:
            line = bytes(part)
            if not line.endswith(b"\n") or line.count(b"\n") != 1:
                raise AssertionError("psycopg no longer hands out COPY text line by line")
            if len(line) > LONG_ROW_BYTES:
                line = b"%d bytes, sha256 " % len(line) + hashlib.sha256(line).hexdigest().encode()
            rows[line] += 1
    return rows


def _examples(rows: Counter[bytes]) -> str:
    shown = [repr(row[:120]) for row in sorted(rows)[:2]]
    return f" ({', '.join(shown)})" if shown else ""
