"""runbook.P122: no earlier change of schema was cut off."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.preflight.base import Check, Finding
from django_runbook.preflight.surroundings import told


def check_leftovers(database: Database) -> Iterator[Finding]:
    """What a tool that changes tables in the background leaves behind gets in the way of the next change."""
    yield from told("runbook.P122", database.surroundings.leftovers())


CHECK = Check(
    id="runbook.P122",
    title=gettext_lazy("no earlier change of schema was cut off"),
    look=check_leftovers,
)
