"""runbook.P115: the database takes changes."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.preflight.base import Check, Finding
from django_runbook.preflight.surroundings import told


def check_writable(database: Database) -> Iterator[Finding]:
    """A standby, a replica and a file of another user only tell at the first statement that writes."""
    yield from told("runbook.P115", database.surroundings.refusals())


CHECK = Check(
    id="runbook.P115",
    title=gettext_lazy("the database takes changes"),
    look=check_writable,
)
