"""What an operation would send to the database, without sending it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.migration import Migration
from django.db.migrations.operations import SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import OperationWriter

READS = re.compile(r"\s*(SELECT|SHOW|PRAGMA|EXPLAIN|WITH|DESCRIBE)\b", re.IGNORECASE)


class NotCollectable(Exception):
    """The operation speaks to the connection itself, so what it will do is known only by doing it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One operation that touches the database, between the states before and after it."""

    number: int
    operation: Operation
    before: ProjectState
    after: ProjectState
    backwards: bool = False
    """Is it taken back? Then the states have changed places."""

    def perform(self, app_label: str, editor: Any) -> None:
        """Do it with Django's own method."""
        method = self.operation.database_backwards if self.backwards else self.operation.database_forwards
        method(app_label, editor, self.before, self.after)

    @property
    def signature(self) -> str:
        """SHA-256 of the operation as makemigrations would write it."""
        try:
            text = OperationWriter(self.operation, indentation=0).serialize()[0]
        except ValueError:
            text = self.operation.describe()
        return hashlib.sha256(text.encode()).hexdigest()


def units(migration: Migration, state: ProjectState) -> Iterator[Unit]:
    """The operations one by one, those within SeparateDatabaseAndState too; `state` is moved along."""
    number = 0
    for operation in migration.operations:
        before = state.clone()
        operation.state_forwards(migration.app_label, state)
        for inner, start, end in _database_operations(operation, migration.app_label, before, state):
            yield Unit(number=number, operation=inner, before=start, after=end)
            number += 1


def collect(editor: Any, unit: Unit, app_label: str) -> list[str]:
    """The statements of a unit, against the live schema as it is before it.

    What it defers to the end of the migration stays in `editor.deferred_sql`. Raise NotCollectable, with
    that as it was, if the operation cannot be known beforehand.
    """
    if not unit.operation.reduces_to_sql:
        raise NotCollectable
    deferred, editor.collected_sql, editor.renamed = list(editor.deferred_sql), [], {}
    editor.collected_table_renames = {}  # Django's own since 6.1, which is not told that they were sent
    try:
        with _reads_only(editor.connection), _renamed_tables(editor.connection, editor.renamed):
            unit.perform(app_label, editor)
    except BaseException:
        editor.deferred_sql = deferred
        raise
    return [statement.rstrip().removesuffix(";") for statement in editor.collected_sql]


def defer_again(editor: Any, unit: Unit, app_label: str, deferred: Sequence[str]) -> None:
    """Bring the deferred statements to what they were after a unit that an earlier process applied.

    As Django's own objects, which later operations can rename and drop; as text if the unit, looked at
    against the schema behind it, does not tell them the same as it did then.
    """
    with suppress(Exception), _without_constraints(editor.connection):
        collect(editor, unit, app_label)
    if deferred_texts(editor) != deferred:
        editor.deferred_sql = list(deferred)


def deferred_texts(editor: Any) -> list[str]:
    """The statements that wait for the end of the migration, as they would read by now.

    The first `str()` of a CREATE INDEX fixes the name that Django makes from table and columns, in a variable
    of the function that makes it; a later renaming is to change it still, so that is put back.
    """
    return [_text(statement) for statement in editor.deferred_sql]


def _text(statement: Any) -> str:
    name = getattr(statement, "parts", {}).get("name")
    cells = getattr(getattr(name, "create_index_name", None), "__closure__", None) or ()
    before = [cell.cell_contents for cell in cells]
    text = str(statement)
    for cell, value in zip(cells, before, strict=True):
        cell.cell_contents = value
    return text


def make_collecting_editor(
    connection: BaseDatabaseWrapper, wrapped: Callable[[Any], Any] = lambda kind: kind
) -> Any:
    """Django's schema editor for this connection, which collects and knows the tables it has renamed.

    `wrapped` may make a subclass of it.
    """
    base: Any = connection.SchemaEditorClass

    class CollectingEditor(base):  # type: ignore[misc]
        def execute(self, sql: Any, params: Any = ()) -> None:
            if params is not None:
                sql, params = _as_sent(connection, str(sql), params), None
            super().execute(sql, params)

        def alter_db_table(self, model: Any, old_db_table: str, new_db_table: str) -> None:
            super().alter_db_table(model, old_db_table, new_db_table)
            self.renamed[new_db_table] = self.renamed.get(old_db_table, old_db_table)

    editor = wrapped(CollectingEditor)(connection, collect_sql=True, atomic=False)
    editor.deferred_sql, editor.renamed = [], {}
    return editor


def _as_sent(connection: Any, sql: str, params: Any) -> str:
    """A statement with its parameters, by the driver: Django's own collecting cannot quote every type."""
    if hasattr(connection.ops, "compose_sql"):
        return str(connection.ops.compose_sql(sql, params))
    with connection.cursor() as cursor:
        if isinstance(params, Mapping):
            return sql % {name: _literal(cursor, value) for name, value in params.items()}
        return sql % tuple(_literal(cursor, value) for value in params)


def _literal(cursor: Any, value: Any) -> str:
    """Bytes in hexadecimal, because the ledger holds text."""
    return f"x'{value.hex()}'" if isinstance(value, bytes) else str(cursor.mogrify("%s", [value]))


def _database_operations(
    operation: Operation, app_label: str, before: ProjectState, after: ProjectState
) -> Iterator[tuple[Operation, ProjectState, ProjectState]]:
    if type(operation).database_forwards is not SeparateDatabaseAndState.database_forwards:
        yield operation, before, after
        return
    start = before
    for inner in operation.database_operations:  # type: ignore[attr-defined]
        end = start.clone()
        inner.state_forwards(app_label, end)
        yield from _database_operations(inner, app_label, start, end)
        start = end


@contextmanager
def _reads_only(connection: BaseDatabaseWrapper) -> Iterator[None]:
    def refuse_writes(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if not READS.match(sql):
            raise NotCollectable
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse_writes):
        yield


@contextmanager
def _renamed_tables(connection: Any, renamed: Mapping[str, str]) -> Iterator[None]:
    """Answer questions about a table that is not renamed yet with what its old name has."""

    class Renamed(type(connection.introspection)):  # type: ignore[misc]
        def get_constraints(self, cursor: Any, table_name: str) -> Any:
            return super().get_constraints(cursor, renamed.get(table_name, table_name))

        def get_storage_engine(self, cursor: Any, table_name: str) -> Any:
            return super().get_storage_engine(cursor, renamed.get(table_name, table_name))

    with _introspection(connection, Renamed):
        yield


@contextmanager
def _without_constraints(connection: Any) -> Iterator[None]:
    """Find no constraint on any table, not even on one that a later operation has renamed or dropped."""

    class WithoutConstraints(type(connection.introspection)):  # type: ignore[misc]
        def get_constraints(self, cursor: Any, table_name: str) -> Any:
            return {}

    with _introspection(connection, WithoutConstraints):
        yield


@contextmanager
def _introspection(connection: Any, kind: Callable[[Any], Any]) -> Iterator[None]:
    before = connection.introspection
    connection.introspection = kind(connection)
    try:
        yield
    finally:
        connection.introspection = before
