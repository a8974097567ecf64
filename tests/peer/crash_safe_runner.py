"""A test runner for Django's own test suite, which puts the crash-safe executor in the place of Django's.

Django's `runtests.py` takes it from the settings (peer_settings.py) after `django.setup()`, before any test
is imported. It writes what became of each test to the file in the environment.
"""

from __future__ import annotations

import json
import os
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.db import connections
from django.db.migrations import executor, operations
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.test.runner import DiscoverRunner

from django_runbook.databases import Database, get_database
from django_runbook.exceptions import RunbookError
from django_runbook.ledger import Ledger
from django_runbook.schema.collect import NotCollectable, Unit, collect, make_collecting_editor
from django_runbook.schema.executor import CrashSafeExecutor
from django_runbook.schema.stepwise import StepwiseMigration

DjangosExecutor = executor.MigrationExecutor
WITH_LEDGER: set[str] = set()
"""Databases, by name, whose ledger has its tables."""
APPLIED = {"migrations": 0, "operations": 0, "calls": 0}
"""How many were applied by ours: by the executor, one by one, and calls of an editor."""
INSIDE: list[bool] = []
"""Not empty while ours is at work: what it calls of an operation is Django's."""


class PeerExecutor(CrashSafeExecutor):
    """Made as Django makes its executor; every migration is a run of its own, as no run goes on here.

    A server's error is raised as it is, because that is what Django's tests look at, instead of the
    RunbookError that ours makes of it to name the migration and the statement.
    """

    def __init__(self, connection: Any, progress_callback: Any = None) -> None:
        if connection is None:  # as tests of the plan alone do
            DjangosExecutor.__init__(self, connection, progress_callback)
        else:
            super().__init__(get_database(connection.alias), "", progress_callback)

    def apply_migration(
        self, state: ProjectState, migration: Migration, fake: bool = False, fake_initial: bool = False
    ) -> ProjectState:
        self.run_id = new_run(self.connection)
        APPLIED["migrations"] += 1
        with inside(), unwrapped_errors():
            return super().apply_migration(state, migration, fake=fake, fake_initial=fake_initial)


class Results(unittest.TextTestResult):
    """Remembers the first line of what went wrong in each test, or "" if nothing did."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.outcomes: dict[str, str] = {}

    def startTest(self, test: unittest.TestCase) -> None:
        self.outcomes[test.id()] = ""
        super().startTest(test)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._add(test, err)
        super().addFailure(test, err)

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self._add(test, err)
        super().addError(test, err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.outcomes.pop(test.id(), None)
        super().addSkip(test, reason)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            self._add(test, err)
        super().addSubTest(test, subtest, err)

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self.outcomes[test.id()] = "unexpected success"
        super().addUnexpectedSuccess(test)

    def _add(self, test: unittest.TestCase, err: Any) -> None:
        kind, error, _traceback = err
        self.outcomes[test.id()] = f"{kind.__name__}: {error}".partition("\n")[0]


class PlainRunner(DiscoverRunner):
    """Django's runner, and the outcomes in a file."""

    def get_resultclass(self) -> type[Results]:
        return Results

    def suite_result(self, suite: Any, result: Results, **kwargs: Any) -> int:
        text = json.dumps({"outcomes": result.outcomes, "applied": APPLIED})
        Path(os.environ["PEER_OUTCOMES"]).write_text(text)
        return int(super().suite_result(suite, result, **kwargs))


class CrashSafeRunner(PlainRunner):
    """Whatever asks for Django's executor gets the crash-safe one, and operations go through the ledger.

    Each operation that a test applies without an executor, as the tests of operations do, is collected,
    written to the ledger, and sent from there where that is how a migration would be applied. So is each call
    of a schema editor, as in the tests of `schema`; elsewhere what is collected of it is sent.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        from django.core.management.commands import migrate

        for module in (executor, migrate):
            module.MigrationExecutor = PeerExecutor  # type: ignore[misc,assignment]
        for kind in list(subclasses(Operation)):
            if "database_forwards" in vars(kind) and kind is not operations.SeparateDatabaseAndState:
                kind.database_forwards = through_ledger(kind.database_forwards)  # type: ignore[method-assign]
        kinds = {type(connection).SchemaEditorClass for connection in connections.all()}
        for editor in {kind for each in kinds for kind in each.__mro__}:
            for name in CALLS & set(vars(editor)):
                setattr(editor, name, as_operation(getattr(editor, name)))


def through_ledger(plain: Any) -> Any:
    """Wrap an operation's database_forwards: the outermost call goes through the ledger."""

    def database_forwards(
        self: Operation, app_label: str, editor: Any, before: ProjectState, after: ProjectState
    ) -> None:
        if editor.collect_sql or INSIDE:
            plain(self, app_label, editor, before, after)
            return
        run_id = new_run(editor.connection)
        APPLIED["operations"] += 1
        migration = Migration("tested", app_label)
        stepwise = StepwiseMigration(get_database(editor.connection.alias), run_id, migration)
        stepwise.editor.deferred_sql = editor.deferred_sql
        with inside(), unwrapped_errors():
            stepwise._apply_unit(Unit(number=0, operation=self, before=before, after=after), None)
        editor.deferred_sql = stepwise.editor.deferred_sql

    return database_forwards


CALLS = {
    *("create_model", "delete_model", "alter_db_table", "alter_db_table_comment"),
    *("add_field", "remove_field", "alter_field", "alter_unique_together"),
    *("add_index", "remove_index", "rename_index", "add_constraint", "remove_constraint"),
}
"""What operations call of an editor."""


class EditorCall(Operation):
    """One call of a schema editor."""

    reduces_to_sql = True

    def __init__(self, plain: Any, args: Any, kwargs: Any) -> None:
        self.call = lambda editor: getattr(editor, plain.__name__)(*args, **kwargs)

    def deconstruct(self) -> Any:
        raise ValueError  # as operations with what migrations cannot write

    def database_forwards(
        self, app_label: str, editor: Any, before: ProjectState, after: ProjectState
    ) -> None:
        self.call(editor)


def as_operation(plain: Any) -> Any:
    """Wrap a method of an editor: the outermost call is an operation of its own."""

    def call(self: Any, *args: Any, **kwargs: Any) -> None:
        if self.collect_sql or INSIDE:
            plain(self, *args, **kwargs)
            return
        APPLIED["calls"] += 1
        state: Any = None
        unit = Unit(number=0, operation=EditorCall(plain, args, kwargs), before=state, after=state)
        database = get_database(self.connection.alias)
        with inside(), unwrapped_errors():
            if database.rolls_back_ddl:
                send_collected(self, unit)
            else:
                send_from_ledger(database, self, unit)

    return wraps(plain)(call)


def send_collected(editor: Any, unit: Unit) -> None:
    collecting = make_collecting_editor(editor.connection)
    collecting.deferred_sql = list(editor.deferred_sql)
    try:
        statements = collect(collecting, unit, "tested")
    except NotCollectable:
        unit.operation.database_forwards("tested", editor, unit.before, unit.after)
        return
    editor.deferred_sql = collecting.deferred_sql
    with editor.connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement, None)


def send_from_ledger(database: Database, editor: Any, unit: Unit) -> None:
    run_id = new_run(editor.connection)
    stepwise = StepwiseMigration(database, run_id, Migration("tested", "tested"))
    stepwise.editor.deferred_sql = editor.deferred_sql
    stepwise._apply_unit(unit, None)
    editor.deferred_sql = stepwise.editor.deferred_sql


@contextmanager
def inside() -> Iterator[None]:
    INSIDE.append(True)
    try:
        yield
    finally:
        INSIDE.pop()


@contextmanager
def unwrapped_errors() -> Iterator[None]:
    try:
        yield
    except RunbookError as error:
        raise (error.__cause__ or error) from None


def new_run(connection: Any) -> str:
    name = str(connection.settings_dict["NAME"])
    if name not in WITH_LEDGER:
        Ledger(connections[connection.alias]).ensure()
        WITH_LEDGER.add(name)
    return uuid4().hex


def subclasses(kind: type) -> Any:
    for each in kind.__subclasses__():
        yield each
        yield from subclasses(each)
