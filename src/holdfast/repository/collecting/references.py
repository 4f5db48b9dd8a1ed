"""Which objects each snapshot needs: its root's, and those of the manifests below it.

Manifests are shared between snapshots, so each is opened once, by the place where it lies. Only the lists of
objects are decoded: what else a manifest says does not matter here. Fetching waits, so it is done several at a
time; opening is work for this thread, which others would only hold up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain

from holdfast.domain.errors import DamagedError, ObjectMissingError
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import BlobRef, SnapshotSummary
from holdfast.repository.abreast import abreast
from holdfast.repository.blobs import fetch, missing, open_blob, read_blob
from holdfast.repository.encoding import Json, MalformedError, decode_blob, from_bytes
from holdfast.repository.packs import KEEP_BYTES
from holdfast.repository.repo import Repository
from holdfast.repository.seal import ObjectType

READERS = 8

Place = tuple[str, int]
"""Object and offset of a manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Root:
    """What of a root matters here: the objects that it names itself, and where its manifests lie."""

    identity: bytes
    objects: tuple[str, ...]
    manifests: tuple[Place, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What this process has opened already. Roots and manifests never change, and the places where they lie are
    never used again: opening them twice would say the same twice."""

    roots: dict[SnapshotId, _Root] = field(default_factory=dict)
    manifests: dict[Place, tuple[str, ...]] = field(default_factory=dict)


class References:
    """The objects that snapshots need. Immutable once read."""

    def __init__(self, roots: Mapping[SnapshotId, _Root], manifests: Mapping[Place, tuple[str, ...]]) -> None:
        self._roots = roots
        self._manifests = manifests

    def of(self, snapshot: SnapshotId) -> set[str]:
        """All objects of one snapshot; none if it was not read."""
        root = self._roots.get(snapshot)
        if root is None:
            return set()
        return set(root.objects).union(*(self._manifests[place] for place in root.manifests))

    def first_users(self, snapshots: Iterable[SnapshotId]) -> dict[str, SnapshotId]:
        """Every object that any of these needs, with the first one, in the order given, that does."""
        users: dict[str, SnapshotId] = {}
        seen: set[Place] = set()
        for snapshot in snapshots:
            root = self._roots.get(snapshot)
            if root is None:
                continue
            fresh = [place for place in root.manifests if place not in seen]
            seen.update(fresh)
            for name in chain(root.objects, *(self._manifests[place] for place in fresh)):
                users.setdefault(name, snapshot)
        return users


def read_references(
    repository: Repository,
    summaries: Iterable[SnapshotSummary],
    *,
    is_swept: Callable[[SnapshotId], bool],
    opened: Opened,
) -> References:
    """Read roots and manifests, but those in `opened`, and add them there. Raises `DamagedError` for any that
    cannot be read, except that those of swept snapshots may be gone: a collection that was killed, or runs beside
    this one, has deleted them, and their data before them."""
    roots: dict[SnapshotId, _Root] = {}
    kinds: dict[Place, tuple[ObjectType, BlobRef]] = {}
    unread = []
    for summary in summaries:
        known = opened.roots.get(summary.snapshot)
        if known is not None and known.identity == summary.root.identity and _has_all(opened, known):
            roots[summary.snapshot] = known
        else:
            unread.append(summary)
    sealed = abreast(lambda item: _fetch_root(repository, item, is_swept), unread, threads=READERS)
    for summary, data in zip(unread, sealed, strict=True):
        if data is not None:
            document = _parse(summary.root, open_blob(repository.sealer, data, ObjectType.ROOT, summary.root))
            roots[summary.snapshot] = _decode_root(summary, document, kinds)

    def may_be_gone(place: Place) -> bool:
        return all(is_swept(snapshot) for snapshot, root in roots.items() if place in root.manifests)

    places = {place for root in roots.values() for place in root.manifests}
    manifests = {place: opened.manifests[place] for place in places if place in opened.manifests}
    groups = _by_object({place: found for place, found in kinds.items() if place not in manifests})
    packs = abreast(lambda refs: _fetch_pack(repository, refs), groups, threads=READERS, ahead=READERS)
    for refs, pack in zip(groups, packs, strict=True):
        manifests.update(_read_group(repository, refs, pack, may_be_gone))
    opened.roots.update(roots)
    opened.manifests.update(manifests)
    return References(roots, {place: manifests.get(place, ()) for place in places})


def _has_all(opened: Opened, root: _Root) -> bool:
    """Not if a manifest was gone: it is looked for again."""
    return all(place in opened.manifests for place in root.manifests)


def _fetch_root(
    repository: Repository, summary: SnapshotSummary, is_swept: Callable[[SnapshotId], bool]
) -> bytes | None:
    try:
        return fetch(repository.storage, summary.root)
    except DamagedError as error:
        if isinstance(error.__cause__, ObjectMissingError) and is_swept(summary.snapshot):
            return None
        raise


def _decode_root(
    summary: SnapshotSummary,
    document: dict[str, Json],
    kinds: dict[Place, tuple[ObjectType, BlobRef]],
) -> _Root:
    try:
        if document["snapshot"] != summary.snapshot:
            raise MalformedError(f"it is the root of {document['snapshot']}")
        objects = document["objects"]
        places = []
        rows = chain(
            ((ObjectType.TABLE, row[5]) for row in document["tables"]),
            ((ObjectType.LARGE_OBJECTS, row) for row in document["large_objects"]["lists"]),
        )
        for kind, row in rows:
            place = (str(objects[row[0]][0]), int(row[1]))
            if place not in kinds:
                kinds[place] = (kind, decode_blob(row, objects))
            places.append(place)
        names = (summary.root.object_name, *(str(item[0]) for item in objects))
        return _Root(identity=summary.root.identity, objects=names, manifests=tuple(places))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise _malformed(summary.root, error) from error


def _by_object(
    kinds: Mapping[Place, tuple[ObjectType, BlobRef]],
) -> list[list[tuple[ObjectType, BlobRef]]]:
    groups: dict[str, list[tuple[ObjectType, BlobRef]]] = {}
    for (name, _), found in sorted(kinds.items(), key=lambda item: item[0]):
        groups.setdefault(name, []).append(found)
    return list(groups.values())


def _fetch_pack(
    repository: Repository, refs: list[tuple[ObjectType, BlobRef]]
) -> bytes | DamagedError | None:
    """The object that all of these lie in; None if it is too big to be held, and they are to be fetched singly."""
    ref = refs[0][1]
    if ref.object_bytes > KEEP_BYTES // 2:
        return None
    try:
        return repository.storage.get(ref.object_name)
    except ObjectMissingError as error:
        gone = missing(ref.object_name)
        gone.__cause__ = error
        return gone


def _read_group(
    repository: Repository,
    refs: list[tuple[ObjectType, BlobRef]],
    pack: bytes | DamagedError | None,
    may_be_gone: Callable[[Place], bool],
) -> dict[Place, tuple[str, ...]]:
    """All manifests in one object, but those that may be gone, and are."""
    found = {}
    for kind, ref in refs:
        place = (ref.object_name, ref.offset)
        try:
            document = _parse(ref, _open(repository, kind, ref, pack))
            found[place] = tuple(str(item[0]) for item in document["objects"])
        except DamagedError as error:
            if not (isinstance(error.__cause__, ObjectMissingError) and may_be_gone(place)):
                raise
        except (KeyError, TypeError, IndexError) as error:
            raise _malformed(ref, error) from error
    return found


def _open(repository: Repository, kind: ObjectType, ref: BlobRef, pack: bytes | DamagedError | None) -> bytes:
    if pack is None:
        return read_blob(repository.storage, repository.sealer, kind, ref)
    if isinstance(pack, DamagedError):
        raise pack
    return open_blob(repository.sealer, memoryview(pack)[ref.offset : ref.offset + ref.length], kind, ref)


def _parse(ref: BlobRef, data: bytes) -> dict[str, Json]:
    try:
        return from_bytes(data, dict)
    except MalformedError as error:
        raise _malformed(ref, error) from error


def _malformed(ref: BlobRef, error: Exception) -> DamagedError:
    return DamagedError(f"object {ref.object_name} is damaged: {error}", object_name=ref.object_name)
