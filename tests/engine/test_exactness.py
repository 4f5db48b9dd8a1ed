"""Exactness by property: whatever was done to the tables, proving unchanged ranges gives what reading them gives.

Random histories of statements, in random order and with transactions left open across snapshots. At each snapshot,
an incremental capture and a full one under the same exported snapshot must hold the same chunks range by range.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, ClassVar

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from psycopg import errors

from engine.exactness import Chain
from holdfast.workflows import proving
from patience import PATIENCE_SECONDS
from postgres_servers import Database, ServerPool, fresh_database, majors_at_hand

SCHEMA = """
DROP SCHEMA IF EXISTS x CASCADE;
CREATE SCHEMA x;
CREATE TYPE x.mood AS ENUM ('sad', 'fine', 'glad');
CREATE TYPE x.pair AS (a int, b text);
CREATE DOMAIN x.word AS text;
CREATE TABLE x.plain (id int PRIMARY KEY, a int NOT NULL DEFAULT 0, b text) WITH (fillfactor = 70);
CREATE TABLE x.rich (id int PRIMARY KEY, a int NOT NULL DEFAULT 0, b x.word, m x.mood[] DEFAULT '{fine}',
  p x.pair);
ALTER TABLE x.rich ALTER b SET STORAGE EXTERNAL;
CREATE TABLE x.tree (id int, a int NOT NULL DEFAULT 0, b text) PARTITION BY HASH (id);
CREATE TABLE x.leaf PARTITION OF x.tree FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE UNLOGGED TABLE x.light (id int, a int NOT NULL DEFAULT 0, b text);
INSERT INTO x.plain SELECT g, 0, repeat('p', 150) FROM generate_series(1, 400) g;
INSERT INTO x.rich SELECT g, 0, repeat('r', CASE WHEN g % 7 = 0 THEN 3000 ELSE 90 END), '{sad,glad}',
  ROW(g, 'x')::x.pair FROM generate_series(1, 200) g;
INSERT INTO x.leaf SELECT g, 0, 'leaf' FROM generate_series(1, 100) g;
INSERT INTO x.light SELECT g, 0, repeat('l', 100) FROM generate_series(1, 100) g;
"""

SWAP_NAMES = """
ALTER TABLE x.plain RENAME TO former;
ALTER TABLE x.light RENAME TO plain;
ALTER TABLE x.former RENAME TO light;
"""

# Fewer than the servers of the tests allow: ten.
MOST_PREPARED = 6

LOCK_TIMEOUT = b"SET lock_timeout TO '60ms'"

TABLES = st.sampled_from(("plain", "rich", "leaf", "light", "plain", "rich"))
PARTS = st.tuples(st.integers(2, 60), st.integers(0, 59))
CHANGES = st.sampled_from(("insert", "update", "move", "delete", "swap"))

# What a history may run into, since a transaction that it left open is in the way, or an earlier step.
IN_THE_WAY = (
    errors.LockNotAvailable,
    errors.UndefinedColumn,
    errors.UndefinedTable,
    errors.UniqueViolation,
    errors.DuplicateColumn,
    errors.DeadlockDetected,
    errors.ObjectInUse,
    errors.InvalidParameterValue,
    errors.NumericValueOutOfRange,
    errors.WrongObjectType,
    errors.FeatureNotSupported,
    errors.UndefinedObject,
)


class History(RuleBasedStateMachine):
    """One database's history. `database` is set by the test."""

    database: ClassVar[Database]

    def __init__(self) -> None:
        super().__init__()
        self._connection = self._connect()
        self._writers: list[psycopg.Connection[Any]] = []
        self._prepared = 0
        self._next = 1_000
        self._chain = Chain(self.database)

    def _connect(self) -> psycopg.Connection[Any]:
        connection = psycopg.connect(self.database.dsn, autocommit=True)
        connection.execute(LOCK_TIMEOUT)
        connection.execute("SET client_min_messages TO error")
        return connection

    @initialize()
    def begin(self) -> None:
        # What the history before left open may not be gone yet, though its connections are closed.
        self._connection.execute(f"SET lock_timeout TO '{PATIENCE_SECONDS:.0f}s'".encode())
        self._connection.execute(SCHEMA.encode())
        self._connection.execute(LOCK_TIMEOUT)
        self._chain.snapshot()

    def teardown(self) -> None:
        for writer in self._writers:
            writer.close()
        with suppress(psycopg.Error):
            for name in self._prepared_now():
                self._connection.execute(f"ROLLBACK PREPARED '{name}'".encode())
        self._connection.close()

    def _try(self, *statements: str, connection: psycopg.Connection[Any] | None = None) -> bool:
        """Run them in autocommit mode, or within the transaction that is open there; whether they all worked."""
        target = connection or self._connection
        try:
            for statement in statements:
                target.execute(statement.encode())
        except IN_THE_WAY:
            with suppress(psycopg.Error):
                target.execute("ROLLBACK")
            return False
        return True

    def _prepared_now(self) -> list[str]:
        statement = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() ORDER BY prepared"
        return [name for (name,) in self._connection.execute(statement).fetchall()]

    def _change(self, kind: str, table: str, part: tuple[int, int]) -> str:
        """A statement that changes the rows whose id falls into `part`."""
        where = f"WHERE id % {part[0]} = {part[1] % part[0]}"
        self._next += 500
        return {
            "insert": f"INSERT INTO x.{table} (id, b) SELECT {self._next} + g, repeat('i', 20 + g % 150) "
            f"FROM generate_series(1, {part[1] + 1}) g",
            "update": f"UPDATE x.{table} SET a = a + 1 {where}",
            "move": f"UPDATE x.{table} SET id = id + {self._next} {where}",
            "delete": f"DELETE FROM x.{table} {where}",
            "swap": f"WITH gone AS (DELETE FROM x.{table} {where} RETURNING id) INSERT INTO x.{table} (id, b) "
            f"SELECT {self._next} + row_number() OVER (), 'new' FROM gone",
        }[kind]

    # -- one transaction after the other -----------------------------------------------------------------------

    @rule(kind=CHANGES, table=TABLES, part=PARTS)
    def change(self, kind: str, table: str, part: tuple[int, int]) -> None:
        self._try(self._change(kind, table, part))

    @rule(kind=CHANGES, table=TABLES, part=PARTS)
    def roll_back(self, kind: str, table: str, part: tuple[int, int]) -> None:
        self._try("BEGIN", self._change(kind, table, part), "ROLLBACK")

    @rule(first=CHANGES, second=CHANGES, table=TABLES, part=PARTS, keep=st.booleans())
    def nest(self, first: str, second: str, table: str, part: tuple[int, int], *, keep: bool) -> None:
        """Subtransactions, of which one is undone and one is not."""
        self._try(
            "BEGIN",
            "SAVEPOINT one",
            self._change(first, table, part),
            "RELEASE one" if keep else "ROLLBACK TO one",
            "SAVEPOINT two",
            self._change(second, table, part),
            "ROLLBACK TO two" if keep else "RELEASE two",
            "COMMIT",
        )

    @rule(table=TABLES, part=PARTS)
    def toast(self, table: str, part: tuple[int, int]) -> None:
        self._try(
            f"UPDATE x.{table} SET b = repeat(md5(id::text), {part[1] * 5}) "
            f"WHERE id % {part[0]} = {part[1] % part[0]}"
        )

    @rule(table=TABLES, mode=st.sampled_from(("UPDATE", "NO KEY UPDATE", "SHARE", "KEY SHARE")))
    def lock_rows(self, table: str, mode: str) -> None:
        self._try(f"SELECT count(*) FROM (SELECT FROM x.{table} FOR {mode}) AS held")

    @rule(table=TABLES)
    def truncate(self, table: str) -> None:
        self._try(f"TRUNCATE x.{table}")

    @rule(table=TABLES, rows=st.integers(0, 400), freeze=st.booleans(), fresh=st.booleans())
    def copy_in(self, table: str, rows: int, *, freeze: bool, fresh: bool) -> None:
        """COPY into a table that the same transaction has emptied, frozen or not."""
        self._next += 500
        if not self._try("BEGIN", *([f"TRUNCATE x.{table}"] if freeze or fresh else [])):
            return
        try:
            with self._connection.cursor().copy(
                f"COPY x.{table} (id, b) FROM STDIN{' (FREEZE)' if freeze else ''}".encode()
            ) as copy:
                copy.write("".join(f"{self._next + row}\tcopied {row % 17}\n" for row in range(rows)))
        except IN_THE_WAY:
            self._connection.execute("ROLLBACK")
            return
        self._connection.execute("COMMIT")

    # -- the table's own history -------------------------------------------------------------------------------

    @rule(table=TABLES, how=st.sampled_from(("", "FREEZE", "FULL", "FREEZE, ANALYZE", "FULL, FREEZE")))
    def vacuum(self, table: str, how: str) -> None:
        self._try(f"VACUUM {f'({how})' if how else ''} x.{table}")

    @rule(table=st.sampled_from(("plain", "rich")), index=st.booleans())
    def cluster(self, table: str, *, index: bool) -> None:
        name = f"{table}_other"
        if index:
            self._try(f"CREATE INDEX IF NOT EXISTS {name} ON x.{table} (a, id DESC)")
            self._try(f"CLUSTER x.{table} USING {name}")
        else:
            self._try(f"CLUSTER x.{table} USING {table}_pkey")

    @rule(
        statement=st.sampled_from(
            (
                "ALTER TABLE x.plain ALTER a TYPE bigint",
                "ALTER TABLE x.plain ALTER a TYPE int USING a + 1",
                "ALTER TABLE x.rich ALTER b TYPE varchar(30000)",
                "ALTER TABLE x.plain RENAME b TO c; ALTER TABLE x.plain RENAME c TO b",
                "ALTER TABLE x.plain ADD d text DEFAULT 'all the same'",
                "ALTER TABLE x.plain ADD d int DEFAULT (random() * 1000)::int",
                "ALTER TABLE x.rich ADD d x.mood DEFAULT 'sad'",
                "ALTER TABLE x.plain DROP d",
                "ALTER TABLE x.rich DROP d",
                "ALTER TABLE x.rich DROP p",
                "ALTER TYPE x.mood RENAME VALUE 'glad' TO 'happy'",
                "ALTER TYPE x.mood RENAME VALUE 'happy' TO 'glad'",
                "ALTER TYPE x.mood ADD VALUE IF NOT EXISTS 'so so' BEFORE 'fine'",
                "ALTER TYPE x.pair ADD ATTRIBUTE c int CASCADE",
                "ALTER TYPE x.pair RENAME ATTRIBUTE a TO z CASCADE",
                "ALTER TYPE x.pair DROP ATTRIBUTE b CASCADE",
                "ALTER TABLE x.light SET LOGGED",
                "ALTER TABLE x.light SET UNLOGGED",
                "ALTER TABLE x.tree DETACH PARTITION x.leaf",
                "ALTER TABLE x.tree ATTACH PARTITION x.leaf FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
                SWAP_NAMES,
                "CREATE TABLE IF NOT EXISTS x.made AS SELECT id, b FROM x.plain",
                "DROP TABLE x.made",
                "DROP TABLE x.light; CREATE TABLE x.light AS SELECT id, a, b FROM x.leaf",
            )
        )
    )
    def define(self, statement: str) -> None:
        """In one transaction, as a script without BEGIN is. What the state of things forbids is passed over."""
        with suppress(psycopg.errors.Error):
            self._connection.execute(statement.encode())

    @rule(
        statement=st.sampled_from(
            (
                "ALTER TABLE x.plain ADD d text DEFAULT 'all the same'",
                "ALTER TABLE x.rich ADD d x.mood DEFAULT 'sad'",
                "ALTER TABLE x.plain DROP d",
                "ALTER TABLE x.rich DROP d",
                "ALTER TYPE x.mood RENAME VALUE 'glad' TO 'happy'",
                "ALTER TYPE x.mood RENAME VALUE 'happy' TO 'glad'",
                "ALTER TYPE x.pair ADD ATTRIBUTE c int CASCADE",
                "ALTER TYPE x.pair DROP ATTRIBUTE b CASCADE",
            )
        )
    )
    def define_without_touching_rows(self, statement: str) -> None:
        """What the rows' text says changes, though no row does; then nothing else happens before the snapshot."""
        with suppress(psycopg.errors.Error):
            self._connection.execute(statement.encode())
        self._chain.snapshot()

    @rule(count=st.integers(1, 40))
    def spend_transactions(self, count: int) -> None:
        for _ in range(count):
            self._connection.execute("SELECT pg_current_xact_id()")

    # -- transactions that are still open when a snapshot is taken ---------------------------------------------

    @rule(kind=CHANGES, table=TABLES, part=PARTS, nested=st.booleans())
    def leave_open(self, kind: str, table: str, part: tuple[int, int], *, nested: bool) -> None:
        if len(self._writers) == 3:
            return
        writer = self._connect()
        statements = (
            ("SAVEPOINT s", self._change(kind, table, part)) if nested else (self._change(kind, table, part),)
        )
        if self._try("BEGIN", *statements, connection=writer):
            self._writers.append(writer)
        else:
            writer.close()

    @rule(commit=st.booleans(), which=st.integers(0, 2))
    def end_open(self, which: int, *, commit: bool) -> None:
        if self._writers:
            writer = self._writers.pop(which % len(self._writers))
            writer.execute("COMMIT" if commit else "ROLLBACK")
            writer.close()

    @rule(kind=CHANGES, table=TABLES, part=PARTS, commit=st.booleans())
    def end_behind_a_snapshot(self, kind: str, table: str, part: tuple[int, int], *, commit: bool) -> None:
        """The snapshot knows of a later transaction that ended, and not of this one."""
        with closing(self._connect()) as writer:
            if not self._try("BEGIN", self._change(kind, table, part), connection=writer):
                return
            self.spend_transactions(1)
            self._chain.snapshot()
            writer.execute("COMMIT" if commit else "ROLLBACK")
        self._chain.snapshot()

    @rule(kind=CHANGES, table=TABLES, part=PARTS)
    def prepare(self, kind: str, table: str, part: tuple[int, int]) -> None:
        if len(self._prepared_now()) >= MOST_PREPARED:
            return
        self._prepared += 1
        self._try("BEGIN", self._change(kind, table, part), f"PREPARE TRANSACTION 'p{self._prepared}'")

    @rule(commit=st.booleans())
    def end_prepared(self, *, commit: bool) -> None:
        for name in self._prepared_now()[:1]:
            self._connection.execute(f"{'COMMIT' if commit else 'ROLLBACK'} PREPARED '{name}'".encode())

    # -- snapshots ---------------------------------------------------------------------------------------------

    @rule(kind=CHANGES, table=TABLES, part=PARTS, full=st.sampled_from((False, False, False, True)))
    def snapshot(self, kind: str, table: str, part: tuple[int, int], *, full: bool) -> None:
        """With a writer that commits while it is read. A full reading must not refute the proof."""
        statement = self._change(kind, table, part)
        captured = self._chain.snapshot(full=full, meanwhile=lambda: self._swallow(self._try(statement)))
        assert captured.refuted == ()

    @rule(again=st.booleans())
    def quiet_snapshot(self, *, again: bool) -> None:
        """Nobody writes between them: all of the second is taken over."""
        self._chain.snapshot()
        if again:
            self._chain.snapshot()

    @staticmethod
    def _swallow(_: object) -> None:
        return None


@pytest.fixture(autouse=True)
def samples_of_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges of two pages are sampled, as long ones are."""
    monkeypatch.setattr(proving, "SAMPLE_SHARE", 2)


@contextmanager
def history_on(pg: ServerPool, major: int) -> Iterator[type[History]]:
    with fresh_database(pg(major), "exact") as database:
        yield type(f"History{major}", (History,), {"database": database})


def run(machine: type[History], *, histories: int, steps: int) -> None:
    # A history cannot be run twice in the same way, so none is kept or made smaller.
    profile = settings(
        max_examples=histories,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    run_state_machine_as_test(machine, settings=profile)


@pytest.mark.parametrize("major", [major for major in majors_at_hand() if major in (15, 18)])
def test_proving_ranges_gives_what_reading_them_gives(pg: ServerPool, major: int) -> None:
    """Random histories of statements: the same chunks, range by range."""
    with history_on(pg, major) as machine:
        run(machine, histories=12, steps=24)


@pytest.mark.soak
def test_hundreds_of_histories(pg: ServerPool, major: int) -> None:
    """The same, many times over: more than 500 histories over all versions."""
    with history_on(pg, major) as machine:
        run(machine, histories=135, steps=30)
