"""runbook.P111: the client programs fit the server."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding
from django_runbook.preflight.surroundings import told
from django_runbook.steps import Backup


def check_client_versions(plan: Plan, database: Database) -> Iterator[Finding]:
    """One that is older or of another product makes no backup, or one with holes."""
    if any(isinstance(planned.step, Backup) for planned in plan.steps):
        yield from told("runbook.P111", database.surroundings.programs())


CHECK = Check(
    id="runbook.P111",
    title=gettext_lazy("the client programs fit the server"),
    look=check_client_versions,
)
