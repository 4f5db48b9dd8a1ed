"""The program: `holdfast`, and `python -m holdfast`, which is the same.

Loading half a thousand modules makes a million objects that all stay. Looking through them again and again for
garbage, as Python does by default, took a sixth of the program's start.
"""

from __future__ import annotations

import gc
from typing import NoReturn

_OBJECTS_BEFORE_LOOKING = 50_000


def run() -> NoReturn:
    """The program's entry point."""
    gc.disable()
    from holdfast.cli.main import run as run_command

    gc.freeze()
    gc.set_threshold(_OBJECTS_BEFORE_LOOKING)
    gc.enable()
    run_command()


if __name__ == "__main__":
    run()
