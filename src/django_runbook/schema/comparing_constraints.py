"""Compare the constraints and indexes of a table with those that its model asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.state import ProjectState

from django_runbook.schema.comparing_columns import with_column
from django_runbook.schema.differences import Difference, Kind
from django_runbook.schema.live import Live


def compare_constraints(model: type[models.Model], state: ProjectState, live: Live) -> Iterator[Difference]:
    """Foreign keys, unique constraints, checks and indexes."""
    there = live.constraints(model._meta.db_table)
    yield from _compare_foreign_keys(model, state, live, there)
    yield from _compare_unique(model, live.connection, there)
    yield from _compare_checks(model, live.connection, there)
    yield from _compare_indexes(model, live.connection, list(there.values()))


def _compare_foreign_keys(
    model: type[models.Model], state: ProjectState, live: Live, constraints: Mapping[str, Any]
) -> Iterator[Difference]:
    if not live.connection.features.supports_foreign_keys:
        return
    there = {
        (tuple(it["columns"]), live.fold(it["foreign_key"][0]), it["foreign_key"][1]): name
        for name, it in constraints.items()
        if it["foreign_key"]
    }
    expected = set()
    for field in with_column(model):
        if not field.remote_field:
            continue
        table = matching(field.remote_field.model, state)._meta.db_table
        column = field.target_field.column
        key = ((field.column,), live.fold(table), column)
        expected.add(key)
        if field.db_constraint and key not in there:
            yield Difference(
                kind=Kind.MISSING_FOREIGN_KEY,
                table=model._meta.db_table,
                column=field.column,
                expected=f"{table}.{column}",
            )
    for key in there.keys() - expected:
        columns, table, column = key
        yield Difference(
            kind=Kind.EXTRA_FOREIGN_KEY,
            table=model._meta.db_table,
            column=", ".join(columns),
            expected=f"{table}.{column}",
            found=str(there[key]),
        )


def matching(model: type[models.Model], state: ProjectState) -> type[models.Model]:
    """The target of a relation as it is in `state`: a real model may point at a real one."""
    try:
        return state.apps.get_model(model._meta.label)
    except LookupError:
        return model


def _compare_unique(
    model: type[models.Model], connection: BaseDatabaseWrapper, constraints: Mapping[str, Any]
) -> Iterator[Difference]:
    there = {
        name: frozenset(it["columns"])
        for name, it in constraints.items()
        if it["unique"] or it["primary_key"]
    }
    wanted = []
    for columns, included in _unique_columns(model, connection):
        alternatives = [frozenset(columns), frozenset(columns + included)]
        wanted += alternatives
        if not any(it in there.values() for it in alternatives):
            yield Difference(kind=Kind.MISSING_UNIQUE, table=model._meta.db_table, column=", ".join(columns))
    named = _names(model)
    for name, found in there.items():
        if not (constraints[name]["primary_key"] or found in wanted or name.lower() in named):
            yield Difference(
                kind=Kind.EXTRA_UNIQUE,
                table=model._meta.db_table,
                column=", ".join(filter(None, constraints[name]["columns"])),
                found=name,
            )


def _names(model: type[models.Model]) -> set[str]:
    found = [it.name for it in (*model._meta.constraints, *model._meta.indexes)]
    return {name.lower() for name in found}


def _unique_columns(
    model: type[models.Model], connection: BaseDatabaseWrapper
) -> Iterator[tuple[list[str], list[str]]]:
    """Columns that must be unique together, and those that their index merely carries."""
    for field in with_column(model):
        if field.unique and not field.primary_key:
            yield [field.column], []
    for names in model._meta.unique_together:
        yield column_names(model, names), []
    for constraint in model._meta.constraints:
        if isinstance(constraint, models.UniqueConstraint) and _is_created(constraint, connection):
            yield column_names(model, constraint.fields), column_names(model, _included(constraint))


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


def _compare_checks(
    model: type[models.Model], connection: BaseDatabaseWrapper, constraints: Mapping[str, Any]
) -> Iterator[Difference]:
    """By name: what a check says, every server writes in its own way."""
    if not connection.features.supports_table_check_constraints:
        return
    there = {name.lower() for name in constraints}
    for constraint in model._meta.constraints:
        if isinstance(constraint, models.CheckConstraint) and constraint.name.lower() not in there:
            yield Difference(kind=Kind.MISSING_CHECK, table=model._meta.db_table, expected=constraint.name)


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
    for field in with_column(model):
        if editor._field_should_be_indexed(model, field):  # type: ignore[attr-defined]
            yield [field.column]
    for index in model._meta.indexes:
        if index.fields and not (index.condition or index.expressions or index.include):
            yield column_names(model, [name for name, _order in index.fields_orders])


def column_names(model: type[models.Model], names: Iterable[str]) -> list[str]:
    fields: list[Any] = [model._meta.get_field(name) for name in names]
    return [field.column for field in fields]
