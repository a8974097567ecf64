"""Tables with every kind of primary key, and backfills over them that show a row that is done twice."""

# ruff: noqa: DJ001, DJ008 -- nobody reads these objects; NULL is what a backfill fills

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from django.apps.registry import Apps
from django.db import models
from django.db.models import F, Q, QuerySet

from django_runbook.backfills.runner import BackfillRun
from django_runbook.backfills.task import Task
from django_runbook.backfills.throttle import Limits, Window
from django_runbook.backfills.worker import Pace
from django_runbook.databases import Database


class Base(models.Model):
    n = models.IntegerField(default=0)
    label = models.CharField(max_length=40, null=True)

    class Meta:
        abstract = True
        apps = Apps()
        app_label = "harvest"


class Sheaf(Base):
    id = models.BigAutoField(primary_key=True)

    class Meta(Base.Meta):
        abstract = False


class ByUuid(Base):
    id = models.UUIDField(primary_key=True)

    class Meta(Base.Meta):
        abstract = False


class ByText(Base):
    code = models.CharField(max_length=40, primary_key=True)

    class Meta(Base.Meta):
        abstract = False


class ByMoment(Base):
    at = models.DateTimeField(primary_key=True)

    class Meta(Base.Meta):
        abstract = False


class ByDecimal(Base):
    amount = models.DecimalField(max_digits=30, decimal_places=9, primary_key=True)

    class Meta(Base.Meta):
        abstract = False


class ByPair(Base):
    pk = models.CompositePrimaryKey("field", "row")
    field = models.IntegerField()
    row = models.CharField(max_length=10)

    class Meta(Base.Meta):
        abstract = False


class Store(Base):
    id = models.BigAutoField(primary_key=True)
    sheaf_id = models.BigIntegerField(unique=True)

    class Meta(Base.Meta):
        abstract = False


MODELS: dict[str, type[Any]] = {
    model.__name__: model for model in (Sheaf, ByUuid, ByText, ByMoment, ByDecimal, ByPair, Store)
}
REGISTRY: Any = SimpleNamespace(get_model=lambda label: MODELS[label.partition(".")[2]])
DRAWN = random.Random(1)
KEYS: dict[str, list[dict[str, Any]]] = {
    "Sheaf": [{"id": n} for n in (-5, 1, 2, 3, 500, 501, 10**12, 2**63 - 1)],
    "ByUuid": [{"id": uuid.UUID(int=DRAWN.getrandbits(128), version=4)} for _ in range(11)],
    "ByText": [
        {"code": code}
        for code in ("", "A", "b", "C c", "É", "f", "z%", "z_", "Zoë", "o'Hara", '"q"', "\\", "😀", "10", "9")
    ],
    "ByMoment": [
        {"at": datetime(2026, 1, 31, 12, tzinfo=UTC) + timedelta(microseconds=n)} for n in range(11)
    ],
    "ByDecimal": [{"amount": amount} for amount in ("-1.000000001", "-1", "0", "0.5", "12.345678901", "1e6")],
    "ByPair": [{"field": field, "row": row} for field in (1, 2, 10) for row in ("a", "B", "10", "é")],
}
NO_LIMITS = Limits(lag=5, running=10_000, waiting=10_000)


class AddOne(Task):
    """Not idempotent, so that a row that is done twice shows it."""

    model = "harvest.Sheaf"

    def batch(self, rows: QuerySet[Any]) -> int:
        return rows.update(n=F("n") + 1)


class Label(Task):
    """Fills a column, and each row that it fills counts how often."""

    model = "harvest.Sheaf"
    rows = Q(label__isnull=True)

    def batch(self, rows: QuerySet[Any]) -> int:
        return rows.update(label="done", n=F("n") + 1)


def create_tables(database: Database, *models: type[Any]) -> None:
    with database.connection.schema_editor() as editor:
        for model in models:
            editor.create_model(model)


def fill(database: Database, count: int) -> None:
    """Sheaves with the ids from 1."""
    rows(database).bulk_create([Sheaf() for _ in range(count)], batch_size=1000)


def rows(database: Database, model: type[Any] = Sheaf) -> QuerySet[Any]:
    return model._base_manager.using(database.alias)


def counts(database: Database, model: type[Any] = Sheaf) -> list[int]:
    """How often each row was done, in the order of the keys."""
    return list(rows(database, model).order_by("pk").values_list("n", flat=True))


def make_run(
    database: Database,
    task: type[Task] = AddOne,
    *,
    pace: Pace | None = None,
    limits: Limits = NO_LIMITS,
    window: Window | None = None,
    progress: Callable[..., None] = lambda **facts: None,
    safe_point: Callable[[], None] = lambda: None,
) -> BackfillRun:
    return BackfillRun(
        task=task(),
        database=database,
        apps=REGISTRY,
        run_id="r",
        step_key="1-backfill",
        pace=pace or Pace(target=None, size=3),
        limits=limits,
        window=window,
        progress=progress,
        safe_point=safe_point,
    )
