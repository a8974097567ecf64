"""Wait for locks briefly and often, so that nobody is queued behind a waiting ALTER."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from django.db import DatabaseError
from django.utils.translation import gettext as _

from django_runbook.databases import Database
from django_runbook.exceptions import RunbookError

Result = TypeVar("Result")

ATTEMPTS = 12
"""How often a statement is tried before the step fails."""
LONGEST_PAUSE = timedelta(seconds=60)


def with_lock_retries(
    database: Database,
    attempt: Callable[[], Result],
    blocked: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """Call `attempt` until it gets its locks; between two attempts others go first.

    `attempt` must have no effect when it fails. `blocked` is told who seems to hold the lock. Raise
    RunbookError, naming them, after ATTEMPTS timeouts.
    """
    for number in range(1, ATTEMPTS + 1):
        try:
            return attempt()
        except DatabaseError as error:
            if not database.is_lock_timeout(error):
                raise
            holders = ", ".join(database.blockers()) or _("a session that cannot be seen from here")
            if number == ATTEMPTS:
                raise _gave_up(holders) from error
            blocked(holders)
            sleep(pause(number))
    raise AssertionError("the last attempt returns or raises")


def pause(number: int) -> float:
    """Seconds before the attempt after the `number`th: doubling up to a minute, with jitter of a half."""
    longest = min(2.0**number / 2, LONGEST_PAUSE.total_seconds())
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret


def _gave_up(holders: str) -> RunbookError:
    return RunbookError(
        _("A lock was not free in %(attempts)d attempts; it seems to be held by %(holders)s.")
        % {"attempts": ATTEMPTS, "holders": holders},
        _("End these transactions, or wait for a quieter time."),
    )
