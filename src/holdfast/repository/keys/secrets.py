"""Where the passphrase or the identity comes from that opens a keyring.

The invariant: a secret is read when it is needed, is never shown (repr, messages, warnings), and a source that
was named but cannot be read is an error, never "no secret".
"""

from __future__ import annotations

import stat
import subprocess
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import pyrage

from holdfast.domain.errors import UsageError

PASSPHRASE: Final = "HOLDFAST_PASSPHRASE"  # noqa: S105 - the name of a variable
PASSPHRASE_FILE: Final = "HOLDFAST_PASSPHRASE_FILE"  # noqa: S105 - the name of a variable
PASSPHRASE_COMMAND: Final = "HOLDFAST_PASSPHRASE_COMMAND"  # noqa: S105 - the name of a variable
IDENTITY_FILE: Final = "HOLDFAST_IDENTITY_FILE"

_COMMAND_SECONDS = 60
_MAX_FILE_BYTES = 1024 * 1024

Identity: TypeAlias = Any
"""A pyrage.x25519.Identity or pyrage.ssh.Identity; the package has no type hints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Sources of secrets, at most one of them for the passphrase, beside which the prompt is the last resort."""

    passphrase: str | None = field(default=None, repr=False)
    passphrase_file: Path | None = None
    passphrase_command: str | None = field(default=None, repr=False)
    identity_file: Path | None = None
    prompt: Callable[[], str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        named = [
            name
            for name, value in (
                (PASSPHRASE, self.passphrase),
                (PASSPHRASE_FILE, self.passphrase_file),
                (PASSPHRASE_COMMAND, self.passphrase_command),
            )
            if value is not None
        ]
        if len(named) > 1:
            raise UsageError(
                f"the passphrase has two sources: {' and '.join(named)}", hint="unset all but one"
            )

    @classmethod
    def from_environment(
        cls,
        environment: Mapping[str, str],
        *,
        identity_file: Path | None = None,
        prompt: Callable[[], str] | None = None,
    ) -> Secrets:
        """Sources from the `HOLDFAST_…` variables; `identity_file`, from the command line, goes first."""
        passphrase_file = environment.get(PASSPHRASE_FILE)
        named_identity = environment.get(IDENTITY_FILE)
        return cls(
            passphrase=environment.get(PASSPHRASE),
            passphrase_file=None if passphrase_file is None else Path(passphrase_file),
            passphrase_command=environment.get(PASSPHRASE_COMMAND),
            identity_file=identity_file or (None if named_identity is None else Path(named_identity)),
            prompt=prompt,
        )

    def find_passphrase(self) -> str | None:
        """The passphrase from its source other than the prompt; None if there is none.

        Raises `UsageError` if the source was named and does not yield one.
        """
        if self.passphrase is not None:
            return usable(self.passphrase, PASSPHRASE)
        if self.passphrase_file is not None:
            text = _read_text(self.passphrase_file, "passphrase file")
            return usable(_without_line_end(text), f"passphrase file {self.passphrase_file}")
        if self.passphrase_command is not None:
            return usable(_without_line_end(_run(self.passphrase_command)), PASSPHRASE_COMMAND)
        return None

    def ask_passphrase(self) -> str | None:
        """What the operator types; None if nobody can be asked."""
        return None if self.prompt is None else usable(self.prompt(), "the prompt")

    def find_identities(self) -> tuple[Identity, ...]:
        """The age identities of the identity file or recovery kit; raises `UsageError` if it holds none."""
        if self.identity_file is None:
            return ()
        text = _read_text(self.identity_file, "identity file")
        return read_identities(text, str(self.identity_file))

    def warnings(self) -> tuple[str, ...]:
        """What is unwise about the files that hold secrets."""
        return tuple(
            f"{path} can be read by others on this machine: run chmod 600 {path}"
            for path in (self.passphrase_file, self.identity_file)
            if path is not None and _is_open_to_others(path)
        )


def usable(passphrase: str, source: str) -> str:
    """A passphrase in its normal form (NFC: keyboards differ in how they compose letters), or `UsageError`."""
    if not passphrase:
        raise UsageError(f"the passphrase from {source} is empty", hint="give a passphrase that is not empty")
    try:
        return unicodedata.normalize("NFC", passphrase).encode("utf-8").decode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(f"the passphrase from {source} is not valid UTF-8") from error


def read_identities(text: str, source: str) -> tuple[Identity, ...]:
    """The identities in an age identity file (lines starting with # are comments) or an SSH private key.

    `source` is for messages. Raises `UsageError` if there is none, or one is mistyped.
    """
    if "-----BEGIN" in text and "PRIVATE KEY-----" in text:
        return (_parse(pyrage.ssh.Identity.from_buffer, text.encode(), f"SSH key in {source}"),)
    found: list[Identity] = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        word = line.strip()
        if not word or word.startswith("#"):
            continue
        where = f"line {number} of {source}"
        if not word.upper().startswith("AGE-SECRET-KEY-1"):
            raise UsageError(
                f"{where} is neither a comment nor an age identity",
                hint="give a recovery kit, an age identity file or an unencrypted SSH private key",
            )
        found.append(_parse(pyrage.x25519.Identity.from_str, word.upper(), f"identity in {where}"))
    if not found:
        raise UsageError(
            f"{source} holds no identity",
            hint="give a recovery kit, an age identity file or an unencrypted SSH private key",
        )
    return tuple(found)


def _parse(make: Callable[[Any], Identity], secret: str | bytes, what: str) -> Identity:
    try:
        return make(secret)
    except pyrage.IdentityError as error:
        raise UsageError(
            f"the {what} is not valid", hint="compare it with the original, letter by letter"
        ) from error


def _read_text(path: Path, what: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read the {what} {path}: {error.strerror}") from error
    if len(content) > _MAX_FILE_BYTES:
        raise UsageError(f"the {what} {path} has more than {_MAX_FILE_BYTES} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"the {what} {path} is not UTF-8 text") from error


def _run(command: str) -> str:
    """The command's output. Neither the command nor its output are shown: either may hold a secret."""
    hint = f"run the command of {PASSPHRASE_COMMAND} by hand"
    try:
        done = subprocess.run(  # noqa: S602 - the operator's own command line, meant for a shell
            command, shell=True, stdout=subprocess.PIPE, timeout=_COMMAND_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(
            f"the command of {PASSPHRASE_COMMAND} did not end within {_COMMAND_SECONDS} s", hint=hint
        ) from error
    if done.returncode != 0:
        raise UsageError(f"the command of {PASSPHRASE_COMMAND} ended with code {done.returncode}", hint=hint)
    try:
        return done.stdout.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"the output of {PASSPHRASE_COMMAND} is not UTF-8 text", hint=hint) from error


def _without_line_end(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


def _is_open_to_others(path: Path) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & (stat.S_IRGRP | stat.S_IROTH))
