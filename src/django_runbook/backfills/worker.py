"""Work on ranges batch by batch: the rows of a batch and the cursor behind them commit together."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import Error as AnyDatabaseError
from django.db.models import F
from django.utils.translation import gettext as _

from django_runbook.backfill_ledger import BackfillLedger, Fenced, LedgerRange
from django_runbook.backfills.controller import FIRST, Controller
from django_runbook.backfills.keys import Keys
from django_runbook.backfills.task import Task
from django_runbook.backfills.throttle import Throttle
from django_runbook.databases import Database
from django_runbook.exceptions import RunbookError, SessionLost

ATTEMPTS = 8
"""Of a batch that others were in the way of, with growing pauses between them: about a minute in all."""
FIRST_PAUSE = 0.2
PIECE = 20
"""Batches in a range that a worker makes for itself."""
LISTED = 20
"""So many rows more than are tolerated are set aside before the backfill gives up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a backfill may go."""

    target: float | None
    """Seconds that a batch is to take; None: batches of `size`."""
    size: int = FIRST
    max_rate: int | None = None
    """Rows a second, at most."""
    tolerate: int = 0
    """Rows that may be set aside."""


class TooManyPoisonRows(RunbookError):
    """More rows cannot be done than the runbook allows."""


@dataclass(slots=True, kw_only=True)
class Worker:
    """One session that does batches; each row at most once, however many workers there are."""

    task: Task
    database: Database
    keys: Keys
    ledger: BackfillLedger
    throttle: Throttle
    pace: Pace
    owner: str
    progress: Callable[..., None] = lambda **facts: None
    lease: timedelta
    alone: bool = True
    """Does nobody else work on this backfill? Otherwise what is left is shared out in pieces."""
    crowd: Callable[[], int] = lambda: 1
    """How many share the rows that may be done in a second."""
    controller: Controller = field(init=False)
    _session: Any = field(init=False)
    """The driver's connection: when it is lost, Django opens another one, unasked."""
    _counts: bool = field(init=False, default=False)
    """Did the latest batch say itself how many rows it has changed?"""

    def __post_init__(self) -> None:
        self.controller = Controller(self.pace.target, self.pace.size)
        self.database.connection.ensure_connection()
        self._session = self.database.connection.connection

    def work_on_round(self) -> None:
        """Do ranges until none is free and all keys are in ranges."""
        while owned := self._next_range():
            try:
                self.work(owned)
            except Fenced:
                if self.alone:  # then nobody else ought to be there
                    raise

    def _next_range(self) -> LedgerRange | None:
        while True:
            owned = self.ledger.claim(self.owner, self.lease)
            if owned or not self._add_range():
                return owned

    def _add_range(self) -> bool:
        """Make a range behind the frontier, unless that is the end of the round."""
        row = self.ledger.reload()
        if row.upto is None or row.frontier == row.upto:
            return False
        last = None if self.alone else self._end_of_piece(row.frontier, row.upto)
        self.ledger.add_range(row.frontier, last or row.upto)
        return True

    def _end_of_piece(self, frontier: str | None, upto: str) -> str | None:
        """None if no more than a piece is left."""
        size = self.controller.size * PIECE
        last, count = self.keys.ahead(self.keys.from_text(frontier), self.keys.from_text(upto), size)
        return self.keys.to_text(last) if count == size else None

    def work(self, owned: LedgerRange) -> None:
        """Do a range to its end. Raise Fenced if somebody else has taken it over; RunbookError."""
        after, upto = self.keys.from_text(owned.cursor), self.keys.from_text(owned.upto)
        while True:
            self.throttle.wait()
            self._heed(self.ledger.row.target)
            last, count = self.keys.ahead(after, upto, self.controller.size)
            if not count:
                break
            began = time.monotonic()
            self._batch(owned, after, last, count)
            took = time.monotonic() - began
            self.controller.learn(count, took)
            self.progress(batch_size=count, seconds=took)
            self._keep_rate(count, took)
            after = last
        with self.ledger.transaction():
            self.ledger.move(owned, lease=self.lease, done=True)

    def retry(self, key: Any) -> None:
        """Do a row that was set aside; it stays so, with its latest error, if it fails again."""
        text = self.keys.to_text(key)
        aside = self.ledger.quarantine.filter(key=text)
        try:
            with self.ledger.transaction():
                aside.delete()
                self.task.batch(self.keys.rows.filter(self.task.rows, pk=key))
        except Exception as error:
            self._raise_unless_the_row_is_to_blame(error)
            aside.update(error=_words(error))

    def _keep_rate(self, count: int, took: float) -> None:
        if max_rate := self.ledger.row.max_rate or self.pace.max_rate:
            self.throttle.keep_rate(count, took, max_rate / max(1, self.crowd()))

    def _heed(self, target: float | None) -> None:
        """Take over the target that the operator has set meanwhile."""
        if target and self.controller.target != target:
            self.controller = Controller(target, self.controller.size)

    def _batch(self, owned: LedgerRange, after: Any, upto: Any, count: int) -> None:
        """Do these keys; if a row is in the way, all but that one, which is found by halving."""
        try:
            self._attempt(owned, after, upto, count)
        except Exception as error:
            self._raise_unless_the_row_is_to_blame(error)
            if count == 1:
                self._set_aside(owned, upto, error)
                return
            self.throttle.safe_point()
            middle, first = self.keys.ahead(after, upto, count // 2)
            if first:
                self._batch(owned, after, middle, first)
            rest = self.keys.ahead(middle if first else after, upto, count)[1]
            self._batch(owned, middle if first else after, upto, max(rest, 1))

    def _attempt(self, owned: LedgerRange, after: Any, upto: Any, count: int) -> None:
        for number in range(1, ATTEMPTS + 1):
            try:
                self._commit(owned, after, upto, count)
                return
            except AnyDatabaseError as error:
                if number == ATTEMPTS or not self.database.is_transient(error):
                    raise
                self.throttle.halted(_("others hold locks on these rows: %(error)s") % {"error": error})
                time.sleep(random.uniform(0.5, 1) * FIRST_PAUSE * 2**number)  # noqa: S311 - jitter
                self.throttle.safe_point()

    def _commit(self, owned: LedgerRange, after: Any, upto: Any, count: int) -> None:
        """The cursor, the rows and their number, in one transaction."""
        rows = self.keys.between(after, upto).filter(self.task.rows)
        with self.ledger.transaction():
            self._move(owned, upto, count)
            expected = 0 if self._counts else rows.count()
            changed = self.task.batch(rows)
            self._counts = isinstance(changed, int) and not isinstance(changed, bool)
            self.ledger.add_rows(owned, int(changed) if self._counts else expected)  # type: ignore[call-overload]

    def _move(self, owned: LedgerRange, upto: Any, count: int) -> None:
        self.ledger.move(
            owned,
            lease=self.lease,
            cursor=self.keys.to_text(upto),
            seen=F("seen") + count,
            batches=F("batches") + 1,
            size=count,
        )

    def _set_aside(self, owned: LedgerRange, key: Any, error: Exception) -> None:
        with self.ledger.transaction():
            self._move(owned, key, 1)
            self.ledger.set_aside(self.keys.to_text(key), _words(error))
        if self.ledger.quarantine.count() > self.pace.tolerate + LISTED:
            raise TooManyPoisonRows("")

    def _raise_unless_the_row_is_to_blame(self, error: Exception) -> None:
        """What others, the connection or the operator have done is no fault of a row."""
        if isinstance(error, RunbookError | MemoryError):
            raise error
        connection = self.database.connection
        if connection.connection is not self._session or not connection.is_usable():
            raise SessionLost(
                _("The connection to the database was lost in a batch: %(error)s") % {"error": error},
                _("The batch was rolled back, or is done and known to be; `resume` goes on behind it."),
            ) from error
        if isinstance(error, AnyDatabaseError) and self.database.is_transient(error):
            raise RunbookError(
                _("Others hold locks on the rows of a batch, which was tried %(count)d times: %(error)s")
                % {"count": ATTEMPTS, "error": error},
                _("Look who holds them: %(blockers)s")
                % {"blockers": "; ".join(self.database.blockers()) or _("nobody is visible")},
            ) from error


def _words(error: Exception) -> str:
    text = str(error) if isinstance(error, AnyDatabaseError) else f"{type(error).__name__}: {error}"
    return text[:1000]
