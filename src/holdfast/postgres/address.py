"""Where a database is and how to log in there, as libpq understands it.

libpq itself resolves what a text leaves open (its environment variables, service file and password file), once,
when the text is parsed; no connection is made for that. Invariant: no password or key stands in `repr`, `str`,
a message or a process list.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import Error, pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from holdfast.domain.errors import UsageError

if TYPE_CHECKING:
    from psycopg import Connection

DEFAULT_PORT = 5432

SECRETS = ("password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")

# Ours to set (the first three), already resolved (the next two), or of no use to a backup.
_DROPPED = frozenset(
    {"client_encoding", "application_name", "fallback_application_name", "service", "passfile", "replication"}
)

_EXAMPLE = "give a URL such as postgresql://user@host:5432/database, key=value words, or service=name"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ServerAddress:
    """One database on one server (or on one of several hosts, until `pinned`).

    `keywords` are libpq's, without those that have their default. `tls` says whether the server was reached
    with TLS, once that is known.
    """

    keywords: tuple[tuple[str, str], ...]
    tls: bool | None = None

    @classmethod
    def parse(cls, text: str) -> ServerAddress:
        """From a URL, `key=value` words, or `service=name`. Raises `UsageError`, which never repeats the text."""
        if not text.strip():
            raise UsageError("the address of the database is empty", hint=_EXAMPLE)
        try:
            given = {name: str(value) for name, value in conninfo_to_dict(text).items() if value is not None}
        except (Error, ValueError):
            # libpq repeats the word that it stumbled over, which may be a password: its error is dropped.
            raise UsageError("the address of the database cannot be understood", hint=_EXAMPLE) from None
        if given.get("replication", "false") not in ("false", "off", "no", "0"):
            raise UsageError("the address asks for a replication connection", hint="leave out replication=")
        return cls(keywords=_freeze(_resolve(given)))

    def get(self, keyword: str) -> str | None:
        """The value of one of libpq's keywords, or None where it has its default."""
        return dict(self.keywords).get(keyword)

    @property
    def host(self) -> str:
        """A name, an address, or the folder of a socket; empty for libpq's own default folder."""
        return self.get("host") or self.get("hostaddr") or ""

    @property
    def port(self) -> int:
        return int((self.get("port") or str(DEFAULT_PORT)).split(",")[0] or DEFAULT_PORT)

    @property
    def user(self) -> str:
        return self.get("user") or ""

    @property
    def database(self) -> str:
        return self.get("dbname") or self.user

    @property
    def password(self) -> str | None:
        return self.get("password")

    @property
    def sslmode(self) -> str:
        return self.get("sslmode") or "prefer"

    @property
    def need_tls(self) -> bool:
        """Whether a client program must be able to speak TLS to reach this server as it was reached before."""
        return bool(self.tls) or self.sslmode in ("require", "verify-ca", "verify-full")

    @property
    def conninfo(self) -> str:
        """For psycopg. It holds the password: never print it."""
        return make_conninfo(**dict(self.keywords))

    def display(self) -> str:
        """`host:port/database as user`."""
        hosts = self.host.split(",")
        ports = (self.get("port") or str(DEFAULT_PORT)).split(",")
        ports = ports * len(hosts) if len(ports) == 1 else ports
        where = ",".join(_join_host(host, port) for host, port in zip(hosts, ports, strict=True))
        return f"{where}/{self.database} as {self.user}"

    def __repr__(self) -> str:
        return f"<ServerAddress {self.display()}>"

    def __str__(self) -> str:
        return self.display()

    def with_database(self, name: str) -> ServerAddress:
        return self.with_options(dbname=name)

    def with_options(self, **keywords: str) -> ServerAddress:
        """The same with some of libpq's keywords changed."""
        return ServerAddress(keywords=_freeze({**dict(self.keywords), **keywords}), tls=self.tls)

    def environment(self) -> tuple[str, dict[str, str]]:
        """For a client program: a connection string without secrets, and the environment that holds the password.

        Process lists show arguments to everyone, the environment only to the same user. Variables of libpq are
        left out of the environment: they are resolved already. Raises `UsageError` for secrets that libpq takes
        from a connection string only.
        """
        open_keywords = {name: value for name, value in self.keywords if name not in SECRETS}
        for name in SECRETS[1:]:
            if self.get(name):
                raise UsageError(
                    f"{name} cannot be handed to PostgreSQL's own programs without showing it to everyone",
                    hint="use a password, a service file, or a client key without a passphrase",
                )
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        environment["LC_ALL"] = "C"  # messages we know how to read
        if self.password is not None:
            environment["PGPASSWORD"] = self.password
        return make_conninfo(**open_keywords), environment

    def pinned(self, connection: Connection[Any]) -> ServerAddress:
        """The very server that `connection` reached: one host, its address, and whether TLS was in use.

        Other connections must reach the same server, or they cannot share its snapshots: names behind reader
        endpoints resolve to another one each time, and lists of hosts are tried anew.
        """
        reached = connection.pgconn
        keywords = dict(self.keywords)
        keywords["host"] = reached.host.decode()
        keywords["hostaddr"] = "" if keywords["host"].startswith(("/", "@")) else reached.hostaddr.decode()
        keywords["port"] = reached.port.decode()
        keywords["user"] = reached.user.decode()
        keywords["dbname"] = reached.db.decode()
        keywords["password"] = reached.password.decode()
        for chooser in ("target_session_attrs", "load_balance_hosts"):
            keywords.pop(chooser, None)
        return ServerAddress(keywords=_freeze(keywords), tls=bool(reached.ssl_in_use))

    def scrub(self, text: str) -> str:
        """`text` with every secret of this address made unreadable."""
        for name in SECRETS:
            secret = self.get(name)
            if secret and len(secret) > 2:
                text = text.replace(secret, "***")
        return text


def _resolve(given: Mapping[str, str]) -> dict[str, str]:
    """What libpq makes of the words: it fills in its defaults before it looks at the last option, and stops
    at that one because it makes no sense. So nothing is connected to."""
    stopper = "load_balance_hosts" if pq.version() >= 160_000 else "target_session_attrs"
    probe = pq.PGconn.connect_start(make_conninfo("", **{**given, stopper: "resolve only"}).encode())
    try:
        found = {
            option.keyword.decode(): option.val.decode()
            for option in probe.info
            if option.val is not None and option.val != option.compiled
        }
        problem = (probe.error_message or b"").decode(errors="replace").strip()
        password = probe.password.decode()
    finally:
        probe.finish()
    if stopper not in problem:
        for secret in filter(None, (given.get(name) for name in SECRETS)):
            problem = problem.replace(secret, "***")
        raise UsageError(f"the address of the database makes no sense: {problem}", hint=_EXAMPLE)
    return _check(_tidy(found, given, stopper), password)


def _tidy(found: dict[str, str], given: Mapping[str, str], stopper: str) -> dict[str, str]:
    passfile = found.get("passfile")
    tidy = {name: value for name, value in found.items() if name not in _DROPPED and name != stopper}
    if stopper in given:
        tidy[stopper] = given[stopper]
    if tidy.get("sslcertmode") == "allow":  # what libpq computes for itself; older ones do not know the word
        del tidy["sslcertmode"]
    if passfile and "," in tidy.get("host", tidy.get("hostaddr", "")):
        tidy["passfile"] = passfile  # each host may have its own password in it
    return tidy


def _check(keywords: dict[str, str], password: str) -> dict[str, str]:
    for host in keywords.get("host", "").split(","):
        if "@" in host.lstrip("@"):
            raise UsageError(
                "the host in the address of the database has an @ in it",
                hint="write an @ in a password as %40, a colon as %3A, a slash as %2F",
            )
    for port in keywords.get("port", "").split(","):
        if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise UsageError(
                "the port in the address of the database is no number from 1 to 65535", hint=_EXAMPLE
            )
    if password and "passfile" not in keywords:
        keywords["password"] = password
    return keywords


def _freeze(keywords: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in keywords.items() if value != ""))


def _join_host(host: str, port: str) -> str:
    if not host or host.startswith(("/", "@")):
        return f"[{host or 'local socket'}]:{port}"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
