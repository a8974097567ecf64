"""runbook.P103: there is room for the backup."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext_lazy

from django_runbook.backups import refuse_too_little_space
from django_runbook.conf import backup_directory
from django_runbook.databases import Database
from django_runbook.exceptions import Refused
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.steps import Backup


def check_backup_space(plan: Plan, database: Database) -> Iterator[Finding]:
    """A disk that fills up during the night would end the run at its first step, or a service's log."""
    if not any(isinstance(planned.step, Backup) for planned in plan.steps):
        return
    try:
        refuse_too_little_space(database, backup_directory())
    except Refused as error:
        yield Finding(id="runbook.P103", severity=Severity.ERROR, message=error.message, hint=error.hint)


CHECK = Check(
    id="runbook.P103",
    title=gettext_lazy("there is room for the backup"),
    look=check_backup_space,
)
