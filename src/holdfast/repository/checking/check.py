"""Checks without a server: levels 0 to 3 (docs/FORMAT.md, "Verification").

Every level includes the ones below it. Nothing is repaired and nothing is removed; each finding names the
object, the snapshots and the tables that it touches. What could not be looked at is a finding too.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from holdfast.domain.errors import DamagedError, ObjectMissingError
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import BlobRef, Root, SnapshotSummary, TableEntry
from holdfast.domain.tables import QualifiedName
from holdfast.repository import layout
from holdfast.repository.blobs import check_blob, md5_of
from holdfast.repository.repo import Repository
from holdfast.repository.seal import ObjectType


@dataclass(slots=True)
class Uses:
    """All that the checked snapshots need of one object: its blobs, and who suffers if it is gone."""

    name: str
    size_bytes: int
    md5: str
    blobs: dict[tuple[int, int], tuple[ObjectType, BlobRef]] = field(default_factory=dict)
    snapshots: set[SnapshotId] = field(default_factory=set)
    tables: set[QualifiedName] = field(default_factory=set)


class Severity(enum.StrEnum):
    """`UNSEEN`: it came after the check began, sealed with newer keys, and was not looked at. `HINT`: damaged, but
    nothing rests on it. `ACCEPTED`: damaged, and an operator has accepted the loss."""

    DAMAGED = "damaged"
    UNSEEN = "unseen"
    HINT = "hint"
    ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something wrong with one object, and what it touches."""

    object_name: str
    snapshots: tuple[SnapshotId, ...]
    tables: tuple[QualifiedName, ...]
    problem: str
    severity: Severity = Severity.DAMAGED


Report = Callable[[Problem], None]


class Inventory:
    """Which objects the checked snapshots consist of: level 0 builds it, the other levels walk it."""

    def __init__(self, repository: Repository, report: Report) -> None:
        self._repository = repository
        self._report = report
        self.objects: dict[str, Uses] = {}

    def add_snapshot(self, summary: SnapshotSummary) -> None:
        """Read the root and all manifests below it; whatever cannot be read is reported."""
        snapshot = summary.snapshot
        self._use(ObjectType.ROOT, summary.root, snapshot, None)
        try:
            root = self._repository.root(summary)
        except DamagedError as error:
            self._report(
                Problem(
                    object_name=error.object_name,
                    snapshots=(snapshot,),
                    tables=(),
                    problem=f"{error.message}: every table of the snapshot is out of reach",
                )
            )
            return
        for piece in root.archive.pieces:
            self._use(ObjectType.ARCHIVE, piece, snapshot, None)
        self._add_tables(root)
        self._add_large_objects(root)

    def _add_tables(self, root: Root) -> None:
        groups: dict[BlobRef, list[TableEntry]] = {}
        for entry in root.tables:
            self._use(ObjectType.TABLE, entry.manifest, root.snapshot, entry.name)
            groups.setdefault(entry.manifest, []).append(entry)
        for group in groups.values():
            try:
                manifests = list(self._repository.tables(group))
            except DamagedError as error:
                self._touch(error, root.snapshot, *(entry.name for entry in group))
                continue
            for entry, manifest in manifests:
                for chunk in manifest.chunks():
                    self._use(ObjectType.CHUNK, chunk.blob, root.snapshot, entry.name)

    def _add_large_objects(self, root: Root) -> None:
        for blob in root.large_objects.lists:
            self._use(ObjectType.LARGE_OBJECTS, blob, root.snapshot, None)
        try:
            for item in self._repository.large_objects(root):
                for piece in item.pieces:
                    self._use(ObjectType.CHUNK, piece, root.snapshot, None)
        except DamagedError as error:
            self._touch(error, root.snapshot)

    def _use(self, kind: ObjectType, ref: BlobRef, snapshot: SnapshotId, table: QualifiedName | None) -> None:
        uses = self.objects.get(ref.object_name)
        if uses is None:
            uses = Uses(name=ref.object_name, size_bytes=ref.object_bytes, md5=ref.object_md5)
            self.objects[ref.object_name] = uses
        uses.blobs[ref.offset, ref.length] = (kind, ref)
        uses.snapshots.add(snapshot)
        if table is not None:
            uses.tables.add(table)

    def _touch(self, error: DamagedError, snapshot: SnapshotId, *tables: QualifiedName) -> None:
        self._report(
            Problem(
                object_name=error.object_name,
                snapshots=(snapshot,),
                tables=tuple(sorted(tables)),
                problem=error.message,
            )
        )


def problem_of(uses: Uses, text: str) -> Problem:
    return Problem(
        object_name=uses.name,
        snapshots=tuple(sorted(uses.snapshots)),
        tables=tuple(sorted(uses.tables)),
        problem=text,
    )


def check_presence(repository: Repository, objects: Iterable[Uses], report: Report) -> dict[str, str | None]:
    """Level 1: one listing; every object is there with its size. Returns the checksums that it showed."""
    listed = {
        info.name: info for prefix in (layout.DATA, layout.META) for info in repository.storage.list(prefix)
    }
    checksums: dict[str, str | None] = {}
    for uses in objects:
        info = listed.get(uses.name)
        if info is None:
            report(problem_of(uses, f"object {uses.name} is missing"))
        elif info.size_bytes != uses.size_bytes:
            report(
                problem_of(
                    uses,
                    f"object {uses.name} is damaged: expected {uses.size_bytes} bytes, found {info.size_bytes}",
                )
            )
        else:
            checksums[uses.name] = info.md5
    return checksums


def check_checksum(repository: Repository, uses: Uses, vouched: str | None) -> Problem | None:
    """Level 2: the sealed bytes have the checksum they were written with, by the storage's own word where it
    keeps one, by reading them where it does not (or where its word is of another kind)."""
    if vouched == uses.md5:
        return None
    try:
        found = md5_of(repository.storage.get(uses.name))
    except ObjectMissingError:
        return problem_of(uses, f"object {uses.name} is missing")
    if found != uses.md5:
        return problem_of(uses, f"object {uses.name} is damaged: expected checksum {uses.md5}, read {found}")
    return None


def check_content(repository: Repository, uses: Uses) -> tuple[int, Problem | None]:
    """Level 3: the object's bytes, opened, unpacked and identified. Returns the bytes of plaintext checked."""
    try:
        whole = repository.storage.get(uses.name)
    except ObjectMissingError:
        return 0, problem_of(uses, f"object {uses.name} is missing")
    if len(whole) != uses.size_bytes:
        text = f"object {uses.name} is damaged: expected {uses.size_bytes} bytes, read {len(whole)}"
        return 0, problem_of(uses, text)
    if (found := md5_of(whole)) != uses.md5:
        text = f"object {uses.name} is damaged: expected checksum {uses.md5}, read {found}"
        return 0, problem_of(uses, text)
    plain_bytes = 0
    view = memoryview(whole)
    for kind, ref in uses.blobs.values():
        try:
            sealed = view[ref.offset : ref.offset + ref.length]
            plain_bytes += check_blob(repository.sealer, sealed, kind, ref)
        except DamagedError as error:
            return plain_bytes, problem_of(uses, error.message)
    return plain_bytes, None


def check_contents(
    repository: Repository, objects: Iterable[Uses], *, jobs: int
) -> Iterator[tuple[Uses, int, Problem | None]]:
    """Level 3 over many objects, `jobs` at a time; yields as they finish, in the order given."""
    with ThreadPoolExecutor(jobs, thread_name_prefix="holdfast-verify") as pool:
        waiting = list(objects)
        for uses, result in zip(
            waiting, pool.map(lambda item: check_content(repository, item), waiting), strict=True
        ):
            yield uses, *result
