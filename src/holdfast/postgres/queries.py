"""The named queries of the .sql files: queries.sql for sources, target.sql for targets.

A query begins with a line `-- name: …`; the comment lines after it say what it is for. Where something
exists only in some versions of the server, its line ends with `-- since N`, `-- until M` or both (major versions,
inclusive) and is left out elsewhere.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files

FILES = ("queries.sql", "target.sql")

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_VERSIONED = re.compile(r"^(?P<sql>.*?)(?:\s*-- since (?P<since>\d+))?(?:\s*-- until (?P<until>\d+))?$")


@lru_cache(maxsize=256)
def query(name: str, server_version: int) -> str:
    """The query as a server of `server_version` (server_version_num) understands it."""
    major = server_version // 10_000
    lines = []
    for line in _texts()[name].splitlines():
        found = _VERSIONED.match(line)
        if found is None or line.lstrip().startswith("--"):
            continue
        if int(found["since"] or 0) <= major <= int(found["until"] or 1_000):
            lines.append(found["sql"])
    return "\n".join(lines).strip()


@lru_cache(maxsize=1)
def _texts() -> dict[str, str]:
    found: dict[str, str] = {}
    for file in FILES:
        text = files("holdfast.postgres").joinpath(file).read_text(encoding="utf-8")
        parts = _NAME.split(text)
        found.update(zip(parts[1::2], parts[2::2], strict=True))
    return found
