"""One worker's part in a backfill that a run elsewhere conducts; all it knows comes from the ledger."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from uuid import uuid4

from django.db import Error as AnyDatabaseError
from django.utils.translation import gettext as _

from django_runbook.backfill_ledger import BackfillLedger
from django_runbook.backfills.assignment import Assignment
from django_runbook.backfills.keys import Keys
from django_runbook.backfills.throttle import LOOK_EVERY, Cancelled, Limits, Throttle, Window
from django_runbook.backfills.worker import TooManyPoisonRows, Worker
from django_runbook.conf import backfill_lease, lock_timeout
from django_runbook.databases import Database
from django_runbook.exceptions import RunbookError, SessionLost
from django_runbook.schema.history import History


class Dismissed(RunbookError):
    """The run does not want this worker any more, or is dead."""


def new_owner() -> str:
    """A name for a worker that no other has ever had."""
    return f"{socket.gethostname()[:60]} {os.getpid()} {uuid4().hex[:12]}"


@contextmanager
def taking_part(
    database: Database, run_id: str, number: int, owner: str, *, safe_point: Callable[[], None]
) -> Iterator[Part]:
    """Take part in backfill `number` of a run: call `work_on_round` of what this gives.

    `safe_point` is called between batches, and raises Dismissed when the worker is to leave; leaving the
    block gives back what it has claimed, and swallows Dismissed. An error that a repetition would not mend is
    left in the ledger for the run. Raise RunbookError.
    """
    ledger = BackfillLedger.load(database, run_id, number)
    if ledger is None:
        raise RunbookError(
            _("Run %(run)s has no backfill %(number)d in the database that this worker is set up for.")
            % {"run": run_id, "number": number},
            _("Give workers the same DATABASES as the process of the run."),
        )
    lease = backfill_lease()
    try:
        with (
            database.row_lock_timeout(lock_timeout()),
            database.idle_transaction_timeout(lease),
            _giving_back(ledger, owner),
        ):
            yield Part(ledger=ledger, owner=owner, ask_outside=safe_point)
    except (Dismissed, Cancelled, TooManyPoisonRows):
        pass  # the run knows
    except (SessionLost, AnyDatabaseError):
        raise  # another session may get further
    except Exception as error:
        ledger.fail(error)
        raise


@contextmanager
def _giving_back(ledger: BackfillLedger, owner: str) -> Iterator[None]:
    try:
        yield
    finally:
        with suppress(AnyDatabaseError):  # then the lease gives it back
            ledger.release(owner)


@dataclass(slots=True, kw_only=True)
class Part:
    """A worker with its own session, as long as the run wants it."""

    ledger: BackfillLedger
    owner: str
    ask_outside: Callable[[], None]
    worker: Worker = field(init=False)
    _assigned: str = field(init=False)
    _wanted: int = field(init=False)
    _looked: float = field(init=False, default_factory=time.monotonic)
    _at_work: int = field(init=False, default=1)

    def __post_init__(self) -> None:
        self._assigned = self.ledger.row.assignment
        assignment = Assignment.from_text(self._assigned)
        self._wanted = assignment.workers
        self.worker = self._worker(assignment)

    def work_on_round(self) -> None:
        """Work until no range is free. Raise Dismissed; Cancelled; TooManyPoisonRows; RunbookError."""
        self.look()
        try:
            self.worker.work_on_round()
        except AnyDatabaseError as error:
            if not self.ledger.database.is_transient(error):
                raise
            self.ledger.release(self.owner)  # others are in the way of the ledger's rows

    def look(self) -> None:
        """See whether the run still wants this worker, and say that the worker is still there."""
        self._looked = time.monotonic()
        row = self.ledger.reload()
        if row.conducted_until < self.ledger.now() or row.assignment != self._assigned or row.failure:
            raise Dismissed("")
        self.ledger.renew(self.owner, self.worker.lease)
        owners = self.ledger.owners()
        self._at_work = len(owners)
        if len(owners) >= self._wanted and self.owner not in owners[: self._wanted]:
            raise Dismissed("")  # it was called twice

    def _safe_point(self) -> None:
        self.ask_outside()
        if time.monotonic() - self._looked >= LOOK_EVERY:
            self.look()

    def _worker(self, assignment: Assignment) -> Worker:
        database = self.ledger.database
        task = assignment.load_task()
        apps = History.load(database.connection).state(assignment.migrations).apps
        limits = Limits.from_settings()
        throttle = Throttle(
            database,
            replace(limits, running=limits.running + assignment.workers),
            window=Window.parse(assignment.window) if assignment.window else None,
            read_control=lambda: self.ledger.row,
            halted=lambda reason: self.ledger.write(halted=reason),
            safe_point=self._safe_point,
        )
        return Worker(
            task=task,
            database=database,
            keys=Keys(apps.get_model(task.model)._base_manager.using(database.alias)),
            ledger=self.ledger,
            throttle=throttle,
            pace=assignment.pace,
            owner=self.owner,
            lease=backfill_lease(),
            alone=False,
            crowd=lambda: self._at_work,
        )
