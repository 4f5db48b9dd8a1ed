"""The layers hold, and the check that says so can fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the package below `tree`/src, by the contracts in `tree`/pyproject.toml."""
    script = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "NO_COLOR": "1", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-c", script, "--no-cache", "--config", str(tree / "pyproject.toml")],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_imports_point_down() -> None:
    """Imports point down, siblings never meet, and the domain knows nothing of the world."""
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("place", "line", "named"),
    [
        ("domain/planted.py", "import holdfast.storage", "holdfast.domain.planted -> holdfast.storage"),
        (
            "postgres/planted.py",
            "import holdfast.repository",
            "holdfast.postgres.planted -> holdfast.repository",
        ),
        (
            "repository/planted.py",
            "import holdfast.workflows",
            "holdfast.repository.planted -> holdfast.workflows",
        ),
        ("domain/planted.py", "import psycopg", "holdfast.domain.planted -> psycopg"),
        ("helpers.py", "", "helpers"),
    ],
)
def test_planted_import_upwards_is_found(tmp_path: Path, place: str, line: str, named: str) -> None:
    """An import planted against the rules, and a module outside every layer, are found and named."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src" / "holdfast", tmp_path / "src" / "holdfast", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "src" / "holdfast" / place).write_text(f"{line}\n")
    done = lint(tmp_path)
    assert done.returncode != 0, "the planted import went unseen"
    assert named in done.stdout
