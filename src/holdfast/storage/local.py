"""Objects as files below one folder, durable when a verb returns.

A new object is written to a file in `.tmp`, flushed, then linked (`create`: the file system lets one win) or
renamed (`replace`) to its name, and the folder is flushed. So a name shows a whole object or none, whatever
is killed and wherever the power fails. A file in `.tmp` that nobody moved is a stray: never listed, harmless,
and removed by `clear_strays`.

Names never start with a dot, so `.tmp` and whatever file systems hide in dotted names are no objects. The root
may be a symbolic link when it is opened; below it none is ever followed (`folders.py`). One that stands where an
object or a folder of objects would be is refused by name, by listing as by reading: passed over, it would look
like objects that are missing, and a collection deletes what nobody seems to need.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

from holdfast.domain.errors import ObjectExistsError, ObjectMissingError, StorageUnusableError
from holdfast.storage import Buffer, ObjectInfo
from holdfast.storage.faults import is_lack_of_links, translate_os_error
from holdfast.storage.folders import FOLDER_MODE, Folders, Walk, flush_folder, refuse_link
from holdfast.storage.names import check_name, check_prefix

_Place: TypeAlias = tuple[int, str]  # an open folder, and a name in it
_Move: TypeAlias = Callable[[_Place, _Place], None]
_Identity: TypeAlias = tuple[int, int]

_STRAYS = ".tmp"
_FILE_MODE = 0o640
_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_MOVES = 5
"""How often a move is tried when its folder vanishes because another process removed it as empty."""


class LocalStorage:
    """One folder of a local or network file system.

    `create_once=False` is for file systems without hard links: `create` then looks before it writes.
    """

    def __init__(self, root: Path, *, create_root: bool = False, create_once: bool = True) -> None:
        self._create_once = create_once
        path = os.path.abspath(root)
        try:
            if create_root:
                _make_root(path)
            self._root = os.path.realpath(path, strict=True)
            self._root_identity = _identify(self._root)
        except FileNotFoundError as error:
            raise StorageUnusableError(
                f"there is no folder {path}", hint="create the folder, or mount the disk that holds it"
            ) from error
        except OSError as error:
            raise translate_os_error(error, "open", path) from error
        # Folders known to be flushed into their parents. If another process removes an empty one and a third makes
        # it anew, flushing the folder alone is left; on journaling file systems that saves its entry in the parent
        # as well, both being one transaction.
        self._flushed: set[str] = set()

    @property
    def address(self) -> str:
        return Path(self._root).as_uri()

    @property
    def create_once(self) -> bool:
        return self._create_once

    @property
    def locks(self) -> None:
        """Nothing keeps objects here; `holdfast.storage.object_lock.Locking` adds it where the storage can."""
        return None

    def create(self, name: str, data: Buffer) -> None:
        check_name(name)
        with self._writing(name), self._written(data) as temporary:
            self._move(temporary, name, self._link if self._create_once else _replace_nothing)

    def replace(self, name: str, data: Buffer) -> None:
        check_name(name)
        with self._writing(name), self._written(data) as temporary:
            self._move(temporary, name, _replace)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        check_name(name)
        folder, _, last = name.rpartition("/")
        with self._reading(name), Folders(self._root, folder) as opened:
            file = os.open(last, _READ_FLAGS, dir_fd=opened[-1])
            try:
                size = self._regular(os.fstat(file), name).st_size
                return _read(file, offset, size if length is None else min(offset + length, size))
            finally:
                os.close(file)

    def stat(self, name: str) -> ObjectInfo:
        check_name(name)
        folder, _, last = name.rpartition("/")
        with self._reading(name), Folders(self._root, folder) as opened:
            found = os.stat(last, dir_fd=opened[-1], follow_symlinks=False)
            return _info(name, self._regular(found, name))

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        self._check_root()
        return self._walk(prefix, after or "")

    def delete(self, name: str) -> None:
        """Remove the object, and its folders as far as that leaves them empty."""
        check_name(name)
        folder, _, last = name.rpartition("/")
        try:
            with Folders(self._root, folder) as opened:
                # Not flushed: an object that comes back after a power cut gets deleted again.
                os.unlink(last, dir_fd=opened[-1])
                self._remove_empty(folder, opened)
        except OSError as error:
            self._require_gone(error, name, doing="delete")

    def _remove_empty(self, folder: str, opened: Sequence[int]) -> None:
        """Remove an open folder and those above it, up to the first that is not empty."""
        if not folder:
            return
        with suppress(OSError):
            for above in opened[-2::-1]:
                self._flushed.discard(folder)
                folder, _, last = folder.rpartition("/")
                os.rmdir(last, dir_fd=above)
            self._flushed.discard(folder)
            os.rmdir(self._path(folder))

    def clear_strays(self, now: datetime, *, min_age: timedelta = timedelta(days=1)) -> int:
        """Remove files left in `.tmp` by runs that were killed, and say how many.

        A file younger than `min_age` at `now` may belong to a run that is writing it.
        """
        removed = 0
        with (
            suppress(ObjectMissingError),
            self._reading(_STRAYS, doing="clear"),
            Folders(self._root, _STRAYS) as opened,
            os.scandir(opened[-1]) as found,
        ):
            for entry in found:
                if now.timestamp() - entry.stat(follow_symlinks=False).st_mtime > min_age.total_seconds():
                    os.unlink(entry.name, dir_fd=opened[-1])
                    removed += 1
        return removed

    def close(self) -> None:
        """Nothing is held open between calls."""

    def _path(self, name: str) -> str:
        """Where an object or folder lies: to be used right below the root only, deeper it is for messages."""
        return os.path.join(self._root, name)

    def _regular(self, found: os.stat_result, name: str) -> os.stat_result:
        if not stat.S_ISREG(found.st_mode):
            refuse_link(self._path(name))
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return found

    @contextmanager
    def _reading(self, name: str, *, doing: str = "read") -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError) as error:
            self._check_root()
            raise ObjectMissingError(name) from error
        except OSError as error:
            if error.errno == errno.ELOOP:
                refuse_link(self._path(name))
            raise translate_os_error(error, doing, self._path(name)) from error

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            self._check_root()
            raise translate_os_error(error, "write", self._path(name)) from error
        except OSError as error:
            raise translate_os_error(error, "write", self._path(name)) from error

    def _check_root(self) -> None:
        """An unmounted disk leaves an empty folder, in which every object seems to be missing."""
        with suppress(OSError):
            if _identify(self._root) == self._root_identity:
                return
        raise StorageUnusableError(
            f"the folder {self._root} vanished or is another one than at the start",
            hint="mount the disk that holds the repository again",
        )

    @contextmanager
    def _written(self, data: Buffer) -> Iterator[_Place]:
        """A flushed temporary file with these bytes; gone afterwards unless it was renamed."""
        with self._strays() as (strays,):
            temporary = f"{os.getpid()}-{secrets.token_hex(8)}"
            file = os.open(temporary, _WRITE_FLAGS, _FILE_MODE, dir_fd=strays)
            try:
                try:
                    _write(file, data)
                    os.fsync(file)
                finally:
                    os.close(file)
                yield strays, temporary
            finally:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=strays)

    def _strays(self) -> Folders:
        try:
            return Folders(self._root, _STRAYS)
        except FileNotFoundError:
            self._check_root()
            with suppress(FileExistsError):
                os.mkdir(self._path(_STRAYS), FOLDER_MODE)
            return Folders(self._root, _STRAYS)

    def _move(self, temporary: _Place, name: str, move: _Move) -> None:
        """Give a flushed file its name, and make the name durable."""
        folder, _, last = name.rpartition("/")
        for attempt in range(1, _MOVES + 1):
            try:
                self._make_folder(folder)
                with Folders(self._root, folder) as opened:
                    self._move_into(opened[-1], temporary, last, name, move)
                return
            except FileNotFoundError:
                self._forget(folder)
                if attempt == _MOVES:
                    raise

    def _move_into(self, folder: int, temporary: _Place, last: str, name: str, move: _Move) -> None:
        try:
            move(temporary, (folder, last))
        except FileExistsError as error:
            refuse_link(self._path(name))
            # The winner may not have got this far; what a loser relies on must survive as well.
            flush_folder(folder)
            raise ObjectExistsError(name) from error
        flush_folder(folder)

    def _link(self, temporary: _Place, place: _Place) -> None:
        (strays, file), (folder, last) = temporary, place
        try:
            os.link(file, last, src_dir_fd=strays, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            # On NFS the answer to a link that was made may get lost; open(2) says to count the links.
            if os.stat(file, dir_fd=strays).st_nlink < 2:
                raise
        except OSError as error:
            if not is_lack_of_links(error):
                raise
            raise StorageUnusableError(
                f"the file system of {self._root} has no hard links, which create-once needs",
                hint="keep the repository on another file system, or set create_once = false for a single writer",
            ) from error

    def _make_folder(self, folder: str) -> None:
        """Have `folder` with its entry flushed into its parent, and so on up to the root."""
        if not folder or folder in self._flushed:
            return
        parent, _, last = folder.rpartition("/")
        self._make_folder(parent)
        with Folders(self._root, parent) as opened:
            with suppress(FileExistsError):
                os.mkdir(last, FOLDER_MODE, dir_fd=opened[-1])
            # Even if it was there: whoever made it may not have flushed it yet.
            flush_folder(opened[-1])
        self._flushed.add(folder)

    def _forget(self, folder: str) -> None:
        while folder:
            self._flushed.discard(folder)
            folder = folder.rpartition("/")[0]

    def _walk(self, prefix: str, after: str) -> Iterator[ObjectInfo]:
        start = prefix[: prefix.rfind("/") + 1]
        with suppress(ObjectMissingError), self._reading(start), Folders(self._root, start[:-1]) as opened:
            walk = Walk(self._root, prefix, after, self._require_gone)
            for name, found in walk.below(opened[-1], start):
                yield _info(name, found)

    def _require_gone(self, error: OSError, name: str, *, doing: str = "read") -> None:
        """Raises what `error` means, unless it is that `name` is gone."""
        with suppress(ObjectMissingError), self._reading(name, doing=doing):
            raise error


def _make_root(path: str) -> None:
    if not os.path.isdir(path):
        parent = os.path.dirname(path)
        _make_root(parent)
        with suppress(FileExistsError):
            os.mkdir(path, FOLDER_MODE)
        with Folders(parent, "") as opened:
            flush_folder(opened[-1])


def _identify(folder: str) -> _Identity:
    found = os.stat(os.path.join(folder, "."))
    return found.st_dev, found.st_ino


def _replace(temporary: _Place, place: _Place) -> None:
    (strays, file), (folder, last) = temporary, place
    os.replace(file, last, src_dir_fd=strays, dst_dir_fd=folder)


def _replace_nothing(temporary: _Place, place: _Place) -> None:
    folder, last = place
    with suppress(FileNotFoundError):
        os.stat(last, dir_fd=folder, follow_symlinks=False)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), last)
    _replace(temporary, place)


def _write(file: int, data: Buffer) -> None:
    rest = memoryview(data).cast("B")
    while rest:
        rest = rest[os.write(file, rest) :]


def _read(file: int, offset: int, end: int) -> bytes:
    parts = []
    while offset < end and (part := os.pread(file, end - offset, offset)):
        parts.append(part)
        offset += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _info(name: str, found: os.stat_result) -> ObjectInfo:
    modified_at = datetime.fromtimestamp(found.st_mtime, tz=UTC)
    return ObjectInfo(name=name, size_bytes=found.st_size, modified_at=modified_at)
