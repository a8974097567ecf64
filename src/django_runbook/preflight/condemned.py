"""Rows of today that a coming operation will refuse or change, by a condition in SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from django_runbook.databases import Database
from django_runbook.preflight.base import Finding, Severity
from django_runbook.preflight.coming import Coming
from django_runbook.preflight.wording import shown
from django_runbook.schema.touching import ModelKey

SHOWN = 5
"""How many rows a finding names."""


@dataclass(frozen=True, slots=True)
class Condemned:
    """The rows that a condition finds."""

    count: int
    query: str
    """Lists them all."""
    examples: tuple[str, ...]


def condemned(
    coming: Coming, model: ModelKey, columns: list[str], where: str, database: Database
) -> Condemned | None:
    """Look for rows of a model. The condition is over quoted columns of today; NULL counts as false."""
    meta: Any = coming.rows_today(model)._meta
    table = database.connection.ops.quote_name(meta.db_table)
    [(count,)] = database.ask(f"SELECT COUNT(*) FROM {table} WHERE {where}")
    if not count:
        return None
    keys = [it.column for it in getattr(meta, "pk_fields", None) or [meta.pk]]
    names = list(dict.fromkeys([*keys, *columns]))
    listed = ", ".join(map(database.quote, names))
    order = ", ".join(map(database.quote, keys))
    query = f"SELECT {listed} FROM {table} WHERE {where} ORDER BY {order}"
    rows = database.ask(f"{query} LIMIT {SHOWN}")
    return Condemned(int(count), f"{query};", tuple(_line(names, row) for row in rows))


def made_finding(
    id: str,
    coming: Coming,
    model: ModelKey,
    message: str,
    hint: str,
    examples: tuple[str, ...],
    *,
    fails: bool,
) -> Finding:
    """A warning where the operation does not fail, or an earlier step of the plan may mend the rows first."""
    step = coming.rewritten_by(model)
    if step:
        message = (
            _("%(finding)s It fails unless %(step)s mends it first.")
            % {
                "finding": message,
                "step": step,
            }
            if fails
            else message
        )
    return Finding(
        id=id,
        severity=Severity.ERROR if fails and not step else Severity.WARNING,
        message=message,
        hint=hint,
        subject=coming.today[model].table,
        examples=examples,
    )


def _line(names: list[str], values: tuple[Any, ...]) -> str:
    return ", ".join(f"{name} = {shown(value)}" for name, value in zip(names, values, strict=True))
