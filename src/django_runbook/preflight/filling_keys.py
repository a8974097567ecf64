"""runbook.P411: the numbers of new rows will not soon be used up."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import models
from django.db.migrations import operations
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.databases.keys import FillingKey
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.coming import coming
from django_runbook.preflight.engines import ALWAYS_WRITTEN

NEARLY = 0.8
"""From here on it is worth a line."""


def check_filling_keys(plan: Plan, database: Database) -> Iterator[Finding]:
    """Of all tables there are but those that the plan gives a wider key.

    An error only where every run writes and no number is left.
    """
    found = database.nearly_full(NEARLY)
    widened = _widened(plan, database) if found else set()
    for it in found:
        if it.table in widened:
            continue
        is_needed = it.table in ALWAYS_WRITTEN and not it.target and it.next_value > it.limit
        yield Finding(
            id="runbook.P411",
            severity=Severity.ERROR if is_needed else Severity.WARNING,
            message=_message(it),
            hint=_hint(it),
            subject=it.table,
        )


def _widened(plan: Plan, database: Database) -> set[str]:
    """Tables of today whose key becomes a BigAutoField."""
    return {
        it.today[it.model_key(it.operation.model_name)].table
        for it in coming(plan, database.alias)
        if isinstance(it.operation, operations.AlterField)
        and isinstance(it.operation.field, models.BigAutoField)
        and it.is_here(it.model_key(it.operation.model_name))
    }


def _message(it: FillingKey) -> str:
    names = {
        "column": f"{it.table}.{it.column}",
        "next": it.next_value,
        "limit": it.limit,
        "part": min(100 * it.next_value / it.limit, 100),
        "target": it.target,
    }
    if it.target:
        return (
            _(
                "%(column)s points at %(target)s but can hold numbers up to %(limit)d only: %(part).1f %% of "
                "them are used up, and new rows of its target cannot be pointed at then."
            )
            % names
        )
    if it.next_value > it.limit:
        return _("%(column)s has no number left for a new row: the last is %(limit)d.") % names
    return (
        _("%(column)s has used up %(part).1f %% of its numbers: the next is %(next)d, the last %(limit)d.")
        % names
    )


def _hint(it: FillingKey) -> str:
    return _(
        "Make the column a BigAutoField (a foreign key follows its target) in a migration; on a large table "
        "this takes long."
    )


CHECK = Check(
    id="runbook.P411",
    title=gettext_lazy("the numbers of new rows will not soon be used up"),
    look=check_filling_keys,
)
