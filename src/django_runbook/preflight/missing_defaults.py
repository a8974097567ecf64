"""runbook.P404: rows get a value where a pending migration adds a column that must have one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import models
from django.db.migrations import operations
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.coming import Coming
from django_runbook.preflight.filling import has_value
from django_runbook.preflight.layout import drawn_table
from django_runbook.preflight.wording import severity_of, unless_mended
from django_runbook.schema.touching import ModelKey

ID = "runbook.P404"


def check_missing_defaults(coming: Coming, database: Database) -> Iterator[Finding]:
    """A server may put in a value of its own, and may then refuse that for a foreign key or a unique key."""
    operation = coming.operation
    if not isinstance(operation, operations.AddField) or _needs_nothing(operation.field):
        return
    key = coming.model_key(operation.model_name)
    drawn = drawn_table(key, coming.unit.after.models[key])
    if drawn is None or operation.name not in drawn.columns or not coming.is_here(key):
        return
    rows = coming.rows_today(key)._base_manager.using(database.alias)
    first = list(rows.values_list("pk", flat=True)[:2])
    if first:
        yield _finding(key, drawn.columns[operation.name], len(first) > 1, coming, database)


def _needs_nothing(field: Any) -> bool:
    counts = isinstance(field, models.AutoField | models.BigAutoField | models.SmallAutoField)
    return field.null or field.many_to_many or field.generated or counts or has_value(field)


def _finding(key: ModelKey, column: str, several: bool, coming: Coming, database: Database) -> Finding:
    after = coming.unit.after.apps.get_model(*key)
    field: Any = after._meta.get_field(coming.operation.name)  # type: ignore[attr-defined]
    value = database.implicit_value(field.db_parameters(database.connection)["type"])
    bound = field.remote_field and field.db_constraint
    table = coming.today[key].table
    words = {
        "migration": coming.migration,
        "operation": coming.words,
        "column": f"{table}.{column}",
        "value": value,
    }
    fails = value is None or bound or (field.unique and several)
    if fails:
        message = unless_mended(
            _(
                "%(migration)s (%(operation)s) adds %(column)s, which is NOT NULL and has no default, to a "
                "table with rows."
            )
            % words,
            coming,
            key,
        )
    else:
        message = (
            _(
                "%(migration)s (%(operation)s) adds %(column)s, which is NOT NULL and has no default: the "
                "server will silently put %(value)s into all rows that are there."
            )
            % words
        )
    return Finding(
        id=ID,
        severity=severity_of(coming, key) if fails else Severity.WARNING,
        message=message,
        hint=_(
            "Give the field a default (with preserve_default=False, if only for these rows), or add it with "
            "null=True, fill it, and then alter it."
        ),
        subject=table,
    )


CHECK = Check(
    id=ID,
    title=gettext_lazy("rows get a value where a pending migration adds a column that must have one"),
    look=check_missing_defaults,
)
