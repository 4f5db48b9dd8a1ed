"""Definitions in: pg_restore straight into the target, entry by entry as told, with every complaint accounted for.

Invariant: pg_restore counts as successful only if it said so, or if all that it complained about is the one
statement that no older server can know: pg_restore 17 and later begin with SET transaction_timeout, and servers
before 17 refuse it. Then, and only then, it runs without --exit-on-error, and its count of errors must be one.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.domain.errors import (
    HoldfastError,
    InterruptedRunError,
    LackingRightsError,
    RestoreFailedError,
    UnreachableError,
)
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.archive import Entry, use_list
from holdfast.postgres.connection import connect
from holdfast.postgres.target_connection import APPLICATION_NAME
from holdfast.postgres.tools import Tool

TIMEOUT_SINCE_MAJOR = 17
ENTRIES_PER_TRANSACTION = 200
SHOWN_CHARACTERS = 600
QUICK_COMMIT = "-c synchronous_commit=off"

_POLL_SECONDS = 0.1
_EXPECTED = 'unrecognized configuration parameter "transaction_timeout"'
_EXPECTED_COMMAND = "SET transaction_timeout = 0;"
_COUNT = re.compile(r"^pg_restore: warning: errors ignored on restore: (\d+)$", re.MULTILINE)
_ERROR = re.compile(r"^pg_restore: error: (.*(?:\n(?!pg_restore: |Command was: ).*)*)", re.MULTILINE)
_COMMAND = re.compile(r"^Command was: (.*(?:\n(?!pg_restore: ).*)*)", re.MULTILINE)
_WARNING = re.compile(r"^pg_restore: (?:warning: |WARNING: +)(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """One error of pg_restore: what the server said, and of which statement."""

    said: str
    command: str

    @property
    def is_expected(self) -> bool:
        return self.said.endswith(_EXPECTED) and self.command == _EXPECTED_COMMAND


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionWriter:
    """Runs pg_restore on one archive for one target. `tablespaces`: whether the archive's are there."""

    tool: Tool
    address: ServerAddress
    archive: Path
    server_version: int
    owner: bool
    acl: bool
    tablespaces: bool

    @property
    def _expects_complaint(self) -> bool:
        return (
            self.tool.version.major >= TIMEOUT_SINCE_MAJOR
            and self.server_version // 10_000 < TIMEOUT_SINCE_MAJOR
        )

    def restore(self, entries: Sequence[Entry], *, doing: str, stop: threading.Event) -> tuple[str, ...]:
        """Restore just these entries, in pg_restore's order; return its warnings.

        Raises `RestoreFailedError` with the entry, the server's words and the statement.
        """
        if not entries:
            return ()
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".list") as listing:
            listing.write(use_list(entries))
            listing.flush()
            code, said = self._run(self._command(Path(listing.name)), stop)
        return self._judge(code, said, entries, doing=doing)

    def _command(self, listing: Path) -> list[str]:
        conninfo, _ = self.address.environment()
        command = [
            str(self.tool.path),
            f"--dbname={conninfo}",
            f"--use-list={listing}",
            "--no-password",
        ]
        if not self.owner:
            command.append("--no-owner")
        if not self.acl:
            command.append("--no-acl")
        if not self.tablespaces:
            command.append("--no-tablespaces")
        if not self._expects_complaint:
            command.append("--exit-on-error")
            if self.tool.version.major >= TIMEOUT_SINCE_MAJOR:
                command.append(f"--transaction-size={ENTRIES_PER_TRANSACTION}")
        return [*command, str(self.archive)]

    def _run(self, command: list[str], stop: threading.Event) -> tuple[int, str]:
        _, environment = self.address.environment()
        if self._takes_options():
            # The restore's last transaction flushes all of this; waiting for each statement would only cost time.
            environment["PGOPTIONS"] = QUICK_COMMIT
        with (
            tempfile.TemporaryFile() as words,
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=words,
                env=environment,
            ) as process,
        ):
            try:
                while True:
                    try:
                        code = process.wait(_POLL_SECONDS)
                        break
                    except subprocess.TimeoutExpired:
                        if stop.is_set():
                            raise InterruptedRunError("stopped on request") from None
            except BaseException:
                process.terminate()
                raise
            words.seek(0)
            return code, self.address.scrub(words.read().decode("utf-8", "replace"))

    def _takes_options(self) -> bool:
        """Some poolers refuse options in the start-up message; and the address's own would be overridden."""
        if self.address.get("options"):
            return False
        try:
            connect(
                self.address.with_options(options=QUICK_COMMIT),
                application_name=APPLICATION_NAME,
                purpose="target",
            ).close()
        except UnreachableError:
            return False
        return True

    def _judge(self, code: int, said: str, entries: Sequence[Entry], *, doing: str) -> tuple[str, ...]:
        found = complaints(said)
        warnings = tuple(
            f"{doing}: {text}" for text in _WARNING.findall(said) if not text.startswith("errors ignored")
        )
        if code == 0 and not found:
            return warnings
        counted = _COUNT.search(said)
        if (
            self._expects_complaint
            and [complaint.is_expected for complaint in found] == [True]
            and counted is not None
            and int(counted[1]) == 1
        ):
            return warnings
        unexpected = [complaint for complaint in found if not complaint.is_expected]
        raise _failure(unexpected, said, entries, doing=doing)


def complaints(said: str) -> list[Complaint]:
    """The errors in what pg_restore wrote, in order."""
    found: list[Complaint] = []
    for error in _ERROR.finditer(said):
        following = _ERROR.search(said, error.end())
        end = following.start() if following else len(said)
        command = _COMMAND.search(said, error.end(), end)
        found.append(
            Complaint(
                said=error[1].strip(),
                command=command[1].strip() if command else "",
            )
        )
    return found


def _failure(found: Sequence[Complaint], said: str, entries: Iterable[Entry], *, doing: str) -> HoldfastError:
    if not found:
        return RestoreFailedError(f"{doing} failed: pg_restore said {said.strip() or 'nothing'!r}")
    first = found[0]
    words = " ".join(first.said.removeprefix("could not execute query: ").split())
    words = words.removeprefix("ERROR: ").strip()
    at = next((entry.title for entry in entries if _is_of(entry, first.command)), None)
    statement = " ".join(first.command.split())
    if len(statement) > SHOWN_CHARACTERS:
        statement = f"{statement[:SHOWN_CHARACTERS]} …"
    message = f"{doing} failed{f' at {at}' if at else ''}: {words}"
    if statement:
        message += f"; the statement was: {statement}"
    if "permission denied" in words or "must be " in words:
        return LackingRightsError(
            message, hint="restore as a role with more rights, or with --no-owner and --no-acl"
        )
    missing = re.search(r'extension "([^"]+)" is not available|could not open extension control file', words)
    if missing:
        return RestoreFailedError(
            message, hint=f"install the extension {missing[1] or ''} on the target's host".strip()
        )
    return RestoreFailedError(
        message, hint="mend what the server complains about, then restore with --replace"
    )


def _is_of(entry: Entry, command: str) -> bool:
    return bool(command) and entry.definition.strip() == command
