"""Addresses into storages; and the same as plain data, for another process to open the storage again.

/srv/backups   ./backups   ~/backups   file:///srv/backups     a folder of this host
s3://…   gs://…   az://…                                       a bucket, see `holdfast.storage.bucket`
memory:                                                        nothing that lasts: for tests
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from holdfast.domain.errors import UsageError
from holdfast.storage import Storage
from holdfast.storage.bucket import SCHEMES, parse_bucket
from holdfast.storage.local import LocalStorage
from holdfast.storage.memory import MemoryStorage
from holdfast.storage.object_lock import Locking, LockPolicy

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_OTHER_NAMES = {"gcs": "gs", "azure": "az", "abfs": "az", "abfss": "az", "s3a": "s3", "s3n": "s3"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSpec:
    """What it takes to open a storage anywhere: plain data, picklable, with the secrets left out of `repr`.

    `create_once` is what `holdfast.storage.probe` found, or what the operator set. Environment variables and
    credential files are not carried along: another host needs its own.
    """

    url: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    create_once: bool = True
    lock: LockPolicy | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", dict(self.options))

    def open(self, *, create_root: bool = False) -> Storage:
        """With `lock`, objects are created locked; `UsageError` if this kind of storage has no locks."""
        if self.lock is not None and scheme_of(self.url) != "s3":
            raise UsageError(
                f"the storage {self.url} has no locks on objects, although the settings ask for them",
                hint="remove the lock section; holdfast doctor says what else protects what is stored there",
            )
        storage = open_storage(
            self.url, options=self.options, create_once=self.create_once, create_root=create_root
        )
        if self.lock is None:
            return storage
        from holdfast.storage.s3_locks import S3Locks

        return Locking(storage, S3Locks(parse_bucket(self.url, self.options), self.lock))


def open_storage(
    url: str,
    *,
    options: Mapping[str, str] | None = None,
    create_once: bool = True,
    create_root: bool = False,
) -> Storage:
    """The storage at an address. Raises `UsageError` for an address that makes no sense.

    A folder must exist unless `create_root`; a bucket is not asked for before its first use, and never created.
    """
    scheme = _scheme_in(url)
    if scheme in SCHEMES:
        parse_bucket(url, options)
        # Imported late: obstore takes longer to load than a run without clouds should wait.
        from holdfast.storage.cloud import CloudStorage

        return CloudStorage(url, options, create_once=create_once)
    if options:
        raise UsageError(
            f"the storage {url} has no options, but {', '.join(sorted(options))} are set",
            hint="remove them, or give the address of a bucket",
        )
    if scheme == "memory" and url == "memory:":
        return MemoryStorage()
    if scheme in {"", "file"}:
        root = _folder_of(url) if scheme else Path(url).expanduser()
        return LocalStorage(root, create_once=create_once, create_root=create_root)
    raise UsageError(f"no storage is called {scheme}:", hint=_suggest(scheme))


def scheme_of(url: str) -> str:
    """Which kind of bucket an address leads to; "" for whatever is none."""
    scheme = _scheme_in(url)
    return scheme if scheme in SCHEMES else ""


def _scheme_in(url: str) -> str:
    found = _SCHEME.match(url)
    return found[1].lower() if found else ""


def _folder_of(url: str) -> Path:
    parts = urlsplit(url)
    if (
        parts.netloc not in {"", "localhost"}
        or not parts.path.startswith("/")
        or parts.query
        or parts.fragment
    ):
        raise UsageError(
            f"{url} names no folder of this host", hint="write file:///ABSOLUTE/PATH, or just the path"
        )
    return Path(unquote(parts.path))


def _suggest(scheme: str) -> str:
    known = ("file", *SCHEMES)
    near = [_OTHER_NAMES[scheme]] if scheme in _OTHER_NAMES else difflib.get_close_matches(scheme, known, n=1)
    if near:
        return f"write {near[0]}://…"
    return f"use a path, or one of {', '.join(f'{name}://' for name in known)}"
