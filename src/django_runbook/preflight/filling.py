"""What Django puts into rows that are there when a column comes, or comes to refuse NULL."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.migrations import operations
from django.db.models import Value

from django_runbook.databases import Database


def one_value_for_all(field: Any, *, null: bool) -> bool:
    """Does a new column hold the same in all rows? `null` says whether NULL counts as a value.

    A default that Python computes is asked for once; one that the server computes, once for each row.
    """
    if isinstance(field, models.AutoField | models.BigAutoField | models.SmallAutoField) or field.generated:
        return False
    if field.has_db_default():
        return not hasattr(field.db_default, "resolve_expression") or isinstance(field.db_default, Value)
    return has_value(field) or (field.null and null)


def has_value(field: Any) -> bool:
    """Does Django know a value other than NULL for the rows that are there? Asks no callable."""
    if field.has_db_default():
        return True
    if field.has_default():
        return field.default is not None
    is_empty_text = not field.null and field.blank and field.empty_strings_allowed
    return bool(is_empty_text or getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False))


def fills_nulls(operation: operations.AlterField, was: Any, database: Database) -> bool:
    """Does the operation, which puts NOT NULL on a column, replace the NULLs in it?

    Django updates them where a default is given. SQLite's table is made anew by a copy, which also takes
    what Django would put into a new row: an empty text, or the present time.
    """
    now = operation.field
    if not was.null or now.null:
        return False
    if database.alters_by_copy:
        return has_value(now)
    return bool(now.has_db_default() or (now.has_default() and now.default is not None))


def filled_by_default(operation: operations.AlterField, was: Any, database: Database) -> Any:
    """The value that replaces NULLs; None if there is none, or if it is not known before it is asked for.

    Nor is it known for a column that gets another type, in which the old values would have to be read.
    """
    now = operation.field
    is_of_one_kind = type(now) is type(was) or (now.remote_field and was.remote_field)
    if not is_of_one_kind or not fills_nulls(operation, was, database):
        return None
    if now.has_db_default():
        return now.db_default.value if isinstance(now.db_default, Value) else None
    if now.has_default():
        return None if callable(now.default) else now.default
    return "" if now.blank and now.empty_strings_allowed else None
