"""A throw-away PostgreSQL server for drills, the demo and tests.

Invariants:
- It never outlives its owner, never runs as root, and inherits nothing from its owner's environment (process.py).
- Nobody else gets in: it listens on 127.0.0.1 with a random password, and on a socket in a private folder.

Works for root, who hands it to an unprivileged user (identity.py), and for ordinary users. Its data are not safe
against a power cut unless `settings` say so.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql

from holdfast.domain.errors import RefusedError, UnreachableError
from holdfast.postgres.identity import hand_over, may_enter, readable_copy, unprivileged_identity
from holdfast.postgres.process import START_SECONDS, ServerProcess, initdb
from holdfast.postgres.tools import Toolset

HOST = "127.0.0.1"

# For throw-away data: no waiting for the disk, and messages that our own code and tests can read. Commits stay
# synchronous: without fsync that costs next to nothing, and what was committed survives `kill`.
SCRATCH_SETTINGS: Mapping[str, str] = {
    "fsync": "off",
    "full_page_writes": "off",
    "timezone": "UTC",
    "lc_messages": "C",
    "logging_collector": "off",
    "log_destination": "stderr",
}

_PORT_TRIES = 8
_SOCKET_PATH_LIMIT = 103  # sun_path has 108 bytes on Linux, 104 on macOS, with its terminating zero
_HBA_MARK = "# scratch server"


class ScratchServer:
    """One server in one folder. As a context manager: started on entry, stopped and removed on exit.

    `folder` is created if need be, and removed on exit only if it was; None takes a new temporary folder.
    Inside it: `data` (kept as it is if it already holds a cluster, for example a base backup), `socket`,
    `postgres.log`. `template` is an `initdb` result of the same major to copy instead of running initdb.
    `settings` go on top of SCRATCH_SETTINGS. `trust` lets every local user in without a password.
    `encoding` and `locale` are the cluster's; databases may have others (`create_database`).

    Not thread-safe to start and stop; using the server from several threads is fine.
    """

    def __init__(
        self,
        toolset: Toolset,
        folder: Path | None = None,
        *,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        superuser: str = "postgres",
        password: str | None = None,
        trust: bool = False,
        encoding: str = "UTF8",
        locale: str = "C",
        initdb_args: Sequence[str] = (),
        template: Path | None = None,
    ) -> None:
        if not toolset.is_server:
            raise UnreachableError(
                f"{toolset} has no server programs (initdb, postgres)",
                hint=f"install the package postgresql-{toolset.major}",
            )
        self.toolset = toolset
        self.settings = {**SCRATCH_SETTINGS, **(settings or {})}
        self.superuser = superuser
        self.password = password or secrets.token_urlsafe(18)
        self.trust = trust
        self._encoding = encoding
        self._locale = locale
        self._initdb_args = tuple(initdb_args)
        self._template = template
        self._wanted_port = port
        self._port: int | None = None
        self._identity = unprivileged_identity()
        self._made_folder = folder is None or not folder.exists()
        self.folder = _new_folder() if folder is None else folder.absolute()
        self._process: ServerProcess | None = None

    # What it is

    @property
    def major(self) -> int:
        return self.toolset.major

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log_path(self) -> Path:
        return self.folder / "postgres.log"

    @property
    def host(self) -> str:
        return HOST

    @property
    def port(self) -> int:
        """The TCP port; known once started, and the same after a restart."""
        if self._port is None:
            raise RefusedError(
                "the scratch server was never started, so it has no port", hint="call start() first"
            )
        return self._port

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        if self._process is None:
            raise RefusedError("the scratch server is not running", hint="call start() first")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    @property
    def socket_folder(self) -> Path | None:
        """Where its Unix socket is; None if the path is too long for one, and there is only TCP."""
        folder = self.folder / "socket"
        longest = folder / ".s.PGSQL.65535"
        return folder if len(os.fsencode(longest)) <= _SOCKET_PATH_LIMIT else None

    def dsn(
        self,
        dbname: str = "postgres",
        *,
        user: str | None = None,
        password: str | None = None,
        unix_socket: bool = False,
    ) -> str:
        """A connection URL for a database. It carries the password: the superuser's own, or the one given.

        `unix_socket` takes the socket where there is one: faster for bulk data.
        """
        user = self.superuser if user is None else user
        if password is None and user == self.superuser and not self.trust:
            password = self.password
        who = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
        database = quote(dbname, safe="")
        if unix_socket and self.socket_folder is not None:
            where = urlencode({"host": str(self.socket_folder), "port": self.port})
            return f"postgresql://{who}@/{database}?{where}"
        return f"postgresql://{who}@{HOST}:{self.port}/{database}"

    # Its life

    def __enter__(self) -> ScratchServer:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Create the cluster if there is none yet, start it, and return when it takes connections.

        Raises `UnreachableError` with the end of the server's log. Nothing runs after a failure; the files stay
        until `close`.
        """
        if self.running:
            return
        self.kill()
        try:
            bindir = self._prepare_folder()
            self._prepare_cluster(bindir)
            self._launch(bindir)
        except OSError as error:
            raise UnreachableError(
                f"the scratch server in {self.folder} cannot be prepared: {error}"
            ) from error

    def stop(self, *, immediate: bool = False) -> None:
        """Stop and keep the files: by a fast shutdown, or at once as in a crash (recovery on the next start)."""
        if self._process is not None:
            self._process.stop(immediate=immediate)
            self._process = None

    def kill(self) -> None:
        """`kill -9`: returns when the last of the server's processes is gone; `start` brings it back."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def restart(self, *, settings: Mapping[str, str] | None = None) -> None:
        """Stop and start again on the same port, with some settings changed."""
        self.stop()
        self.settings.update(settings or {})
        self.start()

    def reload(self) -> None:
        """Make the server read pg_hba.conf and its configuration files again."""
        os.kill(self.pid, signal.SIGHUP)

    def close(self) -> None:
        """Stop at once and remove the files; safe to repeat."""
        self.stop(immediate=True)
        self._remove_files()

    def wait_ready(self, timeout_seconds: float = START_SECONDS) -> None:
        """Return when the server takes connections. Raises `UnreachableError` if it ends or takes too long."""
        if self._process is None:
            raise RefusedError("the scratch server is not running", hint="call start() first")
        self._process.wait_ready(timeout_seconds)

    # Databases

    def create_database(
        self,
        name: str,
        *,
        encoding: str | None = None,
        locale: str | None = None,
        template: str = "template0",
        owner: str | None = None,
        options: str = "",
    ) -> str:
        """Create a database and return its DSN. `options` is SQL to append, for example an ICU locale."""
        parts = [
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        ]
        if encoding is not None:
            parts.append(sql.SQL("ENCODING {}").format(sql.Literal(encoding)))
        if locale is not None:
            parts.append(sql.SQL("LC_COLLATE {0} LC_CTYPE {0}").format(sql.Literal(locale)))
        if owner is not None:
            parts.append(sql.SQL("OWNER {}").format(sql.Identifier(owner)))
        # Ours or a test's own words, never a source's: psycopg wants to be told so.
        parts.append(sql.SQL(options))  # type: ignore[arg-type]
        self._execute(sql.SQL(" ").join(parts), f"database {name} cannot be created")
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Drop a database if it exists, with its connections."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        self._execute(statement, f"database {name} cannot be dropped")

    def _execute(self, statement: sql.Composed, failure: str) -> None:
        try:
            with psycopg.connect(self.dsn(unix_socket=True), autocommit=True) as connection:
                connection.execute(statement)
        except psycopg.Error as error:
            raise UnreachableError(f"{failure} on the scratch server: {str(error).strip()}") from error

    # How

    def _prepare_folder(self) -> Path:
        """Make the folders; return a bin folder that the user who will run the server can run."""
        sockets = self.folder / "socket"
        if self._made_folder:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o711 if self._identity else 0o700)
        for place in (self.data, sockets):
            place.mkdir(exist_ok=True)
            place.chmod(0o700)
        if self._identity is not None:
            if not may_enter(self.folder, self._identity):
                raise RefusedError(
                    f"folder {self.folder} cannot be entered by user {self._identity.name}, "
                    "who has to run the scratch server since root may not",
                    hint="choose a folder that everyone may pass through, or run as an ordinary user",
                )
            hand_over(sockets, self._identity)
        return readable_copy(self.toolset, self.folder / "programs", self._identity)

    def _prepare_cluster(self, bindir: Path) -> None:
        empty = not (self.data / "PG_VERSION").exists()
        if empty and self._template is not None:
            shutil.copytree(self._template, self.data, dirs_exist_ok=True, symlinks=True)
        if self._identity is not None:
            hand_over(self.data, self._identity)
        if empty and self._template is None:
            initdb(
                bindir,
                self.data,
                identity=self._identity,
                superuser=self.superuser,
                password=self.password,
                encoding=self._encoding,
                locale=self._locale,
                initdb_args=self._initdb_args,
            )
        self._write_access_rules()

    def _write_access_rules(self) -> None:
        """Replace pg_hba.conf once; what is changed in it later stays."""
        path = self.data / "pg_hba.conf"
        if path.read_text(encoding="utf-8").startswith(_HBA_MARK):
            return
        method = "trust" if self.trust else "scram-sha-256"
        rules = [f"{_HBA_MARK}: the socket's folder is private, the network is not"]
        for database in ("all", "replication"):
            rules += [f"local {database} all trust", f"host {database} all {HOST}/32 {method}"]
        path.write_text("\n".join(rules) + "\n", encoding="utf-8")

    def _launch(self, bindir: Path) -> None:
        """Start the server; where the port is ours to choose, another one if someone was quicker to take it."""
        fixed = self._wanted_port if self._port is None else self._port
        sockets = self.socket_folder
        for attempt in range(_PORT_TRIES):
            port = _free_port() if fixed is None else fixed
            options = {
                **self.settings,
                "port": str(port),
                "listen_addresses": HOST,
                "unix_socket_directories": str(sockets) if sockets else "",
            }
            self._process = ServerProcess(
                bindir,
                self.data,
                options=options,
                log_path=self.log_path,
                identity=self._identity,
                doomed=self.folder if self._made_folder else None,
            )
            try:
                self._process.wait_ready(START_SECONDS)
            except BaseException as error:
                taken = isinstance(error, UnreachableError) and "could not bind" in self._process.new_log()
                self.kill()
                if not taken or fixed is not None or attempt == _PORT_TRIES - 1:
                    raise
            else:
                self._port = port
                return

    def _remove_files(self) -> None:
        """What was made here, and no more: a folder that was there before stays."""
        if self._made_folder:
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        for name in ("data", "socket", "programs"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        self.log_path.unlink(missing_ok=True)


def _new_folder() -> Path:
    """A temporary folder; for root one that an ordinary user can reach."""
    identity = unprivileged_identity()
    places = dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp"))  # noqa: S108  (mkdtemp makes it private)
    for place in places:
        if os.path.isdir(place) and (identity is None or may_enter(Path(place), identity)):
            return Path(tempfile.mkdtemp(prefix="holdfast-scratch-", dir=place))
    raise UnreachableError(
        f"no temporary folder that user {identity.name if identity else ''} can enter: tried {', '.join(places)}",
        hint="set TMPDIR to a folder that everyone may pass through",
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
