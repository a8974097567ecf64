"""runbook.P110: no pooler shares the session between two transactions."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.exceptions import Refused
from django_runbook.preflight.base import Check, Finding, Severity


def check_pooling(database: Database) -> Iterator[Finding]:
    """The lock, timeouts and the look after a killed client all rely on a session that stays the same."""
    try:
        database.refuse_pooling()
    except Refused as error:
        yield Finding(id="runbook.P110", severity=Severity.ERROR, message=error.message, hint=error.hint)


CHECK = Check(
    id="runbook.P110",
    title=gettext_lazy("no pooler shares the session between two transactions"),
    look=check_pooling,
    suppressible=False,
)
