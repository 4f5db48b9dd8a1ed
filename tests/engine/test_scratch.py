"""The throw-away server: private, unprivileged, and gone when its owner is gone."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from holdfast.domain.errors import RefusedError, UnreachableError
from holdfast.postgres.identity import Identity, hand_over, unprivileged_identity
from holdfast.postgres.scratch import ScratchServer
from holdfast.postgres.tools import Toolset
from patience import PATIENCE_SECONDS, wait_until
from postgres_servers import Database, fresh_database, majors_at_hand, servers_at_hand

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root drops privileges")
NEWEST = servers_at_hand()[majors_at_hand()[-1]]

OWNER = """
import os, sys
from pathlib import Path
from holdfast.postgres.scratch import ScratchServer
from holdfast.postgres.tools import find_tools
assert find_tools()
server = ScratchServer(find_tools([Path(sys.argv[1])])[0])
server.start()
import psycopg
with psycopg.connect(server.dsn()) as connection:
    connection.execute("CREATE TABLE t (i int)")
print(os.geteuid(), server.pid, server.folder, flush=True)
sys.stdin.read()
server.close()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ScratchServer]:
    with ScratchServer(NEWEST) as running:
        yield running


def query(dsn: str, statement: bytes) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(statement).fetchall()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_it_serves_over_tcp_and_socket(server: ScratchServer) -> None:
    """It serves over TCP and over its socket, as the superuser it was asked to have."""
    assert query(server.dsn(), b"SELECT current_user::text") == [("postgres",)]
    assert server.socket_folder is not None
    over_socket = server.dsn(unix_socket=True)
    assert query(over_socket, b"SELECT inet_client_addr()") == [(None,)]


def test_nobody_gets_in_over_tcp_without_the_password(server: ScratchServer) -> None:
    """Nobody gets in over TCP without the password, which is random, and it listens on loopback only."""
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        query(server.dsn(password="guessed"), b"SELECT 1")
    assert query(server.dsn(), b"SHOW listen_addresses") == [("127.0.0.1",)]
    assert (server.folder / "socket").stat().st_mode & 0o077 == 0
    assert server.data.stat().st_mode & 0o077 == 0


def test_it_is_not_root_and_knows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not run as root, and does not inherit the secrets in our environment."""
    monkeypatch.setenv("HOLDFAST_PASSPHRASE", "open sesame")
    monkeypatch.setenv("PGOPTIONS", "-c nonsense=1")
    with ScratchServer(NEWEST) as running:
        process = Path(f"/proc/{running.pid}")
        assert process.stat().st_uid != 0
        environment = (process / "environ").read_bytes()
    assert b"sesame" not in environment
    assert b"PGOPTIONS" not in environment


def test_names_with_any_letters_make_valid_addresses(server: ScratchServer) -> None:
    """Database names with spaces, quotes, slashes and letters beyond ASCII make valid addresses."""
    name = 'a b/"c"?d=e&é%41'
    dsn = server.create_database(name)
    assert query(dsn, b"SELECT current_database()::text") == [(name,)]
    assert query(server.dsn(name, unix_socket=True), b"SELECT current_database()::text") == [(name,)]
    server.drop_database(name)


@pytest.mark.parametrize(("encoding", "locale"), [("LATIN1", "C"), ("SQL_ASCII", "C"), ("UTF8", "C.UTF-8")])
def test_databases_have_the_encoding_asked_for(server: ScratchServer, encoding: str, locale: str) -> None:
    """Databases have the encoding and locale that were asked for."""
    with fresh_database(server, encoding=encoding, locale=locale) as database:
        sought = b"SELECT pg_encoding_to_char(encoding)::text, datcollate, datname FROM pg_database"
        assert (encoding, locale, database.name) in query(server.dsn(), sought)


def test_database_that_cannot_be_created_is_named(server: ScratchServer) -> None:
    """A database that cannot be created is named, with what the server said."""
    with pytest.raises(UnreachableError, match=r"database postgres cannot be created.*already exists"):
        server.create_database("postgres")


def test_killed_server_comes_back_with_what_was_committed(server: ScratchServer) -> None:
    """A server that was killed comes back on the same port with all that was committed."""
    with psycopg.connect(server.dsn()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS i")
    port, pid = server.port, server.pid
    server.kill()
    assert gone(pid)
    assert not server.running
    server.start()
    assert server.port == port
    assert query(server.dsn(), b"SELECT i FROM kept") == [(1,)]


def test_killing_it_ends_busy_sessions_too(server: ScratchServer) -> None:
    """Killing it ends a session in the midst of a long query too, so that it can start again at once."""
    with contextlib.closing(psycopg.connect(server.dsn(), autocommit=True)) as connection:
        (session,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (0,)
        connection.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 1000000000)")
        watching = f"SELECT 1 FROM pg_stat_activity WHERE pid = {session} AND state = 'active'".encode()
        wait_until(lambda: bool(query(server.dsn(), watching)))
        server.kill()
        wait_until(lambda: gone(session))
    server.start()
    assert query(server.dsn(), b"SELECT 1") == [(1,)]


def test_restart_takes_new_settings(server: ScratchServer) -> None:
    """A restart takes new settings, and a setting that makes no sense is told with the server's own words."""
    server.restart(settings={"work_mem": "5MB"})
    assert query(server.dsn(), b"SHOW work_mem") == [("5MB",)]
    with pytest.raises(UnreachableError, match="invalid value for parameter"):
        server.restart(settings={"work_mem": "much"})
    assert not server.running
    server.restart(settings={"work_mem": "4MB"})
    assert query(server.dsn(), b"SHOW work_mem") == [("4MB",)]


def test_taken_port_is_an_error_when_it_was_asked_for() -> None:
    """A port that someone else has is an error when it was asked for, and nothing is left over."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        unlucky = ScratchServer(NEWEST, port=other.getsockname()[1])
        with pytest.raises(UnreachableError, match="could not bind"), unlucky:
            pass
    assert not unlucky.folder.exists()
    assert not unlucky.running


def test_folder_that_was_there_stays_with_what_was_in_it(server_folder: Path) -> None:
    """A folder that was there before stays, with all that was in it; the server's own files go."""
    (server_folder / "note").write_text("mine")
    with ScratchServer(NEWEST, server_folder) as running:
        assert running.data.parent == server_folder
    assert [path.name for path in server_folder.iterdir()] == ["note"]


def test_long_path_leaves_tcp_only(server_folder: Path) -> None:
    """In a folder whose path is too long for a socket it serves over TCP alone."""
    with ScratchServer(NEWEST, server_folder / ("long" * 25)) as running:
        assert running.socket_folder is None
        assert query(running.dsn(unix_socket=True), b"SELECT 1") == [(1,)]


def test_initdb_failure_is_told_in_its_words() -> None:
    """What initdb refuses is told in its own words, and leaves nothing behind."""
    refused = ScratchServer(NEWEST, locale="xx_YY.nonsense")
    with pytest.raises(UnreachableError, match="invalid locale name"), refused:
        pass
    assert not refused.folder.exists()


def test_client_programs_alone_are_no_server() -> None:
    """A folder with the client programs alone is refused, naming the package with the server."""
    client = Toolset(
        bindir=NEWEST.bindir, version=NEWEST.version, programs=frozenset({"psql"}), origin="test"
    )
    with pytest.raises(UnreachableError) as caught:
        ScratchServer(client)
    assert f"postgresql-{NEWEST.major}" in (caught.value.hint or "")


def test_base_backup_is_started_as_it_is(server: ScratchServer, server_folder: Path) -> None:
    """A data folder that is already there, such as a base backup of a standby, is started as it is."""
    data = server_folder / "data"
    backup = [str(NEWEST.bindir / "pg_basebackup"), "-D", str(data), "-R", "-c", "fast", "-X", "stream", "-d"]
    subprocess.run([*backup, server.dsn(unix_socket=True).replace("/postgres?", "/?")], check=True)
    with ScratchServer(NEWEST, server_folder, password=server.password) as standby:
        assert query(standby.dsn(), b"SELECT pg_is_in_recovery()") == [(True,)]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_it_dies_with_its_owner(end: signal.Signals) -> None:
    """When its owner is killed the server ends too, and its files are removed."""
    owner, _, pid, folder = start_owner([sys.executable])
    try:
        assert not gone(pid)
        owner.send_signal(end)
        owner.wait()
        wait_until(lambda: gone(pid) and not folder.exists())
    finally:
        owner.kill()
        owner.communicate()


def test_it_works_for_an_ordinary_user() -> None:
    """An ordinary user starts and stops one without any privilege."""
    command = [sys.executable]
    identity = unprivileged_identity()
    if identity is not None:
        command = as_ordinary_user(identity)
    owner, euid, pid, folder = start_owner(command)
    status = Path(f"/proc/{pid}").stat()
    assert euid != 0
    assert status.st_uid == euid
    owner.communicate("", timeout=PATIENCE_SECONDS)
    assert owner.returncode == 0
    assert gone(pid)
    assert not folder.exists()


@ROOT_ONLY
def test_private_folder_is_refused_by_name(tmp_path: Path) -> None:
    """For root, a folder that the unprivileged user cannot enter is refused by name, its mode untouched."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(RefusedError, match=str(private)):
        ScratchServer(NEWEST, private / "server").start()
    assert private.stat().st_mode & 0o777 == 0o700


@ROOT_ONLY
def test_programs_out_of_reach_are_copied(tmp_path: Path) -> None:
    """For root, programs that the unprivileged user cannot reach, as below /root, are copied and run."""
    prefix = NEWEST.bindir.parent
    hidden = tmp_path / "hidden" / prefix.parent.name / prefix.name
    libraries = prefix.parent.with_name(f"{prefix.parent.name}.libs")
    shutil.copytree(prefix, hidden)
    shutil.copytree(libraries, hidden.parents[1] / libraries.name)
    (tmp_path / "hidden").chmod(0o700)
    toolset = Toolset(bindir=hidden / "bin", version=NEWEST.version, programs=NEWEST.programs, origin="test")
    with ScratchServer(toolset) as running:
        assert Path(f"/proc/{running.pid}/exe").readlink().is_relative_to(running.folder)
        assert query(running.dsn(), b"SELECT 1") == [(1,)]


@ROOT_ONLY
def test_handing_over_follows_no_links(tmp_path: Path) -> None:
    """Handing a folder to the unprivileged user does not follow links out of it."""
    identity = unprivileged_identity()
    assert identity is not None
    outside = tmp_path / "outside"
    outside.write_text("root's")
    given = tmp_path / "given"
    given.mkdir()
    (given / "link").symlink_to(outside)
    hand_over(given, identity)
    assert given.stat().st_uid == identity.uid
    assert outside.stat().st_uid == 0


def start_owner(python: list[str]) -> tuple[subprocess.Popen[str], int, int, Path]:
    """A process that owns a server until its input ends: with its user, the server's pid and folder."""
    owner = subprocess.Popen(
        [*python, "-c", OWNER, str(NEWEST.bindir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=python_environment(),
    )
    assert owner.stdout is not None
    euid, pid, folder = owner.stdout.readline().split()
    return owner, int(euid), int(pid), Path(folder)


def as_ordinary_user(identity: Identity) -> list[str]:
    """Python as that user; if every interpreter lies in root's home, with the right to read it and no more."""
    become = ["setpriv", f"--reuid={identity.uid}", f"--regid={identity.gid}", "--clear-groups"]
    reading = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    for command in (
        [*become, sys.executable],
        [*become, system],
        [*become, *reading, sys.executable],
    ):
        with contextlib.suppress(OSError):
            trial = subprocess.run(
                [*command, "-c", "import psycopg"], env=python_environment(), capture_output=True, check=False
            )
            if trial.returncode == 0:
                return command
    pytest.skip("cannot become an ordinary user here")


def python_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_database_helper_drops_what_it_made(server: ScratchServer) -> None:
    """A fresh database is gone after its test, even with connections left open in it."""
    with fresh_database(server) as database:
        assert isinstance(database, Database)
        lingering = psycopg.connect(database.dsn)
    assert not query(server.dsn(), f"SELECT 1 FROM pg_database WHERE datname = '{database.name}'".encode())
    lingering.close()
