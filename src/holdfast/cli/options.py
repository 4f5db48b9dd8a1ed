"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from holdfast.cli.kindness import limit_rate, lower_priority

Source: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="SOURCE",
        help="A configured name or a URL. Left out: default_source, the only one configured, "
        "libpq's environment (PGHOST, PGSERVICE, ...), DATABASE_URL.",
        show_default=False,
    ),
]
Snapshot: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="SNAPSHOT", help="An id, an unambiguous beginning of one, or `latest`."),
]
Repo: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--repo",
        metavar="NAME|URL|PATH",
        help="The repository: a configured name, a URL (s3://, gs://, az://, file://) or a path. "
        "Left out: HOLDFAST_REPOSITORY, default_repository, the only one configured.",
        show_default=False,
    ),
]
IdentityFile: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--identity-file",
        metavar="FILE",
        help="Open the repository with the age identity in this file, such as the recovery kit's.",
        show_default=False,
    ),
]
Jobs: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        min=1,
        max=64,
        metavar="N",
        help="How many connections work at once.",
        show_default=False,
    ),
]
Json: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--json", help="Print exactly one JSON document on standard output, all else on standard error."
    ),
]
Quiet: TypeAlias = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress; warnings and errors only.")
]
LatestOf: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--source", metavar="NAME", help="The source whose snapshot `latest` means.", show_default=False
    ),
]
At: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="MOMENT",
        help='The newest snapshot not after this moment: "2026-11-20 14:05" in local time, or with Z, +01:00 or '
        "Europe/Berlin behind it; today and yesterday are understood.",
        show_default=False,
    ),
]
SnapshotOrAt: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="SNAPSHOT",
        help="An id, an unambiguous beginning of one, or `latest`; left out with --at.",
        show_default=False,
    ),
]
MaxRate: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--max-rate",
        metavar="RATE",
        help="Bytes per second to and from the repository, all connections together: 20MB, 500kB. 0: no limit, "
        "whatever the settings say.",
        show_default=False,
        callback=limit_rate,
    ),
]
Nice: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--nice",
        min=0,
        max=19,
        metavar="N",
        help="Leave the processor to others: 0 not at all, 19 wholly. Left out: 0 on a terminal, else "
        "HOLDFAST_NICE or 10.",
        show_default=False,
        callback=lower_priority,
    ),
]
