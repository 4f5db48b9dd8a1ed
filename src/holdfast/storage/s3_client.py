"""botocore's S3 client, for what obstore cannot say: locks, versions, and what a bucket is set to.

botocore is an extra (`holdfast[lock]`); nothing here is imported without need. Its failures become ours, in the
same words as those of obstore.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from holdfast.domain.errors import (
    HoldfastError,
    LackingRightsError,
    ObjectMissingError,
    StorageUnusableError,
    UsageError,
)
from holdfast.storage.bucket import Bucket
from holdfast.storage.cloud_faults import Answer, translate_answer

CONNECT_SECONDS = 10
CONNECTIONS = 32
ATTEMPTS = 6

_NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}
_NO_PROFILE = {"ProfileNotFound", "ConfigParseError", "InvalidConfigError"}
_MISSING = {"NoSuchKey", "NoSuchVersion", "404", "NotFound"}


class S3Client:
    """One bucket's client. `ask` calls one operation; what it raises is ours already.

    Every answer tells the server's time: `now` is its clock, however wrong ours may be.
    """

    def __init__(self, bucket: Bucket) -> None:
        if bucket.scheme != "s3":
            raise UsageError(
                f"{bucket.scheme}: storage has no locks on objects",
                hint="set retention on the bucket itself; holdfast doctor says how",
            )
        self.bucket = bucket
        self._guard = threading.Lock()
        self._clients: dict[bool, Any] = {}
        self._heard: tuple[float, datetime] | None = None

    def key(self, name: str) -> str:
        return f"{self.bucket.prefix}/{name}" if self.bucket.prefix else name

    @property
    def now(self) -> datetime | None:
        """The server's time by its last answer, and the time that passed since; None before the first."""
        heard = self._heard
        if heard is None:
            return None
        return heard[1] + timedelta(seconds=time.monotonic() - heard[0])

    def ask(self, operation: str, doing: str, *, again: bool = True, **arguments: object) -> dict[str, Any]:
        """Call `operation` on the bucket; `doing` says what for, as in "lock data/1". `again`: try again what may
        pass; without it, a lost answer stays lost, as creating once needs.

        Raises `ObjectMissingError`, or `UnreachableError` and its kin; `code_of` tells the server's own code.
        """
        client = self._client(again=again)
        name = doing.partition(" ")[2]
        with self._faults(doing, name):
            answer: dict[str, Any] = getattr(client, operation)(Bucket=self.bucket.name, **arguments)
            self._hear(answer)
            return answer

    @contextmanager
    def _faults(self, doing: str, name: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, SSLError

        try:
            yield
        except ClientError as error:
            self._hear(error.response)
            raise self._of_answer(error.response, doing, name) from error
        except SSLError as error:
            raise self._of_silence("invalid peer certificate", doing) from error
        except HTTPClientError as error:
            raise self._of_silence(_sign_of(error), doing) from error
        except BotoCoreError as error:
            kind = type(error).__name__
            if kind in _NO_CREDENTIALS or "Token" in kind:
                raise LackingRightsError(
                    f"cannot {doing} in {self.bucket.address}: no credentials were found",
                    hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                ) from None
            raise self._of_silence("", doing) from None

    def _of_answer(self, response: Mapping[str, Any], doing: str, name: str) -> HoldfastError:
        code = str(response.get("Error", {}).get("Code", ""))
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if code in _MISSING and code != "NoSuchBucket":
            return ObjectMissingError(name)
        answer = Answer(status=status, code=code if code.isalpha() else None, message=None, text="")
        if status is None:
            return self._of_silence("", doing)
        return translate_answer(answer, doing, self.bucket.address)

    def _of_silence(self, text: str, doing: str) -> HoldfastError:
        answer = Answer(status=None, code=None, message=None, text=text)
        return translate_answer(answer, doing, self.bucket.address)

    def _hear(self, response: Mapping[str, Any]) -> None:
        date = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        if date is None:
            return
        try:
            self._heard = (time.monotonic(), parsedate_to_datetime(date).astimezone(UTC))
        except ValueError:
            return

    def _client(self, *, again: bool) -> Any:
        with self._guard:
            if again not in self._clients:
                self._clients[again] = _make_client(self.bucket, attempts=ATTEMPTS if again else 1)
            return self._clients[again]


def code_of(error: HoldfastError) -> str:
    """The server's own code of a failure that `S3Client.ask` raised; empty if it gave none."""
    response = getattr(error.__cause__, "response", {})
    return str(response.get("Error", {}).get("Code", ""))


def _make_client(bucket: Bucket, *, attempts: int) -> Any:
    try:
        import botocore.session
        from botocore import UNSIGNED
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise UsageError(
            "locks on objects need botocore, which is not installed",
            hint="pip install botocore  # or holdfast with its extra: holdfast[lock]",
        ) from error
    options, secrets = bucket.options, bucket.secrets
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=bucket.timeout_seconds,
        max_pool_connections=CONNECTIONS,
        retries={"total_max_attempts": attempts, "mode": "standard"},
        # Content-MD5 says it all, and every server knows it.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        signature_version=UNSIGNED if bucket.is_set("anonymous") else "s3v4",
        s3={"addressing_style": options.get("addressing", "path")},
    )
    try:
        session = botocore.session.Session(profile=options.get("profile"))
        return session.create_client(
            "s3",
            region_name=options.get("region") or _region(),
            endpoint_url=options.get("endpoint") or os.environ.get("AWS_ENDPOINT"),
            verify=options.get("ca"),
            aws_access_key_id=secrets.get("access_key_id"),
            aws_secret_access_key=secrets.get("secret_access_key"),
            aws_session_token=secrets.get("session_token"),
            config=config,
        )
    except (BotoCoreError, ValueError) as error:
        kind = type(error).__name__
        raise (UsageError if kind in _NO_PROFILE else StorageUnusableError)(
            f"the settings of {bucket.address} make no client",
            hint="check its options and the credentials in the environment",
        ) from None


def _region() -> str:
    """As obstore has it: without any, Amazon's first."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def _sign_of(error: Exception) -> str:
    """The words by which `cloud_faults` knows why there was no answer."""
    kind = type(error).__name__
    if "Timeout" in kind:
        return "operation timed out"
    text = str(error)
    signs: tuple[tuple[Callable[[str], bool], str], ...] = (
        (lambda said: "refused" in said, "Connection refused"),
        (lambda said: "resolve" in said or "Name or service" in said, "dns error"),
        (lambda said: "closed" in said or "reset" in said, "Connection reset"),
    )
    return next((sign for matches, sign in signs if matches(text)), "")
