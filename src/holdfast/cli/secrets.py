"""The last net under passwords: what an operator typed or set is blotted out of everything we say.

The layers below never put a password into a message; this catches what a foreign library might. Beside it, the
command line itself is blotted in the process list, since a URL with a password may stand there.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

BLOT = "***"

_SHORTEST = 4  # anything shorter would blot out innocent words
_IN_URL = re.compile(r"(\w://[^\s/?#@:]*:)([^\s@]+)(@)")
_IN_KEYWORDS = re.compile(
    r"(\b(?:password|sslpassword|passphrase|secret_access_key|account_key|sas_token|token)\s*=\s*)"
    r"('(?:[^'\\]|\\.)*'|[^\s'&]+)",
    re.IGNORECASE,
)
_SECRET_NAME = re.compile(
    r"(?!.*_FILE$).*(?:PASSW|PASSPHRASE(?!_)|SECRET|TOKEN|(?:ACCOUNT|API|PRIVATE)_?KEY)", re.IGNORECASE
)


def find_secrets(arguments: Iterable[str], environ: Mapping[str, str]) -> frozenset[str]:
    """The passwords in a command line and an environment, also as they read with their URL escapes undone."""
    found: set[str] = set()
    for text in (*arguments, *environ.values()):
        found.update(_within(text))
    found.update(value for name, value in environ.items() if _SECRET_NAME.match(name))
    return frozenset(secret for raw in found for secret in (raw, unquote(raw)) if len(secret) >= _SHORTEST)


def blot(text: str, secrets: Iterable[str]) -> str:
    """The text without any of the secrets, and without anything that looks like a password in an address."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, BLOT)
    text = _IN_URL.sub(rf"\g<1>{BLOT}\g<3>", text)
    return _IN_KEYWORDS.sub(rf"\g<1>{BLOT}", text)


def blot_process_list(arguments: Iterable[str]) -> None:
    """Overwrite passwords of the command line where the kernel shows it to other users.

    Linux only (the addresses stand in /proc/self/stat, proc(5)); elsewhere nothing happens.
    """
    secrets = [secret for text in arguments for secret in _within(text)]
    if not secrets or not sys.platform.startswith("linux"):
        return
    with suppress(OSError, ValueError, IndexError):
        fields = (
            Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(") ")[2].split()
        )
        start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end, fields 48 and 49
        shown = Path("/proc/self/cmdline").read_bytes()
        if start == 0 or end - start != len(shown):
            return
        blotted = shown
        for secret in secrets:
            raw = os.fsencode(secret)
            blotted = blotted.replace(raw, b"*" * len(raw))
        ctypes.memmove(start, blotted, len(blotted))


def _within(text: str) -> Iterator[str]:
    for match in _IN_URL.finditer(text):
        yield match[2]
    for match in _IN_KEYWORDS.finditer(text):
        yield match[2].strip("'")
