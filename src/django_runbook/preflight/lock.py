"""runbook.P104: nobody else runs a runbook on this database."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.preflight.base import Check, Finding, Severity


def check_lock(database: Database) -> Iterator[Finding]:
    """Two runs at once would each see the other's half-done work."""
    holder = database.lock_holder()
    if holder:
        yield Finding(
            id="runbook.P104",
            severity=Severity.ERROR,
            message=_("Another run works on database '%(alias)s': %(holder)s holds the lock.")
            % {"alias": database.alias, "holder": holder},
            hint=_("Watch it with `manage.py runbook status`, and wait until it ends."),
        )


CHECK = Check(
    id="runbook.P104",
    title=gettext_lazy("nobody else runs a runbook on this database"),
    look=check_lock,
    suppressible=False,
)
