"""Run a task batch by batch: the rows of a batch and the cursor behind them commit together."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.apps.registry import Apps
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError, models, transaction
from django.utils.translation import gettext as _

from django_runbook.backfills.task import Task
from django_runbook.databases import Database
from django_runbook.exceptions import RunbookError
from django_runbook.ledger import Ledger, LedgerBackfill


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillRun:
    """One backfill of one run: each row at most once, however often it is started again."""

    task: Task
    database: Database
    apps: Apps
    """Historical models that match the database."""
    run_id: str
    step_key: str
    batch_size: int
    progress: Callable[..., None]
    safe_point: Callable[[], None]

    def execute(self) -> dict[str, int]:
        """Go on from the cursor until no row is left behind it. Return the rows and batches done in all."""
        row = self.ledger.begin_backfill(self.run_id, self.step_key)
        if not row.prepared:
            with self._atomic():
                self.task.prepare(self.apps)
                self.ledger.advance(row, prepared=True)
        total = row.rows + self._remaining(row.cursor).count()
        while keys := self._next_keys(row.cursor):
            self.safe_point()
            self._batch(row, keys)
            self.progress(rows=row.rows, of=max(total, row.rows), batches=row.batches)
        if not row.done:
            with self._atomic():
                self.task.finish(self.apps)
                self.ledger.advance(row, done=True)
        return {"rows": row.rows, "batches": row.batches}

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.database.connection)

    @property
    def _model(self) -> type[models.Model]:
        return self.apps.get_model(self.task.model)

    def _atomic(self) -> transaction.Atomic:
        return transaction.atomic(using=self.database.alias)

    def _remaining(self, cursor: str | None) -> models.QuerySet[Any]:
        rows = self._model._base_manager.using(self.database.alias).filter(self.task.rows)
        return rows if cursor is None else rows.filter(pk__gt=self._key(cursor))

    def _next_keys(self, cursor: str | None) -> list[Any]:
        keys = self._remaining(cursor).order_by("pk").values_list("pk", flat=True)
        return list(keys[: self.batch_size])

    def _batch(self, row: LedgerBackfill, keys: list[Any]) -> None:
        rows = self._remaining(row.cursor).filter(pk__lte=keys[-1])
        try:
            with self._atomic():
                self.task.batch(rows)
                self.ledger.advance(
                    row,
                    cursor=json.dumps(keys[-1], cls=DjangoJSONEncoder),
                    rows=row.rows + len(keys),
                    batches=row.batches + 1,
                )
        except DatabaseError as error:
            raise RunbookError(
                _(
                    "The batch of %(model)s with keys %(first)s to %(last)s failed and was rolled back: "
                    "%(error)s"
                )
                % {"model": self.task.model, "first": keys[0], "last": keys[-1], "error": error},
                _("Mend the rows; finished batches are not done again."),
            ) from error

    def _key(self, cursor: str) -> Any:
        value = json.loads(cursor)
        pk: Any = self._model._meta.pk
        if isinstance(value, list):
            return tuple(field.to_python(part) for field, part in zip(pk.fields, value, strict=True))
        return pk.to_python(value)
