"""What obstore and the servers behind it say, in Holdfast's words and without their secrets.

obstore keeps the status, the server's error code and the body in its text only, and the text may hold signed
URLs and key ids: the pieces that matter are picked out of it, and the rest is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from holdfast.domain.errors import (
    HoldfastError,
    LackingRightsError,
    StorageFullError,
    StorageUnusableError,
    UnreachableError,
)

_STATUS = re.compile(r"status code: (\d{3})|\(code: (\d{3})\)")
_CODE = re.compile(r"<Code>(\w{1,80})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,200})")

_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound", "ResourceNotFound", "NoSuchAccount"}
_FULL = {"QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "ServiceQuotaExceeded", "StorageFull"}
_BAD_KEYS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "ExpiredToken",
    "AuthenticationFailed",
}
_SKEWED = {"RequestTimeTooSkewed", "RequestExpired"}
_ELSEWHERE = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
_LATER = {"RequestTimeout", "SlowDown", "OperationAborted", "ConditionalRequestConflict"}
_METADATA_HOSTS = ("169.254.169.254", "169.254.170.2", "metadata.google.internal")
_WRONG_REGION = "incorrectly configured region"
_SILENCES = (
    ("dns error", "the host's name is not known", "check the endpoint's spelling, and the name service"),
    (
        "Connection refused",
        "the connection was refused",
        "check that the server runs, and the endpoint's port",
    ),
    ("TimedOut", "it took too long", "check the network, or add timeout=SECONDS if the link is slow"),
    (
        "operation timed out",
        "it took too long",
        "check the network, or add timeout=SECONDS if the link is slow",
    ),
    ("IncompleteMessage", "the server hung up", "try again later"),
    ("Connection reset", "the connection was cut", "try again later"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a failure's text says: the HTTP status and error code if the server gave them."""

    status: int | None
    code: str | None
    message: str | None
    text: str

    @property
    def lacks_bucket(self) -> bool:
        return self.code in _NO_BUCKET

    @property
    def is_range_past_end(self) -> bool:
        return self.status == 416 or self.code == "InvalidRange" or "but object was only" in self.text

    @property
    def is_range_ignored(self) -> bool:
        return "non-partial response" in self.text


def read_answer(error: BaseException) -> Answer:
    text = str(error)
    status, code, message = (pattern.search(text) for pattern in (_STATUS, _CODE, _MESSAGE))
    return Answer(
        status=int(status[1] or status[2]) if status else None,
        code=code[1] if code else None,
        message=message[1].strip().splitlines()[0].rstrip(".").lower() if message else None,
        text=text,
    )


def translate(error: BaseException, doing: str, where: str, secrets: Iterable[str]) -> HoldfastError:
    """The error to raise for `error`, which came up while `doing` something ("write data/1") at `where`.

    The server's own words are quoted only if its answer holds none of the `secrets`.
    """
    answer = read_answer(error)
    if cause_of(error, secrets) is None:
        answer = replace(answer, message=None)
    return translate_answer(answer, doing, where)


def translate_answer(answer: Answer, doing: str, where: str) -> HoldfastError:
    """The same for an answer that was already read, or for none: a failure's text without a status."""
    start = f"cannot {doing} in {where}: "
    if _WRONG_REGION in answer.text:
        return _elsewhere(start + "the bucket lives in another region")
    if any(host in answer.text for host in _METADATA_HOSTS):
        return _of_metadata(answer, start)
    if answer.status is not None:
        return _of_answer(answer, start)
    return _of_silence(answer.text, start)


def cause_of(error: BaseException, secrets: Iterable[str]) -> BaseException | None:
    """What to name after `from`: the error itself, or nothing if its text would give a secret away.

    obstore leaves signed URLs out of its text, but quotes answers, and some proxies send back what they got.
    """
    text = str(error)
    leaks = "sig=" in text or "Signature=" in text or any(secret and secret in text for secret in secrets)
    return None if leaks else error


def _elsewhere(message: str) -> HoldfastError:
    return StorageUnusableError(message, hint="add region=NAME, the bucket's own region, to its address")


def _of_metadata(answer: Answer, start: str) -> HoldfastError:
    """The instance's role, the last link of the providers' chains, failed: there were no other credentials."""
    if answer.status is not None and (answer.status >= 500 or answer.status == 429):
        return UnreachableError(
            f"{start}the instance's credentials are not to be had now", hint="try again later"
        )
    return LackingRightsError(
        f"{start}no credentials were found, and this host has no role of its own",
        hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or your provider's counterparts",
    )


def _of_answer(answer: Answer, start: str) -> HoldfastError:
    code, status = answer.code, answer.status or 0
    said = f"the server says {status}" + (f" {code}" if code else "")
    if answer.lacks_bucket:
        return StorageUnusableError(
            f"{start}there is no such bucket", hint="create the bucket, or correct its name"
        )
    if code in _FULL or status == 507:
        return StorageFullError(f"{start}{said}", hint="raise the quota of the bucket, or make room in it")
    if code in _SKEWED:
        return StorageUnusableError(
            f"{start}{said}, our clock is off", hint="set the clock of this host (NTP)"
        )
    if code in _BAD_KEYS or status == 401:
        return LackingRightsError(
            f"{start}{said}", hint="check the access key and its secret, and that they are current"
        )
    if code in _ELSEWHERE or status in {301, 307, 308}:
        return _elsewhere(start + said)
    if status == 403:
        verb = start.split()[1]
        return LackingRightsError(
            f"{start}{said}", hint=f"allow these credentials to {verb} objects in the bucket"
        )
    if status >= 500 or status in {408, 409, 429} or code in _LATER:
        return UnreachableError(
            f"{start}{said}", hint="try again later; if it stays, ask the storage's operator"
        )
    detail = f": {answer.message}" if answer.message else ""
    return StorageUnusableError(f"{start}{said}{detail}", hint="check the address and its options")


def _of_silence(text: str, start: str) -> HoldfastError:
    """No answer at all."""
    if "invalid peer certificate" in text:
        return StorageUnusableError(
            f"{start}the server's certificate is not trusted",
            hint="add ca=FILE with the authority's certificate",
        )
    for sign, why, hint in _SILENCES:
        if sign in text:
            return UnreachableError(start + why, hint=hint)
    return UnreachableError(
        f"{start}the connection failed", hint="check the network, and the endpoint in the address"
    )
