"""moto's S3, in a process of its own: keeps create-once, knows no rights, forgets everything at its end."""

from __future__ import annotations

import logging
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers.process import BUCKET, PYTHON_ENVIRONMENT, Server, python_server, running, wait_for_line

ACCESS = {"access_key_id": "moto-key-id", "secret_access_key": "moto-secret"}


@contextmanager
def start(folder: Path) -> Iterator[Server]:
    log = folder / "moto.log"
    with running(python_server("s3_moto"), log, environment=PYTHON_ENVIRONMENT) as process:
        port = int(wait_for_line(process, log, "serving on port ").rsplit(" ", 1)[1])
        endpoint = f"http://127.0.0.1:{port}"
        request = urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")
        urllib.request.urlopen(request, timeout=30).close()
        yield Server(
            scheme="s3", endpoint=endpoint, query="&region=us-east-1", options=ACCESS, process=process
        )


def serve() -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
    sys.stdout.write(f"serving on port {server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    serve()
