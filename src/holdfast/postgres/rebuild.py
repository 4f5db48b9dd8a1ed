"""One restore, from definitions to the last event trigger.

Order: roles; definitions without grants; rows, with each table's indexes and constraints as soon as its rows are
in; foreign keys; all other definitions and the grants; the database's settings; sequences, materialized views,
statistics; event triggers, which would fire on everything else, in the transaction that takes the mark away.

Invariant: the mark of incompleteness stands from before the first change until the transaction that ends the
restore. Whatever fails, the target keeps it, and the failure names the table or the statement.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import psycopg

from holdfast.domain.errors import InterruptedRunError, RestoreFailedError
from holdfast.domain.events import Listener, PhaseBegan, TierReadable, ignore
from holdfast.domain.tables import QualifiedName, SequenceValue, Tier
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.archive import Archive, ArchiveError, Entry
from holdfast.postgres.building import Builder, Crowd
from holdfast.postgres.connection import Connection, connect
from holdfast.postgres.data_only import DataOnly, in_order
from holdfast.postgres.definitions import DefinitionWriter
from holdfast.postgres.finishing import (
    ANALYZED_ALONE_BYTES,
    ANALYZED_TOGETHER,
    DatabaseStatements,
    analyze,
    load_large_objects,
    refresh,
    set_sequences,
)
from holdfast.postgres.loading import Loader, Worker
from holdfast.postgres.names import quote
from holdfast.postgres.queries import query
from holdfast.postgres.rebuild_plan import RebuildMode, RebuildPlan, Rebuilt, RowSupplier, TierSeconds
from holdfast.postgres.restore_graph import RestoreGraph
from holdfast.postgres.role_writer import RoleWriter
from holdfast.postgres.selection import (
    Phases,
    Selection,
    families,
    name_of,
    select_all,
    select_tables,
    sort_phases,
)
from holdfast.postgres.target import (
    MOST_MAINTENANCE_BYTES,
    Target,
    TargetFacts,
    connect_as_user,
    connect_for_restore,
    drop_marker,
    failed,
    restore_comment,
    set_marker,
)
from holdfast.postgres.tasks import Task, run_tasks
from holdfast.postgres.tools import Toolset, Version, restore_tool


@dataclass(slots=True)
class Rebuild:
    """Restores one plan into one database that exists and, but for data only, is empty. Used once.

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
    _warnings: list[str] = field(default_factory=list, init=False)
    _left_out: list[str] = field(default_factory=list, init=False)
    _tiers: list[TierSeconds] = field(default_factory=list, init=False)
    _workers: list[Worker] = field(default_factory=list, init=False)
    _began: float = field(default=0.0, init=False)

    def run(self) -> Rebuilt:
        """Do all of it. Raises `RefusedError` before anything is changed, `RestoreFailedError` later, and whatever
        the supplier of rows raises."""
        self._began = time.monotonic()
        archive = self._read_archive()
        data_only = self.plan.mode is RebuildMode.DATA_ONLY
        facts = Target(self.address).check_ready(
            source_version=self.plan.database.server_version,
            encoding=self.plan.encoding,
            empty=not data_only,
        )
        with self._connected(facts):
            if data_only:
                self._load_only(archive, facts)
            else:
                self._restore(archive, facts)
        return Rebuilt(
            tables=len(self.plan.tables),
            rows=sum(table.rows for table in self.plan.tables),
            bytes=sum(table.plain_bytes for table in self.plan.tables),
            tiers=tuple(sorted(self._tiers, key=lambda item: item.tier.rank)),
            warnings=tuple(self._warnings),
            left_out=tuple(self._left_out),
        )

    def _read_archive(self) -> Archive:
        try:
            return Archive.parse(self.plan.archive)
        except ArchiveError as error:
            raise RestoreFailedError(
                f"the definitions of snapshot {self.plan.snapshot} cannot be read: {error}",
                hint="use a newer Holdfast if the archive was written by a newer pg_dump",
            ) from error

    # The whole, or some tables with all they need

    def _restore(self, archive: Archive, facts: TargetFacts) -> None:
        selection = self._select(archive)
        phases = sort_phases(archive, selection.entries)
        tablespaces = self._check_available(selection.entries)
        writer = self._definition_writer(archive, facts, tablespaces=tablespaces)
        set_marker(self._workers[0].connection, self.plan.snapshot)
        self._do("restoring roles", partial(self._restore_roles, entries=selection.entries))
        self._phase("restoring definitions")
        self._warnings += writer.restore(
            phases.definitions, doing="restoring definitions", stop=self.interrupted
        )
        builder = Builder(
            crowd=Crowd(self._jobs, facts.parallel_maintenance_workers),
            memory_bytes=self._memory_each(facts),
            tablespaces=tablespaces,
        )
        self._load_and_build(archive, phases, builder)
        self._phase("restoring triggers, policies and grants")
        self._warnings += writer.restore(
            phases.rest, doing="restoring triggers, policies and grants", stop=self.interrupted
        )
        if self.plan.only_tables is None:
            self._do("restoring the database's settings", self._restore_settings)
        if self.plan.mode is RebuildMode.WHOLE:
            self._fill_what_follows(archive, *self._what_follows(selection))
        self._end(phases.event_triggers, facts)

    def _select(self, archive: Archive) -> Selection:
        if self.plan.only_tables is None:
            return select_all(archive)
        selection = select_tables(archive, self.plan.only_tables)
        self._left_out += [
            f"{text}: it refers to a table that is not restored" for text in selection.left_out
        ]
        self._warnings += [
            f"table {name} came along without rows, for something restored needs it"
            for name in selection.empty
        ]
        return selection

    def _check_available(self, entries: Iterable[Entry]) -> bool:
        """Whether the archive's tablespaces are there. Raises if an extension is not on the target's host."""
        connection = self._workers[0].connection
        found: dict[str, set[str]] = {"extension": set(), "tablespace": set()}
        for kind, name in connection.execute(query("target_available", connection.info.server_version)):
            found[kind].add(name)
        entries = tuple(entries)
        lacking = sorted({entry.tag for entry in entries if entry.kind == "EXTENSION"} - found["extension"])
        if lacking:
            raise RestoreFailedError(
                f"{self.address.display()} has no extension {', '.join(lacking)} to offer",
                hint=f"install {'it' if len(lacking) == 1 else 'them'} on the target's host, then restore again",
            )
        spaces = sorted({entry.tablespace for entry in entries if entry.tablespace} - found["tablespace"])
        if spaces:
            self._warnings.append(
                f"tablespace {', '.join(spaces)} is not on this server: everything went to the default one"
            )
        return not spaces

    def _definition_writer(
        self, archive: Archive, facts: TargetFacts, *, tablespaces: bool
    ) -> DefinitionWriter:
        tool = restore_tool(
            archive.tool_major,
            Version.from_number(facts.server_version),
            self.toolsets,
            need_tls=self.address.need_tls,
        )
        self._warnings += tool.warnings
        return DefinitionWriter(
            tool=tool,
            address=self.address,
            archive=self.plan.archive,
            server_version=facts.server_version,
            owner=self.plan.owner,
            acl=self.plan.acl,
            tablespaces=tablespaces,
        )

    def _restore_roles(self, worker: Worker, *, entries: Sequence[Entry]) -> None:
        writer = RoleWriter(connection=worker.connection, address=self.address)
        writer.restore(
            self.plan.roles, self.plan.memberships, entries, owner=self.plan.owner, acl=self.plan.acl
        )
        self._warnings += writer.warnings
        self._left_out += writer.left_out

    def _load_and_build(self, archive: Archive, phases: Phases, builder: Builder) -> None:
        self._phase("loading rows and building indexes")
        whole = self.plan.mode is RebuildMode.WHOLE
        plan = self.plan if whole else replace(self.plan, tables=())
        heap = {
            name_of(entry)
            for entry in archive.entries
            if entry.kind == "TABLE" and entry.access_method == "heap"
        }
        stopping = threading.Event()
        graph = RestoreGraph(
            plan=plan,
            archive=archive,
            loader=self._loader(stopping, heap.__contains__),
            builder=builder,
            extension_order=self._extension_order() if whole else (),
        )
        graph.add_all(phases)
        tasks = [*self._announcing(graph, builder.crowd), *(self._large_objects() if whole else ())]
        try:
            self._run(tasks, stopping)
        finally:
            for split in graph.splits:
                split.close()

    def _loader(self, stopping: threading.Event, frozen: Callable[[QualifiedName], bool]) -> Loader:
        return Loader(
            address=self.address,
            encoding=self.plan.encoding,
            supply=self.rows,
            listener=self.listener,
            stopping=stopping,
            frozen=frozen,
        )

    def _extension_order(self) -> list[QualifiedName]:
        """The tables of extensions, those that others refer to first."""
        if not any(table.extension is not None for table in self.plan.tables):
            return []
        connection = self._workers[0].connection
        return in_order(connection, [table.name for table in self.plan.tables if table.extension])

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
                    seconds = time.monotonic() - self._began
                    self._tiers.append(TierSeconds(tier=tier, seconds=seconds))
                self.listener(TierReadable(tier=tier, seconds=seconds))

            return run

        return [replace(task, run=counted(task, graph.tiers.get(task.key))) for task in graph.tasks]

    def _what_follows(self, selection: Selection) -> tuple[Sequence[SequenceValue], Sequence[QualifiedName]]:
        """The sequences and materialized views that are there to be filled."""
        if self.plan.only_tables is None:
            return self.plan.sequences, self.plan.matviews
        kept = {(entry.kind, name_of(entry)) for entry in selection.entries}
        self._left_out += [
            f"contents of materialized view {name}: run REFRESH MATERIALIZED VIEW"
            for name in self.plan.matviews
            if ("MATERIALIZED VIEW", name) in kept
        ]
        return [item for item in self.plan.sequences if ("SEQUENCE", item.name) in kept], ()

    def _fill_what_follows(
        self, archive: Archive, sequences: Sequence[SequenceValue], views: Sequence[QualifiedName]
    ) -> None:
        self._do("setting sequences", partial(set_sequences, sequences=sequences))
        if views:
            self._refresh(views)
        if self.plan.analyze:
            self._analyze(archive, views)

    def _refresh(self, views: Sequence[QualifiedName]) -> None:
        """With the database's own settings: what a view shows may depend on the time zone or the search path."""
        worker = Worker(self.address, partial(connect_as_user, self.address, snapshot=self.plan.snapshot))
        try:
            self._do("refreshing materialized views", partial(refresh, views=views), worker)
        finally:
            worker.close()

    def _analyze(self, archive: Archive, views: Sequence[QualifiedName]) -> None:
        """Statistics for everything with rows; partitions through the topmost table, which needs its own too,
        unless some are foreign tables: these are not read."""
        self._phase("analyzing")
        members = families(archive)
        foreign = {top for child, top in members.items() if archive.by_id[child].kind == "FOREIGN TABLE"}
        tops = {
            name_of(archive.by_id[child]): name_of(archive.by_id[top])
            for child, top in members.items()
            if top not in foreign
        }
        sizes: dict[QualifiedName, int] = dict.fromkeys(views, ANALYZED_ALONE_BYTES)
        for table in self.plan.tables:
            if table.rows:
                name = tops.get(table.name, table.name)
                sizes[name] = sizes.get(name, 0) + table.plain_bytes
        alone = [[name] for name, size in sizes.items() if size >= ANALYZED_ALONE_BYTES]
        small = [name for name, size in sizes.items() if size < ANALYZED_ALONE_BYTES]
        batches = [
            small[start : start + ANALYZED_TOGETHER] for start in range(0, len(small), ANALYZED_TOGETHER)
        ]
        tasks = [
            Task(key=batch[0], run=partial(analyze, tables=batch, warnings=self._warnings), cost=cost)
            for batch, cost in ((batch, sum(sizes[name] for name in batch)) for batch in [*alone, *batches])
        ]
        self._run(tasks, threading.Event())

    def _restore_settings(self, worker: Worker) -> None:
        self._left_out += DatabaseStatements(facts=self.plan.database).run(worker, acl=self.plan.acl)

    def _end(self, event_triggers: Sequence[Entry], facts: TargetFacts) -> None:
        """Event triggers come to life and the mark disappears in one transaction, flushed to disk with all before
        it: the end of the restore either happened or did not."""
        self._phase("finishing")
        statements = DatabaseStatements(facts=self.plan.database)
        if self.plan.only_tables is not None or not statements.have_comment:
            restore_comment(self._workers[0].connection, facts.comment)
        with self._workers[0].transaction(doing="finishing the restore") as connection:
            connection.execute("SET LOCAL synchronous_commit = on")
            drop_marker(connection)
            for entry in event_triggers:
                self._add_event_trigger(connection, entry)

    def _add_event_trigger(self, connection: Connection, entry: Entry) -> None:
        statement = entry.definition
        if self.plan.owner and entry.owner and entry.drop:
            statement += f"\nALTER EVENT TRIGGER {quote(entry.tag)} OWNER TO {quote(entry.owner)};"
        try:
            with connection.transaction():
                connection.execute(statement.encode(connection.info.encoding))
        except psycopg.errors.InsufficientPrivilege:
            self._left_out.append(f"{entry.title.lower()}, not allowed here: {' '.join(statement.split())}")
        except psycopg.Error as error:
            raise failed(error, self.address, doing=f"restoring {entry.title}") from error

    # Rows only

    def _load_only(self, archive: Archive, facts: TargetFacts) -> None:
        """Rows into tables that are there; see `DataOnly`."""
        stopping = threading.Event()
        data = DataOnly(plan=self.plan, loader=self._loader(stopping, lambda _: False))
        data.check(self._workers[0].connection)
        set_marker(self._workers[0].connection, self.plan.snapshot)
        self._phase("loading rows")
        self._run([*data.tasks(), *self._large_objects()], stopping)
        self._do("checking foreign keys", data.check_foreign_keys)
        whole = self.plan.only_tables is None
        views = self.plan.matviews if whole else ()
        self._fill_what_follows(archive, data.sequences(self._workers[0].connection), views)
        self._end((), facts)

    # Workers

    @property
    def _jobs(self) -> int:
        return max(self.plan.jobs, 1)

    def _memory_each(self, facts: TargetFacts) -> int:
        total = self.plan.maintenance_memory_bytes or facts.maintenance_memory_bytes
        return min(total // self._jobs, MOST_MAINTENANCE_BYTES)

    @contextmanager
    def _connected(self, facts: TargetFacts) -> Iterator[None]:
        """Workers for all of it; every connection reaches the very server that was examined."""
        with connect(self.address, application_name="holdfast/restore", purpose="target") as connection:
            self.address = self.address.pinned(connection)
        open_one = partial(
            connect_for_restore,
            self.address,
            snapshot=self.plan.snapshot,
            maintenance_memory_bytes=self._memory_each(facts),
        )
        self._workers = [Worker(self.address, open_one) for _ in range(self._jobs)]
        try:
            yield
        finally:
            for worker in self._workers:
                worker.close()

    def _run(self, tasks: Sequence[Task[Worker]], stopping: threading.Event) -> None:
        run_tasks(tasks, self._workers, cancel=Worker.cancel, interrupted=self.interrupted, stopping=stopping)

    def _do(self, phase: str, step: Callable[[Worker], None], worker: Worker | None = None) -> None:
        """One step on one connection, which an interruption can cancel."""
        self._phase(phase)
        run_tasks(
            [Task(key=phase, run=step)],
            [worker or self._workers[0]],
            cancel=Worker.cancel,
            interrupted=self.interrupted,
        )

    def _phase(self, phase: str) -> None:
        if self.interrupted.is_set():
            raise InterruptedRunError("stopped on request")
        self.listener(PhaseBegan(phase=phase))
