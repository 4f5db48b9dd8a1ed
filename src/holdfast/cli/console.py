"""rich's console, without its own ideas about markup in our words and about readers that go away."""

from __future__ import annotations

from typing import TextIO

import rich.console


class Console(rich.console.Console):
    """Prints what it is given. A closed pipe is a `BrokenPipeError`, where rich would end the process."""

    def __init__(self, stream: TextIO, *, width: int | None = None) -> None:
        super().__init__(file=stream, width=width, markup=False, emoji=False, highlight=False)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError
