"""Addresses and options: read once, checked, and never giving a secret away."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast
from holdfast.domain.errors import StorageUnusableError, UsageError
from holdfast.storage.bucket import parse_bucket
from holdfast.storage.spec import StorageSpec, open_storage

ENVIRONMENT = {"PYTHONPATH": str(Path(holdfast.__file__).parents[1])}
WRITE_ENDPOINT = "write endpoint=https://HOST or endpoint=https://HOST:PORT, without credentials"
USE_HTTPS = "use https, or add allow_http=true if you trust the network in between"


def test_folders_are_named_by_path_or_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An absolute path, a relative one, one in the home folder and a file URL lead to the same folder."""
    (tmp_path / "my backups").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    urls = (
        str(tmp_path / "my backups"),
        "my backups",
        "./my backups",
        "~/my backups",
        f"file://{tmp_path}/my%20backups",
        f"file:{tmp_path}/my%20backups",
    )
    assert {open_storage(url).address for url in urls} == {f"file://{tmp_path}/my%20backups"}


def test_folder_is_made_only_when_asked(tmp_path: Path) -> None:
    """Opening does not create; opening with create_root does."""
    with pytest.raises(StorageUnusableError):
        open_storage(str(tmp_path / "new"))
    open_storage(str(tmp_path / "new"), create_root=True)
    assert open_storage(str(tmp_path / "new")).create_once


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("gcs://bucket/x", "write gs://…"),
        ("s3a://bucket/x", "write s3://…"),
        ("azure://box/x", "write az://…"),
        ("flie:///x", "write file://…"),
        ("ftp://host/x", "use a path, or one of file://, s3://, gs://, az://"),
        ("file://host/x", "write file:///ABSOLUTE/PATH, or just the path"),
        ("file:relative", "write file:///ABSOLUTE/PATH, or just the path"),
        ("s3:///prefix", "write s3://BUCKET/PREFIX"),
        ("s3://bucket/a/../b", 'use letters, digits, "-", "_", "." and "="'),
        ("s3://bucket?regoin=x", "did you mean region?"),
        ("gs://bucket?region=x", "known are allow_http, anonymous, ca, endpoint, timeout"),
        ("s3://bucket?addressing=odd", 'write "path" or "virtual"'),
        ("s3://bucket?anonymous=yes", "write anonymous=true or anonymous=false"),
        ("s3://bucket?timeout=soon", "give a number of seconds"),
        ("s3://bucket?timeout=0", "give a number of seconds"),
        ("s3://bucket?ca=/no/such/file", "correct the option ca"),
        ("s3://bucket?endpoint=host:9000", WRITE_ENDPOINT),
        ("s3://bucket?endpoint=http://10.0.0.1:9000", USE_HTTPS),
        ("s3://bucket?endpoint=http://127.0.0.1.example.com", USE_HTTPS),
    ],
)
def test_address_that_makes_no_sense_is_refused_with_a_hint(url: str, hint: str) -> None:
    """Every mistake in an address is a UsageError whose hint says what to write."""
    with pytest.raises(UsageError) as caught:
        open_storage(url)
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    "url",
    [
        "s3://id:QUITESECRET@bucket/x",
        "s3://bucket/x?secret_access_key=QUITESECRET",
        "az://box/x?sas_key=QUITESECRET",
        "gs://bucket/x?bearer_token=QUITESECRET",
        "s3://bucket?endpoint=https://id:QUITESECRET@host",
    ],
)
def test_secret_in_an_address_is_refused_without_repeating_it(url: str) -> None:
    """Addresses are shown and logged, so secrets in them are refused, and not quoted in doing so."""
    with pytest.raises(UsageError) as caught:
        open_storage(url)
    assert "QUITESECRET" not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"


@pytest.mark.parametrize(
    "endpoint",
    ["http://127.0.0.1:9000", "http://localhost:9000", "http://[::1]:9000", "https://s3.example.com"],
)
def test_plain_http_is_for_this_host_only(endpoint: str) -> None:
    """HTTP without TLS is fine with this very host, and elsewhere when told so."""
    assert parse_bucket(f"s3://bucket?endpoint={endpoint}").allows_http() == endpoint.startswith("http:")
    assert parse_bucket("s3://bucket?endpoint=http://10.0.0.1&allow_http=true").allows_http()


def test_options_of_the_settings_win_over_the_address() -> None:
    """The mapping overrides the query; what it adds shows in the address, unless it is a secret."""
    bucket = parse_bucket(
        "s3://bucket/some/prefix/?region=a&timeout=5",
        {"region": "b", "secret_access_key": "QUITESECRET", "access_key_id": "QUIETID"},
    )
    assert bucket.address == "s3://bucket/some/prefix?region=b&timeout=5"
    assert bucket.timeout_seconds == 5
    assert "QUI" not in repr(bucket)
    assert parse_bucket(bucket.address).address == bucket.address


def test_bucket_goes_into_the_hosts_name_with_virtual_addressing() -> None:
    """addressing=virtual makes a client for BUCKET.ENDPOINT; it opens without asking the server anything."""
    keys = {"access_key_id": "an-id", "secret_access_key": "a-word"}
    url = "s3://bucket/x?endpoint=https://s3.example.com&addressing=virtual&region=r"
    assert open_storage(url, options=keys).address == (
        "s3://bucket/x?addressing=virtual&endpoint=https://s3.example.com&region=r"
    )


def test_folders_have_no_options(tmp_path: Path) -> None:
    """Options that would be ignored are refused, without their values."""
    with pytest.raises(UsageError) as caught:
        open_storage(str(tmp_path), options={"secret_access_key": "QUITESECRET"})
    assert "QUITESECRET" not in str(caught.value)


def test_spec_opens_the_same_storage_in_another_process(tmp_path: Path) -> None:
    """A spec is plain data: pickled and opened elsewhere it leads to the same objects."""
    spec = StorageSpec(url=str(tmp_path / "repository"), create_once=False)
    spec.open(create_root=True).create("a/b", b"bytes")
    program = (
        "import pickle, sys; s = pickle.load(sys.stdin.buffer).open(); print(s.get('a/b'), s.create_once)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps(spec),
        capture_output=True,
        check=True,
        env=ENVIRONMENT,
    )
    assert done.stdout.decode().strip() == "b'bytes' False"


def test_spec_hides_its_options() -> None:
    """The representation of a spec, which ends up in logs, shows no option."""
    spec = StorageSpec(url="s3://bucket/x", options={"secret_access_key": "QUITESECRET"})
    assert "QUITESECRET" not in repr(spec)
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_clouds_are_loaded_only_for_clouds() -> None:
    """Importing the way to open storages does not load obstore: the command line starts faster without."""
    program = "import sys; from holdfast.storage import probe, spec, wrap; print('obstore' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env=ENVIRONMENT)
    assert done.stdout.decode().strip() == "False"
