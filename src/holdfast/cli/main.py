"""The command line: parse, call one workflow, show its report; and the one place where errors become exit codes.

Heavy modules are imported by the commands that need them, so that `--help` and completion stay quick.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from holdfast import __version__
from holdfast.cli import (
    backup,
    copy,
    demo,
    doctor,
    hold,
    init,
    keys,
    look,
    prune,
    removal,
    reseal,
    restore,
    rotation,
    schedule,
)
from holdfast.cli.failure import error_document, error_lines, exit_code_of, kind_of, usage_error
from holdfast.cli.invocation import Invocation, OutputError, write
from holdfast.cli.secrets import blot_process_list
from holdfast.cli.stop import Stop
from holdfast.domain.errors import (
    EXIT_FINE,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    HoldfastError,
    InterruptedRunError,
    UnreachableError,
)

THREADS_GRACE_SECONDS = 3.0

EPILOG = """Exit codes: 0 fine, 2 usage, 3 the snapshot is partial, 4 damage was found, 5 refused,
6 cannot connect or lacking rights, 7 locked out of the repository, 130 interrupted, 1 a bug.

--config and --debug may stand anywhere. Settings: holdfast.toml, .env, and the environment."""

app = typer.Typer(
    name="holdfast",
    help="Back up PostgreSQL databases that you do not administer; prove the backups; bring the data back.",
    epilog=EPILOG,
    rich_markup_mode=None,  # rich's help costs a third of a second
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback()
def _options(
    context: typer.Context,
    *,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="The settings file [default: holdfast.toml here].",
            show_default=False,
        ),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    del version  # main() answers it
    invocation = context.find_object(Invocation)
    assert invocation is not None
    invocation.config = config
    invocation.debug = invocation.debug or debug


for module in (
    backup,
    restore,
    copy,
    look,
    prune,
    removal,
    hold,
    init,
    keys,
    rotation,
    reseal,
    doctor,
    schedule,
    demo,
):
    module.register(app)


def run() -> NoReturn:
    """The program's entry point."""
    arguments = sys.argv[1:]
    blot_process_list(sys.argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that this terminal cannot show must not turn a good backup into a failure.
        sys.stdout.reconfigure(errors="backslashreplace")
    stop = Stop()
    stop.install()
    code = main(arguments, stop, own_process=True)
    if stop.interrupted.is_set():
        # Threads that hang in a socket must not keep the process; what is left to clean up has its chance.
        stop.exit_hard_after(THREADS_GRACE_SECONDS)
    sys.exit(code)


def main(arguments: Sequence[str], stop: Stop, *, own_process: bool = False) -> int:
    """Run one command and return the exit code; everything that can go wrong ends here."""
    if arguments and arguments[0] == "--version":
        write(sys.stdout, f"holdfast {__version__}\n")
        return EXIT_FINE
    invocation = Invocation(
        arguments=tuple(arguments),
        stop=stop,
        debug=os.environ.get("HOLDFAST_DEBUG", "") not in ("", "0"),
        json="--json" in arguments,
        own_process=own_process,
    )
    if not arguments:
        arguments = ["--help"]
    try:
        code = app(args=_hoist(arguments), prog_name="holdfast", standalone_mode=False, obj=invocation)
        if code == EXIT_INTERRUPTED:  # what typer makes of a KeyboardInterrupt
            raise KeyboardInterrupt
        return int(code or EXIT_FINE)
    except Exception as error:  # noqa: BLE001 - the outermost net: a bug is reported, with its own exit code
        return _report(error, invocation)
    except KeyboardInterrupt as error:
        return _report(error, invocation)


def _report(error: BaseException, invocation: Invocation) -> int:
    """Say what went wrong: lines on standard error, or the one document on standard output."""
    known = _translate(error, invocation)
    # A child that got the same Ctrl-C fails in its own words; the reason is the operator.
    if invocation.stop.interrupted.is_set() and not isinstance(known, InterruptedRunError):
        known = InterruptedRunError(f"interrupted ({_first_line(known)})")
        known.__cause__ = error
    secrets = invocation.secrets
    try:
        if invocation.json:
            from holdfast.cli.documents import encode

            write(sys.stdout, encode(error_document(known, secrets)))
        if not invocation.json or invocation.debug or kind_of(known) == "bug":
            write(sys.stderr, error_lines(known, secrets, debug=invocation.debug))
    except OutputError:
        pass  # the exit code still tells
    return exit_code_of(known)


def _translate(error: BaseException, invocation: Invocation) -> BaseException:
    """Errors of the frame around the commands in our words; ours and bugs as they are."""
    if isinstance(error, HoldfastError):
        return error
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        interrupted = InterruptedRunError("interrupted")
        interrupted.__cause__ = error
        invocation.stop.interrupted.set()
        return interrupted
    if isinstance(error, OutputError):
        unreachable = UnreachableError(str(error), hint="make room, or print elsewhere")
        unreachable.__cause__ = error
        return unreachable
    if isinstance(error, typer.TyperException) and error.exit_code == EXIT_USAGE:
        usage = usage_error(error.format_message(), _command_of(error))
        usage.__cause__ = error
        return usage
    return error


def _command_of(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return str(context.command_path) if context is not None else "holdfast"


def _first_line(error: BaseException) -> str:
    text = error.message if isinstance(error, HoldfastError) else str(error)
    return (text or type(error).__name__).splitlines()[0]


def _hoist(arguments: Sequence[str]) -> list[str]:
    """Move --config and --debug before the command, so that they may stand anywhere."""
    hoisted: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            rest += [argument, *waiting]
        elif argument == "--debug" or argument.startswith("--config="):
            hoisted.append(argument)
        elif argument == "--config":
            hoisted += [argument, *islice(waiting, 1)]
        else:
            rest.append(argument)
    return hoisted + rest
