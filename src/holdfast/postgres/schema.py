"""Definitions out of a source: one pg_dump archive, under the same snapshot as the rows, while they are read.

Invariant: whatever pg_dump said that was not understood reaches the operator, and a table whose definition could
not be captured is never passed over in silence (the source's coverage names it).
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from holdfast.domain.coverage import CoverageEntry, CoverageStatus
from holdfast.domain.errors import (
    HoldfastError,
    InterruptedRunError,
    LackingRightsError,
    SourceLostError,
    TableBusyError,
    UnreachableError,
)
from holdfast.domain.tables import QualifiedName
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.names import qualified
from holdfast.postgres.tools import Tool

_POLL_SECONDS = 0.1
_END_SECONDS = 5.0
_MAGIC = b"PGDMP"
_PREFIX = re.compile(r"^pg_dump: ")

# What the coverage says already, in better words.
_KNOWN_WARNINGS = re.compile(r"warning: subscriptions not dumped because current user is not a superuser")

_FAILURES: tuple[tuple[str, type[HoldfastError], str], ...] = (
    (
        r"permission denied",
        LackingRightsError,
        "run holdfast doctor: it names the statement that grants the right",
    ),
    (
        r"lock timeout|statement timeout|could not obtain lock",
        TableBusyError,
        "run it again when no migration runs",
    ),
    (
        r"out of shared memory",
        UnreachableError,
        "raise max_locks_per_transaction on the server, or leave schemas out",
    ),
    (
        r"invalid snapshot identifier|snapshot .* does not exist|could not import.*snapshot",
        SourceLostError,
        "run it again",
    ),
    (
        r"server closed the connection|terminating connection|connection to server .* failed",
        SourceLostError,
        "run it again",
    ),
    (r"server version mismatch", UnreachableError, "install a pg_dump at least as new as the server"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    """One custom-format archive. `coverage` says that it was captured; gaps are the source's to name."""

    archive: bytes
    tool_version: str
    warnings: tuple[str, ...]
    coverage: tuple[CoverageEntry, ...]


def dump_definitions(
    address: ServerAddress,
    *,
    exported: str,
    tool: Tool,
    lock_timeout_seconds: float,
    undefinable: Sequence[QualifiedName] = (),
    stop: threading.Event | None = None,
    application_name: str = "holdfast/definitions",
) -> Definitions:
    """Everything but rows, as the snapshot `exported` shows it; blocks until it is there.

    pg_dump locks every table it describes, so those that the role may not read (`undefinable`) are left out: it
    would fail at the first. Raises what pg_dump's own words mean, and `InterruptedRunError` once `stop` is set.
    """
    conninfo, environment = address.with_options(application_name=application_name).environment()
    command = [
        str(tool.path),
        "--format=custom",
        "--schema-only",
        "--compress=0",
        "--no-sync",
        "--no-password",
        f"--snapshot={exported}",
        f"--lock-wait-timeout={max(int(lock_timeout_seconds * 1000), 1)}",
        *(f"--exclude-table={qualified(name)}" for name in undefinable),
        f"--dbname={conninfo}",
    ]
    with tempfile.TemporaryFile() as archive, tempfile.TemporaryFile() as said:
        code = _run(command, environment, archive, said, stop)
        said.seek(0)
        lines = address.scrub(said.read().decode(errors="replace")).splitlines()
        if code != 0:
            raise _failure(tool, code, lines)
        archive.seek(0)
        content = archive.read()
    if not content.startswith(_MAGIC):
        raise UnreachableError(f"{tool.path} ended well, but wrote no archive", hint="run it by hand")
    entry = CoverageEntry(
        kind="definitions",
        name=address.database,
        status=CoverageStatus.CAPTURED,
        reason=f"by pg_dump {tool.version}",
    )
    return Definitions(
        archive=content,
        tool_version=str(tool.version),
        warnings=_warnings(lines),
        coverage=(entry,),
    )


def _run(
    command: Sequence[str],
    environment: Mapping[str, str],
    archive: IO[bytes],
    said: IO[bytes],
    stop: threading.Event | None,
) -> int:
    """Its exit code. It ends with us, however we end."""
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=archive,
            stderr=said,
            start_new_session=True,  # Ctrl-C is the owner's to handle
        )
    except OSError as error:
        raise UnreachableError(f"{command[0]} cannot be started: {error}") from error
    try:
        while True:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(_POLL_SECONDS)
            if stop is not None and stop.is_set():
                raise InterruptedRunError("stopped on request while reading definitions")
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _failure(tool: Tool, code: int, lines: Sequence[str]) -> HoldfastError:
    said = "; ".join(_PREFIX.sub("", line).strip() for line in lines if line.strip()) or "it said nothing"
    message = f"pg_dump {tool.version} failed with code {code}: {said}"
    for pattern, kind, hint in _FAILURES:
        if re.search(pattern, said, flags=re.DOTALL):
            return kind(message, hint=hint)
    return UnreachableError(message, hint=f"run {tool.path} --schema-only by hand and see the server's log")


def _warnings(lines: Sequence[str]) -> tuple[str, ...]:
    """Everything it said although it succeeded; continuation lines are joined to what they continue."""
    warnings: list[str] = []
    for line in lines:
        if not line.strip() or _KNOWN_WARNINGS.search(line):
            continue
        if warnings and not _PREFIX.match(line):
            warnings[-1] += f" {line.strip()}"
        else:
            warnings.append(f"pg_dump: {_PREFIX.sub('', line).strip()}")
    return tuple(warnings)
