"""When a backfill holds back: the operator's word, the hour, the rate, and the health of the servers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from datetime import time as clock_time

from django.db import Error as AnyDatabaseError
from django.utils.translation import gettext as _

from django_runbook.backfill_ledger import Control, LedgerBackfill
from django_runbook.conf import (
    backfill_lag,
    backfill_replicas,
    backfill_running,
    backfill_throttle,
    backfill_waiting,
)
from django_runbook.databases import Database, get_database
from django_runbook.exceptions import RunbookError

LOOK_EVERY = 1.0
"""Seconds between two looks at the ledger and the servers."""
WAIT_STEP = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the servers may show while a backfill goes on."""

    lag: float
    """Seconds by which a replica may be behind."""
    running: int
    """Sessions that may execute a statement at the same time, besides the backfill's own."""
    waiting: int
    """Sessions that may wait for a lock."""
    replicas: tuple[str, ...] = ()
    """Their aliases in DATABASES."""
    ask: Callable[[], object] | None = None
    """The project's own signal: what it returns, if anything, is the reason to hold back."""

    @classmethod
    def from_settings(cls) -> Limits:
        """As this machine's settings say. Raise Refused if they are wrong."""
        return cls(
            lag=backfill_lag(),
            running=backfill_running(),
            waiting=backfill_waiting(),
            replicas=backfill_replicas(),
            ask=backfill_throttle(),
        )


@dataclass(frozen=True, slots=True)
class Window:
    """The hours in which a backfill may work, in this machine's time; one that ends before it begins ends
    on the next day."""

    begins: clock_time
    ends: clock_time

    @classmethod
    def parse(cls, text: str) -> Window:
        """Read "22:00-06:00". Raise ValueError."""
        begins, dash, ends = text.partition("-")
        if not dash:
            raise ValueError(text)
        return cls(clock_time.fromisoformat(begins.strip()), clock_time.fromisoformat(ends.strip()))

    def holds(self, now: clock_time) -> bool:
        if self.begins <= self.ends:
            return self.begins <= now < self.ends
        return now >= self.begins or now < self.ends

    def __str__(self) -> str:
        return f"{self.begins:%H:%M}-{self.ends:%H:%M}"


def is_window(text: str) -> bool:
    """Can it be read as one?"""
    try:
        Window.parse(text)
    except ValueError:
        return False
    return True


class Cancelled(RunbookError):
    """The operator has cancelled the backfill; what is done stays done."""


def cancelled() -> Cancelled:
    return Cancelled(
        _("The backfill was cancelled from another terminal; what is done stays done."),
        _("`manage.py runbook resume` goes on with it."),
    )


class Throttle:
    """Asked before each batch; waits as long as there is a reason to, and says which."""

    def __init__(
        self,
        database: Database,
        limits: Limits,
        *,
        window: Window | None = None,
        read_control: Callable[[], LedgerBackfill],
        halted: Callable[[str], None],
        safe_point: Callable[[], None],
    ) -> None:
        self.database = database
        self.limits = limits
        self.window = window
        self.read_control = read_control
        """The backfill's row, as it is now."""
        self.halted = halted
        """Told why nothing moves, at least once in LOOK_EVERY while that is so; with "" when it goes on."""
        self.safe_point = safe_point
        self._looked = -LOOK_EVERY

    def wait(self) -> None:
        """Come back when a batch may begin. Raise Cancelled, or what `safe_point` raises."""
        self.safe_point()
        if time.monotonic() - self._looked < LOOK_EVERY:
            return
        reason = self._reason()
        if not reason:
            return
        while reason:
            self.halted(reason)
            self._pause(LOOK_EVERY)
            reason = self._reason()
        self.halted("")

    def keep_rate(self, rows: int, seconds: float, max_rate: float) -> None:
        """Wait behind a batch until its rows are no more than `max_rate` a second."""
        self._pause(rows / max_rate - seconds)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.safe_point()
            time.sleep(min(WAIT_STEP, left))

    def _reason(self) -> str:
        self._looked = time.monotonic()
        control = self.read_control().control
        if control == Control.CANCEL:
            raise cancelled()
        if control == Control.PAUSE:
            return _("paused; `manage.py runbook backfill --go-on` ends that")
        if self.window and not self.window.holds(datetime.now().astimezone().time()):
            return _("outside of its hours, %(window)s") % {"window": self.window}
        return next(self._signs(), "")

    def _signs(self) -> Iterator[str]:
        """What is wrong; a signal that cannot be read is."""
        try:
            yield from self._server_signs()
            for alias in self.limits.replicas:
                yield from self._lag(alias)
            if self.limits.ask and (reason := self.limits.ask()):
                yield str(reason)
        except Exception as error:
            if isinstance(error, AnyDatabaseError) and not self.database.connection.is_usable():
                raise
            yield _("a signal of health cannot be read: %(error)s") % {"error": error}

    def _server_signs(self) -> Iterator[str]:
        vitals = self.database.vitals()
        if vitals.running > self.limits.running:
            yield _("%(count)d sessions are at work on the server, more than %(limit)d") % {
                "count": vitals.running,
                "limit": self.limits.running,
            }
        if vitals.waiting > self.limits.waiting:
            yield _("%(count)d sessions wait for locks, more than %(limit)d") % {
                "count": vitals.waiting,
                "limit": self.limits.waiting,
            }

    def _lag(self, alias: str) -> Iterator[str]:
        lag = get_database(alias).lag()
        if lag > self.limits.lag:
            yield _("replica '%(alias)s' is %(lag).1f s behind, more than %(limit)g s") % {
                "alias": alias,
                "lag": lag,
                "limit": self.limits.lag,
            }
