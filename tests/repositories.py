"""Repositories for tests: real keys with a cheap key derivation, in any storage."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from holdfast.repository.config import Config, digest_of
from holdfast.repository.keys.keyring import Keyring, add_passphrase_slot, add_recipient_slot
from holdfast.repository.keys.slots import Argon2
from holdfast.repository.repo import Repository, create_repository
from holdfast.storage import Storage

PASSPHRASE = "correct horse battery staple"
CHEAP = Argon2(memory_kib=32, passes=1, lanes=1)


def make_repository(
    storage: Storage, *, recipient: str | None = None, single_writer: bool = False
) -> Repository:
    """A new repository that `PASSPHRASE` opens, and the identity of `recipient`, if one is given."""
    now = datetime.now(UTC)
    config = Config(repository_id=uuid.uuid4(), created_at=now, single_writer=single_writer)
    keyring = Keyring.generate(repository_id=config.repository_id, config_digest=digest_of(config.encode()))
    slots = [add_passphrase_slot(keyring, PASSPHRASE, slot="passphrase", label="tests", now=now, kdf=CHEAP)]
    if recipient is not None:
        slots.append(add_recipient_slot(keyring, recipient, slot="kit", label="tests", now=now))
    return create_repository(storage=storage, keyring=keyring, config=config, slots=slots, now=now)
