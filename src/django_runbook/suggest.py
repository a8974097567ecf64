"""A runbook from what is pending: which steps, in which order, and why. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from django.db import migrations
from django.db.models import Q
from django.utils.translation import gettext as _

from django_runbook.backfills.task import Task
from django_runbook.schema.crashes import applies_itself
from django_runbook.schema.deferrals import deferrals
from django_runbook.schema.history import Key
from django_runbook.schema.nature import Demand, is_contracting, tightenings
from django_runbook.steps import Backfill, Backup, Export, Migrate, NoRows, Restart, Step, Verify
from django_runbook.steps.base import Column, Place, names_problems

ONE_BY_ONE = 6
"""Up to so many migrations in a row are listed one by one; more of one app become one step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A step with the comment that stands over it in the file."""

    step: Step
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A runbook to be written."""

    suggestions: tuple[Suggestion, ...]
    skeletons: tuple[type[Backfill], ...] = ()
    """Tasks that have to be written: the draft only knows which column they must fill."""


def suggest(
    start: Place, pending: Sequence[Key], tasks: Sequence[type[Task]], restarts: Sequence[Step] = ()
) -> Draft:
    """Lay out expand → backfill → verify → export → restart → contract."""
    skeletons = tuple(_skeletons(start, pending, tasks))
    due = [*(task for task in tasks if _becomes_possible(task, start, pending)), *skeletons]
    contract = _contracting_tail(start, pending)
    expand = pending[: len(pending) - len(contract)]
    suggestions = [Suggestion(step=Backup(), why=_("The way back, before the first change."))]
    suggestions += _forward(start, expand, due)
    if due:
        suggestions.append(
            Suggestion(
                step=_export(start, pending, due), why=_("What the new data looks like, for the record.")
            )
        )
    suggestions += [
        Suggestion(step=step, why=_("The schema has what the new code needs.")) for step in restarts
    ]
    if contract:
        suggestions += _migrates(start, contract)
        suggestions.append(Suggestion(step=Verify(), why=_("Schema, foreign keys and record, at the end.")))
    elif not due:
        at = next((i for i, it in enumerate(suggestions) if isinstance(it.step, Restart)), len(suggestions))
        suggestions.insert(
            at, Suggestion(step=Verify(), why=_("Schema, foreign keys and record, at the end."))
        )
    return Draft(suggestions=tuple(suggestions), skeletons=skeletons)


def _forward(start: Place, keys: Sequence[Key], due: Sequence[type[Task]]) -> Iterator[Suggestion]:
    """Migrations, each task after what creates its columns and before what tightens them.

    And before what can wait of the migration that adds them: to build it over filled columns is faster.
    """
    waiting = list(due)
    chunk: list[Key] = []
    place = start
    for key in keys:
        before = place.migrated(chunk)
        ready = [task for task in waiting if _must_precede(task, key, before)]
        if ready:
            yield from _migrates(place, chunk)
            yield from _moves(ready)
            waiting = [task for task in waiting if task not in ready]
            place, chunk = before, []
        after = place.migrated([*chunk, key])
        faster = [task for task in waiting if _is_faster_before(task, key, after)]
        if faster:
            yield from _migrates(place, chunk)
            yield Suggestion(step=Migrate(*_short(place, key), defer_indexes=True), why=_summary(place, key))
            yield from _moves(faster)
            waiting = [task for task in waiting if task not in faster]
            place, chunk = after, []
            yield Suggestion(
                step=Migrate(*_short(place, key)),
                why=_("What was left for later: over filled columns it is built in a fraction of the time."),
            )
        else:
            chunk.append(key)
    yield from _migrates(place, chunk)
    yield from _moves(waiting)


def _is_faster_before(task: type[Task], key: Key, after: Place) -> bool:
    """Can the task run once the migration is applied, and could that build over its columns later?"""
    migration = after.history.migration(key)
    if applies_itself(migration) or list(names_problems(after, task.model, task.rows, task.fills)):
        return False
    filled = Backfill(task).columns_filled
    built = deferrals(migration, adds_constraints=after.adds_constraints)
    return any((it.model, name) in filled for it in built for name in it.added)


def _moves(tasks: Sequence[type[Task]]) -> Iterator[Suggestion]:
    for task in tasks:
        yield Suggestion(step=Backfill(task), why=_("The columns exist; nothing demands their values yet."))
    invariants = [NoRows(task.model, **_lookups(task.rows)) for task in tasks if task.rows]
    if tasks:
        yield Suggestion(
            step=Verify(*invariants), why=_("No row may be left before the next step relies on it.")
        )


def _lookups(rows: Q) -> dict[str, object]:
    return {child[0]: child[1] for child in rows.children if isinstance(child, tuple)}


def _migrates(place: Place, keys: Sequence[Key]) -> Iterator[Suggestion]:
    last = {key[0]: key for key in keys}
    for key in keys:
        if len(keys) <= ONE_BY_ONE or last[key[0]] == key:
            yield Suggestion(step=Migrate(*_short(place, key)), why=_summary(place, key))


def _short(place: Place, key: Key) -> Key:
    """The migration by its number, if no other begins with it."""
    number = key[1].partition("_")[0]
    same = [
        name
        for app, name in place.history.loader.disk_migrations
        if app == key[0] and name.startswith(number)
    ]
    return (key[0], number) if number.isdigit() and len(same) == 1 else key


def _summary(place: Place, key: Key) -> str:
    words = [str(operation.describe()) for operation in place.history.operations(key)]
    return textwrap.shorten("; ".join(words), width=96, placeholder=" …")


def _becomes_possible(task: type[Task], start: Place, pending: Sequence[Key]) -> bool:
    """Do the pending migrations create what the task needs, so that it belongs to this upgrade?"""
    then = replace(start.migrated(pending), backed_up=True)
    now = replace(start, backed_up=True)
    possible = [bool(list(Backfill(task).problems(place))) for place in (now, then)]
    midway = any(
        not list(Backfill(task).problems(replace(start.migrated(pending[:count]), backed_up=True)))
        for count in range(1, len(pending))
    )
    return possible[0] and (not possible[1] or midway)


def _must_precede(task: type[Task], key: Key, before: Place) -> bool:
    step = Backfill(task)
    columns = step.columns_filled | step.columns_read
    return any(
        (f"{item.app_label}.{item.model}", item.field) in columns
        for item in tightenings(before.history.migration(key), before.state)
    )


def _skeletons(start: Place, pending: Sequence[Key], tasks: Sequence[type[Task]]) -> Iterator[type[Backfill]]:
    """For each column that is added nullable and later made NOT NULL, with nothing between that fills it."""
    known = frozenset[Column]().union(*(Backfill(task).columns_filled for task in tasks))
    place, open_columns = start, frozenset[Column]()
    for key in pending:
        migration = place.history.migration(key)
        demanded = {
            (f"{item.app_label}.{item.model}", item.field)
            for item in tightenings(migration, place.state)
            if item.demand is Demand.NOT_NULL
        }
        for column in sorted(demanded & open_columns - known):
            yield _skeleton(place, column)
        if any(isinstance(it, migrations.RunPython | migrations.RunSQL) for it in migration.operations):
            open_columns = frozenset()
        open_columns |= _added_nullable(key[0], migration)
        place = place.migrated([key])


def _added_nullable(app_label: str, migration: migrations.Migration) -> frozenset[Column]:
    return frozenset(
        (f"{app_label}.{operation.model_name_lower}", operation.name)
        for operation in migration.operations
        if isinstance(operation, migrations.AddField) and operation.field.null
    )


def _skeleton(place: Place, column: Column) -> type[Backfill]:
    model = place.model(column[0])
    label = model._meta.label if model else column[0]
    words = [label.partition(".")[2], *column[1].split("_")]
    name = "Fill" + "".join(word[:1].upper() + word[1:] for word in words)
    return type(name, (Backfill,), {"model": label, "rows": Q(**{f"{column[1]}__isnull": True})})


def _contracting_tail(start: Place, pending: Sequence[Key]) -> list[Key]:
    """The last migrations that only take away: the code that runs until the restart may still need it."""
    places = [start.migrated(pending[:count]) for count in range(len(pending))]
    tail: list[Key] = []
    for key, place in zip(reversed(pending), reversed(places), strict=True):
        migration = place.history.migration(key)
        if not (is_contracting(migration, place.state) and tightenings(migration, place.state)):
            break
        tail.insert(0, key)
    return tail


def _export(start: Place, pending: Sequence[Key], due: Sequence[type[Task]]) -> Step:
    apps = {task.model.partition(".")[0] for task in due}
    created = [
        f"{key[0]}.{operation.name}"
        for key in pending
        if key[0] in apps
        for operation in start.history.operations(key)
        if isinstance(operation, migrations.CreateModel)
    ]
    return Export(*dict.fromkeys([*(task.model for task in due), *created]))


def to_module(draft: Draft, name: str, heading: str) -> str:
    """The draft as a Python module, ready to be read and committed."""
    steps = [line for it in draft.suggestions for line in (f"# {it.why}", f"{it.step.declaration()},")]
    class_name = "".join(word[:1].upper() + word[1:] for word in name.split("_"))
    return "\n".join(
        [
            f'"""{heading}\n"""',
            "",
            *_imports(draft),
            "",
            *(line for task in draft.skeletons for line in _task_source(task)),
            "",
            f"class {class_name}(Runbook):",
            f'    """{heading.partition(chr(10))[0]}"""',
            "",
            "    steps = [",
            *(f"        {line}" for line in steps),
            "    ]",
            "",
        ]
    )


def _imports(draft: Draft) -> list[str]:
    steps = [it.step for it in draft.suggestions]
    names = {type(step).__name__ for step in steps} | {"Runbook"}
    names |= {type(it).__name__ for step in steps if isinstance(step, Verify) for it in step.invariants}
    tasks = [step.task for step in steps if isinstance(step, Backfill) and step.task not in draft.skeletons]
    lines = [f"from {task.__module__} import {task.__name__}" for task in tasks]
    django = ["from django.db.models import Q", ""] if draft.skeletons else []
    return [*django, *sorted([*lines, f"from django_runbook import {', '.join(sorted(names))}"])]


def _task_source(task: type[Backfill]) -> list[str]:
    (lookup,) = (child[0] for child in task.rows.children if isinstance(child, tuple))
    field = lookup.removesuffix("__isnull")
    return [
        "",
        f"class {task.__name__}(Backfill):",
        f'    """Fill {task.model}.{field} before a migration demands it."""',
        "",
        f'    model = "{task.model}"',
        f"    rows = Q({lookup}=True)",
        "",
        "    # The plan is refused until this says where the values come from. `rows` is a queryset over one",
        "    # key range, with the models as they are at this place; each batch is one transaction.",
        "    #",
        "    # def batch(self, rows):",
        f"    #     rows.update({field}=...)",
        "",
    ]
