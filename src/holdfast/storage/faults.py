"""What the operating system says, in Holdfast's words."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

from holdfast.domain.errors import (
    LackingRightsError,
    StorageFullError,
    StorageUnusableError,
    UnreachableError,
)

_FULL: Mapping[int, tuple[str, str]] = {
    errno.ENOSPC: (
        "the file system has no room left",
        "free some space, or prune old snapshots elsewhere first",
    ),
    errno.EDQUOT: ("the quota is used up", "raise the quota of the user who runs holdfast"),
    errno.EFBIG: ("the file would be larger than allowed", "raise the file size limit (ulimit -f)"),
}
_RIGHTS = {errno.EACCES, errno.EPERM, errno.EROFS}
_CLASH = {errno.ENOTDIR, errno.EISDIR, errno.ELOOP}
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}


def translate_os_error(error: OSError, doing: str, path: str) -> UnreachableError:
    """The error to raise from `error`, which came up while `doing` something ("write") with `path`."""
    code = error.errno or 0
    said = os.strerror(code) if code else str(error)
    if code in _FULL:
        why, hint = _FULL[code]
        return StorageFullError(f"cannot {doing} {path}: {why}", hint=hint)
    if code in _RIGHTS:
        mend = (
            f"let the user with id {os.geteuid()} {doing} there: chown, chmod, or remount the disk read-write"
        )
        return LackingRightsError(f"cannot {doing} {path}: {said.lower()}", hint=mend)
    if code in _CLASH:
        return StorageUnusableError(
            f"cannot {doing} {path}: a file stands where a folder is needed, or a folder where a file is",
            hint="look who else writes into the repository's folder",
        )
    return UnreachableError(
        f"cannot {doing} {path}: {said.lower()}",
        hint="check the disk or the network share that holds the path",
    )


def is_lack_of_links(error: OSError) -> bool:
    """Whether `link()` failed because this file system has no hard links (link(2): EPERM says so, too)."""
    return error.errno in _NO_LINKS
