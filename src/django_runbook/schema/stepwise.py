"""Apply one migration piece by piece, so that it can be cut anywhere and gone on with.

Where DDL does not roll back, a migration is not atomic, but a statement is: MySQL since 8.0 and MariaDB
since 10.6 leave a DDL statement fully done or not done at all, even when the server is killed. So each
statement is written to the ledger before it is sent, with a fingerprint of the tables it touches; after a
crash at most one is in doubt, and the fingerprint tells which it was. Where DDL rolls back, the piece is a
whole operation in one transaction with its ledger row; only what must not run in a transaction is sent by
itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from django.db import DatabaseError, InterfaceError, models, transaction
from django.db.migrations import operations
from django.db.migrations.migration import Migration
from django.db.migrations.state import ProjectState
from django.utils.translation import gettext as _

from django_runbook.databases import Database
from django_runbook.exceptions import Refused, RunbookError
from django_runbook.ledger import Ledger, LedgerOperation, LedgerStatement, StatementStatus
from django_runbook.schema.collect import NotCollectable, Unit, collect, make_collecting_editor, units
from django_runbook.schema.crashes import runs_in_transaction

DATA = re.compile(r"\s*(INSERT|UPDATE|DELETE|REPLACE|SELECT|WITH)\b", re.IGNORECASE)
"""Statements that a transaction rolls back everywhere."""
AT_THE_END = -1
"""Number of the operation that stands for the deferred statements."""
ADDING = (operations.CreateModel, operations.AddField, operations.AddIndex, operations.AddConstraint)
"""Operations that leave alone what is deferred; others may rename or drop what it speaks of."""


class StepwiseMigration:
    """One migration of one run on one database."""

    def __init__(self, database: Database, run_id: str, migration: Migration) -> None:
        self.database = database
        self.connection = database.connection
        self.run_id = run_id
        self.migration = migration
        self.ledger = Ledger(self.connection)
        self.known = self.ledger.operations(run_id, migration.app_label, migration.name)
        self.editor = make_collecting_editor(self.connection)
        self._unwritten: list[models.Model] = []

    def apply(self, state: ProjectState, record: Callable[[], None]) -> ProjectState:
        """Go on from what the ledger knows to the end; `record` is called in the last transaction.

        Raise RunbookError if a statement fails, Refused if an operation that is done was edited since.
        """
        for unit in units(self.migration, state):
            done = self.known.get(unit.number)
            if done and done.done:
                self._pass_over(unit, done)
            else:
                self._apply_unit(unit, done)
        self._finish(record)
        return state

    def _pass_over(self, unit: Unit, done: LedgerOperation) -> None:
        if done.signature != unit.signature:
            raise Refused(
                _(
                    "Operation '%(operation)s' of migration %(migration)s was edited after it had been applied."
                )
                % {"operation": unit.operation.describe(), "migration": self.migration},
                _("Put it back as it was, then run `manage.py runbook resume`."),
            )
        self.editor.deferred_sql = json.loads(done.deferred)

    def _apply_unit(self, unit: Unit, begun: LedgerOperation | None) -> None:
        if begun and self._was_mended(unit, begun):
            self.ledger.forget_operation(begun)
            begun = None
        if begun is None:
            self._send_what_cannot_wait(unit)
            try:
                begun = self._plan(unit)
            except NotCollectable:
                self._apply_as_one(unit)
                return
        self._send(begun, unit.operation.describe())
        self.editor.deferred_sql = self.editor.deferred_sql or json.loads(begun.deferred)

    def _was_mended(self, unit: Unit, begun: LedgerOperation) -> bool:
        """Does the operation read otherwise than when it was planned? Allowed if nothing of it was done."""
        if begun.signature == unit.signature:
            return False
        if any(it.status != StatementStatus.PLANNED for it in self.ledger.statements(begun)):
            raise Refused(
                _(
                    "Operation '%(operation)s' of migration %(migration)s was edited after a part of it "
                    "had been applied."
                )
                % {"operation": unit.operation.describe(), "migration": self.migration},
                _("Put it back as it was and run `manage.py runbook resume`, or restore the run's backup."),
            )
        return True

    def _plan(self, unit: Unit) -> LedgerOperation:
        """Write down the statements of a unit. Raise NotCollectable if it runs as one instead."""
        if self.database.rolls_back_ddl and not self.database.has_autocommit_ddl:
            raise NotCollectable
        deferred = list(self.editor.deferred_sql)
        statements = collect(self.editor, unit, self.migration.app_label)
        if self.database.rolls_back_ddl and not any(map(self.database.needs_autocommit, statements)):
            self.editor.deferred_sql = deferred
            raise NotCollectable
        return self._write_plan(self._operation(unit.number, unit.signature), statements)

    def _write_plan(self, operation: LedgerOperation, statements: Sequence[str]) -> LedgerOperation:
        with self._transaction():
            self.ledger.plan_operation(operation, statements)
        return operation

    def _operation(self, number: int, signature: str, *, done: bool = False) -> LedgerOperation:
        return LedgerOperation(
            run_id=self.run_id,
            app_label=self.migration.app_label,
            migration=self.migration.name,
            number=number,
            signature=signature,
            deferred=json.dumps([str(statement) for statement in self.editor.deferred_sql]),
            done=done,
        )

    def _send(self, operation: LedgerOperation, words: str) -> None:
        """Send what is planned and not done. The outcome of the last one is written with what comes next."""
        for statement in self.ledger.statements(operation):
            if statement.status == StatementStatus.DONE or self._took_effect(statement):
                continue
            with self._told(words, statement):
                if DATA.match(statement.sql):
                    self._send_data(statement)
                else:
                    self._send_ddl(statement)
        operation.done = True
        self._unwritten.append(operation)

    def _took_effect(self, statement: LedgerStatement) -> bool:
        """Decide about a statement that was sent and has no outcome, by the tables it touches."""
        if statement.status != StatementStatus.STARTED:
            return False
        self.database.wait_for_orphans(self.run_id)
        return self._fingerprint(statement) != statement.fingerprint

    def _send_data(self, statement: LedgerStatement) -> None:
        with self._transaction():
            self._execute(statement)
            self.ledger.advance(statement, status=StatementStatus.DONE)

    def _send_ddl(self, statement: LedgerStatement) -> None:
        with self._transaction():
            self.ledger.advance(
                statement, status=StatementStatus.STARTED, fingerprint=self._fingerprint(statement)
            )
        self.database.drop_invalid_index(statement.sql)
        self._execute(statement)
        statement.status = StatementStatus.DONE
        self._unwritten.append(statement)

    def _execute(self, statement: LedgerStatement) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(f"{statement.sql} {self.database.mark(self.run_id)}")

    def _fingerprint(self, statement: LedgerStatement) -> str:
        return self.database.fingerprint(statement.sql)

    def _apply_as_one(self, unit: Unit) -> None:
        """Run an operation that is known only by doing it, in the transaction of its ledger row if it may."""
        operation = unit.operation
        atomic = self.database.rolls_back_ddl if operation.reduces_to_sql else False
        atomic = atomic or runs_in_transaction(operation, self.migration)
        with self._told(operation.describe()), self._transaction() if atomic else nullcontext():
            editor: Any = self.connection.SchemaEditorClass(self.connection, atomic=False)
            editor.deferred_sql = self.editor.deferred_sql
            operation.database_forwards(self.migration.app_label, editor, unit.before, unit.after)
            done = self._operation(unit.number, unit.signature, done=True)
            done.save(using=self.connection.alias, force_insert=True)

    def _send_what_cannot_wait(self, unit: Unit) -> None:
        """Before an operation that may rename or drop: send what an earlier process had deferred.

        Django adapts deferred statements to later renames; those that come from the ledger are plain text.
        """
        restored = any(isinstance(statement, str) for statement in self.editor.deferred_sql)
        if restored and not isinstance(unit.operation, ADDING):
            self._send_deferred(AT_THE_END - 1 - unit.number)

    def _send_deferred(self, number: int) -> None:
        operation = self.known.get(number)
        if operation is None:
            statements = [str(statement) for statement in self.editor.deferred_sql]
            self.editor.deferred_sql = []
            operation = self._write_plan(self._operation(number, ""), statements)
        if not operation.done:
            self._send(operation, _("what was left for the end"))
        self.editor.deferred_sql = []

    def _finish(self, record: Callable[[], None]) -> None:
        if self.editor.deferred_sql or AT_THE_END in self.known:
            self._send_deferred(AT_THE_END)
        with self._transaction():
            record()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """A transaction that also writes the outcomes that are not written yet."""
        with transaction.atomic(using=self.connection.alias):
            unwritten, self._unwritten = self._unwritten, []
            for row in unwritten:
                row.save(using=self.connection.alias)
            yield

    @contextmanager
    def _told(self, operation: str, statement: LedgerStatement | None = None) -> Iterator[None]:
        """Turn a server's error into one that names migration, operation and statement."""
        try:
            yield
        except (DatabaseError, InterfaceError) as error:
            if not self.connection.is_usable():
                raise
            if statement:
                self.ledger.advance(statement, status=StatementStatus.PLANNED)
            raise self._failed(operation, statement, error) from error

    def _failed(self, operation: str, statement: LedgerStatement | None, error: Exception) -> RunbookError:
        words = {"migration": self.migration, "operation": operation, "error": error}
        message = _("Migration %(migration)s failed at '%(operation)s': %(error)s") % words
        if statement:
            message += "\n" + _("The statement was: %(sql)s") % {"sql": statement.sql}
        return RunbookError(
            message,
            _(
                "Nothing is in doubt: what came before is done, this is not. Mend the data, or this "
                "operation, and run `manage.py runbook resume`; or restore the run's backup."
            ),
        )
