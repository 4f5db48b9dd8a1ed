"""Where a source's copies go, as the settings file says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast import settings
from holdfast.domain.errors import UsageError
from holdfast.settings import CopySettings, RepositoryChoice, RepositorySettings, Settings

FILE = """
[repositories.primary]
url = "s3://bucket/backups"
[repositories.offsite]
url = "far"
[sources.shop]
repository = "primary"
copies = COPIES
[sources.crm]
repository = "offsite"
"""


def load(folder: Path, copies: str) -> Settings:
    (folder / "holdfast.toml").write_text(FILE.replace("COPIES", copies), encoding="utf-8")
    return settings.load(environ={}, folder=folder)


def test_copies_are_named_alone_or_with_their_rules(tmp_path: Path) -> None:
    """A name is short for a table; a path starts from the file's folder."""
    found = load(tmp_path, '["offsite", { repository = "./other", newest_only = true }]')
    assert found.file.sources["shop"].copies == (
        CopySettings(repository="offsite"),
        CopySettings(repository=str(tmp_path / "other"), newest_only=True),
    )
    assert found.file.sources["crm"].copies == ()


def test_a_repository_knows_its_copies(tmp_path: Path) -> None:
    """Only those of the sources that live there: it is what an operator is told when it is lost."""
    found = load(tmp_path, '["offsite"]')
    assert found.copies_of(found.pick_repository("primary")) == ("offsite",)
    assert found.copies_of(found.pick_repository("offsite")) == ()
    elsewhere = RepositoryChoice(name=None, settings=RepositorySettings(url="s3://bucket/elsewhere"))
    assert found.copies_of(elsewhere) == ()


@pytest.mark.parametrize(
    ("copies", "said", "hint"),
    [
        ('["offsight"]', "sources.shop.copies names 'offsight'", "did you mean offsite?"),
        ('[{ repository = "offsite", newest = true }]', "newest", "did you mean newest_only?"),
        ("[{ newest_only = true }]", "repository is missing", "add sources.shop.copies.0.repository"),
        ('"offsite"', "sources.shop.copies", None),
    ],
)
def test_a_mistake_names_its_place(tmp_path: Path, copies: str, said: str, hint: str | None) -> None:
    """With a suggestion where one is close."""
    with pytest.raises(UsageError) as caught:
        load(tmp_path, copies)
    assert said in caught.value.message
    assert hint is None or caught.value.hint == hint
