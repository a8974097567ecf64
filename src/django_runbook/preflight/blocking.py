"""Operations that keep others waiting while they read a large table."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.databases.ddl_costs import Work
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding
from django_runbook.preflight.slow_changes import slow_changes

ID = "runbook.P502"


def look(plan: Plan, database: Database) -> Iterator[Finding]:
    """An index that is built while rows can be written is none."""
    yield from slow_changes(plan, database, {Work.READ: ID})


CHECK = Check(id=ID, title=gettext_lazy("no operation blocks a large table while it is read"), look=look)
