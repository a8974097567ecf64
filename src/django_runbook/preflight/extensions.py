"""runbook.P412: the extension that exclusion constraints of the plan need is there, or created before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.migrations import operations
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.databases.misfits import kind_of
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.coming import Coming, coming
from django_runbook.preflight.exclusions import is_exclusion
from django_runbook.schema.touching import ModelKey, source_beside

EXTENSION = "btree_gist"
SCALARS = {
    "text",
    "integer",
    "DecimalField",
    "FloatField",
    "DateField",
    "DateTimeField",
    "TimeField",
    "UUIDField",
}
"""What a GiST index compares by "=" only with the extension; of ranges it knows that by itself."""


def check_extensions(plan: Plan, database: Database) -> Iterator[Finding]:
    """On an empty table, too. Expressions and classes of operators of the author's own are not judged."""
    if not database.has_exclusions:
        return
    for it in coming(plan, database.alias):
        if _may_create(it):
            return
        for key, constraint in _constraints(it):
            if _needs(constraint, it, key) and not _is_there(database):
                yield _missing(constraint, it, key)
                return


def _may_create(it: Coming) -> bool:
    operation: Any = it.operation
    if isinstance(operation, operations.RunPython):
        return EXTENSION in source_beside(operation.code)
    if isinstance(operation, operations.RunSQL):
        return EXTENSION in str(operation.sql)
    return getattr(operation, "name", "") == EXTENSION


def _constraints(it: Coming) -> Iterator[tuple[ModelKey, Any]]:
    operation: Any = it.operation
    if isinstance(operation, operations.AddConstraint):
        yield it.model_key(operation.model_name), operation.constraint
    elif isinstance(operation, operations.CreateModel):
        for constraint in operation.options.get("constraints", ()):
            yield it.model_key(operation.name), constraint


def _needs(constraint: Any, it: Coming, key: ModelKey) -> bool:
    if not is_exclusion(constraint) or constraint.index_type.lower() != "gist":
        return False
    fields: Any = it.unit.after.models[key].fields
    return any(
        operator == "=" and isinstance(name, str) and name in fields and _is_scalar(fields[name])
        for name, operator in constraint.expressions
    )


def _is_scalar(field: Any) -> bool:
    return bool(field.remote_field) or kind_of(field) in SCALARS


def _is_there(database: Database) -> bool:
    return bool(database.ask("SELECT 1 FROM pg_extension WHERE extname = %s", [EXTENSION]))


def _missing(constraint: Any, it: Coming, key: ModelKey) -> Finding:
    names = {"migration": it.migration, "constraint": constraint.name, "extension": EXTENSION}
    return Finding(
        id="runbook.P412",
        severity=Severity.ERROR,
        message=_(
            "%(migration)s adds %(constraint)s, whose index needs the extension %(extension)s, which this "
            "database does not have."
        )
        % names,
        hint=_(
            "Add BtreeGistExtension() to the migration before it, or run `CREATE EXTENSION %(extension)s;`."
        )
        % names,
        subject=it.unit.after.models[key].options.get("db_table") or "_".join(key),
    )


CHECK = Check(
    id="runbook.P412",
    title=gettext_lazy("the extension that exclusion constraints of the plan need is there"),
    look=check_extensions,
)
