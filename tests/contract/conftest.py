"""Every storage at hand as one parametrised fixture, and how each is opened."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.storage import Storage
from holdfast.storage.spec import StorageSpec
from holdfast.storage.wrap import Counted, Limited, Retrying
from servers.fixtures import azure, guarded, moto, rclone, swift
from servers.process import Server

__all__ = ["azure", "guarded", "moto", "rclone", "swift"]

SERVERS = ("moto", "guarded", "swift", "rclone", "azure")
KINDS = ("memory", "local", "local-without-links", *SERVERS, "wrapped-local", "wrapped-moto")
KEEP_CREATE_ONCE = ("memory", "local", "moto", "guarded", "azure", "wrapped-local", "wrapped-moto")


def new_prefix() -> str:
    return f"test-{secrets.token_hex(6)}"


def open_kind(kind: str, request: pytest.FixtureRequest, folder: Path) -> Storage:
    """A fresh, empty storage of a kind; servers are started when first asked for."""
    if kind.startswith("wrapped-"):
        inside = open_kind(kind.removeprefix("wrapped-"), request, folder)
        return Limited(Retrying(Counted(inside)), 1e12)
    if kind == "memory":
        return StorageSpec(url="memory:").open()
    if kind.startswith("local"):
        spec = StorageSpec(url=str(folder / "repository"), create_once=kind == "local")
        return spec.open(create_root=True)
    server: Server = request.getfixturevalue(kind)
    honest = kind in KEEP_CREATE_ONCE
    opened = StorageSpec(url=server.url(new_prefix()), options=server.options, create_once=honest).open()
    # As in production. moto and guarded answer one request at a time, and so always; the others are real servers:
    # rclone answers 500 when it removes an empty folder under a create, Swift 503 when its parts time out.
    return Retrying(opened) if kind in ("swift", "rclone", "azure") else opened


@pytest.fixture(params=KINDS)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    opened = open_kind(request.param, request, tmp_path)
    yield opened
    opened.close()


@pytest.fixture(params=KEEP_CREATE_ONCE)
def fair_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """Only those whose `create` has one winner."""
    opened = open_kind(request.param, request, tmp_path)
    assert opened.create_once
    yield opened
    opened.close()


@pytest.fixture(params=("moto", "swift", "rclone", "azure"))
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found
