"""Rows that a backfill has set aside, tried again once they were mended."""

from __future__ import annotations

from collections.abc import Callable

from django_runbook.backfill_ledger import BackfillLedger
from django_runbook.databases import Database
from django_runbook.journal import RunState
from django_runbook.planning import load_place, plan_of_run
from django_runbook.steps import Backfill


def retry_quarantined(state: RunState, database: Database, safe_point: Callable[[], None]) -> None:
    """Do the rows again that the run's backfills have set aside; those that fail again stay set aside.

    By the task as it reads now, with models as the database has them now. Raise LockHeld while a run works
    on the database, Refused if the runbook is not there any more.
    """
    with database.lock():
        apps = load_place(database).apps
        for planned in plan_of_run(state, database).steps:
            if BackfillLedger.find(database, state.run_id, planned.key) is None:
                continue
            if isinstance(planned.step, Backfill):
                planned.step.begin(
                    database, apps, run_id=state.run_id, step_key=planned.key, safe_point=safe_point
                ).retry_quarantined()
