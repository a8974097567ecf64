"""runbook.P125: no restore of this database was cut off."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext_lazy

from django_runbook.backups import refuse_cut_off_restore
from django_runbook.databases import Database
from django_runbook.exceptions import Refused
from django_runbook.preflight.base import Check, Finding, Severity


def check_cut_off_restores(database: Database) -> Iterator[Finding]:
    """Where a restore is not all or nothing, one that was killed leaves some of the tables."""
    try:
        refuse_cut_off_restore(database)
    except Refused as error:
        yield Finding(id="runbook.P125", severity=Severity.ERROR, message=error.message, hint=error.hint)


CHECK = Check(
    id="runbook.P125",
    title=gettext_lazy("no restore of this database was cut off"),
    look=check_cut_off_restores,
    bars_plan=True,
    suppressible=False,
)
