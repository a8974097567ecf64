"""runbook.P112: the user of the database has every right that the plan needs."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding
from django_runbook.preflight.needs import needs_of
from django_runbook.preflight.surroundings import told


def check_rights(plan: Plan, database: Database) -> Iterator[Finding]:
    """One that is missing shows half way, or only when the backup is restored."""
    needs = needs_of(plan, database)
    yield from told("runbook.P112", database.surroundings.rights(needs))


CHECK = Check(
    id="runbook.P112",
    title=gettext_lazy("the user of the database has every right that the plan needs"),
    look=check_rights,
)
