"""Objects in a bucket of S3 and its kin, Google Cloud Storage or Azure, through obstore.

How addresses and options are written stands in `holdfast.storage.bucket`. Every object goes up in one request:
so `create` is one conditional PUT (If-None-Match: *, on GCS generation 0), atomic and with one winner as far as
the server keeps that promise (`holdfast.storage.probe` finds out), and S3's ETag is the MD5 of the bytes.

Nothing is tried twice in here: a retry that the caller does not know of would hide a lost answer, and a `create`
would then lose against itself. `holdfast.storage.wrap.Retrying` does it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError

from holdfast.domain.errors import (
    HoldfastError,
    LackingRightsError,
    ObjectExistsError,
    ObjectMissingError,
    StorageUnusableError,
    UnreachableError,
)
from holdfast.storage import Buffer, ObjectInfo
from holdfast.storage.bucket import parse_bucket
from holdfast.storage.clients import make_store
from holdfast.storage.cloud_faults import cause_of, read_answer, translate
from holdfast.storage.names import check_name, check_prefix

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta
    from obstore._get import OffsetRange

# obstore raises its own tree, built-in errors of files for some failures, and ValueError for names it cannot read.
_FOREIGN = (BaseError, OSError)
_MD5 = re.compile(r"[0-9a-f]{32}")


class _RangeIgnoredError(Exception):
    """The server sent a whole object where a part of it was asked for."""


class CloudStorage:
    """One prefix of one bucket.

    `create_once=False` is for servers that ignore the condition: `create` then looks before it writes.
    """

    def __init__(
        self, url: str, options: Mapping[str, str] | None = None, *, create_once: bool = True
    ) -> None:
        self._bucket = parse_bucket(url, options)
        self._create_once = create_once
        self._base = f"{self._bucket.prefix}/" if self._bucket.prefix else ""
        self._store = make_store(self._bucket)

    @property
    def address(self) -> str:
        return self._bucket.address

    @property
    def create_once(self) -> bool:
        return self._create_once

    @property
    def locks(self) -> None:
        """Nothing keeps objects here; `holdfast.storage.object_lock.Locking` adds it where the storage can."""
        return None

    def create(self, name: str, data: Buffer) -> None:
        check_name(name)
        if not self._create_once:
            self._refuse_taken(name)
            self._put(name, data, mode="overwrite")
            return
        try:
            self._put(name, data, mode="create")
        except AlreadyExistsError as error:
            self._confirm_taken(name)
            raise ObjectExistsError(name) from self._cause(error)

    def replace(self, name: str, data: Buffer) -> None:
        check_name(name)
        self._put(name, data, mode="overwrite")

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        check_name(name)
        if length == 0:
            self.stat(name)
            return b""
        if offset == 0 and length is None:
            return self._fetch(name, {})
        try:
            return self._fetch(name, {"range": _range(offset, length)})
        except _RangeIgnoredError:
            # rclone's server answers ranges like whole objects (200, not 206), which obstore cannot tell apart.
            end = None if length is None else offset + length
            return self._fetch(name, {})[offset:end]

    def stat(self, name: str) -> ObjectInfo:
        check_name(name)
        try:
            return self._head(name)
        except ObjectMissingError:
            # The answer to HEAD has no body to tell a missing bucket from a missing object; that to GET does.
            self.get(name, length=1)
            return self._head(name)

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        return self._walk(prefix, after or "")

    def delete(self, name: str) -> None:
        check_name(name)
        try:
            with self._faults("delete", name):
                obstore.delete(self._store, self._base + name)
        except ObjectMissingError:
            # Azure says so, but not whether object or container are missing.
            with suppress(ObjectMissingError):
                self.get(name, length=1)

    def close(self) -> None:
        """Connections are shared by the process and close by themselves when idle."""

    def _put(self, name: str, data: Buffer, *, mode: Literal["create", "overwrite"]) -> None:
        with self._faults("write", name):
            obstore.put(self._store, self._base + name, data, mode=mode, use_multipart=False)

    def _fetch(self, name: str, options: GetOptions) -> bytes:
        with self._faults("read", name):
            try:
                found = obstore.get(self._store, self._base + name, options=options)
            except BaseError as error:
                answer = read_answer(error)
                if answer.is_range_past_end:
                    return b""
                if answer.is_range_ignored:
                    raise _RangeIgnoredError from error
                raise
            data = bytes(found.bytes())
            start, stop = found.range
        if len(data) != stop - start:
            raise UnreachableError(
                f"read {len(data)} of {stop - start} bytes of {name} in {self.address}",
                hint="try again later",
            )
        return data

    def _head(self, name: str) -> ObjectInfo:
        with self._faults("read", name):
            return self._info(obstore.head(self._store, self._base + name))

    def _refuse_taken(self, name: str) -> None:
        with suppress(ObjectMissingError):
            self._head(name)
            raise ObjectExistsError(name)

    def _confirm_taken(self, name: str) -> None:
        """S3 answers 409 also when it could not decide between two requests; that must not pass for "taken"."""
        try:
            self._head(name)
        except ObjectMissingError as error:
            raise UnreachableError(
                f"{self.address} refused to create {name} as taken, but it is not there",
                hint="try again later",
            ) from error
        except LackingRightsError:
            return

    def _walk(self, prefix: str, after: str) -> Iterator[ObjectInfo]:
        """obstore lists by folders, and Azure's emulator from the start: sift, and check the order on the way."""
        folder = self._base + prefix[: prefix.rfind("/") + 1]
        last = after
        for meta in self._pages(folder, after):
            if not meta["path"].startswith(folder):
                continue
            info = self._info(meta)
            if info.name <= after or not info.name.startswith(prefix):
                continue
            if info.name <= last:
                raise StorageUnusableError(
                    f"{self.address} lists {info.name} after {last}",
                    hint="use a storage that lists in order of names",
                )
            last = info.name
            yield info

    def _pages(self, folder: str, after: str) -> Iterator[ObjectMeta]:
        doing = f"list {folder}" if folder else "list objects"
        offset = self._base + after if after else None
        stream = obstore.list(self._store, folder.rstrip("/") or None, offset=offset)
        while True:
            try:
                page = next(stream, None)
            except (*_FOREIGN, ValueError) as error:
                raise self._translated(error, doing) from self._cause(error)
            if page is None:
                return
            yield from page

    def _info(self, meta: ObjectMeta) -> ObjectInfo:
        tag = (meta["e_tag"] or "").strip('"')
        return ObjectInfo(
            name=meta["path"].removeprefix(self._base),
            size_bytes=meta["size"],
            modified_at=meta["last_modified"],
            md5=tag if _MD5.fullmatch(tag) else None,
        )

    @contextmanager
    def _faults(self, doing: str, name: str) -> Iterator[None]:
        try:
            yield
        except AlreadyExistsError:
            raise
        except FileNotFoundError as error:
            if doing == "write" or read_answer(error).lacks_bucket:
                raise self._no_bucket(doing, name) from self._cause(error)
            raise ObjectMissingError(name) from self._cause(error)
        except _FOREIGN as error:
            raise self._translated(error, f"{doing} {name}") from self._cause(error)

    def _no_bucket(self, doing: str, name: str) -> StorageUnusableError:
        return StorageUnusableError(
            f"cannot {doing} {name} in {self.address}: there is no such bucket",
            hint="create the bucket, or correct its name",
        )

    def _translated(self, error: BaseException, doing: str) -> HoldfastError:
        return translate(error, doing, self.address, self._bucket.secrets.values())

    def _cause(self, error: BaseException) -> BaseException | None:
        return cause_of(error, self._bucket.secrets.values())


def _range(offset: int, length: int | None) -> tuple[int, int] | OffsetRange:
    return {"offset": offset} if length is None else (offset, offset + length)
