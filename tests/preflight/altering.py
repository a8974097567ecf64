"""A table of today, an operation that comes, and the two verdicts on it: the check's and the server's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import Error as AnyDatabaseError
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from library import APP, runbook, start
from looking import ENOUGH

from django_runbook.databases import Database
from django_runbook.plan import Plan, make_plan
from django_runbook.preflight import OPERATION_CHECKS, Check, Finding
from django_runbook.preflight.coming import coming
from django_runbook.steps import Backup, Migrate, Step

TABLE = "library_author"
History = Sequence[tuple[str, Sequence[Operation]]]


def table_of(*operations: Operation, **fields: models.Field) -> History:
    """Authors with these fields, and what else is made before today."""
    made = migrations.CreateModel("Author", [("id", models.BigAutoField(primary_key=True)), *fields.items()])
    return [("0001_initial", [made, *operations])]


def build(database: Database, today: History) -> ProjectState:
    """Make today's tables with Django's own schema editor."""
    return perform(database, today, ProjectState())


def perform(database: Database, history: History, state: ProjectState) -> ProjectState:
    for name, operations in history:
        migration = type("Migration", (migrations.Migration,), {"operations": list(operations)})(name, APP)
        with database.connection.schema_editor(atomic=database.rolls_back_ddl) as editor:
            state = migration.apply(state, editor)
    return state


def fill(database: Database, column: str, *values: Any, table: str = TABLE) -> None:
    database.ask_nothing(f"DELETE FROM {database.quote(table)}")
    for number, value in enumerate(values, start=1):
        database.ask_nothing(
            f"INSERT INTO {database.quote(table)} (id, {database.quote(column)}) VALUES (%s, %s)",
            [number, value],
        )


def plan_of(today: History, *operations: Operation, steps: tuple[Step, ...] = (Migrate.all(),)) -> Plan:
    return make_plan(
        runbook(Backup(), *steps),
        start(*today, ("0002_coming", operations), applied=[name for name, _operations in today]),
    )


def found(check: Check, plan: Plan, database: Database) -> list[Finding]:
    assert check in OPERATION_CHECKS
    with database.reading(ENOUGH):
        return [it for each in coming(plan, database.alias) for it in check.look(each, database)]


def fails(database: Database, operation: Operation, state: ProjectState) -> bool:
    """Does it, when Django runs it?"""
    try:
        perform(database, [("0002_coming", [operation])], state.clone())
    except AnyDatabaseError:
        return True
    return False
