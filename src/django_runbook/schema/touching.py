"""Which tables an upgrade may change, as far as it tells. Pure; where in doubt, a table counts as touched."""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from django.apps.registry import Apps
from django.db import models
from django.db.migrations import operations
from django.db.migrations.operations.base import Operation

ModelKey = tuple[str, str]
"""(app label, lower-case model name)"""

SPREADING = (
    operations.AlterField,
    operations.RenameField,
    operations.RenameModel,
    operations.AlterModelTable,
)
"""What they do to a model can reach the tables that point at it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table, the models it stores, and those that its foreign keys point at."""

    name: str
    models: frozenset[ModelKey]
    targets: frozenset[ModelKey]

    def is_touched_by(self, operation: Operation, app_label: str) -> bool:
        """May an operation of a migration of `app_label` change this table?

        By Django's own `references_model`, which says yes where in doubt. RunPython and RunSQL, of which it
        would always say so, count as touching the tables of their app and those that their text names;
        DeleteModel touches its own.
        """
        if isinstance(operation, operations.RunPython | operations.RunSQL):
            own = any(app == app_label for app, _name in self.models)
            return own or self.is_named_in(_text(operation))
        if isinstance(operation, operations.DeleteModel):
            return (app_label, operation.name_lower) in self.models
        spread = self.targets if isinstance(operation, SPREADING) else frozenset()
        return any(operation.references_model(name, app) for app, name in self.models | spread)

    def is_named_in(self, text: str) -> bool:
        """Does a source text have the name of the table, or of one of its models, as a word of its own?"""
        words = set(re.findall(r"\w+", text.lower()))
        return self.name.lower() in words or any(name in words for _app, name in self.models)


def tables(apps: Apps, names: Collection[str]) -> list[Table]:
    """The tables called `names`, with the models of `apps`; a table without a model has none.

    Upper and lower case are the same, as they are on servers that store names in lower case.
    """
    stored = defaultdict(list)
    for model in apps.get_models(include_auto_created=True):
        stored[model._meta.db_table.lower()].append(model)
    return [_table(name, stored[name.lower()]) for name in names]


def source_beside(code: Callable[..., object] | type) -> str:
    """The source of the module that defines `code`, with whatever helpers it calls there; or nothing."""
    module = inspect.getmodule(code)
    try:
        return inspect.getsource(module) if module else ""
    except (OSError, TypeError):
        return ""


def _table(name: str, stored: Sequence[type[models.Model]]) -> Table:
    """A table between two models counts as the model's that has the many-to-many field, too."""
    owners = [model._meta.auto_created for model in stored]
    fields = [field for model in stored for field in model._meta.local_fields]
    return Table(
        name=name,
        models=frozenset(_key(it) for it in (*stored, *owners) if isinstance(it, type)),
        targets=frozenset(_key(it.related_model) for it in fields if isinstance(it.related_model, type)),
    )


def _text(operation: Operation) -> str:
    if isinstance(operation, operations.RunPython):
        return source_beside(operation.code)
    return str(getattr(operation, "sql", ""))


def _key(model: type[models.Model]) -> ModelKey:
    name = model._meta.model_name
    return model._meta.app_label, str(name)
