"""The operations that a plan will perform, and where the rows they will meet are today."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from django.db import models, router
from django.db.migrations import Migration, operations
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from django_runbook.plan import Plan
from django_runbook.preflight.layout import (
    Layout,
    drawn_links,
    drawn_table,
    layout_of,
    moved,
    target_of,
)
from django_runbook.preflight.met import fields_met
from django_runbook.preflight.rows import render
from django_runbook.schema.collect import Unit, units
from django_runbook.schema.history import Key
from django_runbook.schema.touching import ModelKey, Table, source_beside
from django_runbook.steps import Backfill, Command, Migrate, Place, Step
from django_runbook.steps.base import Column

Model = type[models.Model]


@dataclass(frozen=True, slots=True)
class Today:
    """The table that a model's rows lie in as long as nothing has been done."""

    table: str
    columns: Mapping[str, str]
    """Name of the column by name of the field; a field that the plan will add is not in it."""
    added: Mapping[str, Any]
    """Fields that the plan adds before the operation; the rows of today get their defaults."""


@dataclass(frozen=True, kw_only=True)
class Coming:
    """One operation of a migration that the plan applies, as it will be met."""

    key: Key
    """The migration."""
    unit: Unit
    alias: str
    layout: Layout
    """Where the tables of `unit.before` are today."""
    done_before: tuple[Rewriting, ...]
    """What of the plan changes rows before it, in order."""
    settled: frozenset[Column] = frozenset()
    """Columns that an earlier step fills and another one verifies, as `Place` has them."""
    ends_first: bool = False
    """Is it the last operation of the first migration that the plan applies?"""
    at_start: Layout = field(default_factory=dict)
    """Where the tables are that there are before anything has been done."""

    @property
    def operation(self) -> Operation:
        return self.unit.operation

    @property
    def migration(self) -> str:
        """As in "core.0033_sous_direction"."""
        return ".".join(self.key)

    @property
    def words(self) -> str:
        """The operation in the words of Django, for a message."""
        return str(self.operation.describe())

    @cached_property
    def today(self) -> Mapping[ModelKey, Today]:
        """Before the operation; a model whose table the plan will create is not in it."""
        return _TodayByModel(self.unit.before, self.layout)

    @cached_property
    def layout_after(self) -> Layout:
        """Where the tables are today that there are once it has been performed."""
        unit = self.unit
        return moved(self.layout, unit.operation, self.key[0], unit.before, unit.after)

    @cached_property
    def rewriting(self) -> Rewriting | None:
        """What of today's rows the operation itself may change, if it may."""
        if not _rewrites(self):
            return None
        return Rewriting(
            words=f"{self.migration}: {self.words}",
            state=self.unit.before,
            layout=self.layout,
            touches=lambda table: table.is_touched_by(self.operation, self.key[0]),
            only=self._altered_column,
        )

    @property
    def _altered_column(self) -> tuple[str, str] | None:
        """The table and the column today, if the operation changes the values of just one.

        What points at a column changes with it.
        """
        operation = self.operation
        if not isinstance(operation, operations.AlterField) or _may_be_pointed_at(operation, self):
            return None
        here = self.today.get(self.model_key(operation.model_name))
        return (here.table, here.columns.get(operation.name, "")) if here else None

    def model_key(self, name: str) -> ModelKey:
        return self.key[0], name.lower()

    def is_here(self, model: ModelKey) -> bool:
        """Does the model have a table on this database today, made by its migrations?"""
        state = self.unit.before.models.get(model)
        return (
            state is not None
            and bool(state.options.get("managed", True))
            and model in self.today
            and bool(router.allow_migrate(self.alias, model[0], model_name=model[1]))
        )

    def rewritten_by(self, model: ModelKey) -> str:
        """What earlier in the plan, if anything, may change what this operation meets in the model's rows."""
        here = self.today.get(model)
        if here is None:
            return ""
        names = fields_met(self.operation, self.key[0], model, self.unit.before)
        columns = None if names is None else {here.columns.get(name, "") for name in names}
        found = (it.words for it in reversed(self.done_before) if it.may_change(here.table, columns))
        return next(found, "")

    def rows_today(self, model: ModelKey) -> Model:
        """The model as it was before the operation, with only the fields that have a column today.

        Its queries run on the tables and columns of today, whatever the plan renames meanwhile. It has no
        constraints, no indexes and no order. What its relations point at has no other fields than those that
        are needed to do so.
        """
        if model not in self._rendered:
            self._rendered[model] = render(model, self.unit.before, self.today)
        return self._rendered[model]

    @cached_property
    def _rendered(self) -> dict[ModelKey, Model]:
        return {}


@dataclass(frozen=True, kw_only=True)
class Rewriting:
    """Something in a plan that may change rows."""

    words: str
    """The title of the step, or the migration and its operation."""
    state: ProjectState
    layout: Layout
    """Where the tables of `state` are today."""
    touches: Callable[[Table], bool] | None
    """Asked for a table under its name today and under its name at that place; None if it may touch any."""
    only: tuple[str, str] | None = None
    """Nothing but this column of this table today."""

    def may_change(self, table: str, columns: Collection[str] | None) -> bool:
        """May it change one of these columns, or any, in rows of what is called `table` today?"""
        if self.touches is None:
            return True
        if self.only:
            return self.only[0] == table and (columns is None or self.only[1] in columns)
        return any(self.touches(it) for name, it in _tables(self.state, self.layout) if name == table)


class _TodayByModel(Mapping[ModelKey, Today]):
    """Looked up when it is asked for: most operations concern one model."""

    def __init__(self, state: ProjectState, layout: Layout) -> None:
        self._state, self._layout = state, layout
        self._known: dict[ModelKey, Today | None] = {}

    def __getitem__(self, key: ModelKey) -> Today:
        if key not in self._known:
            self._known[key] = self._find(key)
        found = self._known[key]
        if found is None:
            raise KeyError(key)
        return found

    def __iter__(self) -> Iterator[ModelKey]:
        return (key for key in self._state.models if key in self)

    def __contains__(self, key: object) -> bool:
        return self.get(key) is not None  # type: ignore[call-overload]

    def __len__(self) -> int:
        return sum(1 for _key in self)

    def _find(self, key: ModelKey) -> Today | None:
        model = self._state.models.get(key)
        drawn = drawn_table(key, model) if model else None
        stored = self._layout.get(drawn.table) if drawn else None
        if drawn is None or stored is None or not stored.table:
            return None
        columns, added = stored.columns, stored.added
        return Today(
            stored.table,
            {name: columns[column] for name, column in drawn.columns.items() if column in columns},
            {name: added[column] for name, column in drawn.columns.items() if column in added},
        )


def coming(plan: Plan, alias: str) -> Iterator[Coming]:
    """The operations of all migrations of a plan that touch the database, in their order.

    Nothing of them is rendered before it is asked for. What a plan does to tables behind the back of
    Django's own operations is not known: a model whose table was renamed by SQL text is not here.
    """
    walk = _Walk(plan, alias)
    for planned in plan.steps:
        if isinstance(planned.step, Migrate):
            yield from walk.migrate(planned.step, planned.place)
        else:
            walk.rewrite(planned.step, planned.place)


class _Walk:
    """Where the rows of today are, step by step."""

    def __init__(self, plan: Plan, alias: str) -> None:
        self.alias = alias
        self.layout = layout_of(plan.steps[0].place.state)
        self.at_start = self.layout
        self.done: list[Rewriting] = []
        self.begun: set[Key] = set()

    def migrate(self, step: Migrate, place: Place) -> Iterator[Coming]:
        state = _light(place.state)
        for key in step.begins(place):
            self.begun.add(key)
            found = _lasting(place.history.migration(key), state)
            for number, unit in enumerate(found, start=1):
                it = Coming(
                    key=key,
                    unit=unit,
                    alias=self.alias,
                    layout=self.layout,
                    done_before=tuple(self.done),
                    settled=place.filled & place.verified,
                    ends_first=len(self.begun) == 1 and number == len(found),
                    at_start=self.at_start,
                )
                yield it
                self._follow(it)

    def rewrite(self, step: Step, place: Place) -> None:
        if isinstance(step, Command) or step.changes_data:
            touches = _backfilled(step) if isinstance(step, Backfill) else None
            found = Rewriting(words=step.title, state=place.state, layout=self.layout, touches=touches)
            self.done.append(found)

    def _follow(self, it: Coming) -> None:
        if it.rewriting:
            self.done.append(it.rewriting)
        self.layout = it.layout_after


def _backfilled(step: Backfill) -> Callable[[Table], bool]:
    app_label, _dot, name = step.task.model.lower().partition(".")
    source = source_beside(step.task)
    return lambda table: (app_label, name) in table.models or table.is_named_in(source)


def _rewrites(it: Coming) -> bool:
    """May it change values that rows have today? Operations of a project may do anything."""
    operation = it.operation
    if isinstance(operation, operations.AlterField):
        return _changes_values(it, operation)
    if isinstance(operation, operations.RunPython | operations.RunSQL):
        return True
    return not type(operation).__module__.startswith("django.")


def _may_be_pointed_at(operation: operations.AlterField, it: Coming) -> bool:
    model = it.unit.before.models.get(it.model_key(operation.model_name))
    was = model.fields.get(operation.name) if model else None
    return was is None or bool(was.unique)


def _changes_values(it: Coming, operation: operations.AlterField) -> bool:
    model = it.unit.before.models.get(it.model_key(operation.model_name))
    was = model.fields.get(operation.name) if model else None
    now = operation.field
    if was is None:
        return False
    drops_key = getattr(was, "db_constraint", False) and not getattr(now, "db_constraint", False)
    collations = {getattr(it, "db_collation", None) for it in (was, now)}
    replaces_nulls = was.null and not now.null
    are_integers = isinstance(was, models.IntegerField) and isinstance(now, models.IntegerField)
    return (
        (type(was) is not type(now) and not are_integers)
        or len(collations) > 1
        or replaces_nulls
        or bool(drops_key)
    )


def _tables(state: ProjectState, layout: Layout) -> Iterator[tuple[str, Table]]:
    """Tables that are there today: their names today, and what touches them under their names in `state`.

    Both names count, for code that was written for either.
    """
    for key, model in state.models.items():
        targets = [target_of(it, key) for it in model.fields.values() if it.remote_field]
        for drawn in (drawn_table(key, model), *(it for _name, it in drawn_links(key, model))):
            stored = layout.get(drawn.table) if drawn else None
            if drawn and stored and stored.table:
                for name in {drawn.table, stored.table}:
                    yield (
                        stored.table,
                        Table(name=name, models=frozenset([key]), targets=frozenset(targets)),
                    )


class _LightState(ProjectState):
    """A state without rendered models, which would be rendered anew at every change; quick to copy."""

    def clone(self) -> _LightState:
        return _light(self)


def _light(state: ProjectState) -> _LightState:
    return _LightState({key: _copied(model) for key, model in state.models.items()}, state.real_apps)


def _copied(model: ModelState) -> ModelState:
    """As its own `clone`, without that looking at every field for what has been looked at before."""
    found = ModelState.__new__(type(model))
    found.__dict__.update(model.__dict__, fields=dict(model.fields), options=dict(model.options))
    return found


def _lasting(migration: Migration, state: ProjectState) -> list[Unit]:
    """Its operations, each between states that later ones do not move along.

    Where one begins as the one before it ended they have that state in common, to be rendered once.
    """
    found: list[Unit] = []
    is_plain = not any(isinstance(it, operations.SeparateDatabaseAndState) for it in migration.operations)
    for unit in units(migration, state):
        before = found[-1].after if found and is_plain else unit.before
        found.append(replace(unit, before=before, after=_light(unit.after)))
    return found
