"""Where a cloud repository is: URL and options, checked, without any secret in what may be shown.

    s3://BUCKET/PREFIX     Amazon S3 and whatever speaks its protocol
    gs://BUCKET/PREFIX     Google Cloud Storage
    az://CONTAINER/PREFIX  Azure Blob Storage

Options stand in the URL's query, or in the mapping from the settings, which wins:

    endpoint    https://HOST[:PORT] of a server that is not Amazon's, Google's or Microsoft's own
    region      S3 only; us-east-1 unless given here or in AWS_REGION
    addressing  S3 only; "path" (default: ENDPOINT/BUCKET) or "virtual" (BUCKET.ENDPOINT)
    account     Azure only; the storage account, otherwise AZURE_STORAGE_ACCOUNT_NAME
    profile     S3 only; the section of ~/.aws/credentials to use, otherwise AWS_PROFILE
    anonymous   "true": send no credentials
    allow_http  "true": speak plain HTTP with a host other than this one
    ca          a file of PEM certificates to trust besides the system's
    timeout     seconds that one request may take, its body included (300)

Secrets never stand in the URL. They come from the environment and the provider's own chain (AWS_ACCESS_KEY_ID and
so on, ~/.aws/credentials, an instance's role; GOOGLE_APPLICATION_CREDENTIALS; AZURE_STORAGE_ACCOUNT_KEY,
AZURE_STORAGE_SAS_TOKEN, a managed identity), or from the mapping:

    S3     access_key_id, secret_access_key, session_token
    GCS    service_account (a file's path), service_account_key (its content), bearer_token
    Azure  account_key, sas_key, bearer_token
"""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from holdfast.domain.errors import UsageError
from holdfast.storage.names import check_prefix

DEFAULT_TIMEOUT_SECONDS = 300.0

_COMMON = frozenset({"endpoint", "anonymous", "allow_http", "ca", "timeout"})
_OPEN: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "s3": _COMMON | {"region", "addressing", "profile"},
        "gs": _COMMON,
        "az": _COMMON | {"account"},
    }
)
_SECRET: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "s3": frozenset({"access_key_id", "secret_access_key", "session_token"}),
        "gs": frozenset({"service_account", "service_account_key", "bearer_token"}),
        "az": frozenset({"account_key", "sas_key", "bearer_token"}),
    }
)
SCHEMES = tuple(_OPEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket or container and the prefix in it ("" or without slashes at its ends)."""

    scheme: str
    name: str
    prefix: str
    options: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def address(self) -> str:
        """The URL that leads here, without secrets."""
        url = f"{self.scheme}://{self.name}/{quote(self.prefix)}".rstrip("/")
        query = urlencode(sorted(self.options.items()), safe=":/")
        return f"{url}?{query}" if query else url

    @property
    def timeout_seconds(self) -> float:
        return float(self.options.get("timeout", DEFAULT_TIMEOUT_SECONDS))

    def is_set(self, option: str) -> bool:
        return self.options.get(option) == "true"

    def allows_http(self) -> bool:
        """Whether plain HTTP may be spoken: with this very host, or because the operator said so."""
        endpoint = urlsplit(self.options.get("endpoint", ""))
        return endpoint.scheme == "http" and (self.is_set("allow_http") or _is_loopback(endpoint.hostname))


def parse_bucket(url: str, options: Mapping[str, str] | None = None) -> Bucket:
    """Read a cloud URL and its options; raises `UsageError`, never with a secret in it."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    if scheme not in _OPEN:
        raise UsageError(f"no cloud storage is called {scheme}:", hint=f"use one of {', '.join(SCHEMES)}")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise UsageError(
            f"the address of {scheme}://{parts.hostname or ''} holds more than a bucket and a prefix",
            hint="give credentials in the environment, not in the address",
        )
    if not parts.netloc:
        raise UsageError(f"the address {scheme}:// names no bucket", hint=f"write {scheme}://BUCKET/PREFIX")
    query = _read_query(scheme, parts.query)
    given = dict(options or {})
    secrets = {key: given.pop(key) for key in sorted(_SECRET[scheme] & given.keys())}
    bucket = Bucket(
        scheme=scheme,
        name=parts.netloc,
        prefix=parts.path.strip("/"),
        options=MappingProxyType({**query, **given}),
        secrets=MappingProxyType(secrets),
    )
    _check(bucket)
    return bucket


def _read_query(scheme: str, query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise UsageError(f"the query of the {scheme}: address is no list of key=value") from None
    for key, _ in pairs:
        if key in _SECRET[scheme]:
            raise UsageError(
                f"the {scheme}: address holds the secret {key}",
                hint="give it in the environment or the settings",
            )
    return dict(pairs)


def _check(bucket: Bucket) -> None:
    known = _OPEN[bucket.scheme]
    for key in bucket.options:
        if key not in known:
            near = difflib.get_close_matches(key, known | _SECRET[bucket.scheme], n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
            raise UsageError(f"{bucket.scheme}: storage has no option {key}", hint=hint)
    try:
        check_prefix(bucket.prefix)
    except ValueError as error:
        raise UsageError(
            f"the prefix {bucket.prefix!r} cannot be used on every storage",
            hint='use letters, digits, "-", "_", "." and "="',
        ) from error
    for key in ("anonymous", "allow_http"):
        if bucket.options.get(key, "true") not in {"true", "false"}:
            raise UsageError(f"{key} is {bucket.options[key]!r}", hint=f"write {key}=true or {key}=false")
    if bucket.options.get("addressing", "path") not in {"path", "virtual"}:
        raise UsageError(f"addressing is {bucket.options['addressing']!r}", hint='write "path" or "virtual"')
    try:
        fine = 0 < bucket.timeout_seconds < float("inf")
    except ValueError:
        fine = False
    if not fine:
        raise UsageError(f"timeout is {bucket.options['timeout']!r}", hint="give a number of seconds")
    _check_endpoint(bucket)


def _check_endpoint(bucket: Bucket) -> None:
    if "endpoint" not in bucket.options:
        return
    endpoint = urlsplit(bucket.options["endpoint"])
    if (
        endpoint.scheme not in {"http", "https"}
        or not endpoint.hostname
        or endpoint.username
        or endpoint.query
    ):
        raise UsageError(
            f"the endpoint of {bucket.scheme}://{bucket.name} is no address of a server",
            hint="write endpoint=https://HOST or endpoint=https://HOST:PORT, without credentials",
        )
    if endpoint.scheme == "http" and not bucket.allows_http():
        raise UsageError(
            f"the endpoint {endpoint.hostname} would be spoken to without encryption",
            hint="use https, or add allow_http=true if you trust the network in between",
        )


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
