"""New keys: a new epoch for new objects, and what is due when somebody else may have the old ones.

Invariant: whoever opened the repository before still opens it, unless left out by name; and what the old keys
still open is said, not guessed. Both raise `SteppedAsideError` where the storage cannot have two writers and
another one lives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from holdfast.domain.errors import RefusedError, UsageError
from holdfast.repository.checking.exposure import measure_exposure
from holdfast.repository.keys.epochs import EpochReason
from holdfast.repository.keys.rotation import LeftOut, Succession, begin_epoch, plan_succession
from holdfast.repository.keys.secrets import Secrets
from holdfast.repository.repo import Repository
from holdfast.repository.runs.company import alone, running_from
from holdfast.workflows.key_slots import kit_warnings, slots_of
from holdfast.workflows.keys import KeysReport, remove_slot, report_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationReport:
    """What a rotation did. After a compromise, `keys.exposures` says what the old keys still open."""

    keys: KeysReport
    reason: EpochReason
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """The repository opened with its new keys, and the report."""

    repository: Repository
    report: RotationReport


def rotate(
    repository: Repository,
    secrets: Sequence[Secrets],
    *,
    keep: Sequence[str] = (),
    drop: bool = False,
    now: datetime,
) -> Rotated:
    """A new data key for new objects; what is stored stays as it is, and is still reused.

    `secrets` are all that are at hand, `keep` names of recipients that the operator answers for. Raises
    `RefusedError` for slots that cannot be carried over, unless `drop`: they then open older snapshots only.
    """
    with alone(repository, clock=running_from(now)):
        _require_known(repository, keep)
        plan = plan_succession(repository, secrets, keep=keep)
        if plan.left_out and not drop:
            raise _cannot_carry_over(plan)
        return _begin(repository, plan, secrets, EpochReason.ROTATION, now)


def compromised(
    repository: Repository,
    lost: Sequence[str],
    secrets: Sequence[Secrets],
    *,
    keep: Sequence[str] = (),
    drop: bool = False,
    now: datetime,
) -> Rotated:
    """New data and identity keys, without the slots `lost`, which go everywhere.

    The next backup of every source reads in full. Nothing that was made with the old keys is believed: recipients
    are carried over only if their identity is at hand, or by name in `keep`. The report measures what the old keys
    still open. May be run again after a crash.
    """
    both = sorted(set(lost) & set(keep))
    if both:
        raise UsageError(f"key slot {both[0]!r} cannot be both lost and kept", hint="leave one of them out")
    with alone(repository, clock=running_from(now)):
        _require_known(repository, [*lost, *keep])
        plan = plan_succession(repository, secrets, keep=keep, without=lost, distrust=True)
        if plan.left_out and not drop:
            raise _cannot_carry_over(plan)
        rotated = _begin(repository, plan, secrets, EpochReason.COMPROMISE, now)
        removed: list[str] = []
        for slot in lost:
            if any(item.name == slot for item in slots_of(rotated.repository)):
                removed += remove_slot(rotated.repository, slot, now=now).removed
    before = rotated.report.keys
    keys = report_of(rotated.repository, added=before.added, removed=tuple(removed), warnings=before.warnings)
    keys = replace(keys, exposures=measure_exposure(rotated.repository))
    return Rotated(repository=rotated.repository, report=replace(rotated.report, keys=keys))


def _begin(
    repository: Repository, plan: Succession, secrets: Sequence[Secrets], reason: EpochReason, now: datetime
) -> Rotated:
    begun = begin_epoch(repository, plan, secrets, reason=reason, now=now)
    late = tuple(
        f"key slot {name} was added meanwhile and opens older snapshots only: remove it, and add it again"
        for name in begun.late
    )
    warnings = (*late, *kit_warnings(slots_of(begun.repository)))
    keys = report_of(begun.repository, added=begun.slots, warnings=warnings)
    return Rotated(
        repository=begun.repository,
        report=RotationReport(keys=keys, reason=reason, left_out=plan.left_out),
    )


def _require_known(repository: Repository, names: Sequence[str]) -> None:
    known = {item.name for item in slots_of(repository)}
    for name in names:
        if name not in known:
            raise UsageError(
                f"no key slot is named {name!r}", hint=f"choose one of: {', '.join(sorted(known))}"
            )


def _cannot_carry_over(plan: Succession) -> RefusedError:
    whys = "; ".join(
        f"{item.name} ({item.recipient + ': ' if item.recipient else ''}{item.reason})"
        for item in plan.left_out
    )
    return RefusedError(
        f"these key slots cannot be carried over: {whys}",
        hint="give passphrases with --slot-passphrase-file, answer for recipients with --keep NAME, "
        "or leave the rest behind with --drop-slots",
    )
