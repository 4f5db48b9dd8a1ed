"""Names and text as SQL writes them: always quoted, so that no name can ever mean something else."""

from __future__ import annotations

from holdfast.domain.tables import QualifiedName


def quote(name: str) -> str:
    """An identifier. PostgreSQL has none with a NUL in it, so one here is a mistake of ours."""
    if "\0" in name or not name:
        raise ValueError(f"not an identifier: {name!r}")
    return '"' + name.replace('"', '""') + '"'


def qualified(name: QualifiedName) -> str:
    """`"schema"."name"`."""
    return f"{quote(name.schema)}.{quote(name.name)}"


def literal(text: str) -> str:
    """A string constant that reads the same whatever standard_conforming_strings says."""
    if "\0" in text:
        raise ValueError("PostgreSQL has no text with a NUL in it")
    quoted = "'" + text.replace("'", "''") + "'"
    return "E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted
