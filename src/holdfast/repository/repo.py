"""A repository, opened: one storage, one keyring, one format; and reading what its snapshots are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from holdfast.domain.errors import (
    DamagedError,
    ObjectExistsError,
    ObjectMissingError,
    RefusedError,
    UsageError,
)
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import (
    BlobRef,
    LargeObject,
    Root,
    SnapshotSummary,
    TableEntry,
    TableManifest,
)
from holdfast.repository import layout
from holdfast.repository.abreast import abreast
from holdfast.repository.blobs import missing, read_blob
from holdfast.repository.config import Config, decode_config, digest_of
from holdfast.repository.encoding import MalformedError
from holdfast.repository.keys.key_objects import read_key_objects
from holdfast.repository.keys.keyring import Keyring
from holdfast.repository.keys.secrets import Secrets
from holdfast.repository.keys.unlocking import unlock
from holdfast.repository.packs import PackReader
from holdfast.repository.registers.chronicle import Announced, Buried, Gone, understand
from holdfast.repository.registers.graves import Graves
from holdfast.repository.registers.heads import Heads
from holdfast.repository.registers.holds import Holds
from holdfast.repository.registers.journal import Journal
from holdfast.repository.registers.outcomes import Committed, Outcomes
from holdfast.repository.registers.writers import Writers
from holdfast.repository.root_codec import decode_root
from holdfast.repository.seal import HEADER_BYTES, ObjectType, SealBrokenError, Sealer, read_header
from holdfast.repository.table_codec import decode_large_objects, decode_tables
from holdfast.storage import Storage


class Repository:
    """Everything that needs the keys goes through here. Reading is safe from several threads."""

    def __init__(
        self, *, storage: Storage, keyring: Keyring, config: Config, warnings: tuple[str, ...] = ()
    ) -> None:
        self.storage = storage
        self.keyring = keyring
        self.config = config
        self.warnings = warnings
        self.sealer = Sealer(keyring=keyring)
        self.outcomes = Outcomes(storage, self.sealer)
        self.writers = Writers(storage, self.sealer)
        self.graves = Graves(storage, self.sealer)
        self.holds = Holds(storage, self.sealer)
        self.heads = Heads(storage, self.sealer)
        self.journal = Journal(storage, self.sealer, digest_of(config.encode()))

    @property
    def address(self) -> str:
        return self.storage.address

    def committed(self, *, buried: bool = False, threads: int = 1) -> Iterator[Committed]:
        """Committed snapshots, newest first; removed ones only with `buried`. `threads`: for who reads them all.

        Raises `DamagedError` at an
        outcome that cannot be read: a listing that leaves one out could make an older snapshot look like the
        latest."""
        gone = set() if buried else self.graves.buried()
        snapshots = sorted(set(self.outcomes.names()) - gone, reverse=True)
        for outcome in abreast(self.outcomes.read, snapshots, threads=threads):
            if isinstance(outcome, Committed):
                yield outcome

    def summary(self, snapshot: SnapshotId) -> SnapshotSummary:
        """The summary of one snapshot; `UsageError` if it was never committed, was removed, or is gone."""
        if self.graves.is_buried(snapshot):
            raise UsageError(
                f"snapshot {snapshot} was removed",
                hint=f"bring it back with holdfast undelete {snapshot}, while its objects are there",
            )
        try:
            outcome = self.outcomes.read(snapshot)
        except DamagedError as error:
            if (
                isinstance(error.__cause__, ObjectMissingError)
                and (end := self._end_of(snapshot)) is not None
            ):
                raise end from error
            raise
        if not isinstance(outcome, Committed):
            raise UsageError(
                f"snapshot {snapshot} was never committed: {outcome.reason}",
                hint="run holdfast list to see those that were",
            )
        return outcome.summary

    def _end_of(self, snapshot: SnapshotId) -> UsageError | None:
        """What the journal says of a snapshot without an outcome: it was removed and collected, or there never was
        any such. None if it should be there, or if that cannot be told."""
        text, hint, by = None, "run holdfast list to see those that there are", ""
        is_committing = is_unclear = False
        for step in self.journal.walk():
            heard, sayings = understand(step)
            if heard.entry is None:
                is_unclear = True
                continue
            on = f"on {heard.entry.at:%Y-%m-%d %H:%M} UTC"
            for said in sayings:
                if isinstance(said, Announced) and said.snapshot == snapshot:
                    is_committing = True
                elif isinstance(said, Buried) and snapshot in said.snapshots:
                    by = f" by {said.by} {on}"
                elif isinstance(said, Gone) and not said.lost and snapshot in said.snapshots:
                    text = (
                        f"there is no snapshot {snapshot} any more: it was removed{by}, and its objects were "
                        f"deleted {on}"
                    )
                    hint = "look for a copy in another repository"
        if text is None and not is_committing and not is_unclear:
            text = f"there is no snapshot {snapshot} here"
        return None if text is None else UsageError(text, hint=hint)

    def shares_identities(self, summary: SnapshotSummary) -> bool:
        """Whether a new snapshot may reuse what this one consists of.

        Not after a compromise: what was identified with a key that somebody else has is read and stored anew. Nor
        what was sealed anew from such a snapshot (reseal.py), in which the old keys' word was believed.
        """
        if self.keyring.has_one_identity_key:
            return True
        origin = summary.origin
        if origin is not None and origin.repository == str(self.config.repository_id):
            return False
        return self.has_current_identities(summary)

    def has_current_identities(self, summary: SnapshotSummary) -> bool:
        """Whether all of it is identified with the current key. A run seals and identifies with one epoch's keys
        from its begin to its end, and its root tells which."""
        name = summary.root.object_name
        try:
            header = read_header(self.storage.get(name, offset=summary.root.offset, length=HEADER_BYTES))
        except ObjectMissingError as error:
            raise missing(name) from error
        except SealBrokenError as error:
            raise error.as_damage(name) from error
        return self.keyring.shares_identities(header.epoch)

    def root(self, summary: SnapshotSummary) -> Root:
        """The root manifest that the outcome names, or `DamagedError`."""
        ref = summary.root
        plaintext = read_blob(self.storage, self.sealer, ObjectType.ROOT, ref)
        try:
            root = decode_root(plaintext)
        except MalformedError as error:
            raise _malformed(ref, error) from error
        if root.snapshot != summary.snapshot:
            raise DamagedError(
                f"object {ref.object_name} is damaged: it is the root of {root.snapshot}",
                object_name=ref.object_name,
            )
        return root

    def table(self, entry: TableEntry) -> TableManifest:
        """The manifest of one table that a root names, or `DamagedError`."""
        ((_, manifest),) = self.tables([entry])
        return manifest

    def tables(self, entries: Iterable[TableEntry]) -> Iterator[tuple[TableEntry, TableManifest]]:
        """Many tables' manifests, each object fetched once: ten thousand small tables share a few. In the order in
        which they are stored."""
        packs = PackReader(self.storage, self.sealer)
        groups: dict[BlobRef, list[TableEntry]] = {}
        for entry in entries:
            groups.setdefault(entry.manifest, []).append(entry)
        for ref, group in sorted(groups.items(), key=lambda item: (item[0].object_name, item[0].offset)):
            plaintext = packs.read(ObjectType.TABLE, ref)
            try:
                manifests = decode_tables(plaintext)
                found = [(entry, manifests[entry.oid]) for entry in group]
            except MalformedError as error:
                raise _malformed(ref, error) from error
            except KeyError as error:
                raise _malformed(ref, MalformedError(f"it has no table {error}")) from error
            yield from found

    def large_objects(self, root: Root) -> Iterator[LargeObject]:
        for ref in root.large_objects.lists:
            yield from self.large_object_list(ref)

    def large_object_list(self, ref: BlobRef) -> tuple[LargeObject, ...]:
        plaintext = read_blob(self.storage, self.sealer, ObjectType.LARGE_OBJECTS, ref)
        try:
            return decode_large_objects(plaintext)
        except MalformedError as error:
            raise _malformed(ref, error) from error

    def archive(self, root: Root) -> bytes:
        """The definitions as pg_dump wrote them: one custom-format archive."""
        data = b"".join(self.chunk(ref, ObjectType.ARCHIVE) for ref in root.archive.pieces)
        if len(data) != root.archive.size_bytes:
            raise DamagedError(
                f"the definitions of snapshot {root.snapshot} are damaged: expected "
                f"{root.archive.size_bytes} bytes, read {len(data)}",
                object_name=layout.root(root.snapshot),
            )
        return data

    def chunk(self, ref: BlobRef, kind: ObjectType = ObjectType.CHUNK) -> bytes:
        """The plaintext of one blob, its identity checked; or `DamagedError` with the object's name."""
        return read_blob(self.storage, self.sealer, kind, ref)


def read_config(storage: Storage) -> tuple[Config, bytes]:
    """The config and its bytes. `UsageError` if there is no repository at all."""
    try:
        data = storage.get(layout.CONFIG)
    except ObjectMissingError as error:
        if any(storage.list(layout.KEYS)):
            raise DamagedError(
                f"object {layout.CONFIG} is missing at {storage.address}, although key slots are there",
                object_name=layout.CONFIG,
                hint="put back the config from a copy of this repository",
            ) from error
        raise UsageError(
            f"there is no repository at {storage.address}", hint=f"run holdfast init --repo {storage.address}"
        ) from error
    return decode_config(data), data


def open_repository(storage: Storage, secrets: Secrets) -> Repository:
    """Open with whatever the secrets open. Raises `UsageError` if there is no repository, `LockedOutError`,
    `DamagedError`, or `RefusedError` for a format that this version does not know."""
    config, config_bytes = read_config(storage)
    unlocked = unlock(read_key_objects(storage), secrets)
    unlocked.keyring.check_config(config_bytes)
    return Repository(storage=storage, keyring=unlocked.keyring, config=config, warnings=unlocked.warnings)


def create_repository(
    *, storage: Storage, keyring: Keyring, config: Config, slots: Iterable[tuple[str, bytes]], now: datetime
) -> Repository:
    """Write the key slots, then the config, whose create-once write makes the repository exist.

    Raises `RefusedError` if one is there already, also when another process made it at the same time.
    """
    for present in (layout.CONFIG, layout.KEYS):
        for info in storage.list(present):
            raise RefusedError(
                f"there is a repository at {storage.address} already ({info.name})",
                hint="use it, or choose another address; an interrupted init leaves only keys/: remove those",
            )
    made = []
    for name, data in slots:
        storage.create(name, data)
        made.append(name)
    try:
        storage.create(layout.CONFIG, config.encode())
    except ObjectExistsError as error:
        for name in made:
            storage.delete(name)
        raise RefusedError(
            f"another process made a repository at {storage.address} at the same time", hint="use that one"
        ) from error
    repository = Repository(storage=storage, keyring=keyring, config=config)
    repository.journal.append("initialised", {"slots": made}, at=now)
    return repository


def _malformed(ref: BlobRef, error: MalformedError) -> DamagedError:
    return DamagedError(f"object {ref.object_name} is damaged: {error}", object_name=ref.object_name)
