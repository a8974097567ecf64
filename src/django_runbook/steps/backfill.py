"""Move data, in batches, exactly once."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from django.utils.translation import gettext as _

from django_runbook.backfills.runner import BackfillRun
from django_runbook.backfills.task import Task, null_fields
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

    def __init__(self, task: type[Task] | None = None, *, batch_size: int | None = None) -> None:
        self.task = task or type(self)
        self.size = batch_size or self.task.batch_size

    @property
    def lasting(self) -> bool:
        """The ledger says whether it has moved anything."""
        return False

    def declaration(self) -> str:
        size = f", batch_size={self.size}" if self.size != self.task.batch_size else ""
        return f"Backfill({self.task.__name__}{size})"

    def fingerprint(self, place: Place) -> str:
        return sha256_of(self.declaration(), inspect.getsource(self.task))

    @property
    def columns_filled(self) -> frozenset[Column]:  # type: ignore[override]
        return self._columns({*self.task.fills, *null_fields(self.task.rows)})

    @property
    def columns_read(self) -> frozenset[Column]:  # type: ignore[override]
        return self._columns(names_in(self.task.rows)) - self.columns_filled

    def problems(self, place: Place) -> Iterator[Problem]:
        if self.task.batch is Task.batch or not getattr(self.task, "model", ""):
            yield Problem(
                message=_(
                    "%(task)s does not say what to do yet: give it a `model` and a method `batch(rows)`."
                )
                % {"task": self.task.__name__}
            )
            return
        if not place.backed_up:
            yield Problem(
                message=_("It changes the database before any Backup(), so there would be no way back."),
                missing=Backup(),
            )
        yield from names_problems(place, self.task.model, self.task.rows, self.task.fills)

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
        return BackfillRun(
            task=self.task(),
            database=context.database,
            apps=context.place.apps,
            run_id=context.run_id,
            step_key=context.step_key,
            batch_size=self.size,
            progress=context.progress,
            safe_point=context.safe_point,
        ).execute()

    def _columns(self, names: set[str]) -> frozenset[Column]:
        return frozenset((self.task.model.lower(), name) for name in names)
