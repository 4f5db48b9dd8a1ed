"""Which objects each snapshot needs: its root's, and those of the manifests below it.

Manifests are shared between snapshots, so each is opened once, by the place where it lies. Only the lists of
objects are decoded: what else a manifest says does not matter here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

from holdfast.domain.errors import DamagedError, ObjectMissingError
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import BlobRef, SnapshotSummary
from holdfast.repository.blobs import read_blob
from holdfast.repository.encoding import Json, MalformedError, decode_blob, from_bytes
from holdfast.repository.packs import PackReader
from holdfast.repository.repo import Repository
from holdfast.repository.seal import ObjectType

READERS = 8

Place = tuple[str, int]
"""Object and offset of a manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Root:
    """What of a root matters here: the objects that it names itself, and where its manifests lie."""

    objects: tuple[str, ...]
    manifests: tuple[Place, ...]


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
    repository: Repository, summaries: Iterable[SnapshotSummary], *, is_swept: Callable[[SnapshotId], bool]
) -> References:
    """Read roots and manifests. Raises `DamagedError` for any that cannot be read, except that those of swept
    snapshots may be gone: a collection that was killed, or runs beside this one, has deleted them, and their data
    before them."""
    with ThreadPoolExecutor(READERS, thread_name_prefix="holdfast-collect") as pool:
        roots: dict[SnapshotId, _Root] = {}
        kinds: dict[Place, tuple[ObjectType, BlobRef]] = {}
        wanted = list(summaries)
        for summary, document in zip(
            wanted, pool.map(lambda item: _read_root(repository, item, is_swept), wanted), strict=True
        ):
            if document is None:
                continue
            roots[summary.snapshot] = _decode_root(summary, document, kinds)

        def may_be_gone(place: Place) -> bool:
            return all(is_swept(snapshot) for snapshot, root in roots.items() if place in root.manifests)

        groups = _by_object(kinds)
        manifests: dict[Place, tuple[str, ...]] = {}
        for group in pool.map(lambda refs: _read_group(repository, refs, may_be_gone), groups):
            manifests.update(group)
    return References(roots, manifests)


def _read_root(
    repository: Repository, summary: SnapshotSummary, is_swept: Callable[[SnapshotId], bool]
) -> dict[str, Json] | None:
    try:
        data = read_blob(repository.storage, repository.sealer, ObjectType.ROOT, summary.root)
    except DamagedError as error:
        if isinstance(error.__cause__, ObjectMissingError) and is_swept(summary.snapshot):
            return None
        raise
    return _parse(summary.root, data)


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
        return _Root(objects=names, manifests=tuple(places))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise _malformed(summary.root, error) from error


def _by_object(
    kinds: Mapping[Place, tuple[ObjectType, BlobRef]],
) -> Iterator[list[tuple[ObjectType, BlobRef]]]:
    groups: dict[str, list[tuple[ObjectType, BlobRef]]] = {}
    for (name, _), found in sorted(kinds.items(), key=lambda item: item[0]):
        groups.setdefault(name, []).append(found)
    yield from groups.values()


def _read_group(
    repository: Repository,
    refs: list[tuple[ObjectType, BlobRef]],
    may_be_gone: Callable[[Place], bool],
) -> dict[Place, tuple[str, ...]]:
    """All manifests in one object, which is fetched once."""
    packs = PackReader(repository.storage, repository.sealer)
    found = {}
    for kind, ref in refs:
        place = (ref.object_name, ref.offset)
        try:
            document = _parse(ref, packs.read(kind, ref))
            found[place] = tuple(str(item[0]) for item in document["objects"])
        except DamagedError as error:
            if not (isinstance(error.__cause__, ObjectMissingError) and may_be_gone(place)):
                raise
            found[place] = ()
        except (KeyError, TypeError, IndexError) as error:
            raise _malformed(ref, error) from error
    return found


def _parse(ref: BlobRef, data: bytes) -> dict[str, Json]:
    try:
        return from_bytes(data, dict)
    except MalformedError as error:
        raise _malformed(ref, error) from error


def _malformed(ref: BlobRef, error: Exception) -> DamagedError:
    return DamagedError(f"object {ref.object_name} is damaged: {error}", object_name=ref.object_name)
