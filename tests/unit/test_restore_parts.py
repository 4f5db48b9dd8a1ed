"""The restore's small decisions: statements taken apart, tables cut, complaints read."""

from __future__ import annotations

import pytest

from holdfast.domain.tables import QualifiedName
from holdfast.postgres.archive import DataState, Entry, Section
from holdfast.postgres.building import Crowd, constraint_steps, foreign_key_steps, method
from holdfast.postgres.definitions import complaints
from holdfast.postgres.loading import cut_evenly
from holdfast.postgres.rebuild_plan import LoadPart, TableLoad


def entry(definition: str, kind: str = "CONSTRAINT") -> Entry:
    return Entry(
        id=1,
        had_dumper=False,
        catalog=0,
        oid=0,
        tag="t c",
        kind=kind,
        section=Section.POST_DATA,
        definition=definition,
        drop="",
        copy="",
        schema="s",
        tablespace=None,
        access_method=None,
        relkind="",
        owner="",
        dependencies=(),
        data_state=DataState.NO_DATA,
        data_offset=0,
    )


PLAIN = (
    "ALTER TABLE ONLY s.t\n    ADD CONSTRAINT c PRIMARY KEY (id);\n",
    "CREATE UNIQUE INDEX c ON s.t USING btree (id);\n",
    "ALTER TABLE ONLY s.t\n    ADD CONSTRAINT c PRIMARY KEY USING INDEX c;\n",
)
RICH = (
    (
        'ALTER TABLE ONLY s."t (x)"\n    ADD CONSTRAINT "c; --" UNIQUE NULLS NOT DISTINCT (a, "b) c")'
        " INCLUDE (d) WITH (fillfactor='70') DEFERRABLE INITIALLY DEFERRED;\n\n\nALTER TABLE s.t CLUSTER ON c;\n"
    ),
    (
        'CREATE UNIQUE INDEX "c; --" ON s."t (x)" USING btree (a, "b) c") INCLUDE (d) NULLS NOT DISTINCT'
        " WITH (fillfactor='70');\n"
    ),
    (
        'ALTER TABLE ONLY s."t (x)"\n    ADD CONSTRAINT "c; --" UNIQUE USING INDEX "c; --"'
        " DEFERRABLE INITIALLY DEFERRED;\n\n\nALTER TABLE s.t CLUSTER ON c;\n"
    ),
)


@pytest.mark.parametrize(("text", "create", "adopt"), [PLAIN, RICH])
def test_a_unique_constraint_is_an_index_that_is_adopted(text: str, create: str, adopt: str) -> None:
    """Columns, options and what follows keep their place."""
    assert constraint_steps(entry(text)) == (create, adopt)


@pytest.mark.parametrize(
    "text",
    [
        "ALTER TABLE ONLY s.t\n    ADD CONSTRAINT c EXCLUDE USING gist (a WITH &&);\n",
        "ALTER TABLE s.t\n    ADD CONSTRAINT c CHECK ((a > 0)) NOT VALID;\n",
        "ALTER TABLE ONLY s.t\n    ADD CONSTRAINT c PRIMARY KEY (id, valid WITHOUT OVERLAPS);\n",
    ],
)
def test_other_constraints_are_left_as_they_are(text: str) -> None:
    """What is no plain unique index is built by its own statement."""
    assert constraint_steps(entry(text)) is None


def test_a_foreign_key_is_added_first_and_checked_later() -> None:
    """In two statements; unless it is not to be checked at all, or its table is partitioned."""
    text = (
        "ALTER TABLE ONLY s.t\n    ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES s.u(id) ON DELETE CASCADE{};\n"
    )
    assert foreign_key_steps(entry(text.format(""))) == (
        text.format(" NOT VALID"),
        "ALTER TABLE ONLY s.t VALIDATE CONSTRAINT c;\n",
    )
    assert foreign_key_steps(entry(text.format(" NOT VALID"))) is None
    assert foreign_key_steps(entry(text.format(" NOT ENFORCED"))) is None
    assert foreign_key_steps(entry(text.format("").replace(" ONLY", ""))) is None


def test_the_access_method_is_read_from_the_definition() -> None:
    """GIN by its name; constraints without one are btrees."""
    assert method(entry("CREATE INDEX i ON s.t USING gin (x jsonb_path_ops);\n", "INDEX")) == "gin"
    assert method(entry("ALTER TABLE ONLY s.t\n    ADD CONSTRAINT c UNIQUE (id);\n")) == "btree"


@pytest.mark.parametrize(
    ("sizes", "streams", "expected"),
    [
        ([10, 10, 10, 10], 2, [range(2), range(2, 4)]),
        ([100, 1, 1, 1], 2, [range(1), range(1, 4)]),
        ([1, 1, 1, 100], 2, [range(4)]),
        ([5], 4, [range(1)]),
        ([3, 3, 3, 3, 3], 3, [range(2), range(2, 4), range(4, 5)]),
    ],
)
def test_parts_are_cut_into_even_runs(sizes: list[int], streams: int, expected: list[range]) -> None:
    """Every part is in exactly one run, in order, whatever the sizes."""
    table = TableLoad(
        name=QualifiedName(schema="s", name="t"),
        columns=(),
        parts=tuple(LoadPart(rows=1, plain_bytes=size) for size in sizes),
    )
    runs = list(cut_evenly(table, streams))
    assert runs == expected
    assert [part for run in runs for part in run] == list(range(len(sizes)))


def test_builds_take_only_the_processes_that_nobody_else_needs() -> None:
    """Alone, an index is built with helpers; beside as many others as there are jobs, with none."""
    crowd = Crowd(jobs=3, server_limit=2)
    with crowd.joined():
        assert crowd.idle == 2
        with crowd.joined():
            assert crowd.idle == 1
            with crowd.joined():
                assert crowd.idle == 0
    assert Crowd(jobs=8, server_limit=0).idle == 0


def test_complaints_of_pg_restore_are_told_apart() -> None:
    """The one that every older server makes is known by its parameter and its statement; no other is."""
    said = """pg_restore: while INITIALIZING:
pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter "transaction_timeout"
Command was: SET transaction_timeout = 0;
pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 219; 1259 16390 VIEW v postgres
pg_restore: error: could not execute query: ERROR:  function f() does not exist
LINE 2:  SELECT f()
                ^
HINT:  No function matches.
Command was: CREATE VIEW public.v AS
 SELECT f();


pg_restore: warning: errors ignored on restore: 2
"""
    expected, other = complaints(said)
    assert expected.is_expected
    assert not other.is_expected
    assert other.command == "CREATE VIEW public.v AS\n SELECT f();"
    assert "function f() does not exist" in other.said
    forged = said.replace("SET transaction_timeout = 0;", "SET transaction_timeout = 1;")
    assert not any(complaint.is_expected for complaint in complaints(forged))
