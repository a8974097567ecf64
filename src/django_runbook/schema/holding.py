"""Hold back what builds indexes, unique constraints and foreign keys over columns that a migration adds.

Built after the columns were filled, they cost a fraction of what each row costs them one by one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

from django.db.backends.ddl_references import Statement
from django.db.migrations import operations

from django_runbook.databases import Database
from django_runbook.schema.collect import Unit

BUILDS = re.compile(
    r"CREATE (?:UNIQUE )?INDEX\b|ALTER TABLE .+? ADD CONSTRAINT .+? (?:UNIQUE|FOREIGN KEY)\b", re.IGNORECASE
)
VALIDATES = "ALTER TABLE %(table)s VALIDATE CONSTRAINT %(name)s"
"""Of a foreign key that holds already for what is written from now on."""
ADDED_ALONE = (operations.AddIndex, operations.AddConstraint)
"""Operations that are one statement, and that are taken back as one."""
TOGETHER = (operations.AlterUniqueTogether, operations.AlterIndexTogether)


class Held:
    """What one migration has added, and what of it waits."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.created: set[str] = set()
        """Tables that have no rows yet."""
        self.columns: set[tuple[str, str]] = set()
        """Table and column."""
        self.models: set[str] = set()
        """Names of the models with such columns."""
        self.known: Sequence[str] = ()
        """What an earlier process has deferred by the present operation."""
        self.now = False
        """Does the present operation leave behind what can be built later?"""

    def name_of_unique(self, table: str, column: str) -> str:
        """The name that an earlier process has found, in case it has used it since; else a free one."""
        quote = self.database.quote
        start, end = f"ALTER TABLE {quote(table)} ADD CONSTRAINT ", f" UNIQUE ({quote(column)})"
        for text in self.known:
            if text.startswith(start) and text.endswith(end):
                return text.removeprefix(start).removesuffix(end)
        return self.database.name_of_unique(table, column)

    def turn_to(self, unit: Unit, app_label: str) -> None:
        """Statements of this unit come next."""
        self.known = ()
        self.now = isinstance(unit.operation, operations.AddField) or is_held_whole(unit, app_label)

    def is_touched_by(self, unit: Unit, app_label: str) -> bool:
        """May the unit rename, alter or drop what is held? RunPython and RunSQL are trusted not to."""
        operation = unit.operation
        return not self.now and any(operation.references_model(name, app_label) for name in self.models)

    def split(self, deferred: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """What is held of these statements, and what is not, each in its order.

        Once something is held on a table, whatever is built on it later waits behind it: a server
        shows keys in the order in which they were made.
        """
        held: list[Any] = []
        rest: list[Any] = []
        tables: set[str] = set()
        for statement in deferred:
            if self.concerns(statement) or table_of(statement) in tables:
                tables.add(table_of(statement))
                held.append(statement)
            else:
                rest.append(statement)
        return held, rest

    def concerns(self, statement: Any) -> bool:
        """Does it build over an added column?"""
        if isinstance(statement, Statement):
            built = BUILDS.match(statement.template)
            return bool(built) and any(statement.references_column(*column) for column in self.columns)
        quote = self.database.quote
        return bool(BUILDS.match(statement)) and any(
            quote(table) in statement and quote(column) in statement for table, column in self.columns
        )


def is_held_whole(unit: Unit, app_label: str) -> bool:
    """Does the unit only build, so that nothing of it is left once all that it builds is held?"""
    operation = unit.operation
    if not isinstance(operation, TOGETHER):
        return type(operation) in ADDED_ALONE  # those that derive from them may ask for more
    before, after = (
        {tuple(group) for group in state.models[app_label, operation.name_lower].options.get(name) or ()}
        for state in (unit.before, unit.after)
        for name in (operation.option_name,)
    )
    return before <= after


def deferred_by_django(deferred: Sequence[Any]) -> list[Any]:
    """What it would have left for the end of the migration anyway."""
    return [statement for statement in deferred if not hasattr(statement, "in_place")]


def table_of(statement: Any) -> str:
    """The table on which it builds; empty if it is plain text."""
    table = getattr(statement, "parts", {}).get("table")
    return str(getattr(table, "table", "")) if table else ""


def holding(base: Any, held: Held) -> Any:
    """A subclass of a schema editor that defers what `held` is to hold, among what Django defers.

    What Django would have sent in place stands before what it defers itself.
    """
    can_add_constraints = held.database.adds_constraints

    class HoldingEditor(base):  # type: ignore[misc]
        unique_apart: Any = None
        """The field whose UNIQUE is no part of its column's definition."""

        def create_model(self, model: Any) -> None:
            held.created.add(model._meta.db_table)
            super().create_model(model)

        def add_field(self, model: Any, field: Any) -> None:
            table = model._meta.db_table
            if not held.now or table in held.created or field.db_parameters(self.connection)["type"] is None:
                super().add_field(model, field)
                return
            held.columns.add((table, field.column))
            held.models.add(model._meta.model_name)
            if not can_add_constraints:
                super().add_field(model, field)
                return
            if field.unique and not field.primary_key and not _tablespace(model, field):
                name = held.name_of_unique(table, field.column)
                self.hold(self._create_unique_sql(model, [field], name=name))
                self.unique_apart = field
            with self.foreign_key_apart():
                super().add_field(model, field)
            self.unique_apart = None

        @contextmanager
        def foreign_key_apart(self) -> Any:
            """Django then defers it, as if the server knew no other way."""
            before = list(self.deferred_sql)
            self.sql_create_column_inline_fk = None
            try:
                yield
            finally:
                del self.sql_create_column_inline_fk
            for statement in [it for it in self.deferred_sql if it not in before]:
                if "FOREIGN KEY" in statement.template:
                    self.deferred_sql.remove(statement)
                    self.hold(statement)

        def _iter_column_sql(self, db_type: str, params: Any, model: Any, field: Any, *more: Any) -> Any:
            for part in super()._iter_column_sql(db_type, params, model, field, *more):
                if not (part == "UNIQUE" and field is self.unique_apart):
                    yield part

        def execute(self, sql: Any, params: Any = ()) -> None:
            if held.now and isinstance(sql, Statement) and not self.is_flushed(sql) and self.belongs(sql):
                self.hold(sql)
            elif self.can_be_validated_later(sql):
                first, _validation = held.database.gentle_forms(str(sql))
                super().execute(first, params)
                held.models.add(sql.model_name)
                self.hold(Statement(VALIDATES, table=sql.parts["table"], name=sql.parts["name"]))
            else:
                super().execute(sql, params)

        def can_be_validated_later(self, sql: Any) -> bool:
            """Is it a foreign key over old rows, which the server would look at while nobody can write?"""
            return (
                hasattr(sql, "model_name")
                and not self.is_flushed(sql)
                and table_of(sql) not in held.created
                and len(held.database.gentle_forms(str(sql))) > 1
            )

        def _create_fk_sql(self, model: Any, field: Any, suffix: str) -> Any:
            statement = super()._create_fk_sql(model, field, suffix)
            if statement:  # SQLite has none
                statement.model_name = model._meta.model_name
            return statement

        def is_flushed(self, statement: Statement) -> bool:
            """Where a table is made anew, Django sends what it has deferred."""
            return any(statement is it for it in self.deferred_sql)

        def belongs(self, statement: Statement) -> bool:
            if not BUILDS.match(statement.template):
                return False
            tables = {table_of(it) for it in held.split(self.deferred_sql)[0]}
            return held.concerns(statement) or table_of(statement) in tables - {""}

        def hold(self, statement: Statement) -> None:
            statement.in_place = True  # type: ignore[attr-defined]
            places = [number for number, it in enumerate(self.deferred_sql) if hasattr(it, "in_place")]
            self.deferred_sql.insert(places[-1] + 1 if places else 0, statement)

    return HoldingEditor


def _tablespace(model: Any, field: Any) -> str:
    """Where the index of an inline UNIQUE lies, which then cannot be told apart from the column."""
    return str(field.db_tablespace or model._meta.db_tablespace)
