"""runbook.P409: no row violates a check that a pending migration adds or validates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.exceptions import FieldError
from django.db import models
from django.db.migrations import operations
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.preflight.base import Check, Finding
from django_runbook.preflight.coming import Coming
from django_runbook.preflight.condemned import condemned, made_finding
from django_runbook.schema.nature import names_in
from django_runbook.schema.touching import ModelKey


def check_violations(coming: Coming, database: Database) -> Iterator[Finding]:
    """By the very SQL that Django puts into the constraint. A row for which it is NULL passes."""
    if not database.connection.features.supports_table_check_constraints:
        return
    named = _coming_check(coming)
    if named is None or not coming.is_here(named[0]):
        return
    key, constraint = named
    sql = _sql(constraint, coming, key, database)
    found = (
        condemned(coming, key, _columns(constraint, coming, key), f"NOT ({sql})", database) if sql else None
    )
    if found is None:
        return
    message = _(
        "%(migration)s demands %(constraint)s of every row of %(table)s: %(sql)s. Rows that violate it: "
        "%(count)d."
    ) % {
        "migration": coming.migration,
        "constraint": constraint.name,
        "table": coming.today[key].table,
        "sql": sql,
        "count": found.count,
    }
    hint = _("Correct these rows before. This lists them all:\n%(query)s") % {"query": found.query}
    yield made_finding("runbook.P409", coming, key, message, hint, found.examples, fails=True)


def _coming_check(coming: Coming) -> tuple[ModelKey, Any] | None:
    """The check that the rows must pass, and its model. One added as NOT VALID asks nothing of them."""
    operation: Any = coming.operation
    kind = type(operation).__name__
    if kind == "ValidateConstraint":
        key = coming.model_key(operation.model_name)
        constraint = coming.unit.before.models[key].get_constraint_by_name(operation.name)
    elif isinstance(operation, operations.AddConstraint) and kind != "AddConstraintNotValid":
        key, constraint = coming.model_key(operation.model_name), operation.constraint
    else:
        return None
    return (key, constraint) if isinstance(constraint, models.CheckConstraint) else None


def _sql(constraint: Any, coming: Coming, key: ModelKey, database: Database) -> str:
    """Over the columns of today; empty if it speaks of one that the plan adds."""
    try:
        editor = database.connection.schema_editor()
        return str(constraint._get_check_sql(coming.rows_today(key), editor))
    except FieldError:
        return ""


def _columns(constraint: Any, coming: Coming, key: ModelKey) -> list[str]:
    columns = coming.today[key].columns
    names = names_in(constraint.condition) if isinstance(constraint.condition, models.Q) else set()
    return [columns[name] for name in sorted(names) if name in columns]


CHECK = Check(
    id="runbook.P409",
    title=gettext_lazy("no row violates a check that a pending migration adds"),
    look=check_violations,
)
