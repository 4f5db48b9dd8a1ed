"""Changes between snapshots: what a database goes through in the incremental studies (`changes.sql`)."""

from __future__ import annotations

import re
from pathlib import Path

from bench.measure import BenchError
from bench.server import Server

_TEXT = Path(__file__).with_name("changes.sql")
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)

ROWS_OF_APP = 3_700_000
"""Of users, events and orders together, as app.sql makes them."""


def apply(server: Server, database: str, name: str, *, rows: int = 0) -> None:
    """Run the named change. `rows`: how many rows a day changes."""
    pieces = _NAME.split(_TEXT.read_text(encoding="utf-8"))
    scripts = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    if name not in scripts:
        raise BenchError(f"changes.sql has no change named {name}")
    # The seed makes each run of the benchmark change the same rows.
    server.script(database, "SELECT setseed(0.5);" + scripts[name].replace("{rows}", str(rows)))
