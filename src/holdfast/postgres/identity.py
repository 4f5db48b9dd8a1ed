"""Which user runs a scratch server when we are root, and what that user must be able to read.

initdb and postgres refuse to run as root. Invariant: no permission of a folder that is not ours is changed; what
cannot be reached is copied or refused.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from holdfast.domain.errors import RefusedError, UnreachableError
from holdfast.postgres.tools import Toolset


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """An unprivileged user to become."""

    uid: int
    gid: int
    name: str


def unprivileged_identity() -> Identity | None:
    """None if we are an ordinary user already; otherwise who to be.

    `nobody` before `postgres`: restoring runs functions that strangers wrote, as the scratch server's superuser,
    and on a database host user postgres owns the real thing. It must have an entry in the user database, or
    initdb refuses.
    """
    if os.geteuid() != 0:
        return None
    entries = {entry.pw_name: entry for entry in reversed(pwd.getpwall()) if entry.pw_uid != 0}
    for name in ("nobody", "postgres", *sorted(entries)):
        if name in entries:
            return Identity(uid=entries[name].pw_uid, gid=entries[name].pw_gid, name=name)
    raise UnreachableError(
        "a PostgreSQL server cannot run as root, and there is no other user on this machine",
        hint="create one: useradd --system postgres",
    )


def may_enter(folder: Path, identity: Identity) -> bool:
    """Whether the user may pass through `folder` and all above it, by their mode bits."""
    for place in (folder, *folder.parents):
        status = place.stat()
        if status.st_uid == identity.uid:
            needed = stat.S_IXUSR
        elif status.st_gid == identity.gid:
            needed = stat.S_IXGRP
        else:
            needed = stat.S_IXOTH
        if not status.st_mode & needed:
            return False
    return True


def hand_over(folder: Path, identity: Identity) -> None:
    """Give a folder and all in it to the user, unless it is theirs already. Links are not followed."""
    status = folder.stat()
    if status.st_uid == identity.uid and status.st_gid == identity.gid:
        return
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(root, name), identity.uid, identity.gid, follow_symlinks=False)
    os.chown(folder, identity.uid, identity.gid)


def readable_copy(toolset: Toolset, folder: Path, identity: Identity | None) -> Path:
    """The bin folder of a toolset as the user can run it: the toolset's own, or that of a copy in `folder`.

    A wheel in a virtual environment below /root, say, is out of an ordinary user's reach; such a tree can be
    moved as a whole, together with the wheel's own libraries beside it.
    """
    if identity is None or _may_run(toolset.path("postgres"), identity):
        return toolset.bindir
    prefix = toolset.bindir.parent
    if not any((prefix / share / "postgres.bki").is_file() for share in ("share", "share/postgresql")):
        raise RefusedError(
            f"{toolset} cannot be run by user {identity.name}, and is not a tree that can be copied",
            hint=f"let everyone read and enter {prefix}, or run as an ordinary user",
        )
    copy = folder / prefix.parent.name / prefix.name
    libraries = prefix.parent.with_name(f"{prefix.parent.name}.libs")
    if not copy.exists():
        _copy_for_all(prefix, copy)
        if libraries.is_dir():
            _copy_for_all(libraries, folder / libraries.name)
        for place in (folder, copy.parent):
            place.chmod(0o755)
    if not _may_run(copy / "bin" / "postgres", identity):
        raise RefusedError(
            f"{toolset} cannot be run by user {identity.name}, not even a copy in {folder}",
            hint="choose a folder on a file system mounted without noexec",
        )
    return copy / "bin"


def _copy_for_all(source: Path, target: Path) -> None:
    def copy(here: str, there: str) -> None:
        shutil.copyfile(here, there)
        os.chmod(there, 0o755 if os.stat(here).st_mode & stat.S_IXUSR else 0o644)

    shutil.copytree(source, target, copy_function=copy)
    for root, _, _ in os.walk(target):
        os.chmod(root, 0o755)  # noqa: S103  (published programs, nothing of ours)


def _may_run(program: Path, identity: Identity) -> bool:
    """Ask the truth: run it as that user. Mode bits say nothing of noexec, ACLs or missing libraries."""
    try:
        done = subprocess.run(
            [program, "--version"],
            user=identity.uid,
            group=identity.gid,
            extra_groups=[],
            cwd="/",
            env={"LC_ALL": "C"},
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0
