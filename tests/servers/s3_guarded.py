"""moto's S3 with what it lacks: rights by policy, and locks that only grow. Its bucket has versions and locks.

A request is allowed if the policy of its access key says so. `guard` sets policies, in Amazon's own words and by
Amazon's own actions for each request. Keys without a policy may do everything: they are the owner's.
"""

from __future__ import annotations

import fnmatch
import json
import logging
import re
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from patience import PATIENCE_SECONDS
from servers.process import BUCKET, PYTHON_ENVIRONMENT, Server, python_server, running, wait_for_line
from servers.s3_moto import Application, one_at_a_time

OWNER = {"access_key_id": "owner-key-id", "secret_access_key": "owner-secret"}
PLAIN_BUCKET = "plain"
"""Another bucket, without versions and locks."""

DEFAULT_BUCKET = "default-retention"
"""And one that locks every object by default, which holdfast must warn of."""

DEAF = "deaf-key-id"
"""With this access key the server takes locks without a word, and sets none."""

_RULES = "/-/rights/"
_ASKED = "/-/asked/"


def access(key: str) -> dict[str, str]:
    """Credentials with an access key of one's own."""
    return {"access_key_id": key, "secret_access_key": "guarded-secret"}


def guard(server: Server, key: str, policy: Mapping[str, Any]) -> dict[str, str]:
    """Credentials that may do what `policy` allows, and nothing else."""
    body = json.dumps(policy).encode()
    request = urllib.request.Request(f"{server.endpoint}{_RULES}{key}", data=body, method="PUT")
    urllib.request.urlopen(request, timeout=PATIENCE_SECONDS).close()
    return access(key)


def asked(server: Server, key: str) -> dict[str, int]:
    """How many requests of each kind came with an access key: "PUT", "GET retention"."""
    with urllib.request.urlopen(f"{server.endpoint}{_ASKED}{key}", timeout=PATIENCE_SECONDS) as answer:
        found: dict[str, int] = json.load(answer)
    return found


@contextmanager
def start(folder: Path) -> Iterator[Server]:
    log = folder / "guarded.log"
    with running(python_server("s3_guarded"), log, environment=PYTHON_ENVIRONMENT) as process:
        port = int(wait_for_line(process, log, r"^serving on port (\d+)\n")[1])
        endpoint = f"http://127.0.0.1:{port}"
        yield Server(
            scheme="s3", endpoint=endpoint, query="&region=us-east-1", options=OWNER, process=process
        )


class Guard:
    """Stands before moto and asks for each request: which action is it, and may this access key do it?"""

    def __init__(self, inside: Application) -> None:
        self._inside = inside
        self._lock = threading.Lock()
        self._policies: dict[str, Mapping[str, Any]] = {}
        self._asked: dict[str, Counter[str]] = {}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = unquote(environ["PATH_INFO"])
        if path.startswith(_RULES):
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            with self._lock:
                self._policies[path.removeprefix(_RULES)] = json.loads(body)
            start_response("204 No Content", [])
            return []
        found = re.search(r"Credential=([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
        if path.startswith(_ASKED):
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(self._asked.get(path.removeprefix(_ASKED), {})).encode()]
        key = found[1] if found else ""
        with self._lock:
            policy = self._policies.get(key)
            asked = self._asked.setdefault(key, Counter())
            asked[f"{environ['REQUEST_METHOD']} {'&'.join(sorted(_query(environ)))}".strip()] += 1
        if key == DEAF:
            environ = {name: value for name, value in environ.items() if "OBJECT_LOCK" not in name}
        if policy is not None and not all(_allows(policy, *wish) for wish in _wishes(environ, path)):
            body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
        if environ["REQUEST_METHOD"] == "GET" and "retention" in _query(environ):
            return self._get_retention(environ, start_response)
        return self._inside(environ, start_response)

    def _get_retention(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """moto answers with the object itself; its answer to HEAD knows the lock."""
        version = _query(environ).get("versionId")
        query = f"versionId={version[0]}" if version else ""
        heard: list[tuple[str, dict[str, str]]] = []

        def hear(status: str, headers: list[tuple[str, str]], *_: object) -> None:
            heard.append((status, {name.lower(): value for name, value in headers}))

        list(self._inside({**environ, "REQUEST_METHOD": "HEAD", "QUERY_STRING": query}, hear))
        status, headers = heard[-1]
        if not status.startswith("200"):
            code = "NoSuchKey" if status.startswith("404") else "MethodNotAllowed"
        elif "x-amz-object-lock-mode" not in headers:
            status, code = "404 Not Found", "NoSuchObjectLockConfiguration"
        else:
            mode = headers["x-amz-object-lock-mode"]
            until = headers["x-amz-object-lock-retain-until-date"]
            start_response("200 OK", [("Content-Type", "application/xml")])
            xml = f"<Retention><Mode>{mode}</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>"
            return [xml.encode()]
        start_response(status, [("Content-Type", "application/xml")])
        return [f"<Error><Code>{code}</Code></Error>".encode()]


_Wish = tuple[str, str, Mapping[str, str]]

_OF_OBJECTS = {
    ("GET", "retention"): "GetObjectRetention",
    ("PUT", "retention"): "PutObjectRetention",
    ("GET", "legal-hold"): "GetObjectLegalHold",
    ("PUT", "legal-hold"): "PutObjectLegalHold",
}
_OF_BUCKETS = {
    "versions": "ListBucketVersions",
    "object-lock": "GetBucketObjectLockConfiguration",
    "versioning": "GetBucketVersioning",
    "lifecycle": "GetLifecycleConfiguration",
}


def _wishes(environ: Mapping[str, Any], path: str) -> Iterator[_Wish]:
    """Every action that a request is, with its resource and the facts that conditions ask for."""
    method = environ["REQUEST_METHOD"]
    query = _query(environ)
    bucket, _, key = path.lstrip("/").partition("/")
    facts = {"s3:prefix": query.get("prefix", [""])[0]}
    if "HTTP_IF_NONE_MATCH" in environ:
        facts["s3:if-none-match"] = environ["HTTP_IF_NONE_MATCH"]
    if not key:
        action = next((_OF_BUCKETS[word] for word in query if word in _OF_BUCKETS), "ListBucket")
        yield (action if method in {"GET", "HEAD"} else "BucketChange"), f"arn:aws:s3:::{bucket}", facts
        return
    resource = f"arn:aws:s3:::{bucket}/{key}"
    special = next((_OF_OBJECTS.get((method, word)) for word in query if (method, word) in _OF_OBJECTS), None)
    version = "Version" if "versionId" in query else ""
    if special:
        yield special, resource, facts
    elif method == "DELETE":
        yield f"DeleteObject{version}", resource, facts
    elif method == "PUT":
        yield "PutObject", resource, facts
        if "HTTP_X_AMZ_OBJECT_LOCK_MODE" in environ:
            yield "PutObjectRetention", resource, facts
    else:
        yield (f"GetObject{version}" if method in {"GET", "HEAD"} else "ObjectChange"), resource, facts
    if environ.get("HTTP_X_AMZ_BYPASS_GOVERNANCE_RETENTION"):
        yield "BypassGovernanceRetention", resource, facts


def _query(environ: Mapping[str, Any]) -> dict[str, list[str]]:
    return parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)


def _allows(policy: Mapping[str, Any], action: str, resource: str, facts: Mapping[str, str]) -> bool:
    allowed = False
    for statement in policy["Statement"]:
        if (
            any(fnmatch.fnmatchcase(f"s3:{action}", wanted) for wanted in _listed(statement["Action"]))
            and any(fnmatch.fnmatchcase(resource, wanted) for wanted in _listed(statement["Resource"]))
            and _meets(statement.get("Condition", {}), facts)
        ):
            if statement["Effect"] == "Deny":
                return False
            allowed = True
    return allowed


def _meets(condition: Mapping[str, Mapping[str, Any]], facts: Mapping[str, str]) -> bool:
    for operator, wanted in condition.items():
        for name, values in wanted.items():
            if operator == "Null":
                met = (name not in facts) == (values == "true")
            elif operator == "StringLike":
                met = any(fnmatch.fnmatchcase(facts.get(name, ""), value) for value in _listed(values))
            else:
                raise NotImplementedError(operator)
            if not met:
                return False
    return True


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def serve() -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from moto.s3.models import S3Backend
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    _let_locks_only_grow(S3Backend)
    guarded = Guard(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, one_at_a_time(guarded), threaded=True)
    threading.Thread(target=_make_buckets, args=(server.server_port,)).start()
    server.serve_forever()


def _let_locks_only_grow(backend: Any) -> None:
    """moto sets whatever retention it is told; S3 refuses to shorten one, and to loosen COMPLIANCE."""
    from moto.s3.exceptions import AccessDeniedByLock, MissingKey

    plain = backend.put_object_retention

    def put_object_retention(
        self: Any, bucket_name: str, key_name: str, version_id: Any, retention: Any
    ) -> None:
        key = self.get_object(bucket_name, key_name, version_id=version_id)
        if key is None:
            raise MissingKey(key=key_name)
        if key.is_locked(governance_bypass=False):
            shorter = str(retention[1]) < str(key.lock_until)
            if shorter or (key.lock_mode == "COMPLIANCE" and retention[0] != "COMPLIANCE"):
                raise AccessDeniedByLock
        plain(self, bucket_name, key_name, version_id, retention)

    backend.put_object_retention = put_object_retention


def _make_buckets(port: int) -> None:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id=OWNER["access_key_id"],
        aws_secret_access_key=OWNER["secret_access_key"],
    )
    client.create_bucket(Bucket=PLAIN_BUCKET)
    for bucket in (BUCKET, DEFAULT_BUCKET):
        client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    retention = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 3}}
    client.put_object_lock_configuration(
        Bucket=DEFAULT_BUCKET, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": retention}
    )
    sys.stdout.write(f"serving on port {port}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve()
