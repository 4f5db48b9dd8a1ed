"""What every test may ask for: real PostgreSQL servers, fresh databases, folders that servers can reach."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from postgres_servers import Database, ServerPool, fresh_database, majors_at_hand

# How long an example takes is the machine's affair: a busy one must not turn it into a failure.
settings.register_profile(
    "tests", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")


@pytest.fixture(scope="session")
def pg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerPool]:
    """`pg(major)` is the running server of that major, shared by this process's tests; `pg()` the newest one."""
    base = tmp_path_factory.getbasetemp()
    run = base.parent if base.name.startswith("popen-") else base  # one run, several worker processes
    templates = run / "postgres-templates"
    templates.mkdir(exist_ok=True)
    pool = ServerPool(templates)
    try:
        yield pool
    finally:
        pool.close()


@pytest.fixture(scope="session", params=majors_at_hand())
def major(request: pytest.FixtureRequest) -> int:
    """Every PostgreSQL major at hand, one after the other."""
    value: int = request.param
    return value


@pytest.fixture
def make_database(pg: ServerPool) -> Iterator[Callable[..., Database]]:
    """`make_database(major=…, name_prefix=…, encoding=…)`: fresh databases, dropped when the test ends."""
    with ExitStack() as stack:

        def make(major: int | None = None, **options: str) -> Database:
            return stack.enter_context(partial(fresh_database, pg(major))(**options))

        yield make


@pytest.fixture
def database(make_database: Callable[..., Database]) -> Database:
    """One fresh database on the newest major."""
    return make_database()


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """An empty folder that a server may live below also when the tests run as root; pytest's own are private."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
