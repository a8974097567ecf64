"""Which tables a plan touches. Where in doubt, it does."""

from __future__ import annotations

from collections.abc import Collection

from django_runbook.databases import Database
from django_runbook.plan import Plan, PlannedStep
from django_runbook.schema.nature import flat
from django_runbook.schema.touching import Table, source_beside, tables
from django_runbook.steps import Backfill, Migrate


def touched_here(plan: Plan, database: Database) -> list[str]:
    """Names of tables that are there and that a migration or backfill of the plan may change or refer to."""
    return sorted(touched_tables(plan, database.connection.introspection.table_names()))


def touched_tables(plan: Plan, names: Collection[str]) -> frozenset[str]:
    """Those of the tables called `names` that a migration or backfill of the plan may change or refer to."""
    if not names:
        return frozenset()
    found = tables(plan.steps[0].place.apps, names)
    return frozenset(it.name for it in found if any(step_touches(step, it) for step in plan.steps))


def step_touches(planned: PlannedStep, table: Table) -> bool:
    """May an operation of a migration touch the table (see `schema.touching`), or is it a backfill's, which
    works on its model or names it in its source?
    """
    step, history = planned.step, planned.place.history
    if isinstance(step, Migrate):
        return any(
            table.is_touched_by(operation, key[0])
            for key in step.keys(planned.place)
            for operation in flat(history.operations(key))
        )
    if isinstance(step, Backfill):
        app_label, _dot, name = step.task.model.lower().partition(".")
        return (app_label, name) in table.models or table.is_named_in(source_beside(step.task))
    return False
