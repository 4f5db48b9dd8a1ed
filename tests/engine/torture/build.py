"""Build the torture database: one object for every case that a backup of PostgreSQL has to get right.

The definitions are the `.sql` files beside this module, run in the order of their names. A file is cut into blocks
by lines that start with `--!`; each block is one round trip and one transaction, and may say what it needs:

    --! requires: major>=17, superuser, contrib=hstore, icu
    --! expect: unique_violation

Everything here survives `pg_dump` and `pg_restore`, so a restore that loses some of it has no excuse.
KNOWN_PG_DUMP_GAPS (gaps.py) says what was left out for that reason.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

FILES = Path(__file__).parent / "sql"
EXTENSION_FILES = Path(__file__).parent / "extension"

EXTENSIONS = frozenset(
    {
        "bloom",
        "btree_gist",
        "citext",
        "cube",
        "file_fdw",
        "holdfast_clash",
        "holdfast_conf",
        "hstore",
        "intarray",
        "isn",
        "lo",
        "ltree",
        "pg_trgm",
        "postgres_fdw",
        "unaccent",
        "vector",
    }
)
"""The extensions that some block of the torture database uses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What a server can build. `a & b` is what both can, for a restore from one into the other."""

    major: int
    contrib: frozenset[str]
    features: frozenset[str]

    def __and__(self, other: Abilities) -> Abilities:
        return Abilities(
            major=min(self.major, other.major),
            contrib=self.contrib & other.contrib,
            features=self.features & other.features,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One round trip's worth of statements and what it needs."""

    place: str
    text: str
    requires: tuple[str, ...]
    expect: str | None

    def runs_on(self, abilities: Abilities, *, superuser: bool) -> bool:
        """Whether every requirement is met; an unknown one raises ValueError."""
        return all(_met(requirement, abilities, superuser=superuser) for requirement in self.requires)


def available(dsn: str) -> Abilities:
    """Ask the server what it can build. `holdfast_clash` is left out: pg_restore cannot bring it back."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        found = {
            str(row[0]) for row in connection.execute("SELECT name FROM pg_catalog.pg_available_extensions")
        }
        return Abilities(
            major=connection.info.server_version // 10000,
            contrib=frozenset(found & EXTENSIONS - {"holdfast_clash"}),
            features=_features(connection),
        )


def create_database(dsn: str, name: str, *, encoding: str = "UTF8") -> str:
    """Create an empty database from template0 with the C locale, and return its address."""
    statement = "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C'"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name), sql.Literal(encoding)))
    return make_conninfo(dsn, dbname=name)


def drop_database(dsn: str, name: str) -> None:
    """Drop a database if it exists, with its subscriptions, which would otherwise hold it."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        found = connection.execute(
            "SELECT s.subname FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid"
            " WHERE d.datname = %s",
            [name],
        ).fetchall()
        if found:
            with psycopg.connect(make_conninfo(dsn, dbname=name), autocommit=True) as inside:
                inside.execute("SET torture.allow_ddl = on")
                for (subscription,) in found:
                    named = sql.Identifier(str(subscription))
                    inside.execute(sql.SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(named))
                    inside.execute(sql.SQL("DROP SUBSCRIPTION {}").format(named))
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def build(
    dsn: str,
    *,
    major: int,
    contrib: frozenset[str] | set[str],
    superuser: bool = True,
    big: bool = False,
    features: frozenset[str] | None = None,
) -> None:
    """Fill the empty UTF-8 database `dsn` names, and create the cluster roles `tor_*` if they are missing.

    `major`, `contrib` and `features` (of icu, xml, lz4; None asks the server) choose the conditional parts: pass
    those of the older or poorer server when the database is to be restored elsewhere. Without `superuser`, the
    roles must exist (`build_roles`) and the connected role must be a member of them; what only a superuser may
    create is left out. `big` adds values of 100 MB.
    """
    if unknown := set(contrib) - EXTENSIONS:
        raise ValueError(f"no block uses these extensions: {', '.join(sorted(unknown))}")
    with psycopg.connect(dsn, autocommit=True, client_encoding="UTF8") as connection:
        chosen = Abilities(
            major=major,
            contrib=frozenset(contrib),
            features=_features(connection) if features is None else features,
        )
        connection.execute("SET torture.allow_ddl = on")
        for file in sorted(FILES.glob("[0-9]*.sql")):
            if superuser or not file.name.startswith("00_"):
                _run(connection, file, chosen, superuser=superuser)
        if big:
            _run(connection, FILES / "big.sql", chosen, superuser=superuser)


def build_roles(dsn: str, *, major: int, grant_to: str | None = None) -> None:
    """Create the cluster roles alone, as superuser; make `grant_to` a member of those that own something."""
    chosen = Abilities(major=major, contrib=frozenset(), features=frozenset())
    with psycopg.connect(dsn, autocommit=True, client_encoding="UTF8") as connection:
        _run(connection, FILES / "00_roles.sql", chosen, superuser=True)
        if grant_to is not None:
            for owner in ("tor_owner", "tor_admin", 'tor Odd "näme" %s\\'):
                connection.execute(
                    sql.SQL("GRANT {} TO {}").format(sql.Identifier(owner), sql.Identifier(grant_to))
                )


def build_plain_role(dsn: str, role: str, *, gaps: bool = False) -> None:
    """Make `role` an ordinary login role (password: its name) that can read this database.

    With `gaps`, it cannot read `tor_secret.no_select` nor the large object 61007, and row security applies to it,
    so `tor_secret.forced_rls` and its kin cannot be read in full. Rights are then granted table by table.
    """
    name = sql.Identifier(role)
    with psycopg.connect(dsn, autocommit=True, options="-c torture.allow_ddl=on") as connection:
        if (
            connection.execute("SELECT FROM pg_catalog.pg_roles WHERE rolname = %s", [role]).fetchone()
            is None
        ):
            connection.execute(sql.SQL("CREATE ROLE {}").format(name))
        bypass = sql.SQL("NOBYPASSRLS" if gaps else "BYPASSRLS")
        connection.execute(
            sql.SQL("ALTER ROLE {} LOGIN NOSUPERUSER PASSWORD {} ").format(name, sql.Literal(role)) + bypass
        )
        connection.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(connection.info.dbname), name)
        )
        verb = sql.SQL("REVOKE pg_read_all_data FROM {}" if gaps else "GRANT pg_read_all_data TO {}")
        connection.execute(verb.format(name))
        if gaps:
            _grant_one_by_one(connection, name)
        for (oid,) in connection.execute("SELECT oid FROM pg_catalog.pg_largeobject_metadata").fetchall():
            if not (gaps and oid == 61007):
                connection.execute(
                    sql.SQL("GRANT SELECT ON LARGE OBJECT {} TO {}").format(sql.Literal(oid), name)
                )


def build_latin1(dsn: str) -> None:
    """Fill the empty LATIN1 database `dsn` names: every byte that LATIN1 knows, in rows and in names."""
    _build_encoded(dsn, encoding="LATIN1")


def build_sql_ascii(dsn: str) -> None:
    """Fill the empty SQL_ASCII database `dsn` names: bytes that are no UTF-8, in rows and in names."""
    _build_encoded(dsn, encoding="SQL_ASCII")


def temporary(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Create temporary objects in an open session: as long as it lives, a backup must not show them."""
    chosen = Abilities(major=0, contrib=frozenset(), features=frozenset())
    _run(connection, FILES / "temporary.sql", chosen, superuser=False)


def install_test_extension(bindir: Path) -> bool:
    """Put the extensions holdfast_conf and holdfast_clash where the server of `bindir` finds extensions.

    False if that folder is not ours to write. Installing twice, or from several processes at once, does no harm.
    """
    asked = subprocess.run(
        [str(bindir / "pg_config"), "--sharedir"], capture_output=True, text=True, check=True
    )
    folder = Path(asked.stdout.strip()) / "extension"
    for file in EXTENSION_FILES.iterdir():
        installed = folder / file.name
        if installed.is_file() and installed.read_bytes() == file.read_bytes():
            continue
        unfinished = folder / f"{file.name}.{os.getpid()}"
        try:
            unfinished.write_bytes(file.read_bytes())
        except OSError:
            return False
        unfinished.chmod(0o644)
        unfinished.rename(installed)
    return True


def blocks(file: Path) -> Iterator[Block]:
    """Cut a file at its `--!` lines."""
    text, requires, expect = "", "", None
    start = 1
    for number, line in enumerate([*file.read_text(encoding="utf-8").split("\n"), "--!"], 1):
        if not line.startswith("--!"):
            text += line + "\n"
            continue
        if re.sub(r"(?m)^--.*$", "", text).strip():
            needs = tuple(part.strip() for part in requires.split(",") if part.strip())
            yield Block(place=f"{file.name}:{start}", text=text, requires=needs, expect=expect)
        said = re.fullmatch(r"--!\s*(?:(requires|expect):\s*(.*))?", line)
        if said is None:
            raise ValueError(f"{file.name}:{number}: not a block mark: {line}")
        text, start = "", number
        requires = said[2] if said[1] == "requires" else ""
        expect = said[2] if said[1] == "expect" else None


def _met(requirement: str, abilities: Abilities, *, superuser: bool) -> bool:
    if requirement == "superuser":
        return superuser
    if requirement in ("icu", "xml", "lz4"):
        return requirement in abilities.features
    if compared := re.fullmatch(r"major(>=|<)(\d+)", requirement):
        return (abilities.major >= int(compared[2])) == (compared[1] == ">=")
    if (named := re.fullmatch(r"contrib=(\w+)", requirement)) and named[1] in EXTENSIONS:
        return named[1] in abilities.contrib
    raise ValueError(f"unknown requirement: {requirement}")


def _features(connection: psycopg.Connection[tuple[object, ...]]) -> frozenset[str]:
    found = connection.execute(
        """
        SELECT 'lz4' FROM pg_catalog.pg_settings
         WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)
        UNION ALL SELECT 'icu' WHERE EXISTS (SELECT FROM pg_catalog.pg_collation WHERE collname = 'und-x-icu')
        """
    ).fetchall()
    features = {str(row[0]) for row in found}
    try:
        connection.execute("SELECT pg_catalog.xml_in('<a/>')")
        features.add("xml")
    except psycopg.errors.FeatureNotSupported:
        pass
    return frozenset(features)


def _run(
    connection: psycopg.Connection[tuple[object, ...]], file: Path, abilities: Abilities, *, superuser: bool
) -> None:
    for block in blocks(file):
        if not block.runs_on(abilities, superuser=superuser):
            continue
        try:
            connection.execute(block.text.encode())
        except psycopg.Error as error:
            code = psycopg.errors.lookup(error.sqlstate or "").__name__
            if block.expect is None or code.lower() != block.expect.replace("_", ""):
                error.add_note(f"in {block.place}")
                raise
        else:
            if block.expect is not None:
                raise AssertionError(f"{block.place} did not fail with {block.expect}")


def _grant_one_by_one(connection: psycopg.Connection[tuple[object, ...]], role: sql.Identifier) -> None:
    """USAGE on every schema and SELECT on every relation, except the one that is to be refused."""
    schemas = connection.execute(
        "SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
    ).fetchall()
    for (schema,) in schemas:
        for right in (
            "USAGE ON SCHEMA",
            "SELECT ON ALL TABLES IN SCHEMA",
            "SELECT ON ALL SEQUENCES IN SCHEMA",
        ):
            statement = sql.SQL("GRANT " + right + " {} TO {}")
            connection.execute(statement.format(sql.Identifier(str(schema)), role))
    connection.execute(sql.SQL("REVOKE ALL ON tor_secret.no_select FROM {}").format(role))


def _build_encoded(dsn: str, *, encoding: str) -> None:
    """Names and rows with the bytes 0xA0 to 0xFF, sent untouched: each is a letter or sign of LATIN1."""
    high = bytes(range(0xA0, 0x100))
    name = b'"' + high[-60:] + b'"'
    with psycopg.connect(dsn, autocommit=True, client_encoding=encoding) as connection:
        found = connection.info.parameter_status("server_encoding")
        if found != encoding:
            raise ValueError(f"the database is encoded in {found}, not in {encoding}")
        every = bytes(range(1, 256)) if encoding == "SQL_ASCII" else bytes([*range(1, 0x80), *high])
        statements = [
            b"CREATE SCHEMA " + name,
            b"CREATE TYPE " + name + b".mood AS ENUM ('plain', '" + high[:40] + b"')",
            b"CREATE TABLE "
            + name
            + b"."
            + name
            + b" (id int PRIMARY KEY, "
            + name
            + b" text DEFAULT '"
            + high
            + b"',"
            b" m "
            + name
            + b".mood, c char(5), a text[], CONSTRAINT "
            + name
            + b" CHECK ("
            + name
            + b" <> '\xff'))",
            b"INSERT INTO "
            + name
            + b"."
            + name
            + b" VALUES (1, '"
            + high
            + b"', '"
            + high[:40]
            + b"', '\xe9', ARRAY['\xfc,\\', NULL])",
            b"INSERT INTO "
            + name
            + b"."
            + name
            + b" VALUES (2, 'ascii', 'plain', '', '{}'), (3, NULL, NULL, NULL, NULL), (4, '', NULL, 'x', NULL)",
            b"INSERT INTO " + name + b"." + name + b" VALUES (5, '" + every.replace(b"'", b"''") + b"')",
            b"CREATE VIEW "
            + name
            + b'."view \xe9" AS SELECT '
            + name
            + b", '\xdf'::text AS \"\xdf\" FROM "
            + name
            + b"."
            + name,
            b"COMMENT ON TABLE " + name + b"." + name + b" IS '" + high + b"'",
            b"CREATE FUNCTION "
            + name
            + b"."
            + name
            + b"() RETURNS text LANGUAGE sql AS 'SELECT ''\xe4\xf6\xfc''::text'",
            b"CREATE SEQUENCE " + name + b'."\xf1" START 5',
            b"SELECT lo_from_bytea(61001, '\\x00ff')",
            b"COMMENT ON LARGE OBJECT 61001 IS '" + high + b"'",
        ]
        for statement in statements:
            connection.execute(statement)
