"""runbook.P116: no replication is behind, or would be hurt."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding
from django_runbook.preflight.surroundings import told
from django_runbook.preflight.touched import touched_here


def check_replication(plan: Plan, database: Database) -> Iterator[Finding]:
    """What the plan does to tables is done again elsewhere, or should be."""
    tables = touched_here(plan, database)
    yield from told("runbook.P116", database.surroundings.replication(tables))


CHECK = Check(
    id="runbook.P116",
    title=gettext_lazy("no replication is behind, or would be hurt"),
    look=check_replication,
)
