"""Objects as files below one folder, durable when a verb returns.

A new object is written to a file in `.tmp`, flushed, then linked (`create`: the file system lets one win) or
renamed (`replace`) to its name, and the folder is flushed. So a name shows a whole object or none, whatever
is killed and wherever the power fails. A file in `.tmp` that nobody moved is a stray: never listed, harmless,
and removed by `clear_strays`.

Names never start with a dot, so `.tmp` and whatever file systems hide in dotted names are no objects. Symbolic
links below the root are never followed.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import TypeAlias

from holdfast.domain.errors import ObjectExistsError, ObjectMissingError, StorageUnusableError
from holdfast.storage import Buffer, ObjectInfo
from holdfast.storage.faults import is_lack_of_links, translate_os_error
from holdfast.storage.names import check_name, check_prefix, is_segment

_Move: TypeAlias = Callable[[str, str], None]
_Identity: TypeAlias = tuple[int, int]
_Entry: TypeAlias = tuple[str, os.DirEntry[str]]

_STRAYS = ".tmp"
_FILE_MODE = 0o640
_FOLDER_MODE = 0o750
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_NAME_OF = itemgetter(0)
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
        self._strays = os.path.join(self._root, _STRAYS)
        # Folders known to be no links and to be flushed into their parents. If another process removes an empty
        # one and a third makes it anew, flushing the folder alone is left; on journaling file systems that saves
        # its entry in the parent as well, both being one transaction.
        self._flushed: set[str] = set()
        # Folders above others, known to be no links: a hundred thousand deletions look at each of them once.
        self._unlinked: set[str] = {self._root}

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
            self._move(temporary, name, self._link if self._create_once else _rename_unless_there)

    def replace(self, name: str, data: Buffer) -> None:
        check_name(name)
        with self._writing(name), self._written(data) as temporary:
            self._move(temporary, name, os.replace)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        check_name(name)
        with self._reading(name):
            file = os.open(self._path(name), _READ_FLAGS)
            try:
                size = _regular(os.fstat(file)).st_size
                return _read(file, offset, size if length is None else min(offset + length, size))
            finally:
                os.close(file)

    def stat(self, name: str) -> ObjectInfo:
        check_name(name)
        with self._reading(name):
            return _info(name, _regular(os.stat(self._path(name), follow_symlinks=False)))

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        self._check_root()
        return self._walk(prefix[: prefix.rfind("/") + 1], prefix, after or "")

    def delete(self, name: str) -> None:
        """Remove the object, and its folders as far as that leaves them empty."""
        check_name(name)
        with suppress(ObjectMissingError), self._reading(name, doing="delete"):
            path = self._path(name)
            # Not flushed: an object that comes back after a power cut gets deleted again.
            os.unlink(path)
            with suppress(OSError):
                while len(path := path.rpartition("/")[0]) > len(self._root):
                    self._flushed.discard(path)
                    os.rmdir(path)
                    self._unlinked.discard(path)

    def clear_strays(self, now: datetime, *, min_age: timedelta = timedelta(days=1)) -> int:
        """Remove files left in `.tmp` by runs that were killed, and say how many.

        A file younger than `min_age` at `now` may belong to a run that is writing it.
        """
        removed = 0
        with suppress(ObjectMissingError), self._reading(_STRAYS, doing="clear"):
            for entry in os.scandir(self._strays):
                if now.timestamp() - entry.stat(follow_symlinks=False).st_mtime > min_age.total_seconds():
                    os.unlink(entry.path)
                    removed += 1
        return removed

    def close(self) -> None:
        """Nothing is held open between calls."""

    def _path(self, name: str) -> str:
        """The path of an object or folder, after making sure that no link leads to it from inside the root."""
        path = os.path.join(self._root, name).rstrip("/")
        folder = os.path.dirname(path)
        if folder not in self._flushed and path != self._root and self._is_behind_link(folder):
            raise StorageUnusableError(
                f"{folder} is or lies behind a symbolic link",
                hint="replace the link by the folder that it points to, or name that folder as the repository",
            )
        return path

    def _is_behind_link(self, folder: str) -> bool:
        if folder == self._root:
            return os.path.realpath(folder) != folder
        parent = os.path.dirname(folder)
        if parent not in self._unlinked:
            if self._is_behind_link(parent):
                return True
            self._unlinked.add(parent)
        return os.path.islink(folder)

    @contextmanager
    def _reading(self, name: str, *, doing: str = "read") -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError) as error:
            self._check_root()
            raise ObjectMissingError(name) from error
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise ObjectMissingError(name) from error
            raise translate_os_error(error, doing, os.path.join(self._root, name)) from error

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            self._check_root()
            raise translate_os_error(error, "write", os.path.join(self._root, name)) from error
        except OSError as error:
            raise translate_os_error(error, "write", os.path.join(self._root, name)) from error

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
    def _written(self, data: Buffer) -> Iterator[str]:
        """A flushed temporary file with these bytes; gone afterwards unless it was renamed."""
        temporary = os.path.join(self._strays, f"{os.getpid()}-{secrets.token_hex(8)}")
        try:
            file = os.open(temporary, _WRITE_FLAGS, _FILE_MODE)
        except FileNotFoundError:
            self._check_root()
            with suppress(FileExistsError):
                os.mkdir(self._strays, _FOLDER_MODE)
            file = os.open(temporary, _WRITE_FLAGS, _FILE_MODE)
        try:
            try:
                _write(file, data)
                os.fsync(file)
            finally:
                os.close(file)
            yield temporary
        finally:
            with suppress(OSError):
                os.unlink(temporary)

    def _move(self, temporary: str, name: str, move: _Move) -> None:
        """Give a flushed file its name, and make the name durable."""
        path = self._path(name)
        folder = os.path.dirname(path)
        for attempt in range(1, _MOVES + 1):
            try:
                self._make_folder(folder)
                move(temporary, path)
                break
            except FileNotFoundError:
                self._forget(folder)
                if attempt == _MOVES:
                    raise
            except FileExistsError as error:
                # The winner may not have got this far; what a loser relies on must survive as well.
                _flush_folder(folder)
                raise ObjectExistsError(name) from error
        _flush_folder(folder)

    def _link(self, temporary: str, path: str) -> None:
        try:
            os.link(temporary, path, follow_symlinks=False)
        except FileExistsError:
            # On NFS the answer to a link that was made may get lost; open(2) says to count the links.
            if os.stat(temporary).st_nlink < 2:
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
        if folder == self._root or folder in self._flushed:
            return
        parent = os.path.dirname(folder)
        self._make_folder(parent)
        with suppress(FileExistsError):
            os.mkdir(folder, _FOLDER_MODE)
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)
        # Even if it was there: whoever made it may not have flushed it yet.
        _flush_folder(parent)
        self._flushed.add(folder)

    def _forget(self, folder: str) -> None:
        while len(folder) > len(self._root):
            self._flushed.discard(folder)
            folder = os.path.dirname(folder)

    def _walk(self, folder: str, prefix: str, after: str) -> Iterator[ObjectInfo]:
        """Objects below `folder` ("" or ending in "/") in ascending order of their full names."""
        waiting = [iter(self._entries(folder, None))]
        while waiting:
            for name, entry in waiting[-1]:
                if name.endswith("/"):
                    wanted = name.startswith(prefix) or prefix.startswith(name)
                    if wanted and (name > after or after.startswith(name)):
                        waiting.append(iter(self._entries(name, entry.path)))
                        break
                elif name.startswith(prefix) and name > after:
                    try:
                        found = entry.stat(follow_symlinks=False)
                    except OSError as error:
                        self._require_gone(error, name)
                        continue
                    yield _info(name, found)
            else:
                waiting.pop()

    def _entries(self, folder: str, path: str | None) -> Sequence[_Entry]:
        """What are objects or may hold some, by their full names. A folder sorts with its "/", as in the names
        below it. `path` is where it lies, if that was reached from a checked folder without following a link."""
        entries: list[_Entry] = []
        try:
            with os.scandir(path or self._path(folder)) as found:
                for entry in found:
                    if not is_segment(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        entries.append((f"{folder}{entry.name}/", entry))
                    elif entry.is_file(follow_symlinks=False):
                        entries.append((folder + entry.name, entry))
        except OSError as error:
            self._require_gone(error, folder)
            return ()
        entries.sort(key=_NAME_OF)
        return entries

    def _require_gone(self, error: OSError, name: str) -> None:
        """Raises what `error` means, unless it is that `name` vanished since it was listed."""
        with suppress(ObjectMissingError), self._reading(name):
            raise error


def _make_root(path: str) -> None:
    if not os.path.isdir(path):
        parent = os.path.dirname(path)
        _make_root(parent)
        with suppress(FileExistsError):
            os.mkdir(path, _FOLDER_MODE)
        _flush_folder(parent)


def _identify(folder: str) -> _Identity:
    found = os.stat(os.path.join(folder, "."))
    return found.st_dev, found.st_ino


def _flush_folder(folder: str) -> None:
    file = os.open(folder, _FOLDER_FLAGS)
    try:
        try:
            os.fsync(file)
        except OSError as error:
            # Some network file systems know no flushing of folders (EINVAL): they write through.
            if error.errno != errno.EINVAL:
                raise
    finally:
        os.close(file)


def _rename_unless_there(temporary: str, path: str) -> None:
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    os.replace(temporary, path)


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


def _regular(found: os.stat_result) -> os.stat_result:
    if not stat.S_ISREG(found.st_mode):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return found


def _info(name: str, found: os.stat_result) -> ObjectInfo:
    modified_at = datetime.fromtimestamp(found.st_mtime, tz=UTC)
    return ObjectInfo(name=name, size_bytes=found.st_size, modified_at=modified_at)
