"""Being a good neighbour: how fast a run may talk to the repository, and how much of the processor it takes."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import typer

from holdfast.cli.invocation import current
from holdfast.domain.errors import UsageError
from holdfast.domain.rates import parse_rate

NICE_WITHOUT_TERMINAL = 10


def limit_rate(context: typer.Context, text: str | None) -> str | None:
    """What `--max-rate` says, for every repository that this command opens."""
    if text is not None:
        try:
            current(context).max_rate = parse_rate(text)
        except ValueError as error:
            raise UsageError(str(error), hint="give another --max-rate") from error
    return text


def lower_priority(context: typer.Context, wanted: int | None) -> int | None:
    """Only ever lowers the priority, and only of a process that is the program's own."""
    if current(context).own_process:
        step = _default() if wanted is None else wanted
        with suppress(OSError):  # not lowered is no reason not to run
            os.nice(max(0, step - os.nice(0)))
    return wanted


def _default() -> int:
    if configured := os.environ.get("HOLDFAST_NICE"):
        if not configured.isascii() or not configured.isdigit() or int(configured) > 19:
            raise UsageError(
                f"HOLDFAST_NICE is {configured!r}, and should be a number from 0 to 19",
                hint="set it to 0 to leave the priority as it is",
            )
        return int(configured)
    return 0 if sys.stderr is not None and sys.stderr.isatty() else NICE_WITHOUT_TERMINAL
