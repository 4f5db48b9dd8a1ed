"""From `holdfast.toml`, `.env` and the environment to `Settings`; a mistake is an error that names its place."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from holdfast.domain.errors import UsageError
from holdfast.settings.amounts import ScheduleSettings
from holdfast.settings.choice import Settings, suggest, undefined_variable
from holdfast.settings.sections import (
    NAME,
    CopySettings,
    LockSettings,
    RepositorySettings,
    RetentionSettings,
    SettingsFile,
    SourceSettings,
    TierSettings,
    is_place,
)

CONFIG_NAME = "holdfast.toml"

ENVIRONMENT = {
    "HOLDFAST_CONFIG": "the settings file, instead of holdfast.toml here",
    "HOLDFAST_SOURCE": "the source, when none is named",
    "HOLDFAST_REPOSITORY": "the repository, when none is named",
    "HOLDFAST_PASSPHRASE": "the repository's passphrase",
    "HOLDFAST_PASSPHRASE_FILE": "a file that holds the passphrase",
    "HOLDFAST_PASSPHRASE_COMMAND": "a command that prints the passphrase",
    "HOLDFAST_IDENTITY_FILE": "a file with an age identity, such as the recovery kit's",
    "HOLDFAST_NICE": "by how much a run without a terminal lowers its priority, instead of 10",
    "HOLDFAST_PG_BIN": "folders of PostgreSQL's programs, instead of looking for them",
    "HOLDFAST_DEBUG": "1 shows tracebacks",
}

_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


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
        return Settings(path=None, file=SettingsFile(), environ=environ)
    raw = _read_toml(path)
    used: dict[str, set[tuple[str, ...]]] = {}
    undefined: dict[tuple[str, ...], str] = {}
    expanded = _expand(raw, (), environ, used=used, undefined=undefined)
    file = _validate(expanded, path, undefined)
    for name, repository in file.repositories.items():
        if repository.passphrase_env:
            used.setdefault(repository.passphrase_env, set()).add(("repositories", name, "passphrase_env"))
    _check_environment(environ, used=used)
    _check_names(file, path)
    return Settings(
        path=path, file=_beside(file, path.parent), environ=environ, undefined=undefined, variables=used
    )


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
    used: dict[str, set[tuple[str, ...]]],
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
        found = environ.get(name)
        if found or otherwise is None:
            used.setdefault(name, set()).add(place)
        else:
            used.setdefault(name, set())
        if found:
            return found
        if otherwise is not None:
            return otherwise
        # Empty counts as not set: an empty url would mean some other database.
        undefined.setdefault(place, name)
        return ""

    return _VARIABLE.sub(replace, value)


def _validate(raw: object, path: Path, undefined: Mapping[tuple[str, ...], str]) -> SettingsFile:
    """Problems at places with an undefined variable are set aside: they are reported when that section is used."""
    try:
        return SettingsFile.model_validate(raw)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
        for detail in details:
            location = tuple(str(part) for part in detail["loc"])
            for place, variable in undefined.items():
                if location[: len(place)] == place:
                    raise undefined_variable(path, place, variable) from None
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
        suggestion = suggest(key, known) or f"known here: {', '.join(known)}"
        return f"unknown key {place}", suggestion
    if kind == "missing":
        return f"{place} is missing", f"add {place}"
    return f"{place}: {_lowered(message.removeprefix('Value error, '))}", None


def _keys_of(section: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = SettingsFile
    if section[-1:] == ("retention",):
        model = RetentionSettings
    elif section[:1] == ("repositories",):
        model = LockSettings if section[2:3] == ("lock",) else RepositorySettings
    elif section[:1] == ("sources",):
        named: dict[str, type[BaseModel]] = {
            "tiers": TierSettings,
            "copies": CopySettings,
            "schedule": ScheduleSettings,
        }
        model = named.get(str(section[2]), SourceSettings) if len(section) > 2 else SourceSettings
    return [field.alias or name for name, field in model.model_fields.items()]


def _check_names(file: SettingsFile, path: Path) -> None:
    for kind, names in (("sources", file.sources), ("repositories", file.repositories)):
        for name in names:
            if not NAME.match(name):
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
    references += [
        (f"sources.{name}.copies", copy.repository, file.repositories)
        for name, source in file.sources.items()
        for copy in source.copies
    ]
    for place, wanted, known in references:
        if wanted and wanted not in known and not is_place(wanted):
            raise UsageError(
                f"{path}: {place} names {wanted!r}, which is not configured",
                hint=suggest(wanted, known) or f"configured are: {', '.join(known) or 'none'}",
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


def _beside(file: SettingsFile, folder: Path) -> SettingsFile:
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

    def anchored_place(place: str) -> str:
        is_folder = is_place(place) and "://" not in place
        return str(folder / Path(place).expanduser()) if is_folder else place

    def anchored_source(settings: SourceSettings) -> SourceSettings:
        copies = tuple(
            copy.model_copy(update={"repository": anchored_place(copy.repository)})
            for copy in settings.copies
        )
        place = anchored_place(settings.repository) if settings.repository else settings.repository
        return settings.model_copy(update={"repository": place, "copies": copies})

    repositories = {name: anchored(settings) for name, settings in file.repositories.items()}
    sources = {name: anchored_source(settings) for name, settings in file.sources.items()}
    return file.model_copy(update={"repositories": repositories, "sources": sources})


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".")


def _reason(error: Exception) -> str:
    return _lowered(error.strerror or "") if isinstance(error, OSError) else "it is not UTF-8"
