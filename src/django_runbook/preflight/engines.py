"""runbook.P108: the tables that the plan changes have an engine that takes part in transactions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django.db.migrations.recorder import MigrationRecorder
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.backfill_ledger import TABLE_PREFIX
from django_runbook.databases import Database
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.touched import step_touches
from django_runbook.schema.touching import Table, tables

ALWAYS_WRITTEN = (MigrationRecorder.Migration._meta.db_table, "django_content_type", "auth_permission")
"""The last two by the receivers of `post_migrate`."""


def check_engines(plan: Plan, database: Database) -> Iterator[Finding]:
    """What is written to other tables is neither rolled back nor done exactly once.

    A table counts as changed by the plan if an operation of a migration may touch it (see
    `schema.touching`), if a backfill works on its model or names it in its source, and if every run writes to
    it, as to Django's record of migrations and to the ledger.
    """
    unsafe = database.unsafe_tables()
    if not unsafe:
        return
    found = tables(plan.steps[0].place.apps, unsafe)
    touched = {table.name for table in found if _is_touched(table, plan)}
    yield from _changed({name: unsafe[name] for name in sorted(touched)}, database)
    yield from _untouched({name: unsafe[name] for name in sorted(set(unsafe) - touched)}, database)


def _is_touched(table: Table, plan: Plan) -> bool:
    if table.name in ALWAYS_WRITTEN or table.name.startswith(TABLE_PREFIX):
        return True
    return any(step_touches(planned, table) for planned in plan.steps)


def _changed(found: Mapping[str, str], database: Database) -> Iterator[Finding]:
    if found:
        yield Finding(
            id="runbook.P108",
            severity=Severity.ERROR,
            message=_(
                "The plan changes tables of database '%(alias)s' whose engine takes no part in transactions, "
                "so that a crash may leave a change half done, or done twice: %(tables)s."
            )
            % {"alias": database.alias, "tables": _named(found)},
            hint="\n".join(database.make_table_safe(name) for name in found),
        )


def _untouched(found: Mapping[str, str], database: Database) -> Iterator[Finding]:
    if found:
        yield Finding(
            id="runbook.P108",
            severity=Severity.WARNING,
            message=_(
                "Tables of database '%(alias)s' have an engine that takes no part in transactions: "
                "%(tables)s. The plan does not touch them, but what is written to them during a backup is in "
                "it or not, as it happens."
            )
            % {"alias": database.alias, "tables": _named(found)},
            hint="\n".join(database.make_table_safe(name) for name in found),
        )


def _named(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({engine})" for name, engine in found.items())


CHECK = Check(
    id="runbook.P108",
    title=gettext_lazy("the tables that the plan changes have an engine that takes part in transactions"),
    look=check_engines,
)
