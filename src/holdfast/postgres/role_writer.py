"""Roles that a snapshot's definitions refer to, made where they are missing.

Invariant: a role that exists is never altered; a role that would need a password cannot log in until someone gives
it one; and what could not be made is named with the statement that makes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import psycopg

from holdfast.domain.errors import LackingRightsError
from holdfast.domain.manifest import Role, RoleMembership
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.archive import Entry
from holdfast.postgres.connection import Connection
from holdfast.postgres.names import literal, quote
from holdfast.postgres.target_connection import failed

_LOGIN = "LOGIN"
_POWERS = ("SUPERUSER", "REPLICATION", "BYPASSRLS")
_GRANTS = frozenset({"ACL", "DEFAULT ACL", "POLICY", "USER MAPPING"})
_SET_OPTION_SINCE = 160_000


@dataclass(slots=True, kw_only=True)
class RoleWriter:
    """Makes roles over one connection. `warnings` and `left_out` grow while it works."""

    connection: Connection
    address: ServerAddress
    warnings: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def restore(
        self,
        roles: Sequence[Role],
        memberships: Sequence[RoleMembership],
        entries: Sequence[Entry],
        *,
        owner: bool,
        acl: bool,
    ) -> None:
        """Make the missing roles with their memberships, settings and comments; be able to give things to owners.

        Raises `LackingRightsError` if definitions need a role that cannot be made, or an owner to whom this
        role may not give anything.
        """
        known = {row[0] for row in self.connection.execute("SELECT rolname FROM pg_catalog.pg_roles")}
        missing = [role for role in roles if role.name not in known]
        made = self._make(missing, _needed(entries, missing, owner=owner, acl=acl))
        for role in missing:
            if role.name in made:
                self._finish(role)
        self._join([item for item in memberships if item.role in made or item.member in made], made)
        if owner:
            self._reach_owners({entry.owner for entry in entries if entry.owner}, made)

    def _make(self, missing: Sequence[Role], needed: frozenset[str]) -> frozenset[str]:
        refused = [role for role in missing if not self._create(role)]
        lacking = [role for role in refused if role.name in needed]
        if lacking:
            names = ", ".join(role.name for role in lacking)
            statements = "; ".join(f"CREATE ROLE {quote(role.name)}" for role in lacking)
            statements = "; ".join(f"CREATE ROLE {quote(role.name)}" for role in lacking)
            raise LackingRightsError(
                f"the definitions refer to roles that {self.address.display()} lacks and may not create: {names}",
                hint=f"as an administrator run {statements}, or restore with --no-owner and --no-acl",
            )
        for role in refused:
            statement = _creation(role, role.options)
            self.left_out.append(f"role {role.name}: it may not be created here; run {statement}")
        return frozenset(role.name for role in missing) - {role.name for role in refused}

    def _create(self, role: Role) -> bool:
        """Whether the role could be made; without powers that we cannot give, if need be."""
        options = _options(role)
        lesser = tuple(option for option in options if option not in _POWERS)
        if not self._try(_creation(role, options)):
            if lesser == options or not self._try(_creation(role, lesser)):
                return False
            lost = " ".join(option for option in options if option in _POWERS)
            self.left_out.append(f"role {role.name} lacks {lost}: run ALTER ROLE {quote(role.name)} {lost}")
        if _LOGIN in role.options and _LOGIN not in options:
            self.warnings.append(
                f"role {role.name} was made without its password and cannot log in: "
                f"run ALTER ROLE {quote(role.name)} LOGIN PASSWORD '…'"
            )
        return True

    def _finish(self, role: Role) -> None:
        statements = list(role.settings)
        if role.comment is not None:
            statements.append(f"COMMENT ON ROLE {quote(role.name)} IS {literal(role.comment)}")
        for statement in statements:
            if not self._try(statement):
                self.left_out.append(f"role {role.name}: not allowed here: {statement}")

    def _join(self, memberships: Sequence[RoleMembership], made: frozenset[str]) -> None:
        """Grants to the roles made; with their grantors, whose own rights may depend on other grants."""
        waiting = [item for item in memberships if item.member in made]
        for item in memberships:
            if item.member not in made:
                self.left_out.append(
                    f"role {item.member} was there before and is not altered: run {_membership(item, None)}"
                )
        while waiting:
            left = [item for item in waiting if not self._try(_membership(item, item.grantor))]
            if len(left) == len(waiting):
                break
            waiting = left
        for item in waiting:
            if not self._try(_membership(item, None)):
                self.left_out.append(
                    f"membership of {item.member} in {item.role}: run {_membership(item, None)}"
                )

    def _reach_owners(self, owners: set[str], made: frozenset[str]) -> None:
        """Giving a thing to an owner takes the right to become that role."""
        right = "SET" if self.connection.info.server_version >= _SET_OPTION_SINCE else "MEMBER"
        rows = self.connection.execute(
            "SELECT rolname FROM pg_catalog.pg_roles "
            "WHERE rolname = ANY(%s) AND NOT pg_catalog.pg_has_role(oid, %s)",
            (sorted(owners), right),
        ).fetchall()
        us = str(self.connection.execute("SELECT current_user").fetchall()[0][0])
        lacking: list[str] = []
        for (name,) in rows:
            grant = f"GRANT {quote(name)} TO {quote(us)}"
            if name in made and self._try(grant):
                self.warnings.append(
                    f"{us} was made a member of {name}, to give it what it owns: "
                    f"undo it with REVOKE {quote(name)} FROM {quote(us)}"
                )
            else:
                lacking.append(grant)
        if lacking:
            raise LackingRightsError(
                f"{self.address.display()} may not give things to their owners",
                hint=f"as an administrator run {'; '.join(lacking)}, or restore with --no-owner",
            )

    def _try(self, statement: str) -> bool:
        """Whether the server allowed it; failures for any other reason than rights or roles are raised."""
        try:
            self.connection.execute(statement.encode(self.connection.info.encoding))
        except (
            psycopg.errors.InsufficientPrivilege,
            psycopg.errors.InvalidGrantOperation,
            psycopg.errors.InvalidGrantor,
            psycopg.errors.UndefinedObject,
        ):
            return False
        except psycopg.Error as error:
            raise failed(error, self.address, doing="restoring roles") from error
        return True


def _options(role: Role) -> tuple[str, ...]:
    """Those of CREATE ROLE; without LOGIN where the role may have a password, which no snapshot holds."""
    if role.has_password is False:
        return role.options
    return tuple("NOLOGIN" if option == _LOGIN else option for option in role.options)


def _creation(role: Role, options: Sequence[str]) -> str:
    return f"CREATE ROLE {quote(role.name)} {' '.join(options)}".rstrip()


def _membership(item: RoleMembership, grantor: str | None) -> str:
    options = f" WITH {', '.join(item.options)}" if item.options else ""
    by = f" GRANTED BY {quote(grantor)}" if grantor is not None else ""
    return f"GRANT {quote(item.role)} TO {quote(item.member)}{options}{by}"


def _needed(entries: Iterable[Entry], missing: Sequence[Role], *, owner: bool, acl: bool) -> frozenset[str]:
    """Of the missing roles, those that definitions name. A name in the text counts, even if by chance."""
    if not missing:
        return frozenset()
    owners: set[str] = set()
    texts: list[str] = []
    for entry in entries:
        owners.add(entry.owner if owner else "")
        if entry.kind in _GRANTS and (acl or not entry.is_acl):
            texts.append(entry.definition)
    joined = "\n".join(texts)
    return frozenset(
        role.name
        for role in missing
        if role.name in owners or role.name in joined or role.name.replace('"', '""') in joined
    )
