"""A database that can be put back to the moment before a migration, and processes that apply it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from canonical import canonical
from deaths import WITHOUT_EFFECT, Watch, watched
from django.db import migrations, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.operations.base import Operation
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState

from django_runbook.databases import Database
from django_runbook.ledger import TABLES, Ledger
from django_runbook.schema.executor import CrashSafeExecutor

APP = "library"
RUN = "20260102-030405-drill"
KEPT = {"django_migrations", *(model._meta.db_table for model in TABLES)}

Operations = Callable[[], Sequence[Operation]]
"""Made anew for every process, as if read from the file."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A database with some tables and rows, and a migration of it."""

    name: str
    setup: Operations
    rows: Sequence[str] = ()
    """SQL, after the setup."""
    operations: Operations
    atomic: bool = True
    only: Sequence[str] = ("mysql", "postgresql", "sqlite")
    """Vendors."""
    repeats: str = ""
    """Regular expression of statements that may take effect more than once, by the nature of the case."""

    def __str__(self) -> str:
        return self.name


class Bench:
    """One case on one database."""

    def __init__(self, database: Database, case: Case) -> None:
        self.database = database
        self.connection = database.connection
        self.case = case
        self.before = ProjectState()
        self._base = self._recorded(self._make_own_tables)
        self._setup = self._recorded(self._apply_setup)

    def migration(self) -> migrations.Migration:
        return make_migration("0002_tested", self.case.operations(), atomic=self.case.atomic)

    def process(self, die_at: int | None = None, executor: Callable[[], Any] | None = None) -> Watch:
        """Apply the migration as a process of its own, which knows only what is in the database."""
        with watched(self.connection, die_at) as watch:
            if (APP, "0002_tested") not in MigrationRecorder(self.connection).applied_migrations():
                make = executor or self.crash_safe
                make().apply_migration(self.before.clone(), self.migration())
        return watch

    def crash_safe(self) -> CrashSafeExecutor:
        return CrashSafeExecutor(self.database, RUN)

    def plain(self) -> MigrationExecutor:
        return MigrationExecutor(self.connection)

    @property
    def is_one_transaction(self) -> bool:
        return self.database.rolls_back_ddl and self.case.atomic

    @property
    def outcome(self) -> list[str]:
        return canonical(self.database)

    def reset(self) -> None:
        """Go back to the moment before the migration."""
        statements = RESETS[self.connection.vendor](self)
        with (
            foreign_keys_unchecked(self.connection),
            transaction.atomic(using=self.database.alias),
            self.connection.cursor() as cursor,
        ):
            for sql, params in statements:
                cursor.execute(sql, params)

    def _make_own_tables(self) -> None:
        MigrationRecorder(self.connection).ensure_schema()
        Ledger(self.connection).ensure()

    def _apply_setup(self) -> None:
        setup = make_migration("0001_setup", self.case.setup())
        self.before = self.plain().apply_migration(self.before, setup)
        with self.connection.cursor() as cursor:
            for sql in self.case.rows:
                cursor.execute(sql)

    def _recorded(self, act: Callable[[], None]) -> list[tuple[str, Any]]:
        statements: list[tuple[str, Any]] = []

        def record(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
            if not WITHOUT_EFFECT.match(sql):
                statements.append((sql, params))
            return execute(sql, params, many, context)

        with self.connection.execute_wrapper(record):
            act()
        return statements

    def _reset_mysql(self) -> list[tuple[str, Any]]:
        """Its tables cost more than on the other servers, so those that never change stay."""
        objects = self.database.objects()
        objects["TABLE"] = [table for table in objects["TABLE"] if table not in KEPT]
        script = self.database.drop_statements(objects)
        drops = [(sql, None) for sql in script.split(";\n") if sql]
        return [*drops, *((f"DELETE FROM {table}", None) for table in sorted(KEPT)), *self._setup]

    def _reset_postgresql(self) -> list[tuple[str, Any]]:
        schema = [("DROP SCHEMA public CASCADE", None), ("CREATE SCHEMA public", None)]
        return [*schema, *self._base, *self._setup]

    def _reset_sqlite(self) -> list[tuple[str, Any]]:
        self.connection.close()
        Path(self.database.name).unlink()
        return [*self._base, *self._setup]


RESETS = {
    "mysql": Bench._reset_mysql,
    "postgresql": Bench._reset_postgresql,
    "sqlite": Bench._reset_sqlite,
}


def make_migration(
    name: str, operations: Sequence[Operation], *, atomic: bool = True
) -> migrations.Migration:
    attributes = {"operations": list(operations), "atomic": atomic}
    return type("Migration", (migrations.Migration,), attributes)(name, APP)


@contextmanager
def foreign_keys_unchecked(connection: Any) -> Iterator[None]:
    connection.disable_constraint_checking()
    try:
        yield
    finally:
        connection.enable_constraint_checking()
