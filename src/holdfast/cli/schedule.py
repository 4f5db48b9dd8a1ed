"""`holdfast schedule print`: units for the scheduler that is there already."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from holdfast import __version__
from holdfast.cli.invocation import current
from holdfast.cli.options import Json
from holdfast.domain.errors import EXIT_FINE, UnreachableError, UsageError

if TYPE_CHECKING:
    from holdfast.settings import Settings
    from holdfast.workflows.schedule.tasks import SourceSchedule, Surroundings, UnitFile

NEWEST_POSTGRES = 18

app = typer.Typer(help="Run backups regularly, without a daemon.", rich_markup_mode=None)


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="schedule")


@app.callback()
def _group() -> None:
    """Run backups regularly, without a daemon."""


@app.command("print")
def print_(
    context: typer.Context,
    *,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE]...",
            help="Configured names. Left out: every configured source.",
            show_default=False,
        ),
    ] = None,
    cron: Annotated[bool, typer.Option("--cron", help="Lines for a crontab.")] = False,
    systemd: Annotated[bool, typer.Option("--systemd", help="Services and timers.")] = False,
    kubernetes: Annotated[bool, typer.Option("--kubernetes", help="CronJobs.")] = False,
    github_actions: Annotated[bool, typer.Option("--github-actions", help="Workflows.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Write the files there instead.", show_default=False
        ),
    ] = None,
    user: Annotated[
        str, typer.Option("--user", metavar="NAME", help="systemd: the system's user to run as.")
    ] = "holdfast",
    image: Annotated[
        str | None,
        typer.Option(
            "--image",
            metavar="IMAGE",
            help="Kubernetes: an image with holdfast and PostgreSQL's client programs.",
            show_default=False,
        ),
    ] = None,
    postgres: Annotated[
        int,
        typer.Option(
            "--postgres",
            min=15,
            max=99,
            metavar="MAJOR",
            help="GitHub: the version of the client programs, not older than any server.",
        ),
    ] = NEWEST_POSTGRES,
    json: Json = False,
) -> int:
    """Write what runs the sources' backups, retention, copies and checks at their times.

    Times stand in the settings, as cron expressions in UTC ([sources.NAME.schedule], with backup, prune, copy and
    verify; "never" leaves one out). Secrets are only ever referred to.

    \b
    Examples:
      holdfast schedule print --cron
      holdfast schedule print --systemd shop --output units
      holdfast schedule print --kubernetes --image IMAGE | kubectl apply -f -
      holdfast schedule print --github-actions --output .github/workflows
    """
    del json
    invocation = current(context)
    write = _writer(cron=cron, systemd=systemd, kubernetes=kubernetes, github_actions=github_actions)

    from holdfast.cli.scheduling import schedules_of

    settings = invocation.settings
    schedules = schedules_of(settings, sources or ())
    around = _surroundings(settings, user=user, image=image, postgres=postgres)
    files = write(schedules, around)
    if output is not None:
        _save(files, output)
    invocation.show_as(
        lambda: {
            "files": [{"name": unit.name, "text": None if output else unit.text} for unit in files],
            "folder": None if output is None else str(output),
        },
        lambda: [Text(_shown(files, output, kubernetes=kubernetes), end="")],
    )
    return EXIT_FINE


def _writer(
    *, cron: bool, systemd: bool, kubernetes: bool, github_actions: bool
) -> Callable[[Sequence[SourceSchedule], Surroundings], tuple[UnitFile, ...]]:
    if cron + systemd + kubernetes + github_actions != 1:
        raise UsageError(
            "for which scheduler?", hint="give one of --cron, --systemd, --kubernetes, --github-actions"
        )
    if cron:
        from holdfast.workflows.schedule.cron import write_cron

        return write_cron
    if systemd:
        from holdfast.workflows.schedule.systemd import write_systemd

        return write_systemd
    if kubernetes:
        from holdfast.workflows.schedule.kubernetes import write_kubernetes

        return write_kubernetes
    from holdfast.workflows.schedule.github_actions import write_github_actions

    return write_github_actions


def _surroundings(settings: Settings, *, user: str, image: str | None, postgres: int) -> Surroundings:
    from holdfast.workflows.schedule.tasks import Surroundings

    folder = Path.cwd() if settings.path is None else settings.path.parent.resolve()
    env_file = folder / ".env"
    return Surroundings(
        program=_program(),
        version=__version__,
        folder=folder,
        settings=None if settings.path is None else settings.path.resolve(),
        env_file=env_file if env_file.is_file() else None,
        user=user,
        image=image,
        postgres=postgres,
    )


def _program() -> Path:
    """The installed command that belongs to this interpreter, or else the one on the PATH."""
    beside = Path(sys.executable).with_name("holdfast")
    if beside.is_file() and os.access(beside, os.X_OK):
        return beside
    if found := shutil.which("holdfast"):
        return Path(found).absolute()
    raise UsageError(
        "the command holdfast is not installed, so nothing could run it",
        hint="install it, with pip for example",
    )


def _save(files: Sequence[UnitFile], folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for unit in files:
            (folder / unit.name).write_text(unit.text, encoding="utf-8")
    except OSError as error:
        raise UnreachableError(
            f"{folder} cannot be written: {error.strerror}", hint="give another folder with --output"
        ) from error


def _shown(files: Sequence[UnitFile], folder: Path | None, *, kubernetes: bool) -> str:
    """One file as it is; several under headings that are comments everywhere, and for Kubernetes as one stream."""
    if folder is not None:
        return "".join(f"wrote {folder / unit.name}\n" for unit in files)
    if len(files) == 1:
        return files[0].text
    divide = "---\n" if kubernetes else ""
    return "\n".join(f"{divide}# ==> {unit.name} <==\n{unit.text}" for unit in files)
