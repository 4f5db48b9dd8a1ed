"""A bucket's description into an obstore client."""

from __future__ import annotations

import configparser
import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from holdfast.domain.errors import UsageError
from holdfast.storage.bucket import Bucket

if TYPE_CHECKING:
    from obstore.store import AzureConfig, ClientConfig, GCSConfig, RetryConfig, S3Config

Store: TypeAlias = S3Store | GCSStore | AzureStore

_CONNECT_TIMEOUT = timedelta(seconds=10)
_IDLE_TIMEOUT = timedelta(seconds=20)
"""Shorter than servers and balancers keep idle connections: writing into one they closed looks like a fault."""

_BETTER_SOURCES = frozenset({"AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE"})
_ONCE: RetryConfig = {"max_retries": 0}


def make_store(bucket: Bucket) -> Store:
    """Raises `UsageError` if the options make no client; nothing is asked of the server yet."""
    client: ClientConfig = {
        # obstore's 30 seconds are for the whole body: too few for 16 MiB on a slow line.
        "timeout": timedelta(seconds=bucket.timeout_seconds),
        "connect_timeout": _CONNECT_TIMEOUT,
        "pool_idle_timeout": _IDLE_TIMEOUT,
        "allow_http": bucket.allows_http(),
    }
    if "ca" in bucket.options:
        client["root_certificate"] = _read_certificates(bucket.options["ca"])
    try:
        return _MAKERS[bucket.scheme](bucket, client)
    except (BaseError, ValueError, OSError) as error:
        # The reason may quote a key; the address does not.
        raise UsageError(
            f"the settings of {bucket.address} make no client",
            hint="check its options and the credentials in the environment",
        ) from (None if bucket.secrets else error)


def _make_s3(bucket: Bucket, client: ClientConfig) -> S3Store:
    config: S3Config = {"disable_bulk_delete": True}
    for key, value in {**_profile(bucket), **bucket.secrets}.items():
        config[key] = value  # type: ignore[literal-required]
    if "region" in bucket.options:
        config["region"] = bucket.options["region"]
    if bucket.is_set("anonymous"):
        config["skip_signature"] = True
    is_virtual = bucket.options.get("addressing") == "virtual"
    config["virtual_hosted_style_request"] = is_virtual
    if "endpoint" in bucket.options:
        endpoint = bucket.options["endpoint"].rstrip("/")
        config["endpoint"] = _with_bucket(endpoint, bucket.name) if is_virtual else endpoint
    return S3Store(bucket.name, config=config, client_options=client, retry_config=_ONCE)


def _make_gcs(bucket: Bucket, client: ClientConfig) -> GCSStore:
    config: GCSConfig = {}
    for key, value in bucket.secrets.items():
        config[key] = value  # type: ignore[literal-required]
    if bucket.is_set("anonymous"):
        config["skip_signature"] = True
    if "endpoint" in bucket.options:
        config["base_url"] = bucket.options["endpoint"].rstrip("/")
    return GCSStore(bucket.name, config=config, client_options=client, retry_config=_ONCE)


def _make_azure(bucket: Bucket, client: ClientConfig) -> AzureStore:
    config: AzureConfig = {}
    for key, value in bucket.secrets.items():
        config["token" if key == "bearer_token" else key] = value  # type: ignore[literal-required]
    if "account" in bucket.options:
        config["account_name"] = bucket.options["account"]
    if bucket.is_set("anonymous"):
        config["skip_signature"] = True
    if "endpoint" in bucket.options:
        config["endpoint"] = bucket.options["endpoint"].rstrip("/")
    return AzureStore(bucket.name, config=config, client_options=client, retry_config=_ONCE)


_MAKERS: Mapping[str, Callable[[Bucket, ClientConfig], Store]] = {
    "s3": _make_s3,
    "gs": _make_gcs,
    "az": _make_azure,
}


def _profile(bucket: Bucket) -> Mapping[str, str]:
    """Static keys from the shared credentials file, where the environment has none: obstore does not read it.

    A profile that is named must be there; without a name, `default` is used if it exists.
    """
    if bucket.is_set("anonymous") or "access_key_id" in bucket.secrets:
        return {}
    named = bucket.options.get("profile")
    if named is None and _BETTER_SOURCES & os.environ.keys():
        return {}
    named = named or os.environ.get("AWS_PROFILE")
    path = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")).expanduser()
    found = configparser.RawConfigParser()
    try:
        found.read(path, encoding="utf-8")
    except (OSError, configparser.Error):
        raise UsageError(
            f"cannot read {path}", hint="mend the file, or give the keys in the environment"
        ) from None
    section = named or "default"
    if not found.has_section(section):
        if named is None:
            return {}
        raise UsageError(f"{path} has no profile {section}", hint="correct the profile's name, or add it")
    pairs = {
        "access_key_id": found.get(section, "aws_access_key_id", fallback=None),
        "secret_access_key": found.get(section, "aws_secret_access_key", fallback=None),
        "session_token": found.get(section, "aws_session_token", fallback=None),
    }
    return {key: value for key, value in pairs.items() if value}


def _with_bucket(endpoint: str, name: str) -> str:
    parts = urlsplit(endpoint)
    return urlunsplit(parts._replace(netloc=f"{name}.{parts.netloc}"))


def _read_certificates(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the certificates in {path}", hint="correct the option ca") from error
