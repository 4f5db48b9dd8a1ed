"""Many small tables by one statement of many COPYs: the same rows as one by one, and clean ends, by name."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from engine.exactness import Chain, content_of
from engine.test_copy import EnoughError, read_all, spec_of, table, taken
from holdfast.domain.errors import (
    InterruptedRunError,
    LackingRightsError,
    SourceLostError,
    UnreachableError,
)
from holdfast.domain.ranges import WHOLE, PageRange
from holdfast.domain.tables import Table
from holdfast.postgres import batch
from holdfast.postgres.copy import RangeReader, Reading
from holdfast.postgres.libpq_wire import LibpqWire
from holdfast.workflows import reading
from patience import wait_until
from postgres_servers import Database


class Shelf:
    """Readings of some ranges, and what came of them: names with numbers of rows, as they were finished."""

    def __init__(self, wanted: Iterable[tuple[Table, PageRange]]) -> None:
        self.finished: list[tuple[str, int]] = []
        self.pieces: list[list[bytes]] = []
        self.readings = [self._reading(each, pages) for each, pages in wanted]

    def _reading(self, wanted: Table, pages: PageRange) -> Reading:
        pieces: list[bytes] = []
        self.pieces.append(pieces)
        finished = self.finished
        return Reading(
            table=wanted,
            pages=pages,
            sink=pieces.append,
            finished=lambda rows: finished.append((wanted.name.name, rows)),
        )

    def found(self) -> list[tuple[int, bytes]]:
        return [
            (rows, b"".join(pieces)) for (_, rows), pieces in zip(self.finished, self.pieces, strict=True)
        ]


def numbered(database: Database, *names: str, rows: int = 3) -> list[Table]:
    """Tables of numbers."""
    for name in names:
        database.execute(
            f"CREATE TABLE {name} (id int)", f"INSERT INTO {name} SELECT generate_series(1, {rows})"
        )
    return [table(name, "id") for name in names]


def whole(tables: Sequence[Table]) -> Shelf:
    return Shelf((each, WHOLE) for each in tables)


def test_rows_are_the_same_as_one_by_one(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whole tables, ranges, tables without columns or rows, odd names; and in several statements."""
    monkeypatch.setattr(batch, "COPIES_PER_STATEMENT", 4)
    database.execute(
        "CREATE TABLE t (id int, body text)",
        r"INSERT INTO t SELECT g, repeat(E'line\n\ttab\\ ' || g, 7) FROM generate_series(1, 3000) g",
        "CREATE TABLE bare (); INSERT INTO bare DEFAULT VALUES; INSERT INTO bare DEFAULT VALUES",
        "CREATE TABLE empty (id int)",
        'CREATE TABLE "a; DROP TABLE ""t""" (id int); INSERT INTO "a; DROP TABLE ""t""" VALUES (1)',
    )
    rows = table("t", "id", "body")
    wanted = [
        (rows, WHOLE),
        (rows, PageRange(first=0, end=5)),
        (rows, PageRange(first=5, end=None)),
        (table("bare"), WHOLE),
        (table("empty", "id"), WHOLE),
        (replace(rows, condition="WHERE id = 1 OR id = 7"), WHOLE),
        (table('a; DROP TABLE "t"', "id"), WHOLE),
    ]
    shelf = Shelf(wanted)
    with RangeReader.open(spec_of(database), many=True) as many, RangeReader.open(spec_of(database)) as one:
        assert isinstance(many._wire, LibpqWire)
        assert not isinstance(one._wire, LibpqWire)
        many.read_all(shelf.readings)
        alone = [read_all(one, each, pages) for each, pages in wanted]
    assert shelf.found() == alone
    assert [rows for _, rows in shelf.finished][3:] == [2, 0, 2, 1]


def test_chunks_are_the_same_either_way(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was stored one by one is found again in a batch: the way that rows came leaves no trace."""
    numbered(database, *(f"t{number}" for number in range(20)), rows=900)
    chain = Chain(database)
    batches: list[int] = []
    run = batch.Batch.run

    def counted(self: batch.Batch) -> None:
        batches.append(len(self._copies))
        run(self)

    monkeypatch.setattr(batch.Batch, "run", counted)
    monkeypatch.setattr(reading, "MANY", 10**9)
    one_by_one = content_of(chain.snapshot(full=True))
    assert batches == []
    monkeypatch.setattr(reading, "MANY", 2)
    assert content_of(chain.snapshot(full=True)) == one_by_one
    assert sum(batches) >= 20


@pytest.mark.parametrize("many", [False, True])
def test_the_table_that_fails_is_named(database: Database, many: bool) -> None:
    """Those before it are finished, those behind it are not begun, and the reader goes on."""
    first, gone, last = numbered(database, "first", "gone", "last")
    database.execute("DROP TABLE gone")
    with RangeReader.open(spec_of(database), many=many) as reader:
        shelf = whole([first, gone, last])
        with pytest.raises(UnreachableError, match=r"reading table public\.gone failed: .*does not exist"):
            reader.read_all(shelf.readings)
        assert shelf.finished == [("first", 3)]
        again = whole([first, last])
        reader.read_all(again.readings)
        assert again.finished == [("first", 3), ("last", 3)]


def test_lost_rights_name_their_table(database: Database) -> None:
    """A right that was revoked after the catalog was read."""
    tables = numbered(database, "first", "closed", "last")
    role = f"reader_of_{database.name}"
    database.execute(f"CREATE ROLE {role}", f"GRANT SELECT ON first, last TO {role}")
    try:
        with RangeReader.open(spec_of(database), many=True) as reader:
            reader.query("SELECT 1")
            reader._wire.execute(f"SET ROLE {role}")
            shelf = whole(tables)
            with pytest.raises(LackingRightsError, match=r"public\.closed"):
                reader.read_all(shelf.readings)
            assert shelf.finished == [("first", 3)]
    finally:
        database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_an_error_among_the_rows_is_no_end_of_them(database: Database) -> None:
    """Rows that were sent before the server failed do not count as the table."""
    first, bad = numbered(database, "first", "bad", rows=30000)
    failing = replace(bad, condition="WHERE 1 / (29999 - id) IS NOT NULL")
    with RangeReader.open(spec_of(database), many=True) as reader:
        shelf = whole([first, failing, first])
        with pytest.raises(UnreachableError, match=r"public\.bad failed: division by zero"):
            reader.read_all(shelf.readings)
        assert shelf.finished == [("first", 30000)]


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("where", ["sink", "finished"])
def test_what_a_caller_raises_ends_the_batch_and_no_more(database: Database, where: str, many: bool) -> None:
    """A wrong count, for example: it comes out as it was, and the same snapshot can be read again."""
    tables = numbered(database, "first", "second", "third", rows=200_000)
    with (
        taken(database) as found,
        RangeReader.open(spec_of(database, exported=found.exported), many=many) as reader,
    ):
        database.execute("DELETE FROM third")

        def fail(given: object) -> None:
            raise EnoughError

        shelf = whole(tables)
        whose = shelf.readings[1]
        changed = replace(whose, sink=fail) if where == "sink" else replace(whose, finished=fail)
        with pytest.raises(EnoughError):
            reader.read_all([shelf.readings[0], changed, shelf.readings[2]])
        assert shelf.finished == [("first", 200_000)]
        again = whole(tables)
        reader.read_all(again.readings)
        assert [rows for _, rows in again.finished] == [200_000] * 3


def test_a_small_table_that_turns_out_big_is_passed_on_in_pieces(database: Database) -> None:
    """Nothing is held: rows go on as they come."""
    tables = numbered(database, "small", "big", "other")
    database.execute("INSERT INTO big SELECT generate_series(4, 400000)")
    with RangeReader.open(spec_of(database), many=True) as reader:
        shelf = whole(tables)
        reader.read_all(shelf.readings)
    assert shelf.finished == [("small", 3), ("big", 400_000), ("other", 3)]
    pieces = shelf.pieces[1]
    assert len(pieces) > 5
    assert max(map(len, pieces)) < 2 * batch._PIECE_BYTES
    assert b"".join(pieces) == b"".join(b"%d\n" % number for number in range(1, 400_001))


def test_a_killed_backend_names_the_table_it_was_at(database: Database) -> None:
    """The source is lost: a lost source, and what was finished was."""
    tables = numbered(database, "first", "middle", "last")
    database.execute(
        "ALTER TABLE middle ADD body text",
        "ALTER TABLE middle ALTER body SET STORAGE PLAIN",
        # More than all the buffers between the server and us can take: it cannot have ended when it is killed.
        "INSERT INTO middle SELECT g, repeat('x', 2000) FROM generate_series(1, 15000) g",
    )
    tables[1] = table("middle", "id", "body")
    with RangeReader.open(spec_of(database), many=True) as reader:
        pid = reader.query("SELECT pg_catalog.pg_backend_pid()")[0][0]
        killed: list[object] = []

        def kill(piece: bytes) -> None:
            if not killed:
                killed.append(database.rows(f"SELECT pg_terminate_backend({pid}, 180000)"))

        shelf = whole(tables)
        with pytest.raises(SourceLostError, match=r"public\.middle"):
            reader.read_all([shelf.readings[0], replace(shelf.readings[1], sink=kill), shelf.readings[2]])
        assert killed == [[(True,)]]
        assert shelf.finished == [("first", 3)]


def test_abort_ends_a_batch_from_another_thread(database: Database) -> None:
    """Soon, also when the server is busy without sending anything; and for good."""
    first, slow = numbered(database, "first", "slow")
    slow = replace(slow, condition="WHERE pg_catalog.pg_sleep(3600 + id) IS NOT NULL")
    sleeping = (
        "SELECT 1 FROM pg_stat_activity"
        " WHERE query LIKE '%pg_sleep(3600 + id)%' AND state = 'active' AND pid <> pg_backend_pid()"
    )
    with RangeReader.open(spec_of(database), many=True) as reader:

        def abort_once_it_runs() -> None:
            wait_until(lambda: database.rows(sleeping), "the query")
            reader.abort()

        aborting = threading.Thread(target=abort_once_it_runs)
        aborting.start()
        with pytest.raises(InterruptedRunError):
            reader.read_all(whole([first, slow]).readings)
        aborting.join()
        with pytest.raises(InterruptedRunError):
            reader.read_all(whole([first]).readings)
    database.wait_for_none(sleeping)


def test_nothing_to_read_is_no_statement(database: Database) -> None:
    """All of a task's tables may be proven unchanged."""
    with RangeReader.open(spec_of(database), many=True) as reader:
        reader.read_all([])
