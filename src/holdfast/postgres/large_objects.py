"""Large objects: which there are, which this role may read, and what restores their owner, ACL and comment.

pg_dump leaves them out of definitions, so all about them is captured here.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.domain.coverage import CoverageEntry, CoverageStatus
from holdfast.postgres.catalog import Server, ask
from holdfast.postgres.connection import Connection
from holdfast.postgres.grants import acl_statements, default_acl, parse_acl
from holdfast.postgres.names import literal, quote

_OIDS_PER_ENTRY = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundLargeObject:
    """One that can be read. `statements` restore its owner, ACL and comment, in this order."""

    oid: int
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    oid: int
    owner: str
    acl: list[list[str]] | None
    comment: str | None
    readable: bool


def read_large_objects(
    connection: Connection, server: Server
) -> tuple[tuple[FoundLargeObject, ...], tuple[CoverageEntry, ...]]:
    """Those that can be read, and entries for the others."""
    everything = server.superuser or server.compatible_large_objects
    found: list[FoundLargeObject] = []
    closed: list[int] = []
    for row in ask(connection, "large_objects", _Row):
        if everything or row.readable:
            found.append(FoundLargeObject(oid=row.oid, statements=_statements(row)))
        else:
            closed.append(row.oid)
    return tuple(found), tuple(
        _gap(closed[start : start + _OIDS_PER_ENTRY], server)
        for start in range(0, len(closed), _OIDS_PER_ENTRY)
    )


def _statements(row: _Row) -> tuple[str, ...]:
    target = f"LARGE OBJECT {row.oid}"
    statements = [f"ALTER {target} OWNER TO {quote(row.owner)}"]
    if row.acl is not None:
        default = default_acl(row.owner, ("SELECT", "UPDATE"))
        statements.extend(acl_statements(target, parse_acl(row.acl), default))
    if row.comment is not None:
        statements.append(f"COMMENT ON {target} IS {literal(row.comment)}")
    return tuple(statements)


def _gap(oids: list[int], server: Server) -> CoverageEntry:
    listed = ", ".join(map(str, oids))
    return CoverageEntry(
        kind="large object",
        name=str(oids[0]) if len(oids) == 1 else f"{oids[0]} and {len(oids) - 1} more",
        status=CoverageStatus.FAILED,
        reason=f"role {server.role} may not read it",
        remedy=f"GRANT SELECT ON LARGE OBJECT {listed} TO {quote(server.role)};",
    )
