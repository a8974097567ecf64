"""runbook.P102: the client programs of backup and restore are installed."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.steps import Backup


def check_programs(plan: Plan, database: Database) -> Iterator[Finding]:
    """Without them there is no backup, and so no way back."""
    if not any(isinstance(planned.step, Backup) for planned in plan.steps):
        return
    missing = database.missing_programs()
    if missing:
        yield Finding(
            id="runbook.P102",
            severity=Severity.ERROR,
            message=_("Client programs of %(server)s are not on PATH: %(programs)s.")
            % {"server": database.server(), "programs": ", ".join(missing)},
            hint=_("Install the server's client package, or put the programs on PATH."),
        )


CHECK = Check(
    id="runbook.P102",
    title=gettext_lazy("the client programs of backup and restore are installed"),
    look=check_programs,
)
