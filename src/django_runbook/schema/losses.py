"""What of the data an operation, or taking it back, would lose. Judged by the rows that are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db import models, router
from django.db.migrations import operations
from django.db.migrations.state import ProjectState
from django.db.models import F, Q
from django.db.models.functions import Cast, Length
from django.utils.translation import gettext as _

from django_runbook.databases import Database
from django_runbook.databases.misfits import INTEGERS
from django_runbook.schema.collect import Unit

Model = type[models.Model]
ModelKey = tuple[str, str]
"""App label and lower-case name of a model."""

TEXTS = {"CharField", "EmailField", "FilePathField", "SlugField", "TextField", "URLField"}
PLAIN_NUMBER = r"^(0|-?[1-9][0-9]*)$"
"""Text that is the same again after it was a number."""


def lost_by(database: Database, unit: Unit, app_label: str) -> str:
    """What is gone once this unit is applied, in words; empty if nothing. Reads rows, changes nothing.

    Of built-in operations that drop or change what rows hold; what Python code and SQL text do with rows
    is their author's to say, by being reversible or not.
    """
    match unit.operation:
        case operations.DeleteModel():
            key = (app_label, unit.operation.name_lower)
            found = _dropped_table(database, _model(database, unit.before, key))
        case operations.RemoveField():
            key = (app_label, unit.operation.model_name_lower)
            found = _dropped_column(database, _model(database, unit.before, key), unit.operation.name)
        case operations.AlterField():
            found = _changed_column(database, unit, app_label)
        case operations.AlterOrderWithRespectTo(order_with_respect_to=None):
            key = (app_label, unit.operation.name_lower)
            found = _dropped_column(database, _model(database, unit.before, key), "_order")
        case _:
            return ""
    return "; ".join(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """A table or a column that a run has brought into being, under its present name."""

    model: ModelKey
    field: str = ""
    """Empty for a whole table."""
    state: ProjectState
    """In which it was added; it is asked where a later state does not know of it."""
    added: Any = None
    """The field as it was added; None where there is no default to look for."""


Additions = tuple[Addition, ...]


def with_additions(known: Additions, unit: Unit, app_label: str) -> Additions:
    """What a run has added, after one more unit of it."""
    operation = unit.operation
    match operation:
        case operations.CreateModel():
            return *known, Addition(model=(app_label, operation.name_lower), state=unit.after)
        case operations.AddField():
            key = app_label, operation.model_name_lower
            added = Addition(model=key, field=operation.name, state=unit.after, added=operation.field)
            return *known, added
        case operations.AlterOrderWithRespectTo() if operation.order_with_respect_to:
            return *known, Addition(model=(app_label, operation.name_lower), field="_order", state=unit.after)
        case operations.DeleteModel():
            return tuple(it for it in known if it.model != (app_label, operation.name_lower))
        case operations.RemoveField():
            gone = (app_label, operation.model_name_lower), operation.name
            return tuple(it for it in known if (it.model, it.field) != gone)
        case operations.RenameModel():
            old, new = (app_label, operation.old_name_lower), (app_label, operation.new_name_lower)
            return tuple(replace(it, model=new, state=unit.after) if it.model == old else it for it in known)
        case operations.RenameField():
            was = (app_label, operation.model_name_lower), operation.old_name
            return tuple(
                replace(it, field=operation.new_name, state=unit.after) if (it.model, it.field) == was else it
                for it in known
            )
    return known


def lost_without(database: Database, additions: Additions, state: ProjectState) -> Iterator[str]:
    """What would be gone with the tables and columns that a run has added: rows, and values put in since."""
    live = set(database.connection.introspection.table_names())
    tables = {it.model for it in additions if not it.field}
    for it in additions:
        model = _model_with(database, it.field, it.model, state, it.state)
        if model is None or (it.field and it.model in tables):
            continue
        if not it.field:
            yield from _dropped_table(database, model, live)
        elif _is_live(database, model, it.field, live):
            yield from _filled_column(database, model, it.field, it.added)


def lost_by_return(
    database: Database, units: Sequence[tuple[str, Unit]], additions: Additions, state: ProjectState
) -> Iterator[str]:
    """What rows hold by now that would not fit into columns as they were before these units altered them."""
    live = set(database.connection.introspection.table_names())
    added = {it.model for it in additions if not it.field} | {(it.model, it.field) for it in additions}
    for app_label, unit in units:
        if not isinstance(unit.operation, operations.AlterField):
            continue
        key, name = (app_label, unit.operation.model_name_lower), unit.operation.name
        model, old = (
            _model_with(database, name, key, state, unit.after),
            _field(database, unit.before, key, name),
        )
        if model and old and not {key, (key, name)} & added and _is_live(database, model, name, live):
            yield from _misfits(database, model, name, old)


def _model_with(database: Database, name: str, key: ModelKey, *states: ProjectState) -> Model | None:
    """The model in the first of the states that knows it, and its field if one is named."""
    for state in states:
        if key in state.models and (not name or name == "_order" or name in state.models[key].fields):
            return _model(database, state, key)
    return None


def _model(database: Database, state: ProjectState, key: ModelKey) -> Model | None:
    """The historical model, if Django makes a table of its own for it on this database."""
    if key not in state.models:
        return None
    model: Model = state.apps.get_model(*key)
    alias = database.alias
    return model if model._meta.can_migrate(alias) and router.allow_migrate_model(alias, model) else None


def _field(database: Database, state: ProjectState, key: ModelKey, name: str) -> Any:
    model = _model(database, state, key)
    return model._meta.get_field(name) if model else None


def _rows(database: Database, model: Model) -> models.QuerySet[Any]:
    return model._base_manager.using(database.alias).order_by()


def _filled(database: Database, model: Model, name: str) -> models.QuerySet[Any]:
    return _rows(database, model).exclude(**{f"{name}__isnull": True})


def _is_live(database: Database, model: Model, name: str, live: set[str]) -> bool:
    field: Any = model._meta.get_field(name)
    if field.many_to_many:
        return field.remote_field.through._meta.db_table in live
    table = model._meta.db_table
    if table not in live:
        return False
    with database.connection.cursor() as cursor:
        described = database.connection.introspection.get_table_description(cursor, table)
    return any(info.name == field.column for info in described)


def _dropped_table(database: Database, model: Model | None, live: set[str] | None = None) -> Iterator[str]:
    if model is None:
        return
    for table in [model, *(it.remote_field.through for it in _own_many_to_many(model))]:
        if live is not None and table._meta.db_table not in live:
            continue
        if _rows(database, table).exists():
            yield _("the rows of table %(table)s") % {"table": table._meta.db_table}


def _own_many_to_many(model: Model) -> list[Any]:
    fields: Sequence[Any] = model._meta.local_many_to_many
    return [it for it in fields if it.remote_field.through._meta.auto_created]


def _dropped_column(database: Database, model: Model | None, name: str) -> Iterator[str]:
    if model is None:
        return
    field: Any = model._meta.get_field(name)
    if field.many_to_many:
        through = field.remote_field.through
        if through._meta.auto_created:
            yield from _dropped_table(database, through)
    elif field.column and not field.generated and _filled(database, model, name).exists():
        yield _values(model, field)


def _filled_column(database: Database, model: Model, name: str, added: Any) -> Iterator[str]:
    """A column holds nothing of its own while all its values are the one that it was added with."""
    field: Any = model._meta.get_field(name)
    if field.many_to_many:
        yield from _dropped_column(database, model, name)
    elif field.column and not field.generated and not _is_as_added(database, model, field, added):
        yield _values(model, field)


def _is_as_added(database: Database, model: Model, field: Any, added: Any) -> bool:
    column = database.exact(database.quote(field.column))
    table = database.quote(model._meta.db_table)
    values = database.ask(f"SELECT DISTINCT {column} FROM {table} LIMIT 2")
    if len(values) != 1:
        return not values
    [value] = _rows(database, model).values_list(field.attname, flat=True)[:1]
    if added is None:
        return bool(value in (None, 0))
    if added.has_default() and not callable(added.default):
        return bool(value == _stored(field).to_python(getattr(added.default, "pk", added.default)))
    is_made = added.has_default() or added.has_db_default() or _is_automatic(added)
    return is_made or value in (None, "", b"")


def _is_automatic(field: Any) -> bool:
    """Does Django put the time into it?"""
    return bool(getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False))


def _changed_column(database: Database, unit: Unit, app_label: str) -> Iterator[str]:
    operation: Any = unit.operation
    key = (app_label, operation.model_name_lower)
    model, new = _model(database, unit.before, key), _field(database, unit.after, key, operation.name)
    if model and new:
        yield from _misfits(database, model, operation.name, new)


def _misfits(database: Database, model: Model, name: str, new: Any) -> Iterator[str]:
    """Which values of a column would not be the same in the column that `new` describes."""
    old: Any = model._meta.get_field(name)
    if old.many_to_many or new.many_to_many or not (old.column and new.column) or old.generated:
        return
    rows = _rows(database, model)
    if old.null and not new.null and rows.filter(**{f"{name}__isnull": True}).exists():
        yield _("which values of %(table)s.%(column)s were NULL") % _words(model, old)
    if _changes_values(_filled(database, model, name), name, _stored(old), _stored(new), database):
        yield _values(model, old)


def _stored(field: Any) -> Any:
    """The field whose type a column has: a foreign key's target."""
    while field.remote_field:
        field = field.target_field
    return field


def _changes_values(rows: models.QuerySet[Any], name: str, old: Any, new: Any, database: Database) -> bool:
    kinds = (old.get_internal_type(), new.get_internal_type())
    if kinds[0] in TEXTS and kinds[1] in TEXTS:
        return _is_longer(rows, name, old.max_length, new.max_length)
    if kinds[0] in INTEGERS and kinds[1] in INTEGERS:
        low, high = database.connection.ops.integer_field_range(kinds[1])
        outside = Q() if low is None else Q(**{f"{name}__lt": low})
        outside |= Q() if high is None else Q(**{f"{name}__gt": high})
        return bool(outside) and rows.filter(outside).exists()
    if kinds[0] in INTEGERS and kinds[1] in TEXTS:
        return _is_longer(rows, name, 20, new.max_length)
    if kinds[0] in TEXTS and kinds[1] in INTEGERS:
        return rows.exclude(**{f"{name}__regex": PLAIN_NUMBER}).exists()
    if kinds[0] == kinds[1] == "DecimalField":
        shrinks = (
            new.decimal_places < old.decimal_places
            or new.max_digits - new.decimal_places < old.max_digits - old.decimal_places
        )
        return bool(shrinks) and rows.exists()
    types = {field.db_type(database.connection) for field in (old, new)}
    return len(types) > 1 and rows.exists()


def _is_longer(rows: models.QuerySet[Any], name: str, old: int | None, new: int | None) -> bool:
    if new is None or (old is not None and old <= new):
        return False
    longer = rows.annotate(_length=Length(Cast(F(name), models.TextField()))).filter(_length__gt=new)
    return bool(longer.exists())


def _values(model: Model, field: Any) -> str:
    return _("the values of %(table)s.%(column)s") % _words(model, field)


def _words(model: Model, field: Any) -> dict[str, str]:
    return {"table": model._meta.db_table, "column": field.column}
