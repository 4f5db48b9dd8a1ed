"""Azurite, Microsoft's emulator of Azure Blob Storage, where it is installed (npm install azurite).

Found on PATH, or named in the environment as AZURITE_BLOB (the program `azurite-blob`).
"""

from __future__ import annotations

import base64
import hmac
import os
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

from patience import PATIENCE_SECONDS
from servers.process import BUCKET, Server, running, wait_for_line

ACCOUNT = "devstoreaccount1"
# The emulator's published account key, the same everywhere.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_VERSION = "2021-08-06"


def find() -> str | None:
    return os.environ.get("AZURITE_BLOB") or shutil.which("azurite-blob")


@contextmanager
def start(folder: Path) -> Iterator[Server]:
    program = find()
    if program is None:
        raise FileNotFoundError("azurite-blob is not installed")
    log = folder / "azurite.log"
    command = [program, "--blobHost", "127.0.0.1", "--blobPort", "0", "--location", str(folder / "data")]
    command += ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    with running(command, log) as process:
        address = wait_for_line(process, log, r"successfully listen\w+ \w+ (http://\S+)\n")[1]
        endpoint = f"{address}/{ACCOUNT}"
        _make_container(endpoint)
        yield Server(
            scheme="az",
            endpoint=endpoint,
            query=f"&account={ACCOUNT}",
            options={"account_key": KEY},
            process=process,
        )


def _make_container(endpoint: str) -> None:
    """Signed after the Shared Key scheme of Azure's REST reference."""
    date = formatdate(usegmt=True)
    resource = f"/{ACCOUNT}/{ACCOUNT}/{BUCKET}\nrestype:container"
    text = f"PUT{chr(10) * 12}x-ms-date:{date}\nx-ms-version:{_VERSION}\n{resource}"
    signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), text.encode(), "sha256"))
    headers = {
        "x-ms-date": date,
        "x-ms-version": _VERSION,
        "Authorization": f"SharedKey {ACCOUNT}:{signature.decode()}",
    }
    request = urllib.request.Request(f"{endpoint}/{BUCKET}?restype=container", method="PUT", headers=headers)
    urllib.request.urlopen(request, timeout=PATIENCE_SECONDS).close()
