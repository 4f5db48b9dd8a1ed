"""Who acts, and when: what is written down about removals and holds."""

from __future__ import annotations

import getpass
import os
import socket
from datetime import UTC, datetime


def operator() -> str:
    """`user@host`, as far as the system knows."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user without an entry, as in containers
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def now_utc() -> datetime:
    return datetime.now(UTC)
