"""Which fields an operation meets, of those that rows have already."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.migrations import operations
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from django_runbook.schema.nature import names_in
from django_runbook.schema.touching import ModelKey


def fields_met(
    operation: Operation, app_label: str, model: ModelKey, before: ProjectState
) -> frozenset[str] | None:
    """Names of the fields of `model` whose values decide whether it can be performed; None for any."""
    match operation:
        case operations.AlterField() | operations.AddField():
            if model == (app_label, operation.model_name_lower):
                return frozenset([operation.name])
            return _pointed_at(operation.field, model, before)
        case operations.AddConstraint():
            return _constrained(operation.constraint)
        case operations.AlterUniqueTogether():
            return frozenset(name for group in operation.option_value or () for name in group)
    return None


def _pointed_at(field: Any, model: ModelKey, before: ProjectState) -> frozenset[str]:
    named = frozenset(filter(None, getattr(field, "to_fields", None) or ()))
    keys = (name for name, it in before.models[model].fields.items() if it.primary_key)
    return named or frozenset(keys)


def _constrained(constraint: models.BaseConstraint) -> frozenset[str] | None:
    condition: Any = getattr(constraint, "condition", None)
    if getattr(constraint, "expressions", ()) or not isinstance(condition, models.Q | None):
        return None
    return frozenset(getattr(constraint, "fields", ())) | (names_in(condition) if condition else frozenset())
