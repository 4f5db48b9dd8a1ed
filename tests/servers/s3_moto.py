"""moto's S3, in a process of its own: keeps create-once, knows no rights, forgets everything at its end."""

from __future__ import annotations

import io
import logging
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from patience import PATIENCE_SECONDS
from servers.process import BUCKET, PYTHON_ENVIRONMENT, Server, python_server, running, wait_for_line

ACCESS = {"access_key_id": "moto-key-id", "secret_access_key": "moto-secret"}


@contextmanager
def start(folder: Path) -> Iterator[Server]:
    log = folder / "moto.log"
    with running(python_server("s3_moto"), log, environment=PYTHON_ENVIRONMENT) as process:
        port = int(wait_for_line(process, log, r"^serving on port (\d+)\n")[1])
        endpoint = f"http://127.0.0.1:{port}"
        request = urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")
        urllib.request.urlopen(request, timeout=PATIENCE_SECONDS).close()
        yield Server(
            scheme="s3", endpoint=endpoint, query="&region=us-east-1", options=ACCESS, process=process
        )


Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def one_at_a_time(inside: Application) -> Application:
    """moto looks for a name and then writes it, and lists a dictionary while others change it: of two creates at
    once both may win, and a listing may fail. One request after the other, it is as atomic as S3."""
    lock = threading.Lock()

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if length := environ.get("CONTENT_LENGTH"):
            environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(int(length)))
        with lock:
            return list(inside(environ, start_response))

    return answer


def serve() -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = one_at_a_time(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True)
    sys.stdout.write(f"serving on port {server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    serve()
