"""`rclone serve s3`: overwrites when told to create, without a word. The liar that a probe must catch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers.process import BUCKET, Server, running, wait_for_line

ACCESS = {"access_key_id": "rclone-key-id", "secret_access_key": "rclone-secret"}


@contextmanager
def start(folder: Path) -> Iterator[Server]:
    served = folder / "served"
    (served / BUCKET).mkdir(parents=True)
    log = folder / "rclone.log"
    rclone = Path(sys.executable).with_name("rclone")
    command = [str(rclone), "serve", "s3", str(served), "--addr", "127.0.0.1:0"]
    command += ["--auth-key", f"{ACCESS['access_key_id']},{ACCESS['secret_access_key']}"]
    command += ["--config", str(folder / "rclone.conf"), "--vfs-cache-mode", "off"]
    with running(command, log) as process:
        endpoint = wait_for_line(process, log, r"Starting s3 server on \[(http://127\.0\.0\.1:\d+)/\]")[1]
        yield Server(
            scheme="s3", endpoint=endpoint, query="&region=us-east-1", options=ACCESS, process=process
        )
