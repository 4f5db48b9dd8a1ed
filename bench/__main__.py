"""Run the benchmark: `python -m bench`, from the repository's folder."""

import sys

from bench.command import main

sys.exit(main())
