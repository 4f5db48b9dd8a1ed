"""Studies of snapshots on top of others: what an unchanged database costs, what changes cost, and what a month of
them takes in storage.

A study is not a race: a snapshot on top of another is only as cheap as the one below it lets it be, so each study
sets its own scene, on a copy of the standard database that it may change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench import changes
from bench.figures import Figure, Goal, Series
from bench.measure import Measured
from bench.ours import document_of
from bench.peers import has_restic
from bench.trials import Site, remove, size_of

DAYS = 30
DUMPED_DAYS = (1, DAYS // 2, DAYS)
SNAPSHOT_ON_TOP, FULL, PG_DUMP = "holdfast, on top", "holdfast, full", "pg_dump -Fd -j2 -Z0"

Say = Callable[[str], None]


def study_changes(site: Site, database: str, *, rounds: int, say: Say) -> list[Figure]:
    """No change; one row in a hundred on the newest tenth of the pages; one row in a hundred anywhere."""
    scene = _Scene(site, database, say)
    with_nothing = [scene.unchanged() for _ in range(rounds)]
    newest = [scene.changed("newest", full_first=bool(turn % 2)) for turn in range(rounds)]
    anywhere = [scene.changed("random", full_first=bool(turn % 2)) for turn in range(rounds)]
    scene.end()
    return [
        _time(
            "no_change",
            "no change: time against a full snapshot",
            with_nothing,
            Goal(must=0.2, aim=0.1, at_least=False),
        ),
        _server("no_change_server", "no change: the server's processor time against pg_dump's", with_nothing),
        _time(
            "newest",
            "1 % of rows, in the newest tenth: time against full",
            newest,
            Goal(must=0.25, aim=0.125, at_least=False),
        ),
        _uploaded(newest),
        _time(
            "anywhere",
            "1 % of rows, anywhere: time against full",
            anywhere,
            Goal(must=1, aim=0.7, at_least=False),
        ),
        _bytes(
            "anywhere_bytes",
            "1 % of rows, anywhere: bytes stored against full",
            anywhere,
            Goal(must=1, aim=0.7, at_least=False),
        ),
    ]


Turn = dict[str, Measured]


class _Scene:
    """A copy of the database, and the repository in which its snapshots grow."""

    def __init__(self, site: Site, database: str, say: Say) -> None:
        self._site = site
        self._say = say
        self._database = f"{database}_changing"
        self._repository = site.folder / f"{self._database}.repository"
        self._fresh = site.folder / f"{self._database}.fresh"
        self._dump = site.folder / f"{self._database}.dump"
        site.server.drop(self._database)
        site.server.copy(self._database, database)
        remove(self._repository)
        site.holdfast.init(self._repository)
        site.holdfast.incremental(self._database, self._repository)

    def unchanged(self) -> Turn:
        return {SNAPSHOT_ON_TOP: self._on_top(), FULL: self._full(), PG_DUMP: self._pg_dump()}

    def changed(self, change: str, *, full_first: bool) -> Turn:
        changes.apply(self._site.server, self._database, change)
        # Who reads changed rows first marks them for all who come after (their hint bits), and frees what is dead.
        # So a first reader is sent ahead, and the two take turns at being next: what is compared is two ways to
        # back up, not who comes first.
        self._site.server.read_all(self._database)
        if full_first:
            full = self._full()
            return {SNAPSHOT_ON_TOP: self._on_top(), FULL: full}
        return {SNAPSHOT_ON_TOP: self._on_top(), FULL: self._full()}

    def end(self) -> None:
        self._site.server.drop(self._database)
        remove(self._repository)

    def _on_top(self) -> Measured:
        before = size_of(self._repository)
        measured = self._timed(lambda: self._site.holdfast.incremental(self._database, self._repository))
        return self._tell(SNAPSHOT_ON_TOP, replace(measured, output_bytes=size_of(self._repository) - before))

    def _full(self) -> Measured:
        remove(self._fresh)
        self._site.holdfast.init(self._fresh)
        before = size_of(self._fresh)
        measured = self._timed(lambda: self._site.holdfast.incremental(self._database, self._fresh))
        measured = replace(measured, output_bytes=size_of(self._fresh) - before)
        remove(self._fresh)
        return self._tell(FULL, measured)

    def _pg_dump(self) -> Measured:
        remove(self._dump)
        measured = self._timed(lambda: self._site.peers.dump_folder(self._database, self._dump, "-Z0"))
        remove(self._dump)
        return self._tell(PG_DUMP, measured)

    def _timed(self, run: Callable[[], Measured]) -> Measured:
        server = self._site.server
        server.settle()
        before = server.cpu_seconds()
        measured = run()
        return replace(measured, server_seconds=server.cpu_seconds() - before)

    def _tell(self, name: str, measured: Measured) -> Measured:
        self._say(
            f"{name}: {measured.seconds:.2f} s, server {measured.server_seconds:.2f} s, "
            f"{measured.output_bytes / 1e6:.1f} MB"
        )
        return measured


def _series(turns: list[Turn], name: str, unit: str, quantity: Callable[[Measured], float]) -> Series:
    return Series(contender=name, unit=unit, values=tuple(quantity(turn[name]) for turn in turns))


def _ratio(
    name: str,
    title: str,
    goal: Goal,
    ours: Series,
    peer: Series,
    *,
    unit: str = "of the peer's",
    note: str = "",
) -> Figure:
    return Figure(
        name=name,
        title=title,
        trial="",
        unit=unit,
        value=ours.value / peer.value,
        goal=goal,
        ours=ours,
        peer=peer,
        note=note,
    )


def _time(name: str, title: str, turns: list[Turn], goal: Goal) -> Figure:
    ours, full = (_series(turns, which, "s", lambda run: run.seconds) for which in (SNAPSHOT_ON_TOP, FULL))
    return _ratio(name, title, goal, ours, full)


def _server(name: str, title: str, turns: list[Turn]) -> Figure:
    ours, peer = (
        _series(turns, which, "s", lambda run: run.server_seconds) for which in (SNAPSHOT_ON_TOP, PG_DUMP)
    )
    return _ratio(name, title, Goal(must=1 / 6, aim=0.1, at_least=False), ours, peer)


def _bytes(name: str, title: str, turns: list[Turn], goal: Goal) -> Figure:
    ours, full = (
        _series(turns, which, "bytes", lambda run: run.output_bytes) for which in (SNAPSHOT_ON_TOP, FULL)
    )
    return _ratio(name, title, goal, ours, full)


def _uploaded(turns: list[Turn]) -> Figure:
    ours = _series(turns, SNAPSHOT_ON_TOP, "bytes", lambda run: run.output_bytes)
    chunks = _series(turns, SNAPSHOT_ON_TOP, "bytes", lambda run: sum(_stored(run)))
    return _ratio(
        "newest_bytes",
        "1 % of rows, in the newest tenth: bytes stored against the changed ranges' compressed size",
        Goal(must=1.2, aim=1.05, at_least=False),
        ours,
        chunks,
        note="everything that the repository grew by, against the sealed chunks of the ranges that had changed",
    )


def _stored(run: Measured) -> list[int]:
    return [table["bytes_stored"] for table in document_of(run)["readings"]]


def study_month(site: Site, database: str, *, say: Say) -> list[Figure]:
    """Thirty daily snapshots of an application that mostly appends, against other ways of keeping as many."""
    source = f"{database}_month"
    site.server.drop(source)
    site.server.copy(source, database)
    repository, restic = site.folder / f"{source}.repository", site.folder / f"{source}.restic"
    for place in (repository, restic):
        remove(place)
    site.holdfast.init(repository)
    compared = has_restic()
    if compared:
        site.peers.restic(restic, "init")
    dumps: list[float] = []
    first = 0
    for day in range(1, DAYS + 1):
        if day > 1:
            changes.apply(site.server, source, "day", rows=changes.ROWS_OF_APP // 100)
        measured = site.holdfast.incremental(source, repository)
        first = first or size_of(repository)
        if compared:
            site.peers.dump_restic(source, restic)
        if day in DUMPED_DAYS:
            dumps.append(_dump_size(site, source))
        say(f"day {day}: {measured.seconds:.2f} s, {size_of(repository) / 1e6:.1f} MB in all")
    site.server.drop(source)
    ours = Series(contender=f"holdfast, {DAYS} snapshots", unit="bytes", values=(float(size_of(repository)),))
    figures = [
        _ratio(
            "month",
            f"{DAYS} daily snapshots, 1 % changed a day: stored against one full",
            Goal(must=1.6, aim=1.4, at_least=False),
            ours,
            _once("holdfast, the first", first),
        ),
        _ratio(
            "month_against_dumps",
            f"the same against {DAYS} × pg_dump -Fc",
            Goal(must=1 / 15, aim=1 / 20, at_least=False),
            ours,
            _once(f"{DAYS} × pg_dump -Fc", DAYS * sum(dumps) / len(dumps)),
            note=f"dumps of days {', '.join(map(str, DUMPED_DAYS))}, their mean taken {DAYS} times",
        ),
    ]
    if compared:
        peer = _once("pg_dump | restic", size_of(restic))
        figures.append(
            _ratio(
                "month_against_restic",
                "the same against pg_dump | restic",
                Goal(must=0.5, aim=1 / 3, at_least=False),
                ours,
                peer,
            )
        )
    else:
        say("restic is not installed: not compared with it")
    for place in (repository, restic):
        remove(place)
    return figures


def _once(contender: str, value: float) -> Series:
    return Series(contender=contender, unit="bytes", values=(value,))


def _dump_size(site: Site, source: str) -> float:
    file: Path = site.folder / f"{source}.dump"
    site.peers.dump_custom(source, file)
    size = size_of(file)
    remove(file)
    return float(size)
