"""Move data, in batches, exactly once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from django.apps.registry import Apps
from django.utils.translation import gettext as _

from django_runbook.backfill_ledger import BackfillLedger
from django_runbook.backfills.assignment import Assignment
from django_runbook.backfills.controller import FIRST
from django_runbook.backfills.crews import CeleryCrew, Crew, LocalCrew, celery_problem
from django_runbook.backfills.runner import BackfillRun
from django_runbook.backfills.task import BOUNDS, Task, null_fields
from django_runbook.backfills.throttle import Limits, Window, is_window
from django_runbook.backfills.worker import Pace
from django_runbook.conf import backfill_rate, backfill_target
from django_runbook.databases import Database
from django_runbook.databases.dialects import dialect_of
from django_runbook.schema.nature import names_in
from django_runbook.steps.backup import Backup
from django_runbook.steps.base import (
    Column,
    Context,
    Place,
    Problem,
    Step,
    names_problems,
    sha256_of,
)


class Backfill(Task, Step):
    """Run a task over its rows: subclass it to write the task, put `Backfill(ThatTask)` into a runbook.

    Each batch is one transaction with its cursor, so a killed backfill goes on where it was, and no row
    is done twice, even by work that is not idempotent.
    """

    repeatable = True
    changes_data = True
    interruptible = False

    def __init__(
        self,
        task: type[Task] | None = None,
        *,
        batch_size: int | None = None,
        target: float | None = None,
        max_rate: int | None = None,
        tolerate: int = 0,
        window: str = "",
        workers: int = 0,
        celery: int = 0,
    ) -> None:
        """How fast it goes may be said here, else the settings say it; an edit of that is no other step.

        `batch_size` keys in each batch, or as many as take `target` seconds; `max_rate` rows a second; within
        the hours of `window`, as in "22:00-06:00". `tolerate` rows may fail. The process of the run does the
        work, or `workers` processes beside it, or so many of the project's Celery workers as `celery` says.
        """
        self.task = task or type(self)
        self.size = batch_size or self.task.batch_size
        self.target = target
        self.max_rate = max_rate
        self.tolerate = tolerate
        self.window = window
        self.workers = workers
        self.celery = celery

    @property
    def lasting(self) -> bool:
        """The ledger says whether it has moved anything."""
        return False

    def declaration(self) -> str:
        said = {
            "batch_size": self.size if self.size != self.task.batch_size else None,
            "target": self.target,
            "max_rate": self.max_rate,
            "tolerate": self.tolerate or None,
            "window": self.window or None,
            "workers": self.workers or None,
            "celery": self.celery or None,
        }
        words = [f"{name}={value!r}" for name, value in said.items() if value is not None]
        return f"Backfill({', '.join([self.task.__name__, *words])})"

    @property
    def title(self) -> str:
        return f"Backfill({self.task.__name__})"

    def fingerprint(self, place: Place) -> str:
        return sha256_of(self.title, inspect.getsource(self.task))

    @property
    def columns_filled(self) -> frozenset[Column]:  # type: ignore[override]
        return self._columns({*self.task.fills, *null_fields(self.task.rows)})

    @property
    def columns_read(self) -> frozenset[Column]:  # type: ignore[override]
        return self._columns(names_in(self.task.rows)) - self.columns_filled

    def problems(self, place: Place) -> Iterator[Problem]:
        if not getattr(self.task, "model", "") or not (self._has_batch or self.task.sql):
            yield Problem(
                message=_(
                    "%(task)s does not say what to do yet: give it a `model` and a method `batch(rows)`."
                )
                % {"task": self.task.__name__}
            )
            return
        if self.window and not is_window(self.window):
            yield Problem(
                message=_("'%(window)s' is no time of day from and to, as in \"22:00-06:00\".")
                % {"window": self.window}
            )
        yield from self._crew_problems()
        if not place.backed_up:
            yield Problem(
                message=_("It changes the database before any Backup(), so there would be no way back."),
                missing=Backup(),
            )
        yield from names_problems(place, self.task.model, self.task.rows, self.task.fills)
        if not self._has_batch:
            yield from self._statement_problems(place)

    @property
    def _has_batch(self) -> bool:
        return self.task.batch is not Task.batch

    def _statement_problems(self, place: Place) -> Iterator[Problem]:
        dialect, sql = dialect_of(place.alias), self.task.sql
        statement = sql if isinstance(sql, str) else sql.get(dialect, "")
        if not statement:
            yield Problem(message=_('`sql` has no statement for "%(dialect)s".') % {"dialect": dialect})
        elif missing := [it for it in BOUNDS if it not in statement]:
            yield Problem(
                message=_("`sql` does not heed %(missing)s: each batch would change rows of others.")
                % {"missing": ", ".join(missing)}
            )
        model = place.model(self.task.model)
        if model and len(model._meta.pk_fields) > 1:
            yield Problem(
                message=_(
                    "`sql` has no bounds for the composite primary key of %(model)s: write `batch(rows)`."
                )
                % {"model": self.task.model}
            )

    def _crew_problems(self) -> Iterator[Problem]:
        if self.workers and self.celery:
            yield Problem(message=_("`workers` and `celery` exclude each other."))
        if self.workers < 0 or self.celery < 0:
            yield Problem(message=_("The number of workers cannot be below 0."))
        if self.celery and (problem := celery_problem()):
            yield Problem(message=problem)

    def after(self, place: Place) -> Place:
        return replace(
            place,
            filled=place.filled | self.columns_filled,
            verified=place.verified - self.columns_filled,
        )

    def reason(self, place: Place) -> str:
        columns = ", ".join(sorted(f"{model}.{field}" for model, field in self.columns_filled))
        if not columns:
            return _("moves rows of %(model)s") % {"model": self.task.model}
        return _("fills %(columns)s, there from here on") % {"columns": columns}

    def crash_meaning(self, place: Place) -> str:
        return _("goes on after the last batch")

    def run(self, context: Context) -> Mapping[str, Any]:
        run = self.begin(
            context.database,
            context.place.apps,
            run_id=context.run_id,
            step_key=context.step_key,
            progress=context.progress,
            safe_point=context.safe_point,
        )
        run.crew = self._crew(run.ledger, context.place)
        return run.execute()

    def _crew(self, ledger: BackfillLedger, place: Place) -> Crew | None:
        """Who works beside this process. A rehearsal works alone: others would not find its copy."""
        count = self.workers or self.celery
        if not count or ledger.database.is_scratch:
            return None
        assignment = Assignment.of(
            self.task, place.applied, pace=self._pace(), window=self.window, workers=count
        )
        ledger.write(assignment=assignment.to_text())
        kind = LocalCrew if self.workers else CeleryCrew
        return kind(ledger=ledger, count=count)

    def begin(
        self,
        database: Database,
        apps: Apps,
        *,
        run_id: str,
        step_key: str,
        safe_point: Callable[[], None],
        progress: Callable[..., None] = lambda **facts: None,
    ) -> BackfillRun:
        """The work itself, with models that match the database."""
        return BackfillRun(
            task=self.task(),
            database=database,
            apps=apps,
            run_id=run_id,
            step_key=step_key,
            pace=self._pace(),
            limits=Limits.from_settings(),
            window=Window.parse(self.window) if self.window else None,
            progress=progress,
            safe_point=safe_point,
        )

    def _pace(self) -> Pace:
        target = None if self.size else self.target or backfill_target()
        return Pace(
            target=target,
            size=self.size or FIRST,
            max_rate=backfill_rate() if self.max_rate is None else self.max_rate,
            tolerate=self.tolerate,
        )

    def _columns(self, names: set[str]) -> frozenset[Column]:
        return frozenset((self.task.model.lower(), name) for name in names)
