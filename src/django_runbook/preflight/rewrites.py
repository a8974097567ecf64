"""Operations that write a large table anew."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.databases.ddl_costs import Work
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding
from django_runbook.preflight.slow_changes import slow_changes

ID = "runbook.P501"


def look(plan: Plan, database: Database) -> Iterator[Finding]:
    """Whether or not somebody waits for it."""
    yield from slow_changes(plan, database, {Work.REWRITE: ID})


CHECK = Check(id=ID, title=gettext_lazy("no operation writes a large table anew"), look=look)
