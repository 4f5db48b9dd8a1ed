"""Which partitions have to be loaded through their root, because after a restore a row may belong elsewhere.

A row's partition is decided by hashing or comparing its key. Hashes of enums are hashes of oids, which a restore
changes; and collations of the system or of ICU sort otherwise on another machine. Loading straight into the leaf
would then fail, or worse, would not. pg_dump does the same for enums (its --load-via-partition-root).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from holdfast.postgres.fingerprints import Types

# Operator classes that take any enum, array, record, range or multirange. For a key that is an expression they
# are all that is known of its type.
_POLYMORPHIC = frozenset({3500, 2277, 2249, 3831, 4537})


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One row of the query `partitions`. The lists have one item per key of the parent; `key_types` holds 0
    where the key is an expression. `stable`: the collation sorts the same everywhere."""

    child: int
    parent: int
    strategy: str
    key_types: list[int]
    class_types: list[int]
    stable: list[bool | None]
    deterministic: list[bool]
    collated: list[bool]

    def is_unsafe(self, types: Types) -> bool:
        if self.strategy == "h" and any(
            type_class in _POLYMORPHIC if key == 0 else types.written_by_oid(key)
            for key, type_class in zip(self.key_types, self.class_types, strict=True)
        ):
            return True
        if self.strategy == "r":
            # Enums compare by their order, which a restore keeps.
            return any(
                collated and not stable for collated, stable in zip(self.collated, self.stable, strict=True)
            )
        return not all(self.deterministic)


def load_roots(partitions: Iterable[Partition], types: Types) -> dict[int, int]:
    """The topmost table of each partition that has an unsafe one above it. Tables are named by oid."""
    above = {partition.child: partition for partition in partitions}
    roots: dict[int, int] = {}
    for child in above:
        unsafe, top = False, child
        while (step := above.get(top)) is not None:
            unsafe = unsafe or step.is_unsafe(types)
            top = step.parent
        if unsafe:
            roots[child] = top
    return roots
