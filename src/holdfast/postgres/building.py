"""Indexes, constraints and foreign keys as statements that workers run, each in the place the archive gave it.

Invariant: a statement is run in the same session state in which pg_restore would run it (empty search path, the
entry's tablespace), and when one fails, the error names the entry and the statement.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from holdfast.domain.errors import HoldfastError, RestoreFailedError
from holdfast.postgres.archive import Entry
from holdfast.postgres.failures import sqlstate_of
from holdfast.postgres.loading import Worker
from holdfast.postgres.names import quote

_DEADLOCK = "40P01"
_TRIES = 4
_SHOWN_CHARACTERS = 400
_METHOD = re.compile(r"\bUSING\s+(\w+)\s*\(", re.IGNORECASE)

# Seconds of building for each second of loading the table's rows: enough to tell long from short.
_WEIGHTS = {"gin": 1.2, "gist": 1.5, "spgist": 1.0, "hnsw": 6.0, "ivfflat": 3.0, "brin": 0.1, "hash": 0.3}
_BTREE_WEIGHT = 0.2

# GIN collects its keys in a tree in memory; one that outgrows the processor's caches is slower (measured: 12.2 s
# with 64 MB, 20 s with 512 MB), while a sort for a btree gains from all the memory there is.
GIN_MEMORY_BYTES = 64 * 1024 * 1024

_NAME = r'(?:[\w$]+|"(?:[^"]|"")+")'
_LIST = r'\((?:[\w$]+|"(?:[^"]|"")+"|, )+\)'
_FOREIGN_KEY = re.compile(
    rf"(?P<table>ALTER TABLE ONLY {_NAME}\.{_NAME})\n"
    rf"    ADD CONSTRAINT (?P<name>{_NAME}) (?P<rest>FOREIGN KEY .*);\n",
    re.DOTALL,
)
_UNIQUE = re.compile(
    rf"ALTER TABLE ONLY (?P<table>{_NAME}\.{_NAME})\n"
    rf"    ADD CONSTRAINT (?P<name>{_NAME}) (?P<kind>PRIMARY KEY|UNIQUE)(?P<nulls> NULLS NOT DISTINCT)?"
    rf" (?P<columns>{_LIST})(?P<include> INCLUDE {_LIST})?(?P<options> WITH \([^()]*\))?"
    r"(?P<deferrable>(?: DEFERRABLE)?(?: INITIALLY DEFERRED)?);\n(?P<more>.*)",
    re.DOTALL,
)


@dataclass(slots=True)
class Crowd:
    """How many of a restore's workers are at work. `jobs` bounds the server's processes too: an index is built by
    several at once only while other workers have nothing to do."""

    jobs: int
    server_limit: int
    _busy: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1

    @property
    def idle(self) -> int:
        return max(0, min(self.server_limit, self.jobs - self._busy))


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """Runs entries' definitions. `tablespaces`: whether the archive's are on this server. `memory_bytes` is what
    one build may take."""

    crowd: Crowd
    memory_bytes: int
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
        lines = [f"SET max_parallel_maintenance_workers = {self.crowd.idle};"]
        current: str | None = None
        granted = 0
        for entry in entries:
            place = entry.tablespace if self.tablespaces else None
            if place is not None and place != current:
                lines.append(f"SET default_tablespace = {quote(place) if place else chr(39) * 2};")
                current = place
            memory = min(self.memory_bytes, GIN_MEMORY_BYTES) if method(entry) == "gin" else self.memory_bytes
            if memory != granted:
                lines.append(f"SET maintenance_work_mem = '{memory // 1024}kB';")
                granted = memory
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


def method(entry: Entry) -> str:
    """The access method of an index or of the index behind a constraint."""
    found = _METHOD.search(entry.definition)
    return found[1].lower() if found else "btree"


def weight(entry: Entry) -> float:
    """How long the build takes, as a share of the time that loading the table's rows took."""
    return 0.0 if entry.kind == "INDEX ATTACH" else _WEIGHTS.get(method(entry), _BTREE_WEIGHT)


def foreign_key_steps(entry: Entry) -> tuple[str, str] | None:
    """A foreign key as ADD … NOT VALID and VALIDATE: the second step lets other sessions check other keys of the
    same tables. None where the entry's text is not exactly what pg_dump writes, or must not be split.
    """
    found = _FOREIGN_KEY.fullmatch(entry.definition)
    if found is None or re.search(r"\bNOT (VALID|ENFORCED)\b", found["rest"]):
        return None
    added = f"{found['table']}\n    ADD CONSTRAINT {found['name']} {found['rest']} NOT VALID;\n"
    return added, f"{found['table']} VALIDATE CONSTRAINT {found['name']};\n"


def constraint_steps(entry: Entry) -> tuple[str, str] | None:
    """A primary key or unique constraint as CREATE UNIQUE INDEX, which shares the table with the builds of other
    indexes, and ADD … USING INDEX, which has it alone but for a moment. None where that cannot be done.
    """
    found = _UNIQUE.fullmatch(entry.definition)
    if found is None:
        return None
    create = (
        f"CREATE UNIQUE INDEX {found['name']} ON {found['table']} USING btree {found['columns']}"
        f"{found['include'] or ''}{found['nulls'] or ''}{found['options'] or ''};\n"
    )
    adopt = (
        f"ALTER TABLE ONLY {found['table']}\n    ADD CONSTRAINT {found['name']} {found['kind']} "
        f"USING INDEX {found['name']}{found['deferrable']};\n{found['more']}"
    )
    return create, adopt


def shorten(statement: str) -> str:
    text = " ".join(statement.split())
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]} …"


def is_refusal(error: HoldfastError) -> bool:
    """Whether the server refused the statement, rather than the connection or the run being at an end."""
    state = sqlstate_of(error.__cause__ or error)
    return bool(state) and not state.startswith(("57", "08"))
