"""runbook.P402: no row is NULL where a pending migration demands a value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.migrations import operations
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.coming import Coming
from django_runbook.preflight.filling import fills_nulls, has_value
from django_runbook.preflight.wording import first_keys, listing, severity_of, unless_mended
from django_runbook.schema.touching import ModelKey

ID = "runbook.P402"


def check_nulls(coming: Coming, database: Database) -> Iterator[Finding]:
    """Silent on a column that a step before fills and another one verifies, and where Django fills it."""
    operation = coming.operation
    if not isinstance(operation, operations.AlterField):
        return
    key = coming.model_key(operation.model_name)
    was: Any = coming.unit.before.models[key].fields[operation.name]
    if was.many_to_many or not was.null or operation.field.null or fills_nulls(operation, was, database):
        return
    if (".".join(key), operation.name) in coming.settled or not coming.is_here(key):
        return
    here = coming.today[key]
    if operation.name in here.columns:
        yield from _of_today(key, operation.name, coming, database)
    elif operation.name in here.added and not has_value(here.added[operation.name]):
        yield from _of_new(key, operation.name, coming, database)


def _of_today(key: ModelKey, name: str, coming: Coming, database: Database) -> Iterator[Finding]:
    rows = coming.rows_today(key)._base_manager.using(database.alias)
    rows = rows.filter(**{f"{name}__isnull": True})
    if not rows.exists():
        return
    table = coming.today[key].table
    words = {
        "migration": coming.migration,
        "operation": coming.words,
        "column": f"{table}.{coming.today[key].columns[name]}",
        "rows": rows.count(),
    }
    if database.replaces_null():
        severity, message = (
            Severity.WARNING,
            _(
                "%(migration)s (%(operation)s) makes %(column)s NOT NULL; in %(rows)s row(s) it is NULL, and "
                "the server will silently put a zero or an empty text there."
            )
            % words,
        )
    else:
        severity = severity_of(coming, key)
        message = unless_mended(
            _(
                "%(migration)s (%(operation)s) makes %(column)s NOT NULL, but in %(rows)s row(s) it is NULL, "
                "and the operation brings no default."
            )
            % words,
            coming,
            key,
        )
    yield Finding(
        id=ID,
        severity=severity,
        message=message,
        hint=_("Give these rows a value first, as in a backfill. This lists them all:\n%(query)s")
        % {"query": listing(rows.order_by("pk").values("pk"), database)},
        subject=table,
        examples=first_keys(rows),
    )


def _of_new(key: ModelKey, name: str, coming: Coming, database: Database) -> Iterator[Finding]:
    """A column that the plan itself adds, without a default, and that no step fills."""
    rows = coming.rows_today(key)._base_manager.using(database.alias)
    if coming.rewritten_by(key) or not rows.exists():
        return
    table = coming.today[key].table
    yield Finding(
        id=ID,
        severity=Severity.WARNING if database.replaces_null() else Severity.ERROR,
        message=_(
            "%(migration)s (%(operation)s) makes field %(field)s of table %(table)s NOT NULL. The plan adds "
            "it with NULL in all rows, and no step before fills it."
        )
        % {"migration": coming.migration, "operation": coming.words, "field": name, "table": table},
        hint=_("Put a Backfill that fills it before this migration, or give the operation a default."),
        subject=table,
    )


CHECK = Check(
    id=ID,
    title=gettext_lazy("no row is NULL where a pending migration demands a value"),
    look=check_nulls,
)
