"""runbook.P121: no time limit ends long work in its middle."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding
from django_runbook.preflight.surroundings import told
from django_runbook.steps import Backup, Command, Restart

IDLE = (Backup, Command, Restart)
"""Steps in which the session that holds the lock has nothing to do."""


def check_limits(plan: Plan, database: Database) -> Iterator[Finding]:
    """A limit that suits a web page ends each ALTER TABLE, and a session that waits for a dump."""
    idles = any(isinstance(planned.step, IDLE) for planned in plan.steps)
    yield from told("runbook.P121", database.surroundings.limits(idles=idles))


CHECK = Check(
    id="runbook.P121",
    title=gettext_lazy("no time limit ends long work in its middle"),
    look=check_limits,
)
