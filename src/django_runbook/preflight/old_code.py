"""Operations under which the code of before, which still runs, breaks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.migrations import operations
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.coming import Coming, coming
from django_runbook.schema.history import Key
from django_runbook.steps import Migrate, Restart

ID = "runbook.P503"


def look(plan: Plan, database: Database) -> Iterator[Finding]:
    """Of migrations before the last restart; of all, if the plan restarts nothing."""
    early = _under_old_code(plan)
    for it in coming(plan, database.alias) if early else ():
        broken = _broken(it) if it.key in early else None
        if broken:
            table, why, hint = broken
            yield Finding(
                id=ID,
                severity=Severity.WARNING,
                message=_(
                    "%(migration)s: %(operation)s. Until the service is restarted the code of before runs, "
                    "and %(why)s"
                )
                % {"migration": it.migration, "operation": it.words, "why": why},
                hint=hint,
                subject=table,
            )


def _under_old_code(plan: Plan) -> set[Key]:
    restarts = [number for number, it in enumerate(plan.steps) if isinstance(it.step, Restart)]
    steps = plan.steps[: restarts[-1]] if restarts else plan.steps
    return {key for it in steps if isinstance(it.step, Migrate) for key in it.step.keys(it.place)}


def _broken(it: Coming) -> tuple[str, str, str] | None:
    """The table, what the old code does wrong, and the safe form."""
    operation: Any = it.operation
    name = getattr(operation, "model_name", None) or getattr(operation, "old_name", None)
    if not isinstance(operation, operations.RenameModel):
        name = getattr(operation, "model_name", None) or getattr(operation, "name", None)
    key = it.model_key(name) if name else ("", "")
    if not it.is_here(key):
        return None
    table = it.today[key].table
    match operation:
        case operations.RemoveField() if operation.name in it.today[key].columns:
            return table, _gone(it.today[key].columns[operation.name]), _later()
        case operations.RenameField() if operation.old_name in it.today[key].columns:
            old = _field(it.unit.before, key, operation.old_name)
            if old.column != _field(it.unit.after, key, operation.new_name).column:
                return table, _gone(old.column), _expand()
        case operations.DeleteModel():
            return table, _no_table(table), _later()
        case operations.RenameModel() | operations.AlterModelTable():
            new_name = getattr(operation, "new_name", None) or name
            after = it.unit.after.apps.get_model(key[0], new_name)
            if after._meta.db_table != it.unit.before.apps.get_model(*key)._meta.db_table:
                return table, _no_table(table), _same_table(table)
        case operations.AddField() | operations.AlterField():
            return _required(it, key, table)
    return None


def _required(it: Coming, key: tuple[str, str], table: str) -> tuple[str, str, str] | None:
    operation: Any = it.operation
    new = _field(it.unit.after, key, operation.name)
    if not new.column or new.null or new.has_db_default() or new.generated or new.primary_key:
        return None
    if isinstance(operation, operations.AlterField):
        was_null = _field(it.unit.before, key, operation.name).null
        if not was_null or operation.name not in it.today[key].columns:
            return None
    why = _("rows that it adds to %(table)s without a value for %(column)s are refused.")
    return table, why % {"table": table, "column": new.column}, _optional(new.name)


def _field(state: Any, key: tuple[str, str], name: str) -> Any:
    return state.apps.get_model(*key)._meta.get_field(name)


def _gone(column: str) -> str:
    return _("each of its queries that names the column %(column)s fails.") % {"column": column}


def _no_table(table: str) -> str:
    return _("each of its queries on the table %(table)s fails.") % {"table": table}


def _later() -> str:
    return _("First release the code that does not use it any more, then remove it after that one's Restart.")


def _expand() -> str:
    return _(
        "Keep the column with db_column. To rename it all the same: add a new one, write both, fill it with "
        "a Backfill step, and remove the old one in a later release."
    )


def _same_table(table: str) -> str:
    return _('Keep the table with `db_table = "%(table)s"` in the model\'s Meta.') % {"table": table}


def _optional(name: str) -> str:
    return _(
        "Give %(field)s a db_default, which the database fills in for the old code; or null=True now, and "
        "null=False in a migration after the Restart."
    ) % {"field": name}


CHECK = Check(
    id=ID, title=gettext_lazy("no operation breaks the code that runs until the restart"), look=look
)
