"""Folders below a root, opened one below the other, so that no symbolic link is followed on the way down.

Every step starts from the folder opened before it, and what is done with an object is done relative to the open
folder. So a link leads nobody out of the root, whenever it was planted: there is no moment between looking and
using, and nothing that was seen once is believed later. The way to the root itself may lead through links.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from operator import itemgetter
from types import TracebackType
from typing import TypeAlias

from holdfast.domain.errors import StorageUnusableError
from holdfast.storage.names import is_segment

_Entry: TypeAlias = tuple[str, os.DirEntry[str]]

FOLDER_MODE = 0o750
_ROOT_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FLAGS = _ROOT_FLAGS | os.O_NOFOLLOW
_NO_FOLDER = (errno.ENOTDIR, errno.ELOOP)
_NAME_OF = itemgetter(0)


class Folders:
    """The folders from `root` down to `folder`, opened at once and closed at the end of a `with`; its value are
    their descriptors. The root's is only among them where `folder` is "".

    Raises `StorageUnusableError` where one is a link, `OSError` where one is missing or no folder.
    """

    __slots__ = ("_opened",)

    def __init__(self, root: str, folder: str) -> None:
        self._opened: list[int] = []
        if not folder:
            self._opened.append(os.open(root, _ROOT_FLAGS))
            return
        first, *deeper = folder.split("/")
        path = f"{root}/{first}"
        try:
            self._opened.append(os.open(path, _FLAGS))
            for name in deeper:
                self._opened.append(os.open(name, _FLAGS, dir_fd=self._opened[-1]))
        except OSError as error:
            self._close()
            if error.errno in _NO_FOLDER:
                refuse_link("/".join([path, *deeper[: len(self._opened)]]))
            raise

    def __enter__(self) -> list[int]:
        return self._opened

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        for descriptor in self._opened:
            os.close(descriptor)


def refuse_link(path: str) -> None:
    """Raises `StorageUnusableError` if a symbolic link stands where there is to be a folder or a file."""
    if os.path.islink(path):
        raise StorageUnusableError(
            f"{path} is a symbolic link, and none is followed inside a repository",
            hint="put what it points to in its place, and run it again",
        )


def flush_folder(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems know no flushing of folders (EINVAL): they write through.
        if error.errno != errno.EINVAL:
            raise


class Walk:
    """Looks for the files whose names start with `prefix` and come after `after`, in ascending order.

    `gone` gets the error that came up with something, and its name; it raises unless that has only vanished.
    """

    def __init__(self, root: str, prefix: str, after: str, gone: Callable[[OSError, str], None]) -> None:
        self._root = root
        self._prefix = prefix
        self._after = after
        self._gone = gone

    def below(self, folder: int, start: str) -> Iterator[tuple[str, os.stat_result]]:
        """Those in an open folder, whose name is `start` ("" or ending in "/"), and in the folders below it."""
        for name, entry in self._entries(folder, start):
            if not name.startswith(self._prefix):
                continue
            if name.endswith("/"):
                if name > self._after or self._after.startswith(name):
                    yield from self._within(folder, entry, name)
            elif name > self._after:
                try:
                    found = entry.stat(follow_symlinks=False)
                except OSError as error:
                    self._gone(error, name)
                    continue
                yield name, found

    def _within(
        self, folder: int, entry: os.DirEntry[str], name: str
    ) -> Iterator[tuple[str, os.stat_result]]:
        try:
            deeper = os.open(entry.name, _FLAGS, dir_fd=folder)
        except OSError as error:
            if error.errno in _NO_FOLDER:
                refuse_link(f"{self._root}/{name[:-1]}")
            self._gone(error, name)
            return
        try:
            yield from self.below(deeper, name)
        finally:
            os.close(deeper)

    def _entries(self, folder: int, start: str) -> list[_Entry]:
        """What are objects or may hold some, by their full names. A folder sorts with its "/", as in the names
        below it, and so does a link: entering it is refused."""
        entries: list[_Entry] = []
        try:
            with os.scandir(folder) as found:
                for entry in found:
                    if not is_segment(entry.name):
                        continue
                    if entry.is_file(follow_symlinks=False):
                        entries.append((start + entry.name, entry))
                    elif entry.is_dir(follow_symlinks=False) or entry.is_symlink():
                        entries.append((f"{start}{entry.name}/", entry))
        except OSError as error:
            self._gone(error, start)
            return []
        entries.sort(key=_NAME_OF)
        return entries
