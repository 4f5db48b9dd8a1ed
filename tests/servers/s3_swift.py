"""OpenStack Swift with its S3 interface: a real object store with rights, one replica, one process.

It refuses a create on a taken name. Of several creates at the same instant all may win, as its object server
looks for the name before it reads the body, and not again when it commits.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from servers.process import BUCKET, PYTHON_ENVIRONMENT, Server, python_server, running, wait_for_line

ACCESS = {"access_key_id": "test:writer", "secret_access_key": "swift-secret"}
READER = {"access_key_id": "test:reader", "secret_access_key": "swift-reader-secret"}
"""May list and read, but neither write nor delete."""

_SWIFT_CONF = """
[swift-hash]
swift_hash_path_suffix = holdfast
swift_hash_path_prefix = holdfast
[storage-policy:0]
name = only
default = yes
"""

# By default the parts of it give up on one another after half a second, and the container learns of an object
# within one second or, without another daemon, never.
_PATIENT = """
conn_timeout = 60
node_timeout = 120
container_update_timeout = 120
client_timeout = 120
"""

_BACKEND_CONF = """
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
log_level = ERROR
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
{patient}
"""

_PROXY_CONF = """
[DEFAULT]
swift_dir = {folder}
log_level = ERROR
[pipeline:main]
pipeline = catch_errors gatekeeper s3api tempauth bulk slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
{patient}
error_suppression_limit = 1000000
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_writer = swift-secret .admin
user_test_reader = swift-reader-secret
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
"""


def keeps_attributes(folder: Path) -> bool:
    """Swift keeps its metadata in extended attributes; some file systems have none for users."""
    probe = folder / "attributes"
    probe.touch()
    try:
        os.setxattr(probe, "user.holdfast", b"1")
    except OSError:
        return False
    return True


@contextmanager
def start(folder: Path) -> Iterator[Server]:
    log = folder / "swift.log"
    with running(
        python_server("s3_swift", str(folder), BUCKET), log, environment=PYTHON_ENVIRONMENT
    ) as process:
        port = int(wait_for_line(process, log, r"^serving on port (\d+)\n")[1])
        yield Server(
            scheme="s3",
            endpoint=f"http://127.0.0.1:{port}",
            query="&region=us-east-1",
            options=ACCESS,
            process=process,
        )


def serve(folder: Path, bucket: str) -> None:
    import eventlet  # type: ignore[import-untyped]

    eventlet.monkey_patch()
    import eventlet.wsgi  # type: ignore[import-untyped]
    from swift.common.utils import set_swift_dir  # type: ignore[import-untyped]
    from swift.common.wsgi import loadapp  # type: ignore[import-untyped]

    (folder / "swift.conf").write_text(_SWIFT_CONF)
    (folder / "devices" / "disk").mkdir(parents=True)
    set_swift_dir(str(folder))
    quiet = (folder / "requests.log").open("w")
    for kind in ("account", "container", "object"):
        listener = eventlet.listen(("127.0.0.1", 0))
        _write_ring(folder, kind, listener.getsockname()[1])
        backend = folder / f"{kind}.conf"
        backend.write_text(_BACKEND_CONF.format(folder=folder, kind=kind, patient=_PATIENT))
        eventlet.spawn(eventlet.wsgi.server, listener, loadapp(str(backend)), quiet)
    front = folder / "proxy.conf"
    front.write_text(_PROXY_CONF.format(folder=folder, patient=_PATIENT))
    app = loadapp(str(front))
    _make_bucket(app, bucket)
    listener = eventlet.listen(("127.0.0.1", 0))
    sys.stdout.write(f"serving on port {listener.getsockname()[1]}\n")
    sys.stdout.flush()
    eventlet.wsgi.server(listener, app, quiet)


def _write_ring(folder: Path, kind: str, port: int) -> None:
    from swift.common.ring import RingBuilder  # type: ignore[import-untyped]

    place = {"ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1", "replication_port": port}
    builder = RingBuilder(part_power=4, replicas=1, min_part_hours=1)
    builder.add_dev({"region": 1, "zone": 1, "weight": 1, "device": "disk", **place})
    builder.rebalance()
    builder.get_ring().save(str(folder / f"{kind}.ring.gz"))


def _make_bucket(app: Any, bucket: str) -> None:
    """From inside, past the sign-in; the S3 bucket of an account is a container of it."""
    from swift.common.swob import Request  # type: ignore[import-untyped]

    inside = {"REQUEST_METHOD": "PUT", "swift.authorize_override": True, "swift_owner": True}
    rights = {"X-Container-Read": READER["access_key_id"]}
    answer = Request.blank(f"/v1/AUTH_test/{bucket}", environ=inside, headers=rights).get_response(app)
    if answer.status_int not in {201, 202}:
        raise RuntimeError(f"no bucket: {answer.status} {answer.body!r}")


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2])
