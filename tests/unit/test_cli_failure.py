"""Errors as operators and scripts get them: kinds, exit codes, lines, and no passwords."""

from __future__ import annotations

import pytest

from holdfast.cli.failure import error_document, error_lines, exit_code_of, kind_of, usage_error
from holdfast.cli.secrets import blot, find_secrets
from holdfast.domain import errors

KINDS = [
    (errors.UsageError("x"), "usage", 2),
    (errors.DamagedError("x", object_name="o"), "damaged", 4),
    (errors.ObjectMissingError("o"), "object_missing", 4),
    (errors.RefusedError("x"), "refused", 5),
    (errors.FencedError("x"), "fenced", 5),
    (errors.SteppedAsideError("x", snapshot="s"), "stepped_aside", 5),
    (errors.OutOfTimeError("x"), "out_of_time", 5),
    (errors.ObjectExistsError("o"), "object_exists", 5),
    (errors.UnreachableError("x"), "unreachable", 6),
    (errors.LackingRightsError("x"), "lacking_rights", 6),
    (errors.LockedObjectError("o", until=None), "locked_object", 6),
    (errors.StorageFullError("x"), "storage_full", 6),
    (errors.StorageUnusableError("x"), "storage_unusable", 6),
    (errors.TableBusyError("x"), "table_busy", 6),
    (errors.SourceLostError("x"), "source_lost", 6),
    (errors.RestoreFailedError("x"), "restore_failed", 6),
    (errors.LockedOutError("x"), "locked_out", 7),
    (errors.InterruptedRunError("x"), "interrupted", 130),
    (RuntimeError("x"), "bug", 1),
]


@pytest.mark.parametrize(("error", "kind", "code"), KINDS, ids=[kind for _, kind, _ in KINDS])
def test_every_kind_has_its_name_and_exit_code(error: Exception, kind: str, code: int) -> None:
    """The class is the kind; scripts rely on both words and numbers."""
    assert kind_of(error) == kind
    assert exit_code_of(error) == code
    document = error_document(error)["error"]
    assert isinstance(document, dict)
    assert list(document) == ["kind", "message", "hint", "exit_code"]
    assert (document["kind"], document["exit_code"]) == (kind, code)


def test_every_class_of_error_is_known_here() -> None:
    """A new class needs its line above."""

    def below(kind: type[Exception]) -> set[type[Exception]]:
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    known = {type(error) for error, _, _ in KINDS}
    missing = below(errors.HoldfastError) - known - {errors.HoldfastError}
    assert {kind for kind in missing if kind.__module__ == errors.__name__} == set()


def test_an_error_is_two_lines() -> None:
    """What is wrong, and what to do next."""
    error = errors.UnreachableError("server a is gone", hint="start it")
    assert error_lines(error) == "error: server a is gone\nhint: start it\n"
    assert error_lines(errors.UnreachableError("server a is gone")) == "error: server a is gone\n"


def test_a_bug_says_how_to_report_it() -> None:
    """An unexpected exception is one line; the traceback comes with --debug only."""
    try:
        raise RuntimeError("boom\nmore")
    except RuntimeError as error:
        quiet, loud = error_lines(error), error_lines(error, debug=True)
    assert quiet.startswith("error: unexpected RuntimeError: boom\nhint: this is a bug")
    assert "Traceback" not in quiet
    assert "Traceback" in loud


def test_the_parsers_suggestions_become_hints() -> None:
    """`did you mean` stands in the hint, the complaint in the message."""
    error = usage_error("No such command 'bakcup'. Did you mean 'backup'?", "holdfast")
    assert (error.message, error.hint) == (
        "no such command 'bakcup'",
        "did you mean 'backup'? run holdfast --help",
    )
    error = usage_error("No such option: --jbos (Possible options: --jobs, --json)", "holdfast backup")
    assert error.hint == "did you mean --jobs or --json? run holdfast backup --help"


@pytest.mark.parametrize(
    "text",
    [
        "connection to postgresql://me:s3kret@db/x failed",
        "connection with host=db password=s3kret user=me failed",
        "connection with password = 's3kret' failed",
        "https://h/x?sas_token=s3kret&a=b",
    ],
)
def test_what_looks_like_a_password_is_blotted_out(text: str) -> None:
    """Addresses that a foreign library quotes lose their password."""
    assert "s3kret" not in blot(text, ())
    assert "***" in blot(text, ())


def test_known_secrets_are_blotted_out_wherever_they_stand() -> None:
    """Also decoded, and without any address around them."""
    arguments = ["backup", "postgresql://me:p%40ssw%2Frd@db/x"]
    environ = {"PGPASSWORD": "hunter22", "DATABASE_URL": "postgresql://u:t0psecret@h/d", "PATH": "/bin"}
    secrets = find_secrets(arguments, environ)
    text = blot("p@ssw/rd p%40ssw%2Frd hunter22 t0psecret /bin", secrets)
    assert text == "*** *** *** *** /bin"


def test_innocent_variables_are_no_secrets() -> None:
    """The passphrase file's path is needed in messages."""
    environ = {"HOLDFAST_PASSPHRASE_FILE": "/etc/holdfast/passphrase", "HOME": "/root"}
    assert find_secrets([], environ) == frozenset()
