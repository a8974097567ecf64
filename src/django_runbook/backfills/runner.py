"""Conduct a backfill from its first row to its last, so that it can be killed anywhere and gone on with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.apps.registry import Apps
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_runbook.backfill_ledger import BackfillLedger, Control
from django_runbook.backfills.conductor import Conductor
from django_runbook.backfills.crews import Crew
from django_runbook.backfills.keys import Keys
from django_runbook.backfills.task import Task, marks_done
from django_runbook.backfills.throttle import Limits, Throttle, Window
from django_runbook.backfills.worker import LISTED, Pace, TooManyPoisonRows, Worker
from django_runbook.conf import lock_timeout
from django_runbook.databases import Database
from django_runbook.exceptions import RunbookError

ROUNDS = 10
"""So often the row set is closed anew for rows that came meanwhile: a table may grow faster than we work."""
COUNTED = 10_000
"""Rows up to which a table is counted, for the progress; of a larger one its server has an estimate."""
NAMED = 5
"""Rows set aside that an error names."""
HERE = "run"
"""Owner of the ranges that the process of the run works on."""
FOR_EVER = timedelta(days=3650)
"""Lease of a range that no one else may take: who holds the run's lock alone may."""


@dataclass(slots=True, kw_only=True)
class BackfillRun:
    """One backfill of one run: each row at most once, however often it is started again."""

    task: Task
    database: Database
    apps: Apps
    """Historical models that match the database."""
    run_id: str
    step_key: str
    pace: Pace
    limits: Limits
    window: Window | None = None
    crew: Crew | None = None
    """Who works on the rows, if it is not this process."""
    progress: Callable[..., None]
    safe_point: Callable[[], None]
    ledger: BackfillLedger = field(init=False)
    keys: Keys = field(init=False)
    _halted: str = field(init=False, default="")
    _began: float = field(init=False, default_factory=time.monotonic)
    _seen: int = field(init=False, default=0)
    """Keys seen before the present range."""
    _seen_before: int = field(init=False, default=0)
    """Keys seen before this process began."""

    def __post_init__(self) -> None:
        self.ledger = BackfillLedger.begin(self.database, self.run_id, self.step_key)
        model = self.apps.get_model(self.task.model)
        self.keys = Keys(model._base_manager.using(self.database.alias))

    def execute(self) -> dict[str, int]:
        """Go on from the cursors until no row is left behind them.

        Return what was done in all: rows, batches, and of rows that are not done how many and why. Raise
        RunbookError if more rows were set aside than are tolerated.
        """
        self.ledger.write(control=Control.GO_ON, halted="", failure="")
        self.ledger.release()
        if not self.ledger.row.prepared:
            self._once(self.task.prepare, prepared=True)
        if not self.ledger.row.done:
            with self.database.row_lock_timeout(lock_timeout()):
                self._work()
            self._once(self.task.finish, done=True)
        return self._facts()

    def retry_quarantined(self) -> None:
        """Do the rows again that were set aside."""
        worker = self._worker()
        for aside in list(self.ledger.quarantine):
            self.safe_point()
            worker.retry(self.keys.from_text(aside.key))

    def _work(self) -> None:
        self.retry_quarantined()
        if self.ledger.row.round == 0:
            self._close_row_set(None)
        self._seen = self._seen_before = self.ledger.totals()["seen"]
        try:
            with self._hands() as work_on_round:
                work_on_round()
                while (after := self._next_round()) is not None:
                    self._close_row_set(after.behind)
                    work_on_round()
        except TooManyPoisonRows as error:
            raise self._poisoned() from error
        if self.ledger.quarantine.count() > self.pace.tolerate:
            raise self._poisoned()

    @contextmanager
    def _hands(self) -> Iterator[Callable[[], None]]:
        """What works on a round until it is done: this process, or the crew."""
        if self.crew is None:
            yield self._worker().work_on_round
            return
        conductor = Conductor(
            ledger=self.ledger,
            crew=self.crew,
            most_set_aside=self.pace.tolerate + LISTED,
            safe_point=self.safe_point,
            tell=self._tell_of_all,
        )
        with conductor:
            yield conductor.work_on_round

    def _close_row_set(self, behind: Any) -> None:
        """Rows that are there now, behind a key, are the next round's; what comes later is not."""
        last = self.keys.last()
        frontier = self.keys.to_text(behind) if behind is not None else None
        upto = self.keys.to_text(last) if last is not None else None
        self.ledger.write(
            round=self.ledger.row.round + 1, frontier=frontier, upto=upto, expected=self._expected()
        )

    def _next_round(self) -> _Round | None:
        """Where rows begin that came meanwhile and are still to be done, if there are any.

        Rows that stay what the task looks for when they are done cannot be told from those still to be done.
        """
        row = self.ledger.row
        if not marks_done(self.task.rows) or row.round >= ROUNDS or not self._round_changed_something():
            return None
        first = self.keys.first(self._still_to_do())
        return None if first is None else _Round(self.keys.before(first))

    def _round_changed_something(self) -> bool:
        latest = self.ledger.ranges.order_by("-id").first()
        return latest is not None and latest.rows > 0

    def _still_to_do(self) -> Q:
        aside = [self.keys.from_text(row.key) for row in self.ledger.quarantine]
        return self.task.rows & ~Q(pk__in=aside) if aside else self.task.rows

    def _expected(self) -> int:
        """About how many rows there are."""
        counted = self.keys.rows.order_by("pk").values("pk")[: COUNTED + 1].count()
        table = self.keys.rows.model._meta.db_table
        if counted <= COUNTED:
            return counted
        return max(self.database.estimated_rows(table) or self.keys.span(), counted)

    def _worker(self) -> Worker:
        throttle = Throttle(
            self.database,
            self.limits,
            window=self.window,
            read_control=self.ledger.reload,
            halted=self._say_halted,
            safe_point=self.safe_point,
        )
        return Worker(
            task=self.task,
            database=self.database,
            keys=self.keys,
            ledger=self.ledger,
            throttle=throttle,
            pace=self.pace,
            owner=HERE,
            progress=self._report,
            lease=FOR_EVER,
        )

    def _once(self, hook: Callable[[Apps], None], **written: bool) -> None:
        """Call a hook in one transaction with the row that says so, which on SQLite begins it as a writer."""
        with self.ledger.transaction():
            self.ledger.write(**written)
            hook(self.apps)

    def _say_halted(self, reason: str) -> None:
        if reason != self._halted:
            self._halted = reason
            self.ledger.write(halted=reason)
        if reason:
            self._tell(halted=reason)

    def _report(self, *, batch_size: int, seconds: float) -> None:
        self._seen += batch_size
        self._tell(batch_size=batch_size)

    def _tell_of_all(self, **facts: Any) -> None:
        self._seen = self.ledger.totals()["seen"]
        self._tell(**facts)

    def _tell(self, **facts: Any) -> None:
        expected = max(self.ledger.row.expected, self._seen)
        rate = (self._seen - self._seen_before) / max(time.monotonic() - self._began, 0.001)
        eta = {"eta": round((expected - self._seen) / rate)} if rate else {}
        self.progress(rows=self._seen, of=expected, rate=round(rate), **eta, **facts)

    def _facts(self) -> dict[str, int]:
        totals = self.ledger.totals()
        facts = {"rows": totals["rows"], "batches": totals["batches"]}
        further = {
            "rounds": self.ledger.row.round if self.ledger.row.round > 1 else 0,
            "quarantined": self.ledger.quarantine.count(),
            "left": self._left(),
        }
        return facts | {name: value for name, value in further.items() if value}

    def _left(self) -> int:
        """Rows that came too late: still to be done, or behind the last key of the closed row set."""
        if self.ledger.row.upto is None:
            return 0
        if marks_done(self.task.rows):
            return self.keys.rows.filter(self._still_to_do()).count()
        return self.keys.rows.filter(self.task.rows, pk__gt=self.keys.from_text(self.ledger.row.upto)).count()

    def _poisoned(self) -> RunbookError:
        rows = list(self.ledger.quarantine[: NAMED + 1])
        lines = [f"- {self.keys.from_text(row.key)}: {row.error}" for row in rows[:NAMED]]
        if len(rows) > NAMED:
            lines.append("- …")
        count = self.ledger.quarantine.count()
        gave_up = count > self.pace.tolerate + LISTED
        text = ngettext(
            "%(count)d row of %(model)s could not be done and was set aside:\n%(rows)s",
            "%(count)d rows of %(model)s could not be done and were set aside:\n%(rows)s",
            count,
        )
        words = {"count": count, "model": self.task.model, "rows": "\n".join(lines)}
        return RunbookError(
            text % words,
            _("The backfill gave up at so many; finished batches are not done again.")
            if gave_up
            else _("All others are done. Mend these, or allow them with Backfill(…, tolerate=%(count)d).")
            % {"count": count},
        )


@dataclass(frozen=True, slots=True)
class _Round:
    behind: Any
    """A key, or None for the beginning."""
