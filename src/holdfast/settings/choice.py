"""Which source and which repository a command means: what was named, or the obvious one, or an error."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.domain.errors import UsageError
from holdfast.domain.policy import RetentionPolicy
from holdfast.settings.sections import RepositorySettings, SettingsFile, SourceSettings, is_place


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceChoice:
    """The database that a command is about. `name` is None for one that was given by its address alone;
    `origin` says where the choice came from."""

    name: str | None
    settings: SourceSettings
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryChoice:
    """The repository that a command is about. `name` is None for one that was given by its URL alone."""

    name: str | None
    settings: RepositorySettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything configured. `path` is the file it came from, None without one.

    `variables`: which places of the file get a value from which environment variable.
    """

    path: Path | None
    file: SettingsFile
    environ: Mapping[str, str] = field(repr=False)
    undefined: Mapping[tuple[str, ...], str] = field(default_factory=dict, repr=False)
    variables: Mapping[str, AbstractSet[tuple[str, ...]]] = field(default_factory=dict, repr=False)

    def pick_source(self, wanted: str | None) -> SourceChoice:
        """The source that `wanted` names: a configured name, an address, or None for the obvious one.

        Without a name: HOLDFAST_SOURCE, default_source, the only one configured, libpq's environment
        (PGHOST, PGSERVICE, …), DATABASE_URL. Raises `UsageError`.
        """
        if wanted is not None:
            return self._named_source(wanted, origin="argument")
        if named := self.environ.get("HOLDFAST_SOURCE"):
            return self._named_source(named, origin="HOLDFAST_SOURCE")
        self._require_defined("default_source")
        if self.file.default_source is not None:
            return self._named_source(self.file.default_source, origin="default_source")
        if len(self.file.sources) == 1:
            return self._named_source(next(iter(self.file.sources)), origin=str(self.path))
        if self.file.sources:
            raise UsageError(
                f"there are several sources: {', '.join(self.file.sources)}",
                hint="name one of them, or set default_source",
            )
        for variable in ("PGSERVICE", "PGDATABASE", "PGHOST", "PGHOSTADDR"):
            if self.environ.get(variable):
                return SourceChoice(name=None, settings=SourceSettings(), origin=variable)
        if url := self.environ.get("DATABASE_URL"):
            return SourceChoice(name=None, settings=SourceSettings(url=url), origin="DATABASE_URL")
        raise UsageError(
            "no source is named",
            hint="give a URL such as postgresql://user@host/database, or set DATABASE_URL",
        )

    def pick_target(self, wanted: str) -> SourceChoice:
        """The database to restore into: a configured name or an address; never guessed."""
        return self._named_source(wanted, origin="argument")

    def pick_repository(self, wanted: str | None, source: SourceSettings | None = None) -> RepositoryChoice:
        """The repository that `wanted` names: a configured name, a URL or a path, or None for the obvious one.

        Without a name: the source's own, HOLDFAST_REPOSITORY, default_repository, the only one configured.
        Raises `UsageError`.
        """
        if wanted is not None:
            return self._named_repository(wanted)
        if source is not None and source.repository is not None:
            return self._named_repository(source.repository)
        if named := self.environ.get("HOLDFAST_REPOSITORY"):
            return self._named_repository(named)
        self._require_defined("default_repository")
        if self.file.default_repository is not None:
            return self._named_repository(self.file.default_repository)
        if len(self.file.repositories) == 1:
            return self._named_repository(next(iter(self.file.repositories)))
        if self.file.repositories:
            raise UsageError(
                f"there are several repositories: {', '.join(self.file.repositories)}",
                hint="name one of them with --repo, or set default_repository",
            )
        raise UsageError(
            "no repository is named",
            hint="give one with --repo, for example --repo s3://bucket/backups or --repo /mnt/backups, "
            "or set HOLDFAST_REPOSITORY",
        )

    def copies_of(self, place: RepositoryChoice) -> tuple[str, ...]:
        """The repositories that are configured to have copies of what is in this one."""
        found: dict[str, None] = {}
        for source in self.file.sources.values():
            if not source.copies:
                continue
            with suppress(UsageError):
                if self.pick_repository(None, source).settings.url == place.settings.url:
                    found.update(dict.fromkeys(copy.repository for copy in source.copies))
        return tuple(found)

    def pick_policy(self, source: str, repository: str | None) -> RetentionPolicy | None:
        """The retention of a source's snapshots in a repository (its configured name), or None: nothing says.

        The repository's own wins over the source's, and that over the one at the top; each stands whole. The last
        two speak only of sources configured here: others' snapshots in a shared repository are not ours to judge.
        """
        place = self.file.repositories.get(repository) if repository is not None else None
        own = self.file.sources.get(source)
        if own is None:
            return None
        for section in (place.retention if place else None, own.retention, self.file.retention):
            if section is not None:
                return section.policy()
        return None

    def name_of(self, choice: RepositoryChoice) -> str | None:
        """The configured name of a repository, also when it was given by its address: its retention holds for it
        then, too."""
        if choice.name is not None:
            return choice.name
        place = _place(choice.settings.url)
        return next((name for name, it in self.file.repositories.items() if _place(it.url) == place), None)

    def safety_policy(self) -> RetentionPolicy | None:
        """The retention of snapshots of what restores replaced, or None: they are kept."""
        return None if self.file.retention is None else self.file.retention.safety_policy()

    def _named_source(self, wanted: str, *, origin: str) -> SourceChoice:
        if wanted in self.file.sources:
            self._require_defined("sources", wanted)
            return SourceChoice(name=wanted, settings=self.file.sources[wanted], origin=origin)
        if "://" in wanted or "=" in wanted:
            return SourceChoice(name=None, settings=SourceSettings(url=wanted), origin=origin)
        raise UsageError(
            f"no source is named {wanted!r}",
            hint=suggest(wanted, self.file.sources)
            or "give a configured name, or a URL such as postgresql://user@host/database",
        )

    def _named_repository(self, wanted: str) -> RepositoryChoice:
        if wanted in self.file.repositories:
            self._require_defined("repositories", wanted)
            return RepositoryChoice(name=wanted, settings=self.file.repositories[wanted])
        if is_place(wanted):
            return RepositoryChoice(name=None, settings=RepositorySettings(url=wanted))
        raise UsageError(
            f"no repository is named {wanted!r}",
            hint=suggest(wanted, self.file.repositories)
            or f"give a configured name, a URL such as s3://bucket/backups, or a path such as ./{wanted}",
        )

    def _require_defined(self, *section: str) -> None:
        for place, variable in self.undefined.items():
            if place[: len(section)] == section:
                raise undefined_variable(self.path, place, variable)


def _place(url: str) -> str:
    """Where an address leads, without its options and whichever way a path is written."""
    if "://" not in url or url.startswith("file://"):
        return str(Path(url.removeprefix("file://")).expanduser().resolve())
    return url.partition("?")[0].rstrip("/")


def suggest(wanted: str, known: Iterable[str]) -> str | None:
    close = difflib.get_close_matches(wanted, list(known), n=1, cutoff=0.6)
    if not close:  # `passphrase` is far from `passphrase_file`, but meant
        close = [name for name in known if name.startswith(wanted) and len(wanted) >= 3][:1]
    return f"did you mean {close[0]}?" if close else None


def undefined_variable(path: Path | None, place: tuple[str, ...], variable: str) -> UsageError:
    return UsageError(
        f"{path}: {'.'.join(place)} needs the environment variable {variable}, which is not set or empty",
        hint=f"set {variable}, for example in .env",
    )
