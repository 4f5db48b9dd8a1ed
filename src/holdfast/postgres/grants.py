"""ACLs as statements: what has to be granted and revoked to get from PostgreSQL's default to what was found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from holdfast.postgres.names import quote

# A grantee ("" is PUBLIC) and a privilege, to whether it may be granted on.
Acl = dict[tuple[str, str], bool]


def parse_acl(rows: Iterable[Sequence[str]]) -> Acl:
    """From rows of grantee, privilege, and `true` or `false`. Several grantors may have granted the same."""
    acl: Acl = {}
    for grantee, privilege, grantable in rows:
        acl[grantee, privilege] = acl.get((grantee, privilege), False) or grantable == "true"
    return acl


def default_acl(owner: str, own: Iterable[str], public: Iterable[str] = ()) -> Acl:
    """What an object without an ACL allows. An owner can always grant on, so nobody speaks of it."""
    return {**{(owner, privilege): False for privilege in own}, **{("", name): False for name in public}}


def acl_statements(target: str, found: Acl, default: Acl) -> tuple[str, ...]:
    """`target` is what follows ON, such as `DATABASE "shop"`. Revocations come first."""
    statements = []
    for grantee, privilege in sorted(default.keys() - found.keys()):
        statements.append(f"REVOKE {privilege} ON {target} FROM {_grantee(grantee)}")
    for (grantee, privilege), grantable in sorted(found.items()):
        if default.get((grantee, privilege)) != grantable:
            option = " WITH GRANT OPTION" if grantable else ""
            statements.append(f"GRANT {privilege} ON {target} TO {_grantee(grantee)}{option}")
    return tuple(statements)


def _grantee(name: str) -> str:
    return quote(name) if name else "PUBLIC"
