"""The demo: the main job on a real server, from an empty folder to a lost database that is back, compared."""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from holdfast.domain.errors import DamagedError
from holdfast.domain.events import Listener, ignore
from holdfast.domain.tables import TablePatterns, Tier, TierRule
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.scratch import ScratchServer
from holdfast.postgres.session import connect
from holdfast.postgres.tools import find_tools, server_toolset
from holdfast.repository.config import Config, digest_of
from holdfast.repository.keys.keyring import Keyring, add_passphrase_slot
from holdfast.repository.repo import Repository, create_repository
from holdfast.storage.local import LocalStorage
from holdfast.workflows.backup import BackupOptions, BackupSource, backup, now_utc
from holdfast.workflows.demo.fingerprint import Fingerprint, differences, fingerprint
from holdfast.workflows.reports import BackupReport, RestoreReport, VerifyReport
from holdfast.workflows.restore import RestoreOptions, restore
from holdfast.workflows.verify import verify

OLDEST_MAJOR = 14
TIERS = (
    TierRule(tier=Tier.CRITICAL, tables=TablePatterns(patterns=("shop.users", "shop.products"))),
    TierRule(tier=Tier.HIGH, tables=TablePatterns(patterns=("shop.orders",))),
)
# What happens between the two snapshots: new events and users, some orders paid, one customer gone.
CHANGES = (
    """insert into shop.users (email, display_name)
       select 'late' || i || '@example.com', 'Late ' || i from generate_series(1, 200) i""",
    """insert into shop.events (at, kind, payload)
       select timestamptz '2026-11-10' + i * interval '1 second', 'view', jsonb_build_object('new', i)
       from generate_series(1, 3000) i""",
    "update shop.orders set status = 'paid' where id > 149000 and status = 'new'",
    "delete from shop.events where user_id = md5('user7')::uuid and at < '2026-10-02'",
    "refresh materialized view shop.sales",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """What the demo did and found. `different` is empty if everything came back the same."""

    server: str
    first: BackupReport
    second: BackupReport
    verified: VerifyReport
    table_lost: str
    table_restored: RestoreReport
    restored: RestoreReport
    compared: Fingerprint
    different: tuple[str, ...]
    seconds: float


Narrate = Callable[[str], None]


def run_demo(
    *,
    narrate: Narrate,
    listener: Listener = ignore,
    interrupted: threading.Event | None = None,
) -> DemoReport:
    """Start a server in a temporary folder, lose a database and bring it back. Leaves nothing behind.

    `narrate` gets one line before each step. Raises `UnreachableError` if no PostgreSQL server is at hand.
    """
    began = time.monotonic()
    toolset = server_toolset(OLDEST_MAJOR, find_tools())
    with tempfile.TemporaryDirectory(prefix="holdfast-demo-") as folder:
        narrate(f"Starting a PostgreSQL {toolset.version} of our own in a temporary folder")
        with ScratchServer(toolset) as server:
            stage = _Stage(server, Path(folder), listener, interrupted or threading.Event(), narrate)
            return stage.play(f"PostgreSQL {toolset.version}", began)


class _Stage:
    """The demo's server, repository and steps."""

    def __init__(
        self,
        server: ScratchServer,
        folder: Path,
        listener: Listener,
        interrupted: threading.Event,
        narrate: Narrate,
    ) -> None:
        self._server = server
        self._folder = folder
        self._listener = listener
        self._interrupted = interrupted
        self._narrate = narrate

    def play(self, server: str, began: float) -> DemoReport:
        narrate = self._narrate
        narrate("Filling the database shop: users, products, orders, events, a scanned invoice")
        address = self._fill()
        narrate("Making an encrypted repository in an empty folder")
        repository = self._make_repository()
        narrate("Snapshot 1: one consistent instant, read in parallel, compressed, encrypted, checked")
        first = self._backup(address, repository)
        narrate("The shop goes on: new users, new events, orders paid, a customer's traces deleted")
        self._execute(address, *CHANGES)
        before = fingerprint(address)
        narrate("Snapshot 2: what has not changed is not stored again")
        second = self._backup(address, repository)
        narrate("Verify at level 3: every object opened, unpacked, and identified")
        verified = verify(repository, None, level=3, listener=self._listener, interrupted=self._interrupted)
        if verified.findings:
            finding = verified.findings[0]
            raise DamagedError(finding.problem, object_name=finding.object_name)
        lost = "shop.order_log and shop.orders"
        narrate("Accident 1: someone runs TRUNCATE shop.orders, shop.order_log on the live database")
        self._execute(address, "truncate shop.orders, shop.order_log")
        narrate("Bringing back those two tables, and nothing else")
        patterns = TablePatterns(patterns=("shop.orders", "shop.order_log"))
        table_restored = self._restore(
            repository, second, address, RestoreOptions(data_only=True, include=patterns)
        )
        different = differences(before, fingerprint(address))
        narrate("Accident 2: DROP DATABASE shop")
        self._server.drop_database("shop")
        narrate("Bringing back the whole database, the vital tables first")
        restored = self._restore(repository, second, address, RestoreOptions(create=True))
        narrate("Comparing every row and every definition with those of before the accidents")
        after = fingerprint(address)
        return DemoReport(
            server=server,
            first=first,
            second=second,
            verified=verified,
            table_lost=lost,
            table_restored=table_restored,
            restored=restored,
            compared=after,
            different=(*different, *differences(before, after)),
            seconds=time.monotonic() - began,
        )

    def _fill(self) -> ServerAddress:
        address = ServerAddress.parse(self._server.create_database("shop"))
        script = resources.files(__package__).joinpath("shop.sql").read_text(encoding="utf-8")
        self._execute(address, script)
        return address

    def _execute(self, address: ServerAddress, *statements: str) -> None:
        with connect(address, application_name="holdfast/demo") as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def _make_repository(self) -> Repository:
        storage = LocalStorage(self._folder / "repository", create_root=True)
        now = now_utc()
        config = Config(repository_id=uuid.uuid4(), created_at=now, single_writer=False)
        keyring = Keyring.generate(
            repository_id=config.repository_id, config_digest=digest_of(config.encode())
        )
        slots = [
            add_passphrase_slot(keyring, secrets.token_urlsafe(24), slot="passphrase", label="demo", now=now)
        ]
        return create_repository(storage=storage, keyring=keyring, config=config, slots=slots, now=now)

    def _backup(self, address: ServerAddress, repository: Repository) -> BackupReport:
        return backup(
            BackupSource(name="shop", address=address, tiers=TIERS),
            repository,
            options=BackupOptions(),
            listener=self._listener,
            interrupted=self._interrupted,
        )

    def _restore(
        self, repository: Repository, taken: BackupReport, address: ServerAddress, options: RestoreOptions
    ) -> RestoreReport:
        return restore(
            repository,
            taken.snapshot,
            address,
            options=options,
            listener=self._listener,
            interrupted=self._interrupted,
        )
