"""Compare two databases' definitions by what one pg_dump writes about both.

The text is cut into entries at pg_dump's own headers and compared as a multiset, since the order of entries of
equal rank follows oids. Between different majors the server prints the same view differently, so the source is not
compared with the target directly: its definitions are first restored into a scratch database beside the target, by
pg_restore alone, and that reference is what the target must equal.
"""

from __future__ import annotations

import difflib
import os
import re
import secrets
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from .build import create_database, drop_database

HEADER = re.compile(r"^--\n-- Name: (.*); Type: (.*); Schema: (.*); Owner: (.*)\n--\n", re.MULTILINE)

OPTIONS = "-c TimeZone=UTC -c bytea_output=hex -c xmloption=content -c lc_monetary=C"
"""Constants in definitions are printed by the session's settings; pg_dump leaves these to the database's own."""

Entries: TypeAlias = "dict[str, Counter[str]]"
"""Header → how often each body appears under it."""


def compare_definitions(
    source_dsn: str,
    target_dsn: str,
    *,
    pg_dump: Path,
    ignore_roles: Collection[str],
    cross_version: bool,
    reference_dump: Path | None = None,
) -> list[str]:
    """Return what differs, entry by entry, but for the rights of `ignore_roles`.

    `reference_dump` makes the reference's archive, where it should not be `pg_dump` itself: an older one does not
    spell out options that it does not know, which then take the newer server's defaults.
    """

    def read(dsn: str) -> Entries:
        return _entries(_dump(dsn, pg_dump), ignore_roles)

    source, target = read(source_dsn), read(target_dsn)
    if not cross_version:
        return _differences(source, target)
    found = [
        f"definition only in {'source' if missing else 'target'}: {header}"
        for headers, missing in (
            (source.keys() - target.keys(), True),
            (target.keys() - source.keys(), False),
        )
        for header in sorted(headers)
    ]
    name = f"reference_{secrets.token_hex(6)}"
    try:
        reference = create_database(target_dsn, name, encoding=_encoding(source_dsn))
        _restore(source_dsn, reference, reference_dump or pg_dump, pg_dump.with_name("pg_restore"))
        found += _differences(read(reference), target)
    finally:
        drop_database(target_dsn, name)
    return found


def _dump(dsn: str, pg_dump: Path) -> str:
    """pg_dump's text of the definitions; SQL_ASCII bytes come back one character each."""
    encoding = _encoding(dsn)
    written = _call([str(pg_dump), "--schema-only", f"--encoding={encoding}"], dsn)
    return written.decode("utf-8" if encoding == "UTF8" else "latin-1")


def _restore(source_dsn: str, target_dsn: str, pg_dump: Path, pg_restore: Path) -> None:
    """Definitions through an archive into an empty database; any complaint of pg_restore raises."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "definitions.dump"
        archive.write_bytes(_call([str(pg_dump), "--schema-only", "--format=custom"], source_dsn))
        _call([str(pg_restore), "--exit-on-error", str(archive)], target_dsn)


def _call(command: list[str], dsn: str) -> bytes:
    parameters = conninfo_to_dict(dsn)
    options = f"{parameters.pop('options', '')} {OPTIONS}"
    environment = {**os.environ, "LC_ALL": "C", "PGOPTIONS": options}
    if password := parameters.pop("password", None):
        environment["PGPASSWORD"] = str(password)
    command = [command[0], f"--dbname={make_conninfo('', **parameters)}", *command[1:]]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{Path(command[0]).name} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _encoding(dsn: str) -> str:
    with psycopg.connect(dsn, autocommit=True) as connection:
        found = connection.info.parameter_status("server_encoding")
    return found if found == "SQL_ASCII" else "UTF8"


def _entries(text: str, ignore_roles: Collection[str]) -> Entries:
    """Cut the text at its headers, and drop what only says how or when it was written."""
    entries: Entries = defaultdict(Counter)
    # A random token stands around the text, in the first and the last of such lines.
    text = re.sub(r"\\restrict \w+\n", "", text, count=1)
    text = re.sub(r"\\unrestrict \w+\s*\Z", "", text)
    text = re.sub(r"-- Dumped (from database|by pg_dump) version .*\n", "", text, count=2)
    marks = [*HEADER.finditer(text)]
    starts = [mark.start() for mark in marks] + [len(text)]
    entries["preamble"][_body(text[: starts[0]])] += 1
    for mark, end in zip(marks, starts[1:], strict=True):
        name, kind, schema, owner = mark.groups()
        body = _body(text[mark.end() : end])
        if kind == "ACL":
            body = _without(ignore_roles, body)
        if body:
            entries[f"{kind} {schema}.{name} owned by {owner}"][body] += 1
    return entries


def _without(roles: Collection[str], acl: str) -> str:
    """The entry without what these roles were granted; names in it may hold newlines."""
    quoted = [name for role in roles for name in (role, '"' + role.replace('"', '""') + '"')]
    granted = re.compile(
        rf"GRANT .* TO ({'|'.join(map(re.escape, quoted))})( WITH GRANT OPTION)?;", re.DOTALL
    )
    statements = re.split(r"(?<=;)\n(?=GRANT |REVOKE |SET SESSION )", acl)
    return "\n".join(statement for statement in statements if not granted.fullmatch(statement))


def _body(text: str) -> str:
    """The entry without the settings for the entry after it (facts.sql compares access methods)."""
    text = text.replace("--\n-- PostgreSQL database dump complete\n--\n", "").strip()
    while True:
        shorter = re.sub(
            r"\n*^SET default_(tablespace|table_access_method) = .*;\Z", "", text, flags=re.MULTILINE
        ).strip()
        if shorter == text:
            return text
        text = shorter


def _differences(source: Entries, target: Entries) -> list[str]:
    found = []
    for header in sorted(source.keys() | target.keys()):
        ours, theirs = source.get(header, Counter()), target.get(header, Counter())
        if ours == theirs:
            continue
        lines = difflib.unified_diff(
            "\n".join((ours - theirs).elements()).splitlines(),
            "\n".join((theirs - ours).elements()).splitlines(),
            "source",
            "target",
            lineterm="",
            n=1,
        )
        found.append(f"definition of {header}: " + "\n    ".join([*lines][:30]))
    return found
