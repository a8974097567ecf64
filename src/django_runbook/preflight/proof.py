"""runbook.P124: the backup can be proven by a restore."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.backups import terms_for
from django_runbook.conf import backup_level, backup_recipients
from django_runbook.databases import Database
from django_runbook.databases.scratch import refused_scratch_of
from django_runbook.exceptions import Refused
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.runbooks import OnFailure
from django_runbook.steps import Backup


def check_proof(plan: Plan, database: Database) -> Iterator[Finding]:
    """A backup that nobody has restored is a hope. Who has chosen that it is enough is not told again."""
    if not any(isinstance(planned.step, Backup) for planned in plan.steps):
        return
    try:
        terms_for(database)
    except Refused as error:
        yield Finding(id="runbook.P124", severity=Severity.ERROR, message=error.message, hint=error.hint)
        return
    if plan.on_failure is OnFailure.RESTORE and backup_recipients():
        yield Finding(
            id="runbook.P124",
            severity=Severity.ERROR,
            message=_(
                'The runbook says on_failure = "restore", and its backup will be encrypted: '
                "this machine cannot open it."
            ),
            hint=_('Say on_failure = "stop", or leave out RUNBOOK["BACKUP"]["RECIPIENTS"].'),
        )
    against = refused_scratch_of(database)
    if against and not backup_level():
        yield Finding(
            id="runbook.P124",
            severity=Severity.WARNING,
            message=_("The backup will be checksummed only, and not proven by a restore: %(why)s")
            % {"why": against},
            hint=_('Allow it; or set RUNBOOK["BACKUP"]["LEVEL"] to "checksummed", if that is enough.'),
        )


CHECK = Check(
    id="runbook.P124",
    title=gettext_lazy("the backup can be taken, proven and used as the settings say"),
    look=check_proof,
)
