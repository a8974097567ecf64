"""What a test asks of the check before step one."""

from __future__ import annotations

from datetime import timedelta

from django_runbook.databases import Database
from django_runbook.plan import Plan
from django_runbook.preflight import CHECKS, Examination, Finding, examine

ENOUGH = timedelta(minutes=5)


def situation(database: Database) -> tuple[Finding, ...]:
    """What is found with nothing pending."""
    return looked_at(None, database).findings


def looked_at(plan: Plan | None, database: Database, limit: timedelta = ENOUGH) -> Examination:
    """All that is found of a plan."""
    return examine(database, lambda: plan, limit)


def found_by(id: str, database: Database, plan: Plan | None = None) -> list[Finding]:
    """What one check finds, of the database or of a plan on it, in a session that only reads."""
    subjects = [plan] if plan else []
    with database.reading(ENOUGH):
        return list(CHECKS[id].look(*subjects, database))
