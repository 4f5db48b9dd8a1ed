"""The probe tells honest storages from those that lie."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contract.conftest import new_prefix
from holdfast.domain.errors import LackingRightsError, StorageUnusableError, UnreachableError
from holdfast.storage import Buffer, ObjectInfo, Storage
from holdfast.storage.cloud import CloudStorage
from holdfast.storage.local import LocalStorage
from holdfast.storage.memory import MemoryStorage
from holdfast.storage.probe import probe
from holdfast.storage.wrap import Retrying, Through
from servers import s3_swift
from servers.process import Server

KEEPS_MD5 = {"memory:": True, "file": False, "s3": True, "az": False}


def test_honest_storage_is_found_honest(fair_storage: Storage) -> None:
    """A storage that keeps every promise has every ability, and nothing is left of the probe."""
    found = probe(fair_storage, now=datetime.now(UTC))
    assert found.findings == ()
    assert found.create_once
    assert found.lists_at_once
    assert found.reads_ranges
    assert found.deletes
    kept = [keeps for scheme, keeps in KEEPS_MD5.items() if fair_storage.address.startswith(scheme)]
    assert [found.keeps_md5] == kept
    assert abs(found.clock_skew_seconds) < 600
    assert found.leftovers == ()
    assert list(fair_storage.list("")) == []


def test_server_that_ignores_the_condition_is_caught(rclone: Server) -> None:
    """rclone's server accepts a create on a taken name: found, said, and the rest of the abilities still told."""
    storage = Retrying(CloudStorage(rclone.url(new_prefix()), rclone.options))
    found = probe(storage, now=datetime.now(UTC))
    assert not found.create_once
    assert found.findings == ("a create on a taken name was accepted: the storage ignores create-once",)
    assert found.reads_ranges
    assert found.deletes
    assert list(storage.list("")) == []


def test_server_that_checks_then_writes_is_caught(swift: Server) -> None:
    """Swift refuses the second of two creates, but not the second of two at once: only a race shows it."""
    storage = CloudStorage(swift.url(new_prefix()), swift.options)
    # On a busy machine the racers of a probe may happen to come one after the other.
    for _ in range(10):
        found = probe(storage, now=datetime.now(UTC))
        if not found.create_once:
            break
    assert not found.create_once
    [finding] = found.findings
    assert finding.endswith("creates at the same time all won: the storage checks, then writes")
    assert list(storage.list("")) == []


def test_look_before_writing_does_not_pass_for_create_once(tmp_path: Path) -> None:
    """A storage opened without create-once has none, however rarely its window is hit."""
    found = probe(LocalStorage(tmp_path, create_once=False), now=datetime.now(UTC))
    assert not found.create_once
    assert found.findings == ("opened without create-once, so who wins a race was not tried",)


def test_clock_skew_is_measured() -> None:
    """The skew is positive when the storage's clock is ahead of ours."""
    for hours in (-1, 0, 2):
        found = probe(MemoryStorage(), now=datetime.now(UTC) - timedelta(hours=hours))
        assert found.clock_skew_seconds == pytest.approx(hours * 3600, abs=600)


def test_writer_without_delete_right_is_fine_and_told() -> None:
    """A storage that refuses deletes keeps the probe's objects, and they are named."""

    class Undeletable(Through):
        def delete(self, name: str) -> None:
            raise LackingRightsError(f"cannot delete {name}")

    storage = Undeletable(MemoryStorage())
    found = probe(storage, now=datetime.now(UTC))
    assert not found.deletes
    assert found.create_once
    assert found.findings == ("these credentials may not delete (fine for a writer)",)
    assert list(found.leftovers) == [info.name for info in storage.list("probe/")]
    assert len(found.leftovers) == 4


def test_reader_cannot_be_probed(swift: Server) -> None:
    """Without the right to write, the probe fails and says so."""
    storage = CloudStorage(swift.url(new_prefix()), s3_swift.READER)
    with pytest.raises(LackingRightsError, match="cannot write probe/"):
        probe(storage, now=datetime.now(UTC))


class Planted(Through):
    """An honest storage with one fault planted in it."""

    def __init__(self, fault: str) -> None:
        super().__init__(MemoryStorage())
        self._fault = fault

    def create(self, name: str, data: Buffer) -> None:
        if self._fault == "loses a race but stores" and name.rpartition("/")[2].startswith("race"):
            super().replace(name, data)
            if bytes(data[:1]) != b"\0":
                super().create(name, data)
            return
        super().create(name, data)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        data = super().get(name, offset=offset, length=length)
        if self._fault == "alters bytes":
            return data[::-1]
        if self._fault == "ranges off by one" and length is not None:
            return super().get(name, offset=offset + 1, length=length)
        return data

    def stat(self, name: str) -> ObjectInfo:
        info = super().stat(name)
        if self._fault == "strange md5":
            return ObjectInfo(
                name=name, size_bytes=info.size_bytes, modified_at=info.modified_at, md5="0" * 32
            )
        return info

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        infos = super().list(prefix, after=after)
        if self._fault == "lists late":
            next(infos)
        return infos

    def delete(self, name: str) -> None:
        if self._fault == "deletes nothing":
            return
        super().delete(name)


@pytest.mark.parametrize(
    ("fault", "ability"),
    [
        ("loses a race but stores", "create_once"),
        ("ranges off by one", "reads_ranges"),
        ("strange md5", "keeps_md5"),
        ("lists late", "lists_at_once"),
        ("deletes nothing", "deletes"),
    ],
)
def test_each_lie_costs_its_ability(fault: str, ability: str) -> None:
    """Each planted fault takes away just the ability that it breaks, with a finding."""
    found = probe(Planted(fault), now=datetime.now(UTC))
    abilities = ("create_once", "lists_at_once", "reads_ranges", "keeps_md5", "deletes")
    assert [name for name in abilities if not getattr(found, name)] == [ability]
    assert len(found.findings) == 1


def test_storage_that_alters_bytes_is_refused() -> None:
    """A storage that returns other bytes than were written is no place for backups."""
    with pytest.raises(StorageUnusableError, match="returns other bytes"):
        probe(Planted("alters bytes"), now=datetime.now(UTC))


def test_race_without_all_answers_decides_nothing() -> None:
    """If a racer's answer is lost, the probe fails instead of guessing, and cleans up."""

    class Flaky(Through):
        def create(self, name: str, data: Buffer) -> None:
            super().create(name, data)
            if "race" in name:
                raise UnreachableError("the answer got lost")

    storage = Flaky(MemoryStorage())
    with pytest.raises(UnreachableError, match="the answer got lost"):
        probe(storage, now=datetime.now(UTC))
    assert list(storage.list("")) == []
