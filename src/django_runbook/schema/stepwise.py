"""Apply one migration piece by piece, so that it can be cut anywhere and gone on with.

Where DDL does not roll back, a migration is not atomic, but a statement is: MySQL since 8.0 and MariaDB
since 10.6 leave a DDL statement fully done or not done at all, even when the server is killed. So each
statement that no transaction can hold is written to the ledger before it is sent, with a fingerprint of the
tables it touches; after a crash at most one is in doubt, and the fingerprint tells which it was. Any other
statement shares a transaction with its ledger row. Where DDL rolls back, that is true of whole operations.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from typing import Any

from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import operations
from django.db.migrations.migration import Migration
from django.db.migrations.state import ProjectState
from django.utils.translation import gettext as _

from django_runbook.databases import ELSEWHERE, Database
from django_runbook.exceptions import Refused, RunbookError
from django_runbook.ledger import Ledger, LedgerOperation, LedgerStatement, StatementStatus
from django_runbook.schema.collect import (
    NotCollectable,
    Unit,
    collect,
    defer_again,
    deferred_texts,
    make_collecting_editor,
    units,
)
from django_runbook.schema.crashes import escapes_transactions, runs_in_transaction
from django_runbook.schema.failures import broken, neither, stopped
from django_runbook.schema.holding import BUILDS, Held, deferred_by_django, holding
from django_runbook.schema.locks import with_lock_retries
from django_runbook.schema.losses import lost_by
from django_runbook.schema.states import applied_migrations

NO_TIMEOUT = timedelta(0)
AT_THE_END = -1
"""Number of the operation that stands for the deferred statements."""
RECORDED = -2
"""Number of the operation that stands for the record: the migration was applied whole by this run."""
EARLY = -3
"""Number of the first operation that stands for deferred statements that are sent before the end."""
TAKEN_BACK = -1_000_000
"""Number of the first operation that is applied backwards."""
ADDING = (
    operations.CreateModel,
    operations.AddField,
    operations.AddIndex,
    operations.AddConstraint,
    operations.AlterModelOptions,
    operations.AlterModelManagers,
    operations.RunPython,
    operations.RunSQL,
)
"""Operations for which Django leaves alone what is deferred; others may rename or drop what it speaks of."""

Planned = tuple[LedgerOperation, Sequence[LedgerStatement]]


def digest(definitions: Mapping[str, str]) -> str:
    """SHA-256 of what a statement touches."""
    return hashlib.sha256(json.dumps(definitions).encode()).hexdigest()


def is_waiting(database: Database, run_id: str, migration: Migration) -> bool:
    """Is it applied but for what an earlier call has held?"""
    ledger = Ledger(database.connection)
    if not ledger.exists:
        return False
    known = ledger.operations(run_id, migration.app_label, migration.name)
    return AT_THE_END in known and RECORDED not in known


def matching_migrations(connection: BaseDatabaseWrapper) -> frozenset[tuple[str, str]]:
    """What the tables are by now: what is recorded, and what is applied but for what was held."""
    ledger = Ledger(connection)
    if not ledger.exists:
        return applied_migrations(connection)
    waiting = ledger.migrations_with(AT_THE_END) - ledger.migrations_with(RECORDED)
    return applied_migrations(connection) | {(app, name) for _run, app, name in waiting}


class StepwiseMigration:
    """One migration of one run on one database."""

    def __init__(
        self,
        database: Database,
        run_id: str,
        migration: Migration,
        blocked: Callable[[str], None] = lambda holders: None,
        *,
        hold: bool = False,
    ) -> None:
        """`hold`: stop before what builds indexes and constraints over added columns, and do not record."""
        self.database = database
        self.connection = database.connection
        self.run_id = run_id
        self.migration = migration
        self.blocked = blocked
        self.ledger = Ledger(self.connection)
        self.known = self.ledger.operations(run_id, migration.app_label, migration.name)
        self.held = Held(database) if hold else None
        self.editor = make_collecting_editor(self.connection, self._holding)
        self._at_the_end = AT_THE_END
        self._unwritten: list[LedgerOperation | LedgerStatement] = []
        """Whose outcome goes into the next transaction; a crash before that leaves them in doubt."""
        self._has_written = False
        """Is anything of this migration on the ledger? Of one that sends nothing there is nothing to know."""
        self._announced: LedgerStatement | None = None
        """Written as started with the plan of its operation, and not sent yet."""

    def apply(self, state: ProjectState, record: Callable[[], None]) -> ProjectState:
        """Go on from what the ledger knows to the end; `record` is called in the last transaction.

        To the end that `hold` says: a later call without it does the rest.

        Raise RunbookError if a statement fails, Refused if an operation that is done was edited since.
        """
        self._forget_if_unapplied_since()
        number = -1
        for unit in units(self.migration, state):
            self._go_on(unit)
            number = unit.number
        if self.held:
            self._hold(self.held, EARLY - number - 1)
        else:
            self._finish(record, self._operation(RECORDED, "", done=True))
        return state

    def take_back(self, unit: Unit, record: Callable[[], None]) -> None:
        """Apply one unit backwards, by Django's own method, as safe from crashes as forwards.

        Raise as `apply` does; `record` is called in the last transaction.
        """
        number = TAKEN_BACK - 2 * unit.number
        self._at_the_end = number - 1
        self._go_on(replace(unit, number=number, before=unit.after, after=unit.before, backwards=True))

        def record_and_forget() -> None:
            record()
            known = self.ledger.operations(self.run_id, self.migration.app_label, self.migration.name)
            self.ledger.forget_operations(known[it] for it in (number, number - 1) if it in known)

        self._finish(record_and_forget)

    def _forget_if_unapplied_since(self) -> None:
        """The record says that it is not applied, the ledger that it was: somebody has unapplied it."""
        if RECORDED in self.known:
            self.ledger.forget_operations(self.known.values())
            self.known = {}

    def _holding(self, kind: Any) -> Any:
        return holding(kind, self.held) if self.held else kind

    def _hold(self, held: Held, number: int) -> None:
        """Write down what is left to be built, and send the rest of what was deferred.

        Also if nothing is left: by that it is known that the migration is applied, but for its record.
        """
        if AT_THE_END in self.known:
            return
        waiting, self.editor.deferred_sql = held.split(self.editor.deferred_sql)
        if self.editor.deferred_sql or number in self.known:
            self._send_deferred(number)
        rows = [LedgerStatement(sql=sql) for sql in self._texts(waiting)]
        with self._transaction():
            self.ledger.plan_operation(self._operation(AT_THE_END, ""), rows)

    def _go_on(self, unit: Unit) -> None:
        if self.held:
            self.held.turn_to(unit, self.migration.app_label)
        known = self.known.get(unit.number)
        if known and known.done:
            self._pass_over(unit, known)
        else:
            self._apply_unit(unit, known)

    def _pass_over(self, unit: Unit, done: LedgerOperation) -> None:
        if done.signature != unit.signature:
            raise Refused(
                _(
                    "Operation '%(operation)s' of migration %(migration)s was edited after it had been "
                    "applied."
                )
                % {"operation": unit.operation.describe(), "migration": self.migration},
                _("Put it back as it was, then run `manage.py runbook resume`."),
            )
        for statement in self.ledger.statements(done):
            if self.database.sets_session(statement.sql):
                self._execute(statement.sql)
        self._defer_again(unit, done)

    def _defer_again(self, unit: Unit, planned: LedgerOperation) -> None:
        if early := self.known.get(EARLY - unit.number):
            self._forget_sent(early)
        deferred = json.loads(planned.deferred)
        if self.held:
            self.held.known = deferred
        defer_again(self.editor, unit, self.migration.app_label, deferred)

    def _apply_unit(self, unit: Unit, begun: LedgerOperation | None) -> None:
        statements = self.ledger.statements(begun) if begun else []
        if begun and self._was_mended(unit, begun, statements):
            self.ledger.forget_operations([begun])
            begun = None
        if begun is None:
            self._begin_unit(unit)
        elif statements:
            self._send(begun, statements, unit.operation.describe())
            self._defer_again(unit, begun)
        else:
            self._apply_as_one(unit, begun)

    def _begin_unit(self, unit: Unit) -> None:
        self._send_what_cannot_wait(unit)
        try:
            planned = self._plan(unit)
        except NotCollectable:
            self._apply_as_one(unit)
            return
        self._send(*planned, unit.operation.describe())

    def _was_mended(self, unit: Unit, begun: LedgerOperation, statements: Sequence[LedgerStatement]) -> bool:
        """Does the operation read otherwise than when it was planned? Allowed if nothing of it was done."""
        if begun.signature == unit.signature:
            return False
        if any(self._was_done(statement) for statement in statements):
            raise Refused(
                _(
                    "Operation '%(operation)s' of migration %(migration)s was edited after a part of it "
                    "had been applied."
                )
                % {"operation": unit.operation.describe(), "migration": self.migration},
                _("Put it back as it was and run `manage.py runbook resume`, or restore the run's backup."),
            )
        return True

    def _plan(self, unit: Unit) -> Planned:
        """Write down the statements of a unit. Raise NotCollectable if it runs as one instead."""
        if not self.database.has_autocommit_ddl:
            raise NotCollectable
        deferred = list(self.editor.deferred_sql)
        statements = collect(self.editor, unit, self.migration.app_label)
        if self.database.rolls_back_ddl and not any(map(self._stands_alone, statements)):
            self.editor.deferred_sql = deferred
            raise NotCollectable
        if self.held:
            statements = list(chain.from_iterable(map(self._gentle_forms, statements)))
        return self._write_plan(self._operation_of(unit), statements)

    def _gentle_forms(self, sql: str) -> list[str]:
        """Of an index or a constraint over old columns, such as a foreign key made anew with its column."""
        return self.database.gentle_forms(sql) if BUILDS.match(sql) else [sql]

    def _stands_alone(self, sql: str) -> bool:
        return self.database.needs_autocommit(sql) or self.database.sets_session(sql)

    def _write_plan(self, operation: LedgerOperation, statements: Sequence[str]) -> Planned:
        """An operation that has nothing to send changes nothing: it can wait for the next transaction."""
        rows = [LedgerStatement(sql=sql) for sql in statements]
        if not rows:
            return operation, rows
        if self._is_sent_by_itself(rows[0]):
            self._announced = rows[0]
            for name, value in self._intent(rows[0]).items():
                setattr(rows[0], name, value)
        with self._transaction():
            self.ledger.plan_operation(operation, rows)
        self._has_written = True
        return operation, rows

    def _operation_of(self, unit: Unit) -> LedgerOperation:
        loses = "" if unit.backwards else lost_by(self.database, unit, self.migration.app_label)
        return self._operation(unit.number, unit.signature, loses=loses)

    def _operation(
        self, number: int, signature: str, *, loses: str = "", done: bool = False
    ) -> LedgerOperation:
        return LedgerOperation(
            run_id=self.run_id,
            app_label=self.migration.app_label,
            migration=self.migration.name,
            number=number,
            signature=signature,
            deferred=json.dumps(deferred_texts(self.editor)),
            loses=loses,
            done=done,
        )

    def _send(self, operation: LedgerOperation, statements: Sequence[LedgerStatement], words: str) -> None:
        """Send what is planned and not done. The outcome of the last one is written with what comes next."""
        for statement in statements:
            if self._was_done(statement):
                continue
            with self._told(words, statement):
                if self.database.sets_session(statement.sql):
                    self._execute(statement.sql)
                elif self._is_sent_by_itself(statement):
                    self._send_by_itself(statement)
                else:
                    self._send_in_transaction(statement)
        operation.done = True
        self._unwritten.append(operation)

    def _is_sent_by_itself(self, statement: LedgerStatement) -> bool:
        return self.database.needs_autocommit(statement.sql) and not self.database.sets_session(statement.sql)

    def _was_done(self, statement: LedgerStatement) -> bool:
        return statement.status == StatementStatus.DONE or self._took_effect(statement)

    def _took_effect(self, statement: LedgerStatement) -> bool:
        """Decide about a statement that was sent and has no outcome, by the tables it touches.

        Raise RunbookError if they are neither as they were before it nor as it can have left them.
        """
        if statement.status != StatementStatus.STARTED or statement is self._announced:
            return False
        self.database.wait_for_orphans(self.run_id)
        now = self._look(statement)
        if digest(now) == statement.fingerprint:
            return False
        if strange := self.database.strange(statement.sql, json.loads(statement.before), now):
            raise neither(self.migration, statement.sql, strange)
        self._prove(statement)
        statement.status = StatementStatus.DONE
        self._unwritten.append(statement)
        return True

    def _send_in_transaction(self, statement: LedgerStatement) -> None:
        with_lock_retries(self.database, lambda: self._send_with_row(statement), self.blocked)

    def _send_with_row(self, statement: LedgerStatement) -> None:
        with self._transaction():
            self._execute(statement.sql)
            self.ledger.advance(statement, status=StatementStatus.DONE)

    def _send_by_itself(self, statement: LedgerStatement) -> None:
        if statement is not self._announced:
            intent = self._intent(statement)
            with self._transaction():
                self.ledger.advance(statement, **intent)
        self._announced = None
        with_lock_retries(self.database, lambda: self._execute_by_itself(statement), self.blocked)
        statement.status = StatementStatus.DONE
        self._unwritten.append(statement)

    def _execute_by_itself(self, statement: LedgerStatement) -> None:
        """Where DDL rolls back, what is still sent by itself blocks nobody while it waits, so it may wait."""
        self.database.drop_invalid_index(statement.sql)
        if against := self.database.rows_against(statement.sql):
            raise broken(self.migration, statement.sql, against)
        patient = self.database.rolls_back_ddl
        with self.database.lock_timeout(NO_TIMEOUT) if patient else nullcontext():
            self.database.send_gently(statement.sql, self._execute)
        self._prove(statement)

    def _prove(self, statement: LedgerStatement) -> None:
        """Take a constraint back that the server was not asked to look at, if rows break it after all."""
        if against := self.database.rows_against(statement.sql):
            for sql in self.database.way_back(statement.sql, json.loads(statement.before)) or ():
                with_lock_retries(self.database, lambda sql=sql: self._execute(sql), self.blocked)  # type: ignore[misc]
            raise broken(self.migration, statement.sql, against)

    def _execute(self, sql: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(f"{self.database.mark(self.run_id)} {sql}")

    def _intent(self, statement: LedgerStatement) -> dict[str, Any]:
        """What the ledger holds of a statement from just before it is sent."""
        now = self._look(statement)
        before = {} if ELSEWHERE in now else now
        return {
            "status": StatementStatus.STARTED,
            "fingerprint": digest(now),
            "before": json.dumps(before),
        }

    def _look(self, statement: LedgerStatement) -> dict[str, str]:
        """What a broken off attempt has left behind is not the statement's effect, and goes first."""
        self.database.drop_invalid_index(statement.sql)
        return self.database.definitions(statement.sql)

    def _apply_as_one(self, unit: Unit, begun: LedgerOperation | None = None) -> None:
        """Run an operation that is known only by doing it, in the transaction of its ledger row if it may.

        If it may have effects outside of that, the ledger says beforehand that it was begun.
        """
        operation = unit.operation
        row = begun or self._operation_of(unit)
        if begun is None and escapes_transactions(operation, self.migration, self.database.rolls_back_ddl):
            with self._transaction():
                row.save(using=self.connection.alias, force_insert=True)
        atomic = self.database.rolls_back_ddl if operation.reduces_to_sql else False
        atomic = atomic or runs_in_transaction(operation, self.migration)
        with self._told(operation.describe(), whole=atomic):
            if atomic and self.database.rolls_back_ddl:
                with_lock_retries(self.database, lambda: self._perform(unit, row, atomic=True), self.blocked)
            else:
                self._perform(unit, row, atomic=atomic)

    def _perform(self, unit: Unit, row: LedgerOperation, *, atomic: bool) -> None:
        with self._executing_editor(atomic) as editor:
            unit.perform(self.migration.app_label, editor)
            row.deferred, row.done = json.dumps(deferred_texts(editor)), True
            row.save(using=self.connection.alias)
            deferred, editor.deferred_sql = editor.deferred_sql, []
        self.editor.deferred_sql = deferred
        self._has_written = True

    @contextmanager
    def _executing_editor(self, atomic: bool) -> Iterator[Any]:
        """Django's own editor, which goes on with what is deferred; in a transaction, if so asked."""
        kind: Any = self._holding(self.connection.SchemaEditorClass)
        with kind(self.connection, atomic=atomic) as editor:
            editor.deferred_sql = list(self.editor.deferred_sql)
            with self._transaction() if atomic else nullcontext():
                yield editor

    def _send_what_cannot_wait(self, unit: Unit) -> None:
        """Before an operation that may rename or drop: send what an earlier process had deferred.

        Django adapts deferred statements to later renames; those that come from the ledger are plain text.
        And what is held goes before an operation on the same model, which may build upon it.
        """
        if isinstance(unit.operation, ADDING) or (self.held and self.held.now):
            return
        restored = any(isinstance(statement, str) for statement in self.editor.deferred_sql)
        if restored:
            self._send_deferred(EARLY - unit.number)
        elif self.held and self.held.is_touched_by(unit, self.migration.app_label):
            self._send_deferred(EARLY - unit.number, deferred_by_django(self.editor.deferred_sql))

    def _send_deferred(self, number: int, rest: Sequence[Any] = ()) -> None:
        """Send what is deferred, but for the `rest`."""
        known, words = self.known.get(number), _("what was left for the end")
        if known is None:
            statements = self._texts([it for it in self.editor.deferred_sql if it not in rest])
            self.editor.deferred_sql = list(rest)
            self._send(*self._write_plan(self._operation(number, ""), statements), words)
            return
        if not known.done:
            self._send(known, self.ledger.statements(known), words)
        self._forget_sent(known)

    def _forget_sent(self, sent: LedgerOperation) -> None:
        """Keep of what is deferred what was not sent with `sent`."""
        rest, texts = json.loads(sent.deferred), deferred_texts(self.editor)
        pairs = zip(self.editor.deferred_sql, texts, strict=True)
        self.editor.deferred_sql = [statement for statement, text in pairs if text in rest]

    def _texts(self, deferred: Sequence[Any]) -> list[str]:
        """What is to be sent; of what is held, the forms that keep others waiting least."""
        held = self.held.split(deferred)[0] if self.held else []
        texts: list[str] = []
        for statement in deferred:
            text = str(statement)
            texts += self.database.gentle_forms(text) if statement in held else [text]
        return texts

    def _finish(self, record: Callable[[], None], *rows: LedgerOperation) -> None:
        if self.editor.deferred_sql or self._at_the_end in self.known:
            self._send_deferred(self._at_the_end)
        self._unwritten = [row for row in self._unwritten if row.pk]
        if self.known or self._has_written:
            self._unwritten += rows
        with self._transaction():
            record()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """A transaction that also writes the outcomes that are not written yet."""
        with transaction.atomic(using=self.connection.alias):
            self.ledger.write_outcomes(self._unwritten)
            yield
        self._unwritten = []

    @contextmanager
    def _told(
        self, operation: str, statement: LedgerStatement | None = None, *, whole: bool = True
    ) -> Iterator[None]:
        """Turn an error into one that names migration, operation and statement, if the session lives on."""
        session = self.connection.connection
        try:
            yield
        except RunbookError:
            raise
        except Exception as error:
            if self.connection.connection is not session or not self.connection.is_usable():
                raise  # Django opens another one, unasked
            if statement:
                with suppress(DatabaseError):  # then the next attempt drops it
                    self.database.drop_invalid_index(statement.sql)
            with self._transaction():
                if statement:
                    self.ledger.advance(statement, status=StatementStatus.PLANNED)
            sql = statement.sql if statement else ""
            raise stopped(self.migration, operation, sql, error, whole=whole) from error
