"""Running copies for the command line: repositories opened when their turn comes, each with its own secrets."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from holdfast.cli.invocation import Invocation, opened
from holdfast.cli.secrets import blot
from holdfast.domain.errors import HoldfastError, InterruptedRunError
from holdfast.domain.events import Listener
from holdfast.domain.ids import SnapshotId
from holdfast.repository.repo import Repository
from holdfast.settings import RepositoryChoice, SourceChoice
from holdfast.workflows.copy import Errand, copy
from holdfast.workflows.copy_plan import CopySelection
from holdfast.workflows.copy_report import CopyReport, joined, unopened
from holdfast.workflows.listing import resolve
from holdfast.workflows.replicate import ReplicateOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What one source repository is to send, and where: as the command line and the settings say."""

    place: RepositoryChoice
    destination: RepositoryChoice
    source: str | None
    newest_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which snapshots the command line means."""

    snapshots: tuple[str, ...]
    since: datetime | None
    everything: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What opens the destinations where the command line says so; else their settings do, or the environment."""

    identity_file: str | None
    passphrase_file: str | None

    def errand(
        self, invocation: Invocation, destination: RepositoryChoice, selection: CopySelection
    ) -> Errand:
        settings = destination.settings
        if self.passphrase_file is not None:
            update = {
                "passphrase_file": Path(self.passphrase_file),
                "passphrase_env": None,
                "passphrase_command": None,
            }
            destination = replace(destination, settings=settings.model_copy(update=update))
        return Errand(
            name=name_of(destination),
            open=lambda: opened(invocation, destination, self.identity_file),
            selection=selection,
        )


class Runs:
    """The errands of one command, by the repository that they come from; one report in the end."""

    def __init__(
        self,
        invocation: Invocation,
        credentials: Credentials,
        options: ReplicateOptions,
        listener: Listener,
        interrupted: threading.Event,
    ) -> None:
        self._invocation = invocation
        self._credentials = credentials
        self._options = options
        self._listener = listener
        self._interrupted = interrupted

    def copy_all(self, wishes: Sequence[Wish], asked: Asked, identity_file: str | None) -> CopyReport:
        by_place: dict[str, list[Wish]] = {}
        for wish in wishes:
            by_place.setdefault(wish.place.settings.url, []).append(wish)
        reports = []
        for group in by_place.values():
            place = group[0].place
            try:
                with opened_naming_copies(self._invocation, place, identity_file) as repository:
                    reports.append(self._copy_from(repository, group, asked))
            except HoldfastError as error:
                if len(by_place) == 1 or isinstance(error, InterruptedRunError):
                    raise
                destinations = [name_of(wish.destination) for wish in group]
                reports.append(unopened(name_of(place), destinations, error))
        return joined(reports)

    def _copy_from(self, repository: Repository, group: Sequence[Wish], asked: Asked) -> CopyReport:
        errands = []
        for wish in group:
            named = [resolve(repository, wanted, source=wish.source) for wanted in asked.snapshots]
            selection = CopySelection(
                snapshots=tuple(named),
                source=wish.source,
                since=asked.since,
                everything=asked.everything,
                newest_only=wish.newest_only,
            )
            errands.append(self._credentials.errand(self._invocation, wish.destination, selection))
        return copy(
            repository,
            errands,
            place=name_of(group[0].place),
            options=self._options,
            listener=self._listener,
            interrupted=self._interrupted,
        )


def copy_after_backup(
    invocation: Invocation,
    choice: SourceChoice,
    place: RepositoryChoice,
    repository: Repository,
    snapshot: SnapshotId,
    *,
    listener: Listener,
    interrupted: threading.Event,
) -> CopyReport | None:
    """Bring a snapshot taken just now to every repository that is to have it; None if none is.

    Those that get the newest only have a rhythm of their own: `holdfast copy`, as it is scheduled.
    """
    places = [item.repository for item in choice.settings.copies if not item.newest_only]
    if not places:
        return None
    credentials = Credentials(identity_file=None, passphrase_file=None)
    selection = CopySelection(snapshots=(snapshot,), source=choice.name)
    errands = [
        credentials.errand(invocation, invocation.settings.pick_repository(name), selection)
        for name in places
    ]
    try:
        return copy(
            repository,
            errands,
            place=name_of(place),
            options=ReplicateOptions(),
            listener=listener,
            interrupted=interrupted,
        )
    except InterruptedRunError as error:
        raise InterruptedRunError(
            f"interrupted while copying; snapshot {snapshot} itself is committed", hint="run holdfast copy"
        ) from error


def name_of(place: RepositoryChoice) -> str:
    """What a repository is called in reports: its configured name, or where it is, without any password."""
    return place.name or blot(place.settings.url, ())


@contextmanager
def opened_naming_copies(
    invocation: Invocation, place: RepositoryChoice, identity_file: str | None
) -> Iterator[Repository]:
    """Like `opened`; if this repository cannot be had, the error says which copies of it are configured."""
    with ExitStack() as stack:
        try:
            repository = stack.enter_context(opened(invocation, place, identity_file))
        except HoldfastError as error:
            copies = invocation.settings.copies_of(place)
            if copies:
                named = " or ".join(f"--from {name}" for name in copies)
                error.hint = (
                    f"{error.hint}; or take a copy: {named}" if error.hint else f"take a copy: {named}"
                )
            raise
        yield repository
