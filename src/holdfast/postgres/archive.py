"""The table of contents of pg_dump's custom-format archives, read exactly as pg_restore reads it.

The layout is that of `ReadHead` and `ReadToc` in PostgreSQL's src/bin/pg_dump/pg_backup_archiver.c: 1.14 is
written by pg_dump 12 to 15, 1.15 by 16, 1.16 by 17 and 18. Invariant: a table of contents is read whole or not
at all; whatever does not fit the layout, or comes from a version not known here, is an `ArchiveError` that names
the field and its offset.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

MAGIC = b"PGDMP"
CUSTOM_FORMAT = 1
VERSIONS = ((1, 14), (1, 15), (1, 16))

# The smallest entry: four integers, thirteen strings and the offset's flag, all empty.
_SMALLEST_ENTRY_BYTES = 18
_SPECIAL = frozenset({"ENCODING", "STDSTRINGS", "SEARCHPATH"})
_ACLS = frozenset({"ACL", "DEFAULT ACL"})

# PostgreSQL's names of encodings, and Python's. SQL_ASCII promises nothing about the bytes: as
# everywhere here, one byte is one character.
_CODECS = {
    "UTF8": "utf-8",
    "SQL_ASCII": "iso8859-1",
    "BIG5": "big5",
    "EUC_CN": "gb2312",
    "EUC_JIS_2004": "euc_jis_2004",
    "EUC_JP": "euc_jp",
    "EUC_KR": "euc_kr",
    "GB18030": "gb18030",
    "GBK": "gbk",
    "ISO_8859_5": "iso8859-5",
    "ISO_8859_6": "iso8859-6",
    "ISO_8859_7": "iso8859-7",
    "ISO_8859_8": "iso8859-8",
    "JOHAB": "johab",
    "KOI8R": "koi8-r",
    "KOI8U": "koi8-u",
    "LATIN1": "iso8859-1",
    "LATIN2": "iso8859-2",
    "LATIN3": "iso8859-3",
    "LATIN4": "iso8859-4",
    "LATIN5": "iso8859-9",
    "LATIN6": "iso8859-10",
    "LATIN7": "iso8859-13",
    "LATIN8": "iso8859-14",
    "LATIN9": "iso8859-15",
    "LATIN10": "iso8859-16",
    "SHIFT_JIS_2004": "shift_jis_2004",
    "SJIS": "shift_jis",
    "UHC": "cp949",
    "WIN866": "cp866",
    "WIN874": "cp874",
    "WIN1250": "cp1250",
    "WIN1251": "cp1251",
    "WIN1252": "cp1252",
    "WIN1253": "cp1253",
    "WIN1254": "cp1254",
    "WIN1255": "cp1255",
    "WIN1256": "cp1256",
    "WIN1257": "cp1257",
    "WIN1258": "cp1258",
}


class ArchiveError(ValueError):
    """These bytes are no archive that is understood here; the message says which field and where."""


class Section(enum.IntEnum):
    """When an entry is restored, with the numbers the format uses."""

    NONE = 1
    PRE_DATA = 2
    DATA = 3
    POST_DATA = 4


class DataState(enum.IntEnum):
    """What the format says of where an entry's data lies."""

    POSITION_NOT_SET = 1
    POSITION_SET = 2
    NO_DATA = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of the table of contents.

    `section` is the section the entry is restored in: comments and grants are written with none and belong to
    the section of what precedes them (`ProcessArchiveRestoreOptions`). `definition` is the SQL that creates the
    thing; `drop` is empty for what has no owner of its own. `tablespace` None means that the entry has no
    storage, "" the database's default one. `relkind` is "" where unknown (before 1.16) or not applicable.
    """

    id: int
    had_dumper: bool
    catalog: int
    oid: int
    tag: str
    kind: str
    section: Section
    definition: str
    drop: str
    copy: str
    schema: str | None
    tablespace: str | None
    access_method: str | None
    relkind: str
    owner: str
    dependencies: tuple[int, ...]
    data_state: DataState
    data_offset: int

    @property
    def is_special(self) -> bool:
        """Whether the entry is a setting of the archive, not a thing in the database."""
        return self.kind in _SPECIAL

    @property
    def is_acl(self) -> bool:
        return self.kind in _ACLS

    @property
    def title(self) -> str:
        """The entry in words, for messages: `INDEX app.events_user_id_idx`."""
        name = f"{self.schema}.{self.tag}" if self.schema else self.tag
        return f"{self.kind} {name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A custom-format archive's header and table of contents.

    `encoding` is PostgreSQL's name of the encoding in which definitions must be sent (`encode`);
    `standard_strings` and `search_path` are the archive's settings, the latter the whole statement.
    """

    version: tuple[int, int, int]
    database: str
    server_version: str
    tool_version: str
    encoding: str
    standard_strings: bool
    search_path: str
    entries: tuple[Entry, ...]
    by_id: dict[int, Entry] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, source: bytes | Path) -> Archive:
        """Read an archive's bytes or file. Raises `ArchiveError` (a `ValueError`)."""
        return _Reader(source.read_bytes() if isinstance(source, Path) else source).archive()

    @property
    def tool_major(self) -> int:
        """The major version of the pg_dump that wrote it; no older pg_restore may read it."""
        digits = self.tool_version.split(".")[0].split(" ")[0]
        leading = "".join(character for character in digits if character.isdigit())
        if not leading:
            raise ArchiveError(f"archive names no tool version: {self.tool_version!r}")
        return int(leading[:2])

    def encode(self, text: str) -> bytes:
        """Text of this archive as the bytes that stood in it."""
        return text.encode(_codec(self.encoding), "surrogateescape")


def use_list(entries: Iterable[Entry]) -> str:
    """The text for `pg_restore --use-list` that restores just these entries, in this order.

    pg_restore reads the number before the semicolon; the rest is for people.
    """
    lines = [
        f"{entry.id}; {entry.catalog} {entry.oid} {' '.join(entry.title.split())} {' '.join(entry.owner.split())}"
        for entry in entries
    ]
    return "".join(f"{line}\n" for line in lines).encode("ascii", "replace").decode("ascii")


def _codec(encoding: str) -> str:
    try:
        return _CODECS[encoding]
    except KeyError:
        raise ArchiveError(f"archive is in the encoding {encoding!r}, which is not known here") from None


class _Reader:
    """A cursor over the archive's bytes; every read says what it wants, for the error."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._int_size = 0
        self._offset_size = 0
        self._codec = "utf-8"
        self._version = (0, 0, 0)

    def archive(self) -> Archive:
        database, server_version, tool_version = self._head()
        start = self._at
        encoding = self._find_encoding()
        self._at = start
        self._codec = _codec(encoding)
        entries = tuple(self._entries())
        settings = {entry.kind: entry.definition for entry in entries if entry.is_special}
        entries = _with_sections(entries)
        by_id = {entry.id: entry for entry in entries}
        if len(by_id) != len(entries):
            raise ArchiveError("archive has two entries of the same number")
        return Archive(
            version=self._version,
            database=database,
            server_version=server_version,
            tool_version=tool_version,
            encoding=encoding,
            standard_strings="'off'" not in settings.get("STDSTRINGS", ""),
            search_path=settings.get("SEARCHPATH", ""),
            entries=entries,
            by_id=by_id,
        )

    def _head(self) -> tuple[str, str, str]:
        if self._data[: len(MAGIC)] != MAGIC:
            raise ArchiveError("not a custom-format archive: it does not begin with PGDMP")
        self._at = len(MAGIC)
        version = self._version = (self._byte("version"), self._byte("version"), self._byte("version"))
        if version[:2] not in VERSIONS:
            known = ", ".join(f"{major}.{minor}" for major, minor in VERSIONS)
            raise ArchiveError(f"archive has format version {version[0]}.{version[1]}; known are {known}")
        self._int_size = self._byte("size of integers")
        self._offset_size = self._byte("size of offsets")
        if not 1 <= self._int_size <= 8 or not 1 <= self._offset_size <= 16:
            raise ArchiveError(
                f"archive has integers of {self._int_size} and offsets of {self._offset_size} bytes"
            )
        if (kind := self._byte("format")) != CUSTOM_FORMAT:
            raise ArchiveError(f"archive has format {kind}, not the custom format ({CUSTOM_FORMAT})")
        if version >= (1, 15, 0):
            self._byte("compression algorithm")
        else:
            self._int("compression level")
        for part in ("seconds", "minutes", "hours", "day", "month", "year", "daylight saving"):
            self._int(f"creation time ({part})")
        names = [self._text(f"header's {what}") for what in ("database", "server version", "tool version")]
        return names[0] or "", names[1] or "", names[2] or ""

    def _find_encoding(self) -> str:
        """The encoding, from its entry, before the names are decoded: its own definition is plain ASCII."""
        for entry in self._entries():
            if entry.kind == "ENCODING":
                parts = entry.definition.split("'")
                if len(parts) != 3:
                    raise ArchiveError(f"archive's ENCODING entry is {entry.definition!r}")
                return parts[1]
        return "SQL_ASCII"

    def _entries(self) -> Iterator[Entry]:
        count = self._int("number of entries")
        if count < 0 or count * _SMALLEST_ENTRY_BYTES > len(self._data):
            raise ArchiveError(f"archive claims {count} entries in {len(self._data)} bytes")
        for position in range(count):
            yield self._entry(position)

    def _entry(self, position: int) -> Entry:
        where = f"entry {position}'s"
        identifier = self._int(f"{where} number")
        if identifier <= 0:
            raise ArchiveError(f"{where} number is {identifier} at byte {self._at}")
        had_dumper = self._int(f"{where} data flag")
        catalog = self._oid(f"{where} catalog")
        oid = self._oid(f"{where} oid")
        tag = self._required(f"{where} tag")
        kind = self._required(f"{where} kind")
        section = self._int(f"{where} section")
        definition = self._text(f"{where} definition")
        drop = self._text(f"{where} drop statement")
        copy = self._text(f"{where} copy statement")
        schema = self._text(f"{where} schema")
        tablespace = self._text(f"{where} tablespace")
        access_method = self._text(f"{where} access method")
        relkind = self._int(f"{where} relkind") if self._version >= (1, 16, 0) else 0
        owner = self._text(f"{where} owner")
        with_oids = self._text(f"{where} WITH OIDS flag")
        if not 0 <= relkind < 128:
            raise ArchiveError(f"{where} relkind is {relkind} at byte {self._at}")
        if with_oids not in {"false", "true"}:
            raise ArchiveError(f"{where} WITH OIDS flag is {with_oids!r} at byte {self._at}")
        dependencies = self._dependencies(where)
        state = self._byte(f"{where} data state")
        offset = int.from_bytes(self._take(self._offset_size, f"{where} data offset"), "little")
        try:
            known_section, known_state = Section(section), DataState(state)
        except ValueError:
            raise ArchiveError(
                f"{where} section is {section} and its data state {state} at byte {self._at}"
            ) from None
        return Entry(
            id=identifier,
            had_dumper=bool(had_dumper),
            catalog=catalog,
            oid=oid,
            tag=tag,
            kind=kind,
            section=known_section,
            definition=definition or "",
            drop=drop or "",
            copy=copy or "",
            schema=schema or None,
            tablespace=tablespace,
            access_method=access_method or None,
            relkind=chr(relkind) if relkind > 0 else "",
            owner=owner or "",
            dependencies=dependencies,
            data_state=known_state,
            data_offset=offset,
        )

    def _dependencies(self, where: str) -> tuple[int, ...]:
        found: list[int] = []
        while (text := self._text(f"{where} dependency")) is not None:
            if not text.isdecimal():
                raise ArchiveError(f"{where} dependency is {text!r} at byte {self._at}")
            found.append(int(text))
        return tuple(found)

    def _take(self, length: int, what: str) -> bytes:
        end = self._at + length
        if end > len(self._data):
            raise ArchiveError(f"archive ends at byte {len(self._data)}, inside its {what}")
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def _byte(self, what: str) -> int:
        return self._take(1, what)[0]

    def _int(self, what: str) -> int:
        """A sign byte, then the magnitude, lowest byte first."""
        raw = self._take(self._int_size + 1, what)
        magnitude = int.from_bytes(raw[1:], "little")
        return -magnitude if raw[0] else magnitude

    def _text(self, what: str) -> str | None:
        """A length, then so many bytes; a negative length is C's null."""
        length = self._int(f"{what} (its length)")
        if length < 0:
            return None
        return self._take(length, what).decode(self._codec, "surrogateescape")

    def _required(self, what: str) -> str:
        text = self._text(what)
        if text is None:
            raise ArchiveError(f"{what} is missing at byte {self._at}")
        return text

    def _oid(self, what: str) -> int:
        """Oids are written as text, for historical reasons."""
        text = self._required(what)
        if not text.isdecimal():
            raise ArchiveError(f"{what} is {text!r} at byte {self._at}")
        return int(text)


def _with_sections(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Give entries without a section that of what precedes them, as pg_restore does."""
    current = Section.PRE_DATA
    placed: list[Entry] = []
    for entry in entries:
        if entry.section is Section.NONE:
            placed.append(replace(entry, section=current))
        else:
            current = entry.section
            placed.append(entry)
    return tuple(placed)
