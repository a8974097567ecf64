"""runbook.P123: the database itself is in order."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.preflight.base import Check, Finding
from django_runbook.preflight.surroundings import told


def check_health(database: Database) -> Iterator[Finding]:
    """What would make it stop, or answer wrong, whatever the plan is."""
    yield from told("runbook.P123", database.surroundings.health())


CHECK = Check(
    id="runbook.P123",
    title=gettext_lazy("the database itself is in order"),
    look=check_health,
)
