"""`holdfast schedule print`: units that the schedulers' own parsers read, and that never hold a secret."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.workflows.schedule.elsewhere import slug
from program import Finished, Program

Inside = Callable[..., Finished]
Write = Callable[[str, str], Path]

SETTINGS = """
[repositories.cloud]
url = "s3://bucket/backups"
options = { access_key_id = "${S3_ID:-nobody}", secret_access_key = "${S3_KEY}" }

[repositories.offsite]
url = "gs://elsewhere/backups"
passphrase_env = "OFFSITE_PASSPHRASE"
retention = { monthly = 12 }

[sources.shop]
url = "${SHOP_URL}"
repository = "cloud"
copies = ["offsite"]
max_runtime = "30min"

[sources.shop.retention]
daily = 7

[sources.shop.schedule]
backup = "2-57/5 6-20 * * MON-FRI"
verify = "0 5 1,15 * SUN"

[sources.Big_One]
url = "postgresql://backup:s3kret@db.example.org/big"
repository = "cloud"
schedule = { verify = "never" }
"""
SECRETS = ("s3kret", "db.example.org", "hidden-key", "hidden-host")


@pytest.fixture
def printed(inside: Inside, write: Write, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """`printed("--cron", …)`: what is printed for the settings above, in which no secret is."""
    write("holdfast.toml", SETTINGS)
    monkeypatch.setenv("S3_KEY", "hidden-key")
    monkeypatch.setenv("SHOP_URL", "postgresql://u@hidden-host/shop")

    def print_schedule(*arguments: str) -> str:
        finished = inside("schedule", "print", *arguments)
        assert (finished.code, finished.stderr) == (0, "")
        assert not any(secret in finished.stdout for secret in SECRETS)
        return finished.stdout

    return print_schedule


def test_cron_lines_run_at_their_times_and_speak_only_of_failures(
    printed: Callable[..., str], tmp_path: Path
) -> None:
    """Five fields, then a command that the shell takes: silent when it goes well, else all that was said."""
    text = printed("--cron")
    jobs = [line for line in text.splitlines() if re.match(r"[\d*]", line)]
    assert [" ".join(line.split()[:5]) for line in jobs] == [
        "2-57/5 6-20 * * 1-5",
        "17 3 * * *",
        "17 3 * * *",
        "0 5 1,15 * 0",
        "*/5 * * * *",
    ]
    assert "backup shop --unless-running --quiet" in jobs[0]
    assert "prune shop --apply --quiet --repo cloud" in jobs[1]
    assert "prune shop --apply --quiet --repo offsite" in jobs[2]
    for name in ("S3_KEY", "SHOP_URL", "OFFSITE_PASSPHRASE", "HOLDFAST_PASSPHRASE"):
        assert f"#   {name}\n" in text
    assert "CRON_TZ=UTC\n" in text
    assert not re.search(r"(?<!\\)%", "".join(jobs))

    def run(program: str) -> subprocess.CompletedProcess[str]:
        """As cron does: without the five fields, and without the backslash before %."""
        command = " ".join(jobs[0].split(" ")[5:]).replace("\\%", "%")
        command = re.sub(r"out=\$\(\S+", f"out=$({program}", command)
        return subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)

    for name, script in (("fine", "echo all is well"), ("failing", "echo 'PARTIAL: 100% \\n lost'; exit 3")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    fine, failing = run(f"{tmp_path}/fine"), run(f"{tmp_path}/failing")
    assert (fine.returncode, fine.stdout, fine.stderr) == (0, "", "")
    assert (failing.returncode, failing.stderr) == (3, "")
    assert failing.stdout.startswith("PARTIAL: 100% ")


def test_a_percent_sign_and_spaces_in_a_path_survive_cron(
    inside: Inside, tmp_path: Path, write: Write
) -> None:
    """The shell gets the path as it is."""
    folder = tmp_path / "100% mine"
    folder.mkdir()
    (folder / "other.toml").write_text(
        '[sources.a]\nrepository = "cloud"\n[repositories.cloud]\nurl = "s3://b"\n'
    )
    finished = inside("--config", str(folder / "other.toml"), "schedule", "print", "--cron")
    assert f"cd '{folder}' && out=$(".replace("%", "\\%") in finished.stdout
    assert f"--config '{folder}/other.toml' backup a".replace("%", "\\%") in finished.stdout


def units_of(text: str) -> dict[str, configparser.ConfigParser]:
    """The files of a systemd listing by their names, parsed."""
    units = {}
    for part in text.split("# ==> ")[1:]:
        name, _, body = part.partition(" <==\n")
        parser = configparser.ConfigParser(interpolation=None, strict=True, delimiters=("=",))
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        # systemd allows a key twice, and with either of two days it is; the parser does not.
        body = re.sub(r"(?m)^OnCalendar=(.*)\nOnCalendar=", r"OnCalendar=\1\nOnCalendar2=", body)
        parser.read_string(body)
        units[name] = parser
    return units


def test_systemd_units_are_services_with_timers(printed: Callable[..., str]) -> None:
    """One-shot, at the converted times, as a user of its own, with secrets by reference."""
    units = units_of(printed("--systemd", "--user", "keeper"))
    assert sorted(units) == [
        "holdfast-backup-Big_One.service",
        "holdfast-backup-Big_One.timer",
        "holdfast-backup-shop.service",
        "holdfast-backup-shop.timer",
        "holdfast-prune-offsite-shop.service",
        "holdfast-prune-offsite-shop.timer",
        "holdfast-prune-shop.service",
        "holdfast-prune-shop.timer",
        "holdfast-verify-shop.service",
        "holdfast-verify-shop.timer",
    ]
    service = units["holdfast-backup-shop.service"]["Service"]
    assert service["Type"] == "oneshot"
    assert service["User"] == "keeper"
    assert service["ExecStart"].endswith("/holdfast backup shop --unless-running --quiet")
    assert service["Nice"] == "10"
    assert service["EnvironmentFile"] == "/etc/holdfast/shop.env"
    assert service["LoadCredential"] == "passphrase:/etc/holdfast/shop.passphrase"
    assert service["Environment"] == "HOLDFAST_PASSPHRASE_FILE=%d/passphrase"
    assert service["TimeoutStartSec"] == "2100"
    assert service["ProtectSystem"] == "strict"
    assert "SuccessExitStatus" not in service
    timer = units["holdfast-backup-shop.timer"]["Timer"]
    assert timer["OnCalendar"] == "Mon..Fri *-*-* 06..20:02..57/5:00 UTC"
    assert timer["Persistent"] == "true"
    timer = units["holdfast-verify-shop.timer"]["Timer"]
    assert (timer["OnCalendar"], timer["OnCalendar2"]) == ("*-*-01,15 05:00:00 UTC", "Sun *-*-* 05:00:00 UTC")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")
def test_systemd_itself_finds_no_fault_with_the_units(inside: Inside, write: Write, tmp_path: Path) -> None:
    """Also with a local repository whose path has a space and a percent sign in it."""
    write(
        "holdfast.toml",
        SETTINGS + '[repositories.disk]\nurl = "my 9% disk"\n[sources.c]\nrepository = "disk"\n',
    )
    assert inside("schedule", "print", "--systemd", "--output", "units").code == 0
    units = sorted(str(path) for path in (tmp_path / "units").iterdir())
    assert len(units) == 14
    finished = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False
    )
    own = [line for line in finished.stderr.splitlines() if "holdfast" in line]
    assert (finished.returncode, own) == (0, [])
    service = (tmp_path / "units" / "holdfast-backup-c.service").read_text(encoding="utf-8")
    assert f'ReadWritePaths="{tmp_path}/my 9%% disk"\n' in service


def test_kubernetes_gets_cronjobs(printed: Callable[..., str]) -> None:
    """One at a time, never tried again in a hurry, in UTC, with secrets by reference."""
    jobs: list[dict[str, Any]] = [item for item in yaml.safe_load_all(printed("--kubernetes")) if item]
    names = [job["metadata"]["name"] for job in jobs]
    assert names[:3] == ["holdfast-backup-shop", "holdfast-prune-shop", "holdfast-prune-offsite-shop"]
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name) and len(name) <= 52 for name in names)
    assert len(set(names)) == len(names) == 5
    first = jobs[0]
    assert (first["apiVersion"], first["kind"]) == ("batch/v1", "CronJob")
    spec = first["spec"]
    assert spec["schedule"] == "2-57/5 6-20 * * 1-5"
    assert spec["timeZone"] == "Etc/UTC"
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] == 2100
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    [container] = pod["containers"]
    assert container["command"] == ["holdfast", "backup", "shop", "--unless-running", "--quiet"]
    assert container["resources"]["requests"]
    by_reference = {item["name"]: item["valueFrom"]["secretKeyRef"] for item in container["env"][1:]}
    assert set(by_reference) == {"S3_KEY", "SHOP_URL", "OFFSITE_PASSPHRASE", "HOLDFAST_PASSPHRASE"}
    assert by_reference["S3_KEY"] == {"name": "holdfast-shop", "key": "S3_KEY"}


def test_an_image_is_given_or_the_pod_fails_loudly(printed: Callable[..., str]) -> None:
    """No image's name may have capital letters, so none is pulled by mistake."""
    images = re.findall(r'image: "(.*)"', printed("--kubernetes"))
    assert set(images) == {"SET-THE-IMAGE"}
    images = re.findall(
        r'image: "(.*)"', printed("--kubernetes", "--image", "registry.example.org/holdfast:1")
    )
    assert set(images) == {"registry.example.org/holdfast:1"}


def test_github_gets_a_workflow_for_each_source(printed: Callable[..., str], tmp_path: Path) -> None:
    """No permissions, pinned versions, one run at a time, secrets by reference, and a word about punctuality."""
    printed("--github-actions", "--output", "flows")
    text = (tmp_path / "flows" / "holdfast-shop.yml").read_text(encoding="utf-8")
    assert "not punctual" in text
    flow: dict[Any, Any] = yaml.safe_load(text)
    times = flow[True]["schedule"]  # YAML 1.1 takes `on` for true
    assert [item["cron"] for item in times] == ["2-57/5 6-20 * * 1-5", "17 3 * * *", "0 5 1,15 * 0"]
    assert flow["permissions"] == {}
    assert list(flow["jobs"]) == ["backup", "prune", "prune-offsite", "verify"]
    job = flow["jobs"]["backup"]
    assert job["concurrency"] == {"group": "holdfast-backup-shop", "cancel-in-progress": False}
    assert job["runs-on"] == "ubuntu-24.04"
    install, run = job["steps"]
    assert "holdfast==" in install["run"]
    assert "postgresql-client-18" in install["run"]
    assert run["env"]["SHOP_URL"] == "${{ secrets.SHOP_URL }}"
    assert "github.event.schedule == '2-57/5 6-20 * * 1-5'" in job["if"]
    assert sorted(path.name for path in (tmp_path / "flows").iterdir()) == [
        f"holdfast-{slug('Big_One', longest=60)}.yml",
        "holdfast-shop.yml",
    ]


def test_the_run_step_of_the_workflow_reads_its_settings(printed: Callable[..., str], run: Program) -> None:
    """Its last step, in a shell: the settings come out of the secret as they were put in."""
    flow = yaml.safe_load(printed("--github-actions", "shop"))
    step = flow["jobs"]["backup"]["steps"][1]["run"].splitlines()
    (run.folder / "temp").mkdir()
    finished = subprocess.run(
        ["/bin/bash", "-e", "-c", "\n".join([*step[:-1], "cat holdfast.toml"])],
        env={**run.environment(), "RUNNER_TEMP": str(run.folder / "temp"), "HOLDFAST_SETTINGS": SETTINGS},
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.strip() == SETTINGS.strip()
    # The secret's own variable is none that Holdfast takes for a misspelt one.
    assert "unknown environment" not in run("list", HOLDFAST_SETTINGS=SETTINGS).said()


@pytest.mark.parametrize(
    ("arguments", "more", "message"),
    [
        ([], "", "for which scheduler?"),
        (["--cron", "--systemd"], "", "for which scheduler?"),
        (["--cron", "shpo"], "", "no source is configured under the name 'shpo'"),
        (["--cron", "postgresql://u:s3kret@h/d"], "", "no source is configured under the name of an address"),
        (
            ["--github-actions", "x"],
            '[sources.x]\nrepository="cloud"\nschedule={backup="*/3 * * * *"}',
            "every five",
        ),
        (["--kubernetes", "x"], '[sources.x]\nrepository="/mnt/disk"', "is an address"),
        (
            ["--kubernetes", "x"],
            '[sources.x]\nrepository="d"\n[repositories.d]\nurl="/mnt/d"',
            "no disk that stays",
        ),
        (
            ["--github-actions", "x"],
            '[sources.x]\nrepository="d"\n[repositories.d]\nurl="s3://b"\npassphrase_file="p"',
            "does not have",
        ),
        (
            ["--cron", "x"],
            '[sources.x]\nrepository="cloud"\nschedule={prune="0 0 * * *"}',
            "has no retention policy",
        ),
        (["--cron", "x"], '[sources.x]\nrepository="cloud"\nschedule={copy="0 0 * * *"}', "has no copies"),
        (["--cron", "x"], '[sources.x]\nrepository="cloud"\nschedule={bakcup="0 0 * * *"}', "unknown key"),
        (
            ["--cron", "x"],
            '[sources.x]\nrepository="cloud"\nschedule={backup="5/7 * * * *"}',
            "every scheduler",
        ),
    ],
)
def test_what_cannot_work_is_refused(
    inside: Inside, write: Write, arguments: list[str], more: str, message: str
) -> None:
    """Exit code 2, and nothing on standard output that could be installed by mistake."""
    write("holdfast.toml", SETTINGS + more)
    finished = inside("schedule", "print", *arguments)
    assert (finished.code, finished.stdout) == (2, "")
    assert message in finished.stderr
    assert "s3kret" not in finished.stderr
