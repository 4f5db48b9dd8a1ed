"""What only a network and its servers can do to us: wrong keys, lost answers, stalls, throttling, disorder."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import pytest

from contract.conftest import new_prefix
from holdfast.domain.errors import (
    HoldfastError,
    LackingRightsError,
    ObjectExistsError,
    ObjectMissingError,
    StorageFullError,
    StorageUnusableError,
    UnreachableError,
    UsageError,
)
from holdfast.storage.bucket import DEFAULT_TIMEOUT_SECONDS
from holdfast.storage.cloud import CloudStorage
from holdfast.storage.wrap import Retrying
from servers import s3_swift
from servers.cutting import CuttingLine, cutting_line
from servers.process import Server, deaf_port
from servers.scripted import Answer, ScriptedServer, scripted_server

KEYS = {"access_key_id": "an-id", "secret_access_key": "a-quiet-word"}


def verbs_of(storage: CloudStorage) -> tuple[Callable[[], object], ...]:
    return (
        lambda: storage.create("data/x", b"x"),
        lambda: storage.replace("data/x", b"x"),
        lambda: storage.get("data/x"),
        lambda: storage.get("data/x", offset=1, length=1),
        lambda: storage.stat("data/x"),
        lambda: list(storage.list("data/")),
        lambda: list(storage.list("")),
        lambda: storage.delete("data/x"),
    )


def no_retry(_: float) -> None:
    """Do not wait between tries."""


def test_missing_bucket_is_never_an_empty_one(server: Server) -> None:
    """Every verb says that there is no such bucket: nothing in it is "missing", and nothing was deleted."""
    storage = CloudStorage(server.url(bucket="no-such-bucket"), server.options)
    for verb in verbs_of(storage):
        with pytest.raises(StorageUnusableError, match="there is no such bucket"):
            verb()


@pytest.mark.parametrize("which", ["swift", "rclone", "azure"])
def test_wrong_secret_is_a_lack_of_rights(which: str, request: pytest.FixtureRequest) -> None:
    """With a wrong secret every verb lacks rights, and no message gives a key away."""
    server: Server = request.getfixturevalue(which)
    secret = "d3JvbmctYW5kLXNlY3JldA=="
    options = {key: value if key == "access_key_id" else secret for key, value in server.options.items()}
    storage = CloudStorage(server.url(new_prefix()), options)
    for verb in verbs_of(storage):
        with pytest.raises(LackingRightsError) as caught:
            verb()
        assert caught.value.hint is not None
        assert secret not in f"{caught.value} {caught.value.hint}"
        assert server.options.get("access_key_id", secret) not in str(caught.value)


def test_reader_reads_and_may_not_write(swift: Server) -> None:
    """Credentials that may only read do so; each write lacks rights and names the object."""
    prefix = new_prefix()
    CloudStorage(swift.url(prefix), swift.options, create_once=False).create("data/x", b"bytes")
    reader = CloudStorage(swift.url(prefix), s3_swift.READER)
    assert reader.get("data/x") == b"bytes"
    assert reader.stat("data/x").size_bytes == 5
    assert [info.name for info in reader.list("data/")] == ["data/x"]
    with pytest.raises(LackingRightsError, match=r"cannot write data/y .*403") as caught:
        reader.create("data/y", b"")
    assert caught.value.hint == "allow these credentials to write objects in the bucket"
    with pytest.raises(LackingRightsError, match="cannot write data/x"):
        reader.replace("data/x", b"")
    with pytest.raises(LackingRightsError, match="cannot delete data/x"):
        reader.delete("data/x")
    assert reader.get("data/x") == b"bytes"


def test_absent_server_is_unreachable_at_once() -> None:
    """A refused connection is named with its remedy, without waiting."""
    began = time.monotonic()
    with deaf_port() as port:
        storage = CloudStorage(f"s3://bucket?endpoint=http://127.0.0.1:{port}", KEYS)
        for verb in verbs_of(storage):
            with pytest.raises(UnreachableError, match="the connection was refused") as caught:
                verb()
            assert type(caught.value) is UnreachableError
            assert caught.value.hint == "check that the server runs, and the endpoint's port"
    assert time.monotonic() - began < DEFAULT_TIMEOUT_SECONDS / 3


def test_unknown_host_is_named() -> None:
    """A host that no name service knows is said to be just that."""
    storage = CloudStorage("s3://bucket?endpoint=https://host.invalid", KEYS)
    with pytest.raises(UnreachableError, match="the host's name is not known"):
        storage.get("x")


def test_stalled_server_times_out(moto: Server) -> None:
    """A server that takes the request and never answers fails after the timeout of the address."""
    prefix = new_prefix()
    patient = CloudStorage(moto.url(prefix), moto.options)
    hasty = CloudStorage(moto.url(prefix, extra="&timeout=0.5"), moto.options)
    patient.create("data/x", b"bytes")
    began = time.monotonic()
    with moto.paused():
        for verb in (lambda: hasty.get("data/x"), lambda: hasty.replace("data/x", b"y")):
            with pytest.raises(UnreachableError, match="it took too long") as caught:
                verb()
            assert caught.value.hint is not None
            assert "timeout=SECONDS" in caught.value.hint
    assert time.monotonic() - began < DEFAULT_TIMEOUT_SECONDS / 3
    assert patient.get("data/x") in {b"bytes", b"y"}


@pytest.fixture
def line(moto: Server) -> Iterator[CuttingLine]:
    with cutting_line(moto.port) as found:
        yield found


def behind(line: CuttingLine, server: Server, prefix: str) -> CloudStorage:
    return CloudStorage(server.url(prefix, endpoint=line.endpoint), server.options)


def test_create_with_a_lost_answer_is_told_so(line: CuttingLine, moto: Server) -> None:
    """When the answer gets lost, create fails; tried again by hand, it meets its own object."""
    storage = behind(line, moto, new_prefix())
    line.cuts = 1
    with pytest.raises(UnreachableError):
        storage.create("outcomes/x", b"ours")
    assert line.swallowed == 1
    with pytest.raises(ObjectExistsError):
        storage.create("outcomes/x", b"ours")


def test_retried_create_recognises_its_own_object(line: CuttingLine, moto: Server) -> None:
    """A retried create that finds its own bytes has succeeded."""
    storage = Retrying(behind(line, moto, new_prefix()), sleep=no_retry)
    line.cuts = 1
    storage.create("outcomes/x", b"ours")
    assert line.swallowed == 1
    assert storage.get("outcomes/x") == b"ours"


def test_retried_create_does_not_claim_anothers_object(line: CuttingLine, moto: Server) -> None:
    """A retried create that finds other bytes has lost."""
    prefix = new_prefix()
    CloudStorage(moto.url(prefix), moto.options).create("outcomes/x", b"theirs")
    storage = Retrying(behind(line, moto, prefix), sleep=no_retry)
    line.cuts = 1
    with pytest.raises(ObjectExistsError):
        storage.create("outcomes/x", b"ours")
    assert line.swallowed == 1
    assert storage.get("outcomes/x") == b"theirs"


def test_answer_cut_short_never_passes_for_whole(line: CuttingLine, moto: Server) -> None:
    """A body that breaks off is an error, and with retries the whole object."""
    data = b"0123456789" * 50_000
    prefix = new_prefix()
    CloudStorage(moto.url(prefix), moto.options).create("data/x", data)
    storage = behind(line, moto, prefix)
    line.keep_bytes = 3000
    for keywords in ({}, {"offset": 10, "length": 400_000}, {"offset": 10}):
        line.cuts = 1
        with pytest.raises(UnreachableError):
            storage.get("data/x", **keywords)
        assert line.cuts == 0
    line.cuts = 2
    assert Retrying(storage, sleep=no_retry).get("data/x") == data
    assert line.cuts == 0


def test_long_listing_comes_in_pages_and_survives_a_cut(rclone: Server) -> None:
    """More than one page of a thousand is listed without gap or double, also when pages get lost."""
    prefix = new_prefix()
    direct = Retrying(CloudStorage(rclone.url(prefix), rclone.options))
    expected = [f"data/{number:05d}" for number in range(1_100)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: direct.create(name, b""), expected))
    assert [info.name for info in direct.list("data/")] == expected
    found: list[str] = []
    with cutting_line(rclone.port) as line:
        for info in Retrying(behind(line, rclone, prefix), sleep=no_retry).list("data/"):
            if not found:
                line.cuts = 2
            found.append(info.name)
        assert line.cuts == 0
    assert found == expected


@pytest.fixture(scope="module")
def scripted() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def script(scripted: ScriptedServer) -> ScriptedServer:
    scripted.answers = {"*": Answer(status=200)}
    scripted.asked = []
    return scripted


def fault(code: str) -> str:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>Some text.</Message></Error>"


@pytest.mark.parametrize(
    ("status", "code", "kind", "text"),
    [
        (503, "SlowDown", UnreachableError, "503 SlowDown"),
        (500, "InternalError", UnreachableError, "500"),
        (429, "TooManyRequests", UnreachableError, "429"),
        (400, "RequestTimeout", UnreachableError, "RequestTimeout"),
        (403, "AccessDenied", LackingRightsError, "403 AccessDenied"),
        (403, "InvalidAccessKeyId", LackingRightsError, "InvalidAccessKeyId"),
        (401, "Unauthorized", LackingRightsError, "401"),
        (403, "QuotaExceeded", StorageFullError, "QuotaExceeded"),
        (507, "XMinioStorageFull", StorageFullError, "507"),
        (403, "RequestTimeTooSkewed", StorageUnusableError, "clock"),
        (400, "AuthorizationHeaderMalformed", StorageUnusableError, "400"),
        (301, "PermanentRedirect", StorageUnusableError, "another region"),
        (404, "NoSuchBucket", StorageUnusableError, "no such bucket"),
        (400, "InvalidArgument", StorageUnusableError, "some text"),
    ],
)
def test_answers_of_servers_are_told_apart(
    script: ScriptedServer, status: int, code: str, kind: type[HoldfastError], text: str
) -> None:
    """Each refusal becomes the error that says whether to wait, to ask for rights, for room, or to give up."""
    script.answers = {"*": Answer(status=status, body=fault(code))}
    storage = CloudStorage(f"s3://bucket/prefix?endpoint={script.endpoint}", KEYS)
    for verb in (
        lambda: storage.replace("x", b"x"),
        lambda: storage.get("x"),
        lambda: list(storage.list("data/")),
    ):
        script.asked.clear()
        with pytest.raises(kind, match=text) as caught:
            verb()
        assert type(caught.value) is kind
        assert caught.value.hint
        # Retries are the wrapper's, or a create would lose against itself.
        assert len(script.asked) == 1


def test_undecided_race_is_not_taken_for_a_lost_one(script: ScriptedServer) -> None:
    """S3 may answer 409 without storing any contender: "taken" must be seen to be believed."""
    script.answers = {
        "PUT": Answer(status=409, body=fault("ConditionalRequestConflict")),
        "*": Answer(status=404, body=fault("NoSuchKey")),
    }
    storage = CloudStorage(f"s3://bucket?endpoint={script.endpoint}", KEYS)
    with pytest.raises(UnreachableError, match="as taken, but it is not there"):
        storage.create("outcomes/x", b"x")


def listing_of(*names: str) -> str:
    rows = "".join(
        f"<Contents><Key>{name}</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>"
        f"<ETag>&quot;{'0' * 32}&quot;</ETag><Size>1</Size></Contents>"
        for name in names
    )
    head = "<?xml version='1.0'?><ListBucketResult><IsTruncated>false</IsTruncated>"
    return f"{head}{rows}</ListBucketResult>"


def test_listing_in_disorder_is_refused(script: ScriptedServer) -> None:
    """Merging listings relies on their order, so a storage without order is refused by name."""
    script.answers = {"*": Answer(status=200, body=listing_of("p/a", "p/c", "p/b"))}
    storage = CloudStorage(f"s3://bucket/p?endpoint={script.endpoint}", KEYS)
    with pytest.raises(StorageUnusableError, match="lists b after c"):
        list(storage.list(""))


def test_folder_markers_of_consoles_are_no_objects(script: ScriptedServer) -> None:
    """Consoles leave an empty object "prefix/" where somebody clicked "create folder"."""
    script.answers = {"*": Answer(status=200, body=listing_of("p/", "p/a"))}
    storage = CloudStorage(f"s3://bucket/p?endpoint={script.endpoint}", KEYS)
    assert [info.name for info in storage.list("")] == ["a"]


def test_google_is_asked_for_generation_zero(script: ScriptedServer) -> None:
    """On Google Cloud Storage create-once is the condition "no generation yet", and 412 means taken."""
    storage = CloudStorage(f"gs://bucket/p?endpoint={script.endpoint}", {"bearer_token": "a-quiet-word"})
    script.answers = {"PUT": Answer(status=200, headers={"ETag": '"1"', "x-goog-generation": "1"})}
    storage.create("outcomes/x", b"bytes")
    [asked] = script.asked
    assert (asked.method, unquote(asked.path), asked.body) == ("PUT", "/bucket/p/outcomes/x", b"bytes")
    assert {key.lower(): value for key, value in asked.headers.items()}["x-goog-if-generation-match"] == "0"
    script.answers = {
        "PUT": Answer(status=412, body=fault("PreconditionFailed")),
        "*": Answer(status=200, headers={"ETag": '"1"', "Last-Modified": "Fri, 02 Jan 2026 03:04:05 GMT"}),
    }
    with pytest.raises(ObjectExistsError):
        storage.create("outcomes/x", b"bytes")


def test_conditional_create_is_one_request(script: ScriptedServer) -> None:
    """An S3 create is one signed PUT with If-None-Match: *, whatever the size."""
    script.answers = {"PUT": Answer(status=200, headers={"ETag": '"1"'})}
    storage = CloudStorage(f"s3://bucket/p?endpoint={script.endpoint}", KEYS)
    storage.create("data/x", bytes(12_000_000))
    [asked] = script.asked
    headers = {key.lower(): value for key, value in asked.headers.items()}
    assert headers["if-none-match"] == "*"
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256")
    assert len(asked.body) == 12_000_000


@pytest.mark.parametrize("status", [400, 403, 500])
def test_secrets_sent_back_stay_out_of_tracebacks(script: ScriptedServer, status: int) -> None:
    """Some proxies quote the request, with Azure's signed URL in it: neither message nor cause repeats it."""
    sas = "sv=2021-08-06&ss=b&srt=sco&sp=rwdl&sig=QUITESECRETSIGNATURE%3D"
    echo = f"<Error><Code>Odd</Code><Message>you sent {sas.replace('&', ';')}</Message></Error>"
    script.answers = {"*": Answer(status=status, body=echo)}
    storage = CloudStorage(f"az://box/p?account=acme&endpoint={script.endpoint}", {"sas_key": sas})
    for verb in verbs_of(storage):
        with pytest.raises(UnreachableError) as caught:
            verb()
        shown = "".join(traceback.format_exception(caught.value))
        assert "QUITESECRETSIGNATURE" not in shown
    assert any("QUITESECRETSIGNATURE" in asked.path for asked in script.asked)


def test_shared_credentials_file_is_read(
    script: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys come from ~/.aws/credentials by profile, as with Amazon's own tools; the environment goes first."""
    file = tmp_path / "credentials"
    file.write_text(
        "[default]\naws_access_key_id = DEFAULTID\naws_secret_access_key = quiet\n"
        "[backup]\naws_access_key_id = BACKUPID\naws_secret_access_key = quiet\n"
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AWS_WEB_IDENTITY_TOKEN_FILE", raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))

    def used(url: str) -> str:
        script.asked.clear()
        CloudStorage(url, {}).replace("x", b"x")
        return next(value for key, value in script.asked[0].headers.items() if key.lower() == "authorization")

    script.answers = {"*": Answer(status=200, headers={"ETag": '"1"'})}
    url = f"s3://bucket?endpoint={script.endpoint}"
    assert "Credential=DEFAULTID/" in used(url)
    assert "Credential=BACKUPID/" in used(f"{url}&profile=backup")
    with pytest.raises(UsageError, match="has no profile nobody"):
        CloudStorage(f"{url}&profile=nobody", {})
    monkeypatch.setenv("AWS_PROFILE", "backup")
    assert "Credential=BACKUPID/" in used(url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENVID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "quiet")
    assert "Credential=ENVID/" in used(url)


def test_missing_object_and_missing_bucket_differ_for_stat(script: ScriptedServer) -> None:
    """The answer to HEAD has no body; stat finds out which of the two is missing."""
    storage = CloudStorage(f"s3://bucket?endpoint={script.endpoint}", KEYS)
    script.answers = {"*": Answer(status=404, body=fault("NoSuchKey"))}
    with pytest.raises(ObjectMissingError):
        storage.stat("x")
    script.answers = {"*": Answer(status=404, body=fault("NoSuchBucket"))}
    with pytest.raises(StorageUnusableError):
        storage.stat("x")
