"""What findings about rows have in common."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from django_runbook.databases import Database
from django_runbook.preflight.base import Severity
from django_runbook.preflight.coming import Coming
from django_runbook.schema.touching import ModelKey

EXAMPLES = 5
"""How many rows are named."""
LONGEST = 60
"""Characters of a value that are shown."""


def severity_of(coming: Coming, *keys: ModelKey) -> Severity:
    """A warning if an earlier step of the plan may mend the rows first."""
    return Severity.WARNING if _mending(coming, keys) else Severity.ERROR


def unless_mended(message: str, coming: Coming, *keys: ModelKey) -> str:
    """The message, with the earlier step that may mend the rows first, if there is one."""
    step = _mending(coming, keys)
    if not step:
        return message
    return _("%(finding)s It fails unless %(step)s mends it first.") % {"finding": message, "step": step}


def listing(rows: QuerySet[Any], database: Database) -> str:
    """The query as a statement to paste."""
    sql, params = rows.query.get_compiler(using=database.alias).as_sql()
    return f"{database.text(sql, params)};"


def first_keys(rows: QuerySet[Any], *names: str) -> tuple[str, ...]:
    """The keys of the first rows, with the values of some fields, a line each."""
    found = rows.order_by("pk").values_list("pk", *names)[:EXAMPLES]
    names = (rows.model._meta.pk.name, *names)
    return tuple(
        ", ".join(f"{name} = {shown(it)}" for name, it in zip(names, row, strict=True)) for row in found
    )


def shown(value: Any) -> str:
    """A value, on one line."""
    text = "NULL" if value is None else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _mending(coming: Coming, keys: tuple[ModelKey, ...]) -> str:
    return next(filter(None, (coming.rewritten_by(key) for key in keys)), "")
