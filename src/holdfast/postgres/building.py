"""Indexes, constraints and foreign keys as statements that workers run, each in the place the archive gave it.

Invariant: a statement is run in the same session state in which pg_restore would run it (empty search path, the
entry's tablespace), and when one fails, the error names the entry and the statement.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.domain.errors import HoldfastError, RestoreFailedError
from holdfast.postgres.archive import Archive, Entry
from holdfast.postgres.failures import sqlstate_of
from holdfast.postgres.loading import Worker
from holdfast.postgres.names import quote

_DEADLOCK = "40P01"
_TRIES = 4
_SHOWN_CHARACTERS = 400
_METHOD = re.compile(r"\bUSING\s+(\w+)\s*\(", re.IGNORECASE)

# Seconds of building for each second of loading the table's rows: enough to tell long from short.
_WEIGHTS = {"gin": 2.5, "gist": 1.5, "spgist": 1.0, "hnsw": 6.0, "ivfflat": 3.0, "brin": 0.1, "hash": 0.3}
_BTREE_WEIGHT = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """Runs entries' definitions. `tablespaces`: whether the archive's are on this server."""

    archive: Archive
    tablespaces: bool

    def build(self, worker: Worker, entries: Sequence[Entry]) -> None:
        """All entries in one transaction; if that fails, one by one, so that the one at fault is named."""
        if len(entries) > 1:
            try:
                worker.run(self.script(entries), doing="building indexes")
            except HoldfastError as error:
                if not is_refusal(error):
                    raise
            else:
                return
        for entry in entries:
            self._build_one(worker, entry)

    def script(self, entries: Sequence[Entry]) -> str:
        """The statements, to be sent as one: the server makes one transaction of it."""
        lines: list[str] = []
        current: str | None = None
        for entry in entries:
            place = entry.tablespace if self.tablespaces else None
            if place is not None and place != current:
                lines.append(f"SET default_tablespace = {quote(place) if place else chr(39) * 2};")
                current = place
            lines.append(entry.definition)
        return "\n".join(lines)

    def _build_one(self, worker: Worker, entry: Entry) -> None:
        for attempt in range(1, _TRIES + 1):
            try:
                worker.run(self.script([entry]), doing=f"building {entry.title}")
            except HoldfastError as error:
                if attempt < _TRIES and sqlstate_of(error.__cause__ or error) == _DEADLOCK:
                    time.sleep(0.1 * attempt)
                    continue
                if not is_refusal(error):
                    raise
                raise RestoreFailedError(
                    f"{error.message}; the statement was: {shorten(entry.definition)}",
                    hint=error.hint or "mend what the server complains about, then restore with --replace",
                ) from error
            return


def weight(entry: Entry) -> float:
    """How long the build takes, as a share of the time that loading the table's rows took."""
    if entry.kind == "INDEX ATTACH":
        return 0.0
    method = _METHOD.search(entry.definition)
    return _WEIGHTS.get(method[1].lower(), _BTREE_WEIGHT) if method else _BTREE_WEIGHT


def in_two_steps(entry: Entry) -> tuple[str, str] | None:
    """A foreign key as ADD … NOT VALID and VALIDATE: the second step lets other sessions check other keys of the
    same tables. None where the entry's text is not exactly what pg_dump writes, or must not be split.
    """
    found = re.fullmatch(
        r'(?P<table>ALTER TABLE ONLY (?:[\w$]+|"(?:[^"]|"")+")\.(?:[\w$]+|"(?:[^"]|"")+"))\n'
        r'    ADD CONSTRAINT (?P<name>[\w$]+|"(?:[^"]|"")+") (?P<rest>FOREIGN KEY .*);\n',
        entry.definition,
        re.DOTALL,
    )
    if found is None or re.search(r"\bNOT (VALID|ENFORCED)\b", found["rest"]):
        return None
    added = f"{found['table']}\n    ADD CONSTRAINT {found['name']} {found['rest']} NOT VALID;\n"
    return added, f"{found['table']} VALIDATE CONSTRAINT {found['name']};\n"


def shorten(statement: str) -> str:
    text = " ".join(statement.split())
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]} …"


def is_refusal(error: HoldfastError) -> bool:
    """Whether the server refused the statement, rather than the connection or the run being at an end."""
    state = sqlstate_of(error.__cause__ or error)
    return bool(state) and not state.startswith(("57", "08"))
