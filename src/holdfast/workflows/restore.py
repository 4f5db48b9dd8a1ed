"""Restore: a snapshot into a new or an empty database, the vital tables first, every chunk checked before it
is sent. A restore that did not end leaves a target that says so."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from holdfast.domain.errors import DamagedError, RefusedError, UsageError
from holdfast.domain.events import Listener, Noticed, PhaseBegan, ignore
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import BlobRef, LargeObject, Root, TableEntry, TableManifest
from holdfast.domain.tables import QualifiedName, TablePatterns
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.archive import Archive
from holdfast.postgres.orphans import set_orphans_free
from holdfast.postgres.rebuild import Rebuild
from holdfast.postgres.rebuild_plan import (
    LargeObjectLoad,
    LargeObjectSupplier,
    LoadPart,
    RebuildMode,
    RebuildPlan,
    TableLoad,
)
from holdfast.postgres.selection import expand
from holdfast.postgres.target import Target
from holdfast.postgres.tools import find_tools
from holdfast.repository import layout
from holdfast.repository.packs import PackReader
from holdfast.repository.registers.writers import Purpose
from holdfast.repository.repo import Repository
from holdfast.repository.runs import pins
from holdfast.repository.runs.reuse import is_present, list_sizes
from holdfast.repository.seal import ObjectType
from holdfast.workflows.backup import BackupOptions, BackupSource, backup, now_utc
from holdfast.workflows.listing import SAFETY_PREFIX
from holdfast.workflows.reports import BackupReport, RestoreReport, TierTime

DEFAULT_JOBS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    """`replace`: the target database's name, given again, to drop and rebuild it. `include` and `exclude` choose
    tables. `owner`, `acl`: whether ownership and grants come back. `safety_snapshot`: of what gets replaced."""

    create: bool = False
    replace: str | None = None
    include: TablePatterns | None = None
    exclude: TablePatterns | None = None
    schema_only: bool = False
    data_only: bool = False
    jobs: int = DEFAULT_JOBS
    owner: bool = True
    acl: bool = True
    safety_snapshot: bool = True
    tool_folder: Path | None = None

    def __post_init__(self) -> None:
        if self.schema_only and self.data_only:
            raise UsageError("schema only and data only exclude each other", hint="give one of them, or none")
        if self.data_only and (self.create or self.replace is not None):
            raise UsageError(
                "data only needs tables that are there",
                hint="leave out --create and --replace, or --data-only",
            )

    @property
    def mode(self) -> RebuildMode:
        if self.schema_only:
            return RebuildMode.SCHEMA_ONLY
        return RebuildMode.DATA_ONLY if self.data_only else RebuildMode.WHOLE


def restore(
    repository: Repository,
    snapshot: SnapshotId,
    address: ServerAddress,
    *,
    options: RestoreOptions,
    listener: Listener = ignore,
    interrupted: threading.Event | None = None,
    clock: Callable[[], datetime] = now_utc,
) -> RestoreReport:
    """Bring a snapshot back. Everything that can be refused is refused before the target is touched. While it
    runs, no collection deletes what it reads.

    Raises `DamagedError` before a wrong row is committed, `RefusedError` for a target that is not empty.
    """
    with pins.reading(repository, [snapshot], purpose=Purpose.RESTORE, clock=clock) as pin:
        if pin.warning is not None:
            listener(Noticed(message=pin.warning))
        try:
            report = _restore(repository, snapshot, address, options, listener, interrupted, clock)
        except DamagedError:
            # What is missing may have been collected while nothing kept it.
            if pin.warning is not None:
                listener(Noticed(message=pin.warning))
            raise
        return report if pin.warning is None else replace(report, warnings=(*report.warnings, pin.warning))


def _restore(
    repository: Repository,
    snapshot: SnapshotId,
    address: ServerAddress,
    options: RestoreOptions,
    listener: Listener,
    interrupted: threading.Event | None,
    clock: Callable[[], datetime],
) -> RestoreReport:
    began = time.monotonic()
    stop = interrupted or threading.Event()
    listener(PhaseBegan(phase="reading the snapshot"))
    reading = _Snapshot.read(repository, snapshot)
    with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        archive = Path(folder) / "definitions.dump"
        archive.write_bytes(repository.archive(reading.root))
        plan = _make_plan(reading, archive, options)
        reading.require_objects(large_objects=bool(plan.large_objects) and not options.schema_only)
        target = Target(address)
        safety = _make_room(repository, reading.root, target, address, options, listener, stop, clock)
        rebuilt = Rebuild(
            plan,
            address,
            toolsets=find_tools([options.tool_folder] if options.tool_folder else ()),
            rows=reading.rows,
            listener=listener,
            interrupted=stop,
        ).run()
    return RestoreReport(
        snapshot=snapshot,
        target=address.display(),
        seconds=time.monotonic() - began,
        tables=rebuilt.tables,
        rows=rebuilt.rows,
        bytes=rebuilt.bytes,
        tiers=tuple(TierTime(tier=item.tier, seconds=item.seconds) for item in rebuilt.tiers),
        warnings=(*_suspicions(safety, snapshot), *rebuilt.warnings),
        left_out=rebuilt.left_out,
        safety_snapshot=safety.snapshot if safety else None,
        refuted=safety.refuted if safety else (),
        suspects=safety.suspects if safety else (),
    )


def _make_room(
    repository: Repository,
    root: Root,
    target: Target,
    address: ServerAddress,
    options: RestoreOptions,
    listener: Listener,
    stop: threading.Event,
    clock: Callable[[], datetime],
) -> BackupReport | None:
    """See to it that the target is there and may be written; returns how the safety snapshot was taken, if one
    was."""
    safety = None
    if options.replace is not None:
        safety = _replace(repository, target, address, options, listener, stop, clock)
        target.create(root.database, owner=options.owner)
    elif options.create:
        if target.exists():
            raise RefusedError(
                f"database {address.database} exists already at {address.display()}",
                hint=f"leave out --create if it is empty, or replace it with --replace {address.database}",
            )
        target.create(root.database, owner=options.owner)
    if options.mode is not RebuildMode.DATA_ONLY:
        target.check_ready(source_version=root.database.server_version)
    return safety


def _replace(
    repository: Repository,
    target: Target,
    address: ServerAddress,
    options: RestoreOptions,
    listener: Listener,
    stop: threading.Event,
    clock: Callable[[], datetime],
) -> BackupReport | None:
    if options.replace != address.database:
        raise RefusedError(
            f"--replace names {options.replace}, but the target database is {address.database}",
            hint=f"give --replace {address.database} if that is the one to lose its content",
        )
    if not target.exists():
        return None
    target.check_can_drop()
    safety = None
    if (unfinished := target.unfinished_restore()) is not None:
        text = f"what gets replaced is {unfinished}: no safety snapshot of it is taken"
        listener(Noticed(message=text))
    elif options.safety_snapshot:
        listener(PhaseBegan(phase=f"taking a safety snapshot of {address.database}"))
        safety = backup(
            BackupSource(name=f"{SAFETY_PREFIX}{address.database}", address=address),
            repository,
            options=BackupOptions(tags=("safety",), jobs=options.jobs, tool_folder=options.tool_folder),
            listener=listener,
            interrupted=stop,
            clock=clock,
        )
        for warning in _warnings_of(safety):
            listener(Noticed(message=warning))
        missing = [entry for entry in safety.coverage if entry.status == "failed"]
        if missing:
            raise RefusedError(
                f"the safety snapshot {safety.snapshot} of {address.database} lacks {len(missing)} things, "
                f"{missing[0].kind} {missing[0].name} among them",
                hint="connect as a role that may read everything, or give --no-safety-snapshot",
            )
        listener(Noticed(message=f"safety snapshot {safety.snapshot} holds what gets replaced"))
    target.drop()
    return safety


def _warnings_of(safety: BackupReport) -> tuple[str, ...]:
    return tuple(f"safety snapshot: {warning}" for warning in safety.warnings)


def _suspicions(safety: BackupReport | None, restored: SnapshotId) -> tuple[str, ...]:
    """What the safety snapshot warned of, and whether that touches what was restored."""
    if safety is None:
        return ()
    if restored not in safety.suspects:
        return _warnings_of(safety)
    tables = ", ".join(map(str, safety.refuted))
    text = f"snapshot {restored}, which was restored, is one of those that may hold old rows of {tables}"
    return (*_warnings_of(safety), text)


class _Snapshot:
    """A snapshot with its manifests at hand, and its rows on demand, checked."""

    def __init__(
        self,
        repository: Repository,
        root: Root,
        tables: Mapping[QualifiedName, tuple[TableEntry, TableManifest]],
    ) -> None:
        self.repository = repository
        self.root = root
        self.tables = tables
        self._packs = PackReader(repository.storage, repository.sealer)

    @classmethod
    def read(cls, repository: Repository, snapshot: SnapshotId) -> _Snapshot:
        root = repository.root(repository.summary(snapshot))
        by_oid = {entry.oid: manifest for entry, manifest in repository.tables(root.tables)}
        tables = {entry.name: (entry, by_oid[entry.oid]) for entry in root.tables}
        return cls(repository, root, tables)

    def require_objects(self, *, large_objects: bool) -> None:
        """One listing: every object that rows, or large objects, will be read from is there, with its size. Before
        the target is touched, and above all before anything in it is dropped."""
        blobs = [chunk.blob for _, manifest in self.tables.values() for chunk in manifest.chunks()]
        if large_objects:
            blobs += (piece for item in self.repository.large_objects(self.root) for piece in item.pieces)
        sizes = list_sizes(self.repository.storage, {layout.snapshot_in(blob.object_name) for blob in blobs})
        for blob in blobs:
            if not is_present(blob, sizes):
                found = sizes.get(blob.object_name)
                state = "missing" if found is None else f"{found} bytes long instead of {blob.object_bytes}"
                raise DamagedError(
                    f"object {blob.object_name} is {state}; nothing was changed", object_name=blob.object_name
                )

    def rows(self, table: TableLoad, parts: range) -> Iterator[bytes]:
        """The rows of some ranges of a table, chunk by chunk, each one's identity checked."""
        _, manifest = self.tables[table.name]
        records = manifest.ranges[parts.start : parts.stop]
        chunks = (chunk for record in records for chunk in record.chunks)
        yield from self._packs.read_all((ObjectType.CHUNK, chunk.blob) for chunk in chunks)

    def large_objects(self, ref: BlobRef) -> LargeObjectSupplier:
        def supply() -> Iterator[LargeObjectLoad]:
            for item in self.repository.large_object_list(ref):
                yield LargeObjectLoad(
                    oid=item.oid,
                    size_bytes=item.size_bytes,
                    statements=item.statements,
                    pieces=self._pieces(item),
                )

        return supply

    def _pieces(self, item: LargeObject) -> Iterator[bytes]:
        yield from self._packs.read_all((ObjectType.CHUNK, piece) for piece in item.pieces)


def _make_plan(reading: _Snapshot, archive: Path, options: RestoreOptions) -> RebuildPlan:
    root = reading.root
    only = _chosen(reading, archive, options)
    loads = tuple(
        _table_load(entry, manifest)
        for name, (entry, manifest) in reading.tables.items()
        if only is None or name in only
    )
    whole = only is None
    return RebuildPlan(
        snapshot=root.snapshot,
        archive=archive,
        database=root.database,
        encoding=root.database.encoding,
        tables=loads,
        sequences=root.sequences,
        large_objects=[reading.large_objects(ref) for ref in root.large_objects.lists] if whole else (),
        matviews=root.matviews,
        roles=root.roles,
        memberships=root.memberships,
        mode=options.mode,
        only_tables=only,
        jobs=options.jobs,
        owner=options.owner,
        acl=options.acl,
    )


def _chosen(reading: _Snapshot, archive: Path, options: RestoreOptions) -> frozenset[QualifiedName] | None:
    """The tables meant, or None for the whole snapshot. A pattern that names nothing is an error."""
    if options.include is None and options.exclude is None:
        return None
    definitions, _ = set_orphans_free(Archive.parse(archive))
    every = options.include or TablePatterns(patterns=("*.*",))
    chosen = expand(definitions, every)
    if options.exclude is not None:
        chosen -= expand(definitions, options.exclude)
    if not chosen:
        known = ", ".join(sorted(map(str, reading.tables))[:8])
        raise UsageError(
            f"no table of snapshot {reading.root.snapshot} is meant by the patterns given",
            hint=f"its tables are {known}; holdfast show names them all",
        )
    return chosen


def _table_load(entry: TableEntry, manifest: TableManifest) -> TableLoad:
    return TableLoad(
        name=entry.name,
        columns=tuple(column.name for column in manifest.columns),
        parts=tuple(
            LoadPart(rows=record.rows, plain_bytes=sum(chunk.blob.plain_bytes for chunk in record.chunks))
            for record in manifest.ranges
        ),
        tier=entry.tier,
        load_via=manifest.load_via,
        condition=manifest.condition,
        extension=manifest.extension,
    )
