"""runbook.P405: a foreign key that a pending migration makes has the type of the column it points at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import router
from django.db.migrations import operations
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.databases.key_types import ColumnType
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.coming import Coming
from django_runbook.preflight.layout import target_of
from django_runbook.schema.touching import ModelKey

ID = "runbook.P405"


def check_key_types(coming: Coming, database: Database) -> Iterator[Finding]:
    """The type that the target has on this database, whatever its migrations say.

    Silent on targets that the plan makes or alters.
    """
    if not database.compares_key_types:
        return
    for key, name in _relations(coming):
        if _may_concern(key, name, coming):
            field: Any = coming.unit.after.apps.get_model(*key)._meta.get_field(name)
            through = field.remote_field.through._meta.fields if field.many_to_many else [field]
            for it in through:
                if it.remote_field and it.db_constraint:
                    yield from _found(it, coming, database)


def _relations(coming: Coming) -> Iterator[tuple[ModelKey, str]]:
    match coming.operation:
        case operations.CreateModel() as operation:
            key = coming.model_key(operation.name)
            state = coming.unit.after.models[key]
            is_made = state.options.get("managed", True) and not state.options.get("proxy")
            if is_made and router.allow_migrate(coming.alias, key[0], model_name=key[1]):
                yield from ((key, name) for name, field in operation.fields if field.remote_field)
        case operations.AddField() | operations.AlterField() as operation:
            key = coming.model_key(operation.model_name)
            if operation.field.remote_field and coming.is_here(key):
                yield key, operation.name


def _may_concern(key: ModelKey, name: str, coming: Coming) -> bool:
    """Is there a target, before anything is rendered? A link between two models has two."""
    field: Any = coming.unit.after.models[key].fields[name]
    if field.many_to_many and field.remote_field.through:
        return False
    return target_of(field, key) in coming.today or (field.many_to_many and key in coming.today)


def _found(field: Any, coming: Coming, database: Database) -> Iterator[Finding]:
    target = field.remote_field.model._meta
    key: ModelKey = (target.app_label, target.model_name)
    here = coming.today.get(key)
    if here is None or coming.rewritten_by(key) or field.target_field.name not in here.columns:
        return
    own = field.model._meta
    table, column = _today(field, coming, database)
    found = database.unfit_key(
        ColumnType(**_parameters(field, database)),
        table,
        column,
        here.table,
        here.columns[field.target_field.name],
    )
    if found:
        yield Finding(
            id=ID,
            severity=Severity.ERROR,
            message=_(
                "%(migration)s (%(operation)s) makes %(column)s (%(type)s) a foreign key to %(target)s, "
                "which is %(target_type)s on this database. The server refuses to connect the two."
            )
            % {
                "migration": coming.migration,
                "operation": coming.words,
                "column": f"{own.db_table}.{field.column}",
                "type": found[0],
                "target": f"{here.table}.{here.columns[field.target_field.name]}",
                "target_type": found[1],
            },
            hint=_(
                "Give one of them the type and the collation of the other, with all columns that are "
                "connected to it already; or set db_constraint=False."
            ),
            subject=here.table,
        )


def _parameters(field: Any, database: Database) -> dict[str, str]:
    found = field.db_parameters(database.connection)
    return {"name": found["type"], "collation": found.get("collation") or ""}


def _today(field: Any, coming: Coming, database: Database) -> tuple[str, str]:
    """The table as it is now, and the column if it is there and its type stays; else nothing."""
    options = field.model._meta
    key = (options.app_label, options.model_name)
    here = coming.today.get(key)
    if here is None:
        return "", ""
    column = here.columns.get(field.name, "")
    if column:
        was = coming.unit.before.apps.get_model(*key)._meta.get_field(field.name)
        column = column if _parameters(was, database) == _parameters(field, database) else ""
    return here.table, column


CHECK = Check(
    id=ID,
    title=gettext_lazy("a foreign key that a pending migration makes has the type of what it points at"),
    look=check_key_types,
)
