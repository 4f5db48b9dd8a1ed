"""One run of the program: what the commands share, and the one place where reports are printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import typer

from holdfast.cli.secrets import blot, find_secrets
from holdfast.cli.stop import Stop
from holdfast.cli.words import printable
from holdfast.domain.errors import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from holdfast.cli.documents import Document
    from holdfast.domain.events import Listener
    from holdfast.repository.keys.secrets import Secrets
    from holdfast.repository.repo import Repository
    from holdfast.settings import RepositoryChoice, RepositorySettings, Settings


class OutputError(Exception):
    """Standard output took no more: a full disk behind it. (A closed pipe is no error.)"""


@dataclass(slots=True)
class Invocation:
    """`config`, `debug`: the options before the command. `json`: the command was asked for a document.

    `max_rate`: bytes per second for every repository that is opened, if the command line says so. `own_process`:
    the process was started for this run alone.
    """

    arguments: tuple[str, ...]
    stop: Stop
    config: Path | None = None
    debug: bool = False
    json: bool = False
    max_rate: float | None = None
    own_process: bool = False
    _settings: Settings | None = field(default=None, repr=False)

    @property
    def settings(self) -> Settings:
        """Read once, when first needed: `--help` needs none."""
        if self._settings is None:
            from holdfast import settings

            self._settings = settings.load(config=self.config)
        return self._settings

    @property
    def secrets(self) -> frozenset[str]:
        return find_secrets(self.arguments, os.environ)

    @contextmanager
    def watching(self, *, quiet: bool = False) -> Iterator[Listener]:
        from holdfast.cli.progress import watching

        with watching(quiet=quiet, secrets=self.secrets) as listener:
            yield listener

    def tell(self, message: str, *, quiet: bool) -> None:
        """What is about to happen, on standard error."""
        if not quiet:
            write(sys.stderr, blot(f"{printable(message)}\n", self.secrets))

    def warn(self, message: str, hint: str | None = None) -> None:
        """Something to be known, on standard error, outside a run's progress."""
        text = f"warning: {printable(message)}\n" + (f"hint: {hint}\n" if hint else "")
        write(sys.stderr, blot(text, self.secrets))

    def show(self, report: object, **beside: object) -> None:
        """Print a report on standard output: one document, with what stands `beside` the report, or text."""

        def document() -> Document:
            from holdfast.cli.documents import document_of

            return {**document_of(report), **beside}

        def text() -> Iterator[RenderableType]:
            from holdfast.cli.render import text_of

            return text_of(report)

        self.show_as(document, text)

    def show_as(self, document: Callable[[], Document], text: Callable[[], Iterable[RenderableType]]) -> None:
        """The same, for a report that says itself how it is shown."""
        if self.json:
            from holdfast.cli.documents import encode

            write(sys.stdout, encode(document()))
            return
        from holdfast.cli.render import render

        with _output(sys.stdout):
            render(sys.stdout, text())
            sys.stdout.flush()


def current(context: typer.Context) -> Invocation:
    found = context.find_object(Invocation)
    assert found is not None
    return found


def find_secrets_for(settings: RepositorySettings, identity_file: str | None) -> Secrets:
    """Where the repository's secrets come from; the terminal is asked last, if there is one."""
    from holdfast import assemble

    return assemble.find_secrets(
        settings,
        identity_file=Path(identity_file) if identity_file else None,
        prompt=(lambda: ask_secret("passphrase of the repository")) if sys.stdin.isatty() else None,
    )


@contextmanager
def opened(
    invocation: Invocation, choice: RepositoryChoice, identity_file: str | None
) -> Iterator[Repository]:
    """The repository, unlocked; what is to be known about its keys is said on standard error."""
    from holdfast import assemble

    secrets = find_secrets_for(choice.settings, identity_file)
    with assemble.open_repository(choice, secrets, max_rate=invocation.max_rate) as repository:
        for warning in repository.warnings:
            invocation.warn(warning)
        yield repository


def write(stream: TextIO, text: str) -> None:
    with _output(stream):
        stream.write(text)
        stream.flush()


@contextmanager
def _output(stream: TextIO) -> Iterator[None]:
    """A reader that has gone (`| head`) does not change how the run ended; a full disk does."""
    try:
        yield
    except BrokenPipeError:
        _discard(stream)
    except OSError as error:
        _discard(stream)
        raise OutputError(f"standard output cannot be written: {error.strerror}") from error


def _discard(stream: TextIO) -> None:
    """What is still buffered would fail once more when the interpreter flushes it, and change the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def ask(question: str) -> str:
    """One line from the terminal; the question goes to standard error."""
    require_terminal(question)
    sys.stderr.write(f"{question}: ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer:
        raise UsageError("no answer was given", hint="answer on the terminal, or give the option")
    return answer.rstrip("\n")


def ask_secret(question: str) -> str:
    """A secret from the terminal, not echoed."""
    import getpass

    require_terminal(question)
    return getpass.getpass(f"{question}: ", stream=sys.stderr)


def require_terminal(question: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError(
            f"there is no terminal to ask: {question}",
            hint="give the answer with an option or the environment",
        )
