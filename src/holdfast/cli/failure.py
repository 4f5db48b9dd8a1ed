"""What went wrong, as an operator reads it and as a program does; and which exit code says so."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable

from holdfast.cli.secrets import blot
from holdfast.domain.errors import EXIT_BUG, HoldfastError, InterruptedRunError, UsageError

REPORT_HINT = "this is a bug: run it again with --debug and report what it prints"


def kind_of(error: BaseException) -> str:
    """`LackingRightsError` is `lacking_rights`: the class is the kind. Whatever is not ours is a `bug`."""
    if isinstance(error, InterruptedRunError):
        return "interrupted"
    if not isinstance(error, HoldfastError):
        return "bug"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__.removesuffix("Error")).lower()


def exit_code_of(error: BaseException) -> int:
    return error.exit_code if isinstance(error, HoldfastError) else EXIT_BUG


def error_document(error: BaseException, secrets: Iterable[str] = ()) -> dict[str, object]:
    """The one document that --json prints instead of a report."""
    message, hint = _words(error)
    return {
        "error": {
            "kind": kind_of(error),
            "message": blot(message, secrets),
            "hint": None if hint is None else blot(hint, secrets),
            "exit_code": exit_code_of(error),
        }
    }


def error_lines(error: BaseException, secrets: Iterable[str] = (), *, debug: bool = False) -> str:
    """`error: …` and `hint: …`, below the traceback if that was asked for."""
    message, hint = _words(error)
    text = "".join(traceback.format_exception(error)) if debug else ""
    text += f"error: {message}\n"
    if hint:
        text += f"hint: {hint}\n"
    return blot(text, secrets)


def usage_error(message: str, command: str) -> UsageError:
    """The parser's complaint in our words; what it suggests becomes the hint."""
    hint = f"run {command} --help"
    for pattern in (r"\.? Did you mean (.+)\?", r" \(Possible options: (.+)\)"):
        if found := re.search(pattern, message):
            message = message[: found.start()]
            hint = f"did you mean {found[1].replace(', ', ' or ')}? {hint}"
    return UsageError(message[:1].lower() + message[1:].rstrip("."), hint=hint)


def _words(error: BaseException) -> tuple[str, str | None]:
    if isinstance(error, HoldfastError):
        return error.message, error.hint
    detail = str(error).strip().splitlines()
    name = type(error).__name__
    return f"unexpected {name}: {detail[0]}" if detail else f"unexpected {name}", REPORT_HINT
