"""A library with rows, migrations that are to come to it, and Django as the witness of what they do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, migrations, models
from django.db.migrations.operations.base import Operation
from library import APP, runbook, start

from django_runbook.databases import Database
from django_runbook.plan import Plan, make_plan
from django_runbook.preflight import OPERATION_CHECKS, Finding
from django_runbook.preflight.coming import Coming, coming
from django_runbook.preflight.examination import examine
from django_runbook.steps import Backup, Migrate, Step

Written = tuple[str, Sequence[Operation]]


class Library:
    """Migrations that are applied to a real database, and others that a plan will apply."""

    def __init__(self, database: Database, *applied: Sequence[Operation]) -> None:
        self.database = database
        self.applied: list[Written] = [(f"{n:04}_past", it) for n, it in enumerate(applied, start=1)]
        self.coming: list[Written] = []
        self._migrate([name for name, _operations in self.applied])

    def comes(self, *migrations: Sequence[Operation]) -> Library:
        first = len(self.applied) + 1
        self.coming = [(f"{n:04}_coming", it) for n, it in enumerate(migrations, start=first)]
        return self

    @property
    def place(self) -> Any:
        names = [name for name, _operations in self.applied]
        return start(*self.applied, *self.coming, applied=names)

    def plan(self, *steps: Step) -> Plan:
        return make_plan(runbook(Backup(), *(steps or (Migrate.all(),))), self.place)

    def operations(self, *steps: Step) -> list[Coming]:
        return list(coming(self.plan(*steps), self.database.alias))

    def found(
        self,
        *steps: Step,
        ids: Sequence[str] = ("P401", "P402", "P403", "P404"),
        limit: timedelta = timedelta(minutes=1),
    ) -> list[Finding]:
        """What those checks find of a plan with these steps."""
        examination = examine(
            self.database,
            lambda: self.plan(*steps),
            limit,
            situation=(),
            for_plan=(),
            for_operations=[it for it in OPERATION_CHECKS if it.id.removeprefix("runbook.") in ids],
        )
        return list(examination.findings)

    def model(self, name: str) -> Any:
        """To read and write the rows of today with."""
        return self.place.apps.get_model(APP, name)._base_manager.using(self.database.alias)

    def fails(self) -> bool:
        """Let Django do what is to come. Does it fail?"""
        try:
            self._migrate([name for name, _operations in self.coming])
        except DatabaseError:
            self._leave_transaction()
            return True
        return False

    def _leave_transaction(self) -> None:
        """Django's schema editor stays in it if what it has deferred fails: its process ends then."""
        connection: Any = self.database.connection
        if connection.in_atomic_block:
            connection.in_atomic_block = False
            connection.atomic_blocks.clear()
            connection.rollback()
            connection.set_autocommit(True)

    def _migrate(self, names: Sequence[str]) -> None:
        place = self.place
        state = place.state.clone() if self.coming else place.history.state(()).clone()
        for name in names:
            with self.database.connection.schema_editor() as editor:
                state = place.history.migration((APP, name)).apply(state, editor)


def table(name: str, /, **fields: models.Field) -> migrations.CreateModel:
    return migrations.CreateModel(name, [("id", models.BigAutoField(primary_key=True)), *fields.items()])
