"""The far end of a copy: asked, before the copy is committed, whether it holds what was sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from holdfast.domain.errors import DamagedError
from holdfast.domain.ids import SnapshotId
from holdfast.domain.manifest import BlobRef
from holdfast.repository import layout
from holdfast.repository.checking.check import Problem, Uses, check_checksum, check_content
from holdfast.repository.repo import Repository
from holdfast.repository.seal import ObjectType
from holdfast.storage import ObjectInfo


@dataclass(frozen=True, slots=True)
class Sent:
    """A blob that was stored at the far end by this copy."""

    kind: ObjectType
    ref: BlobRef


class FarEnd:
    """What one copy sent, and the proof that it arrived: level 1 by a listing, level 2 by the checksums that the
    storage vouches for (by reading back where it keeps none), level 3 by reading back and opening."""

    def __init__(self, repository: Repository, snapshot: SnapshotId, *, level: int) -> None:
        self._repository = repository
        self._snapshot = snapshot
        self._level = level
        self._objects: dict[str, Uses] = {}

    @property
    def bytes_sent(self) -> int:
        return sum(uses.size_bytes for uses in self._objects.values())

    def expect(self, sent: Iterable[Sent]) -> None:
        for item in sent:
            ref = item.ref
            uses = self._objects.setdefault(
                ref.object_name, Uses(name=ref.object_name, size_bytes=ref.object_bytes, md5=ref.object_md5)
            )
            uses.blobs[ref.offset, ref.length] = (item.kind, ref)

    def require(self, *, jobs: int, stop_if_asked: Callable[[], None]) -> None:
        """Raise `DamagedError` for the first object that is not there as it was sent."""
        found = {
            info.name: info
            for prefix in (layout.data_prefix(self._snapshot), layout.meta_prefix(self._snapshot))
            for info in self._repository.storage.list(prefix)
        }

        def look(uses: Uses) -> Problem | None:
            stop_if_asked()
            return self._problem(uses, found.get(uses.name))

        with ThreadPoolExecutor(jobs, thread_name_prefix="holdfast-copy-check") as pool:
            for problem in pool.map(look, self._objects.values()):
                if problem is not None:
                    raise DamagedError(
                        f"{self._repository.address} does not hold what was sent: {problem.problem}",
                        object_name=problem.object_name,
                        hint="look for what is wrong with that storage, then copy again",
                    )

    def _problem(self, uses: Uses, info: ObjectInfo | None) -> Problem | None:
        if info is None or info.size_bytes != uses.size_bytes:
            state = (
                "missing" if info is None else f"{info.size_bytes} bytes long instead of {uses.size_bytes}"
            )
            text = f"object {uses.name} is {state}"
            return Problem(object_name=uses.name, snapshots=(), tables=(), problem=text)
        if self._level <= 1:
            return None
        if self._level == 2:
            return check_checksum(self._repository, uses, info.md5)
        return check_content(self._repository, uses)[1]
