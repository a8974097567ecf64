"""runbook.P113: there is room to make the largest table anew."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.backups import mebibytes
from django_runbook.databases import Database
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.needs import needs_of


def check_rebuilds(plan: Plan, database: Database) -> Iterator[Finding]:
    """Many a change of a column makes the server write the whole table once more beside the old one."""
    needs = needs_of(plan, database)
    disk = database.surroundings.disk(needs.altered | needs.indexed)
    if disk is None:
        return
    free = shutil.disk_usage(disk.folder).free
    if free < disk.bytes:
        yield Finding(
            id="runbook.P113",
            severity=Severity.WARNING,
            message=_(
                "The plan changes %(table)s, and the server may need %(needed)s in %(folder)s to make it "
                "anew; %(free)s are free."
            )
            % {
                "table": disk.table,
                "needed": mebibytes(disk.bytes),
                "folder": disk.folder,
                "free": mebibytes(free),
            },
            hint=_("Free some space there: a server whose disk is full stops."),
            subject=disk.table,
        )


CHECK = Check(
    id="runbook.P113",
    title=gettext_lazy("there is room to make the largest table anew"),
    look=check_rebuilds,
)
