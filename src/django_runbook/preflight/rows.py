"""A Django model that reads a table of today."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import CompositePrimaryKey

from django_runbook.preflight.layout import ORDER, target_of
from django_runbook.schema.touching import ModelKey

if TYPE_CHECKING:
    from django_runbook.preflight.coming import Today

Model = type[models.Model]


def render(key: ModelKey, state: ProjectState, today: Mapping[ModelKey, Today]) -> Model:
    """The model with the fields that have a column today, and of its targets what identifies their rows."""
    wanted: dict[ModelKey, set[str] | None] = {}
    _want(key, None, state, wanted)
    small = ProjectState(real_apps={label for label, _name in wanted if label in state.real_apps})
    for it, names in wanted.items():
        if it in state.models:
            small.add_model(_reduced(state.models[it], today.get(it), names))
    found: Model = small.apps.get_model(*key)
    return found


def _want(
    key: ModelKey, names: Collection[str] | None, state: ProjectState, wanted: dict[ModelKey, set[str] | None]
) -> None:
    """Collect what a model needs, with its parents and what they point at; None for all fields."""
    model = state.models.get(key)
    if model is None:
        wanted.setdefault(key, set())
        return
    if names is not None:
        names = {*names, *_identifying(model)}
        known = wanted.get(key, set())
        if known is None or (key in wanted and names <= known):
            return
        names |= known
    elif key in wanted and wanted[key] is None:
        return
    wanted[key] = None if names is None else set(names)
    for base in model.bases:
        if isinstance(base, str):
            _want(_parent(base), names, state, wanted)
    for name, field in model.fields.items():
        if field.remote_field and not field.many_to_many and (names is None or name in names):
            to_field = field.remote_field.field_name
            _want(target_of(field, key), {to_field} if to_field else set(), state, wanted)


def _identifying(model: ModelState) -> set[str]:
    found = {name for name, field in model.fields.items() if field.primary_key}
    composed = [field for field in model.fields.values() if isinstance(field, CompositePrimaryKey)]
    return found.union(*(field.field_names for field in composed))


def _reduced(model: ModelState, here: Today | None, names: Collection[str] | None) -> ModelState:
    copy = model.clone()
    copy.managers = []
    copy.options = {name: model.options[name] for name in ("db_table", "proxy") if name in model.options}
    if here:
        copy.options["db_table"] = here.table
        order = model.options.get("order_with_respect_to")
        if names is None and order and ORDER in here.columns and order in here.columns:
            copy.options["order_with_respect_to"] = order
    copy.fields = {
        name: _on_column(field, here.columns.get(name, "") if here else "")
        for name, field in model.fields.items()
        if (names is None or name in names) and _has_place(field, name, here)
    }
    _keep_a_key(copy)
    return copy


def _keep_a_key(model: ModelState) -> None:
    """Django would make up an "id" for a model without a primary key: one that the plan will add."""
    has_parent = any(isinstance(base, str) for base in model.bases)
    if has_parent or any(field.primary_key for field in model.fields.values()):
        return
    for name, field in model.fields.items():
        if not field.remote_field:
            model.fields[name] = field = field.clone()
            field.primary_key = True
            return


def _on_column(field: Any, column: str) -> Any:
    copy = field.clone()
    if column:
        copy.db_column = column
    return copy


def _has_place(field: Any, name: str, here: Today | None) -> bool:
    if field.many_to_many:
        return False
    if here is None:
        return True
    if isinstance(field, CompositePrimaryKey):
        return all(it in here.columns for it in field.field_names)
    return name in here.columns


def _parent(label: str) -> ModelKey:
    app_label, _dot, name = label.lower().partition(".")
    return app_label, name
