"""runbook.P413: no date is zero in a table whose rows a pending migration makes the server copy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.databases.misfits import kind_of
from django_runbook.preflight.altered_columns import altered_columns
from django_runbook.preflight.base import Check, Finding
from django_runbook.preflight.coming import Coming
from django_runbook.preflight.condemned import condemned, made_finding
from django_runbook.schema.touching import ModelKey


def check_zero_dates(coming: Coming, database: Database) -> Iterator[Finding]:
    """The copy refuses them, whatever column it is made for. Texts alone change without a copy, or may."""
    for altered in altered_columns(coming, database):
        if {kind_of(altered.old), kind_of(altered.new)} != {"text"}:
            yield from _found(altered.model, coming, database)


def _found(model: ModelKey, coming: Coming, database: Database) -> Iterator[Finding]:
    """By keys alone: drivers show such a date as NULL."""
    fields: Any = coming.rows_today(model)._meta.local_concrete_fields
    columns = [it.column for it in fields if kind_of(it) in ("DateField", "DateTimeField")]
    where = " OR ".join(filter(None, (database.misfits.zero_date(database.quote(it)) for it in columns)))
    found = condemned(coming, model, [], where, database) if where else None
    if found is None:
        return
    message = _(
        "%(migration)s makes the server copy all rows of %(table)s, and its sql_mode refuses dates that are "
        "zero, as in '0000-00-00'. Rows with such a date: %(count)d."
    ) % {"migration": coming.migration, "table": coming.today[model].table, "count": found.count}
    hint = _("Set them to NULL or to a real date before. This lists them all:\n%(query)s")
    yield made_finding(
        "runbook.P413", coming, model, message, hint % {"query": found.query}, found.examples, fails=True
    )


CHECK = Check(
    id="runbook.P413",
    title=gettext_lazy("no date is zero in a table whose rows a pending migration makes the server copy"),
    look=check_zero_dates,
)
