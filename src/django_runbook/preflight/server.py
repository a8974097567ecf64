"""runbook.P107: the server is new enough for the promise about a killed statement."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.steps import Migrate


def check_server(plan: Plan, database: Database) -> Iterator[Finding]:
    """On an older one a crash may leave a DDL statement half done, and no resume could tell."""
    if not any(isinstance(it.step, Migrate) and it.step.keys(it.place) for it in plan.steps):
        return
    server = database.server()
    needed = database.needed_for_atomic_ddl(server)
    if needed:
        yield Finding(
            id="runbook.P107",
            severity=Severity.ERROR,
            message=_(
                "The plan applies migrations, and database '%(alias)s' is served by %(server)s, where a "
                "crash may leave a single DDL statement half done; that is so before %(needed)s."
            )
            % {"alias": database.alias, "server": server, "needed": needed},
            hint=_("Upgrade the server to %(needed)s or later. `SELECT VERSION();` shows what it is.")
            % {"needed": needed},
        )


CHECK = Check(
    id="runbook.P107",
    title=gettext_lazy("the server is new enough for the promise about a killed statement"),
    look=check_server,
)
