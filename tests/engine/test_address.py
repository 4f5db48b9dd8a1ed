"""Addresses: understood as libpq does, pinned to the server that was reached, and silent about secrets."""

from __future__ import annotations

import os
import pickle
import ssl
import subprocess
from pathlib import Path

import pytest

from holdfast.domain.errors import HoldfastError, UnreachableError, UsageError
from holdfast.domain.ids import SnapshotId
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.connection import connect
from holdfast.postgres.copy import RangeReader, ReadSpec
from holdfast.postgres.dial import keywords_for, needs_libpq
from holdfast.postgres.scratch import ScratchServer
from holdfast.postgres.session import open_source
from postgres_servers import Database, ServerPool, majors_at_hand, own_server, servers_at_hand

SECRET = "hunter2"
SNAPSHOT = SnapshotId("01" + "a" * 24)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable and no file of the machine decides about an address."""
    for name in list(os.environ):
        if name.startswith("PG"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))


def test_a_url_is_taken_apart_with_its_escapes() -> None:
    """Percent signs, IPv6 and options of a URL mean what libpq means."""
    address = ServerAddress.parse(
        "postgresql://us%40er:p%3A%2Fw@[::1]:5433/my%20db?sslmode=verify-full&application_name=x"
    )
    assert (address.user, address.password, address.host) == ("us@er", "p:/w", "::1")
    assert (address.port, address.database, address.sslmode) == (5433, "my db", "verify-full")
    assert address.display() == "[::1]:5433/my db as us@er"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("host=/run/pg dbname=x user=u", "[/run/pg]:5432/x as u"),
        ("postgresql://u@%2Frun%2Fpg:5433/x", "[/run/pg]:5433/x as u"),
        ("postgresql://u@a:1,b:2/x", "a:1,b:2/x as u"),
        ("host=@abstract dbname=x user=u", "[@abstract]:5432/x as u"),
        ("host=h user=u", "h:5432/u as u"),
    ],
)
def test_an_address_is_shown_as_people_write_it(text: str, shown: str) -> None:
    """Sockets, several hosts and defaults are all shown in one line."""
    assert str(ServerAddress.parse(text)) == shown


def test_the_environment_fills_in_what_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """PGHOST and its kin count, and what the text says wins."""
    monkeypatch.setenv("PGHOST", "from.env")
    monkeypatch.setenv("PGUSER", "env")
    monkeypatch.setenv("PGPASSWORD", SECRET)
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=1MB")
    address = ServerAddress.parse("postgresql://text@/db")
    assert (address.host, address.user, address.password) == ("from.env", "text", SECRET)
    assert address.get("options") == "-c work_mem=1MB"


def test_service_and_password_files_are_read_when_parsed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An address is complete once parsed: files and variables may change afterwards."""
    service, passwords = tmp_path / "service", tmp_path / "pass"
    service.write_text("[shop]\nhost=db.example.org\nport=5434\ndbname=shop\nuser=bob\nsslmode=require\n")
    passwords.write_text(f"db.example.org:5434:shop:bob:{SECRET}\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    address = ServerAddress.parse("service=shop")
    service.unlink()
    passwords.unlink()
    assert address.display() == "db.example.org:5434/shop as bob"
    assert address.password == SECRET
    assert pickle.loads(pickle.dumps(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        SECRET,
        f"host=h pasword={SECRET}",
        f"postgresql://u:{SECRET}@h/db?nonsense=1",
        f"postgresql://u:%zz{SECRET}@h/db",
        f"postgresql://u:a@{SECRET}@h/db",
        f"host=h port={SECRET}",
        f"host=h sslmode={SECRET} password={SECRET}",
        f"host=a,b port=1,2,3 password={SECRET}",
        f"service=none-such password={SECRET}",
        f"host=h replication=database password={SECRET}",
        f"mysql://u:{SECRET}@h/db",
    ],
)
def test_rubbish_is_refused_without_repeating_it(text: str) -> None:
    """A mistyped address often holds a password in the wrong place."""
    with pytest.raises(UsageError) as caught:
        ServerAddress.parse(text)
    assert SECRET not in str(caught.value)
    assert caught.value.hint
    assert caught.value.__cause__ is None or SECRET not in str(caught.value.__cause__)


def test_no_secret_stands_in_what_is_shown() -> None:
    """Neither repr, str, nor the arguments of a client program hold a password."""
    address = ServerAddress.parse(f"postgresql://u:{SECRET}@h/db")
    conninfo, environment = address.environment()
    assert SECRET not in f"{address!r} {address} {[address]} {conninfo}"
    assert environment["PGPASSWORD"] == SECRET
    assert address.scrub(f"it said {SECRET}!") == "it said ***!"
    with pytest.raises(UsageError, match="sslpassword"):
        address.with_options(sslpassword=SECRET).environment()


def test_client_programs_inherit_no_variable_of_libpq(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the address says is all that decides."""
    address = ServerAddress.parse("host=h user=u")
    for name in ("PGHOST", "PGSERVICE", "PGAPPNAME", "PGCLIENTENCODING"):
        monkeypatch.setenv(name, "wrong")
    _, environment = address.environment()
    assert not [name for name in environment if name.startswith("PG")]


def test_another_database_of_the_same_server() -> None:
    """Everything but the name stays, whatever characters it has."""
    address = ServerAddress.parse(f"postgresql://u:{SECRET}@h:1/db").with_database("it's = \\ odd")
    assert (address.database, address.port, address.password) == ("it's = \\ odd", 1, SECRET)
    assert ServerAddress.parse(address.conninfo).database == "it's = \\ odd"


def test_a_pinned_address_names_the_server_that_was_reached(pg: ServerPool, database: Database) -> None:
    """Of several hosts the one that answered; and it can be reached again in the same way."""
    port = pg().port
    many = f"host=127.0.0.1,127.0.0.1 port=1,{port} dbname={database.name} user=postgres"
    address = ServerAddress.parse(many)
    with connect(address, application_name="test") as connection:
        pinned = address.pinned(connection)
    assert (pinned.host, pinned.port, pinned.tls) == ("127.0.0.1", port, False)
    assert pinned.get("hostaddr") == "127.0.0.1"
    with connect(pinned, application_name="test") as connection:
        assert connection.info.dbname == database.name
    spec = ReadSpec(address=address, exported=None, client_encoding="UTF8", application_name="test")
    with RangeReader.open(spec) as reader:
        assert reader.query("SELECT 1") == [(1,)]


def test_sockets_are_reached_by_both_drivers(pg: ServerPool, database: Database) -> None:
    """A folder of sockets is an address like any other."""
    if pg().socket_folder is None:
        pytest.skip("this server has no socket")
    address = ServerAddress.parse(pg().dsn(database.name, unix_socket=True))
    with connect(address, application_name="test") as connection:
        pinned = address.pinned(connection)
    spec = ReadSpec(address=pinned, exported=None, client_encoding="UTF8", application_name="test")
    with RangeReader.open(spec) as reader:
        assert reader.query("SELECT pg_catalog.current_database()::text") == [(database.name,)]


def test_options_reach_the_server_with_both_drivers(database: Database) -> None:
    """Providers route by `options`, so it has to be sent on every connection."""
    address = ServerAddress.parse(database.dsn).with_options(options="-c work_mem=3MB")
    with connect(address, application_name="holdfast/x") as connection:
        row = connection.execute("SELECT current_setting('work_mem'), current_setting('application_name')")
        assert row.fetchone() == ("3MB", "holdfast/x")
        pinned = address.pinned(connection)
    spec = ReadSpec(address=pinned, exported=None, client_encoding="UTF8", application_name="holdfast/y")
    with RangeReader.open(spec) as reader:
        query = (
            "SELECT pg_catalog.current_setting('work_mem'), pg_catalog.current_setting('application_name')"
        )
        assert reader.query(query) == [("3MB", "holdfast/y")]


@pytest.mark.parametrize(
    ("change", "says", "hints"),
    [
        ({"port": "1"}, "refused", "host and port"),
        ({"dbname": "none_such"}, 'database "none_such" does not exist', "database's name"),
        ({"user": "none_such"}, 'role "none_such" does not exist', "user's name"),
        ({"host": "no-such-host.invalid", "hostaddr": ""}, "no-such-host.invalid", "host's name"),
    ],
)
def test_why_no_connection_was_made_is_said_with_what_to_do(
    database: Database, change: dict[str, str], says: str, hints: str
) -> None:
    """Each reason has its own hint, and no message holds the password."""
    address = ServerAddress.parse(database.dsn).with_options(password=SECRET, **change)
    with pytest.raises(UnreachableError) as caught:
        connect(address, application_name="test")
    assert says in caught.value.message
    assert hints in (caught.value.hint or "")
    assert SECRET not in caught.value.message
    with pytest.raises(UnreachableError):
        open_source(address, snapshot=SNAPSHOT)


def test_a_wrong_password_is_named_by_both_drivers(server_folder: Path) -> None:
    """Over a server that asks for one; and the right one is accepted."""
    toolset = servers_at_hand()[majors_at_hand()[-1]]
    with ScratchServer(toolset, server_folder) as server:
        right = ServerAddress.parse(server.dsn())
        wrong = right.with_options(password="wrong-" + SECRET)
        with connect(right, application_name="test") as connection:
            pinned = right.pinned(connection)
        with pytest.raises(UnreachableError, match="password authentication failed") as caught:
            connect(wrong, application_name="test")
        assert SECRET not in f"{caught.value.message} {caught.value.hint}"
        spec = ReadSpec(address=pinned, exported=None, client_encoding="UTF8", application_name="test")
        with RangeReader.open(spec) as reader:
            assert reader.query("SELECT 1") == [(1,)]
        broken = ReadSpec(
            address=pinned.with_options(password="wrong-" + SECRET),
            exported=None,
            client_encoding="UTF8",
            application_name="test",
        )
        with pytest.raises(UnreachableError, match="password authentication failed"):
            RangeReader.open(broken)


def test_what_asyncpg_cannot_do_goes_through_libpq() -> None:
    """Security options are never dropped for speed."""
    plain = ServerAddress.parse("host=h user=u")
    assert not needs_libpq(plain)
    for option in (
        {"channel_binding": "require"},
        {"gssencmode": "require"},
        {"requirepeer": "postgres"},
        {"require_auth": "scram-sha-256"},
        {"sslcertmode": "require"},
        {"host": "@abstract"},
    ):
        assert needs_libpq(plain.with_options(**option)), option


# -- TLS ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, a server's certificate for `localhost`, and one of a stranger."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "stranger"):
        openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={name}"),
            *("-keyout", f"{name}.key", "-out", f"{name}.crt"),
        )
    openssl(
        *("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", "server.key"),
        "-out",
        "r",
    )
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    openssl(
        *("x509", "-req", "-in", "r", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30"),
        *("-extfile", "names", "-out", "server.crt"),
    )
    return folder


def _has_tls(major: int) -> bool:
    configuration = subprocess.run(
        [servers_at_hand()[major].path("pg_config"), "--configure"],
        capture_output=True,
        text=True,
        check=False,
    )
    return "openssl" in configuration.stdout


TLS_MAJORS = [major for major in majors_at_hand() if _has_tls(major)]


@pytest.mark.skipif(not TLS_MAJORS, reason="no server with TLS at hand")
def test_tls_modes_are_kept_by_both_drivers(server_folder: Path, authority: Path) -> None:
    """Encrypted where asked, verified where asked: against the authority, and against the name dialled."""
    server = own_server(TLS_MAJORS[-1], server_folder)
    with server:
        data = server.data
        for name in ("server.crt", "server.key"):
            target = data / name
            target.write_bytes((authority / name).read_bytes())
            owner = data.stat()
            os.chown(target, owner.st_uid, owner.st_gid)
            target.chmod(0o600)
        server.restart(settings={"ssl": "on", "ssl_cert_file": "server.crt", "ssl_key_file": "server.key"})
        base = ServerAddress.parse(server.dsn()).with_options(host="localhost")
        good, bad = str(authority / "ca.crt"), str(authority / "stranger.crt")

        def reach(**options: str) -> bool:
            """Whether TLS was in use, as the server saw it, for rows as well as for the control connection."""
            address = base.with_options(**options)
            with connect(address, application_name="test") as connection:
                pinned = address.pinned(connection)
            spec = ReadSpec(address=pinned, exported=None, client_encoding="UTF8", application_name="test")
            with RangeReader.open(spec) as reader:
                rows = reader.query(
                    "SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()"
                )
            assert rows[0][0] == bool(pinned.tls)
            return bool(rows[0][0])

        assert not reach(sslmode="disable")
        assert reach(sslmode="prefer")
        assert reach(sslmode="require")
        assert reach(sslmode="verify-ca", sslrootcert=good)
        assert reach(sslmode="verify-full", sslrootcert=good)
        assert reach(sslmode="verify-ca", sslrootcert=good, host="127.0.0.1")
        for refused in (
            {"sslmode": "verify-ca", "sslrootcert": bad},
            {"sslmode": "verify-full", "sslrootcert": good, "host": "127.0.0.1"},
            {"sslmode": "verify-full", "sslrootcert": "system"},
        ):
            with pytest.raises(HoldfastError, match="certificate"):
                reach(**refused)
        # asyncpg on its own must refuse as well: it is what rows travel on.
        with connect(base.with_options(sslmode="require"), application_name="test") as connection:
            pinned = base.with_options(sslmode="require").pinned(connection)
        for refused in (
            {"sslmode": "verify-ca", "sslrootcert": bad},
            {"sslmode": "verify-full", "sslrootcert": good, "host": "elsewhere.example.org"},
        ):
            spec = ReadSpec(
                address=pinned.with_options(**refused),
                exported=None,
                client_encoding="UTF8",
                application_name="test",
            )
            with pytest.raises(UnreachableError, match="ertificate"):
                RangeReader.open(spec)


def test_a_missing_authority_is_refused_before_dialling() -> None:
    """verify-full without any root certificate must not fall back to no verification."""
    address = ServerAddress.parse("host=h user=u sslmode=verify-full sslrootcert=/none-such")
    pinned = ServerAddress(keywords=address.keywords, tls=True)
    with pytest.raises(UsageError, match="certificate"):
        keywords_for(pinned, application_name="test")


def test_tls_is_never_weaker_than_what_libpq_takes(authority: Path) -> None:
    """A root certificate is used whatever the mode, as libpq does; hosts are compared only by verify-full."""
    root = str(authority / "ca.crt")
    address = ServerAddress.parse(f"host=h user=u sslmode=require sslrootcert={root}")
    context = keywords_for(ServerAddress(keywords=address.keywords, tls=True), application_name="t")["ssl"]
    assert isinstance(context, ssl.SSLContext)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, False)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
