"""What a plan does to the tables of today, and so which rights it needs. Where in doubt, none.

Read from the states of the migrations alone: to make models of them for each operation would take too long.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from django.db import connections, router
from django.db.backends.utils import truncate_name
from django.db.migrations import operations
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ModelState, ProjectState

from django_runbook.databases import Database
from django_runbook.databases.surroundings import Needs
from django_runbook.ledger import TABLES
from django_runbook.plan import Plan
from django_runbook.preflight.coming import Coming, coming
from django_runbook.schema.touching import ModelKey
from django_runbook.steps import Backfill, Backup

Need = tuple[str, str]
"""Name of a field of `Needs`, and a table."""
INDEXES = (operations.AddIndex, operations.RemoveIndex, operations.RenameIndex)
CONSTRAINTS = (operations.AddConstraint, operations.RemoveConstraint)
OPTIONS = (operations.AlterUniqueTogether, operations.AlterOrderWithRespectTo)


def needs_of(plan: Plan, database: Database) -> Needs:
    """What the operations of Django do. What RunPython, RunSQL and a project's own do is not known."""
    found: dict[str, set[str]] = defaultdict(set)
    extensions = []
    for it in coming(plan, database.alias):
        for need, table in _of_operation(it):
            found[need].add(table)
        if _is_extension(it.operation):
            extensions.append(str(getattr(it.operation, "name", "")))
    for need, table in (*_of_run(database), *_of_backfills(plan)):
        found[need].add(table)
    return Needs(
        **{need: frozenset(names) for need, names in found.items()},
        extensions=tuple(extensions),
        backup=any(isinstance(planned.step, Backup) for planned in plan.steps),
    )


def _of_run(database: Database) -> Iterator[Need]:
    """Every run writes to Django's record of migrations and to the ledger."""
    live = set(database.connection.introspection.table_names())
    for model in (MigrationRecorder.Migration, *TABLES):
        table = model._meta.db_table
        if table in live:
            yield "written", table
            continue
        fields: Any = model._meta.local_fields
        yield "creates", table
        if model._meta.unique_together or any(field.remote_field for field in fields):
            yield "altered", table
        if any(field.db_index and not field.remote_field for field in fields):
            yield "indexed", table


def _of_backfills(plan: Plan) -> Iterator[Need]:
    """They read their rows for certain; what they write where is in their code."""
    for planned in plan.steps:
        if isinstance(planned.step, Backfill):
            app_label, _dot, name = planned.step.task.model.lower().partition(".")
            state = planned.place.state
            if (app_label, name) in state.models:
                yield "read", _table(state, (app_label, name), planned.place.alias)


def _of_operation(it: Coming) -> Iterator[Need]:
    operation: Any = it.operation
    match operation:
        case operations.CreateModel():
            yield from _of_new_model(it, operation)
        case operations.DeleteModel():
            yield from _on(it, "dropped", operation.name)
        case operations.RenameModel():
            yield from _of_rename(it, operation.old_name, operation.new_name)
        case operations.AlterModelTable():
            yield from _of_rename(it, operation.name, operation.name)
        case operations.AddField() | operations.RemoveField() | operations.AlterField():
            yield from _of_field(it, operation)
        case operations.RenameField():
            yield from _on(it, "altered", operation.model_name)
        case _ if isinstance(operation, INDEXES):
            yield from _on(it, "indexed", operation.model_name)
        case _ if isinstance(operation, CONSTRAINTS):
            yield from _on(it, "altered", operation.model_name)
        case _ if isinstance(operation, OPTIONS):
            yield from _on(it, "altered", operation.name)


def _of_new_model(it: Coming, operation: operations.CreateModel) -> Iterator[Need]:
    """Django adds foreign keys and indexes to the new table by statements of their own."""
    key = it.model_key(operation.name)
    state = it.unit.after
    if not _is_managed(state, key, it.alias):
        return
    table = _table(state, key, it.alias)
    yield "creates", table
    if state.models[key].options.get("indexes"):
        yield "indexed", table
    for name, field in state.models[key].fields.items():
        yield from _of_new_field(it, key, name, field)


def _of_field(it: Coming, operation: Any) -> Iterator[Need]:
    """Nothing if Django sends no statement for it, as for a new help text."""
    key = it.model_key(operation.model_name)
    old, new = (state.models[key].fields.get(operation.name) for state in (it.unit.before, it.unit.after))
    if old and new and (_stored(old) == _stored(new) or new.many_to_many):
        return
    if (new or old).many_to_many:
        if new:
            yield from _of_new_field(it, key, operation.name, new)
        elif not old.remote_field.through:
            yield "dropped", _between(it, key, operation.name, old)
        return
    yield from _on(it, "altered", operation.model_name)
    if new and not (old and old.remote_field):
        yield from _of_new_field(it, key, operation.name, new)


def _of_new_field(it: Coming, key: ModelKey, name: str, field: Any) -> Iterator[Need]:
    table = _table_today(it, key)
    if field.many_to_many:
        if not field.remote_field.through:
            between = _between(it, key, name, field)
            yield from (("creates", between), ("altered", between), ("referenced", table))
            yield "referenced", _target(it, key, field)
    elif field.remote_field:
        if field.db_constraint:
            yield from (("altered", table), ("referenced", _target(it, key, field)))
    elif field.db_index and not field.unique:
        yield "indexed", table


def _of_rename(it: Coming, old: str, new: str) -> Iterator[Need]:
    before, after = it.unit.before, it.unit.after
    name = _table(after, it.model_key(new), it.alias)
    if _table(before, it.model_key(old), it.alias) != name:
        yield from _on(it, "renamed", old)
        yield from ((("renamed_to", name),) if _is_managed(after, it.model_key(new), it.alias) else ())


def _on(it: Coming, need: str, name: str) -> Iterator[Need]:
    """The table of a model where it is today, or where it will be made."""
    key = it.model_key(name)
    if _is_managed(it.unit.before, key, it.alias):
        yield need, _table_today(it, key)


def _is_managed(state: ProjectState, key: ModelKey, alias: str) -> bool:
    model: ModelState = state.models[key]
    is_made = model.options.get("managed", True) and not model.options.get("proxy")
    return bool(is_made) and bool(router.allow_migrate(alias, key[0], model_name=key[1]))


def _table_today(it: Coming, key: ModelKey) -> str:
    if key in it.today:
        return it.today[key].table
    state = it.unit.after if key in it.unit.after.models else it.unit.before
    return _table(state, key, it.alias)


def _table(state: ProjectState, key: ModelKey, alias: str) -> str:
    """As `Options` of a model names its table."""
    named = state.models[key].options.get("db_table") if key in state.models else ""
    return str(named or _short(f"{key[0]}_{key[1]}", alias))


def _between(it: Coming, key: ModelKey, name: str, field: Any) -> str:
    """The table of a many-to-many field, as the field names it."""
    through = (key[0], f"{key[1]}_{name}".lower())
    if through in it.today:
        return it.today[through].table
    return str(field.db_table or _short(f"{_table_today(it, key)}_{name}", it.alias))


def _target(it: Coming, key: ModelKey, field: Any) -> str:
    to = field.remote_field.model
    if not isinstance(to, str):
        return str(to._meta.db_table)
    if to == "self":
        return _table_today(it, key)
    label, _dot, name = to.lower().rpartition(".")
    return _table_today(it, (label or key[0], name))


def _short(name: str, alias: str) -> str:
    return truncate_name(name, connections[alias].ops.max_name_length())


def _stored(field: Any) -> tuple[Any, ...]:
    """What of a field the database knows."""
    _name, path, args, kwargs = field.deconstruct()
    known = {name: value for name, value in kwargs.items() if name not in field.non_db_attrs}
    return path, args, known


def _is_extension(operation: Any) -> bool:
    """Of `django.contrib.postgres`, which a project without PostgreSQL cannot import."""
    return any(cls.__name__ == "CreateExtension" for cls in type(operation).__mro__)
