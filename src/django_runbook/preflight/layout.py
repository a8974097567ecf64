"""Where the tables and columns of a later place in a plan are today. Pure; nothing is rendered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from django.apps import apps as installed_apps
from django.conf import settings
from django.db import connection as default_connection
from django.db import models
from django.db.backends.utils import strip_quotes, truncate_name
from django.db.migrations import operations
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from django_runbook.schema.touching import ModelKey

PLAIN = models.Field.get_attname, models.Field.get_attname_column
"""Of a field whose column has its own name, unless it says another."""
ORDER = "_order"
"""The field that `order_with_respect_to` makes; no model state has it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A table of some place in a plan."""

    table: str = ""
    """Its name today; empty if the plan creates it."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Names of columns today, by name at this place."""
    added: Mapping[str, Any] = field(default_factory=dict)
    """Columns that the plan adds, by name at this place: the field whose default the rows of today get."""


Layout = Mapping[str, Stored]
"""By name of the table at this place."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A table as a model state draws it, with its columns by name of the field."""

    table: str
    columns: Mapping[str, str]


def layout_of(state: ProjectState) -> Layout:
    """As long as nothing has been done."""
    drawn = [it for key, model in state.models.items() for it in _drawn_with_links(key, model)]
    drawn += [real_table(model) for model in _real_models(state)]
    return {it.table: Stored(it.table, {name: name for name in it.columns.values()}) for it in drawn}


def drawn_table(key: ModelKey, model: ModelState) -> Drawn | None:
    """The table of a model; None if it has none of its own."""
    if model.options.get("proxy") or _is_swapped(key, model):
        return None
    table = model.options.get("db_table") or _shortened(f"{key[0]}_{key[1]}")
    columns = {name: _column(name, it) for name, it in model.fields.items()}
    if model.options.get("order_with_respect_to"):
        columns[ORDER] = ORDER
    return Drawn(table, {name: column for name, column in columns.items() if column})


def drawn_links(key: ModelKey, model: ModelState) -> Iterator[tuple[str, Drawn]]:
    """Tables that Django makes between two models, by the name of the many-to-many field."""
    own = drawn_table(key, model)
    fields: Mapping[str, Any] = model.fields if own else {}
    for name, it in fields.items():
        if own and it.many_to_many and not it.remote_field.through:
            table = it.db_table or _shortened(f"{strip_quotes(own.table)}_{name}")
            yield name, Drawn(table, _link_columns(key, it))


def real_table(model: Any) -> Drawn:
    """The table of a model of an app without migrations."""
    fields = model._meta.local_concrete_fields
    return Drawn(model._meta.db_table, {it.name: it.column for it in fields if it.column})


def moved(
    layout: Layout, operation: Operation, app_label: str, before: ProjectState, after: ProjectState
) -> Layout:
    """Where all is once the operation, which the database performs, has been performed."""
    if not _is_performed(operation, app_label, before, after):
        return layout
    match operation:
        case operations.CreateModel():
            key = app_label, operation.name_lower
            return {**layout, **{it.table: Stored() for it in _drawn_with_links(key, after.models[key])}}
        case operations.DeleteModel():
            key = app_label, operation.name_lower
            gone = {it.table for it in _drawn_with_links(key, before.models[key])}
            return {name: it for name, it in layout.items() if name not in gone}
        case operations.RenameModel():
            old, new = (app_label, operation.old_name_lower), (app_label, operation.new_name_lower)
            for key in before.models:
                layout = _redrawn(layout, before, key, after, new if key == old else key)
            return layout
        case operations.AlterModelTable() | operations.AlterOrderWithRespectTo():
            key = app_label, operation.name_lower
            return _redrawn(layout, before, key, after, key)
        case operations.RenameField():
            key = app_label, operation.model_name_lower
            return _redrawn(layout, before, key, after, key, {operation.old_name: operation.new_name})
        case operations.AddField() | operations.RemoveField():
            key = app_label, operation.model_name_lower
            return _redrawn(layout, before, key, after, key, added=getattr(operation, "field", None))
        case operations.AlterField():
            key = app_label, operation.model_name_lower
            layout = _redrawn(layout, before, key, after, key)
            return _refilled(layout, operation, before.models[key], drawn_table(key, after.models[key]))
    return layout


def _is_performed(operation: Any, app_label: str, before: ProjectState, after: ProjectState) -> bool:
    """Django leaves tables of unmanaged models alone."""
    names = (getattr(operation, it, "") for it in ("model_name_lower", "old_name_lower", "name_lower"))
    known = {**after.models, **before.models}
    model = known.get((app_label, next(filter(None, names), "")))
    return model is None or bool(model.options.get("managed", True))


def _redrawn(
    layout: Layout,
    before: ProjectState,
    was: ModelKey,
    after: ProjectState,
    now: ModelKey,
    renamed: Mapping[str, str] | None = None,
    added: Any = None,
) -> Layout:
    """A model's tables as they are drawn after an operation instead of before it."""
    renamed = renamed or {}
    old, new = before.models[was], after.models[now]
    pairs = [(drawn_table(was, old), drawn_table(now, new))]
    links, links_now = dict(drawn_links(was, old)), dict(drawn_links(now, new))
    pairs += [(links.pop(name), links_now.pop(renamed.get(name, name), None)) for name in list(links)]
    pairs += [(None, it) for it in links_now.values()]
    changed = [pair for pair in pairs if pair[0] != pair[1]]
    if not changed:
        return layout
    tables = dict(layout)
    stored = [tables.pop(it.table, None) if it else Stored() for it, _now in changed]
    for (was_drawn, now_drawn), it in zip(changed, stored, strict=True):
        if now_drawn and it:
            tables[now_drawn.table] = _with_columns(it, was_drawn, now_drawn, renamed, added)
    return tables


def _with_columns(
    stored: Stored, was: Drawn | None, now: Drawn, renamed: Mapping[str, str], added: Any
) -> Stored:
    if was is None:
        return stored
    names = {column: now.columns.get(renamed.get(name, name), "") for name, column in was.columns.items()}
    kept = set(names.values())
    new = {column: added or models.IntegerField(default=0) for column in now.columns.values()}
    return replace(
        stored,
        columns={names[it]: today for it, today in stored.columns.items() if names.get(it)},
        added={
            **{names[it]: value for it, value in stored.added.items() if names.get(it)},
            **{column: value for column, value in new.items() if column not in kept},
        },
    )


def _refilled(
    layout: Layout, operation: operations.AlterField, model: ModelState, now: Drawn | None
) -> Layout:
    """NULLs in a column that the plan has added become the default that NOT NULL comes with."""
    stored = layout.get(now.table) if now else None
    column = now.columns.get(operation.name, "") if now else ""
    was = model.fields[operation.name]
    if not (now and stored and column in stored.added and was.null and not operation.field.null):
        return layout
    return {**layout, now.table: replace(stored, added={**stored.added, column: operation.field})}


def _drawn_with_links(key: ModelKey, model: ModelState) -> Iterator[Drawn]:
    own = drawn_table(key, model)
    if own:
        yield own
    yield from (it for _name, it in drawn_links(key, model))


def _column(name: str, it: Any) -> str:
    """Of a field that is not bound to a model; empty if it has none."""
    if it.many_to_many:
        return ""
    if (type(it).get_attname, type(it).get_attname_column) == PLAIN:
        return str(it.db_column or name)
    bound = it.clone()
    bound.set_attributes_from_name(name)
    return bound.column or ""


def _link_columns(key: ModelKey, it: Any) -> dict[str, str]:
    target = target_of(it, key)
    source, end = (f"from_{key[1]}", f"to_{key[1]}") if target == key else (key[1], target[1])
    return {"id": "id", "source": f"{source}_id", "target": f"{end}_id"}


def target_of(it: Any, key: ModelKey) -> ModelKey:
    """The key of the model that a relation of the model `key` points at, in a model state."""
    to = it.remote_field.model
    if not isinstance(to, str):
        return to._meta.app_label, to._meta.model_name
    if to == "self":
        return key
    label, _dot, name = to.lower().rpartition(".")
    return label or key[0], name


def _is_swapped(key: ModelKey, model: ModelState) -> bool:
    setting = str(model.options.get("swappable") or "")
    return bool(setting) and getattr(settings, setting, "").lower() not in ("", ".".join(key))


def _real_models(state: ProjectState) -> Iterator[Any]:
    for app_label in sorted(state.real_apps):
        yield from installed_apps.get_app_config(app_label).get_models(include_auto_created=True)


def _shortened(name: str) -> str:
    """By the default connection, as Django does."""
    return truncate_name(name, default_connection.ops.max_name_length())
