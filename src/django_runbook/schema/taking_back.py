"""Take the migrations of a run back: to the schema and the record before it, or not at all.

A migration that is one transaction goes back in one, by Django's own backwards operations. One that was
applied in pieces goes back the same way, piece by piece and the last piece first: where the ledger holds
what the tables were before a statement, they are brought back to exactly that, however often it takes; the
other operations are applied backwards. A row that goes back is marked in the ledger, so that an undo that is
cut off can be gone on with.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db import transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.migration import Migration
from django.db.migrations.recorder import MigrationRecorder
from django.utils.translation import gettext as _

from django_runbook.conf import lock_timeout
from django_runbook.databases import Database
from django_runbook.exceptions import RunbookError
from django_runbook.ledger import Ledger, LedgerOperation, LedgerStatement, StatementStatus
from django_runbook.schema.collect import Unit
from django_runbook.schema.crashes import applies_itself
from django_runbook.schema.executor import emit, with_real_models
from django_runbook.schema.history import Key
from django_runbook.schema.locks import with_lock_retries
from django_runbook.schema.reversals import (
    Pieces,
    Reversal,
    is_whole,
    load_reversals,
)
from django_runbook.schema.states import state_at
from django_runbook.schema.stepwise import StepwiseMigration

ENOUGH = 5
"""Rounds after which a table that is not what it was will not become so."""


def take_back(
    database: Database,
    run_id: str,
    before: frozenset[Key],
    definitions: Mapping[str, str],
    *,
    safe_point: Callable[[], None] = lambda: None,
    progress: Callable[..., None] = lambda **facts: None,
) -> None:
    """Take back all migrations since `before`; what an earlier call has taken back is passed over.

    `definitions` are those of all tables before the run.

    To be called after `make_undo_plan` had no objection. Raise RunbookError, naming the migration and the
    server's words, when something fails: then what was taken back stays so, and it can be called again.
    """
    executor = _Backwards(database, run_id, lambda holders: progress(blocked_by=holders))
    reversals = load_reversals(
        database, run_id, before, lambda state, plan: emit(emit_pre_migrate_signal, database, state, plan)
    )
    with database.lock_timeout(lock_timeout()):
        for number, reversal in enumerate(reversals, 1):
            safe_point()
            progress(migration=str(reversal.migration), number=number, of=len(reversals))
            executor.take_back(reversal)
        database.restore_details(definitions)
    loader = MigrationLoader(database.connection)
    state = state_at(loader, loader.applied_migrations)
    with_real_models(state)
    emit(emit_post_migrate_signal, database, state, [(reversal.migration, True) for reversal in reversals])


class _Backwards:
    """Takes migrations back, one after the other."""

    def __init__(self, database: Database, run_id: str, blocked: Callable[[str], None]) -> None:
        self.database = database
        self.connection = database.connection
        self.run_id = run_id
        self.blocked = blocked
        self.ledger = Ledger(database.connection)
        self.recorder = MigrationRecorder(database.connection)

    def take_back(self, reversal: Reversal) -> None:
        try:
            if reversal.units and is_whole(self.database, self.run_id, reversal):
                self._retry(lambda: self._take_back_whole(reversal))
            else:
                self._take_back_in_pieces(reversal)
        except RunbookError:
            raise
        except Exception as error:
            raise _failed(reversal.migration, error) from error

    def _retry(self, attempt: Callable[[], None]) -> None:
        with_lock_retries(self.database, attempt, self.blocked)

    def _take_back_whole(self, reversal: Reversal) -> None:
        migration = reversal.migration
        editor: Any
        with self.connection.schema_editor(atomic=True) as editor:
            if applies_itself(migration):
                migration.unapply(reversal.units[0].before, editor)
            else:
                for unit in reversed(reversal.units):
                    backwards = replace(unit, before=unit.after, after=unit.before, backwards=True)
                    backwards.perform(migration.app_label, editor)
            deferred, editor.deferred_sql = editor.deferred_sql, []
            for statement in deferred:
                editor.execute(statement, None)
            self._unrecord(reversal)

    def _take_back_in_pieces(self, reversal: Reversal) -> None:
        pieces = Pieces(self.database, self.run_id, reversal)
        if reversal.units and not pieces.rows:
            self._adopt(reversal)
            pieces = Pieces(self.database, self.run_id, reversal)
        for piece in pieces.begun():
            if pieces.goes_back_by_definition(piece):
                self.ledger.reopen_operation(piece.row)
                for statement in piece.statements:
                    self._bring_back(statement)
            elif pieces.was_held(piece):
                self.ledger.forget_operations([piece.row])
            elif piece.unit is not None:
                self._apply_backwards(reversal, piece.row, piece.unit)
        with transaction.atomic(using=self.database.alias):
            self._unrecord(reversal)

    def _apply_backwards(self, reversal: Reversal, row: LedgerOperation, unit: Unit) -> None:
        """By Django's own method; with the last statement of it the operation counts as not done."""

        def note() -> None:
            self.ledger.forget_operations([row])

        stepwise = StepwiseMigration(self.database, self.run_id, reversal.migration, self.blocked)
        stepwise.take_back(unit, note)

    def _adopt(self, reversal: Reversal) -> None:
        """Of one that was applied by other means the ledger knows nothing: write down that all is done."""
        app_label, name = reversal.key
        rows = [
            LedgerOperation(
                run_id=self.run_id,
                app_label=app_label,
                migration=name,
                number=unit.number,
                signature=unit.signature,
                done=True,
            )
            for unit in reversal.units
        ]
        with transaction.atomic(using=self.database.alias):
            self.ledger.write_outcomes(rows)

    def _bring_back(self, statement: LedgerStatement) -> None:
        """Until the tables are what they were before it; a statement of which that is true needs nothing."""
        before = json.loads(statement.before)
        for _round in range(ENOUGH):
            back = self.database.way_back(statement.sql, before)
            if not back:
                break
            for sql in back:
                self._retry(lambda sql=sql: self._execute(sql))  # type: ignore[misc]
        else:
            raise RunbookError(
                _("The effect of a statement could not be taken back: %(sql)s") % {"sql": statement.sql}
            )
        self.ledger.advance(statement, status=StatementStatus.PLANNED)

    def _execute(self, sql: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(f"{self.database.mark(self.run_id)} {sql}")

    def _unrecord(self, reversal: Reversal) -> None:
        """With the ledger's rows; in a transaction."""
        for name in reversal.names:
            self.recorder.record_unapplied(*name)
        if self.ledger.exists:
            self.ledger.forget_operations(self.ledger.operations(self.run_id, *reversal.key).values())


def _failed(migration: Migration, error: Exception) -> RunbookError:
    return RunbookError(
        _("Migration %(migration)s could not be taken back: %(kind)s: %(error)s")
        % {"migration": migration, "kind": type(error).__name__, "error": error},
        _("Mend the cause and run `manage.py runbook undo` again; or restore the run's backup."),
    )
