"""Who works on a backfill beside the process of the run: processes on this machine, or Celery's workers."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import IO

from django.db import Error as AnyDatabaseError
from django.utils.translation import gettext as _

from django_runbook.backfill_ledger import BackfillLedger
from django_runbook.backfills.part import new_owner
from django_runbook.conf import backfill_queue
from django_runbook.exceptions import RunbookError
from django_runbook.interrupts import held_signals

DEATHS = 3
"""So often each worker may die, on average, without a batch being done meanwhile."""
TAIL = 4000
"""Characters of a dead worker's output that a message has."""
TAKE_PART = "django_runbook.take_part"
"""Name of the Celery task."""
CALL_EVERY = 1.0
"""Seconds between two calls for Celery's workers, if some are missing."""
EXPIRES = 30.0
"""Seconds after which nobody need answer such a call any more."""
BROKER_WITHIN = 3.0
"""Seconds in which a broker answers."""
PATIENCE = 10.0
"""Seconds without a worker, after which it is said."""
LEAVE_EVERY = 0.2


class Crew(ABC):
    """Workers of one backfill."""

    @abstractmethod
    def keep_at_work(self) -> str:
        """Call for whoever is missing. Return why nobody works, or "". Raise RunbookError."""

    @abstractmethod
    def dismiss(self) -> None:
        """Come back when none works any more; each finishes its batch."""


@dataclass(slots=True, kw_only=True)
class LocalWorker:
    """A child process; closing its standard input asks it to leave."""

    owner: str
    process: subprocess.Popen[bytes]
    output: IO[bytes]

    @classmethod
    def start(cls, ledger: BackfillLedger) -> LocalWorker:
        """In a session of its own, so that Ctrl-C in the terminal does not reach it."""
        owner, output = new_owner(), tempfile.TemporaryFile()  # noqa: SIM115 - closed by clear_away
        told = [ledger.database.alias, ledger.row.run_id, str(ledger.row.pk), owner]
        process = subprocess.Popen(
            [sys.executable, "-m", "django_runbook.backfills.child", *told],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,
        )
        return cls(owner=owner, process=process, output=output)

    def words(self) -> str:
        """The end of what it has said."""
        self.output.seek(0)
        return self.output.read().decode(errors="replace")[-TAIL:].strip()

    def ask_to_leave(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()

    def clear_away(self) -> None:
        """Wait for its end; a second Ctrl-C kills it."""
        try:
            self.process.wait()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.output.close()


@dataclass(slots=True, kw_only=True)
class LocalCrew(Crew):
    """Processes on this machine. One that dies is replaced, and what it had claimed is given back."""

    ledger: BackfillLedger
    count: int
    _workers: list[LocalWorker] = field(init=False, default_factory=list)
    _deaths: int = field(init=False, default=0)
    """Since a batch was done."""
    _batches: int = field(init=False, default=0)

    def keep_at_work(self) -> str:
        for worker in [it for it in self._workers if it.process.poll() is not None]:
            self._workers.remove(worker)
            self._bury(worker)
        while len(self._workers) < self.count:
            with held_signals():
                self._workers.append(LocalWorker.start(self.ledger))
        return ""

    def _bury(self, dead: LocalWorker) -> None:
        with suppress(AnyDatabaseError):  # its session may still hold the row; then its lease gives it back
            self.ledger.release(dead.owner)
        words, code = dead.words(), dead.process.returncode
        dead.ask_to_leave()
        dead.clear_away()
        if code == 0:  # it was not wanted any more
            return
        batches = self.ledger.totals()["batches"]
        self._deaths = self._deaths + 1 if batches == self._batches else 1
        self._batches = batches
        if self._deaths >= DEATHS * self.count and not self.ledger.reload().failure:
            raise RunbookError(
                _("%(count)d workers died one after the other (exit code %(code)d): %(words)s")
                % {"count": self._deaths, "code": code, "words": words or "-"},
                _("Mend the cause, then resume; batches that are done stay done."),
            )

    def dismiss(self) -> None:
        for worker in self._workers:
            worker.ask_to_leave()
        try:
            for worker in self._workers:
                worker.clear_away()
        except BaseException:
            for worker in self._workers:
                worker.process.kill()
            raise


def celery_problem() -> str:
    """Why this process could not call Celery's workers, or ""."""
    if not find_spec("celery"):
        return _("Celery is not installed: `pip install django-runbook[celery]`.")
    from celery import current_app

    if current_app.main == "default":  # what Celery makes up where there is none
        return _(
            "No Celery application is loaded here: import it in the project's package, as Celery's guide "
            "for Django has it."
        )
    return ""


@dataclass(slots=True, kw_only=True)
class CeleryCrew(Crew):
    """Workers of the project's Celery application, on any machine.

    A message says no more than which backfill it is; who works, and on what, is in the ledger. So messages
    may be lost or come twice: who is missing is called for again, and who comes too late finds nothing.
    """

    ledger: BackfillLedger
    count: int
    _called: float | None = field(init=False, default=None)
    _last_seen: float = field(init=False, default_factory=time.monotonic)
    _reason: str = field(init=False, default="")

    def keep_at_work(self) -> str:
        now, present = time.monotonic(), len(self.ledger.owners())
        if present:
            self._last_seen = now
        missing = self.count - present if self.ledger.is_work_free() else 0
        if missing > 0 and (self._called is None or now - self._called >= CALL_EVERY):
            self._reason = self._call(missing)
            self._called = now
        if present:
            return ""
        return self._reason or (self._nobody() if now - self._last_seen >= PATIENCE else "")

    def _call(self, count: int) -> str:
        """Return why nobody can hear it, or "". Raise RunbookError if that is so from the beginning."""
        from celery import current_app
        from kombu.exceptions import OperationalError

        row = self.ledger.row
        try:
            with current_app.connection_for_write() as broker:
                broker.ensure_connection(max_retries=1, timeout=BROKER_WITHIN)
                for _number in range(count):
                    current_app.send_task(
                        TAKE_PART,
                        args=[self.ledger.database.alias, row.run_id, row.pk],
                        connection=broker,
                        queue=backfill_queue(),
                        expires=EXPIRES,
                        ignore_result=True,
                        retry=False,
                    )
        except OperationalError as error:
            reason = _("Celery's broker cannot be reached: %(error)s") % {"error": error}
            if self._called is None:
                raise RunbookError(
                    reason, _("Start it, or mend the broker's URL in the settings, then resume.")
                ) from error
            return reason
        return ""

    def _nobody(self) -> str:
        return _("no Celery worker takes part; `celery -A PROJECT worker` starts one%(queue)s") % {
            "queue": f" (-Q {queue})" if (queue := backfill_queue()) else ""
        }

    def dismiss(self) -> None:
        while self.ledger.at_work():
            time.sleep(LEAVE_EVERY)
