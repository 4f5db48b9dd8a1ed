"""Whatever is done with keys, in any order, dying anywhere: who should open the repository does, and reads all."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pyrage
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from holdfast.domain.errors import DamagedError, LockedOutError, RefusedError, UsageError
from holdfast.domain.manifest import SnapshotSummary
from holdfast.repository.keys.secrets import Secrets
from holdfast.repository.repo import Repository, open_repository
from holdfast.workflows.keys import add_passphrase, add_recipient, remove_key
from holdfast.workflows.rotation import compromised, rotate
from holdfast.workflows.verify import verify
from mortal import KilledError, Mortal
from repositories import CHEAP, PASSPHRASE, make_repository
from snapshots import take

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
PASSPHRASES = ("passphrase", "second", "third")
RECIPIENTS = ("kit", "team")
NAMES = PASSPHRASES + RECIPIENTS

Names = frozenset[str]


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Secrets, str]]:
    """By the name of the slot: the secret, and what its slot is made from."""
    found = {}
    for name in PASSPHRASES:
        text = PASSPHRASE if name == "passphrase" else f"the {name} one"
        found[name] = (Secrets(passphrase=text), text)
    for name in RECIPIENTS:
        identity = pyrage.x25519.Identity.generate()
        path = Path(tmp_path_factory.mktemp("identities") / name)
        path.write_text(f"{identity}\n")
        path.chmod(0o600)
        found[name] = (Secrets(identity_file=path), str(identity.to_public()))
    return found


@dataclass(frozen=True)
class Step:
    """One command: run with the secrets `at_hand`, about the slot `name`, killed at its step `death` or never."""

    what: str
    name: str
    at_hand: Names
    death: int


names = st.sampled_from(NAMES)
steps = st.builds(
    Step,
    what=st.sampled_from(["add", "add", "remove", "rotate", "compromised", "take"]),
    name=names,
    at_hand=st.frozensets(names, min_size=1),
    death=st.one_of(st.just(0), st.integers(min_value=1, max_value=24)),
)


@dataclass
class World:
    """`opening`: who must open the newest epoch; `left`: who may still open older ones, as nobody removed them."""

    storage: Mortal
    secrets: dict[str, tuple[Secrets, str]]
    opening: set[str] = field(default_factory=lambda: {"passphrase"})
    left: set[str] = field(default_factory=set)
    taken: list[SnapshotSummary] = field(default_factory=list)

    def run(self, step: Step) -> None:
        opener = next((name for name in sorted(step.at_hand) if name in self.opening), None)
        if opener is None:
            return
        repository = open_repository(self.storage, self.secrets[opener][0])
        before = (set(self.opening), set(self.left))
        after = self._expected(step)
        self.storage.left = step.death or None
        try:
            self._do(repository, step)
        except KilledError:
            self.storage.left = None
            self._settle(before, after)
        except (RefusedError, UsageError):
            assert self._may_refuse(step)
        else:
            self.opening, self.left = after
        finally:
            self.storage.left = None

    def _do(self, repository: Repository, step: Step) -> None:
        at_hand = [self.secrets[name][0] for name in sorted(step.at_hand)]
        if step.what == "take":
            self.taken.append(take(repository, {"users": [b"1\tann\n"]}))
        elif step.what == "add" and step.name in PASSPHRASES:
            text = self.secrets[step.name][1]
            add_passphrase(repository, text, slot=step.name, label="", now=NOW, kdf=CHEAP)
        elif step.what == "add":
            add_recipient(repository, self.secrets[step.name][1], slot=step.name, label="", now=NOW)
        elif step.what == "remove":
            remove_key(repository, step.name, now=NOW)
        elif step.what == "rotate":
            rotate(repository, at_hand, drop=True, now=NOW)
        else:
            compromised(repository, [step.name], at_hand, drop=True, now=NOW)

    def _expected(self, step: Step) -> tuple[set[str], set[str]]:
        opening, left = set(self.opening), set(self.left)
        if step.what == "add":
            opening.add(step.name)
        elif step.what == "remove":
            opening.discard(step.name)
            left.discard(step.name)
        elif step.what in ("rotate", "compromised"):
            vouched = set(RECIPIENTS) if step.what == "rotate" else set()
            opening &= step.at_hand | vouched
            left |= self.opening - opening
            if step.what == "compromised":
                opening.discard(step.name)
                left.discard(step.name)
        return opening, left - opening

    def _may_refuse(self, step: Step) -> bool:
        exists = step.name in self.opening | self.left
        if step.what == "add":
            return exists
        if step.what == "remove":
            return not exists or self.opening == {step.name}
        if step.what == "compromised":
            return not exists or not (self.opening & step.at_hand) - {step.name}
        return False

    def _settle(self, before: tuple[set[str], set[str]], after: tuple[set[str], set[str]]) -> None:
        """Killed: for each secret it is as it was, or as it should become, and not something else."""
        now = {name for name in NAMES if self._opens(name)}
        for name in NAMES:
            assert (name in now) in ((name in before[0]), (name in after[0])), name
        self.opening = now
        self.left = {name for name in NAMES if name not in now and self._is_there(name)}

    def _is_there(self, name: str) -> bool:
        return any(info.name.endswith(f"/{name}") for info in self.storage.list("keys/"))

    def _opens(self, name: str) -> bool:
        try:
            open_repository(self.storage, self.secrets[name][0]).keyring.sealing()
        except LockedOutError:
            return False
        return True

    def check(self) -> None:
        assert self.opening
        for name in NAMES:
            assert self._opens(name) == (name in self.opening), name
        for name in self.opening:
            repository = open_repository(self.storage, self.secrets[name][0])
            for summary in self.taken:
                root = repository.root(repository.summary(summary.snapshot))
                for _, table in repository.tables(root.tables):
                    assert [repository.chunk(chunk.blob) for chunk in table.chunks()] == [b"1\tann\n"]
        for name in set(NAMES) - self.opening - self.left:
            with pytest.raises((LockedOutError, DamagedError)):
                open_repository(self.storage, self.secrets[name][0])


@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a run takes seconds: shrinking one takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(todo=st.lists(steps, min_size=3, max_size=12))
def test_keys_in_any_order_with_deaths_anywhere(
    todo: list[Step], secrets: dict[str, tuple[Secrets, str]]
) -> None:
    """At least one secret works at all times, and each that should reads every snapshot."""
    storage = Mortal()
    make_repository(storage)
    world = World(storage=storage, secrets=secrets)
    for step in todo:
        world.run(step)
        world.check()
    opener = secrets[min(world.opening)][0]
    problems = {item.problem for item in verify(open_repository(storage, opener), None, level=0).findings}
    assert all("remove it again" in problem for problem in problems), problems
