"""Refuse to go on with a migration that was cut off where going on may end in another result."""

from __future__ import annotations

from django.db.migrations.migration import Migration
from django.utils.translation import gettext as _

from django_runbook.databases import Database
from django_runbook.exceptions import Refused
from django_runbook.ledger import Ledger, LedgerOperation, StatementStatus
from django_runbook.schema.crashes import CrashMeaning, judge_crash
from django_runbook.schema.stepwise import RECORDED


def refuse_unsafe_resume(
    migration: Migration, database: Database, run_id: str, *, in_pieces: bool = False
) -> None:
    """Raise Refused if this run has begun the operation because of which no resume is sure.

    The migration must not be recorded as applied. `in_pieces` as `judge_crash` has it.
    """
    judged = judge_crash(
        migration,
        rolls_back_ddl=database.rolls_back_ddl,
        atomic_ddl=database.needed_for_atomic_ddl(database.server()) is None,
        in_pieces=in_pieces,
    )
    if judged.meaning is not CrashMeaning.NOT_RESUMABLE:
        return
    ledger = Ledger(database.connection)
    known = ledger.operations(run_id, migration.app_label, migration.name)
    if RECORDED in known:  # applied whole, and unapplied since
        return
    if any(number >= judged.number and _has_begun(it, ledger) for number, it in known.items()):
        raise Refused(
            _(
                "Migration %(migration)s was cut off after a part of it had been applied, and going on could "
                "end in another result: %(operation)s"
            )
            % {"migration": migration, "operation": judged.operation or database.server()},
            _(
                "Restore the run's backup with `manage.py runbook restore`. If you finish the migration by "
                "hand instead, record it with `manage.py migrate --fake %(app)s %(name)s`, then run "
                "`manage.py runbook resume`."
            )
            % {"app": migration.app_label, "name": migration.name},
        )


def _has_begun(operation: LedgerOperation, ledger: Ledger) -> bool:
    statements = ledger.statements(operation)
    return operation.done or any(it.status != StatementStatus.PLANNED for it in statements)
