"""Compare what should be with what is: the live schema with a state, and the migrations with the models."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from django.apps.registry import Apps
from django.db import models, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.schema.states import matching_models, state_at


class Kind(StrEnum):
    """In which way a table is not what its migrations say."""

    MISSING_TABLE = "missing table"
    MISSING_COLUMN = "missing column"
    EXTRA_COLUMN = "extra column"
    NOT_NULL = "not null"
    """The column refuses NULL, though the model allows it."""
    NULLABLE = "nullable"
    """The column accepts NULL, though the model does not."""
    MISSING_FOREIGN_KEY = "missing foreign key"
    MISSING_UNIQUE = "missing unique"
    MISSING_INDEX = "missing index"


SENTENCES: Mapping[Kind, Promise | str] = {
    Kind.MISSING_TABLE: gettext_lazy("Table %(table)s is missing."),
    Kind.MISSING_COLUMN: gettext_lazy("Table %(table)s has no column %(column)s."),
    Kind.EXTRA_COLUMN: gettext_lazy("Table %(table)s has a column %(column)s that no migration knows."),
    Kind.NOT_NULL: gettext_lazy("Column %(table)s.%(column)s refuses NULL, but its model allows it."),
    Kind.NULLABLE: gettext_lazy("Column %(table)s.%(column)s accepts NULL, but its model does not."),
    Kind.MISSING_FOREIGN_KEY: gettext_lazy(
        "Column %(table)s.%(column)s has no foreign key to %(expected)s: rows can point at nothing."
    ),
    Kind.MISSING_UNIQUE: gettext_lazy(
        "Table %(table)s has no unique constraint on %(column)s: the same values can be there twice."
    ),
    Kind.MISSING_INDEX: gettext_lazy("Table %(table)s has no index on %(column)s: look-ups by it are slow."),
}
"""What a Difference says, by its kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One place where the live schema is not what the migrations say."""

    kind: Kind
    table: str
    column: str = ""
    """The column, or several joined by ", "; empty where a whole table is meant."""
    expected: str = ""
    """For a foreign key, what it should point at: "table.column"."""

    def __str__(self) -> str:
        return str(SENTENCES[self.kind]) % {
            "table": self.table,
            "column": self.column,
            "expected": self.expected,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingMigrations:
    """Changes to an app's models that no migration on disk makes."""

    app_label: str
    operations: tuple[str, ...]
    """What makemigrations would write, in words."""
    third_party: bool
    """Does the app lie in site-packages, where the project must not write migrations?"""

    def __str__(self) -> str:
        return _("The models of '%(app)s' have changes that no migration makes: %(changes)s.") % {
            "app": self.app_label,
            "changes": ", ".join(self.operations),
        }


def compare_schema(connection: BaseDatabaseWrapper, state: ProjectState) -> list[Difference]:
    """Find where the live tables are not what `state` says, by table and column.

    Looks at every table of a managed model and of its many-to-many fields that the routers allow on this
    database: columns, NULL, foreign keys, unique constraints and indexes. Not at types, defaults, checks,
    and what has a condition or an expression; not at tables and indexes that no model asks for.
    """
    live = _Live(connection)
    found: list[Difference] = []
    for model in _compared_models(connection, state):
        table = model._meta.db_table
        if table not in live:
            found.append(Difference(kind=Kind.MISSING_TABLE, table=table))
            continue
        found += _compare_columns(model, live)
        if not live.is_view(table):
            constraints = live.constraints(table)
            found += _compare_foreign_keys(model, state, live, constraints)
            found += _compare_unique(model, connection, constraints)
            found += _compare_indexes(model, connection, constraints)
    return sorted(found, key=lambda item: (item.table, item.column, item.kind))


def unknown_columns(connection: BaseDatabaseWrapper) -> list[Difference]:
    """Columns that are there and in no model of the migrations applied here."""
    loader = MigrationLoader(connection)
    state = state_at(loader, loader.applied_migrations)
    return [it for it in compare_schema(connection, state) if it.kind is Kind.EXTRA_COLUMN]


def missing_migrations(loader: MigrationLoader, apps: Apps) -> list[MissingMigrations]:
    """Find the changes between all migrations on disk, applied or not, and the models of `apps`, by app."""
    on_disk = state_at(loader, frozenset(loader.graph.nodes))
    changes = MigrationAutodetector(on_disk, ProjectState.from_apps(apps)).changes(graph=loader.graph)
    return [
        MissingMigrations(
            app_label=app_label,
            operations=tuple(
                operation.describe() for migration in migrations for operation in migration.operations
            ),
            third_party=is_third_party(Path(apps.get_app_config(app_label).path)),
        )
        for app_label, migrations in sorted(changes.items())
    ]


class _Live:
    """The schema of a database, by Django's introspection."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self._ignores_case = connection.features.ignores_table_name_case
        with connection.cursor() as cursor:
            tables = connection.introspection.get_table_list(cursor)
        self._tables = {self.fold(info.name): info for info in tables}

    def __contains__(self, table: str) -> bool:
        return self.fold(table) in self._tables

    def is_view(self, table: str) -> bool:
        return self._tables[self.fold(table)].type == "v"

    def fold(self, table: str) -> str:
        """A table's name in the form in which this server compares it."""
        name = self.connection.introspection.identifier_converter(table)
        return name.lower() if self._ignores_case else name

    def columns(self, table: str) -> dict[str, bool]:
        """Does it accept NULL? By name of column."""
        with self.connection.cursor() as cursor:
            name = self._tables[self.fold(table)].name
            described = self.connection.introspection.get_table_description(cursor, name)
        return {info.name: bool(info.null_ok) for info in described}

    def constraints(self, table: str) -> list[Mapping[str, Any]]:
        """Constraints and indexes, as `get_constraints` describes them."""
        with self.connection.cursor() as cursor:
            name = self._tables[self.fold(table)].name
            return list(self.connection.introspection.get_constraints(cursor, name).values())


def _compared_models(connection: BaseDatabaseWrapper, state: ProjectState) -> Iterator[type[models.Model]]:
    """Models whose table a migration makes here. A name with quotes reaches into a schema not looked at."""
    for model in matching_models(state, include_auto_created=True):
        options = model._meta
        if (
            options.can_migrate(connection)
            and options.app_label not in state.real_apps
            and router.allow_migrate_model(connection.alias, model)
            and not options.db_table.startswith("django_runbook_")
            and '"' not in options.db_table
        ):
            yield model


def _compare_columns(model: type[models.Model], live: _Live) -> Iterator[Difference]:
    table = model._meta.db_table
    there = live.columns(table)
    fields = {field.column: field for field in _columns(model)}
    for column in sorted(fields.keys() - there.keys()):
        yield Difference(kind=Kind.MISSING_COLUMN, table=table, column=column)
    for column in sorted(there.keys() - fields.keys()):
        yield Difference(kind=Kind.EXTRA_COLUMN, table=table, column=column)
    for column in sorted(fields.keys() & there.keys()):
        field = fields[column]
        if field.primary_key or field.generated or _accepts_null(field, live.connection) == there[column]:
            continue
        kind = Kind.NULLABLE if there[column] else Kind.NOT_NULL
        yield Difference(kind=kind, table=table, column=column)


def _columns(model: type[models.Model]) -> list[Any]:
    """Fields that have a column of their own in the model's table."""
    return [field for field in model._meta.local_concrete_fields if field.column]


def _accepts_null(field: Any, connection: BaseDatabaseWrapper) -> bool:
    empty_is_null = connection.features.interprets_empty_strings_as_nulls and field.empty_strings_allowed
    return bool(field.null or empty_is_null)


def _compare_foreign_keys(
    model: type[models.Model], state: ProjectState, live: _Live, constraints: Sequence[Mapping[str, Any]]
) -> Iterator[Difference]:
    if not live.connection.features.supports_foreign_keys:
        return
    there = {
        (tuple(constraint["columns"]), live.fold(constraint["foreign_key"][0]), constraint["foreign_key"][1])
        for constraint in constraints
        if constraint["foreign_key"]
    }
    for field in _columns(model):
        if not (field.remote_field and field.db_constraint):
            continue
        table = _matching(field.remote_field.model, state)._meta.db_table
        column = field.target_field.column
        if ((field.column,), live.fold(table), column) not in there:
            yield Difference(
                kind=Kind.MISSING_FOREIGN_KEY,
                table=model._meta.db_table,
                column=field.column,
                expected=f"{table}.{column}",
            )


def _matching(model: type[models.Model], state: ProjectState) -> type[models.Model]:
    """The target of a relation as it is in `state`: a real model may point at a real one."""
    try:
        return state.apps.get_model(model._meta.label)
    except LookupError:
        return model


def _compare_unique(
    model: type[models.Model], connection: BaseDatabaseWrapper, constraints: Sequence[Mapping[str, Any]]
) -> Iterator[Difference]:
    there = {
        frozenset(constraint["columns"])
        for constraint in constraints
        if constraint["unique"] or constraint["primary_key"]
    }
    for columns, included in _unique_columns(model, connection):
        if frozenset(columns) not in there and frozenset(columns + included) not in there:
            yield Difference(kind=Kind.MISSING_UNIQUE, table=model._meta.db_table, column=", ".join(columns))


def _unique_columns(
    model: type[models.Model], connection: BaseDatabaseWrapper
) -> Iterator[tuple[list[str], list[str]]]:
    """Columns that must be unique together, and those that their index merely carries."""
    for field in _columns(model):
        if field.unique and not field.primary_key:
            yield [field.column], []
    for names in model._meta.unique_together:
        yield _column_names(model, names), []
    for constraint in model._meta.constraints:
        if isinstance(constraint, models.UniqueConstraint) and _is_created(constraint, connection):
            yield _column_names(model, constraint.fields), _column_names(model, _included(constraint))


def _is_created(constraint: models.UniqueConstraint, connection: BaseDatabaseWrapper) -> bool:
    """Does Django create it on this server, and can its columns tell it from others?"""
    can = connection.features
    return not (
        constraint.condition
        or constraint.expressions
        or (constraint.deferrable and not can.supports_deferrable_unique_constraints)
        or (_included(constraint) and not can.supports_covering_indexes)
        or (constraint.nulls_distinct is not None and not can.supports_nulls_distinct_unique_constraints)
    )


def _included(constraint: Any) -> Sequence[str]:
    """Fields that the constraint's index carries without making them unique; django-stubs do not know it."""
    return constraint.include or ()


def _compare_indexes(
    model: type[models.Model], connection: BaseDatabaseWrapper, constraints: Sequence[Mapping[str, Any]]
) -> Iterator[Difference]:
    """An index that begins with the columns will do: MySQL drops a foreign key's own beside such one."""
    there = [
        list(constraint["columns"])
        for constraint in constraints
        if constraint["index"] or constraint["unique"] or constraint["primary_key"]
    ]
    for columns in _indexed_columns(model, connection):
        if not any(other[: len(columns)] == columns for other in there):
            yield Difference(kind=Kind.MISSING_INDEX, table=model._meta.db_table, column=", ".join(columns))


def _indexed_columns(model: type[models.Model], connection: BaseDatabaseWrapper) -> Iterator[list[str]]:
    editor = connection.schema_editor()
    for field in _columns(model):
        if editor._field_should_be_indexed(model, field):  # type: ignore[attr-defined]
            yield [field.column]
    for index in model._meta.indexes:
        if index.fields and not (index.condition or index.expressions or index.include):
            yield _column_names(model, [name for name, _order in index.fields_orders])


def _column_names(model: type[models.Model], names: Iterable[str]) -> list[str]:
    fields: list[Any] = [model._meta.get_field(name) for name in names]
    return [field.column for field in fields]


def is_third_party(path: Path) -> bool:
    installed = [Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")]
    return any(path.is_relative_to(folder) for folder in installed) or bool(
        {"site-packages", "dist-packages"} & set(path.parts)
    )
