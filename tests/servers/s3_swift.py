"""OpenStack Swift with its S3 interface: a real object store, in one process, on one replica.

`start(folder)` runs this file as a program; the program builds the rings in `folder`, serves the account,
container, object and proxy applications on free loopback ports, creates the bucket and prints the proxy's port.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

ACCESS_KEY = "test:tester"
SECRET_KEY = "testing"

RING_PARTS = ("account", "container", "object")

SWIFT_CONF = """
[swift-hash]
swift_hash_path_suffix = holdfast
swift_hash_path_prefix = holdfast
[storage-policy:0]
name = only
default = yes
[swift-constraints]
max_header_size = 16384
"""

BACKEND_CONF = """
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
bind_ip = 127.0.0.1
log_level = ERROR
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""

PROXY_CONF = """
[DEFAULT]
swift_dir = {folder}
bind_ip = 127.0.0.1
log_level = ERROR
[pipeline:main]
pipeline = catch_errors gatekeeper s3api tempauth bulk slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
user_test_reader = reading
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
"""

def serve(folder: Path) -> None:
    import eventlet
    import eventlet.wsgi

    eventlet.monkey_patch()
    from swift.common import utils
    from swift.common.ring import RingBuilder
    from swift.common.wsgi import loadapp
    from swift.common.storage_policy import reload_storage_policies
    from swift.common.swob import Request

    (folder / "swift.conf").write_text(SWIFT_CONF)
    utils.SWIFT_CONF_FILE = str(folder / "swift.conf")
    import swift.common.constraints, swift.common.storage_policy as sp
    for m in list(sys.modules.values()):
        if getattr(m, "SWIFT_CONF_FILE", None):
            m.SWIFT_CONF_FILE = str(folder/"swift.conf")
    utils.validate_hash_conf()
    reload_storage_policies()
    (folder / "devices" / "disk").mkdir(parents=True)
    socks = {}
    for kind in RING_PARTS:
        socks[kind] = eventlet.listen(("127.0.0.1", 0))
        builder = RingBuilder(4, 1, 1)
        port = socks[kind].getsockname()[1]
        builder.add_dev({"region": 1, "zone": 1, "weight": 1, "ip": "127.0.0.1", "port": port, "device": "disk",
                         "replication_ip": "127.0.0.1", "replication_port": port})
        builder.rebalance()
        builder.get_ring().save(str(folder / f"{kind}.ring.gz"))
    for kind in RING_PARTS:
        conf = folder / f"{kind}.conf"
        conf.write_text(BACKEND_CONF.format(folder=folder, kind=kind))
        app = loadapp(str(conf))
        eventlet.spawn(eventlet.wsgi.server, socks[kind], app, open("/dev/null", "w"))
    conf = folder / "proxy.conf"
    conf.write_text(PROXY_CONF.format(folder=folder))
    app = loadapp(str(conf))
    sock = eventlet.listen(("127.0.0.1", 0))
    print(sock.getsockname()[1], flush=True)
    eventlet.wsgi.server(sock, app, open("/dev/null", "w"))

if __name__ == "__main__":
    serve(Path(sys.argv[1]))
