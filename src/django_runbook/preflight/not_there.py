"""runbook.P303: all that a pending migration takes away or renames is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.db.migrations import operations
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.done_already import is_done, record_as_applied
from django_runbook.preflight.effects import Effect, Effects, Pending, Thing
from django_runbook.schema.differences import Difference, Kind
from django_runbook.schema.drift import compare_schema
from django_runbook.schema.mending import Mending

RENAMING = (operations.RenameModel, operations.AlterModelTable, operations.RenameField)


def check_not_there(plan: Plan, database: Database) -> Iterator[Finding]:
    """What a `migrate` that was cut off has taken away already, or someone by hand: Django stops at it."""
    effects = Effects(plan, database)
    for pending in effects.migrations:
        missing = [it for it in pending.effects if _is_missed(it, effects)]
        if missing:
            yield _finding(missing, pending, effects)


def _is_missed(it: Effect, effects: Effects) -> bool:
    if it.made or effects.is_there(it.thing) or not effects.is_known(it.thing):
        return False
    table = Thing(sort="table", table=it.thing.table)
    if it.thing.sort != "table" and not effects.is_there(table):
        return False
    return effects.would_be_missed(it)


def _finding(missing: Sequence[Effect], pending: Pending, effects: Effects) -> Finding:
    words = {"migration": pending.name, "things": ", ".join(str(it.thing) for it in missing)}
    if is_done(pending, effects):
        message = _(
            "Migration %(migration)s is not recorded as applied, but what it takes away or renames is gone: "
            "%(things)s. Django would stop at the first, which does not exist."
        )
        hint = record_as_applied(pending, effects)
    else:
        message = _(
            "Migration %(migration)s is pending, but a part of what it takes away or renames is gone: "
            "%(things)s. Django would stop at the first, which does not exist. A `migrate` that was cut off "
            "leaves this, or work by hand."
        )
        hint = _return(missing, effects)
    handled = all(effects.may_be_handled(it) for it in missing)
    return Finding(
        id="runbook.P303",
        severity=Severity.WARNING if handled else Severity.ERROR,
        message=message % words,
        hint=hint,
        subject=pending.name,
    )


def _return(missing: Sequence[Effect], effects: Effects) -> str:
    """Renamed things get their names back; others come back empty, to be taken away by the migration."""
    statements: list[str] = []
    for it in missing:
        statements += _renamed_back(it, effects) or _made_again(it.thing, effects)
    pasted = "\n".join(f"{it};" for it in statements)
    if all(isinstance(it.operation, RENAMING) for it in missing):
        return pasted
    return (
        _("Bring back what the migration is to take away; what was in it comes only from a backup:")
        + f"\n{pasted}"
    )


def _renamed_back(effect: Effect, effects: Effects) -> list[str]:
    if not isinstance(effect.operation, RENAMING):
        return []
    editor: Any = effects.database.connection.schema_editor()
    new = effects.made_beside(effect)
    if new is None or not effects.is_there(new):
        return []
    quote = effects.database.quote
    if effect.thing.sort == "table":
        words = {"old_table": quote(new.table), "new_table": quote(effect.thing.table)}
        return [editor.sql_rename_table % words]
    table, old, before = quote(new.table), quote(new.name), quote(effect.thing.name)
    return [f"ALTER TABLE {table} RENAME COLUMN {old} TO {before}"]


def _made_again(thing: Thing, effects: Effects) -> list[str]:
    state = effects.state
    found = [
        it
        for it in compare_schema(effects.database.connection, state)
        if it.table == thing.table and _is_of(it, thing)
    ]
    return Mending(effects.database.connection, state).statements(found) if found else []


def _is_of(difference: Difference, thing: Thing) -> bool:
    if thing.sort == "table":
        return difference.kind is Kind.MISSING_TABLE
    if thing.sort == "column":
        return difference.kind is Kind.MISSING_COLUMN and difference.column == thing.name
    return difference.kind in (Kind.MISSING_INDEX, Kind.MISSING_UNIQUE, Kind.MISSING_CHECK)


CHECK = Check(
    id="runbook.P303",
    title=gettext_lazy("all that a pending migration takes away or renames is there"),
    look=check_not_there,
)
