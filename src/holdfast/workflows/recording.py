"""Recording a check. What a check found stands whether it could be recorded or not; that it was not is said.

Where a storage cannot have two writers, the record waits for whoever else writes: an entry of the journal that was
written beside another one could take its place.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime

from holdfast.domain.errors import HoldfastError, SteppedAsideError
from holdfast.domain.events import Listener, Noticed
from holdfast.repository.registers.verifications import Verification, record_verification
from holdfast.repository.repo import Repository
from holdfast.repository.runs.company import alone
from holdfast.workflows.turn import WAIT_STEP_SECONDS

Clock = Callable[[], datetime]

RECORD_WAIT_SECONDS = 300.0
"""So long, at most, a check that took hours waits for a backup of minutes."""


def record_check(
    repository: Repository,
    verification: Verification,
    *,
    journal_hint: int,
    clock: Clock,
    listener: Listener,
    interrupted: threading.Event,
    wait_seconds: float,
) -> str | None:
    """Record it, waiting so long at most where somebody else writes. Returns why it is not recorded, None if it
    is."""
    ends_at = time.monotonic() + wait_seconds
    told: str | None = None
    while True:
        try:
            with alone(repository, clock=clock):
                record_verification(repository, verification, journal_hint=journal_hint)
        except SteppedAsideError as error:
            left = ends_at - time.monotonic()
            if left <= 0 or interrupted.is_set():
                return error.message
            if told != error.snapshot:
                told = error.snapshot
                listener(Noticed(message=f"waiting to record the check: {error.message}"))
            interrupted.wait(min(WAIT_STEP_SECONDS, left))
        except HoldfastError as error:
            return error.message
        else:
            return None
