"""What only a file system can do to us: kills at any step, full disks, missing rights, links, vanished mounts."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.domain.errors import (
    LackingRightsError,
    ObjectExistsError,
    ObjectMissingError,
    StorageUnusableError,
    UnreachableError,
)
from holdfast.storage.local import LocalStorage
from patience import PATIENCE_SECONDS

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(holdfast.__file__).parents[1])}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    return folder


def run_program(
    text: str, *arguments: object, prefix: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    command = [*prefix, sys.executable, "-c", textwrap.dedent(text), *map(str, arguments)]
    return subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


def names(storage: LocalStorage) -> list[str]:
    return [info.name for info in storage.list("")]


DIE_AT_EVERY_STEP = """
    import os, signal, sys
    from pathlib import Path
    from holdfast.storage.local import LocalStorage

    root, verb = Path(sys.argv[1]), sys.argv[2]
    STEPS = ("open", "write", "fsync", "close", "link", "replace", "mkdir", "unlink", "lstat")

    def run(limit):
        left = limit
        def counted(real):
            def call(*arguments, **keywords):
                nonlocal left
                left -= 1
                if left == 0:
                    if real is WRITE:
                        real(arguments[0], bytes(arguments[1])[:1000])
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **keywords)
            return call
        WRITE = os.write
        storage = LocalStorage(root)
        for step in STEPS:
            setattr(os, step, counted(getattr(os, step)))
        getattr(storage, verb)(f"data/{limit}/x", b"new " * 5000)

    limit = 1
    while True:
        child = os.fork()
        if child == 0:
            run(limit)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            print(limit - 1, os.WEXITSTATUS(status))
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        limit += 1
"""


@pytest.mark.parametrize("verb", ["create", "replace"])
def test_kill_at_any_step_leaves_a_whole_object_or_none(root: Path, verb: str) -> None:
    """Killed before each single system call, the name shows all the bytes or nothing, and works again later."""
    old, new = b"old " * 500, b"new " * 5000
    before = LocalStorage(root)
    if verb == "replace":
        for step in range(1, 60):
            before.create(f"data/{step}/x", old)
    done = run_program(DIE_AT_EVERY_STEP, root, verb)
    assert done.returncode == 0, done.stderr
    steps, status = map(int, done.stdout.split())
    assert status == 0
    assert 8 <= steps < 59
    storage = LocalStorage(root)
    seen = set()
    for step in range(1, steps + 1):
        name = f"data/{step}/x"
        try:
            data = storage.get(name)
        except ObjectMissingError:
            data = None
        assert data in ({None, new} if verb == "create" else {old, new})
        assert (name in names(storage)) == (data is not None)
        seen.add(data)
        if data is None:
            storage.create(name, b"later")
    assert len(seen) == 2


KEEP_CREATING = """
    import sys
    from pathlib import Path
    from holdfast.storage.local import LocalStorage

    storage = LocalStorage(Path(sys.argv[1]))
    for number in range(100000):
        storage.create(f"{sys.argv[2]}/{number % 7}/{number}", number.to_bytes(8, "big") * 100_000)
        if number == 0:
            print("begun", flush=True)
"""


def test_killed_writer_leaves_only_whole_objects(root: Path) -> None:
    """Killed at random moments, writers leave whole objects, at least one each, and strays that nobody sees."""
    for turn in range(6):
        command = [sys.executable, "-c", textwrap.dedent(KEEP_CREATING), str(root), f"run-{turn}"]
        with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"begun\n"
            time.sleep(random.uniform(0.01, 0.15))
            child.send_signal(signal.SIGKILL)
    storage = LocalStorage(root)
    found = list(storage.list(""))
    assert len(found) >= 6
    for info in found:
        number = int(info.name.rsplit("/", 1)[1])
        assert storage.get(info.name) == number.to_bytes(8, "big") * 100_000


RACE = """
    import sys
    from pathlib import Path
    from holdfast.domain.errors import ObjectExistsError
    from holdfast.storage.local import LocalStorage

    storage = LocalStorage(Path(sys.argv[1]))
    sys.stdin.readline()
    for number in range(200):
        try:
            storage.create(f"outcomes/{number}", sys.argv[2].encode() * 1000)
        except ObjectExistsError:
            continue
        print(number)
"""


def test_processes_that_race_have_one_winner(root: Path) -> None:
    """Four processes create the same 200 names: each name is won once, and holds its winner's bytes."""
    command = [sys.executable, "-c", textwrap.dedent(RACE), str(root)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": ENVIRONMENT}
    racers = [subprocess.Popen([*command, str(racer)], **pipes) for racer in range(4)]  # type: ignore[call-overload]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda racer: racer.communicate("go\n", timeout=PATIENCE_SECONDS)[0], racers))
    wins = [(int(number), racer) for racer, answer in enumerate(answers) for number in answer.split()]
    assert sorted(number for number, _ in wins) == list(range(200))
    storage = LocalStorage(root)
    for number, racer in wins:
        assert storage.get(f"outcomes/{number}") == str(racer).encode() * 1000


def test_creates_survive_folders_vanishing_under_them(root: Path) -> None:
    """Threads and instances that empty and fill one folder at the same time never fail nor lose an object."""

    def work(worker: int) -> None:
        storage = LocalStorage(root)
        for number in range(60):
            storage.create(f"busy/deep/{worker}-{number}", b"x")
            if number != 59:
                storage.delete(f"busy/deep/{worker}-{number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert names(LocalStorage(root)) == [f"busy/deep/{worker}-59" for worker in range(4)]


@pytest.fixture
def steps(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is flushed, linked and renamed, in order; paths relative to the root."""
    log: list[str] = []

    def relative(folder: object, name: object = "") -> str:
        """The path of an open file or folder, or of `name` in it."""
        text = os.path.relpath(Path(os.readlink(f"/proc/self/fd/{folder}"), str(name)), root)
        return "temporary" if text.startswith(".tmp/") else text

    def watch(name: str, describe: Callable[..., str]) -> None:
        real = getattr(os, name)

        def call(*arguments: object, **keywords: object) -> object:
            log.append(describe(*arguments, **keywords))
            return real(*arguments, **keywords)

        monkeypatch.setattr(os, name, call)

    watch("fsync", lambda file: f"flush {relative(file)}")
    watch("link", lambda _, target, **at: f"link {relative(at['dst_dir_fd'], target)}")
    watch("replace", lambda _, target, **at: f"replace {relative(at['dst_dir_fd'], target)}")
    return log


def test_create_flushes_the_file_before_and_the_folder_after(root: Path, steps: list[str]) -> None:
    """File, then the new folders into their parents, then the name; and no folder twice for nothing."""
    storage = LocalStorage(root)
    storage.create("data/a/one", b"x")
    assert steps == ["flush temporary", "flush .", "flush data", "link data/a/one", "flush data/a"]
    steps.clear()
    storage.create("data/a/two", b"x")
    assert steps == ["flush temporary", "link data/a/two", "flush data/a"]
    steps.clear()
    storage.replace("data/a/two", b"y")
    assert steps == ["flush temporary", "replace data/a/two", "flush data/a"]
    steps.clear()
    with pytest.raises(ObjectExistsError):
        storage.create("data/a/one", b"y")
    # The loser relies on the winner's object, which the winner may not have flushed.
    assert steps == ["flush temporary", "link data/a/one", "flush data/a"]


def test_folders_made_by_others_are_flushed_too(root: Path, steps: list[str]) -> None:
    """A folder that is there may not be durable yet: the first use flushes it, also after a removal."""
    storage = LocalStorage(root)
    (root / "data").mkdir()
    storage.create("data/one", b"x")
    assert "flush ." in steps
    storage.delete("data/one")
    (root / "data").mkdir()
    steps.clear()
    storage.create("data/two", b"x")
    assert "flush ." in steps


def test_failed_flush_is_a_failed_create(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the disk fails to take the bytes, create fails, names the path, and leaves no object."""
    storage = LocalStorage(root)

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UnreachableError, match=r"cannot write .*/data/x: input/output error"):
        storage.create("data/x", b"x")
    assert names(storage) == []
    assert list((root / ".tmp").iterdir()) == []


def test_lost_answer_to_a_link_is_no_loss(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS may make a link and then say it exists: the count of links tells that it is ours."""
    real = os.link

    def link_twice(*places: Any, **keywords: Any) -> None:
        real(*places, **keywords)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", link_twice)
    LocalStorage(root).create("outcomes/x", b"ours")
    assert LocalStorage(root).get("outcomes/x") == b"ours"


def test_file_system_without_links_is_refused_until_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without hard links create-once cannot be kept: create says so, and works when told to do without."""

    def fail(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(StorageUnusableError, match="no hard links") as caught:
        LocalStorage(root).create("x", b"x")
    assert caught.value.hint is not None
    assert "create_once = false" in caught.value.hint
    storage = LocalStorage(root, create_once=False)
    storage.create("x", b"x")
    with pytest.raises(ObjectExistsError):
        storage.create("x", b"y")
    assert storage.get("x") == b"x"


def test_file_size_limit_is_a_full_storage(root: Path) -> None:
    """A write that the limit on file sizes cuts short is reported as such and leaves nothing."""
    done = run_program(
        """
        import os, resource, sys
        from pathlib import Path
        from holdfast.domain.errors import StorageFullError
        from holdfast.storage.local import LocalStorage

        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        storage = LocalStorage(Path(sys.argv[1]))
        storage.create("small", b"x" * 100_000)
        try:
            storage.create("data/large", b"x" * 100_001)
        except StorageFullError as error:
            print(error, "|", error.hint)
        print([info.name for info in storage.list("")], os.listdir(Path(sys.argv[1], ".tmp")))
        """,
        root,
    )
    assert f"cannot write {root}/data/large: the file would be larger" in done.stdout, done.stderr
    assert "['small'] []" in done.stdout


def private_mounts() -> tuple[str, ...]:
    """How to run a program that may mount for itself alone, as root or as an ordinary user; empty if it cannot."""
    for command in (("unshare", "--mount"), ("unshare", "--mount", "--map-root-user")):
        trial = "d=$(mktemp -d) && mount -t tmpfs none $d; s=$?; umount $d; rmdir $d; exit $s"
        with suppress(OSError):
            if (
                subprocess.run([*command, "sh", "-c", trial], capture_output=True, check=False).returncode
                == 0
            ):
                return command
    return ()


MOUNTS = private_mounts()
needs_mounts = pytest.mark.skipif(not MOUNTS, reason="this host lets us mount nothing (unshare --mount)")

SMALL_DISK = """
    import os, subprocess, sys
    from pathlib import Path
    from holdfast.domain.errors import HoldfastError
    from holdfast.storage.local import LocalStorage

    root = Path(sys.argv[1])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(root)], check=True)
    storage = LocalStorage(root)

    def attempt(verb, name, *data):
        try:
            found = getattr(storage, verb)(name, *data)
            print(verb, name, "fine", found)
        except HoldfastError as error:
            print(verb, name, type(error).__name__, error, "|", error.hint)
"""


@needs_mounts
def test_full_disk_is_named_and_leaves_nothing_behind(root: Path) -> None:
    """On a full disk create and replace fail, naming path and remedy, keep what was there, and take no room."""
    done = run_program(
        SMALL_DISK
        + """
    attempt("create", "first", b"x" * 500_000)
    attempt("create", "second", b"x" * 800_000)
    attempt("replace", "first", b"y" * 800_000)
    attempt("create", "third", b"x" * 300_000)
    print([(info.name, info.size_bytes) for info in storage.list("")], os.listdir(root / ".tmp"))
    print(storage.get("first")[:1])
    """,
        root,
        prefix=MOUNTS,
    )
    first, second, third, fourth, *rest = done.stdout.splitlines()
    assert first.startswith("create first fine"), done.stderr
    full = f"StorageFullError cannot write {root}"
    assert f"{full}/second: the file system has no room left | free some space" in second
    assert f"{full}/first: the file system has no room left" in third
    assert fourth.startswith("create third fine")
    assert rest == ["[('first', 500000), ('third', 300000)] []", "b'x'"]


@needs_mounts
def test_read_only_disk_reads_but_refuses_to_write(root: Path) -> None:
    """On a disk mounted read-only everything reads; create, replace and delete lack rights."""
    done = run_program(
        SMALL_DISK
        + """
    attempt("create", "first", b"x")
    subprocess.run(["mount", "-o", "remount,ro,size=1m", "none", str(root)], check=True)
    attempt("get", "first")
    attempt("create", "second", b"x")
    attempt("replace", "first", b"x")
    attempt("delete", "first")
    print([info.name for info in storage.list("")])
    """,
        root,
        prefix=MOUNTS,
    )
    lines = done.stdout.splitlines()
    assert lines[1] == "get first fine b'x'", done.stderr
    for line in lines[2:5]:
        assert "LackingRightsError" in line
        assert "read-only file system" in line
    assert lines[5] == "['first']"


@needs_mounts
def test_unmounted_disk_is_no_empty_repository(root: Path) -> None:
    """When the disk goes away under an open storage, nothing is "missing", and nothing is written beside it."""
    done = run_program(
        SMALL_DISK
        + """
    attempt("create", "first", b"x")
    subprocess.run(["umount", str(root)], check=True)
    attempt("get", "first")
    attempt("stat", "first")
    attempt("list", "")
    attempt("delete", "first")
    attempt("create", "second", b"x")
    attempt("replace", "first", b"x")
    print(os.listdir(root))
    """,
        root,
        prefix=MOUNTS,
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("create first fine"), done.stderr
    for line in lines[1:7]:
        assert "StorageUnusableError" in line
        assert "mount the disk" in line
    assert lines[7] == "[]"


def test_foreign_folder_lacks_rights(root: Path) -> None:
    """A folder that the user may not write or read is a lack of rights, with the remedy."""
    storage = LocalStorage(root)
    storage.create("data/x", b"x")
    shutil.chown(root, user=os.geteuid())
    root.chmod(0o500 if os.geteuid() else 0o700)
    own = os.geteuid()
    if own == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(LackingRightsError, match="permission denied") as caught:
            storage.create("data2/y", b"y")
    finally:
        os.seteuid(own)
        root.chmod(0o700)
    assert caught.value.hint is not None
    assert "chown" in caught.value.hint


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder beside the repository with a file in it, of which nothing may be touched."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(b"secret")
    os.utime(folder / "secret", (0, 0))
    yield folder
    assert [path.name for path in folder.iterdir()] == ["secret"]
    assert (folder / "secret").read_bytes() == b"secret"


def verbs_of(storage: LocalStorage, folder: str) -> dict[str, Callable[[], object]]:
    """Every verb, on what lies in a folder."""
    return {
        "create": lambda: storage.create(f"{folder}/new", b"x"),
        "create there": lambda: storage.create(f"{folder}/secret", b"x"),
        "create deeper": lambda: storage.create(f"{folder}/deeper/new", b"x"),
        "replace": lambda: storage.replace(f"{folder}/secret", b"x"),
        "get": lambda: storage.get(f"{folder}/secret"),
        "stat": lambda: storage.stat(f"{folder}/secret"),
        "delete": lambda: storage.delete(f"{folder}/secret"),
        "list it": lambda: list(storage.list(f"{folder}/")),
        "list by its beginning": lambda: list(storage.list(folder[:-1])),
        "list in it": lambda: list(storage.list(f"{folder}/sec")),
        "list all": lambda: list(storage.list("")),
        "list on": lambda: list(storage.list("", after=f"{folder}/a")),
    }


@pytest.mark.parametrize("folder", ["data", "data/deep"])
@pytest.mark.parametrize("create_once", [True, False])
def test_a_link_to_a_folder_is_refused_by_every_verb(
    root: Path, outside: Path, folder: str, create_once: bool
) -> None:
    """Whether objects are named, read or listed: the link is named, and what it points to stays as it is."""
    (root / folder).parent.mkdir(exist_ok=True)
    (root / folder).symlink_to(outside)
    storage = LocalStorage(root, create_once=create_once)
    for verb in verbs_of(storage, folder).values():
        with pytest.raises(StorageUnusableError, match=f"{folder} is a symbolic link"):
            verb()


@pytest.mark.parametrize("folder", ["data", "data/deep"])
def test_a_link_planted_under_an_open_storage_is_refused_too(root: Path, outside: Path, folder: str) -> None:
    """What was a folder a moment ago, and was used, is not believed to be one still."""
    storage = LocalStorage(root)
    storage.create("data/deep/secret", b"x")
    assert storage.get("data/deep/secret") == b"x"
    assert names(storage) == ["data/deep/secret"]
    (root / folder).rename(root.parent / "away")
    (root / folder).symlink_to(outside)
    for verb in verbs_of(storage, folder).values():
        with pytest.raises(StorageUnusableError, match=f"{folder} is a symbolic link"):
            verb()


@pytest.mark.parametrize("is_dangling", [True, False])
def test_a_link_to_an_object_is_refused_and_is_no_missing_object(
    root: Path, outside: Path, is_dangling: bool
) -> None:
    """Passed over in a listing, an outcome would look as if it had never been. Only the link itself may go."""
    storage = LocalStorage(root)
    storage.create("data/a", b"x")
    link = root / "data" / "link"
    link.symlink_to(root / "nothing" if is_dangling else outside / "secret")
    verbs: tuple[Callable[[], object], ...] = (
        lambda: storage.get("data/link"),
        lambda: storage.stat("data/link"),
        lambda: storage.create("data/link", b"x"),
        lambda: LocalStorage(root, create_once=False).create("data/link", b"x"),
        lambda: list(storage.list("data/link")),
        lambda: list(storage.list("data/", after="data/link")),
    )
    for verb in verbs:
        with pytest.raises(StorageUnusableError, match="data/link is a symbolic link"):
            verb()
    storage.replace("data/link", b"y")
    assert storage.get("data/link") == b"y"
    storage.delete("data/link")
    link.symlink_to(outside / "secret")
    storage.delete("data/link")
    assert names(storage) == ["data/a"]


def test_a_link_in_place_of_the_temporary_folder_is_refused(root: Path, outside: Path) -> None:
    """Nothing is written through it, and no old files are taken for strays there and removed."""
    (root / ".tmp").symlink_to(outside)
    storage = LocalStorage(root)
    for verb in (lambda: storage.create("x", b"x"), lambda: storage.clear_strays(datetime.now(UTC))):
        with pytest.raises(StorageUnusableError, match=r"\.tmp is a symbolic link"):
            verb()


def test_links_that_are_no_objects_disturb_nobody(root: Path, outside: Path) -> None:
    """Hidden ones, ones whose names are no names of objects, and ones elsewhere than what is listed."""
    storage = LocalStorage(root)
    storage.create("data/x", b"x")
    for name in (".hidden", "data/.hidden", "read me", "other"):
        (root / name).symlink_to(outside)
    assert [info.name for info in storage.list("data/")] == ["data/x"]
    (root / "other").unlink()
    assert names(storage) == ["data/x"]


@pytest.mark.parametrize("is_there", [True, False])
def test_the_way_to_the_root_may_lead_through_links(tmp_path: Path, is_there: bool) -> None:
    """The operator may name the repository by a link, or keep it behind one: what it points to is used."""
    disk = tmp_path / "disk"
    (disk / "repository").mkdir(parents=True)
    (tmp_path / "backups").symlink_to(disk)
    (disk / "link").symlink_to("repository")
    named = tmp_path / "backups" / ("link" if is_there else "new")
    storage = LocalStorage(named, create_root=True)
    storage.create("data/x", b"x")
    storage.create("y", b"y")
    assert names(storage) == ["data/x", "y"]
    assert [info.name for info in storage.list("data/")] == ["data/x"]
    assert names(LocalStorage(disk / ("repository" if is_there else "new"))) == names(storage)
    assert storage.get("data/x") == b"x"
    assert storage.clear_strays(datetime.now(UTC), min_age=timedelta(0)) == 0
    storage.delete("data/x")
    assert names(storage) == ["y"]


def test_object_and_folder_of_one_name_clash(root: Path) -> None:
    """Where a file is, no folder can be, and the other way round: said plainly, nothing lost."""
    storage = LocalStorage(root)
    storage.create("a", b"x")
    storage.create("b/c", b"y")
    clashes: tuple[Callable[[], None], ...] = (
        lambda: storage.create("a/b", b""),
        lambda: storage.replace("a/b", b""),
        lambda: storage.replace("b", b""),
    )
    for clash in clashes:
        with pytest.raises(StorageUnusableError, match="a file stands where a folder is needed"):
            clash()
    with pytest.raises(ObjectMissingError):
        storage.get("b")
    assert names(storage) == ["a", "b/c"]


def test_strays_and_foreign_files_are_no_objects(root: Path) -> None:
    """Temporary files, dotted files and names outside the rule are not listed."""
    storage = LocalStorage(root)
    storage.create("data/x", b"x")
    (root / ".tmp" / "123-abc").write_bytes(b"half")
    (root / ".DS_Store").write_bytes(b"")
    (root / "data" / ".nfs0001").write_bytes(b"")
    (root / "lost+found").mkdir()
    (root / "read me.txt").write_bytes(b"")
    os.mkfifo(root / "pipe")
    assert names(storage) == ["data/x"]
    with pytest.raises(ObjectMissingError):
        storage.get("pipe")


def test_only_old_strays_are_cleared(root: Path) -> None:
    """A stray older than a day is removed; a younger one may belong to a run that is still writing."""
    storage = LocalStorage(root)
    now = datetime.now(UTC)
    assert storage.clear_strays(now) == 0
    storage.create("data/x", b"x")
    for name, age_hours in (("old", 25), ("young", 23)):
        stray = root / ".tmp" / name
        stray.write_bytes(b"half")
        moment = (now - timedelta(hours=age_hours)).timestamp()
        os.utime(stray, (moment, moment))
    assert storage.clear_strays(now) == 1
    assert [path.name for path in (root / ".tmp").iterdir()] == ["young"]
    assert storage.clear_strays(now, min_age=timedelta(0)) == 1
    assert names(storage) == ["data/x"]


def test_missing_root_is_not_made_unasked(tmp_path: Path) -> None:
    """A root that is not there may be a disk not mounted: refused, unless creating it was asked for."""
    root = tmp_path / "not" / "there"
    with pytest.raises(StorageUnusableError, match="there is no folder") as caught:
        LocalStorage(root)
    assert str(root) in str(caught.value)
    assert not root.exists()
    LocalStorage(root, create_root=True).create("x", b"x")
    LocalStorage(root, create_root=True)
    assert names(LocalStorage(root)) == ["x"]


def test_root_must_be_a_folder(tmp_path: Path) -> None:
    """A file named as the repository is refused."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageUnusableError):
        LocalStorage(tmp_path / "file")


def test_emptied_folders_are_removed(root: Path) -> None:
    """Snapshots come and go with 256 folders each: delete leaves no empty ones behind."""
    storage = LocalStorage(root)
    storage.create("data/a/b/c", b"x")
    storage.create("data/z", b"x")
    storage.delete("data/a/b/c")
    assert [path.name for path in (root / "data").iterdir()] == ["z"]
