"""Where a storage cannot have two writers, key changes step aside for who writes, and a check records itself only
beside nobody: an entry of the journal that is written beside another one could take its place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyrage
import pytest

from holdfast.cli.main import main
from holdfast.cli.stop import Stop
from holdfast.domain.errors import EXIT_PARTIAL, EXIT_REFUSED, SteppedAsideError
from holdfast.domain.events import Event, Noticed
from holdfast.repository import layout
from holdfast.repository.keys.secrets import Secrets
from holdfast.repository.repo import Repository, open_repository
from holdfast.repository.runs.run import Run
from holdfast.storage import Buffer
from holdfast.storage.memory import MemoryStorage
from holdfast.storage.spec import StorageSpec
from holdfast.workflows import recording
from holdfast.workflows import verify as verifying
from holdfast.workflows.copy import Errand, copy
from holdfast.workflows.copy_plan import CopySelection
from holdfast.workflows.keys import add_kit, add_passphrase, add_recipient, remove_key, rotate_slot
from holdfast.workflows.replicate import ReplicateOptions
from holdfast.workflows.rotation import compromised, rotate
from holdfast.workflows.verify import verify
from repositories import CHEAP, PASSPHRASE, make_repository
from snapshots import begin, now, take

OURS = Secrets(passphrase=PASSPHRASE)


def recipient() -> str:
    return str(pyrage.x25519.Identity.generate().to_public())


def deliver(_: str) -> None:
    pytest.fail("a kit was handed out that opens nothing")


CHANGES: dict[str, Callable[[Repository], object]] = {
    "add passphrase": lambda it: add_passphrase(it, "another", slot="b", label="", now=now(), kdf=CHEAP),
    "add recipient": lambda it: add_recipient(it, recipient(), slot="b", label="", now=now()),
    "add kit": lambda it: add_kit(it, now=now(), deliver=deliver),
    "remove": lambda it: remove_key(it, "kit", now=now()),
    "rotate slot": lambda it: rotate_slot(
        it, "kit", passphrase=None, recipient=recipient(), name="b", now=now()
    ),
    "rotate": lambda it: rotate(it, [OURS], drop=True, now=now()),
    "compromised": lambda it: compromised(it, ["kit"], [OURS], drop=True, now=now()),
}


def written(repository: Repository) -> set[str]:
    prefixes = (layout.KEYS, layout.JOURNAL, layout.VERIFICATIONS)
    return {info.name for prefix in prefixes for info in repository.storage.list(prefix)}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_who_changes_keys_steps_aside_for_a_backup(change: Callable[[Repository], object]) -> None:
    """Exit code 5, with the name of who writes; nothing was written, and once that has ended it works."""
    repository = make_repository(MemoryStorage(), recipient=recipient(), single_writer=True)
    with begin(repository) as run:
        before = written(repository)
        with pytest.raises(SteppedAsideError, match=f"snapshot {run.snapshot} of shop is being") as caught:
            change(repository)
        assert caught.value.exit_code == EXIT_REFUSED
        assert written(repository) == before
        run.withdraw()
    if change is not CHANGES["add kit"]:
        change(repository)
        assert written(repository) != before
        assert verify(open_repository(repository.storage, OURS), None, level=0).findings == ()
    assert list(repository.storage.list(layout.WRITERS)) == []


class Watched(MemoryStorage):
    """Does something else once, just before an object below `keys/` is created or deleted; and may forbid that
    anything is announced."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], None] | None = None
        self.is_silent = False

    def create(self, name: str, data: Buffer) -> None:
        assert not (self.is_silent and name.startswith(layout.WRITERS)), "an announcement was made"
        self._interfere(name)
        super().create(name, data)

    def delete(self, name: str) -> None:
        self._interfere(name)
        super().delete(name)

    def _interfere(self, name: str) -> None:
        if name.startswith(layout.KEYS) and self.meanwhile is not None:
            act, self.meanwhile = self.meanwhile, None
            act()


@pytest.mark.parametrize("change", [it for name, it in CHANGES.items() if name != "add kit"])
def test_a_backup_steps_aside_for_who_changes_keys(change: Callable[[Repository], object]) -> None:
    """From the first slot that is written on."""
    storage = Watched()
    repository = make_repository(storage, recipient=recipient(), single_writer=True)
    refused: list[str] = []

    def meanwhile() -> None:
        with pytest.raises(SteppedAsideError, match="changing keys") as caught:
            begin(repository)
        refused.append(caught.value.message)

    storage.meanwhile = meanwhile
    change(repository)
    assert len(refused) == 1


def harmed() -> tuple[Repository, str]:
    """A repository of which one object is gone, and that object."""
    repository = make_repository(MemoryStorage(), single_writer=True)
    summary = take(repository, {"a": [b"1\n"]})
    name = next(iter(repository.storage.list(layout.data_prefix(summary.snapshot)))).name
    repository.storage.delete(name)
    return repository, name


def test_a_check_beside_a_backup_is_reported_and_not_recorded() -> None:
    """Its findings are there, and why it is not remembered; the journal is left to the backup."""
    repository, name = harmed()
    with begin(repository) as run:
        before = written(repository)
        report = verify(repository, None, level=1, record_wait_seconds=0)
        assert written(repository) == before
        run.withdraw()
    assert [finding.object_name for finding in report.findings] == [name]
    assert run.snapshot in (report.unrecorded or "")
    assert verify(repository, None, level=1).unrecorded is None
    assert len(list(repository.storage.list(layout.VERIFICATIONS))) == 1
    assert list(repository.storage.list(layout.WRITERS)) == []


def test_a_check_waits_for_a_backup_and_is_recorded_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says for whom; only whoever interrupts it goes without the record."""
    monkeypatch.setattr(recording, "WAIT_STEP_SECONDS", 0.01)
    repository, _ = harmed()
    interrupted = threading.Event()
    runs: list[Run] = []
    said: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Noticed):
            said.append(event.message)
            if len(said) == 1:
                runs[0].withdraw()
            else:
                interrupted.set()

    for recorded in (True, False):
        with begin(repository) as run:
            runs.append(run)
            report = verify(repository, None, level=0, listener=listen, interrupted=interrupted)
        assert (report.unrecorded is None) is recorded
        assert run.snapshot in said[-1]
    assert len(said) == 2
    assert len(list(repository.storage.list(layout.VERIFICATIONS))) == 1


def test_what_cannot_be_recorded_reaches_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3 where nothing was found, in words and in JSON."""
    monkeypatch.setenv("HOLDFAST_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv("HOLDFAST_REPOSITORY", f"{tmp_path}/repo")
    storage = StorageSpec(url=f"{tmp_path}/repo").open(create_root=True)
    repository = make_repository(storage, single_writer=True)
    take(repository, {"a": [b"1\n"]})
    monkeypatch.setattr(verifying, "verify", partial(verify, record_wait_seconds=0))
    with begin(repository) as run:
        assert main(["verify", "--quiet"], Stop()) == EXIT_PARTIAL
        assert "NOT RECORDED" in (text := capsys.readouterr().out)
        assert run.snapshot in text
        assert main(["verify", "--quiet", "--json"], Stop()) == EXIT_PARTIAL
        assert run.snapshot in capsys.readouterr().out


def test_a_copy_beside_a_backup_leaves_the_journal_to_it() -> None:
    """The copy is made, and its report says that this repository knows nothing of it."""
    near, far = make_repository(MemoryStorage(), single_writer=True), make_repository(MemoryStorage())
    take(near, {"a": [b"1\n"]})

    @contextmanager
    def opened() -> Iterator[Repository]:
        yield far

    errand = Errand(name="far", open=opened, selection=CopySelection())
    with begin(near) as run:
        before = written(near)
        report = copy(near, [errand], place="near", options=ReplicateOptions(jobs=1))
        assert written(near) == before
    (warning,) = (item for item in report.warnings if "not all of it is recorded" in item)
    assert run.snapshot in warning
    assert list(far.committed())


@pytest.mark.parametrize("change", [*CHANGES.values(), lambda it: verify(it, None, level=0)])
def test_elsewhere_nobody_announces_anything(change: Callable[[Repository], object]) -> None:
    """Where create-once holds, the registers decide, and a backup beside is no hindrance."""
    storage = Watched()
    repository = make_repository(storage, recipient=recipient())
    with begin(repository):
        storage.is_silent = True
        if change is CHANGES["add kit"]:
            add_kit(repository, now=now(), deliver=lambda _: None)
        else:
            change(repository)
