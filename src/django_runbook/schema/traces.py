"""Whether what a migration makes is in a database, whatever the record says of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import truncate_name
from django.db.migrations import AddField, CreateModel, Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ModelState, ProjectState

from django_runbook.exceptions import RunbookError
from django_runbook.schema.history import Key


def traces(connection: BaseDatabaseWrapper, loader: MigrationLoader, key: Key) -> bool | None:
    """Are all tables and columns there that a migration adds?

    None if only some are, if it adds none, or if the migrations before it lead to no state. Needs a graph
    without gaps and circles.
    """
    try:
        after = loader.project_state(key)
    except RunbookError:
        raise
    except Exception:  # what the operations of a project raise when they do not fit together
        return None
    with connection.cursor() as cursor:
        tables = {name.lower(): name for name in connection.introspection.table_names(cursor)}
    columns: dict[str, set[str]] = {}
    there = set()
    for table, column in _added(connection, loader.graph.nodes[key], after):
        if table not in tables or not column:
            there.add(table in tables)
            continue
        if table not in columns:
            columns[table] = _columns(connection, tables[table])
        there.add(column in columns[table])
    return there.pop() if len(there) == 1 else None


def _added(
    connection: BaseDatabaseWrapper, migration: Migration, after: ProjectState
) -> Iterator[tuple[str, str]]:
    """Tables that a migration makes, with an empty name of a column, and columns that it adds to others."""
    for operation in migration.operations:
        if isinstance(operation, CreateModel):
            model = after.models.get((migration.app_label, operation.name_lower))
            if model and model.options.get("managed", True) and not model.options.get("proxy"):
                yield _table(connection, model), ""
        elif isinstance(operation, AddField):
            model = after.models.get((migration.app_label, operation.model_name_lower))
            column = _column(operation.name, operation.field)
            if model and column:
                yield _table(connection, model), column


def _table(connection: BaseDatabaseWrapper, model: ModelState) -> str:
    name = model.options.get("db_table") or truncate_name(
        f"{model.app_label}_{model.name_lower}", connection.ops.max_name_length()
    )
    return str(name).lower()


def _column(name: str, field: models.Field[Any, Any]) -> str:
    """The name in lower case; empty for a field that has none."""
    if isinstance(field, models.ManyToManyField):
        return ""
    default = f"{name}_id" if isinstance(field, models.ForeignKey) else name
    return (field.db_column or default).lower()


def _columns(connection: BaseDatabaseWrapper, table: str) -> set[str]:
    with connection.cursor() as cursor:
        return {it.name.lower() for it in connection.introspection.get_table_description(cursor, table)}
