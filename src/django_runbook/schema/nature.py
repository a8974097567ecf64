"""What an operation means for the data and for the code that reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from django.db import models
from django.db.migrations import operations
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState


class Demand(StrEnum):
    """What a tightening operation asks of the rows that are there."""

    NOT_NULL = "NOT NULL"
    UNIQUE = "UNIQUE"
    CHECK = "CHECK"
    DROP = "DROP"
    """Nothing, but afterwards the column's values are gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tightening:
    """One operation that fails on, or loses, data that is not ready for it."""

    app_label: str
    model: str
    """Lower-case model name."""
    field: str
    demand: Demand


_CONTRACTING = (
    operations.RemoveField,
    operations.DeleteModel,
    operations.RemoveIndex,
    operations.RemoveConstraint,
    operations.AddIndex,
    operations.RenameIndex,
    operations.AddConstraint,
    operations.AlterUniqueTogether,
    operations.AlterIndexTogether,
    operations.AlterModelOptions,
    operations.AlterModelManagers,
    operations.AlterModelTableComment,
)


def is_contracting(migration: Migration, before: ProjectState) -> bool:
    """Can code that already expects this migration run without it? True if all of it only takes away."""
    tight = {(item.model, item.field) for item in tightenings(migration, before)}
    return bool(migration.operations) and all(
        isinstance(operation, _CONTRACTING)
        or (
            isinstance(operation, operations.AlterField)
            and (operation.model_name_lower, operation.name) in tight
        )
        for operation in migration.operations
    )


def tightenings(migration: Migration, before: ProjectState) -> list[Tightening]:
    """What `migration` demands of columns that are there before it, in the order of its operations.

    A column that the migration itself adds has no data that could break a demand, so it is left out.
    """
    label = migration.app_label
    found = []
    for operation in flat(migration.operations):
        found += [
            item
            for item in _tightenings(label, operation, before)
            if item.field in _fields(before, label, item.model)
        ]
    return found


def flat(items: Iterable[Operation]) -> Iterator[Operation]:
    """The operations that touch the database, those within SeparateDatabaseAndState one by one."""
    for operation in items:
        if isinstance(operation, operations.SeparateDatabaseAndState):
            yield from flat(operation.database_operations)
        else:
            yield operation


def _tightenings(label: str, operation: Operation, before: ProjectState) -> Iterator[Tightening]:
    match operation:
        case operations.AlterField():
            yield from _altered(label, operation, before)
        case operations.AddConstraint():
            demand = (
                Demand.UNIQUE if isinstance(operation.constraint, models.UniqueConstraint) else Demand.CHECK
            )
            for field in _constrained(operation.constraint):
                yield _item(label, operation.model_name_lower, field, demand)
        case operations.AlterUniqueTogether():
            had = before.models.get((label, operation.name_lower))
            known = {tuple(group) for group in (had.options.get("unique_together") or ())} if had else set()
            for group in sorted({tuple(group) for group in (operation.option_value or ())} - known):
                for field in group:
                    yield _item(label, operation.name_lower, field, Demand.UNIQUE)
        case operations.RemoveField():
            yield _item(label, operation.model_name_lower, operation.name, Demand.DROP)
        case operations.DeleteModel():
            for field in _fields(before, label, operation.name_lower):
                yield _item(label, operation.name_lower, field, Demand.DROP)


def _altered(label: str, operation: operations.AlterField, before: ProjectState) -> Iterator[Tightening]:
    model = before.models.get((label, operation.model_name_lower))
    was = model.fields.get(operation.name) if model else None
    if was is None:
        return
    if was.null and not operation.field.null:
        yield _item(label, operation.model_name_lower, operation.name, Demand.NOT_NULL)
    if operation.field.unique and not was.unique:
        yield _item(label, operation.model_name_lower, operation.name, Demand.UNIQUE)


def _constrained(constraint: models.BaseConstraint) -> list[str]:
    if isinstance(constraint, models.UniqueConstraint):
        return list(constraint.fields)
    if isinstance(constraint, models.CheckConstraint):
        condition = constraint.condition
        return sorted(names_in(condition)) if isinstance(condition, models.Q) else []
    return []


def names_in(condition: models.Q) -> set[str]:
    """First part of every look-up path in `condition`: the names of the model's own fields."""
    found: set[str] = set()
    for child in condition.children:
        if isinstance(child, models.Q):
            found |= names_in(child)
        elif isinstance(child, tuple):
            found.add(child[0].split("__")[0])
    return found


def _fields(state: ProjectState, label: str, model: str) -> list[str]:
    found = state.models.get((label, model))
    return list(found.fields) if found else []


def _item(label: str, model: str, field: str, demand: Demand) -> Tightening:
    return Tightening(app_label=label, model=model, field=field, demand=demand)
