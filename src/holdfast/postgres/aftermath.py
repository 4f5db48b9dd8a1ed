"""The end of a restore: what can only be done when all rows and definitions are there.

Order: the database's settings; sequences; materialized views, seen with those settings; statistics; and in one
transaction the event triggers, which would fire on everything else, and the mark's removal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import psycopg

from holdfast.domain.tables import QualifiedName, SequenceValue
from holdfast.postgres.archive import Archive, Entry
from holdfast.postgres.connection import Connection
from holdfast.postgres.crew import Crew
from holdfast.postgres.finishing import (
    ANALYZED_ALONE_BYTES,
    ANALYZED_TOGETHER,
    DatabaseStatements,
    analyze,
    refresh,
    set_sequences,
)
from holdfast.postgres.loading import Worker
from holdfast.postgres.marker import drop_marker, restore_comment
from holdfast.postgres.names import quote
from holdfast.postgres.selection import families, name_of
from holdfast.postgres.target_connection import failed
from holdfast.postgres.tasks import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """`comment` is the one that the database had before the restore's mark took its place."""

    crew: Crew
    archive: Archive
    comment: str | None

    def restore_settings(self) -> None:
        """Settings, grants, comment and labels of the database itself."""
        self.crew.do("restoring the database's settings", self._settings)

    def fill(self, sequences: Sequence[SequenceValue], views: Sequence[QualifiedName]) -> None:
        """Set these sequences, fill these views (in this order), and gather statistics of all that has rows."""
        self.crew.do("setting sequences", partial(set_sequences, sequences=sequences))
        if views:
            self.crew.do_as_user("refreshing materialized views", partial(refresh, views=views))
        if self.crew.plan.analyze:
            self.crew.begin("analyzing")
            self.crew.run(self._analyses(views))

    def end(self, event_triggers: Sequence[Entry]) -> None:
        """The restore is over: flushed to disk with all before it, or it did not happen."""
        crew = self.crew
        crew.begin("finishing")
        if crew.plan.only_tables is not None or not self._statements.have_comment:
            restore_comment(crew.connection, self.comment)
        with crew.workers[0].transaction(doing="finishing the restore") as connection:
            connection.execute("SET LOCAL synchronous_commit = on")
            drop_marker(connection)
            for entry in event_triggers:
                self._add_event_trigger(connection, entry)

    @property
    def _statements(self) -> DatabaseStatements:
        return DatabaseStatements(facts=self.crew.plan.database)

    def _settings(self, worker: Worker) -> None:
        self.crew.left_out.extend(self._statements.run(worker, acl=self.crew.plan.acl))

    def _analyses(self, views: Sequence[QualifiedName]) -> list[Task[Worker]]:
        """Partitions through the topmost table, which needs statistics of its own too, unless some are foreign
        tables: these are not read."""
        members = families(self.archive)
        entries = self.archive.by_id
        foreign = {top for child, top in members.items() if entries[child].kind == "FOREIGN TABLE"}
        tops = {
            name_of(entries[child]): name_of(entries[top])
            for child, top in members.items()
            if top not in foreign
        }
        sizes: dict[QualifiedName, int] = dict.fromkeys(views, ANALYZED_ALONE_BYTES)
        for table in self.crew.plan.tables:
            if table.rows:
                name = tops.get(table.name, table.name)
                sizes[name] = sizes.get(name, 0) + table.plain_bytes
        small = [name for name, size in sizes.items() if size < ANALYZED_ALONE_BYTES]
        batches = [[name] for name, size in sizes.items() if size >= ANALYZED_ALONE_BYTES]
        batches += [
            small[start : start + ANALYZED_TOGETHER] for start in range(0, len(small), ANALYZED_TOGETHER)
        ]
        return [
            Task(
                key=batch[0],
                run=partial(analyze, tables=batch, warnings=self.crew.warnings),
                cost=sum(sizes[name] for name in batch),
            )
            for batch in batches
        ]

    def _add_event_trigger(self, connection: Connection, entry: Entry) -> None:
        statement = entry.definition
        if self.crew.plan.owner and entry.owner and entry.drop:
            statement += f"\nALTER EVENT TRIGGER {quote(entry.tag)} OWNER TO {quote(entry.owner)};"
        try:
            with connection.transaction():
                connection.execute(statement.encode(connection.info.encoding))
        except psycopg.errors.InsufficientPrivilege:
            self.crew.left_out.append(f"{entry.title}, not allowed here: {' '.join(statement.split())}")
        except psycopg.Error as error:
            raise failed(error, self.crew.address, doing=f"restoring {entry.title}") from error
