"""Run the benchmark: `python bench/run.py`, from anywhere."""

import sys
from pathlib import Path

# The folder above, instead of this one: the package is called `bench` wherever it is started.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench.command import main  # noqa: E402

sys.exit(main())
