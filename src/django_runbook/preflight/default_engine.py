"""runbook.P109: new tables get an engine that takes part in transactions."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.preflight.base import Check, Finding, Severity


def check_default_engine(database: Database) -> Iterator[Finding]:
    """Every run creates tables: the ledger's, if nothing else."""
    engine = database.unsafe_default_engine()
    if engine:
        yield Finding(
            id="runbook.P109",
            severity=Severity.ERROR,
            message=_(
                "CREATE TABLE on database '%(alias)s' makes tables with the engine %(engine)s, which takes "
                "no part in transactions."
            )
            % {"alias": database.alias, "engine": engine},
            hint=_(
                "Run `SET GLOBAL default_storage_engine = InnoDB;`, and put it into the server's "
                "configuration. If that is not it: look for another in the `init_command` of "
                "DATABASES['%(alias)s'], and for the server's enforce_storage_engine."
            )
            % {"alias": database.alias},
        )


CHECK = Check(
    id="runbook.P109",
    title=gettext_lazy("new tables get an engine that takes part in transactions"),
    look=check_default_engine,
)
