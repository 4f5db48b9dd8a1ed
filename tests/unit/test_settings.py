"""Settings: what is understood, and that what is wrong is an error which names the place."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from holdfast import settings
from holdfast.domain.errors import UsageError
from holdfast.domain.policy import RetentionPolicy, TagRule
from holdfast.domain.tables import QualifiedName, Tier, tier_of
from holdfast.settings import Settings

FULL = """
default_source = "shop"
default_repository = "cloud"

[repositories.cloud]
url = "s3://bucket/backups"
options = { endpoint = "https://minio.example.org", allow_http = true }
passphrase_file = "secrets/passphrase"

[repositories.disk]
url = "backups"
passphrase_env = "DISK_PASSPHRASE"

[sources.shop]
url = "${SHOP_URL}"
repository = "disk"
jobs = 4
lock_timeout_seconds = 2.5
full_every_days = 3
exclude_rows = ["audit.*"]
tags = ["nightly"]

[sources.shop.tiers]
critical = ["public.users", "orders"]
low = ["audit.*"]

[sources.crm]
url = "postgresql://crm@localhost/crm"
"""


def load(folder: Path, toml: str | None = None, **environ: str) -> Settings:
    if toml is not None:
        (folder / "holdfast.toml").write_text(toml, encoding="utf-8")
    return settings.load(environ=environ, folder=folder)


def failure(folder: Path, toml: str | None = None, **environ: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        load(folder, toml, **environ)
    return caught.value


def test_a_full_file_is_understood(tmp_path: Path) -> None:
    """All keys of a settings file arrive where they are used."""
    found = load(tmp_path, FULL, SHOP_URL="postgresql://u:pw@db/shop")
    source = found.pick_source(None)
    assert (source.name, source.settings.url) == ("shop", "postgresql://u:pw@db/shop")
    assert (source.settings.jobs, source.settings.lock_timeout_seconds) == (4, 2.5)
    assert source.settings.full_every_days == 3
    assert (source.settings.exclude_rows, source.settings.tags) == (("audit.*",), ("nightly",))
    rules = source.settings.tiers.rules()
    assert tier_of(QualifiedName(schema="public", name="orders"), rules) is Tier.CRITICAL
    assert tier_of(QualifiedName(schema="audit", name="log"), rules) is Tier.LOW
    assert found.pick_repository(None, source.settings).name == "disk"
    assert found.pick_repository(None).name == "cloud"
    cloud = found.pick_repository("cloud").settings
    assert cloud.options == {"endpoint": "https://minio.example.org", "allow_http": True}


def test_relative_paths_start_at_the_settings_file(tmp_path: Path) -> None:
    """A cron job runs anywhere: paths in the file mean places beside it."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "my.toml").write_text(FULL, encoding="utf-8")
    found = settings.load(config=Path("etc/my.toml"), environ={"SHOP_URL": "x"}, folder=tmp_path)
    assert found.pick_repository("disk").settings.url == str(tmp_path / "etc" / "backups")
    passphrase_file = found.pick_repository("cloud").settings.passphrase_file
    assert passphrase_file == tmp_path / "etc" / "secrets" / "passphrase"


@pytest.mark.parametrize(
    ("toml", "place", "suggestion"),
    [
        ('[sources.a]\nurl="x"\njbos = 3\n', "sources.a.jbos", "jobs"),
        ('[repository.a]\nurl="x"\n', "repository", "repositories"),
        (
            '[repositories.a]\nurl="x"\npasphrase_file="f"\n',
            "repositories.a.pasphrase_file",
            "passphrase_file",
        ),
        ('[repositories.a]\nurl="x"\npassphrase="p"\n', "repositories.a.passphrase", "passphrase_"),
        ('[sources.a]\nurl="x"\n[sources.a.tiers]\ncritcal=["t"]\n', "sources.a.tiers.critcal", "critical"),
        ('default_sorce = "a"\n', "default_sorce", "default_source"),
    ],
)
def test_an_unknown_key_fails_with_a_suggestion(
    tmp_path: Path, toml: str, place: str, suggestion: str
) -> None:
    """A misspelt key would silently do nothing: it is an error that says which one was meant."""
    error = failure(tmp_path, toml)
    assert f"unknown key {place}" in error.message
    assert error.hint is not None
    assert f"did you mean {suggestion}" in error.hint


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[sources.a\n", "not valid TOML"),
        ('[sources.a]\nurl="x"\njobs = "many"\n', "sources.a.jobs"),
        ('[sources.a]\nurl="x"\njobs = 0\n', "sources.a.jobs"),
        ('[sources.a]\nurl="x"\ntags = ["two words"]\n', "'two words' is no tag"),
        ("[repositories.a]\n", "repositories.a.url is missing"),
        ('[repositories.a]\nurl="x"\npassphrase_env="A"\npassphrase_file="b"\n', "exclude each other"),
        ('default_source = "a"\n', "default_source names 'a', which is not configured"),
        ('[sources.a]\nurl="x"\nrepository="nope"\n', "sources.a.repository names 'nope'"),
        ('[sources."a b"]\nurl="x"\n', "is no name"),
    ],
)
def test_a_wrong_value_names_its_place(tmp_path: Path, toml: str, words: str) -> None:
    """Every mistake in the file is an error that says where it stands."""
    error = failure(tmp_path, toml)
    assert words in error.message
    assert str(tmp_path / "holdfast.toml") in error.message


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """A typing mistake in --config or HOLDFAST_CONFIG must not mean: no settings."""
    with pytest.raises(UsageError, match=r"other\.toml does not exist"):
        settings.load(config=Path("other.toml"), environ={}, folder=tmp_path)
    assert "gone.toml does not exist" in failure(tmp_path, HOLDFAST_CONFIG="gone.toml").message


def test_an_undefined_variable_breaks_only_its_section(tmp_path: Path) -> None:
    """A restore on a fresh machine works although the lost database's URL is not known there."""
    found = load(tmp_path, FULL)
    assert found.pick_source("crm").name == "crm"
    assert found.pick_repository("disk").name == "disk"
    with pytest.raises(
        UsageError, match=r"sources\.shop\.url needs the environment variable SHOP_URL"
    ) as caught:
        found.pick_source("shop")
    assert caught.value.hint == "set SHOP_URL, for example in .env"


def test_an_empty_variable_counts_as_undefined(tmp_path: Path) -> None:
    """An empty URL would mean whatever database libpq finds by itself."""
    with pytest.raises(UsageError, match="SHOP_URL"):
        load(tmp_path, FULL, SHOP_URL="").pick_source("shop")


def test_an_undefined_variable_in_a_number_is_named(tmp_path: Path) -> None:
    """Not `valid integer expected`: the reason is the variable."""
    assert "environment variable JOBS" in failure(tmp_path, '[sources.a]\nurl="x"\njobs="${JOBS}"\n').message


def test_variables_are_expanded_with_defaults_and_escapes(tmp_path: Path) -> None:
    """`${NAME}`, `${NAME:-otherwise}` and `$${`."""
    toml = '[sources.a]\nurl="postgresql://${HOST:-localhost}/${DB}?application_name=$${x}"\n'
    found = load(tmp_path, toml, DB="shop")
    assert found.pick_source("a").settings.url == "postgresql://localhost/shop?application_name=${x}"


def test_env_file_fills_in_but_never_overrides(tmp_path: Path) -> None:
    """`.env` beside the settings gives what the environment lacks."""
    (tmp_path / ".env").write_text(
        "# comment\nexport SHOP_URL='postgresql://from-file/shop'\nPGUSER=file\nFULL=${PGUSER}-x\n",
        encoding="utf-8",
    )
    (tmp_path / "holdfast.toml").write_text(FULL, encoding="utf-8")
    environ = {"PGUSER": "environment"}
    found = settings.load(environ=environ, folder=tmp_path)
    assert found.pick_source("shop").settings.url == "postgresql://from-file/shop"
    assert environ["PGUSER"] == "environment"
    assert environ["FULL"] == "environment-x"


def test_env_file_works_without_settings(tmp_path: Path) -> None:
    """`.env` alone is enough to name a source and a repository."""
    (tmp_path / ".env").write_text(
        "DATABASE_URL=postgresql://h/d\nHOLDFAST_REPOSITORY=/r\n", encoding="utf-8"
    )
    found = settings.load(environ={}, folder=tmp_path)
    assert found.pick_source(None).settings.url == "postgresql://h/d"
    assert found.pick_repository(None).settings.url == "/r"


def test_a_line_that_is_no_assignment_is_an_error(tmp_path: Path) -> None:
    """A line of .env that cannot be read is named, and its content, perhaps a secret, is not shown."""
    (tmp_path / ".env").write_text("A=1\n'sekret: broken\nB=2\n", encoding="utf-8")
    error = failure(tmp_path)
    assert ".env line 2 is not NAME=value" in error.message
    assert "sekret" not in error.message


def test_a_misspelt_variable_is_an_error(tmp_path: Path) -> None:
    """HOLDFAST_REPOSITRY would silently do nothing."""
    error = failure(tmp_path, HOLDFAST_REPOSITRY="x")
    assert error.hint is not None
    assert "did you mean HOLDFAST_REPOSITORY" in error.hint


def test_a_variable_that_the_settings_use_is_no_mistake(tmp_path: Path) -> None:
    """Names that the file itself refers to are the operator's own."""
    toml = '[repositories.a]\nurl="x"\npassphrase_env="HOLDFAST_PASSPHRASE2"\n'
    assert load(tmp_path, toml, HOLDFAST_PASSPHRASE2="x").pick_repository("a").name == "a"
    assert "unknown environment variable" in failure(tmp_path, toml, HOLDFAST_PASSPHRASE3="x").message


@pytest.mark.parametrize(
    ("environ", "origin", "url"),
    [
        ({"HOLDFAST_SOURCE": "postgresql://a/b", "PGHOST": "h"}, "HOLDFAST_SOURCE", "postgresql://a/b"),
        ({"PGHOST": "h", "DATABASE_URL": "postgresql://a/b"}, "PGHOST", ""),
        ({"PGSERVICE": "s"}, "PGSERVICE", ""),
        ({"DATABASE_URL": "postgresql://a/b"}, "DATABASE_URL", "postgresql://a/b"),
    ],
)
def test_a_source_is_found_in_the_environment(
    tmp_path: Path, environ: dict[str, str], origin: str, url: str
) -> None:
    """Without settings and arguments, libpq's own variables and DATABASE_URL name the source."""
    choice = load(tmp_path, **environ).pick_source(None)
    assert (choice.name, choice.origin, choice.settings.url) == (None, origin, url)


def test_nothing_is_guessed_among_several(tmp_path: Path) -> None:
    """Two sources and no default: the operator must say which."""
    toml = (
        '[sources.a]\nurl="x"\n[sources.b]\nurl="y"\n[repositories.r]\nurl="x"\n[repositories.s]\nurl="y"\n'
    )
    found = load(tmp_path, toml, DATABASE_URL="postgresql://h/d")
    with pytest.raises(UsageError, match="several sources: a, b"):
        found.pick_source(None)
    with pytest.raises(UsageError, match="several repositories: r, s"):
        found.pick_repository(None)


def test_nothing_to_choose_from_says_what_to_give(tmp_path: Path) -> None:
    """No settings, no environment: the error shows what a source and a repository look like."""
    found = load(tmp_path)
    with pytest.raises(UsageError, match="no source is named") as caught:
        found.pick_source(None)
    assert "postgresql://" in str(caught.value.hint)
    with pytest.raises(UsageError, match="no repository is named") as caught:
        found.pick_repository(None)
    assert "--repo" in str(caught.value.hint)


def test_an_unknown_name_fails_with_a_suggestion(tmp_path: Path) -> None:
    """A misspelt source or repository names the nearest one."""
    found = load(tmp_path, FULL, SHOP_URL="x")
    with pytest.raises(UsageError, match="no source is named 'shpo'") as caught:
        found.pick_source("shpo")
    assert caught.value.hint == "did you mean shop?"
    with pytest.raises(UsageError, match="no repository is named 'clod'") as caught:
        found.pick_repository("clod")
    assert caught.value.hint == "did you mean cloud?"


@pytest.mark.parametrize("text", ["s3://b/p", "/srv/b", "./b", "../b", "~/b", "b/c", "file:///srv/b", "."])
def test_a_repository_may_be_a_place(tmp_path: Path, text: str) -> None:
    """URLs and paths need no settings."""
    choice = load(tmp_path).pick_repository(text)
    assert (choice.name, choice.settings.url) == (None, text)


@pytest.mark.parametrize("text", ["postgresql://h/d", "postgres://h/d", "host=h dbname=d", "service=s"])
def test_a_source_may_be_an_address(tmp_path: Path, text: str) -> None:
    """URLs and libpq's words need no settings."""
    assert load(tmp_path).pick_source(text).settings.url == text


def test_secrets_show_in_no_repr_and_no_message(tmp_path: Path) -> None:
    """Neither the settings' repr nor a validation error repeats a password or a passphrase command."""
    toml = FULL.replace("[sources.crm]", '[sources.more]\nurl="postgresql://u:sekret@h/d"\n[sources.crm]')
    toml = toml.replace('passphrase_env = "DISK_PASSPHRASE"', 'passphrase_command = "echo sekret"')
    found = load(tmp_path, toml, SHOP_URL="postgresql://u:sekret@h/d")
    assert "sekret" not in repr(found)
    assert "sekret" not in repr(found.pick_source("shop"))
    assert "sekret" not in repr(found.pick_repository("disk"))
    error = failure(tmp_path, '[sources.a]\nurl = ["sekret"]\njobs="sekret"\n')
    assert "sekret" not in f"{error.message} {error.hint} {error.__cause__} {error.__context__}"


def test_settings_are_frozen(tmp_path: Path) -> None:
    """Parsed once; nobody changes them later."""
    source = load(tmp_path, FULL, SHOP_URL="x").pick_source("shop").settings
    with pytest.raises(ValueError, match="frozen"):
        source.jobs = 7


RETENTION = """
[retention]
daily = 7
safety = "30d"

[repositories.offsite]
url = "s3://far/backups"
[repositories.offsite.retention]
monthly = 24

[sources.shop]
[sources.shop.retention]
keep_last = 12
keep_within = "14d"
hourly = 24
daily = 30
weekly = 8
monthly = 12
yearly = 5
minimum = 3
time_zone = "Europe/Berlin"
tags = { before-migration = "30d" }

[sources.crm]
"""


def test_the_most_specific_retention_stands_whole(tmp_path: Path) -> None:
    """The repository's own, else the source's, else the one at the top; a stranger's snapshots have none."""
    found = load(tmp_path, RETENTION)
    assert found.pick_policy("shop", None) == RetentionPolicy(
        keep_last=12,
        keep_within=timedelta(days=14),
        hourly=24,
        daily=30,
        weekly=8,
        monthly=12,
        yearly=5,
        minimum=3,
        time_zone="Europe/Berlin",
        tags=(TagRule(tag="before-migration", keep=timedelta(days=30)),),
    )
    assert found.pick_policy("crm", None) == RetentionPolicy(daily=7)
    assert found.pick_policy("shop", "offsite") == RetentionPolicy(monthly=24)
    for address in ("offsite", "s3://far/backups", "s3://far/backups/?region=eu-central-1"):
        assert found.name_of(found.pick_repository(address)) == "offsite"
    assert found.name_of(found.pick_repository("s3://far/other")) is None
    assert found.pick_policy("stranger", None) is None
    assert found.pick_policy("stranger", "offsite") is None
    assert found.safety_policy() == RetentionPolicy(keep_within=timedelta(days=30))
    nothing = load(tmp_path, "[sources.crm]\n")
    assert (nothing.pick_policy("crm", None), nothing.safety_policy()) == (None, None)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("keep_within = 14", "sources.a.retention.keep_within"),
        ('keep_within = "3m"', "'3m' is no length of time"),
        ("daily = -1", "daily must be between 0 and"),
        ("daily = 1.5", "sources.a.retention.daily"),
        ("daily = true", "sources.a.retention.daily"),
        ('time_zone = "Berlin"', "time_zone 'Berlin' is not known"),
        ('tags = { "two words" = "30d" }', "'two words' is no tag"),
        ('tags = { nightly = "0d" }', "tag nightly: the time to keep it must be longer than zero"),
        ('safety = "30d"', "sources.a.retention.safety belongs into [retention]"),
        ("dayly = 7", "unknown key sources.a.retention.dayly"),
    ],
)
def test_a_retention_without_sense_is_refused(tmp_path: Path, section: str, words: str) -> None:
    """A policy that says something else than was meant would remove backups."""
    assert words in failure(tmp_path, f"[sources.a]\n[sources.a.retention]\n{section}\n").message


def test_a_misspelt_rule_of_retention_gets_a_suggestion(tmp_path: Path) -> None:
    """At the top and in a repository's section, too."""
    for section in ("retention", "repositories.a.retention", "sources.a.retention"):
        error = failure(tmp_path, f'[repositories.a]\nurl="x"\n[{section}]\nkeep_lst = 7\n')
        assert error.hint == "did you mean keep_last?"
