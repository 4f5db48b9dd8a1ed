"""One program that dies on purpose, for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from disaster.doom import Doom


@pytest.fixture(scope="session")
def doom() -> Iterator[Doom]:
    doom = Doom()
    yield doom
    doom.close()
