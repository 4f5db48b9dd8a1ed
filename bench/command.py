"""The command: prepare the data, run the trials that were chosen, judge, and show and write the result.

Exit code 0: every must is met. 1: one is missed. 2: there is no result.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from bench import data, figures, incremental, picture, pruning, report, trials
from bench.data import Database
from bench.figures import Figure
from bench.machine import machine_facts
from bench.measure import BenchError
from bench.ours import Holdfast, compile_modules, find_command
from bench.peers import Peers
from bench.report import Document
from bench.server import Server, pick_toolset, runs_folder_in, serving, working_folder
from bench.trials import Runs, Site, Trial
from holdfast.domain.errors import HoldfastError

OUT = Path(__file__).parent / "out"
BUSY_LOAD = 0.5
STANDARD, MANY, LARGE = "standard", "many", "large"

# What --only chooses from: the database it takes, and the trials that are run on it.
PARTS: dict[str, tuple[str, tuple[Callable[[Site, str], Trial], ...]]] = {
    "help": ("", (trials.help_trial,)),
    "backup": (STANDARD, (trials.backup_trial,)),
    "restore": (STANDARD, (trials.restore_trial,)),
    "verify": (STANDARD, (trials.verify_trial,)),
    "many": (MANY, (trials.many_backup_trial, trials.many_restore_trial)),
    "large": (LARGE, (trials.large_backup_trial, trials.large_restore_trial)),
    "changes": (STANDARD, ()),
    "month": (STANDARD, ()),
    "prune": ("", ()),
}
# Long ones, run only when asked for.
ASKED_FOR = frozenset({"large", "month"})


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    try:
        document = _measure(options)
    except (BenchError, HoldfastError, psycopg.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    report.show(document)
    _write(document, options.out)
    if options.write is not None:
        _write(document, options.write, page=True)
    if missed := report.missed(document):
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
        return 1
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Measure Holdfast beside pg_dump, pg_restore and gzip, in turns, on a server started for it.",
    )
    add = parser.add_argument
    add(
        "--only",
        metavar="PART,…",
        type=_parts,
        help=f"some of {', '.join(PARTS)}; if left out, all but {' and '.join(sorted(ASKED_FOR))}",
    )
    add("--large", action="store_true", help="also ten times the data, once: 60 GB of disk, half an hour")
    add("--runs", type=_positive, default=3, metavar="N", help="rounds of each trial (3)")
    add("--keep", type=Path, metavar="DIR", help="keep the server's databases here and use them again")
    add("--major", type=int, metavar="N", help="PostgreSQL's major version; the newest at hand if left out")
    add("--jobs", type=_positive, metavar="N", help="Holdfast's connections; its own default if left out")
    add("--holdfast", type=Path, metavar="FILE", help="the command to measure; the one installed here")
    add("--out", type=Path, default=OUT, metavar="DIR", help="where result and picture go (bench/out)")
    add("--write", type=Path, metavar="DIR", help="write figures.md, .json and .svg there, to be committed")
    small = parser.add_argument_group("smaller data, to try the benchmark itself; such figures mean nothing")
    small.add_argument(
        "--scale", type=_positive, default=data.STANDARD_SCALE, metavar="N", help="pgbench's (60)"
    )
    small.add_argument(
        "--rows-divisor", type=_positive, default=1, metavar="N", help="divides app.sql's rows"
    )
    small.add_argument(
        "--tables", type=_positive, default=data.STANDARD_TABLES, metavar="N", help="of the tiny ones (10000)"
    )
    small.add_argument(
        "--snapshots", type=_positive, default=pruning.SNAPSHOTS, metavar="N", help="to be pruned (1000)"
    )
    options = parser.parse_args(arguments)
    options.parts = options.only or [part for part in PARTS if part not in ASKED_FOR]
    if options.large and "large" not in options.parts:
        options.parts.append("large")
    options.standard = (options.scale, options.rows_divisor, options.tables, options.snapshots) == (
        data.STANDARD_SCALE,
        1,
        data.STANDARD_TABLES,
        pruning.SNAPSHOTS,
    )
    if options.write is not None and not options.standard:
        parser.error("--write is for figures of the standard data")
    return options


def _parts(text: str) -> list[str]:
    parts = text.split(",")
    if unknown := [part for part in parts if part not in PARTS]:
        raise argparse.ArgumentTypeError(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return [part for part in PARTS if part in parts]


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1: {text}")
    return number


def _measure(options: argparse.Namespace) -> Document:
    toolset = pick_toolset(options.major)
    command = (options.holdfast or find_command(Path(sys.executable))).absolute()
    with working_folder(options.keep) as folder, runs_folder_in(folder) as runs_folder:
        machine = machine_facts(folder)
        if machine.load_before > BUSY_LOAD:
            _say(f"warning: this machine is busy (load {machine.load_before}): the figures will be noisy")
        _say(f"starting {toolset}")
        with serving(toolset, folder / "server", keep=options.keep is not None) as server:
            site = Site(
                server=server,
                peers=Peers(server=server, folder=runs_folder),
                holdfast=Holdfast(command=command, server=server, folder=runs_folder, jobs=options.jobs),
                folder=runs_folder,
            )
            databases = _prepare(server, options)
            results = _race(site, options)
            studied = _study(site, options)
            if "prune" in options.parts:
                pruned, results["prune"] = pruning.study_prune(
                    site.holdfast,
                    runs_folder,
                    rounds=options.runs,
                    snapshots=options.snapshots,
                    settle=server.settle,
                    say=_say,
                )
                studied += pruned
            facts = {
                "taken_at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
                "standard": options.standard,
                "runs": options.runs,
                "holdfast": site.holdfast.version(),
                "machine": asdict(machine),
                "server": {"version": str(toolset.version), "settings": server.stated_settings()},
                "gzip": site.peers.gzip_version(),
                "data": {database.name: _data_facts(site, database) for database in databases},
            }
    row_bytes = {name: facts["row_bytes"] for name, facts in facts["data"].items()}
    judged = figures.judge(results, row_bytes=row_bytes.get(STANDARD, 0))
    return report.make_document(facts=facts, figures=[*judged, *studied], results=results)


def _prepare(server: Server, options: argparse.Namespace) -> list[Database]:
    """Have the databases that the chosen parts need."""
    divisor = options.rows_divisor
    known = (
        data.application(STANDARD, scale=options.scale, rows_divisor=divisor),
        data.many_tables(MANY, tables=options.tables),
        data.application(LARGE, scale=options.scale * data.LARGE_SCALE_FACTOR, rows_divisor=divisor),
    )
    needed = {PARTS[part][0] for part in options.parts}
    databases = [database for database in known if database.name in needed]
    for database in databases:
        _say(f"preparing database {database.name}: {database.recipe}")
        data.prepare(server, database)
    return databases


def _race(site: Site, options: argparse.Namespace) -> dict[str, Runs]:
    compile_modules()
    site.holdfast.help()  # reads them from the disk once
    results = {}
    for part in options.parts:
        database, makers = PARTS[part]
        for make in makers:
            trial = make(site, database)
            rounds = 1 if part == "large" else options.runs
            results[trial.name] = trials.race(
                trial, rounds=rounds, settle=site.server.settle, say=_say, meter=site.server.cpu_seconds
            )
    return results


def _study(site: Site, options: argparse.Namespace) -> list[Figure]:
    studied: list[Figure] = []
    if "changes" in options.parts:
        studied += incremental.study_changes(site, STANDARD, rounds=options.runs, say=_say)
    if "month" in options.parts:
        studied += incremental.study_month(site, STANDARD, say=_say)
    return studied


def _data_facts(site: Site, database: Database) -> dict[str, str | int]:
    name = database.name
    return {
        "recipe": database.recipe,
        "rows": site.contents(name).rows,
        "row_bytes": site.row_bytes(name),
    }


def _write(document: Document, folder: Path, *, page: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "figures.json").write_text(report.encode(document), encoding="utf-8")
    (folder / "figures.svg").write_text(picture.draw(document), encoding="utf-8")
    if page:
        (folder / "figures.md").write_text(report.make_page(document), encoding="utf-8")
    _say(f"written to {folder}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
