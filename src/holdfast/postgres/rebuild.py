"""One restore, from definitions to the last event trigger.

Order: roles; definitions without grants; rows, with each table's indexes and constraints as soon as its rows are
in; foreign keys; all other definitions and the grants; then what `Aftermath` does.

Invariant: the mark of incompleteness stands from before the first change until the transaction that ends the
restore. Whatever fails, the target keeps it, and the failure names the table or the statement.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from holdfast.domain.errors import RestoreFailedError
from holdfast.domain.events import Listener, TierReadable, ignore
from holdfast.domain.tables import QualifiedName, SequenceValue, Tier
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.aftermath import Aftermath
from holdfast.postgres.archive import Archive, ArchiveError, Entry
from holdfast.postgres.building import Builder, Crowd
from holdfast.postgres.crew import Crew
from holdfast.postgres.data_only import DataOnly, in_order
from holdfast.postgres.definitions import DefinitionWriter
from holdfast.postgres.finishing import load_large_objects
from holdfast.postgres.loading import Loader, Worker
from holdfast.postgres.marker import set_marker
from holdfast.postgres.orphans import set_orphans_free
from holdfast.postgres.queries import query
from holdfast.postgres.rebuild_plan import RebuildMode, RebuildPlan, Rebuilt, RowSupplier, TierSeconds
from holdfast.postgres.restore_graph import RestoreGraph
from holdfast.postgres.role_writer import RoleWriter
from holdfast.postgres.selection import Phases, Selection, name_of, select_all, select_tables, sort_phases
from holdfast.postgres.target import Target, TargetFacts
from holdfast.postgres.tasks import Task
from holdfast.postgres.tools import Toolset, Version, restore_tool


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Restores one plan into one database that exists and, but for data only, is empty.

    `TierReadable` is announced when every table of a tier has its rows, indexes, primary keys, unique and
    exclusion constraints: from then on queries find everything, quickly. Foreign keys, triggers, policies and
    grants follow at the end, so until then the tables are for the restoring role's eyes only.
    """

    plan: RebuildPlan
    address: ServerAddress
    toolsets: Sequence[Toolset] = field(kw_only=True)
    rows: RowSupplier = field(kw_only=True)
    listener: Listener = field(default=ignore, kw_only=True)
    interrupted: threading.Event = field(default_factory=threading.Event, kw_only=True)

    def run(self) -> Rebuilt:
        """Do all of it. Raises `RefusedError` before anything is changed, `RestoreFailedError` later, and whatever
        the supplier of rows raises."""
        began = time.monotonic()
        archive, orphans = set_orphans_free(self._read_archive())
        data_only = self.plan.mode is RebuildMode.DATA_ONLY
        plan = self.plan if data_only else _through_known_roots(self.plan, archive)
        facts = Target(self.address).check_ready(
            source_version=self.plan.database.server_version,
            encoding=self.plan.encoding,
            empty=not data_only,
        )
        with Crew.gathered(
            plan, self.address, facts, listener=self.listener, interrupted=self.interrupted
        ) as crew:
            run = _Run(crew=crew, archive=archive, facts=facts, rows=self.rows, began=began)
            if data_only:
                run.load_only()
            else:
                crew.left_out.extend(
                    f"partition {name} is a table of its own: its partitioned table is not in the snapshot"
                    for name in orphans
                    if plan.only_tables is None or name in plan.only_tables
                )
                run.restore(self.toolsets)
        return Rebuilt(
            tables=len(self.plan.tables),
            rows=sum(table.rows for table in self.plan.tables),
            bytes=sum(table.plain_bytes for table in self.plan.tables),
            tiers=tuple(sorted(run.tiers, key=lambda item: item.tier.rank)),
            warnings=tuple(crew.warnings),
            left_out=tuple(crew.left_out),
        )

    def _read_archive(self) -> Archive:
        try:
            return Archive.parse(self.plan.archive)
        except ArchiveError as error:
            raise RestoreFailedError(
                f"the definitions of snapshot {self.plan.snapshot} cannot be read: {error}",
                hint="use a newer Holdfast if the archive was written by a newer pg_dump",
            ) from error


def _through_known_roots(plan: RebuildPlan, archive: Archive) -> RebuildPlan:
    """Rows that should go through a partitioned table which the archive lacks go straight into the partition."""
    known = {name_of(entry) for entry in archive.entries if entry.kind == "TABLE"}
    tables = tuple(
        table if table.load_via in known else replace(table, load_via=None) for table in plan.tables
    )
    return replace(plan, tables=tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One restore under way. `began` is a reading of the monotonic clock."""

    crew: Crew
    archive: Archive
    facts: TargetFacts
    rows: RowSupplier
    began: float
    tiers: list[TierSeconds] = field(default_factory=list)

    @property
    def plan(self) -> RebuildPlan:
        return self.crew.plan

    @property
    def _aftermath(self) -> Aftermath:
        return Aftermath(crew=self.crew, archive=self.archive, comment=self.facts.comment)

    # The whole, or some tables with all they need

    def restore(self, toolsets: Sequence[Toolset]) -> None:
        crew, plan = self.crew, self.plan
        selection, tablespaces = self._offered(self._selected())
        phases = sort_phases(self.archive, selection.entries)
        writer = self._definition_writer(toolsets, tablespaces=tablespaces)
        set_marker(crew.connection, plan.snapshot, comment=True)
        crew.do("restoring roles", partial(self._restore_roles, entries=selection.entries))
        self._define(writer, phases.definitions, "restoring definitions")
        builder = Builder(
            crowd=Crowd(len(crew.workers), self.facts.parallel_maintenance_workers),
            memory_bytes=crew.memory_bytes,
            tablespaces=tablespaces,
        )
        self._load_and_build(phases, builder)
        self._define(writer, phases.rest, "restoring triggers, policies and grants")
        if plan.only_tables is None:
            self._aftermath.restore_settings()
        if plan.mode is RebuildMode.WHOLE:
            self._aftermath.fill(*self._what_follows(selection))
        self._aftermath.end(phases.event_triggers)

    def _selected(self) -> Selection:
        if self.plan.only_tables is None:
            return select_all(self.archive)
        selection = select_tables(self.archive, self.plan.only_tables)
        self.crew.left_out.extend(
            f"{text}: it refers to a table that is not restored" for text in selection.left_out
        )
        self.crew.warnings.extend(
            f"table {name} came along without rows, for something restored needs it"
            for name in selection.empty
        )
        return selection

    def _offered(self, selection: Selection) -> tuple[Selection, bool]:
        """What of the selection this server can offer, and whether it has the archive's tablespaces.

        Raises `RestoreFailedError` if a needed extension is not on the target's host.
        """
        connection = self.crew.connection
        found: dict[str, set[str]] = {"extension": set(), "tablespace": set()}
        for kind, name in connection.execute(query("target_available", connection.info.server_version)):
            found[kind].add(name)
        lacking = {
            entry.id: entry.tag
            for entry in selection.entries
            if entry.kind == "EXTENSION" and entry.tag not in found["extension"]
        }
        needed = sorted(name for number, name in lacking.items() if number not in selection.optional)
        if needed:
            raise RestoreFailedError(
                f"{self.crew.address.display()} has no extension {', '.join(needed)} to offer",
                hint=f"install {'it' if len(needed) == 1 else 'them'} on the target's host, then restore again",
            )
        spaces = {entry.tablespace for entry in selection.entries if entry.tablespace} - found["tablespace"]
        if spaces:
            self.crew.warnings.append(
                f"tablespace {', '.join(sorted(spaces))} is not on this server: "
                "everything went to the default one"
            )
        kept = tuple(
            entry
            for entry in selection.entries
            if entry.id not in lacking and not lacking.keys() & set(entry.dependencies)
        )
        return replace(selection, entries=kept), not spaces

    def _definition_writer(self, toolsets: Sequence[Toolset], *, tablespaces: bool) -> DefinitionWriter:
        tool = restore_tool(
            self.archive.tool_major,
            Version.from_number(self.facts.server_version),
            toolsets,
            need_tls=self.crew.address.need_tls,
        )
        self.crew.warnings.extend(tool.warnings)
        return DefinitionWriter(
            tool=tool,
            address=self.crew.address,
            archive=self.plan.archive,
            server_version=self.facts.server_version,
            owner=self.plan.owner,
            acl=self.plan.acl,
            tablespaces=tablespaces,
        )

    def _define(self, writer: DefinitionWriter, entries: Sequence[Entry], phase: str) -> None:
        self.crew.begin(phase)
        self.crew.warnings.extend(writer.restore(entries, doing=phase, stop=self.crew.interrupted))

    def _restore_roles(self, worker: Worker, *, entries: Sequence[Entry]) -> None:
        writer = RoleWriter(connection=worker.connection, address=self.crew.address)
        writer.restore(
            self.plan.roles, self.plan.memberships, entries, owner=self.plan.owner, acl=self.plan.acl
        )
        self.crew.warnings.extend(writer.warnings)
        self.crew.left_out.extend(writer.left_out)

    def _load_and_build(self, phases: Phases, builder: Builder) -> None:
        self.crew.begin("loading rows and building indexes")
        whole = self.plan.mode is RebuildMode.WHOLE
        heap = {
            name_of(entry)
            for entry in self.archive.entries
            if entry.kind == "TABLE" and entry.access_method == "heap"
        }
        stopping = threading.Event()
        graph = RestoreGraph(
            plan=self.plan if whole else replace(self.plan, tables=()),
            archive=self.archive,
            loader=self._loader(stopping, heap.__contains__),
            builder=builder,
            extension_order=self._extension_order() if whole else (),
        )
        graph.add_all(phases)
        tasks = [*self._announcing(graph, builder.crowd), *(self._large_objects() if whole else ())]
        try:
            self.crew.run(tasks, stopping)
        finally:
            for split in graph.splits:
                split.close()

    def _loader(self, stopping: threading.Event, frozen: Callable[[QualifiedName], bool]) -> Loader:
        return Loader(
            address=self.crew.address,
            encoding=self.plan.encoding,
            supply=self.rows,
            listener=self.crew.listener,
            stopping=stopping,
            frozen=frozen,
        )

    def _extension_order(self) -> list[QualifiedName]:
        """The tables of extensions, those that others refer to first."""
        names = [table.name for table in self.plan.tables if table.extension is not None]
        return in_order(self.crew.connection, names) if names else []

    def _large_objects(self) -> list[Task[Worker]]:
        return [
            Task(
                key=("large objects", number),
                run=partial(load_large_objects, supply=supply),
                rank=Tier.LOW.rank,
                cost=1.0,
            )
            for number, supply in enumerate(self.plan.large_objects)
        ]

    def _announcing(self, graph: RestoreGraph, crowd: Crowd) -> list[Task[Worker]]:
        """The graph's tasks, each of which counts down its tier and announces it when it was the last."""
        left: dict[Tier, int] = {}
        for tier in graph.tiers.values():
            left[tier] = left.get(tier, 0) + 1
        lock = threading.Lock()

        def counted(task: Task[Worker], tier: Tier | None) -> Callable[[Worker], None]:
            def run(worker: Worker) -> None:
                with crowd.joined():
                    task.run(worker)
                if tier is None:
                    return
                with lock:
                    left[tier] -= 1
                    if left[tier]:
                        return
                    seconds = time.monotonic() - self.began
                    self.tiers.append(TierSeconds(tier=tier, seconds=seconds))
                self.crew.listener(TierReadable(tier=tier, seconds=seconds))

            return run

        return [replace(task, run=counted(task, graph.tiers.get(task.key))) for task in graph.tasks]

    def _what_follows(self, selection: Selection) -> tuple[Sequence[SequenceValue], Sequence[QualifiedName]]:
        """The sequences and materialized views that are there to be filled."""
        if self.plan.only_tables is None:
            return self.plan.sequences, self.plan.matviews
        kept = {(entry.kind, name_of(entry)) for entry in selection.entries}
        self.crew.left_out.extend(
            f"contents of materialized view {name}: run REFRESH MATERIALIZED VIEW"
            for name in self.plan.matviews
            if ("MATERIALIZED VIEW", name) in kept
        )
        return [item for item in self.plan.sequences if ("SEQUENCE", item.name) in kept], ()

    # Rows only

    def load_only(self) -> None:
        """Rows into tables that are there; see `DataOnly`."""
        crew, stopping = self.crew, threading.Event()
        data = DataOnly(plan=self.plan, loader=self._loader(stopping, lambda _: False))
        data.check(crew.connection)
        set_marker(crew.connection, self.plan.snapshot, comment=False)
        crew.begin("loading rows")
        crew.run([*data.tasks(), *self._large_objects()], stopping)
        crew.do("checking foreign keys", data.check_foreign_keys)
        views = self.plan.matviews if self.plan.only_tables is None else ()
        self._aftermath.fill(data.sequences(crew.connection), views)
        self._aftermath.end(())
