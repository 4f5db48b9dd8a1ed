"""Every failure Holdfast can name: one tree, in which the class is the kind and the attributes are the facts.

Messages are lowercase, say which thing, expected and actual, and carry no full stop. `hint` is one
imperative line: what the operator does next. `exit_code` is what the process returns; 1 is kept for bugs.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

EXIT_FINE = 0
EXIT_BUG = 1
EXIT_USAGE = 2
EXIT_PARTIAL = 3
EXIT_DAMAGED = 4
EXIT_REFUSED = 5
EXIT_UNREACHABLE = 6
EXIT_LOCKED_OUT = 7
EXIT_INTERRUPTED = 130


class HoldfastError(Exception):
    """The root of the tree; never raised itself."""

    exit_code: ClassVar[int] = EXIT_BUG

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(HoldfastError):
    """A setting or an argument makes no sense; nothing was attempted."""

    exit_code = EXIT_USAGE


class DamagedError(HoldfastError):
    """Stored bytes are not what was written: truncated, altered, missing, swapped.

    `object_name` is the name in the repository.
    """

    exit_code = EXIT_DAMAGED

    def __init__(self, message: str, *, object_name: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint or "run holdfast verify --all --level 3")
        self.object_name = object_name


class RefusedError(HoldfastError):
    """Holdfast could go on but would risk data or break a promise, so it does not."""

    exit_code = EXIT_REFUSED


class FencedError(RefusedError):
    """This run was declared dead by another one while it slept; it cannot commit any more."""


class SteppedAsideError(RefusedError):
    """Another run is at work on the same thing, so this one did nothing. `snapshot` is what that one writes."""

    def __init__(self, message: str, *, snapshot: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.snapshot = snapshot


class OutOfTimeError(RefusedError):
    """The run took longer than it was given, and stopped; nothing was committed, what it stored is reusable."""


class UnreachableError(HoldfastError):
    """A server, a storage or a client tool cannot be reached or used, or rights are lacking."""

    exit_code = EXIT_UNREACHABLE


class LackingRightsError(UnreachableError):
    """The role or the credentials may not do what is needed. `hint` holds the statement that mends it."""


class LockedObjectError(LackingRightsError):
    """An object is kept by a lock: nobody can delete it before `until` (aware; None when that is not known).

    For whoever cleans up, this means "later".
    """

    def __init__(self, object_name: str, *, until: datetime | None) -> None:
        date = "" if until is None else f" until {until:%Y-%m-%d %H:%M} UTC"
        super().__init__(f"object {object_name} is locked{date}", hint="delete it when its lock has ended")
        self.object_name = object_name
        self.until = until


class StorageFullError(UnreachableError):
    """The storage has no room left."""


class StorageUnusableError(UnreachableError):
    """The storage answers, but will never do what is asked: no such bucket or folder, a feature it lacks."""


class TableBusyError(UnreachableError):
    """A table could not be locked in time: another session holds or awaits a lock that excludes ours."""


class SourceLostError(UnreachableError):
    """The connection that holds the snapshot's locks died; what was stored so far is reusable."""


class RestoreFailedError(UnreachableError):
    """The target's server did not take a definition or rows; the target stays marked as incomplete."""


class LockedOutError(HoldfastError):
    """No key at hand opens this repository."""

    exit_code = EXIT_LOCKED_OUT


class InterruptedRunError(HoldfastError):
    """The operator asked to stop (Ctrl-C, SIGTERM)."""

    exit_code = EXIT_INTERRUPTED


class ObjectMissingError(HoldfastError):
    """A storage has no object of this name. The repository turns it into `DamagedError` where one is due."""

    exit_code = EXIT_DAMAGED

    def __init__(self, object_name: str) -> None:
        super().__init__(f"object {object_name} is missing")
        self.object_name = object_name


class ObjectExistsError(HoldfastError):
    """A create-once write lost: an object of this name is already there."""

    exit_code = EXIT_REFUSED

    def __init__(self, object_name: str) -> None:
        super().__init__(f"object {object_name} already exists")
        self.object_name = object_name
