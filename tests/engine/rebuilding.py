"""What a restore needs, taken straight from a live database: no repository, so that tests can plant faults."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from holdfast.domain.events import Event
from holdfast.domain.ids import SnapshotId
from holdfast.domain.ranges import WHOLE, cut
from holdfast.domain.tables import QualifiedName, Tier
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.connection import connect
from holdfast.postgres.copy import range_query
from holdfast.postgres.rebuild import Rebuild
from holdfast.postgres.rebuild_plan import LargeObjectLoad, LoadPart, RebuildPlan, Rebuilt, TableLoad
from holdfast.postgres.session import Selection, open_source
from holdfast.postgres.target import Target
from holdfast.postgres.tools import Toolset, Version, dump_tool, find_tools

SNAPSHOT = "01test"


@dataclass
class Taken:
    """A plan, and the rows for it; `rows` may be tampered with. `events` are what the last restore announced."""

    plan: RebuildPlan
    rows: dict[QualifiedName, list[bytes]]
    events: list[Event] = field(default_factory=list)
    on_piece: Callable[[TableLoad, int], None] = lambda table, part: None

    def supply(self, table: TableLoad, parts: range) -> Iterator[bytes]:
        for number in parts:
            text = self.rows[table.name][number]
            for start in range(0, len(text), 8192):
                self.on_piece(table, number)
                yield text[start : start + 8192]

    def rebuild(self, dsn: str, *, toolsets: tuple[Toolset, ...] = (), **changes: Any) -> Rebuild:
        """A restore into an existing database, not begun; `changes` to the plan."""
        self.events.clear()
        return Rebuild(
            replace(self.plan, **changes),
            ServerAddress.parse(dsn),
            toolsets=toolsets or find_tools(),
            rows=self.supply,
            listener=self.events.append,
        )

    def restore(self, dsn: str, **changes: Any) -> Rebuilt:
        """Restore into a database; made like the captured one if it does not exist."""
        target = Target(ServerAddress.parse(dsn))
        if not target.exists():
            target.create(self.plan.database)
        return self.rebuild(dsn, **changes).run()


def take(
    dsn: str,
    folder: Path,
    *,
    tiers: Mapping[str, Tier] | None = None,
    parts: int = 1,
    tools: tuple[Toolset, ...] | None = None,
) -> Taken:
    """Everything in a database, at one instant; tables that have the pages for it are cut into `parts`."""
    address = ServerAddress.parse(dsn)
    with open_source(address, snapshot=SnapshotId(SNAPSHOT)) as source:
        taken = source.take(Selection())
        archive = folder / f"{address.database}.dump"
        tool = dump_tool(Version.from_number(source.server_version), tools or find_tools())
        conninfo, environment = address.environment()
        subprocess.run(
            [tool.path, "-Fc", "-s", f"--snapshot={taken.exported}", "-f", archive, "-d", conninfo],
            env=environment,
            check=True,
        )
        rows: dict[QualifiedName, list[bytes]] = {}
        tables: list[TableLoad] = []
        objects: list[LargeObjectLoad] = []
        with connect(address, application_name="test") as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            connection.execute(f"SET TRANSACTION SNAPSHOT '{taken.exported}'".encode())
            for table in taken.tables:
                ranges = [WHOLE]
                if parts > 1 and table.heap and table.pages >= parts:
                    ranges = list(cut(pages=table.pages, pages_per_range=-(-table.pages // parts)))
                texts: list[bytes] = []
                loads: list[LoadPart] = []
                for pages in ranges:
                    query = (
                        f"COPY ({range_query(table, pages)}) TO STDOUT (ENCODING '{taken.client_encoding}')"
                    )
                    with connection.cursor() as cursor:
                        with cursor.copy(query.encode(connection.info.encoding)) as copy:
                            text = b"".join(bytes(row) for row in copy)
                        loads.append(LoadPart(rows=cursor.rowcount, plain_bytes=len(text)))
                    texts.append(text)
                rows[table.name] = texts
                tables.append(
                    TableLoad(
                        name=table.name,
                        columns=tuple(column.name for column in table.columns),
                        parts=tuple(loads),
                        tier=(tiers or {}).get(str(table.name), Tier.NORMAL),
                        load_via=table.load_via,
                        condition=table.condition,
                        extension=table.extension,
                    )
                )
            for found in taken.large_objects:
                row = connection.execute("SELECT lo_get(%s::oid)", (found.oid,)).fetchone()
                assert row is not None
                objects.append(
                    LargeObjectLoad(
                        oid=found.oid, size_bytes=len(row[0]), statements=found.statements, pieces=[row[0]]
                    )
                )
    plan = RebuildPlan(
        snapshot=SNAPSHOT,
        archive=archive,
        database=taken.database,
        encoding=taken.client_encoding,
        tables=tuple(tables),
        sequences=taken.sequences,
        large_objects=[lambda: iter(objects)] if objects else (),
        matviews=taken.matviews,
        roles=taken.roles,
        memberships=taken.memberships,
    )
    return Taken(plan=plan, rows=rows)
