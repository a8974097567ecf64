"""runbook.P410: no two rows exclude each other under a constraint that a pending migration adds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.exceptions import FieldError
from django.db.migrations import operations
from django.db.models import F
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.preflight.base import Check, Finding
from django_runbook.preflight.coming import Coming
from django_runbook.preflight.condemned import SHOWN, made_finding
from django_runbook.preflight.wording import shown
from django_runbook.schema.touching import ModelKey


def check_exclusions(coming: Coming, database: Database) -> Iterator[Finding]:
    """Every pair of rows for which all operators of the constraint hold, found in one query."""
    operation = coming.operation
    if not isinstance(operation, operations.AddConstraint) or not is_exclusion(operation.constraint):
        return
    key = coming.model_key(operation.model_name)
    if not coming.is_here(key) or not database.has_exclusions:
        return
    try:
        sql, params = _pairs(operation.constraint, coming, key, database)
    except FieldError:  # it speaks of a column that the plan adds
        return
    # Asked for all first: for a LIMIT PostgreSQL compares row by row.
    [(count,)] = database.ask(f"SELECT COUNT(*) FROM ({sql}) AS pair", params)
    if count:
        rows = database.ask(f"{sql} LIMIT {SHOWN}", params)
        yield _finding(operation.constraint, coming, key, database.text(sql, params), rows)


def is_exclusion(constraint: Any) -> bool:
    """Django's own class cannot be imported without PostgreSQL's driver."""
    return type(constraint).__name__ == "ExclusionConstraint" and hasattr(constraint, "index_type")


def _pairs(constraint: Any, coming: Coming, key: ModelKey, database: Database) -> tuple[str, tuple[Any, ...]]:
    """The query for the keys of rows that exclude each other; the earlier one first."""
    model = coming.rows_today(key)
    rows = model._base_manager.using(database.alias).order_by()
    if constraint.condition is not None:
        rows = rows.filter(constraint.condition)
    parts = {
        f"part_{number}": F(it) if isinstance(it, str) else _plain(it)
        for number, (it, _operator) in enumerate(constraint.expressions)
    }
    listed = rows.annotate(row_key=F("pk"), **parts).values("row_key", *parts)
    inner, params = listed.query.get_compiler(using=database.alias).as_sql()
    conditions = [
        f"one.{name} {operator} other.{name}"
        for name, (_it, operator) in zip(parts, constraint.expressions, strict=True)
    ]
    sql = (
        f"WITH part AS NOT MATERIALIZED ({inner}) SELECT one.row_key AS one, other.row_key AS other "
        f"FROM part AS one JOIN part AS other ON one.row_key < other.row_key AND {' AND '.join(conditions)}"
    )
    return sql, tuple(params)


def _plain(expression: Any) -> Any:
    """Without the class of operators that an index would use."""
    while type(expression).__name__ in ("OpClass", "OrderBy"):
        [expression] = expression.get_source_expressions()
    return expression


def _finding(
    constraint: Any, coming: Coming, key: ModelKey, query: str, rows: list[tuple[Any, ...]]
) -> Finding:
    message = _(
        "%(migration)s adds %(constraint)s, under which rows of %(table)s exclude each other that are there "
        "already."
    ) % {
        "migration": coming.migration,
        "constraint": constraint.name,
        "table": coming.today[key].table,
    }
    hint = _("Change or delete one row of each pair before. This lists the keys of all pairs:\n%(query)s") % {
        "query": f"{query};"
    }
    examples = tuple(
        _("%(one)s and %(other)s") % {"one": shown(one), "other": shown(other)} for one, other in rows
    )
    return made_finding("runbook.P410", coming, key, message, hint, examples, fails=True)


CHECK = Check(
    id="runbook.P410",
    title=gettext_lazy("no two rows exclude each other under a constraint that a pending migration adds"),
    look=check_exclusions,
)
