"""The table of contents of pg_dump's archives: read exactly as pg_restore reads it, or not at all."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import psycopg
import pytest

from holdfast.postgres.archive import Archive, ArchiveError, Section, use_list
from holdfast.postgres.tools import Toolset, find_tools
from postgres_servers import Database, servers_at_hand

MakeDatabase = Callable[..., Database]

SCHEMA = """
CREATE SCHEMA "odd; name";
COMMENT ON SCHEMA "odd; name" IS 'a schema with a name';
CREATE TABLE "odd; name"."tab
le" (i int PRIMARY KEY, "ü" text DEFAULT 'x', b int GENERATED ALWAYS AS (i * 2) STORED);
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE parent (id int, at date, m mood) PARTITION BY RANGE (at);
CREATE TABLE child PARTITION OF parent FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
ALTER TABLE parent ADD PRIMARY KEY (id, at);
CREATE INDEX ON parent (m);
CREATE UNLOGGED TABLE other (id bigserial PRIMARY KEY, t int REFERENCES "odd; name"."tab
le");
CREATE VIEW v AS SELECT id FROM other;
CREATE MATERIALIZED VIEW mv AS SELECT count(*) FROM other;
CREATE FUNCTION f(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';
CREATE TRIGGER tr BEFORE INSERT ON other FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
ALTER TABLE other ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON other USING (id > 0);
GRANT SELECT ON other TO PUBLIC;
COMMENT ON TABLE other IS 'it''s
two lines';
SELECT lo_create(4711);
"""


def dump(database: Database, toolset: Toolset, *options: str) -> bytes:
    command = [str(toolset.path("pg_dump")), "--format=custom", *options, "--dbname", database.dsn]
    return subprocess.run(command, check=True, capture_output=True).stdout


def listed(toolset: Toolset, archive: bytes, folder: Path, *options: str) -> list[str]:
    """What pg_restore says is in it."""
    file = folder / "archive.dump"
    file.write_bytes(archive)
    command = [str(toolset.path("pg_restore")), "--list", *options, str(file)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [line.rstrip() for line in said.splitlines() if line and not line.startswith(";")]


@cache
def writers() -> dict[int, Toolset]:
    """One pg_dump of every major at hand."""
    return {tools.major: tools for tools in reversed(find_tools()) if "pg_dump" in tools.programs}


@pytest.mark.parametrize("options", [("--schema-only",), ()], ids=["definitions", "everything"])
@pytest.mark.parametrize("writer", sorted(writers()))
def test_reads_what_pg_restore_lists(
    writer: int, options: tuple[str, ...], make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Every entry, in order, with number, oids, kind, schema, tag and owner, for archives of every major."""
    database = make_database(major=min(writer, max(servers_at_hand())))
    database.execute(SCHEMA)
    toolset = writers()[writer]
    data = dump(database, toolset, *options)
    archive = Archive.parse(data)
    ours = [
        f"{entry.id}; {entry.catalog} {entry.oid} {entry.kind} {entry.schema or '-'} {entry.tag} {entry.owner}"
        for entry in archive.entries
        if not entry.is_special
    ]
    ours = [line.replace("\n", " ").rstrip() for line in ours]
    assert ours == listed(toolset, data, tmp_path, "--create")
    assert archive.version[:2] == {15: (1, 14), 16: (1, 15)}.get(writer, (1, 16))
    assert archive.tool_major == writer
    assert archive.database == database.name
    assert archive.encoding == "UTF8"
    assert "search_path" in archive.search_path


def test_entries_know_their_section_definition_and_dependencies(database: Database) -> None:
    """A comment belongs to the section of its object, an index waits for its table and holds its statement."""
    database.execute(SCHEMA)
    archive = Archive.parse(dump(database, writers()[database.server.major], "--schema-only"))
    by_title = {entry.title: entry for entry in archive.entries}
    table = by_title["TABLE public.other"]
    assert table.section is Section.PRE_DATA
    assert table.access_method == "heap"
    assert table.tablespace == ""
    assert by_title["COMMENT public.TABLE other"].section is Section.PRE_DATA
    key = by_title["CONSTRAINT public.other other_pkey"]
    assert key.section is Section.POST_DATA
    assert table.id in key.dependencies
    assert "ADD CONSTRAINT other_pkey PRIMARY KEY (id);" in key.definition
    assert by_title["VIEW public.v"].tablespace is None


def test_a_use_list_makes_pg_restore_restore_just_that(database: Database, tmp_path: Path) -> None:
    """The text of `use_list` names exactly the chosen entries, in their order, whatever their names hold."""
    database.execute(SCHEMA)
    toolset = writers()[database.server.major]
    data = dump(database, toolset, "--schema-only")
    chosen = [entry for entry in Archive.parse(data).entries if entry.kind in {"TABLE", "SCHEMA"}][::-1]
    assert len(chosen) >= 4
    listing = tmp_path / "chosen.list"
    listing.write_text(use_list(chosen), encoding="utf-8")
    shown = listed(toolset, data, tmp_path, f"--use-list={listing}")
    assert [line.split(";")[0] for line in shown] == [str(entry.id) for entry in chosen]


@pytest.mark.parametrize(
    ("encoding", "name"), [("LATIN1", "straße"), ("EUC_JP", "日本"), ("SQL_ASCII", "plain")]
)
def test_names_are_decoded_in_the_archives_encoding(
    encoding: str, name: str, make_database: MakeDatabase
) -> None:
    """Names come out as the catalog has them, and go back as the bytes that they were."""
    database = make_database(encoding=encoding, locale="C")
    with psycopg.connect(database.dsn, client_encoding="UTF8", autocommit=True) as connection:
        connection.execute(f'CREATE TABLE "{name}" (i int)'.encode())
    archive = Archive.parse(dump(database, writers()[database.server.major], "--schema-only"))
    assert archive.encoding == encoding
    (entry,) = [entry for entry in archive.entries if entry.kind == "TABLE"]
    assert entry.tag == name
    assert archive.encode(entry.tag) in dump(database, writers()[database.server.major], "--schema-only")


def test_a_truncated_archive_is_refused(database: Database) -> None:
    """Wherever it ends too early, it is an error and never a shorter table of contents."""
    database.execute("CREATE TABLE t (i int PRIMARY KEY)")
    data = dump(database, writers()[database.server.major], "--schema-only")
    whole = len(data)
    assert Archive.parse(data).entries
    for length in range(whole):
        with pytest.raises(ArchiveError):
            Archive.parse(data[:length])


def test_damage_never_escapes_as_another_error(database: Database) -> None:
    """Flipped bytes give an `ArchiveError` that says where, or an archive; nothing else."""
    database.execute(SCHEMA)
    data = dump(database, writers()[database.server.major], "--schema-only")
    chance = random.Random(7)
    refused = 0
    for _ in range(300):
        damaged = bytearray(data)
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            Archive.parse(bytes(damaged))
        except ArchiveError:
            refused += 1
    assert refused > 20


def test_unknown_versions_and_formats_are_refused(database: Database) -> None:
    """A newer archive, a tar archive and a plain script are named for what they are not."""
    toolset = writers()[database.server.major]
    data = dump(database, toolset, "--schema-only")
    with pytest.raises(ArchiveError, match=r"format version 1\.17; known are 1\.14, 1\.15, 1\.16"):
        Archive.parse(data[:6] + bytes([17]) + data[7:])
    with pytest.raises(ArchiveError, match="does not begin with PGDMP"):
        Archive.parse(dump(database, toolset, "--schema-only", "--format=plain"))
    with pytest.raises(ArchiveError, match="does not begin with PGDMP"):
        Archive.parse(dump(database, toolset, "--schema-only", "--format=tar"))
