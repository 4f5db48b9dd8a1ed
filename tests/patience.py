"""How tests wait: for a condition, never for a while.

The limits are guards against hanging, not measurements: no machine is so slow that a sound run reaches them.
"""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_SECONDS = 300.0
_STEP_SECONDS = 0.02


def wait_until(holds: Callable[[], object], what: Callable[[], object] | str = "it") -> None:
    """Look again and again until `holds`; `what` is said, or asked, if that never comes."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what if isinstance(what, str) else what()} did not come about")
        time.sleep(_STEP_SECONDS)
