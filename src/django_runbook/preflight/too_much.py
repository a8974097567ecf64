"""runbook.P304: the tables have nothing that no migration knows and that stands in the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.done_already import state_really_applied
from django_runbook.preflight.effects import Effects, Thing
from django_runbook.schema.collect import NotCollectable, collect, make_collecting_editor
from django_runbook.schema.differences import TOO_MUCH, Difference, Kind
from django_runbook.schema.drift import EXTRA_COLUMNS, compare_schema
from django_runbook.schema.mending import REMADE, Mending


def check_too_much(plan: Plan, database: Database) -> Iterator[Finding]:
    """Columns that a row must have, unique constraints and foreign keys; any column, where the plan loses it.

    What a pending migration makes is left to P302. Indexes are the business of who made them.
    """
    state = plan.steps[0].place.state
    found = [it for it in compare_schema(database.connection, state) if it.kind in TOO_MUCH]
    if not found:
        return
    effects = Effects(plan, database)
    state = state_really_applied(effects)
    found = [it for it in compare_schema(database.connection, state) if it.kind in TOO_MUCH]
    coming = {it.thing for pending in effects.migrations for it in pending.effects if it.made}
    found = [it for it in found if not coming & set(_things(it))]
    mending = Mending(database.connection, state)
    for table, group in groupby(found, key=lambda it: it.table):
        differences = list(group)
        if lost := [it for it in differences if it.kind in EXTRA_COLUMNS]:
            yield from _lost(table, lost, effects)
        hurting = [it for it in differences if it.kind is not Kind.EXTRA_COLUMN]
        if hurting:
            yield _hurting(table, hurting, mending)


def _things(it: Difference) -> Iterator[Thing]:
    for column in it.column.split(", "):
        yield Thing(sort="column", table=it.table, name=column)
    yield Thing(sort="index", table=it.table, name=it.found)


def _lost(table: str, found: Sequence[Difference], effects: Effects) -> Iterator[Finding]:
    """By Django's way to alter a table where the server cannot: only what the model knows is taken along."""
    migration = _making_anew(table, effects)
    if not migration:
        return
    columns = ", ".join(it.column for it in found)
    quote = effects.database.quote
    yield Finding(
        id="runbook.P304",
        severity=Severity.ERROR,
        message=_(
            "Migration %(migration)s makes table %(table)s anew, with the columns of its model only: what is "
            "in %(columns)s, which no migration knows, would be lost."
        )
        % {"migration": migration, "table": table, "columns": columns},
        hint=_("Keep a copy, and drop what no migration knows:")
        + "".join(
            [
                f"\nCREATE TABLE {quote(f'{table}_kept')} AS SELECT * FROM {quote(table)};",
                *(f"\nALTER TABLE {quote(table)} DROP COLUMN {quote(it.column)};" for it in found),
            ]
        ),
        subject=table,
    )


def _making_anew(table: str, effects: Effects) -> str:
    """The first pending migration that does it, if one does."""
    editor = make_collecting_editor(effects.database.connection)
    if not hasattr(editor, "_remake_table"):
        return ""
    anew = f'ALTER TABLE "{REMADE}{table}" RENAME'
    for it in effects.walk():
        try:
            statements = collect(editor, it.unit, it.key[0])
        except NotCollectable:
            continue
        if any(anew in statement for statement in statements):
            return it.migration
    return ""


def _hurting(table: str, found: Sequence[Difference], mending: Mending) -> Finding:
    statements = mending.statements(found)
    return Finding(
        id="runbook.P304",
        severity=Severity.WARNING,
        message=" ".join(map(str, found)),
        hint="\n".join(f"{it};" for it in statements)
        or _("No statement mends table %(table)s without a loss: make it anew by hand from its definition.")
        % {"table": table},
        subject=table,
    )


CHECK = Check(
    id="runbook.P304",
    title=gettext_lazy("the tables have nothing that no migration knows and that stands in the way"),
    look=check_too_much,
)
