"""runbook.P105: no earlier run on this database is unfinished."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.exceptions import JournalDamaged
from django_runbook.journal import RUN_WORDS
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.runs import unfinished_run


def check_unfinished(database: Database) -> Iterator[Finding]:
    """What an unfinished run left half-done decides what is safe to do next."""
    try:
        state = unfinished_run(database)
    except JournalDamaged as error:
        yield Finding(id="runbook.P105", severity=Severity.ERROR, message=error.message, hint=error.hint)
        return
    if state:
        yield Finding(
            id="runbook.P105",
            severity=Severity.ERROR,
            message=_("Run %(run)s on this database is not finished: %(status)s.")
            % {"run": state.run_id, "status": RUN_WORDS[state.status]},
            hint=_("Go on with `manage.py runbook resume`; `manage.py runbook status` shows all ways."),
        )


CHECK = Check(
    id="runbook.P105",
    title=gettext_lazy("no earlier run on this database is unfinished"),
    look=check_unfinished,
    bars_plan=True,
    suppressible=False,
)
