"""runbook.P114: nobody holds locks for long on the tables that the plan changes."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding
from django_runbook.preflight.surroundings import told
from django_runbook.preflight.touched import touched_here


def check_transactions(plan: Plan, database: Database) -> Iterator[Finding]:
    """A change of a table waits for every transaction that has only read it, and gives up in the end."""
    tables = touched_here(plan, database)
    yield from told("runbook.P114", database.surroundings.transactions(tables))


CHECK = Check(
    id="runbook.P114",
    title=gettext_lazy("nobody holds locks for long on the tables that the plan changes"),
    look=check_transactions,
)
