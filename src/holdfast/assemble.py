"""The one place that picks implementations: settings become opened storages, repositories and addresses.

What talks to PostgreSQL is imported late: listing and verifying a repository need none of it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.domain.errors import RefusedError, UsageError
from holdfast.domain.tables import TablePatterns
from holdfast.repository import layout, repo
from holdfast.repository.keys.secrets import Secrets
from holdfast.repository.repo import Repository
from holdfast.settings import RepositoryChoice, RepositorySettings, SourceChoice, SourceSettings
from holdfast.storage import Storage
from holdfast.storage.bucket import parse_bucket
from holdfast.storage.object_lock import LockPolicy
from holdfast.storage.probe import Abilities, probe
from holdfast.storage.spec import StorageSpec, scheme_of
from holdfast.storage.wrap import Limited, Retrying

if TYPE_CHECKING:
    from holdfast.domain.policy import RetentionPolicy
    from holdfast.postgres.address import ServerAddress
    from holdfast.postgres.stock import Selection
    from holdfast.workflows.backup import BackupOptions, BackupSource
    from holdfast.workflows.doctor_bucket import Protection
    from holdfast.workflows.policies import PoliciesReport

_LIBPQ_ENVIRONMENT = "application_name=holdfast"  # words that leave everything to libpq

Prompt = Callable[[], str]


def storage_spec(settings: RepositorySettings, *, create_once: bool = True) -> StorageSpec:
    options = {key: _option(value) for key, value in settings.options.items()}
    return StorageSpec(url=settings.url, options=options, create_once=create_once, lock=lock_policy(settings))


def lock_policy(settings: RepositorySettings) -> LockPolicy | None:
    """What this repository's settings say of locks on its objects."""
    if settings.lock is None:
        return None
    period = timedelta(days=settings.lock.days)
    return LockPolicy(mode=settings.lock.mode, period=period, prefixes=layout.LOCKED, hidden=layout.HIDDEN)


def protection_of(settings: RepositorySettings, *, retention: RetentionPolicy | None) -> Protection:
    """What doctor should know of how a repository is protected from its own credentials."""
    from holdfast.workflows.doctor_bucket import Protection

    spec = storage_spec(settings)
    scheme = scheme_of(spec.url)
    rules = None
    if scheme == "s3" and find_spec("botocore") is not None:
        from holdfast.storage.bucket_rules import read_bucket_rules

        rules = partial(read_bucket_rules, spec.url, spec.options)
    return Protection(scheme=scheme, lock=spec.lock, rules=rules, retention=retention)


def policies_of(settings: RepositorySettings) -> PoliciesReport:
    """The smallest rights for each part that works on this repository. Asks no server."""
    from holdfast.workflows.policies import policies_for

    spec = storage_spec(settings)
    scheme = scheme_of(spec.url)
    if not scheme:
        return policies_for(scheme="", bucket="", prefix="", address=settings.url, locks=False)
    bucket = parse_bucket(spec.url, spec.options)
    return policies_for(
        scheme=scheme,
        bucket=bucket.name,
        prefix=bucket.prefix,
        address=bucket.address,
        locks=spec.lock is not None,
    )


@contextmanager
def open_storage(
    settings: RepositorySettings,
    *,
    create_once: bool = True,
    create_root: bool = False,
    max_rate: float | None = None,
) -> Iterator[Storage]:
    """A storage that tries again what may pass. Raises `UsageError` for settings that make none.

    `max_rate`: bytes per second instead of the settings'; 0 means no limit.
    """
    spec = storage_spec(settings, create_once=create_once)
    storage: Storage = Retrying(spec.open(create_root=create_root))
    if rate := settings.max_rate if max_rate is None else max_rate:
        storage = Limited(storage, rate)
    try:
        yield storage
    finally:
        storage.close()


@contextmanager
def open_repository(
    choice: RepositoryChoice, secrets: Secrets, *, max_rate: float | None = None
) -> Iterator[Repository]:
    """The repository, unlocked. `UsageError` if there is none, `LockedOutError` if nothing at hand opens it."""
    with open_storage(choice.settings, max_rate=0) as storage:
        found = repo.open_repository(storage, secrets)
    # Only the config says whether the storage can promise create-once.
    once = not found.config.single_writer
    with open_storage(choice.settings, create_once=once, max_rate=max_rate) as storage:
        yield Repository(storage=storage, keyring=found.keyring, config=found.config, warnings=found.warnings)


def find_secrets(
    settings: RepositorySettings,
    *,
    environ: Mapping[str, str] = os.environ,
    identity_file: Path | None = None,
    prompt: Prompt | None = None,
) -> Secrets:
    """Where the secrets come from: `identity_file` (given on the command line), the settings file's own words for
    this repository, the environment, the prompt."""
    # Set but empty means not set: that is how CI systems and compose files leave a variable out.
    environ = {name: value for name, value in environ.items() if value}
    from_environment = Secrets.from_environment(environ, identity_file=identity_file, prompt=prompt)
    identity = identity_file or settings.identity_file or from_environment.identity_file
    if settings.passphrase_env is not None:
        passphrase = environ.get(settings.passphrase_env)
        if not passphrase and identity is None:
            raise UsageError(
                f"the passphrase should be in {settings.passphrase_env}, which is not set or empty",
                hint=f"set {settings.passphrase_env}, or name the recovery kit with --identity-file",
            )
        return Secrets(passphrase=passphrase or None, identity_file=identity, prompt=prompt)
    if settings.passphrase_file is not None:
        return Secrets(passphrase_file=settings.passphrase_file, identity_file=identity, prompt=prompt)
    if settings.passphrase_command is not None:
        command = settings.passphrase_command
        text = command if isinstance(command, str) else shlex.join(command)
        return Secrets(passphrase_command=text, identity_file=identity, prompt=prompt)
    return Secrets(
        passphrase=from_environment.passphrase,
        passphrase_file=from_environment.passphrase_file,
        passphrase_command=from_environment.passphrase_command,
        identity_file=identity,
        prompt=prompt,
    )


def require_no_repository(settings: RepositorySettings) -> None:
    """Raises `RefusedError` if there is a repository already, before anything is asked or written."""
    with open_storage(settings, create_root=True) as storage:
        for info in storage.list(layout.CONFIG):
            raise RefusedError(
                f"there is a repository at {storage.address} already ({info.name})",
                hint="use it, or choose another address",
            )


def probe_storage(settings: RepositorySettings) -> Abilities:
    """What the storage can really do; a folder is made if it is not there."""
    with open_storage(settings, create_root=True) as storage:
        return probe(storage, now=datetime.now(UTC))


def address_of(choice: SourceChoice) -> ServerAddress:
    """Where the database is. Raises `UsageError`."""
    from holdfast.postgres.address import ServerAddress

    return ServerAddress.parse(choice.settings.url or _LIBPQ_ENVIRONMENT)


def source_of(choice: SourceChoice, *, exclude_rows: tuple[str, ...] = ()) -> BackupSource:
    """The source as `backup` takes it. One without a configured name is called by its host and database."""
    from holdfast.workflows.backup import BackupSource

    address = address_of(choice)
    return BackupSource(
        name=choice.name or name_of(address),
        address=address,
        tiers=choice.settings.tiers.rules(),
        exclude_rows=_patterns((*choice.settings.exclude_rows, *exclude_rows)),
    )


def selection_of(choice: SourceChoice) -> Selection:
    """Which rows a backup of this source would be asked for."""
    from holdfast.postgres.stock import Selection

    return Selection(exclude_rows=_patterns(choice.settings.exclude_rows))


def backup_options(
    settings: SourceSettings,
    *,
    tags: tuple[str, ...] = (),
    jobs: int | None = None,
    full: bool = False,
    lock_timeout_seconds: float | None = None,
    max_runtime: timedelta | None = None,
    wait_seconds: float = 0.0,
) -> BackupOptions:
    """What was asked for, then what is configured, then the workflow's own defaults."""
    from holdfast.workflows.backup import BackupOptions

    options = BackupOptions(tags=tuple(dict.fromkeys((*settings.tags, *tags))), full=full)
    if (chosen := jobs or settings.jobs) is not None:
        options = replace(options, jobs=chosen)
    if (seconds := lock_timeout_seconds or settings.lock_timeout_seconds) is not None:
        options = replace(options, lock_timeout_seconds=seconds)
    if settings.full_every_days is not None:
        options = replace(options, full_every_days=settings.full_every_days)
    return replace(options, max_runtime=max_runtime or settings.max_runtime, wait_seconds=wait_seconds)


def name_of(address: ServerAddress) -> str:
    """What a source is called that was given by its address alone; the same for every later run."""
    host = address.host
    if not host or host.startswith("/"):
        host = "local"
    port = "" if address.port == 5432 else f":{address.port}"
    return f"{host}{port}/{address.database}"


def _patterns(patterns: tuple[str, ...]) -> TablePatterns | None:
    return TablePatterns(patterns=patterns) if patterns else None


def _option(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
