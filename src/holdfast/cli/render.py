"""Reports as an operator reads them, at three in the morning too: what is missing shouts, what is fine is calm.

Statements to be copied (a GRANT, a package's name) stand on lines of their own, never wrapped by us. Nothing
depends on colour, and without a terminal the width is 80 columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import singledispatch
from typing import TextIO, TypeAlias

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from holdfast.cli import readings
from holdfast.cli.console import Console
from holdfast.cli.exposures import exposure_text
from holdfast.cli.words import counted, duration, moment, number, printable, size
from holdfast.domain.coverage import CoverageEntry, CoverageStatus
from holdfast.domain.manifest import SnapshotState
from holdfast.domain.tables import QualifiedName
from holdfast.workflows.keys import InitReport, KeysReport
from holdfast.workflows.listing import ShowReport
from holdfast.workflows.reports import (
    BackupReport,
    CheckStatus,
    DoctorReport,
    Finding,
    ListReport,
    RestoreReport,
    VerifiedAt,
    VerifyReport,
)

_LOUD = "bold red"
_CAREFUL = "yellow"
_GOOD = "green"
_MANY = 20
_ANY_WIDTH = 100_000


def render(stream: TextIO, parts: Iterable[RenderableType]) -> None:
    """Lines are never broken (a terminal does that, and they stay copyable). Tables fit a terminal's width;
    elsewhere a row stays one line, for grep, however long."""
    console = Console(stream)
    for part in parts:
        if isinstance(part, Table) and not console.is_terminal:
            everything = console.options.update(max_width=_ANY_WIDTH)
            width = max(console.width, console.measure(part, options=everything).maximum)
            Console(stream, width=width).print(part)
        else:
            console.print(part, soft_wrap=isinstance(part, Text))


Parts: TypeAlias = Iterator[RenderableType]


@singledispatch
def text_of(report: object) -> Parts:
    """What shows a report, part by part; each kind of report has its own below."""
    raise TypeError(f"no text shows {type(report).__name__}")


@text_of.register
def _backup(report: BackupReport) -> Parts:
    failed = [entry for entry in report.coverage if entry.status is CoverageStatus.FAILED]
    if report.state is SnapshotState.PARTIAL:
        yield Text(f"PARTIAL: snapshot {report.snapshot} lacks {counted(len(failed), 'thing')}", style=_LOUD)
    else:
        yield Text(f"snapshot {report.snapshot} committed", style=_GOOD)
    yield from _refuted(report.refuted)
    rate = size(report.bytes / report.seconds) if report.seconds > 0 else "-"
    chunks = f"{counted(report.chunks_stored, 'new chunk')}, {number(report.chunks_reused)} reused"
    facts = [
        ("source", printable(report.source)),
        ("taken at", moment(report.taken_at)),
        (
            "holds",
            f"{counted(report.tables, 'table')}, {counted(report.rows, 'row')}, {size(report.bytes)}",
        ),
        readings.fact_of(report),
        ("took", f"{duration(report.seconds)} ({rate}/s)"),
        ("stored", f"{size(report.bytes_stored)} ({chunks})"),
    ]
    if report.parent:
        facts.append(("parent", report.parent))
    if report.adopted:
        facts.append(("adopted", f"chunks of the unfinished run {report.adopted}"))
    yield _facts(facts)
    yield from readings.tables_of(report)
    yield from _coverage(report.coverage)
    yield from _warnings(report.warnings)
    if failed:
        yield Text("")
        yield Text("mend what is listed as MISSING, then run the backup again", style=_LOUD)


@text_of.register
def _list(report: ListReport) -> Parts:
    if not report.snapshots and not report.unreadable:
        yield Text("no snapshots")
    if report.snapshots:
        shown = shortest_prefixes([listed.summary.snapshot for listed in report.snapshots])
        table = _table("SNAPSHOT", "SOURCE", "TAKEN AT (UTC)", "STATE", ">SIZE", "VERIFIED", "TAGS")
        for listed in report.snapshots:
            summary = listed.summary
            partial = summary.state is SnapshotState.PARTIAL
            table.add_row(
                shown[summary.snapshot],
                printable(summary.source),
                moment(summary.taken_at)[:16],
                Text.assemble(
                    ("PARTIAL", _LOUD) if partial else summary.state.value, ", held" if listed.held else ""
                ),
                size(summary.plain_bytes),
                _verified(listed.verified),
                " ".join(summary.tags),
            )
        yield table
        for listed in report.snapshots:
            if listed.replaces is not None:
                yield Text(
                    f"{listed.summary.snapshot} replaces {listed.replaces}, sealed anew; they count once"
                )
    if report.unreadable:
        yield Text("")
        yield Text(f"UNREADABLE: {counted(len(report.unreadable), 'object')}", style=_LOUD)
        for finding in report.unreadable:
            yield from _finding(finding)


@text_of.register
def _show(report: ShowReport) -> Parts:
    root, summary = report.root, report.summary
    partial = summary.state is SnapshotState.PARTIAL
    yield Text(
        f"snapshot {summary.snapshot} {'PARTIAL' if partial else summary.state.value}",
        style=_LOUD if partial else "",
    )
    instant, database = root.instant, root.database
    yield _facts(
        [
            ("source", printable(summary.source)),
            ("taken at", moment(summary.taken_at) + (" on a standby" if instant.on_standby else "")),
            (
                "database",
                f"{printable(database.name)} ({database.encoding}, PostgreSQL {database.server_version_text})",
            ),
            (
                "holds",
                f"{counted(summary.tables, 'table')}, {counted(summary.rows, 'row')}, {size(summary.plain_bytes)}",
            ),
            ("stored", f"{size(summary.stored_bytes)} new with this snapshot"),
            ("large objects", f"{number(root.large_objects.count)}, {size(root.large_objects.size_bytes)}"),
            ("sequences", number(len(root.sequences))),
            ("definitions", f"{size(root.archive.size_bytes)}, pg_dump {root.archive.tool_version}"),
            ("parent", summary.parent or "none"),
            *([("copy of", summary.origin.snapshot)] if summary.origin else []),
            ("tags", " ".join(summary.tags) or "none"),
            *([("held by", ", ".join(report.held))] if report.held else []),
            ("verified", _verified(report.verified).plain),
            ("written by", f"holdfast {root.holdfast_version}"),
        ]
    )
    if root.tables:
        yield Text("")
        table = _table("TABLE", "TIER", ">ROWS", ">SIZE")
        for entry in sorted(root.tables, key=lambda entry: (entry.tier.rank, entry.name)):
            table.add_row(
                printable(str(entry.name)), entry.tier.value, number(entry.rows), size(entry.plain_bytes)
            )
        yield table
        yield Text("")
    yield from _coverage(root.coverage)
    for finding in report.unreadable:
        yield Text.assemble(("  UNREADABLE ", _LOUD), printable(finding.problem))


@text_of.register
def _verify(report: VerifyReport) -> Parts:
    scope = (
        f"{counted(len(report.snapshots), 'snapshot')}, {counted(report.objects, 'object')}, "
        f"{size(report.bytes)} checked at level {report.level} in {duration(report.seconds)}"
    )
    if report.findings:
        yield Text(f"DAMAGED: {counted(len(report.findings), 'finding')}", style=_LOUD)
        yield Text(f"  {scope}")
    elif report.unseen:
        yield Text("NOT ALL CHECKED: keys were rotated meanwhile, run it again", style=_LOUD)
        yield Text(f"  otherwise no findings: {scope}")
    elif not report.snapshots:
        yield Text("no snapshots yet: only the repository's history was checked", style=_CAREFUL)
    else:
        yield Text(f"no findings: {scope}", style=_GOOD)
        if report.level < 3:
            yield Text(f"level {report.level} {_LEVEL_LIMITS[report.level]}; --level 3 reads every byte")
    if report.unrecorded:
        yield Text("NOT RECORDED: list and retention know nothing of this check, run it again", style=_LOUD)
        yield Text(f"  {printable(report.unrecorded)}")
    for finding in (*report.findings, *report.unseen):
        yield from _finding(finding)
    for word, findings in (("accepted", report.accepted), ("only a hint", report.hints)):
        for finding in findings:
            yield Text.assemble((f"  {word} ", _CAREFUL), printable(finding.problem))
    touched = sorted({snapshot for finding in report.findings for snapshot in finding.snapshots})
    if touched:
        yield Text("")
        yield Text(f"snapshots touched: {', '.join(touched)}", style=_LOUD)
        yield Text("a new backup stores missing chunks again; tables not named above can still be restored")


_LEVEL_LIMITS = {
    0: "proves only that the history is whole",
    1: "proves only that every object is there with its size",
    2: "proves only that stored checksums match",
}


@text_of.register
def _restore(report: RestoreReport) -> Parts:
    if report.left_out:
        yield Text(f"PARTIAL: snapshot {report.snapshot} restored, but not all of it", style=_LOUD)
    else:
        yield Text(f"snapshot {report.snapshot} restored", style=_GOOD)
    yield from _refuted(report.refuted)
    facts = [
        ("into", printable(report.target)),
        ("holds", f"{counted(report.tables, 'table')}, {counted(report.rows, 'row')}, {size(report.bytes)}"),
        ("took", duration(report.seconds)),
    ]
    facts += [
        (f"{tier.tier.value} tables", f"readable after {duration(tier.seconds)}") for tier in report.tiers
    ]
    if report.safety_snapshot:
        facts.append(("safety", f"what was there before is snapshot {report.safety_snapshot}"))
    yield _facts(facts)
    for item in report.left_out:
        yield Text.assemble(("  MISSING ", _LOUD), printable(item))
    yield from _warnings(report.warnings)


@text_of.register
def _doctor(report: DoctorReport) -> Parts:
    for subject, checks in (("source", report.source), ("repository", report.repository)):
        if checks:
            yield Text(f"{subject}: {printable(checks)}")
    marks = {
        CheckStatus.FINE: ("fine    ", _GOOD),
        CheckStatus.WARNING: ("warning ", _CAREFUL),
        CheckStatus.MISSING: ("MISSING ", _LOUD),
    }
    for check in report.checks:
        mark, style = marks[check.status]
        yield Text.assemble("  ", (mark, style), f"{printable(check.subject)}: {printable(check.detail)}")
        if check.remedy and check.status is not CheckStatus.FINE:
            yield from _remedy(check.remedy)
    warnings = sum(check.status is CheckStatus.WARNING for check in report.checks)
    yield Text("")
    if not report.fine:
        yield Text("NOT READY: mend what is MISSING above, then run holdfast doctor again", style=_LOUD)
    elif warnings:
        yield Text(f"ready, with {counted(warnings, 'warning')}", style=_CAREFUL)
    else:
        yield Text("ready", style=_GOOD)


@text_of.register
def _init(report: InitReport) -> Parts:
    yield Text(f"repository made at {printable(report.address)}", style=_GOOD)
    yield _facts([("id", str(report.repository_id)), ("keys", ", ".join(report.slots))])
    if report.single_writer:
        yield Text(
            "  warning: this storage cannot promise create-once; only one run may write at a time",
            style=_CAREFUL,
        )
    yield from _warnings(report.warnings)


@text_of.register
def _keys(report: KeysReport) -> Parts:
    for word, names in (("added", report.added), ("removed", report.removed)):
        if names:
            yield Text(f"{word} {', '.join(names)}", style=_GOOD)
    table = _table("KEY", "KIND", "MADE AT (UTC)", "OPENS EPOCHS", "LABEL")
    for slot in report.slots:
        table.add_row(
            slot.name,
            slot.kind,
            "-" if slot.created_at is None else moment(slot.created_at)[:16],
            ", ".join(str(epoch) for epoch in slot.opens),
            Text(printable(slot.problem), style=_LOUD) if slot.problem else printable(slot.label),
        )
    yield table
    yield from _warnings(report.warnings)
    if report.exposures is not None:
        yield from exposure_text(report.exposures, report.epochs)


def shortest_prefixes(snapshots: Sequence[str], shortest: int = 12) -> dict[str, str]:
    """For each id the shortest prefix of at least `shortest` characters that no other has."""
    ordered = sorted(snapshots)
    shown = {}
    for index, snapshot in enumerate(ordered):
        neighbours = [*ordered[max(index - 1, 0) : index], *ordered[index + 1 : index + 2]]
        length = shortest
        while length < len(snapshot) and any(other.startswith(snapshot[:length]) for other in neighbours):
            length += 1
        shown[snapshot] = snapshot[:length]
    return shown


def _facts(facts: Iterable[tuple[str, str]]) -> Text:
    """Aligned lines: a name, what it is."""
    facts = list(facts)
    width = max(len(name) for name, _ in facts)
    return Text("\n".join(f"  {name:<{width}}  {value}" for name, value in facts))


def _table(*titles: str) -> Table:
    """No frames, so that it can be cut and pasted; a title that begins with > stands on the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in titles:
        right = title.startswith(">")
        table.add_column(
            title.lstrip(">"), justify="right" if right else "left", overflow="fold", no_wrap=right
        )
    return table


def _verified(verified: VerifiedAt | None) -> Text:
    if verified is None:
        return Text("never", style=_CAREFUL)
    text = f"level {verified.level} {moment(verified.at)[:10]}"
    return Text(text) if verified.passed else Text(f"FAILED {text}", style=_LOUD)


def _finding(finding: Finding) -> Iterator[Text]:
    yield Text(f"  {finding.object_name}", style="bold")
    yield Text(f"    {printable(finding.problem)}")
    if finding.snapshots:
        yield Text(f"    snapshots: {', '.join(finding.snapshots)}")
    if finding.tables:
        yield Text(f"    tables: {', '.join(printable(str(table)) for table in finding.tables)}")


def _coverage(entries: Sequence[CoverageEntry]) -> Iterator[Text]:
    """Everything that was not captured; the worst first, and in full."""
    for entry in entries:
        if entry.status is CoverageStatus.FAILED:
            yield Text.assemble(("  MISSING ", _LOUD), _named(entry))
            if entry.remedy:
                yield from _remedy(entry.remedy)
    for status, word in (
        (CoverageStatus.NOT_CAPTURABLE, "cannot be captured"),
        (CoverageStatus.NOT_CONFIGURED, "left out as asked"),
    ):
        chosen = [entry for entry in entries if entry.status is status]
        for entry in chosen[:_MANY]:
            yield Text(f"  {word}: {_named(entry)}")
        if len(chosen) > _MANY:
            kinds = Counter(entry.kind for entry in chosen[_MANY:])
            rest = ", ".join(counted(count, kind) for kind, count in kinds.items())
            yield Text(f"  {word}: {rest} more (--json lists all)")


def _named(entry: CoverageEntry) -> str:
    reason = f": {printable(entry.reason)}" if entry.reason else ""
    return f"{entry.kind} {printable(entry.name)}{reason}"


def _remedy(remedy: str) -> Iterator[Text]:
    for line in remedy.splitlines():
        yield Text(f"          {printable(line)}")


def _refuted(tables: Sequence[QualifiedName]) -> Iterator[Text]:
    if tables:
        names = printable(", ".join(map(str, tables)))
        yield Text(f"DAMAGED: earlier snapshots may hold old rows of {names}: see below", style=_LOUD)


def _warnings(warnings: Sequence[str]) -> Iterator[Text]:
    for warning in warnings:
        yield Text.assemble(("  warning ", _CAREFUL), printable(warning))
