"""From the settings to what is to run when, and what that needs; no secret's value is looked at."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.domain.errors import UsageError
from holdfast.settings import RepositoryChoice, Settings, SourceSettings
from holdfast.settings.choice import suggest
from holdfast.workflows.schedule.tasks import Job, SourceSchedule, Task


def schedules_of(settings: Settings, names: Sequence[str]) -> tuple[SourceSchedule, ...]:
    """Of these sources, or of all; raises `UsageError`."""
    known = settings.file.sources
    if not known:
        raise UsageError(
            "no source is configured, so there is nothing to schedule",
            hint="add [sources.NAME] to holdfast.toml",
        )
    for name in names:
        if name not in known:
            raise UsageError(
                f"no source is configured under the name {_shown(name)}",
                hint=suggest(name, known) or f"configured are: {', '.join(known)}",
            )
    # What a variable holds is not needed here: units only name it.
    blind = replace(settings, undefined={})
    chosen = dict.fromkeys(names) if names else known
    return tuple(_schedule_of(settings, blind, name) for name in chosen)


def _schedule_of(settings: Settings, blind: Settings, name: str) -> SourceSchedule:
    source = settings.file.sources[name]
    place = blind.pick_repository(None, source)
    if place.name is None and source.repository is not None:
        raise UsageError(
            f"sources.{name}.repository is an address, which must not show in a schedule",
            hint=f"describe it as [repositories.NAME], and set repository = NAME for {name}",
        )
    others = [blind.pick_repository(item.repository) for item in source.copies]
    places = [place, *others]
    return SourceSchedule(
        source=name,
        tasks=tuple(_tasks(settings, source, name, places)),
        variables=tuple(sorted(_variables(settings, name, source, places))),
        needs_passphrase=any(_needs_passphrase(item) for item in places),
        folders=tuple(
            dict.fromkeys(
                Path(item.settings.url.removeprefix("file://"))
                for item in places
                if _is_local(settings, item)
            )
        ),
        files=tuple(
            dict.fromkeys(
                path
                for item in places
                for path in (item.settings.passphrase_file, item.settings.identity_file)
                if path is not None
            )
        ),
        max_runtime=source.max_runtime,
    )


def _tasks(
    settings: Settings, source: SourceSettings, name: str, places: Sequence[RepositoryChoice]
) -> Iterator[Task]:
    times, given = source.schedule, source.schedule.model_fields_set
    if times.backup is not None:
        yield Task(
            job=Job.BACKUP,
            timetable=times.backup,
            arguments=("backup", name, "--unless-running", "--quiet"),
        )
    if times.copy_ is not None:
        if "copy_" in given and not source.copies:
            raise _in_vain("copy", f"{name} has no copies configured")
        if "copy_" in given or any(item.newest_only for item in source.copies):
            yield Task(job=Job.COPY, timetable=times.copy_, arguments=("copy", "--source", name, "--quiet"))
    if times.prune is not None:
        policed = [item for item in places if _chooses(settings, name, item)]
        if "prune" in given and not policed:
            raise _in_vain("prune", f"{name} has no retention policy")
        for item in policed:
            elsewhere = item is not places[0] and item.name is not None
            yield Task(
                job=Job.PRUNE,
                timetable=times.prune,
                arguments=(
                    *("prune", name, "--apply", "--quiet"),
                    *(("--repo", item.name) if item.name else ()),
                ),
                at=item.name if elsewhere and item.name else "",
            )
    if times.verify is not None:
        repository = () if places[0].name is None else ("--repo", places[0].name)
        yield Task(
            job=Job.VERIFY,
            timetable=times.verify,
            arguments=("verify", "latest", "--source", name, *repository, "--level", "3", "--quiet"),
        )


def _chooses(settings: Settings, name: str, place: RepositoryChoice) -> bool:
    policy = settings.pick_policy(name, settings.name_of(place))
    return policy is not None and policy.chooses


def _in_vain(task: str, objection: str) -> UsageError:
    return UsageError(
        f"{task} is scheduled, but {objection}", hint=f"configure it, or leave {task} out of the schedule"
    )


def _variables(
    settings: Settings, name: str, source: SourceSettings, places: Sequence[RepositoryChoice]
) -> set[str]:
    sections: list[tuple[str, ...]] = [("sources", name), ("default_repository",)]
    sections += [("repositories", place.name) for place in places if place.name is not None]
    needed = {
        variable
        for variable, used_at in settings.variables.items()
        if any(spot[: len(section)] == section for spot in used_at for section in sections)
    }
    if not source.url and ("sources", name, "url") not in settings.undefined:
        needed |= {variable for variable in os.environ if variable in _LIBPQ}
    if places[0].name is None:
        needed.add("HOLDFAST_REPOSITORY")
    return needed


_LIBPQ = frozenset({"PGSERVICE", "PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD"})


def _needs_passphrase(place: RepositoryChoice) -> bool:
    own = place.settings
    return all(
        way is None
        for way in (own.passphrase_env, own.passphrase_file, own.passphrase_command, own.identity_file)
    )


def _is_local(settings: Settings, place: RepositoryChoice) -> bool:
    unknown = place.name is not None and ("repositories", place.name, "url") in settings.undefined
    url = place.settings.url
    return not unknown and ("://" not in url or url.startswith("file://"))


def _shown(name: str) -> str:
    """A name as it is; an address, which may hold a password, is not repeated."""
    return "of an address" if "://" in name or "=" in name else repr(name)
