"""The ledger: tables in the target database that say what has been done to this data.

Made like Django's own `django_migrations`, without migrations. It rewinds with a restore, which is right:
comparing it with the run journal, which does not, tells that the database was replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from django.apps.registry import Apps
from django.db import models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.translation import gettext as _

from django_runbook.backfill_ledger import BACKFILL_TABLES, TABLE_PREFIX
from django_runbook.exceptions import JournalDamaged, Refused
from django_runbook.journal import Entry, Event

Row = TypeVar("Row", bound=models.Model)


class LedgerRun(models.Model):
    """How far a run's journal had come when it last spoke to this database."""

    run_id = models.CharField(max_length=100, primary_key=True)
    covers = models.TextField()
    """Labels of the runbooks that are completed with this run, one a line."""
    seq = models.PositiveIntegerField()
    hash = models.CharField(max_length=64)
    finished = models.CharField(max_length=40, default="")
    """ISO 8601; text, because a project with USE_TZ = False cannot store an aware datetime everywhere."""

    class Meta:
        apps = Apps()
        app_label = "django_runbook"
        db_table = f"{TABLE_PREFIX}run"

    def __str__(self) -> str:
        return self.run_id


class StatementStatus(models.TextChoices):
    """Where a statement stands."""

    PLANNED = "planned"
    STARTED = "started"
    """Sent, and no outcome: in doubt if the process is gone, unless its operation is done."""
    DONE = "done"


class LedgerOperation(models.Model):
    """One operation of a migration that is applied statement by statement."""

    id = models.BigAutoField(primary_key=True)
    run_id = models.CharField(max_length=100, db_index=True)
    app_label = models.CharField(max_length=255)
    migration = models.CharField(max_length=255)
    number = models.IntegerField()
    """Its place in the migration, from 0; operations within SeparateDatabaseAndState count one by one."""
    signature = models.CharField(max_length=64)
    """SHA-256 of what it says, so that an edit is seen."""
    deferred = models.TextField(default="[]")
    """JSON: the statements that are left for the end of the migration after this operation."""
    loses = models.TextField(default="")
    """What of the data is gone once it is applied, in words; empty if nothing is."""
    done = models.BooleanField(default=False)

    class Meta:
        apps = Apps()
        app_label = "django_runbook"
        db_table = f"{TABLE_PREFIX}operation"

    def __str__(self) -> str:
        return f"{self.app_label}.{self.migration} {self.number}"


class LedgerStatement(models.Model):
    """One statement of an operation: intent before, outcome after."""

    id = models.BigAutoField(primary_key=True)
    operation_id = models.BigIntegerField(db_index=True)
    sql = models.TextField()
    fingerprint = models.CharField(max_length=64, default="")
    """Of the touched tables, just before it was sent."""
    before = models.TextField(default="{}")
    """JSON: definitions of the touched tables at that moment, by name; {} where it is not only tables."""
    status = models.CharField(max_length=10, choices=StatementStatus.choices, default=StatementStatus.PLANNED)

    class Meta:
        apps = Apps()
        app_label = "django_runbook"
        db_table = f"{TABLE_PREFIX}statement"

    def __str__(self) -> str:
        return self.sql


TABLES = (LedgerRun, LedgerOperation, LedgerStatement, *BACKFILL_TABLES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """Which run completed a runbook, and when."""

    run_id: str
    at: datetime


class Ledger:
    """The ledger of one database. Only `ensure` changes the schema, and readers never call it."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    @property
    def exists(self) -> bool:
        with self.connection.cursor() as cursor:
            return LedgerRun._meta.db_table in self.connection.introspection.table_names(cursor)

    def ensure(self) -> None:
        """Create the tables that are missing."""
        with self.connection.cursor() as cursor:
            present = self.connection.introspection.table_names(cursor)
        for model in TABLES:
            if model._meta.db_table not in present:
                with self.connection.schema_editor() as editor:
                    editor.create_model(model)

    def note(self, run_id: str, covers: Sequence[str], entry: Entry, finished: str = "") -> None:
        """Remember `entry` as the latest that this database has seen of the run."""
        self._runs.update_or_create(
            run_id=run_id,
            defaults={
                "covers": "\n".join(covers),
                "seq": entry.seq,
                "hash": entry.hash,
                "finished": finished,
            },
        )

    def completed(self) -> dict[str, Completion]:
        """Runbooks completed on this data, by label; the latest run of each."""
        if not self.exists:
            return {}
        rows = self._runs.exclude(finished="").order_by("finished")
        return {
            label: Completion(run_id=row.run_id, at=datetime.fromisoformat(row.finished))
            for row in rows
            for label in row.covers.splitlines()
        }

    def compare(self, run_id: str, entries: Sequence[Entry]) -> None:
        """Hold the run's journal against this database.

        Raise JournalDamaged if the journal lost lines that this database has seen, or has others in
        their place. Raise Refused if the database was replaced since: it has seen less than the journal
        says. A crash between the journal's line and the ledger's row leaves at most one line between.
        """
        row = self._runs.filter(run_id=run_id).first() if self.exists else None
        seen = row.seq if row else 0
        if row and (seen > len(entries) or entries[seen - 1].hash != row.hash):
            raise JournalDamaged(
                _(
                    "The journal of run %(run)s is not the one that the database has seen: lines are "
                    "missing or were replaced."
                )
                % {"run": run_id},
                _(
                    "Put the journal back as it was and run `manage.py runbook resume`; or restore the "
                    "run's backup with `manage.py runbook restore FILE` and move the run's folder away."
                ),
            )
        noted = [entry.seq for entry in entries if entry.event in _NOTED]
        if len(noted) > 1 and seen < noted[-2]:
            raise Refused(
                _(
                    "The database was replaced or restored since run %(run)s worked on it: it has not "
                    "seen what the journal records."
                )
                % {"run": run_id},
                _(
                    "If it is back at the state before the run, close the run with "
                    "`manage.py runbook undo %(run)s` and start again; otherwise restore the run's backup."
                )
                % {"run": run_id},
            )

    def advance(self, row: models.Model, **changes: Any) -> None:
        """Write new values of a row; in the transaction of what they speak of, where there is one."""
        for name, value in changes.items():
            setattr(row, name, value)
        row.save(using=self.connection.alias, update_fields=list(changes))

    def operations(self, run_id: str, app_label: str, migration: str) -> dict[int, LedgerOperation]:
        """What is known of a migration's operations in this run, by their number."""
        rows = self._of(LedgerOperation).filter(run_id=run_id, app_label=app_label, migration=migration)
        return {row.number: row for row in rows}

    def statements(self, operation: LedgerOperation) -> list[LedgerStatement]:
        """The statements of an operation, in the order in which they are sent."""
        return list(self._of(LedgerStatement).filter(operation_id=operation.pk).order_by("id"))

    def plan_operation(self, operation: LedgerOperation, statements: Sequence[LedgerStatement]) -> None:
        """Write down what an operation is going to send, before any of it is sent; in a transaction."""
        operation.save(using=self.connection.alias, force_insert=True)
        for statement in statements:
            statement.operation_id = operation.pk
        if self.connection.features.can_return_rows_from_bulk_insert:
            self._of(LedgerStatement).bulk_create(statements)
        else:
            for statement in statements:
                statement.save(using=self.connection.alias, force_insert=True)

    def write_outcomes(self, rows: Sequence[LedgerOperation | LedgerStatement]) -> None:
        """Write that these are done; in a transaction. Operations that were never planned are added.

        The rows themselves stay as they are, so that it can be done again if the transaction is not kept.
        Statements of an operation that is done are done, whatever their own row says.
        """
        added = [_copy(row) for row in rows if isinstance(row, LedgerOperation) and row.pk is None]
        if added:
            self._of(LedgerOperation).bulk_create(added)
        operations = {row.pk for row in rows if row.pk and isinstance(row, LedgerOperation)}
        statements = [
            row.pk
            for row in rows
            if row.pk and isinstance(row, LedgerStatement) and row.operation_id not in operations
        ]
        if statements:
            self._of(LedgerStatement).filter(pk__in=statements).update(status=StatementStatus.DONE)
        if operations:
            self._of(LedgerOperation).filter(pk__in=operations).update(done=True)

    def reopen_operation(self, operation: LedgerOperation) -> None:
        """It is about to be taken back: from here on each of its statements speaks for itself."""
        with transaction.atomic(using=self.connection.alias):
            if operation.done:
                rows = self._of(LedgerStatement).filter(operation_id=operation.pk)
                rows.update(status=StatementStatus.DONE)
            self.advance(operation, done=False)

    def forget_operations(self, operations: Iterable[LedgerOperation]) -> None:
        """Take back plans of which nothing was done, or is left."""
        keys = [operation.pk for operation in operations]
        with transaction.atomic(using=self.connection.alias):
            self._of(LedgerStatement).filter(operation_id__in=keys).delete()
            self._of(LedgerOperation).filter(pk__in=keys).delete()

    def begun_migrations(self, run_id: str) -> list[tuple[str, str]]:
        """Migrations of whose operations the run has written something, those begun last first."""
        if not self.exists:
            return []
        rows = self._of(LedgerOperation).filter(run_id=run_id).order_by("-id")
        return list(dict.fromkeys(rows.values_list("app_label", "migration")))

    def migrations_with(self, number: int) -> set[tuple[str, str, str]]:
        """Run, app label and name of each migration that has an operation of this number."""
        rows = self._of(LedgerOperation).filter(number=number)
        return set(rows.values_list("run_id", "app_label", "migration"))

    @property
    def _runs(self) -> models.QuerySet[LedgerRun]:
        return self._of(LedgerRun)

    def _of(self, model: type[Row]) -> models.QuerySet[Row]:
        return models.QuerySet(model, using=self.connection.alias)


def _copy(row: Row) -> Row:
    return type(row)(**{field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields})


_NOTED = frozenset({Event.STARTED, Event.SUCCEEDED})
"""Events that the engine notes in the ledger right after the journal."""
