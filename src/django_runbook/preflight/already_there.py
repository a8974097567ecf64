"""runbook.P302: nothing that a pending migration makes is there already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.done_already import is_done, record_as_applied
from django_runbook.preflight.effects import Effect, Effects, Pending, Thing
from django_runbook.schema.collect import make_collecting_editor
from django_runbook.schema.mending import delete_sql, in_one_piece

SHOWN = 5


def check_already_there(plan: Plan, database: Database) -> Iterator[Finding]:
    """What is left of a `migrate` that was cut off, or was made by hand: Django stops at it.

    Tables, columns, and the indexes and constraints that have a name of their own.
    """
    effects = Effects(plan, database)
    for pending in effects.migrations:
        taken = [
            it
            for it in pending.effects
            if it.made and effects.is_there(it.thing) and not effects.is_known(it.thing)
        ]
        if taken:
            yield _finding(taken, pending, effects)


def _finding(taken: Sequence[Effect], pending: Pending, effects: Effects) -> Finding:
    words = {"migration": pending.name, "things": ", ".join(str(it.thing) for it in taken)}
    if is_done(pending, effects):
        message = _(
            "Migration %(migration)s is not recorded as applied, but all that it makes is there: %(things)s. "
            "Django would stop at the first, which exists already."
        )
        hint = record_as_applied(pending, effects)
    else:
        message = _(
            "Migration %(migration)s is pending, but a part of what it makes is there: %(things)s. Django "
            "would stop at the first, which exists already. A `migrate` that was cut off leaves this, or "
            "work by hand."
        )
        hint = _removal(taken, pending, effects)
    return Finding(
        id="runbook.P302",
        severity=Severity.WARNING if _may_be_handled(taken, effects) else Severity.ERROR,
        message=message % words + (_unless(taken, effects)),
        hint=hint,
        subject=pending.name,
        examples=tuple(_described(it.thing, effects) for it in taken[:SHOWN]),
    )


def _may_be_handled(taken: Sequence[Effect], effects: Effects) -> bool:
    return all(effects.may_be_handled(it) for it in taken)


def _unless(taken: Sequence[Effect], effects: Effects) -> str:
    if not _may_be_handled(taken, effects):
        return ""
    return _(" Unless Python or SQL in the plan, which names the table, takes it away first.")


def _described(thing: Thing, effects: Effects) -> str:
    if thing.sort == "index":
        return str(thing)
    if thing.sort == "table":
        return _("%(thing)s: %(rows)d rows") % {"thing": thing, "rows": _rows(thing, effects.database)}
    values = _values(thing, effects.database)
    return _("%(thing)s: %(values)d different values") % {"thing": thing, "values": values}


def _rows(thing: Thing, database: Database) -> int:
    [(count,)] = database.ask(f"SELECT COUNT(*) FROM {database.quote(thing.table)}")
    return int(count)


def _values(thing: Thing, database: Database) -> int:
    column = database.exact(database.quote(thing.name))
    [(count,)] = database.ask(f"SELECT COUNT(DISTINCT {column}) FROM {database.quote(thing.table)}")
    return int(count)


def _holds_data(thing: Thing, database: Database) -> bool:
    """One value in all rows is what Django gives a new column."""
    if thing.sort == "table":
        return _rows(thing, database) > 0
    return thing.sort == "column" and _values(thing, database) > 1


def _removal(taken: Sequence[Effect], pending: Pending, effects: Effects) -> str:
    """The last one first; nothing to paste as long as something would be lost."""
    database = effects.database
    full = [it.thing for it in taken if _holds_data(it.thing, database)]
    if full:
        queries = (_query(it, database) for it in full)
        return "\n".join(
            [
                *queries,
                _(
                    "Look at what is in there, and keep a copy of what is needed. Then drop it, and run this "
                    "command again; or do the rest of migration %(migration)s by hand, and record it with "
                    "`manage.py migrate --fake`."
                )
                % {"migration": pending.name},
            ]
        )
    tables = {it.thing.table for it in taken if it.thing.sort == "table"}
    statements: list[str] = []
    for it in reversed(taken):
        if it.thing.sort == "table" or it.thing.table not in tables:
            statements += _drop(it, effects)
    return "\n".join(f"{it};" for it in statements)


def _query(thing: Thing, database: Database) -> str:
    table = database.quote(thing.table)
    if thing.sort == "table":
        return f"SELECT * FROM {table} LIMIT 20;"
    column = database.quote(thing.name)
    return f"SELECT {column}, COUNT(*) FROM {table} GROUP BY {column} LIMIT 20;"


def _drop(effect: Effect, effects: Effects) -> list[str]:
    """With its foreign keys, where they must go first; by making the table anew, where it must be."""
    thing, database = effect.thing, effects.database
    table = database.quote(thing.table)
    if thing.sort == "table":
        return [f"DROP TABLE {table}"]
    editor = make_collecting_editor(database.connection)
    model = effects.model_of(thing.table)
    if hasattr(editor, "_remake_table"):
        editor._remake_table(model)
        return in_one_piece([str(it).rstrip().removesuffix(";") for it in editor.collected_sql])
    live = effects.live.constraints(thing.table)
    if thing.sort == "column":
        for name, it in sorted(live.items(), key=lambda item: not item[1]["foreign_key"]):
            if thing.name not in it["columns"]:
                continue
            if it["foreign_key"]:
                editor.execute(editor._delete_fk_sql(model, name), None)
            elif len(it["columns"]) > 1:
                editor.execute(delete_sql(editor, model, name, it), None)
        words = {"table": table, "column": database.quote(thing.name)}
        editor.execute(editor.sql_delete_column % words, None)
    else:
        name = next(name for name in live if name.lower() == thing.name.lower())
        editor.execute(delete_sql(editor, model, name, live[name]), None)
    return [str(it).rstrip().removesuffix(";") for it in editor.collected_sql]


CHECK = Check(
    id="runbook.P302",
    title=gettext_lazy("nothing that a pending migration makes is there already"),
    look=check_already_there,
)
