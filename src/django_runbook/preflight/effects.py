"""What each pending migration makes and takes away, by name, to be held against what is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Literal

from django.conf import settings
from django.db import router
from django.db.migrations import operations
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import CheckConstraint, Field, ManyToManyField

from django_runbook.databases import Database
from django_runbook.plan import Plan
from django_runbook.preflight.coming import Coming, coming
from django_runbook.schema.drift import compared_models
from django_runbook.schema.history import Key
from django_runbook.schema.live import Live
from django_runbook.schema.touching import source_beside

Sort = Literal["table", "column", "index"]
"""An index, or a constraint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """Something in a database that has a name."""

    sort: Sort
    table: str
    """Its name today, where there is one."""
    name: str = ""
    """Of a column, index or constraint."""

    def __str__(self) -> str:
        return self.table if self.sort == "table" else f"{self.table}.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One thing that an operation makes, or takes away."""

    thing: Thing
    made: bool
    operation: Operation
    was: Any
    """The field, index or constraint that is taken away, if it is one."""
    texts: tuple[str, ...]
    """The sources of the operations with Python or SQL that stand before it."""


@dataclass(kw_only=True)
class Pending:
    """One migration of the plan and its effects, in order."""

    key: Key
    migration: Migration
    effects: list[Effect] = field(default_factory=list)
    has_code: bool = False
    """Does it run Python or SQL, of which nobody can tell whether it has run?"""

    @property
    def name(self) -> str:
        """As in "core.0033_sous_direction"."""
        return ".".join(self.key)


class Effects:
    """The effects of all pending migrations of a plan, and whether they are there already."""

    def __init__(self, plan: Plan, database: Database) -> None:
        self.plan, self.database = plan, database
        self.live = Live(database.connection)

    @property
    def migrations(self) -> Sequence[Pending]:
        return _read(_Same(self.plan), self.database.alias)

    def walk(self) -> Iterator[Coming]:
        """The operations that come; what is asked of the state behind one must be asked before the next."""
        return coming(self.plan, self.database.alias)

    def model_of(self, table: str) -> Any:
        """The model that the applied migrations have for a table."""
        return self._models[self.live.fold(table)]

    def made_beside(self, effect: Effect) -> Thing | None:
        """What the operation of this effect makes, if it makes something."""
        all_ = (it for pending in self.migrations for it in pending.effects)
        return next((it.thing for it in all_ if it.made and it.operation is effect.operation), None)

    def is_there(self, thing: Thing) -> bool:
        if thing.table not in self.live:
            return False
        if thing.sort == "table":
            return True
        if thing.sort == "column":
            return thing.name in self.live.columns(thing.table)
        names = {name.lower() for name in self.live.constraints(thing.table)}
        return thing.name.lower() in names

    def is_known(self, thing: Thing) -> bool:
        """Have the applied migrations made it, so that it is there because it has to be?"""
        return (thing.sort, self.live.fold(thing.table), thing.name.lower()) in self._known

    def would_be_missed(self, effect: Effect) -> bool:
        """Does Django's way to take the thing away fail if it is not there?"""
        editor: Any = self.database.connection.schema_editor()
        remakes = hasattr(editor, "_remake_table")
        if effect.thing.sort == "table":
            return True
        if effect.thing.sort == "column":
            was = effect.was
            return not (remakes and (was.remote_field or was.unique or was.db_index))
        if remakes or not self._is_plain(effect):
            return False
        if isinstance(effect.operation, operations.RemoveIndex):
            return "IF EXISTS" not in str(editor.sql_delete_index)
        return True

    def _is_plain(self, effect: Effect) -> bool:
        """Is it an index or constraint that Django makes on every server?"""
        if isinstance(effect.was, CheckConstraint):
            return bool(self.database.connection.features.supports_table_check_constraints)
        parts = ("condition", "expressions", "include", "deferrable", "nulls_distinct")
        return effect.was is not None and not any(getattr(effect.was, name, None) for name in parts)

    def may_be_handled(self, effect: Effect) -> bool:
        """Does Python or SQL before it name the table, so that it may make, drop or rename the thing?"""
        return any(effect.thing.table.lower() in text for text in effect.texts)

    @cached_property
    def _known(self) -> set[tuple[Sort, str, str]]:
        found: set[tuple[Sort, str, str]] = set()
        for model in self._models.values():
            options: Any = model._meta
            table = self.live.fold(options.db_table)
            found.add(("table", table, ""))
            found |= {("column", table, it.column.lower()) for it in options.local_fields if it.column}
            named = (*options.indexes, *options.constraints)
            found |= {("index", table, it.name.lower()) for it in named}
        return found

    @cached_property
    def _models(self) -> dict[str, Any]:
        models = compared_models(self.database.connection, self.state)
        return {self.live.fold(model._meta.db_table): model for model in models}

    @property
    def state(self) -> ProjectState:
        """Of the applied migrations."""
        return self.plan.steps[0].place.state


@dataclass(frozen=True, eq=False)
class _Same:
    """A plan that is equal to itself only."""

    plan: Plan

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.plan is self.plan

    def __hash__(self) -> int:
        return id(self.plan)


@lru_cache(maxsize=1)
def _read(same: _Same, alias: str) -> Sequence[Pending]:
    """Kept for the next check of the same plan: to walk through a long history takes seconds."""
    found: dict[Key, Pending] = {}
    texts: tuple[str, ...] = ()
    history = same.plan.steps[0].place.history
    for it in coming(same.plan, alias):
        pending = found.setdefault(it.key, Pending(key=it.key, migration=history.migration(it.key)))
        if isinstance(it.operation, operations.RunPython | operations.RunSQL):
            pending.has_code = True
            texts += (_text(it.operation),)
        pending.effects += [
            Effect(
                thing=thing,
                made=made,
                operation=it.operation,
                was=None if made else _taken_away(it, thing),
                texts=texts,
            )
            for thing, made in effects_of(it)
        ]
    return list(found.values())


def effects_of(it: Coming) -> Iterator[tuple[Thing, bool]]:
    """Pairs of a thing and whether the operation makes it; nothing for what has no table here.

    Names that Django makes up, as for the index of a field, are left out.
    """
    operation: Any = it.operation
    match operation:
        case operations.CreateModel():
            yield from _of_model(it, it.unit.after, operation.name_lower, made=True)
        case operations.DeleteModel():
            if it.is_here(it.model_key(operation.name)):
                table = it.today[it.model_key(operation.name)].table
                yield Thing(sort="table", table=table), False
        case operations.RenameModel() | operations.AlterModelTable():
            yield from _of_renaming(it)
        case operations.AddField() | operations.RemoveField() | operations.RenameField():
            yield from _of_field(it)
        case operations.AddIndex() | operations.AddConstraint():
            added = operation.index if hasattr(operation, "index") else operation.constraint
            yield from _of_index(it, added.name, made=True)
        case operations.RemoveIndex() | operations.RemoveConstraint():
            yield from _of_index(it, operation.name, made=False)
        case operations.RenameIndex():
            if operation.old_name:
                yield from _of_index(it, operation.old_name, made=False)
            yield from _of_index(it, operation.new_name, made=True)


def _taken_away(it: Coming, thing: Thing) -> Any:
    operation: Any = it.operation
    if thing.sort == "table":
        return None
    before = it.unit.before.models[it.model_key(operation.model_name)]
    if thing.sort == "column":
        return before.fields[getattr(operation, "old_name", "") or operation.name]
    named = [*before.options.get("indexes", ()), *before.options.get("constraints", ())]
    return next((found for found in named if found.name == thing.name), None)


def _of_model(it: Coming, state: ProjectState, name: str, *, made: bool) -> Iterator[tuple[Thing, bool]]:
    model = state.models[it.model_key(name)]
    if not (_has_table(model) and router.allow_migrate(it.alias, it.key[0], model_name=name)):
        return
    table = _table(model)
    yield Thing(sort="table", table=table), made
    for field_name, added in model.fields.items():
        if isinstance(added, ManyToManyField) and added.remote_field.through is None:
            yield Thing(sort="table", table=_between(table, field_name, added)), made


def _of_renaming(it: Coming) -> Iterator[tuple[Thing, bool]]:
    operation: Any = it.operation
    old = getattr(operation, "old_name", "") or operation.name
    new = getattr(operation, "new_name", "") or operation.name
    if not it.is_here(it.model_key(old)):
        return
    before = it.today[it.model_key(old)].table
    after = _table(it.unit.after.models[it.model_key(new)])
    if before != after:
        yield Thing(sort="table", table=before), False
        yield Thing(sort="table", table=after), True


def _of_field(it: Coming) -> Iterator[tuple[Thing, bool]]:
    operation: Any = it.operation
    key = it.model_key(operation.model_name)
    if not it.is_here(key):
        return
    today = it.today[key]
    old = getattr(operation, "old_name", "") or operation.name
    new = getattr(operation, "new_name", "") or operation.name
    before = it.unit.before.models[key].fields.get(old)
    after = it.unit.after.models[key].fields.get(new)
    gone, made = _thing(it, old, before, today.table), _thing(it, new, after, today.table)
    if gone == made:
        return
    if gone and (gone.sort == "table" or old in today.columns):
        yield gone, False
    if made:
        yield made, True


def _thing(it: Coming, name: str, of: Field[Any, Any] | None, table: str) -> Thing | None:
    """The column of a field, or the table of a many-to-many field."""
    if isinstance(of, ManyToManyField):
        own = of.remote_field.through is None
        return Thing(sort="table", table=_between(table, name, of)) if own else None
    if of is None:
        return None
    copy = of.clone()
    copy.set_attributes_from_name(name)
    return Thing(sort="column", table=table, name=copy.column) if copy.column else None


def _of_index(it: Coming, name: str, *, made: bool) -> Iterator[tuple[Thing, bool]]:
    operation: Any = it.operation
    key = it.model_key(operation.model_name)
    if it.is_here(key):
        yield Thing(sort="index", table=it.today[key].table, name=name), made


def _has_table(model: ModelState) -> bool:
    swappable = model.options.get("swappable")
    swapped = getattr(settings, swappable, "") if swappable else ""
    is_swapped = bool(swapped) and swapped.lower() != f"{model.app_label}.{model.name_lower}"
    return bool(model.options.get("managed", True)) and not model.options.get("proxy") and not is_swapped


def _table(model: ModelState) -> str:
    return str(model.options.get("db_table") or f"{model.app_label}_{model.name_lower}")


def _between(table: str, name: str, of: Any) -> str:
    stripped = table.strip('"')
    return str(of.db_table or f"{stripped}_{name}")


def _text(operation: Any) -> str:
    if isinstance(operation, operations.RunPython):
        return source_beside(operation.code).lower()
    return str(operation.sql).lower()
