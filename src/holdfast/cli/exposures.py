"""What the keys of each epoch open, as it is shown and as JSON has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from holdfast.cli.words import counted, iso, moment, number, size
from holdfast.repository.checking.exposure import Exposures
from holdfast.workflows.key_slots import KeyEpoch


def exposure_text(exposures: Exposures, epochs: Sequence[KeyEpoch]) -> Iterator[RenderableType]:
    """A line for each epoch, newest last, and when it ends."""
    yield Text("")
    titles = (
        "EPOCH",
        "BEGAN AT (UTC)",
        "BY",
        ">SNAPSHOTS",
        ">PARTS OF NEWER",
        ">SIZE",
        "NEWEST TAKEN AT (UTC)",
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in titles:
        table.add_column(title.lstrip(">"), justify="right" if title.startswith(">") else "left")
    facts = {epoch.epoch: epoch for epoch in epochs}
    for item in exposures.epochs:
        fact = facts.get(item.epoch)
        began = fact.began_at if fact else None
        table.add_row(
            str(item.epoch),
            "-" if began is None else moment(began)[:16],
            fact.reason if fact else "?",
            number(len(item.whole)),
            number(len(item.parts)),
            size(item.size_bytes),
            "-" if item.taken_at is None else moment(item.taken_at)[:16],
        )
    yield table
    yield Text("")
    yield Text(
        "A lost key opens what its epochs' keys open, in copies of the storage, too. Here that ends when those"
    )
    yield Text(
        "snapshots were removed (holdfast prune) and collected, after the grace time and locks on objects."
    )
    if exposures.problems:
        count = counted(len(exposures.problems), "object")
        yield Text(f"  {count} could not be looked at: run holdfast verify --all", style="bold red")


def exposure_document(exposures: Exposures) -> list[dict[str, Any]]:
    return [
        {
            "epoch": item.epoch,
            "snapshots": list(item.whole),
            "parts_of": list(item.parts),
            "objects": item.objects,
            "bytes": item.size_bytes,
            "newest_taken_at": None if item.taken_at is None else iso(item.taken_at),
        }
        for item in exposures.epochs
    ]
