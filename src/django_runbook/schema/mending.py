"""The statements that make a table what its migrations say, by Django's own schema editor."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.core.management.color import no_style
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.state import ProjectState

from django_runbook.databases.columns import LiveColumn
from django_runbook.schema.collect import make_collecting_editor
from django_runbook.schema.comparing_columns import with_column
from django_runbook.schema.comparing_constraints import column_names
from django_runbook.schema.differences import Difference, Kind
from django_runbook.schema.drift import compared_models
from django_runbook.schema.live import Live

OF_COLUMN = (Kind.NOT_NULL, Kind.NULLABLE, Kind.WRONG_TYPE, Kind.NO_NUMBERS, Kind.WRONG_COLLATION)
REMADE = "new__"
"""Begins the name that Django gives a table while it makes it anew."""


class Mending:
    """Knows the models of a state, and the live schema. Nothing is executed."""

    def __init__(self, connection: BaseDatabaseWrapper, state: ProjectState) -> None:
        self.connection = connection
        self.live = Live(connection)
        self.models = {model._meta.db_table: model for model in compared_models(connection, state)}

    def statements(self, found: Sequence[Difference]) -> list[str]:
        """What mends the differences of one table, in order; empty if only a person can.

        A column that is too much is left, because what is in it would be lost; one that no row can go
        without is made to accept NULL. Rows that are not as they should be are not changed, so that a
        statement can fail on them.
        """
        model = self.models[found[0].table]
        editor = make_collecting_editor(self.connection)
        mend = _Remaking if hasattr(editor, "_remake_table") else _Altering
        mend(model, editor, self.live, found).collect()
        statements = [str(it).rstrip().removesuffix(";") for it in editor.collected_sql]
        statements += [str(it) for it in editor.deferred_sql]
        return in_one_piece(statements) if any(REMADE in it for it in statements) else statements


class _Altering:
    """Where each difference can be mended by itself."""

    def __init__(
        self, model: type[models.Model], editor: Any, live: Live, found: Sequence[Difference]
    ) -> None:
        self.model, self.editor, self.live, self.found = model, editor, live, found
        self.fields = {field.column: field for field in with_column(model)}

    def collect(self) -> None:
        for it in self.of(Kind.MISSING_TABLE):
            self.create(it)
        for it in self.of(Kind.MISSING_COLUMN):
            self.editor.add_field(self.model, self.fields[it.column])
        for column in dict.fromkeys(it.column for it in self.of(*OF_COLUMN)):
            self.alter(column)
        for it in self.of(Kind.REQUIRED_COLUMN):
            self.accept_null(it.column)
        for it in self.of(Kind.EXTRA_UNIQUE):
            self.drop(it.found)
        for it in self.of(Kind.EXTRA_FOREIGN_KEY):
            self.send(self.editor._delete_fk_sql(self.model, it.found))
        for it in self.of(Kind.MISSING_INDEX):
            self.add_index(it.column)
        for it in self.of(Kind.MISSING_UNIQUE):
            self.add_unique(it.column)
        for it in self.of(Kind.MISSING_CHECK):
            self.add_check(it.expected)
        for it in self.of(Kind.MISSING_FOREIGN_KEY):
            words = "_fk_%(to_table)s_%(to_column)s"
            self.send(self.editor._create_fk_sql(self.model, self.fields[it.column], words))

    def of(self, *kinds: Kind) -> Iterator[Difference]:
        return (it for it in self.found if it.kind in kinds)

    def send(self, statement: Any) -> None:
        if statement:
            self.editor.execute(statement, None)

    def create(self, missing: Difference) -> None:
        """Without the tables of its many-to-many fields, which are missing by themselves or not at all."""
        create, self.editor.create_model = self.editor.create_model, lambda model: None
        try:
            create(self.model)
        finally:
            self.editor.create_model = create

    def alter(self, column: str) -> None:
        """All that is wrong with the column at once."""
        field, there = self.fields[column], self.live.columns(self.model._meta.db_table)[column]
        kinds = {it.kind for it in self.found if it.column == column}
        self.editor.alter_field(self.model, _as_it_is(field, there, kinds, self.live.connection), field)
        if Kind.NO_NUMBERS in kinds:
            for sql in self.live.connection.ops.sequence_reset_sql(no_style(), [self.model]):
                self.send(sql)

    def accept_null(self, column: str) -> None:
        editor, table = self.editor, self.model._meta.db_table
        words = {"column": editor.quote_name(column), "type": self.live.columns(table)[column].type}
        changes = editor.sql_alter_column_null % words
        self.send(editor.sql_alter_column % {"table": editor.quote_name(table), "changes": changes})

    def drop(self, name: str) -> None:
        there = self.live.constraints(self.model._meta.db_table)
        self.send(delete_sql(self.editor, self.model, name, there[name]))

    def free(self, name: str) -> None:
        """MySQL leaves an index without a column that was dropped: the name is taken by what is left."""
        there = {it.lower(): it for it in self.live.constraints(self.model._meta.db_table)}
        if name.lower() in there:
            self.drop(there[name.lower()])

    def add_index(self, columns: str) -> None:
        for index in self.model._meta.indexes:
            names = [name for name, _order in index.fields_orders]
            if names and ", ".join(column_names(self.model, names)) == columns:
                self.free(index.name)
                self.editor.add_index(self.model, index)
                return
        self.send(self.editor._create_index_sql(self.model, fields=[self.fields[columns]]))

    def add_unique(self, columns: str) -> None:
        for constraint in self.model._meta.constraints:
            names = getattr(constraint, "fields", ())
            if names and ", ".join(column_names(self.model, names)) == columns:
                self.free(constraint.name)
                self.editor.add_constraint(self.model, constraint)
                return
        fields = [self.fields[column] for column in columns.split(", ")]
        self.send(self.editor._create_unique_sql(self.model, fields))

    def add_check(self, name: str) -> None:
        for constraint in self.model._meta.constraints:
            if constraint.name == name:
                self.editor.add_constraint(self.model, constraint)


class _Remaking(_Altering):
    """Where a table is made anew and filled from the old one; what the model does not know is not taken."""

    def collect(self) -> None:
        for it in self.of(Kind.MISSING_TABLE):
            self.create(it)
        missing = list(self.of(Kind.MISSING_COLUMN))
        for it in missing:
            self.editor.add_field(self.model, self.fields[it.column])
        for it in self.of(Kind.MISSING_INDEX):
            self.add_index(it.column)
        simple = (Kind.MISSING_TABLE, Kind.MISSING_COLUMN, Kind.MISSING_INDEX, Kind.EXTRA_COLUMN)
        if any(it.kind not in simple for it in self.found):
            self.editor.collected_sql = [it for it in self.editor.collected_sql if "INDEX" not in it]
            self.editor._remake_table(self.model)
        remade = [it for it in self.editor.collected_sql if REMADE in it and it.startswith("INSERT")]
        if remade and (self.loses() or len(remade) > 1 or len(missing) > 1):
            self.editor.collected_sql.clear()

    def loses(self) -> bool:
        return any(self.of(Kind.EXTRA_COLUMN, Kind.REQUIRED_COLUMN))


def delete_sql(editor: Any, model: type[models.Model], name: str, it: Mapping[str, Any]) -> Any:
    """The statement that drops an index or constraint, as `get_constraints` describes it."""
    if it["check"]:
        return editor._delete_check_sql(model, name)
    if it["unique"] and not it["index"]:
        return editor._delete_unique_sql(model, name)
    return editor._delete_index_sql(model, name)


def in_one_piece(statements: Sequence[str]) -> list[str]:
    """The old table is dropped, which must not take along the rows that point at it."""
    return ["PRAGMA foreign_keys = OFF", "BEGIN", *statements, "COMMIT", "PRAGMA foreign_keys = ON"]


def _as_it_is(field: Any, there: LiveColumn, kinds: set[Kind], connection: BaseDatabaseWrapper) -> Any:
    """The field that would have made the column as it is, for Django to alter from."""
    numbers = Kind.NO_NUMBERS not in kinds
    is_other = bool(kinds & {Kind.WRONG_TYPE, Kind.NO_NUMBERS})
    parameters = dict(field.db_parameters(connection))
    if is_other:
        parameters["type"] = there.type
    if Kind.WRONG_COLLATION in kinds:
        parameters["collation"] = there.collation

    class AsItIs(type(field)):  # type: ignore[misc]
        def db_type(self, connection: Any) -> Any:
            return parameters["type"]

        def db_parameters(self, connection: Any) -> Any:
            return parameters

        def db_type_suffix(self, connection: Any) -> Any:
            return super().db_type_suffix(connection) if numbers else None

        def get_internal_type(self) -> str:
            return str(super().get_internal_type()) if numbers else "BigIntegerField"

    old = copy.copy(field)
    old.__class__ = AsItIs
    old.null = there.accepts_null
    return old
