"""`holdfast prune`: which snapshots may go, and on request away with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.invocation import Invocation, current, opened
from holdfast.cli.options import IdentityFile, Json, Nice, Quiet, Repo
from holdfast.cli.people import now_utc, operator
from holdfast.domain.errors import EXIT_FINE, UsageError

if TYPE_CHECKING:
    from datetime import timedelta

    from holdfast.domain.policy import RetentionPolicy, TagRule
    from holdfast.repository.collecting.rules import CollectionRules
    from holdfast.settings import RepositoryChoice

_PANEL = "Retention, instead of the settings'"


def register(app: typer.Typer) -> None:
    app.command("prune")(prune)


def _count(option: str, meaning: str) -> object:
    return typer.Option(option, min=1, metavar="N", help=meaning, show_default=False, rich_help_panel=_PANEL)


def prune(
    context: typer.Context,
    *,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE",
            help="Only the snapshots of these sources. Left out: of all that have a policy.",
            show_default=False,
        ),
    ] = None,
    all_sources: Annotated[
        bool, typer.Option("--all-sources", help="Apply the policy given here to every source.")
    ] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Act. Without it only the verdicts are shown.")
    ] = False,
    repo: Repo = None,
    keep_last: Annotated[int | None, _count("--keep-last", "Keep the newest N.")] = None,
    keep_within: Annotated[
        str | None,
        typer.Option(
            "--keep-within",
            metavar="TIME",
            help="Keep all that are younger than 36h, 14d, 2w, 1y.",
            show_default=False,
        ),
    ] = None,
    hourly: Annotated[int | None, _count("--hourly", "Keep the newest of each of N hours.")] = None,
    daily: Annotated[int | None, _count("--daily", "The newest of each of N days.")] = None,
    weekly: Annotated[int | None, _count("--weekly", "The newest of each of N weeks.")] = None,
    monthly: Annotated[int | None, _count("--monthly", "The newest of each of N months.")] = None,
    yearly: Annotated[int | None, _count("--yearly", "The newest of each of N years.")] = None,
    keep_tag: Annotated[
        list[str] | None,
        typer.Option(
            "--keep-tag",
            metavar="TAG=TIME",
            help="Keep what carries this tag for so long; may be repeated.",
            show_default=False,
        ),
    ] = None,
    minimum: Annotated[int | None, _count("--minimum", "Keep N good ones, however old.")] = None,
    time_zone: Annotated[
        str | None,
        typer.Option(
            "--time-zone",
            metavar="ZONE",
            help="Where days begin and end, such as Europe/Berlin [default: UTC].",
            show_default=False,
        ),
    ] = None,
    grace: Annotated[
        str | None,
        typer.Option(
            "--grace",
            metavar="TIME",
            help="How long what is removed can be brought back at least [default: 7d].",
            show_default=False,
        ),
    ] = None,
    allow_share: Annotated[
        float | None,
        typer.Option(
            "--allow-share",
            min=0.0,
            max=1.0,
            metavar="0..1",
            help="How much of all that is stored may be deleted at once [default: 0.2].",
            show_default=False,
        ),
    ] = None,
    nice: Nice = None,
    identity_file: IdentityFile = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Show which snapshots may go, or remove them.

    Each has its verdict and the reasons for it; nothing is changed without --apply.

    A policy stands in the settings ([sources.NAME.retention]) or is given here. Snapshots of a source without one
    are kept. The newest snapshot of a source, its newest good one, and what is under a legal hold are always kept.

    What is removed can be brought back with `holdfast undelete` for a grace time; a later prune --apply then
    deletes what nothing needs any more. It may be interrupted and run again at any time, beside backups too.

    \b
    Examples:
      holdfast prune
      holdfast prune shop --apply
      holdfast prune shop --keep-last 10 --daily 14 --monthly 12 --keep-tag before-migration=30d
    """
    del json, nice
    invocation = current(context)
    given = _given_policy(
        {
            "keep_last": keep_last,
            "hourly": hourly,
            "daily": daily,
            "weekly": weekly,
            "monthly": monthly,
            "yearly": yearly,
            "minimum": minimum,
        },
        keep_within,
        keep_tag or [],
        time_zone,
    )
    names = list(dict.fromkeys(sources or ()))
    if names and all_sources:
        raise UsageError("--all-sources and sources by name exclude each other", hint="leave one of them out")
    if all_sources and given is None:
        raise UsageError(
            "--all-sources needs a policy to apply",
            hint="give one, such as --keep-last 10, or leave out --all-sources to follow the settings",
        )
    if given is not None and not names and not all_sources:
        raise UsageError(
            "which source is the policy for?", hint="name the source, or say --all-sources to mean every one"
        )
    place = _repository_of(invocation, names, repo)
    rules = _rules(grace, allow_share)

    from holdfast.cli.verdicts import prune_document, prune_text
    from holdfast.workflows import prune as workflow

    with (
        opened(invocation, place, identity_file) as repository,
        invocation.watching(quiet=quiet) as listener,
        invocation.stop.listening() as interrupted,
    ):
        report = workflow.prune(
            repository,
            (lambda _: given) if given is not None else _configured(invocation, place),
            sources=names,
            apply=apply,
            by=operator(),
            rules=rules,
            clock=now_utc,
            listener=listener,
            interrupted=interrupted,
        )
    invocation.show_as(lambda: prune_document(report), lambda: prune_text(report))
    return EXIT_FINE


def _configured(invocation: Invocation, place: RepositoryChoice) -> Callable[[str], RetentionPolicy | None]:
    from holdfast.workflows.listing import is_safety

    repository = invocation.settings.name_of(place)

    def policy_of(source: str) -> RetentionPolicy | None:
        configured = invocation.settings.pick_policy(source, repository)
        if configured is None and is_safety(source):
            return invocation.settings.safety_policy()
        return configured

    return policy_of


def _repository_of(invocation: Invocation, names: list[str], repo: str | None) -> RepositoryChoice:
    """The one named, or the one in which the named sources are kept."""
    settings = invocation.settings
    if repo is not None:
        return settings.pick_repository(repo)
    configured = [settings.file.sources[name] for name in names if name in settings.file.sources]
    places = {source.repository for source in configured if source.repository is not None}
    if len(places) > 1:
        raise UsageError(
            f"these sources are kept in several repositories: {', '.join(sorted(places))}",
            hint="prune one at a time, or name the repository with --repo",
        )
    return settings.pick_repository(None, configured[0] if configured else None)


def _given_policy(
    counts: dict[str, int | None], keep_within: str | None, keep_tag: list[str], time_zone: str | None
) -> RetentionPolicy | None:
    """The policy on the command line; None if there is none."""
    numbers = {name: count for name, count in counts.items() if count is not None}
    if not numbers and keep_within is None and not keep_tag:
        if time_zone is not None:
            raise UsageError("--time-zone needs a policy", hint="give one, such as --daily 7")
        return None

    from holdfast.domain.policy import RetentionPolicy

    try:
        return RetentionPolicy(
            **numbers,
            keep_within=None if keep_within is None else _duration(keep_within),
            tags=tuple(map(_tag_rule, keep_tag)),
            time_zone=time_zone or "UTC",
        )
    except ValueError as error:
        raise UsageError(str(error), hint="mend the policy; run holdfast prune --help") from error


def _tag_rule(text: str) -> TagRule:
    from holdfast.domain.policy import TagRule

    tag, separator, length = text.partition("=")
    if not separator or not tag:
        raise ValueError(f"--keep-tag {text!r} is not TAG=TIME")
    return TagRule(tag=tag, keep=_duration(length))


def _rules(grace: str | None, allow_share: float | None) -> CollectionRules:
    from dataclasses import replace

    from holdfast.repository.collecting.rules import CollectionRules

    rules = CollectionRules()
    try:
        rules = rules if grace is None else replace(rules, grace=_duration(grace))
    except ValueError as error:
        raise UsageError(str(error), hint="give another --grace") from error
    return rules if allow_share is None else replace(rules, share=allow_share)


def _duration(text: str) -> timedelta:
    from holdfast.domain.durations import parse_duration

    return parse_duration(text)
