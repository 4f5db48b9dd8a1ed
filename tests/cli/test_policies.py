"""`holdfast doctor --policies` and the lock section of a repository's settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from program import Finished

Inside = Callable[..., Finished]
Write = Callable[[str, str], Path]

REPOSITORY = """
[repositories.main]
url = "s3://backups/shop"
{lock}
"""


def test_policies_are_printed_for_each_part(inside: Inside) -> None:
    """As text to read, as a document to script; no server is asked, no secret is needed."""
    text = inside("doctor", "--repo", "s3://backups/shop", "--policies")
    assert (text.code, text.stderr) == (0, "")
    for part in ("writer: ", "reader: ", "collector: ", "lifecycle rules of the bucket:", "note: "):
        assert f"\n{part}" in text.stdout
    found = json.loads(inside("doctor", "--repo", "s3://backups/shop", "--policies", "--json").stdout)
    assert list(found["policies"]) == ["writer", "reader", "collector"]
    assert "PutObjectRetention" not in json.dumps(found["policies"])


def test_locks_in_the_settings_need_their_right(inside: Inside, write: Write) -> None:
    """The policies follow the settings."""
    write("holdfast.toml", REPOSITORY.format(lock='lock = { mode = "governance", days = 30 }'))
    found = json.loads(inside("doctor", "--repo", "main", "--policies", "--json").stdout)
    assert "s3:PutObjectRetention" in json.dumps(found["policies"]["writer"])
    assert "Bypass" not in json.dumps(found["policies"])


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("gs://backups/shop", "storage.objects.create"),
        ("az://backups/shop?account=mine", "containers/blobs/write"),
        ("./folder", "whoever writes it can delete it"),
    ],
)
def test_every_kind_of_storage_has_an_answer(inside: Inside, address: str, words: str) -> None:
    """In the provider's own words, or plainly that there is none."""
    text = inside("doctor", "--repo", address, "--policies")
    assert (text.code, text.stderr) == (0, "")
    assert words in text.stdout


@pytest.mark.parametrize(
    ("lock", "words"),
    [
        ('lock = { mode = "goverment", days = 30 }', "repositories.main.lock.mode"),
        ('lock = { mode = "governance", days = 0 }', "repositories.main.lock.days"),
        ('lock = { mode = "governance" }', "repositories.main.lock.days is missing"),
        ("lock = { days = 30, mood = 1 }", "did you mean mode?"),
    ],
)
def test_a_lock_section_without_sense_is_refused(inside: Inside, write: Write, lock: str, words: str) -> None:
    """A lock that is not what was meant may bind for years, or not at all."""
    write("holdfast.toml", REPOSITORY.format(lock=lock))
    failed = inside("doctor", "--repo", "main", "--policies")
    assert failed.code == 2
    assert words in failed.stderr


def test_a_lock_on_a_folder_is_refused(inside: Inside, write: Write) -> None:
    """A setting that does nothing must not look like protection."""
    write("holdfast.toml", '[repositories.main]\nurl = "./repo"\nlock = { days = 30 }\n')
    failed = inside("doctor", "--repo", "main")
    assert failed.code == 6
    assert "has no locks on objects" in failed.stdout
