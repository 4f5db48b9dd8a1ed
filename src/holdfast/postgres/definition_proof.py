"""Whether the definitions can have changed since the parent snapshot: the proof of ranges, for the catalogs.

pg_dump reads catalogs, roles and settings, and nothing else. If no row of a catalog is younger than the parent,
and there are as many, the catalogs are those of the parent (docs/decisions/what-proves-definitions-unchanged.md).

Invariant: a catalog that this role may not read, and that is not known to be of no account, rules out the proof.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from holdfast.postgres.catalog import Server, ask_rows
from holdfast.postgres.connection import Connection
from holdfast.postgres.names import quote

# Raised when what goes into the fingerprint changes, or how pg_dump is called.
FORMAT = 1

# pg_dump reads none of them for definitions.
OF_NO_ACCOUNT = frozenset(
    {
        "pg_largeobject",
        "pg_largeobject_metadata",
        "pg_replication_origin",
        "pg_statistic",
        "pg_statistic_ext_data",
    }
)
# Closed to all but superusers; what others see of them goes into the fingerprint as it is, but for subscriptions,
# which pg_dump leaves out for others.
SEEN_THROUGH_VIEWS = frozenset({"pg_authid", "pg_user_mapping", "pg_subscription"})

_XIDS = 2**32


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionsSeen:
    """`fingerprint`: a digest of how many rows each catalog has, and of what is no row of a catalog; None if there
    can be none. `old`: no row of a catalog is as young as the parent's xmin or younger."""

    fingerprint: str | None
    old: bool


def look_at_definitions(
    connection: Connection, server: Server, *, parent_xmin: int | None
) -> DefinitionsSeen:
    """What the catalogs are like under the connection's snapshot. `parent_xmin` is the parent's, in 64 bits."""
    counted: list[str] = []
    for name, readable in ask_rows(connection, "catalogs"):
        if name in OF_NO_ACCOUNT:
            continue
        if readable:
            counted.append(name)
        elif name not in SEEN_THROUGH_VIEWS:
            return DefinitionsSeen(fingerprint=None, old=False)
    statement = " UNION ALL ".join(
        f"SELECT '{name}', pg_catalog.count(*), pg_catalog.min(pg_catalog.age(c.xmin)) "  # noqa: S608 - from the catalog
        f"FROM ONLY pg_catalog.{quote(name)} AS c"
        for name in counted
    )
    counts = connection.execute(statement.encode()).fetchall()
    ages = [age for _, _, age in counts if age is not None]
    document = [
        FORMAT,
        server.server_version,
        server.role,
        sorted([name, rows] for name, rows, _ in counts),
        [list(row) for row in ask_rows(connection, "beside_catalogs")],
    ]
    return DefinitionsSeen(
        fingerprint=hashlib.sha256(json.dumps(document).encode()).hexdigest(),
        old=parent_xmin is not None and min(ages) > _age_of(connection, parent_xmin),
    )


def _age_of(connection: Connection, xmin: int) -> int:
    """Counted from the same transaction id as the ages of rows, since that is fixed within a transaction."""
    rows = connection.execute(
        "SELECT pg_catalog.age(%s::text::pg_catalog.xid)", [str(xmin % _XIDS)]
    ).fetchall()
    age: int = rows[0][0]
    return age
