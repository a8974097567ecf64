"""The columns of today whose type a coming AlterField changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.schema import _related_non_m2m_objects  # type: ignore[attr-defined]
from django.db.migrations import operations

from django_runbook.databases import Database
from django_runbook.databases.misfits import kind_of, kind_of_name
from django_runbook.preflight.coming import Coming
from django_runbook.schema.touching import ModelKey

COMPARED = {"text", "integer", "DecimalField", "FloatField"}
"""Kinds of which every server's introspection is sure."""


@dataclass(frozen=True, slots=True)
class AlteredColumn:
    """One column that holds rows today."""

    model: ModelKey
    column: str
    """Its name today."""
    old: Any
    """The field as it is before the operation, bound to its model."""
    new: Any


def altered_columns(coming: Coming, database: Database) -> Iterator[AlteredColumn]:
    """The field's own; then those of foreign keys at it, and at these, whose type changes with it.

    Nothing of a column that the plan adds, whose type stays, or that the plan makes a text of a number, or
    the other way round, before.
    """
    operation = coming.operation
    if not isinstance(operation, operations.AlterField):
        return
    key = coming.model_key(operation.model_name)
    if not coming.is_here(key) or operation.name not in coming.today[key].columns:
        return
    old = coming.unit.before.apps.get_model(*key)._meta.get_field(operation.name)
    new = coming.unit.after.apps.get_model(*key)._meta.get_field(operation.name)
    types = [_type(field, database) for field in (old, new)]
    if types[0] == types[1] or not all(types):
        return
    for altered in (
        AlteredColumn(key, coming.today[key].columns[operation.name], old, new),
        *_following(coming, old, new),
    ):
        if _is_of_old_kind(altered, coming, database):
            yield altered


def _following(coming: Coming, old: Any, new: Any) -> Iterator[AlteredColumn]:
    if not (old.unique and new.unique):
        return
    for was, now in _related_non_m2m_objects(old, new):
        meta = was.related_model._meta
        key = meta.app_label, meta.model_name
        here = coming.today.get(key)
        if coming.is_here(key) and here and was.field.name in here.columns:
            yield AlteredColumn(key, here.columns[was.field.name], was.field, now.field)


def _is_of_old_kind(altered: AlteredColumn, coming: Coming, database: Database) -> bool:
    """Or has the column another kind of type today, which an earlier operation of the plan changes?"""
    introspection: Any = database.connection.introspection
    with database.connection.cursor() as cursor:
        described = introspection.get_table_description(cursor, coming.today[altered.model].table)
    info = next((it for it in described if it.name == altered.column), None)
    if info is None:
        return True
    try:
        found = introspection.get_field_type(info.type_code, info)
    except KeyError:  # a type that Django does not know
        return True
    live = kind_of_name(found[0] if isinstance(found, tuple) else found)
    return live not in COMPARED or kind_of(altered.old) not in COMPARED or live == kind_of(altered.old)


def _type(field: Any, database: Database) -> Any:
    parameters = field.db_parameters(connection=database.connection)
    return parameters["type"] and (parameters["type"], parameters["check"])
