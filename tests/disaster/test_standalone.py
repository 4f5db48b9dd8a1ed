"""Rows without Holdfast: what docs/FORMAT.md says is enough, shown by a reader that uses nothing of ours.

Holdfast is imported only to make the repository that is read.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from argon2.low_level import Type, hash_secret_raw
from backports import zstd
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from holdfast.postgres.address import ServerAddress
from holdfast.storage.local import LocalStorage
from holdfast.workflows.backup import BackupOptions, BackupSource, backup
from holdfast.workflows.replicate import ReplicateOptions, replicate
from postgres_servers import Database
from repositories import PASSPHRASE, make_repository

TYPES = {1: "chunk", 2: "table", 3: "root", 4: "archive", 5: "outcome"}


class Reader:
    """The recipe of docs/FORMAT.md, "Rows without Holdfast", for a repository in a folder."""

    def __init__(self, folder: Path, passphrase: str) -> None:
        self.folder = folder
        config = (folder / "config").read_bytes()
        slot = json.loads((folder / "keys/00000001/passphrase").read_text())
        clear = {key: value for key, value in slot.items() if key not in ("wrapped", "checksum")}
        kdf = slot["kdf"]
        key = hash_secret_raw(
            passphrase.encode(),
            base64.b64decode(kdf["salt"]),
            kdf["passes"],
            kdf["memory_kib"],
            kdf["lanes"],
            32,
            Type.ID,
        )
        additional = json.dumps(clear, sort_keys=True, separators=(",", ":")).encode()
        nonce = base64.b64decode(slot["nonce"])
        payload = json.loads(AESGCM(key).decrypt(nonce, base64.b64decode(slot["wrapped"]), additional))
        assert payload["config_digest"] == hashlib.sha256(config).hexdigest()
        self.repository = uuid.UUID(payload["repository"]).bytes
        self.data_key = bytes.fromhex(payload["data_key"])
        self.identity_key = bytes.fromhex(payload["identity_key"])

    def open(self, blob: bytes) -> bytes:
        header, body = blob[:88], blob[88:]
        assert header[:5] == b"HFST\x01"
        assert len(body) == int.from_bytes(header[16:24], "little")
        info = b"holdfast/1/" + TYPES[header[5]].encode()
        key = HKDF(algorithm=SHA256(), length=32, salt=header[24:56], info=info).derive(self.data_key)
        plain = AESGCM(key).decrypt(bytes(12), body, header + self.repository)
        if header[6] == 1:
            plain = zstd.decompress(plain)
        assert blake3(info + b"\n" + plain, key=self.identity_key).digest() == header[56:88]
        return plain

    def follow(self, reference: list[Any], objects: list[Any]) -> bytes:
        place, offset, length, identity = reference[:4]
        blob = (self.folder / objects[place][0]).read_bytes()[offset : offset + length]
        assert blob[56:88].hex() == identity
        return self.open(blob)

    def root(self, snapshot: str) -> dict[str, Any]:
        outcome = json.loads(self.open((self.folder / "outcomes" / snapshot).read_bytes()))
        assert outcome["snapshot"] == snapshot
        assert outcome["state"] == "committed"
        summary = outcome["summary"]
        root: dict[str, Any] = json.loads(self.follow(summary["root"], summary["objects"]))
        return root

    def archive(self, root: dict[str, Any]) -> bytes:
        return b"".join(self.follow(piece, root["objects"]) for piece in root["archive"]["pieces"])

    def tables(self, root: dict[str, Any]) -> Iterator[tuple[str, str, bytes]]:
        for oid, (schema, name), _, _, _, reference in root["tables"]:
            document = json.loads(self.follow(reference, root["objects"]))
            (table,) = (table for table in document["tables"] if table["oid"] == oid)
            chunks = [chunk for _, _, _, chunks in table["ranges"] for chunk in chunks]
            yield schema, name, b"".join(self.follow(chunk, document["objects"]) for chunk in chunks)


def test_rows_and_definitions_come_back_without_holdfast(database: Database, tmp_path: Path) -> None:
    """With docs/FORMAT.md's recipe alone, every row and the definitions come out of a repository in a folder, and
    of a copy of it."""
    database.execute(
        "create table big as select i, md5(i::text) as digest from generate_series(1, 300000) i",
        "create table small (a text, b int[])",
        r"insert into small values (E'tab\t newline\n backslash\\ \\N', '{1,NULL}'), (null, '{}'), ('', null)",
        "create table empty (a int)",
    )
    folder = tmp_path / "repository"
    folder.mkdir()
    repository = make_repository(LocalStorage(folder))
    source = BackupSource(name="alone", address=ServerAddress.parse(database.dsn))
    taken = backup(source, repository, options=BackupOptions())
    require_rows(Reader(folder, PASSPHRASE), taken.snapshot, database)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    copied = replicate(
        repository,
        repository.summary(taken.snapshot),
        make_repository(LocalStorage(elsewhere)),
        base=None,
        options=ReplicateOptions(),
        clock=lambda: datetime.now(UTC),
    ).summary
    reader = Reader(elsewhere, PASSPHRASE)
    assert reader.root(copied.snapshot)["origin"]["snapshot"] == taken.snapshot
    require_rows(reader, copied.snapshot, database)


def require_rows(reader: Reader, snapshot: str, database: Database) -> None:
    """Definitions and all rows, as the database itself says them."""
    root = reader.root(snapshot)
    assert reader.archive(root)[:5] == b"PGDMP"
    found = {f"{schema}.{name}": rows for schema, name, rows in reader.tables(root)}
    with psycopg.connect(database.dsn) as connection, connection.cursor() as cursor:
        for name, rows in found.items():
            with cursor.copy(f"copy {name} to stdout".encode()) as copy:
                assert rows == b"".join(bytes(piece) for piece in copy)
    assert set(found) == {"public.big", "public.small", "public.empty"}
