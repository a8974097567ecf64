"""What a coming operation changes in tables that are there today, change by change.

Read from the operation and the fields before and after it. The SQL that Django would send says more, but of
a later migration it cannot be collected: the schema that its editor would look at is not there yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import models
from django.db.migrations import operations

from django_runbook.databases.ddl_costs import Change, Kind
from django_runbook.preflight.coming import Coming
from django_runbook.schema.touching import ModelKey

Found = tuple[ModelKey, Change]


def changes(coming: Coming) -> Iterator[Found]:
    """Of built-in operations; SQL text and Python code are their author's to judge."""
    operation: Any = coming.operation
    name = getattr(operation, "model_name", None) or getattr(operation, "name", None)
    key = coming.model_key(name) if name else ("", "")
    if not coming.is_here(key):
        return
    for change in _of(operation, key, coming):
        yield key, change


def _of(operation: Any, key: ModelKey, coming: Coming) -> Iterator[Change]:
    classes = {cls.__name__ for cls in type(operation).__mro__}
    if classes & {"AddIndexConcurrently", "AddConstraintNotValid"}:
        return  # by name, because their module cannot be imported without psycopg
    match operation:
        case operations.AddField():
            yield from _added(coming.unit.after.apps.get_model(*key)._meta.get_field(operation.name))
        case operations.RemoveField():
            field: Any = coming.unit.before.apps.get_model(*key)._meta.get_field(operation.name)
            if field.column and operation.name in coming.today[key].columns:
                yield Change(kind=Kind.DROP_COLUMN, old=field)
        case operations.AlterField():
            if operation.name in coming.today[key].columns:
                old: Any = coming.unit.before.apps.get_model(*key)._meta.get_field(operation.name)
                yield from _altered(old, coming.unit.after.apps.get_model(*key)._meta.get_field(old.name))
        case operations.AddIndex():
            yield Change(kind=Kind.ADD_INDEX)
        case operations.AddConstraint():
            yield from _constrained(operation.constraint)
        case operations.AlterUniqueTogether():
            had = coming.unit.before.models[key].options.get("unique_together") or ()
            if {tuple(it) for it in operation.option_value or ()} - {tuple(it) for it in had}:
                yield Change(kind=Kind.ADD_UNIQUE)


def _added(field: Any) -> Iterator[Change]:
    if not field.column:
        return
    is_reference = field.remote_field and field.db_constraint
    yield Change(kind=Kind.ADD_REFERENCE if is_reference else Kind.ADD_COLUMN, new=field)
    if field.unique:
        yield Change(kind=Kind.ADD_UNIQUE, new=field)
    elif field.db_index:
        yield Change(kind=Kind.ADD_INDEX, new=field)


def _altered(old: Any, new: Any) -> Iterator[Change]:
    if not (old.column and new.column):
        return
    yield Change(kind=Kind.ALTER_TYPE, old=old, new=new)
    if old.null and not new.null:
        yield Change(kind=Kind.SET_NOT_NULL, old=old, new=new)
    if new.unique and not old.unique:
        yield Change(kind=Kind.ADD_UNIQUE, old=old, new=new)
    elif new.db_index and not old.db_index:
        yield Change(kind=Kind.ADD_INDEX, old=old, new=new)
    if _references(new) and not _references(old):
        yield Change(kind=Kind.ADD_FOREIGN_KEY, old=old, new=new)


def _references(field: Any) -> bool:
    return bool(field.remote_field and field.db_constraint)


def _constrained(constraint: models.BaseConstraint) -> Iterator[Change]:
    if isinstance(constraint, models.CheckConstraint):
        yield Change(kind=Kind.ADD_CHECK)
    elif isinstance(constraint, models.UniqueConstraint):
        is_index = constraint.condition or constraint.expressions
        yield Change(kind=Kind.ADD_INDEX if is_index else Kind.ADD_UNIQUE)
