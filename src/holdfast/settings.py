"""Settings: `holdfast.toml`, `.env` and the environment, parsed once into frozen values.

Invariant: what is misspelt, missing or makes no sense is an error that names the place and, where one is close,
the right word; nothing is silently ignored. Secrets never show in a `repr` or in a message.

A variable that is not set breaks only the section that uses it: a restore on a fresh machine must not fail
because the address of the lost database is not known there.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from holdfast.domain.errors import UsageError
from holdfast.domain.tables import TablePatterns, Tier, TierRule

CONFIG_NAME = "holdfast.toml"

ENVIRONMENT = {
    "HOLDFAST_CONFIG": "the settings file, instead of holdfast.toml here",
    "HOLDFAST_SOURCE": "the source, when none is named",
    "HOLDFAST_REPOSITORY": "the repository, when none is named",
    "HOLDFAST_PASSPHRASE": "the repository's passphrase",
    "HOLDFAST_PASSPHRASE_FILE": "a file that holds the passphrase",
    "HOLDFAST_PASSPHRASE_COMMAND": "a command that prints the passphrase",
    "HOLDFAST_IDENTITY_FILE": "a file with an age identity, such as the recovery kit's",
    "HOLDFAST_PG_BIN": "folders of PostgreSQL's programs, instead of looking for them",
    "HOLDFAST_DEBUG": "1 shows tracebacks",
}

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\Z")
_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")

_Patterns = tuple[Annotated[str, Field(min_length=1)], ...]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class TierSettings(_Section):
    """Which tables come back first; whatever is not named is normal."""

    critical: _Patterns = ()
    high: _Patterns = ()
    normal: _Patterns = ()
    low: _Patterns = ()

    def rules(self) -> tuple[TierRule, ...]:
        named = {
            Tier.CRITICAL: self.critical,
            Tier.HIGH: self.high,
            Tier.NORMAL: self.normal,
            Tier.LOW: self.low,
        }
        return tuple(
            TierRule(tier=tier, tables=TablePatterns(patterns=patterns))
            for tier, patterns in named.items()
            if patterns
        )


class RepositorySettings(_Section):
    """Where snapshots live and what opens them. At most one of the passphrase_… keys is set."""

    url: str = Field(repr=False, min_length=1)
    options: dict[str, str | int | float | bool] = Field(default={}, repr=False)
    passphrase_env: str | None = None
    passphrase_file: Path | None = None
    passphrase_command: str | tuple[str, ...] | None = Field(default=None, repr=False)
    identity_file: Path | None = None

    @model_validator(mode="after")
    def _one_passphrase(self) -> RepositorySettings:
        given = [
            key
            for key in ("passphrase_env", "passphrase_file", "passphrase_command")
            if getattr(self, key) is not None
        ]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other")
        return self


class SourceSettings(_Section):
    """One database under care. An empty `url` means libpq's own environment (PGHOST, PGSERVICE, …).

    `jobs` and `lock_timeout_seconds` None: the workflow's own default (`BackupOptions`).
    """

    url: str = Field(default="", repr=False)
    repository: str | None = Field(default=None, repr=False)
    jobs: int | None = Field(default=None, ge=1, le=64)
    lock_timeout_seconds: float | None = Field(default=None, gt=0, le=3600)
    exclude_rows: _Patterns = ()
    tags: tuple[str, ...] = ()
    tiers: TierSettings = TierSettings()

    @field_validator("tags")
    @classmethod
    def _plain_tags(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        for tag in tags:
            check_tag(tag)
        return tags


class _File(_Section):
    default_source: str | None = None
    default_repository: str | None = None
    repositories: dict[str, RepositorySettings] = {}
    sources: dict[str, SourceSettings] = {}


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
    """Everything configured. `path` is the file it came from, None without one."""

    path: Path | None
    file: _File
    environ: Mapping[str, str] = field(repr=False)
    undefined: Mapping[tuple[str, ...], str] = field(default_factory=dict, repr=False)

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

    def _named_source(self, wanted: str, *, origin: str) -> SourceChoice:
        if wanted in self.file.sources:
            self._require_defined("sources", wanted)
            return SourceChoice(name=wanted, settings=self.file.sources[wanted], origin=origin)
        if "://" in wanted or "=" in wanted:
            return SourceChoice(name=None, settings=SourceSettings(url=wanted), origin=origin)
        raise UsageError(
            f"no source is named {wanted!r}",
            hint=_suggest(wanted, self.file.sources)
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
            hint=_suggest(wanted, self.file.repositories)
            or f"give a configured name, a URL such as s3://bucket/backups, or a path such as ./{wanted}",
        )

    def _require_defined(self, *section: str) -> None:
        for place, variable in self.undefined.items():
            if place[: len(section)] == section:
                raise _undefined(self.path, place, variable)


def load(
    *,
    config: Path | None = None,
    environ: MutableMapping[str, str] = os.environ,
    folder: Path | None = None,
) -> Settings:
    """Read the settings file if there is one, and `.env` beside it and in `folder` (the working folder).

    What `.env` says is put into `environ`, never over what is there. Raises `UsageError`.
    """
    folder = folder or Path.cwd()
    path = _find_config(config, environ, folder)
    for place in dict.fromkeys(([path.parent] if path else []) + [folder]):
        _load_env_file(place / ".env", environ)
    if path is None:  # .env itself may name it
        path = _find_config(None, environ, folder)
    if path is None:
        _check_environment(environ, used=())
        return Settings(path=None, file=_File(), environ=environ)
    raw = _read_toml(path)
    used: set[str] = set()
    undefined: dict[tuple[str, ...], str] = {}
    expanded = _expand(raw, (), environ, used=used, undefined=undefined)
    file = _validate(expanded, path, undefined)
    used.update(repository.passphrase_env or "" for repository in file.repositories.values())
    _check_environment(environ, used=used)
    _check_names(file, path)
    return Settings(path=path, file=_beside(file, path.parent), environ=environ, undefined=undefined)


def check_tag(tag: str) -> None:
    """Tags are words: they are listed, and given on command lines. Raises `ValueError`."""
    if not _NAME.match(tag):
        raise ValueError(f"{tag!r} is no tag: use letters, digits, dots, dashes and underscores")


def is_place(text: str) -> bool:
    """Whether a repository is named by where it is (a URL or a path), not by a configured name."""
    return "/" in text or text.startswith((".", "~"))


def _find_config(config: Path | None, environ: Mapping[str, str], folder: Path) -> Path | None:
    named = config or (Path(text) if (text := environ.get("HOLDFAST_CONFIG")) else None)
    if named is not None:
        path = folder / named.expanduser()
        if not path.is_file():
            raise UsageError(
                f"settings file {named} does not exist", hint="name an existing file with --config"
            )
        return path
    path = folder / CONFIG_NAME
    return path if path.is_file() else None


def _load_env_file(path: Path, environ: MutableMapping[str, str]) -> None:
    """`dotenv` would only log a line that it cannot read; here that is an error."""
    if not path.is_file():
        return
    import dotenv.parser
    from dotenv.variables import parse_variables

    try:
        with path.open(encoding="utf-8") as stream:
            bindings = list(dotenv.parser.parse_stream(stream))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {_reason(error)}") from error
    values: dict[str, str] = {}
    for binding in bindings:
        if binding.error:
            raise UsageError(
                f"{path} line {binding.original.line} is not NAME=value", hint="mend the line, or remove it"
            )
        if binding.key is None or binding.value is None:
            continue
        known = {**values, **environ}
        values[binding.key] = "".join(atom.resolve(known) for atom in parse_variables(binding.value))
    for name, value in values.items():
        environ.setdefault(name, value)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"{path} is not valid TOML: {_lowered(str(error))}", hint="mend that line"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {_reason(error)}") from error


def _expand(
    value: object,
    place: tuple[str, ...],
    environ: Mapping[str, str],
    *,
    used: set[str],
    undefined: dict[tuple[str, ...], str],
) -> object:
    """`${NAME}` and `${NAME:-otherwise}` in every string; `$${` is a plain `${`."""
    if isinstance(value, dict):
        return {
            key: _expand(item, (*place, key), environ, used=used, undefined=undefined)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [
            _expand(item, (*place, str(index)), environ, used=used, undefined=undefined)
            for index, item in enumerate(value)
        ]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name, otherwise = match[1], match[2]
        if name is None:
            return "${"
        used.add(name)
        found = environ.get(name)
        if found:
            return found
        if otherwise is not None:
            return otherwise
        # Empty counts as not set: an empty url would mean some other database.
        undefined.setdefault(place, name)
        return ""

    return _VARIABLE.sub(replace, value)


def _validate(raw: object, path: Path, undefined: Mapping[tuple[str, ...], str]) -> _File:
    """Problems at places with an undefined variable are set aside: they are reported when that section is used."""
    try:
        return _File.model_validate(raw)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
        for detail in details:
            location = tuple(str(part) for part in detail["loc"])
            for place, variable in undefined.items():
                if location[: len(place)] == place:
                    raise _undefined(path, place, variable) from None
        problems = [_problem(detail["type"], detail["loc"], detail["msg"]) for detail in details]
        hints = [hint for _, hint in problems if hint]
        raise UsageError(
            f"{path}: {'; '.join(text for text, _ in problems)}",
            hint=hints[0] if hints else "mend the settings file",
        ) from None


def _problem(kind: str, location: tuple[int | str, ...], message: str) -> tuple[str, str | None]:
    """One of pydantic's findings in our words, with a suggestion for unknown keys. Never shows the value."""
    place = ".".join(str(part) for part in location)
    if kind == "extra_forbidden":
        known = _keys_of(location[:-1])
        key = str(location[-1])
        suggestion = _suggest(key, known) or f"known here: {', '.join(known)}"
        return f"unknown key {place}", suggestion
    if kind == "missing":
        return f"{place} is missing", f"add {place}"
    return f"{place}: {_lowered(message.removeprefix('Value error, '))}", None


def _keys_of(section: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = _File
    if section[:1] == ("repositories",):
        model = RepositorySettings
    elif section[:1] == ("sources",):
        model = TierSettings if section[2:3] == ("tiers",) else SourceSettings
    return list(model.model_fields)


def _check_names(file: _File, path: Path) -> None:
    for kind, names in (("sources", file.sources), ("repositories", file.repositories)):
        for name in names:
            if not _NAME.match(name):
                raise UsageError(
                    f"{path}: {kind}.{name!r} is no name",
                    hint="use letters, digits, dots, dashes and underscores",
                )
    references: list[tuple[str, str | None, Mapping[str, object]]] = [
        ("default_source", file.default_source, file.sources),
        ("default_repository", file.default_repository, file.repositories),
    ]
    references += [
        (f"sources.{name}.repository", source.repository, file.repositories)
        for name, source in file.sources.items()
    ]
    for place, wanted, known in references:
        if wanted and wanted not in known and not is_place(wanted):
            raise UsageError(
                f"{path}: {place} names {wanted!r}, which is not configured",
                hint=_suggest(wanted, known) or f"configured are: {', '.join(known) or 'none'}",
            )


def _check_environment(environ: Mapping[str, str], used: Iterable[str]) -> None:
    """A misspelt HOLDFAST_ variable would silently do nothing."""
    for name in environ:
        if name.startswith("HOLDFAST_") and name not in ENVIRONMENT and name not in set(used):
            close = difflib.get_close_matches(name, ENVIRONMENT, n=1, cutoff=0.85)
            if close:
                raise UsageError(
                    f"unknown environment variable {name}",
                    hint=f"did you mean {close[0]}? unset {name} otherwise",
                )


def _beside(file: _File, folder: Path) -> _File:
    """Relative paths in the settings file start from its folder, wherever the command runs."""

    def anchored(settings: RepositorySettings) -> RepositorySettings:
        update: dict[str, Any] = {
            key: folder / path.expanduser()
            for key in ("passphrase_file", "identity_file")
            if (path := getattr(settings, key)) is not None
        }
        if "://" not in settings.url:
            update["url"] = str(folder / Path(settings.url).expanduser())
        return settings.model_copy(update=update)

    repositories = {name: anchored(settings) for name, settings in file.repositories.items()}
    sources = {
        name: settings.model_copy(update={"repository": str(folder / Path(settings.repository).expanduser())})
        if settings.repository and is_place(settings.repository) and "://" not in settings.repository
        else settings
        for name, settings in file.sources.items()
    }
    return file.model_copy(update={"repositories": repositories, "sources": sources})


def _suggest(wanted: str, known: Iterable[str]) -> str | None:
    close = difflib.get_close_matches(wanted, list(known), n=1, cutoff=0.6)
    if not close:  # `passphrase` is far from `passphrase_file`, but meant
        close = [name for name in known if name.startswith(wanted) and len(wanted) >= 3][:1]
    return f"did you mean {close[0]}?" if close else None


def _undefined(path: Path | None, place: tuple[str, ...], variable: str) -> UsageError:
    return UsageError(
        f"{path}: {'.'.join(place)} needs the environment variable {variable}, which is not set or empty",
        hint=f"set {variable}, for example in .env",
    )


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".")


def _reason(error: Exception) -> str:
    return _lowered(error.strerror or "") if isinstance(error, OSError) else "it is not UTF-8"
