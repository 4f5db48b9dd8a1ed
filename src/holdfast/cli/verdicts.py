"""How a prune is shown: which snapshots stay and why, what would be freed, when it is deleted, how to undo it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from holdfast.cli.documents import Document
from holdfast.cli.render import shortest_prefixes
from holdfast.cli.words import counted, iso, moment, number, printable, size
from holdfast.domain.durations import describe_duration
from holdfast.domain.manifest import SnapshotState

if TYPE_CHECKING:
    from rich.console import RenderableType

    from holdfast.domain.retention import Verdict
    from holdfast.repository.collecting.decision import Amount
    from holdfast.repository.collecting.report import CollectionPlan, CollectionReport
    from holdfast.workflows.prune import Judgement, PruneReport

_LOUD = "bold red"
_CAREFUL = "yellow"
_GOOD = "green"
_MANY = 10


def prune_document(report: PruneReport) -> Document:
    return {
        "repository": report.address,
        "at": iso(report.at),
        "applied": report.applied,
        "snapshots": report.snapshots,
        "removable": [verdict.snapshot for verdict in report.removable],
        "sources": [_judgement_document(item) for item in report.judgements],
        "grace_seconds": round(report.rules.grace.total_seconds()),
        "plan": _plan_document(report.plan),
        "collection": None if report.collection is None else _collection_document(report.collection),
    }


def _judgement_document(item: Judgement) -> Document:
    return {
        "source": item.source,
        "policy": None if item.policy is None else item.policy.describe(),
        "time_zone": None if item.policy is None else item.policy.time_zone,
        "snapshots": item.snapshots,
        "verdicts": [
            {
                "snapshot": verdict.snapshot,
                "taken_at": iso(verdict.candidate.taken_at),
                "state": verdict.candidate.state.value,
                "tags": list(verdict.candidate.tags),
                "kept": verdict.kept,
                "reasons": list(verdict.reasons),
            }
            for verdict in item.verdicts
        ],
    }


def _plan_document(plan: CollectionPlan) -> Document:
    return {
        "total": _amount_document(plan.total),
        "garbage": _amount_document(plan.garbage),
        "ripe": _amount_document(plan.ripe),
        "due_at": None if plan.due_at is None else iso(plan.due_at),
        "freed": {snapshot: _amount_document(amount) for snapshot, amount in plan.freed.items()},
        "kept": [
            {"snapshot": item.snapshot, "keeper": item.keeper, **_amount_document(item.amount)}
            for item in plan.kept
        ],
        "pinned": {snapshot: list(by) for snapshot, by in plan.pinned.items()},
        "held": list(plan.held),
        "spared": _amount_document(plan.spared),
        "unknown": list(plan.unknown),
    }


def _collection_document(done: CollectionReport) -> Document:
    return {
        "deleted": _amount_document(done.deleted),
        "swept": list(done.swept),
        "kept_back": {snapshot: ending.value for snapshot, ending in done.kept_back.items()},
        "later": _amount_document(done.later),
        "later_why": done.later_why,
        "later_until": None if done.later_until is None else iso(done.later_until),
        "fenced": list(done.fenced),
        "given_up": list(done.given_up),
        "warnings": list(done.warnings),
    }


def _amount_document(amount: Amount) -> Document:
    return {"objects": amount.objects, "bytes": amount.size_bytes}


def prune_text(report: PruneReport) -> Iterator[RenderableType]:
    """Verdicts first; then what that means for space, and what to do next."""
    shown = shortest_prefixes([verdict.snapshot for item in report.judgements for verdict in item.verdicts])
    for item in report.judgements:
        yield from _judgement_text(item, shown)
        yield Text("")
    removed = counted(len(report.removable), "snapshot")
    if not report.applied:
        yield Text(
            f"{removed} of {number(report.snapshots)} would be removed",
            style=_CAREFUL if report.removable else _GOOD,
        )
        yield from _space_text(report)
        if report.removable or report.plan.garbage.objects:
            yield Text("nothing was changed: run it again with --apply to act")
        return
    yield Text(f"{removed} of {number(report.snapshots)} removed", style=_GOOD)
    if report.removable:
        yield Text(
            f"  to undo: holdfast undelete SNAPSHOT, until {moment(report.at + report.rules.grace)} at least"
        )
    assert report.collection is not None
    yield from _collection_text(report.collection, report.plan, report.rules.grace)


def _judgement_text(item: Judgement, shown: dict[str, str]) -> Iterator[RenderableType]:
    source = printable(item.source)
    if item.policy is None:
        yield Text(f"{source}: no retention policy; {counted(item.snapshots, 'snapshot')} kept, all of them")
        return
    yield Text(f"{source}: {item.policy.describe()}; time zone {item.policy.time_zone}", style="bold")
    zone = item.policy.zone()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for heading in ("SNAPSHOT", f"TAKEN AT ({item.policy.time_zone})", "STATE", "VERDICT", "WHY"):
        table.add_column(
            heading, overflow="fold" if heading == "WHY" else "ellipsis", no_wrap=heading != "WHY"
        )
    for verdict in item.verdicts:
        partial = verdict.candidate.state is SnapshotState.PARTIAL
        table.add_row(
            shown[verdict.snapshot],
            f"{verdict.candidate.taken_at.astimezone(zone):%Y-%m-%d %H:%M}",
            Text("PARTIAL", style=_LOUD) if partial else Text(verdict.candidate.state.value),
            Text("keep") if verdict.kept else Text("REMOVE", style=_CAREFUL),
            printable(_why(verdict)),
        )
    yield table


def _why(verdict: Verdict) -> str:
    return ", ".join(verdict.reasons) if verdict.kept else "no rule keeps it"


def _space_text(report: PruneReport) -> Iterator[RenderableType]:
    plan, rules = report.plan, report.rules
    garbage, grace = plan.garbage, describe_duration(rules.grace)
    if report.removable:
        yield Text(
            f"  space: {_amount(garbage)} of {_amount(plan.total)} would be freed, by a prune --apply that runs "
            f"{grace} after the one that removes"
        )
    elif garbage.objects:
        yield Text(f"  space: {_amount(garbage)} of earlier removals wait for their {grace}")
    if garbage.size_bytes > rules.share * plan.total.size_bytes:
        yield Text(
            f"  that is more than {rules.share:.0%} of all that is stored: deleting it at once needs --allow-share"
        )
    if plan.ripe.objects:
        yield Text(f"  ripe: {_amount(plan.ripe)} would be deleted by --apply at once")
    elif plan.due_at is not None:
        yield Text(f"  earlier removals: deleted by a prune --apply from {moment(plan.due_at)} on")
    yield from _reasons_text(plan)


def _collection_text(
    done: CollectionReport, plan: CollectionPlan, grace: timedelta
) -> Iterator[RenderableType]:
    yield Text(
        f"  deleted now: {_amount(done.deleted)} (only what was removed {describe_duration(grace)} ago or before)"
    )
    waiting = plan.garbage.objects - done.deleted.objects
    if waiting > 0:
        due = _due(done, plan, grace)
        yield Text(
            f"  waiting: {counted(waiting, 'object')}, "
            f"{size(plan.garbage.size_bytes - done.deleted.size_bytes)}; deleted by a prune --apply from about "
            f"{moment(due)} on"
        )
    if done.later.objects:
        until = "" if done.later_until is None else f" until {moment(done.later_until)}"
        yield Text(
            f"  later: {_amount(done.later)}{until}: {printable(done.later_why or 'the storage refused')}"
        )
    for snapshot, ending in done.kept_back.items():
        yield Text(f"  kept after all: {snapshot}, {ending.value}")
    for snapshot in done.fenced:
        yield Text(f"  given up: the silent run {snapshot}; it cannot commit any more")
    if done.given_up:
        yield Text(f"  leftovers of {counted(len(done.given_up), 'dead run')} will be deleted")
    yield from _reasons_text(plan)
    for warning in done.warnings:
        yield Text.assemble(("  warning ", _CAREFUL), printable(warning))


def _due(done: CollectionReport, plan: CollectionPlan, grace: timedelta) -> datetime:
    due = done.plan.due_at
    return plan.at + grace if due is None else max(due, plan.at + grace)


def _reasons_text(plan: CollectionPlan) -> Iterator[RenderableType]:
    """Why space does not shrink by more."""
    for item in plan.kept[:_MANY]:
        yield Text(
            f"  not freed: {_amount(item.amount)} written by {item.snapshot}, since {item.keeper} needs them"
        )
    if len(plan.kept) > _MANY:
        yield Text(f"  not freed: {counted(len(plan.kept) - _MANY, 'more pair')} (--json lists all)")
    for snapshot, by in plan.pinned.items():
        yield Text(f"  not freed: {snapshot}, in use by {', '.join(by)}")
    for snapshot in plan.held:
        yield Text(f"  not freed: {snapshot}, under a legal hold")
    if plan.spared.objects:
        yield Text(f"  not freed: {_amount(plan.spared)} of runs that may still live")
    yield from _unknown_text(plan.unknown)


def _unknown_text(names: Sequence[str]) -> Iterator[RenderableType]:
    for name in names[:_MANY]:
        yield Text.assemble(("  unknown ", _CAREFUL), f"{printable(name)}: left alone")
    if len(names) > _MANY:
        yield Text(f"  unknown {counted(len(names) - _MANY, 'more object')}, left alone (--json lists all)")


def _amount(amount: Amount) -> str:
    return f"{counted(amount.objects, 'object')}, {size(amount.size_bytes)}"
