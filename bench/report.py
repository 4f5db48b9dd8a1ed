"""What was measured, as a JSON document; and from that document alone, a table for the terminal and a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.figures import GIGABYTE, MEGABYTE, Figure, Series, Verdict
from bench.measure import Measured
from bench.trials import Runs

Document = dict[str, Any]

PAGE_COLUMNS = 150

_STYLES = {Verdict.AIM_MET: "green", Verdict.MUST_MET: "yellow", Verdict.MISSED: "bold red"}

_PAGE = """\
# Figures

Measured by `make bench`, which runs Holdfast and its peers in turns and writes this page with `--write`. Times are
medians of all runs and include the start of the program; memory is that of the worst run.

![Medians of all runs](figures.svg)

{figures}

## All contenders

{contenders}

"Processor" is the client's time on all processors in seconds, "server's" that of the server for it. Memory is the
client's.

## Conditions

{conditions}
- Before each run the server made a checkpoint, and everything was flushed to the disk.
- Each backup of Holdfast went into a new repository in a local folder: compressed, encrypted, identified, opened
  again before it was stored, and flushed. `gzip` flushes nothing; `pg_dump -Fd` does.
- After each restore the target's tables, indexes, constraints, policies and rows were counted and compared with
  the source's. `pg_restore` reads the dump of `pg_dump -Fd -j2 -Z1`, and for the tiny tables that of
  `pg_dump -Fd -j2`; its database was created before its time began, Holdfast creates its own within it.
- `COPY alone` is two `psql` that copy the same rows to nowhere, at the same time: about what the server needs,
  and psql to take it.
- MB and GB are powers of ten.
"""


def make_document(
    *, facts: Mapping[str, Any], figures: Sequence[Figure], results: Mapping[str, Runs]
) -> Document:
    """`facts`: everything about when, where and on what it was measured."""
    return {
        "format": 1,
        **facts,
        "figures": [_figure(figure) for figure in figures],
        "trials": {
            trial: {contender: [_run(run) for run in measured] for contender, measured in runs.items()}
            for trial, runs in results.items()
        },
    }


def encode(document: Document) -> str:
    return json.dumps(document, indent=2) + "\n"


def missed(document: Document) -> list[str]:
    return [figure["name"] for figure in document["figures"] if figure["verdict"] == Verdict.MISSED]


def show(document: Document) -> None:
    """The figures on standard output, and after them what they were measured on."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=PAGE_COLUMNS)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("figure", "holdfast", "peer"):
        table.add_column(column)
    for column in ("measured", "must", "aim"):
        table.add_column(column, justify="right")
    table.add_column("verdict", no_wrap=True)
    for figure in document["figures"]:
        style = _STYLES[Verdict(figure["verdict"])]
        verdict = f"[{style}]{figure['verdict']}[/]"
        table.add_row(*_cells(figure)[:-1], verdict)
    console.print(table)
    console.print()
    for figure in document["figures"]:
        if figure["note"]:
            console.print(f"{figure['title']}: {figure['note']}", highlight=False, markup=False)
    for line in _conditions(document):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def make_page(document: Document) -> str:
    """The Markdown page with the picture beside it."""
    figures = _markdown_table(
        ("figure", "holdfast", "peer", "measured", "must", "aim", "verdict"),
        [_cells(figure) for figure in document["figures"]],
    )
    contenders = _markdown_table(
        ("trial", "contender", "seconds (all runs)", "processor", "server's", "memory", "written"),
        _contenders(document),
    )
    notes = [f"{figure['title']}: {figure['note']}" for figure in document["figures"] if figure["note"]]
    conditions = "\n".join(f"- {line}" for line in (*_conditions(document), *notes))
    return _PAGE.format(figures=figures, contenders=contenders, conditions=conditions)


def _figure(figure: Figure) -> Document:
    return {
        "name": figure.name,
        "title": figure.title,
        "trial": figure.trial,
        "verdict": figure.verdict.value,
        "value": round(figure.value, 4),
        "unit": figure.unit,
        "ratio": None if figure.peer is None else round(figure.value, 4),
        "must": figure.goal.must,
        "aim": figure.goal.aim,
        "at_least": figure.goal.at_least,
        "holdfast": _series(figure.ours),
        "peer": None if figure.peer is None else _series(figure.peer),
        "note": figure.note,
    }


def _series(series: Series) -> Document:
    return {
        "contender": series.contender,
        "unit": series.unit,
        "values": [round(value, 4) for value in series.values],
        "median": round(median(series.values), 4),
        "judged_by": series.statistic,
    }


def _run(run: Measured) -> Document:
    return {
        "seconds": round(run.seconds, 4),
        "cpu_seconds": round(run.cpu_seconds, 3),
        "server_seconds": round(run.server_seconds, 3),
        "client_bytes": run.client_bytes,
        "tool_bytes": run.tool_bytes,
        "output_bytes": run.output_bytes,
    }


def _cells(figure: Document) -> tuple[str, ...]:
    sign = "≥" if figure["at_least"] else "≤"
    peer = figure["peer"]
    return (
        figure["title"],
        _amount(figure["holdfast"]),
        "" if peer is None else _amount(peer),
        f"{_number(figure['value'])} {figure['unit']}",
        f"{sign} {figure['must']:g}",
        f"{sign} {figure['aim']:g}",
        figure["verdict"],
    )


def _amount(series: Document) -> str:
    value = max(series["values"]) if series["judged_by"] == "max" else series["median"]
    return f"{value / MEGABYTE:.1f} MB" if series["unit"] == "bytes" else f"{_number(value)} {series['unit']}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"


def _contenders(document: Document) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for trial, contenders in document["trials"].items():
        for contender, runs in contenders.items():
            seconds = ", ".join(_number(run["seconds"]) for run in runs)
            processor = _number(median(run["cpu_seconds"] for run in runs))
            memory = f"{max(run['client_bytes'] for run in runs) / MEGABYTE:.0f} MB"
            written = median(run["output_bytes"] for run in runs)
            size = f"{written / MEGABYTE:.1f} MB" if written else ""
            server = _number(median(run["server_seconds"] for run in runs))
            rows.append((trial, f"`{contender}`", seconds, processor, server, memory, size))
    return rows


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _conditions(document: Document) -> list[str]:
    machine, server = document["machine"], document["server"]
    cores = f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gb']} GB of memory"
    tools = f"its own pg_dump and pg_restore, and {document['gzip']}"
    lines = [
        f"{document['taken_at']}, {document['runs']} runs each, {document['holdfast']}",
        f"{cores}, {machine['file_system']}, {machine['system']}, Python {machine['python']}",
        f"load before the start: {machine['load_before']}",
        f"PostgreSQL {server['version']} on the same machine, with {tools}",
        ", ".join(f"{name} = {value}" for name, value in sorted(server["settings"].items())),
    ]
    for name, data in document["data"].items():
        size = _size(data["row_bytes"])
        lines.append(f"database {name}: {data['recipe']}; {data['rows']:,} rows, {size} of COPY text")
    if not document["standard"]:
        lines.append("NOT the standard data: these figures show that the benchmark works, and no more")
    return lines


def _size(size_bytes: int) -> str:
    if size_bytes >= GIGABYTE / 10:
        return f"{size_bytes / GIGABYTE:.2f} GB"
    return f"{size_bytes / MEGABYTE:.1f} MB"
