"""runbook.P120: no setting of the session or the server breaks a promise."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.preflight.base import Check, Finding
from django_runbook.preflight.surroundings import told


def check_settings(database: Database) -> Iterator[Finding]:
    """Rows that are cut off, foreign keys that are not checked, and commits that a power cut takes back."""
    yield from told("runbook.P120", database.surroundings.settings())


CHECK = Check(
    id="runbook.P120",
    title=gettext_lazy("no setting of the session or the server breaks a promise"),
    look=check_settings,
)
