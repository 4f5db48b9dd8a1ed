"""From a database to a snapshot and back, by the command line alone, as operators and scripts go it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from patience import PATIENCE_SECONDS
from postgres_servers import Database
from program import Program

ISO_UTC = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


@pytest.fixture
def shop(database: Database) -> Database:
    """A small database."""
    database.execute(
        "CREATE TABLE users (id int PRIMARY KEY, name text)",
        "INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, 1000) AS n",
        "CREATE TABLE orders (id int PRIMARY KEY, owner int REFERENCES users)",
        "INSERT INTO orders SELECT n, n FROM generate_series(1, 500) AS n",
    )
    return database


@pytest.fixture
def gaps(shop: Database) -> Iterator[str]:
    """The shop's address for a role (password `r0le-s3cret`) that may read one of its tables only."""
    role = f"reader_{shop.name}"
    shop.execute(f"CREATE ROLE \"{role}\" LOGIN PASSWORD 'r0le-s3cret'", f'GRANT SELECT ON users TO "{role}"')
    yield shop.dsn_as(role, "r0le-s3cret")
    shop.execute(f'DROP OWNED BY "{role}"', f'DROP ROLE "{role}"')


@contextmanager
def beside(shop: Database) -> Iterator[str]:
    """The address of a database that does not exist yet, dropped in the end."""
    name = f"{shop.name}_back"
    try:
        yield shop.dsn.replace(f"/{shop.name}", f"/{name}")
    finally:
        shop.execute(f'DROP DATABASE IF EXISTS "{name}"')


def test_there_and_back(with_repository: Program, shop: Database) -> None:
    """Back up, list, show, verify, restore; every command's document has its promised fields."""
    run = with_repository
    taken = run("backup", shop.dsn, "--tag", "first", "--json").document
    assert taken["state"] == "committed"
    assert (taken["tables"], taken["rows"], taken["parent"]) == (2, 1500, None)
    assert {entry["name"] for entry in taken["coverage"]} >= {"public.users", "public.orders"}

    again = run("backup", shop.dsn, "--json").document
    assert (again["parent"], again["chunks_stored"]) == (taken["snapshot"], 0)

    listed = run("list", "--json").document["snapshots"]
    assert [item["snapshot"] for item in listed] == [taken["snapshot"], again["snapshot"]]
    assert (listed[0]["tags"], listed[0]["state"], listed[0]["verified"]) == (["first"], "committed", None)
    tagged = run("list", "--tag", "first", "--json").document["snapshots"]
    assert [item["snapshot"] for item in tagged] == [taken["snapshot"]]

    shown = run("show", taken["snapshot"][:22], "--json").document
    assert [(table["name"], table["rows"]) for table in shown["table_list"]] == [
        ("orders", 500),
        ("users", 1000),
    ]

    verified = run("verify", "--all", "--level", "3", "--json").document
    assert (verified["level"], verified["snapshots"], verified["findings"]) == (3, 2, [])
    listed = run("list", "--json").document["snapshots"]
    assert [item["verified"]["level"] for item in listed] == [3, 3]

    with beside(shop) as target:
        restored = run("restore", "latest", "--to", target, "--create", "--json").document
        assert (restored["tables"], restored["rows"], restored["warnings"]) == (2, 1500, [])
        assert [tier["tier"] for tier in restored["tiers"]] == ["normal"]
        back = Database(server=shop.server, name=urlsplit(target).path[1:])
        assert back.rows("SELECT * FROM users") == shop.rows("SELECT * FROM users")


def test_back_to_a_moment(with_repository: Program, shop: Database) -> None:
    """Rows as they were then, not as they are now; the distance is told on standard error and in the document."""
    run = with_repository
    first = run("backup", shop.dsn, "--json").document
    (row,) = shop.rows("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')")
    moment = str(row[0])
    shop.execute("DELETE FROM orders")
    later = run("backup", shop.dsn, "--json").document
    with beside(shop) as target:
        back = run("restore", "--at", f"{moment}Z", "--to", target, "--create", "--json")
        assert back.code == 0, back.said()
        assert (back.document["snapshot"], back.document["rows"]) == (first["snapshot"], 1500)
        assert 0 < back.document["at"]["seconds_before"] < 3600
        assert f"snapshot {first['snapshot']}" in back.stderr
        assert f" s before {moment[:19]} UTC, at " in back.stderr
    assert run("show", "--json").document["snapshot"] == later["snapshot"]


def test_gaps_are_loud_and_name_their_grant(with_repository: Program, shop: Database, gaps: str) -> None:
    """Exit code 3; the first line says PARTIAL; run as it stands, the GRANT mends it."""
    run = with_repository
    finished = run("backup", gaps)
    assert finished.code == 3
    assert finished.stdout.startswith("PARTIAL: snapshot ")
    (grant,) = (line.strip() for line in finished.stdout.splitlines() if line.strip().startswith("GRANT"))
    assert "PARTIAL" in run("list").stdout
    assert run("show").stdout.splitlines()[0].endswith(" PARTIAL")
    shop.execute(grant)
    mended = run("backup", gaps, "--json")
    assert (mended.code, mended.document["state"]) == (0, "committed")


def test_damage_is_found_named_and_never_restored(with_repository: Program, shop: Database) -> None:
    """One byte of stored rows: verify and restore exit with 4 and name the object; the target gets no rows."""
    run = with_repository
    assert run("backup", shop.dsn).code == 0
    damaged = max(run.folder.glob("repo/data/*/*/*"), key=lambda path: path.stat().st_size)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.chmod(0o600)
    damaged.write_bytes(content)
    name = str(damaged.relative_to(run.folder / "repo"))
    verified = run("verify", "--json")
    assert verified.code == 4
    (finding,) = verified.document["findings"]
    assert finding["object"] == name
    assert set(finding["tables"]) & {"public.users", "public.orders"}
    assert finding["snapshots"] == [finding["snapshot"]]
    assert "FAILED level 3" in run("list").stdout
    with beside(shop) as target:
        restored = run("restore", "latest", "--to", target, "--create", "--json")
        assert restored.code == 4
        assert restored.error["kind"] == "damaged"
        assert name in restored.error["message"]


def test_a_target_with_data_is_refused_and_replaced_only_by_its_name(
    with_repository: Program, shop: Database
) -> None:
    """Exit code 5 without its name; with it, a safety snapshot comes first, which `latest` never means."""
    run = with_repository
    taken = run("backup", shop.dsn, "--json").document["snapshot"]
    assert run("restore", "latest", "--to", shop.dsn).code == 5
    shop.execute("TRUNCATE orders, users", "INSERT INTO users VALUES (7, 'only in the broken one')")
    wrong = run("restore", "latest", "--to", shop.dsn, "--replace", "other")
    assert (wrong.code, "'other'" in wrong.stderr) == (5, True)
    assert shop.rows("SELECT count(*) FROM users") == [(1,)]
    replaced = run("restore", "latest", "--to", shop.dsn, "--replace", shop.name, "--json").document
    assert replaced["snapshot"] == taken
    assert shop.rows("SELECT count(*) FROM users") == [(1000,)]
    assert run("show", replaced["safety_snapshot"], "--json").document["rows"] == 1
    assert run("show", "latest", "--json").document["snapshot"] == taken


def test_latest_of_several_sources_must_be_said(
    with_repository: Program, make_database: Callable[..., Database]
) -> None:
    """A restore must not bring back another database because it was backed up last."""
    run = with_repository
    first, second = make_database(), make_database()
    taken = run("backup", first.dsn, "--json").document
    assert run("backup", second.dsn).code == 0
    finished = run("show", "latest")
    assert (finished.code, "--source" in finished.stderr) == (2, True)
    assert (
        run("show", "latest", "--source", taken["source"], "--json").document["snapshot"] == taken["snapshot"]
    )


def test_settings_name_sources_repositories_and_tiers(
    with_repository: Program, shop: Database, write: Callable[[str, str], Path]
) -> None:
    """Names from holdfast.toml, a URL from `.env`, rows left out, tiers first."""
    run = with_repository
    write(".env", f"SHOP_URL={shop.dsn}\n")
    write(
        "holdfast.toml",
        '[repositories.main]\nurl = "./repo"\nidentity_file = "kit.txt"\n'
        '[sources.shop]\nurl = "${SHOP_URL}"\nrepository = "main"\nexclude_rows = ["orders"]\ntags = ["auto"]\n'
        '[sources.shop.tiers]\ncritical = ["public.users"]\n',
    )
    unset = {"HOLDFAST_REPOSITORY": "", "HOLDFAST_IDENTITY_FILE": ""}
    taken = run("backup", "--json", **unset).document
    assert (taken["source"], taken["rows"]) == ("shop", 1000)
    left = [entry for entry in taken["coverage"] if entry["status"] == "not configured"]
    assert [entry["name"] for entry in left] == ["public.orders"]
    assert run("list", "--json", **unset).document["snapshots"][0]["tags"] == ["auto"]
    with beside(shop) as target:
        restored = run("restore", "latest", "--to", target, "--create", "--json", **unset).document
    assert [tier["tier"] for tier in restored["tiers"]] == ["critical", "normal"]


def test_libpqs_own_environment_and_service_file_lead_there(
    with_repository: Program, shop: Database, write: Callable[[str, str], Path]
) -> None:
    """PGHOST and its kin, or PGSERVICE, instead of any URL; both are the same source."""
    run = with_repository
    parts = urlsplit(shop.dsn)
    direct = {
        "PGHOST": str(parts.hostname),
        "PGPORT": str(parts.port),
        "PGUSER": str(parts.username),
        "PGDATABASE": shop.name,
    }
    first = run("backup", "--json", **direct).document
    assert (first["source"], first["rows"]) == (f"{parts.hostname}:{parts.port}/{shop.name}", 1500)
    lines = [f"host={parts.hostname}", f"port={parts.port}", f"user={parts.username}", f"dbname={shop.name}"]
    file = write("services.conf", "\n".join(["[shop]", *lines, ""]))
    second = run("backup", "--json", PGSERVICE="shop", PGSERVICEFILE=str(file)).document
    assert (second["source"], second["parent"]) == (first["source"], first["snapshot"])


def test_a_server_that_is_not_there_is_exit_code_6(with_repository: Program) -> None:
    """Nothing listens there; the password in the URL is not repeated."""
    finished = with_repository("backup", "postgresql://me:s3kret-pw@127.0.0.1:1/x", "--json", "--debug")
    assert finished.code == 6
    assert finished.error["kind"] == "unreachable"
    assert "s3kret-pw" not in finished.said()
    assert "Traceback" in finished.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_backup_commits_nothing_and_ends_quickly(
    with_repository: Program, shop: Database, number: signal.Signals
) -> None:
    """It waits for a lock that never comes; the signal ends it within seconds with one document."""
    run = with_repository
    with shop.connect() as blocker:
        blocker.execute("BEGIN")
        blocker.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        with run.start_unhurried("backup", shop.dsn, "--json", "--lock-timeout", "3600") as process:
            shop.wait_for_blocked()
            process.send_signal(number)
            stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
        blocker.execute("ROLLBACK")
    assert process.returncode == 130
    assert '"kind": "interrupted"' in stdout
    assert "Traceback" not in stderr
    assert run("list", "--json").document["snapshots"] == []
    assert run("backup", shop.dsn).code == 0


def test_a_lock_that_never_comes_is_named(with_repository: Program, shop: Database) -> None:
    """--lock-timeout bounds the wait; the error says which table."""
    with shop.connect() as blocker:
        blocker.execute("BEGIN")
        blocker.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        finished = with_repository("backup", shop.dsn, "--lock-timeout", "1", "--json")
        blocker.execute("ROLLBACK")
    assert finished.code == 6
    assert finished.error["kind"] == "table_busy"
    assert "users" in finished.error["message"]


def test_quiet_and_plain_progress(with_repository: Program, shop: Database) -> None:
    """Without a terminal: plain lines on standard error, none with --quiet, none of either on standard output."""
    run = with_repository
    plain = run("backup", shop.dsn)
    assert "reading rows\n" in plain.stderr
    assert "\x1b" not in plain.said()
    quiet = run("backup", shop.dsn, "--quiet")
    assert (quiet.code, quiet.stderr) == (0, "")


def test_the_password_stands_nowhere(with_repository: Program, shop: Database, gaps: str) -> None:
    """Not in any process's command line while it runs, not in what is said, not in what is stored."""
    run = with_repository
    shop.execute(*[f"CREATE TABLE t{number} (a int)" for number in range(150)])
    shop.execute(f"GRANT pg_read_all_data TO {urlsplit(gaps).username}")
    seen: set[str] = set()
    done = threading.Event()
    watcher = threading.Thread(target=watch_commands, args=(seen, done))
    watcher.start()
    finished = run("backup", DATABASE_URL=gaps, HOLDFAST_DEBUG="1")
    done.set()
    watcher.join()
    assert finished.code == 0, finished.stderr
    assert any("pg_dump" in command for command in seen)
    assert [command for command in seen if "r0le-s3cret" in command] == []
    assert "r0le-s3cret" not in finished.said()
    for path in (run.folder / "repo").rglob("*"):
        assert not path.is_file() or b"r0le-s3cret" not in path.read_bytes()


def watch_commands(seen: set[str], done: threading.Event) -> None:
    while not done.is_set():
        for name in os.listdir("/proc"):
            if name.isdecimal():
                try:
                    command = Path(f"/proc/{name}/cmdline").read_bytes()
                except OSError:
                    continue
                if b"pg_dump" in command or b"holdfast" in command:
                    seen.add(command.decode(errors="replace"))
        time.sleep(0.005)
