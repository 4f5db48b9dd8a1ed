"""The repository's config: who it is and how it is written. Plain text, created once, never changed.

It is authenticated by unlocking: every key slot holds the digest of the config's bytes.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from datetime import datetime

from holdfast.domain.errors import DamagedError, RefusedError
from holdfast.repository import layout
from holdfast.repository.encoding import moment, parse_moment

FORMAT_VERSION = 1
KNOWN_FEATURES: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """`single_writer`: the storage cannot promise create-once, so only one run may write at a time.

    `read_features`, `write_features`, `collect_features`: what a program must understand before it reads,
    writes or collects here.
    """

    repository_id: uuid.UUID
    created_at: datetime
    single_writer: bool
    read_features: tuple[str, ...] = ()
    write_features: tuple[str, ...] = ()
    collect_features: tuple[str, ...] = ()

    def encode(self) -> bytes:
        document = {
            "holdfast": "repository",
            "format_version": FORMAT_VERSION,
            "repository": str(self.repository_id),
            "created_at": moment(self.created_at),
            "single_writer": self.single_writer,
            "features": {
                "read": list(self.read_features),
                "write": list(self.write_features),
                "collect": list(self.collect_features),
            },
        }
        return (json.dumps(document, indent=2) + "\n").encode("ascii")


def digest_of(config_bytes: bytes) -> str:
    return hashlib.sha256(config_bytes).hexdigest()


def decode_config(data: bytes) -> Config:
    """Raises `DamagedError` if it is no config, `RefusedError` if it asks for more than this program knows."""
    try:
        document = json.loads(data)
        version = int(document["format_version"])
        features = document["features"]
        config = Config(
            repository_id=uuid.UUID(document["repository"]),
            created_at=parse_moment(document["created_at"]),
            single_writer=bool(document["single_writer"]),
            read_features=tuple(features["read"]),
            write_features=tuple(features["write"]),
            collect_features=tuple(features["collect"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(
            f"object {layout.CONFIG} is damaged: {error}",
            object_name=layout.CONFIG,
            hint="put back the config from a copy of this repository; the key slots know its digest",
        ) from error
    unknown = sorted({*config.read_features, *config.write_features} - KNOWN_FEATURES)
    if version != FORMAT_VERSION or unknown:
        wants = ", ".join([f"format version {version}", *unknown])
        raise RefusedError(
            f"this repository wants {wants}, which this version of Holdfast does not know",
            hint="install a newer version of Holdfast",
        )
    return config
