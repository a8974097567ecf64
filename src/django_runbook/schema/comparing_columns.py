"""Compare the columns of a table with the fields of its model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from django_runbook.databases.columns import LiveColumn
from django_runbook.schema.differences import Difference, Kind
from django_runbook.schema.live import Live


def compare_columns(model: type[models.Model], live: Live) -> Iterator[Difference]:
    """Missing and extra columns, NULL; of tables also type, numbering and collation."""
    table = model._meta.db_table
    there = live.columns(table)
    fields = {field.column: field for field in with_column(model)}
    for column in sorted(fields.keys() - there.keys()):
        yield Difference(kind=Kind.MISSING_COLUMN, table=table, column=column)
    for column in sorted(there.keys() - fields.keys()):
        needed = not (there[column].accepts_null or there[column].fills_itself or live.is_view(table))
        kind = Kind.REQUIRED_COLUMN if needed else Kind.EXTRA_COLUMN
        yield Difference(kind=kind, table=table, column=column)
    for column in sorted(fields.keys() & there.keys()):
        yield from _compare_null(model, fields[column], there[column], live.connection)
        if not live.is_view(table):
            yield from _compare_type(model, fields[column], there[column], live)


def with_column(model: type[models.Model]) -> list[Any]:
    """Fields that have a column of their own in the model's table."""
    return [field for field in model._meta.local_concrete_fields if field.column]


def _compare_null(
    model: type[models.Model], field: Any, there: LiveColumn, connection: BaseDatabaseWrapper
) -> Iterator[Difference]:
    if field.primary_key or field.generated or _accepts_null(field, connection) == there.accepts_null:
        return
    kind = Kind.NULLABLE if there.accepts_null else Kind.NOT_NULL
    yield Difference(kind=kind, table=model._meta.db_table, column=field.column)


def _accepts_null(field: Any, connection: BaseDatabaseWrapper) -> bool:
    empty_is_null = connection.features.interprets_empty_strings_as_nulls and field.empty_strings_allowed
    return bool(field.null or empty_is_null)


def _compare_type(
    model: type[models.Model], field: Any, there: LiveColumn, live: Live
) -> Iterator[Difference]:
    """Nothing is said of a type that the server does not know, as of an extension that is not there."""
    table, connection = model._meta.db_table, live.connection
    column = str(field.column)
    expected, found = str(field.db_type(connection)), there.type
    wanted, has = live.comparable_type(expected), live.comparable_type(found)
    if wanted and has and wanted != has:
        yield Difference(kind=Kind.WRONG_TYPE, table=table, column=column, expected=expected, found=found)
    elif isinstance(field, models.AutoField) and not there.counts:
        yield Difference(kind=Kind.NO_NUMBERS, table=table, column=column)
    collation = field.db_parameters(connection).get("collation") or ""
    if collation and there.collation and collation != there.collation:
        yield Difference(
            kind=Kind.WRONG_COLLATION,
            table=table,
            column=column,
            expected=collation,
            found=there.collation,
        )
