"""The servers as fixtures, one of each for a whole session. A conftest.py imports those it wants."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from servers import azurite, s3_guarded, s3_moto, s3_rclone, s3_swift
from servers.process import Server


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Keeps create-once; no rights."""
    with s3_moto.start(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Keeps create-once, locks and versions; rights by policy (`servers.s3_guarded.guard`)."""
    with s3_guarded.start(tmp_path_factory.mktemp("guarded")) as server:
        yield server


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real object store, with rights; keeps create-once only between creates that do not overlap."""
    folder = tmp_path_factory.mktemp("swift")
    if not s3_swift.keeps_attributes(folder):
        pytest.skip("the temporary folder's file system has no extended attributes, which Swift needs")
    with s3_swift.start(folder) as server:
        yield server


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Ignores create-once without a word."""
    with s3_rclone.start(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Microsoft's emulator, if it is installed."""
    if azurite.find() is None:
        pytest.skip("azurite-blob is not installed (npm install azurite), so Azure is not tested")
    with azurite.start(tmp_path_factory.mktemp("azurite")) as server:
        yield server
