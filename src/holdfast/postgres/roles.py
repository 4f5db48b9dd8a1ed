"""Roles and the database itself, as statements that bring them back elsewhere.

All from catalogs that everyone may read. Passwords are the exception: nobody but a superuser sees even whether
there is one, and no snapshot holds any.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from holdfast.domain.coverage import CoverageEntry, CoverageStatus
from holdfast.domain.manifest import DatabaseFacts, Role, RoleMembership
from holdfast.postgres.catalog import Server, ask, ask_rows
from holdfast.postgres.connection import Connection
from holdfast.postgres.grants import acl_statements, default_acl, parse_acl
from holdfast.postgres.names import literal, quote

# psql's way to write a variable as an identifier; restore puts the target's name there.
DATABASE = ':"database"'

_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}

# Lists of names: each item was quoted on its own when it was set (GUC_LIST_QUOTE in PostgreSQL's sources).
_LISTS = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _RoleRow:
    name: str
    rolsuper: bool
    rolinherit: bool
    rolcreaterole: bool
    rolcreatedb: bool
    rolcanlogin: bool
    rolreplication: bool
    rolbypassrls: bool
    rolconnlimit: int
    valid_until: str | None
    comment: str | None

    def options(self) -> tuple[str, ...]:
        words = {
            "SUPERUSER": self.rolsuper,
            "INHERIT": self.rolinherit,
            "CREATEROLE": self.rolcreaterole,
            "CREATEDB": self.rolcreatedb,
            "LOGIN": self.rolcanlogin,
            "REPLICATION": self.rolreplication,
            "BYPASSRLS": self.rolbypassrls,
        }
        options = [word if holds else f"NO{word}" for word, holds in words.items()]
        if self.rolconnlimit != -1:
            options.append(f"CONNECTION LIMIT {self.rolconnlimit}")
        if self.valid_until is not None:
            options.append(f"VALID UNTIL {literal(self.valid_until)}")
        return tuple(options)


@dataclass(frozen=True, slots=True, kw_only=True)
class _DatabaseRow:
    name: str
    owner: str
    encoding: str
    provider: str
    collate: str | None
    ctype: str | None
    locale: str | None
    icu_rules: str | None
    connection_limit: int
    acl: list[list[str]] | None
    comment: str | None


def read_roles(connection: Connection) -> tuple[Role, ...]:
    """Every role but PostgreSQL's own. `settings` are complete statements, for all databases."""
    settings: dict[str, list[str]] = {}
    for database, role, configuration in ask_rows(connection, "settings"):
        if role and not database:
            settings.setdefault(role, []).extend(_set_statements(f"ROLE {quote(role)}", configuration))
    for kind, name, provider, label in ask_rows(connection, "shared_labels"):
        if kind == "ROLE":
            settings.setdefault(name, []).append(_label(f"ROLE {quote(name)}", provider, label))
    passwords = _read_passwords(connection)
    return tuple(
        Role(
            name=row.name,
            options=row.options(),
            settings=tuple(settings.get(row.name, ())),
            comment=row.comment,
            has_password=None if passwords is None else row.name in passwords,
        )
        for row in ask(connection, "roles", _RoleRow)
    )


def read_memberships(connection: Connection) -> tuple[RoleMembership, ...]:
    """`options` as they follow WITH in a GRANT; what a server does not record is left to the default."""
    memberships = []
    for role, member, grantor, admin, inherit, may_set in ask_rows(connection, "memberships"):
        options = ["ADMIN OPTION"] if admin else []
        if inherit is not None:
            options.append(f"INHERIT {'TRUE' if inherit else 'FALSE'}")
        if may_set is False:
            options.append("SET FALSE")
        memberships.append(RoleMembership(role=role, member=member, grantor=grantor, options=tuple(options)))
    return tuple(memberships)


def read_database(connection: Connection, server: Server) -> DatabaseFacts:
    row = ask(connection, "database", _DatabaseRow)[0]
    return DatabaseFacts(
        name=row.name,
        owner=row.owner,
        encoding=row.encoding,
        locale_provider=_PROVIDERS.get(row.provider, row.provider),
        collate=row.collate,
        ctype=row.ctype,
        locale=row.locale,
        icu_rules=row.icu_rules,
        server_version=server.server_version,
        server_version_text=server.server_version_text,
        statements=tuple(_database_statements(connection, row)),
    )


def password_gap(roles: Iterable[Role]) -> tuple[CoverageEntry, ...]:
    """What every restore has to say of passwords."""
    concerned = [role.name for role in roles if role.has_password is not False and "LOGIN" in role.options]
    if not concerned:
        return ()
    return (
        CoverageEntry(
            kind="role passwords",
            name=", ".join(concerned),
            status=CoverageStatus.NOT_CAPTURABLE,
            reason="snapshots hold no passwords",
            remedy="after a restore set them anew with ALTER ROLE … PASSWORD",
        ),
    )


def _read_passwords(connection: Connection) -> frozenset[str] | None:
    allowed = connection.execute("SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')")
    row = allowed.fetchone()
    if row is None or not row[0]:
        return None
    return frozenset(name for (name,) in ask_rows(connection, "passwords"))


def _database_statements(connection: Connection, row: _DatabaseRow) -> Iterable[str]:
    if row.connection_limit != -1:
        yield f"ALTER DATABASE {DATABASE} CONNECTION LIMIT {row.connection_limit}"
    for database, role, configuration in ask_rows(connection, "settings"):
        if database:
            whose = f"ROLE {quote(role)} IN DATABASE {DATABASE}" if role else f"DATABASE {DATABASE}"
            yield from _set_statements(whose, configuration)
    if row.acl is not None:
        default = default_acl(row.owner, ("CREATE", "TEMPORARY", "CONNECT"), ("TEMPORARY", "CONNECT"))
        yield from acl_statements(f"DATABASE {DATABASE}", parse_acl(row.acl), default)
    if row.comment is not None:
        yield f"COMMENT ON DATABASE {DATABASE} IS {literal(row.comment)}"
    for kind, _, provider, label in ask_rows(connection, "shared_labels"):
        if kind == "DATABASE":
            yield _label(f"DATABASE {DATABASE}", provider, label)


def _label(target: str, provider: str, label: str) -> str:
    return f"SECURITY LABEL FOR {quote(provider)} ON {target} IS {literal(label)}"


def _set_statements(whose: str, configuration: Sequence[str]) -> Iterable[str]:
    """From `name=value` as pg_db_role_setting keeps them. Names of extensions' settings have a dot."""
    for item in configuration:
        name, _, value = item.partition("=")
        written = ".".join(quote(part) for part in name.split("."))
        values = split_names(value) if name.lower() in _LISTS else [value]
        yield f"ALTER {whose} SET {written} TO {', '.join(map(literal, values)) or literal('')}"


def split_names(text: str) -> list[str]:
    """A list of names as PostgreSQL keeps it, `"$user", public`, taken apart and unquoted."""
    names: list[str] = []
    rest = text.strip()
    while rest:
        if rest.startswith('"'):
            end = 1
            while (end := rest.index('"', end)) + 1 < len(rest) and rest[end + 1] == '"':
                end += 2
            names.append(rest[1:end].replace('""', '"'))
            rest = rest[end + 1 :].lstrip().removeprefix(",").lstrip()
        else:
            name, _, rest = rest.partition(",")
            names.append(name.strip())
            rest = rest.lstrip()
    return names
