"""Where secrets come from: named sources that fail loudly and show nothing."""

from __future__ import annotations

from pathlib import Path

import pyrage
import pytest

from holdfast.domain.errors import UsageError
from holdfast.repository.keys.secrets import Secrets, read_identities


def private_file(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o600)
    return path


def test_environment_names_the_sources(tmp_path: Path) -> None:
    """Each variable is one source; the command line's identity file goes before the variable's."""
    assert Secrets.from_environment({"HOLDFAST_PASSPHRASE": "p"}).find_passphrase() == "p"
    path = private_file(tmp_path / "p", "from a file\n")
    assert (
        Secrets.from_environment({"HOLDFAST_PASSPHRASE_FILE": str(path)}).find_passphrase() == "from a file"
    )
    command = {"HOLDFAST_PASSPHRASE_COMMAND": "printf 'a b\\n'; true"}
    assert Secrets.from_environment(command).find_passphrase() == "a b"
    named = {"HOLDFAST_IDENTITY_FILE": "a"}
    assert Secrets.from_environment(named).identity_file == Path("a")
    assert Secrets.from_environment(named, identity_file=Path("b")).identity_file == Path("b")
    assert Secrets.from_environment({}).find_passphrase() is None
    assert Secrets.from_environment({}).find_identities() == ()


def test_two_passphrase_sources_are_an_error() -> None:
    """Which of them is meant would be a guess."""
    with pytest.raises(UsageError, match="HOLDFAST_PASSPHRASE and HOLDFAST_PASSPHRASE_FILE") as caught:
        Secrets.from_environment({"HOLDFAST_PASSPHRASE": "hush", "HOLDFAST_PASSPHRASE_FILE": "f"})
    assert "hush" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "passphrase"),
    [("a\n", "a"), ("a\r\n", "a"), ("a", "a"), (" a \n", " a "), ("a\n\n", "a\n"), ("ä\n", "ä")],
)
def test_one_line_end_is_not_part_of_a_passphrase(tmp_path: Path, text: str, passphrase: str) -> None:
    """Editors add it; everything else counts."""
    path = private_file(tmp_path / "p", text)
    assert Secrets(passphrase_file=path).find_passphrase() == passphrase


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", bytes(2_000_000)])
def test_file_without_a_usable_passphrase_is_an_error(tmp_path: Path, content: bytes) -> None:
    """Empty, not text, or far too long: an error that names the file."""
    path = private_file(tmp_path / "p", content)
    with pytest.raises(UsageError, match=str(path)):
        Secrets(passphrase_file=path).find_passphrase()


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    """A source that was named and is not there is not "no secret"."""
    with pytest.raises(UsageError, match=r"cannot read the passphrase file .*: No such file"):
        Secrets(passphrase_file=tmp_path / "none").find_passphrase()
    with pytest.raises(UsageError, match="cannot read the identity file"):
        Secrets(identity_file=tmp_path / "none").find_identities()


@pytest.mark.parametrize("empty", [Secrets(passphrase=""), Secrets(prompt=lambda: "")])
def test_empty_passphrase_is_an_error(empty: Secrets) -> None:
    """An empty variable is a mistake in a script, not a passphrase."""
    with pytest.raises(UsageError, match="is empty"):
        empty.find_passphrase() or empty.ask_passphrase()


def test_failed_command_is_named_without_its_output(capfd: pytest.CaptureFixture[str]) -> None:
    """Its exit code is told, what it printed is not."""
    secrets = Secrets(passphrase_command="echo hush-hush; exit 3")
    with pytest.raises(UsageError, match="HOLDFAST_PASSPHRASE_COMMAND ended with code 3") as caught:
        secrets.find_passphrase()
    assert "hush" not in f"{caught.value.message}{caught.value.hint}{secrets!r}{capfd.readouterr()}"


@pytest.mark.parametrize("command", ["true", "printf '\\377'", "exec /nowhere/at/all 2>/dev/null"])
def test_command_that_yields_no_passphrase_is_an_error(command: str) -> None:
    """No output, no text, no such program."""
    with pytest.raises(UsageError, match="HOLDFAST_PASSPHRASE_COMMAND"):
        Secrets(passphrase_command=command).find_passphrase()


def test_files_that_others_can_read_are_warned_about(tmp_path: Path) -> None:
    """The files are used all the same."""
    path = private_file(tmp_path / "p", "secret\n")
    assert Secrets(passphrase_file=path).warnings() == ()
    path.chmod(0o644)
    secrets = Secrets(passphrase_file=path, identity_file=path)
    assert len(secrets.warnings()) == 2
    assert f"chmod 600 {path}" in secrets.warnings()[0]
    assert secrets.find_passphrase() == "secret"


def test_identity_file_may_hold_several_identities_and_comments() -> None:
    """As age itself reads it."""
    keys = [str(pyrage.x25519.Identity.generate()) for _ in range(2)]
    text = f"# created: today\r\n# public key: x\r\n{keys[0]}\r\n\r\n  {keys[1].lower()}  \n"
    assert [str(found) for found in read_identities(text, "f")] == keys


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "holds no identity"),
        ("# only a comment\n", "holds no identity"),
        ("age1something\n", "line 1 of f is neither a comment nor an age identity"),
        ("# x\nAGE-SECRET-KEY-1QQQQ\n", "identity in line 2 of f is not valid"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----\n", "SSH key in f"),
    ],
)
def test_identity_file_without_a_usable_identity_is_an_error(text: str, reason: str) -> None:
    """The line is named, its content is not shown."""
    with pytest.raises(UsageError, match=reason) as caught:
        read_identities(text, "f")
    assert "QQQQ" not in caught.value.message


def test_mistyped_identity_is_noticed() -> None:
    """A kit typed in from paper with one wrong letter is told from one that fits no slot."""
    key = str(pyrage.x25519.Identity.generate())
    wrong = key[:30] + ("Q" if key[30] != "Q" else "P") + key[31:]
    with pytest.raises(UsageError, match="line 1 of kit is not valid") as caught:
        read_identities(wrong, "kit")
    assert "letter by letter" in str(caught.value.hint)
    assert wrong not in caught.value.message
