"""runbook.P301: the live schema is what the applied migrations say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.done_already import state_really_applied
from django_runbook.preflight.effects import Effects, Thing
from django_runbook.preflight.touched import touched_tables
from django_runbook.schema.differences import TOO_MUCH, Difference, Kind
from django_runbook.schema.drift import compare_schema
from django_runbook.schema.mending import Mending

GRAVE = (
    Kind.MISSING_TABLE,
    Kind.MISSING_COLUMN,
    Kind.NO_NUMBERS,
    Kind.MISSING_FOREIGN_KEY,
    Kind.MISSING_UNIQUE,
)
"""On a table that the plan touches: what it stumbles over, or what lets rows in that break a promise."""


def check_drift(plan: Plan, database: Database) -> Iterator[Finding]:
    """One finding for each table; what a pending migration has done already is left to P302 and P303.

    What is too much is left to P304.
    """
    state = plan.steps[0].place.state
    found = [it for it in compare_schema(database.connection, state) if it.kind not in TOO_MUCH]
    if not found:
        return
    effects = Effects(plan, database)
    state = state_really_applied(effects)
    found = [it for it in compare_schema(database.connection, state) if it.kind not in TOO_MUCH]
    found = list(_without_half_done(found, effects))
    touched = touched_tables(plan, {it.table for it in found})
    mending = Mending(database.connection, state)
    for table, group in groupby(found, key=lambda it: it.table):
        yield _finding(table, list(group), mending, is_touched=table in touched)


def _without_half_done(found: Iterable[Difference], effects: Effects) -> Iterator[Difference]:
    """Differences that are not the missing half of something that a pending migration takes away."""
    gone = {it.thing for pending in effects.migrations for it in pending.effects if not it.made}
    for it in found:
        if Thing(sort="table", table=it.table) in gone:
            continue
        columns = [Thing(sort="column", table=it.table, name=name) for name in it.column.split(", ")]
        if any(column in gone and not effects.is_there(column) for column in columns):
            continue
        yield it


def _finding(table: str, found: list[Difference], mending: Mending, *, is_touched: bool) -> Finding:
    if is_touched:
        message = _(
            "Table %(table)s, which the plan touches, is not what the applied migrations say: %(differences)s"
        )
    else:
        message = _("Table %(table)s is not what the applied migrations say: %(differences)s")
    is_grave = is_touched and any(it.kind in GRAVE for it in found)
    statements = mending.statements(found)
    return Finding(
        id="runbook.P301",
        severity=Severity.ERROR if is_grave else Severity.WARNING,
        message=message % {"table": table, "differences": " ".join(map(str, found))},
        hint="\n".join(f"{it};" for it in statements)
        or _("No statement mends table %(table)s without a loss: make it anew by hand from its definition.")
        % {"table": table},
        subject=table,
    )


CHECK = Check(
    id="runbook.P301",
    title=gettext_lazy("the live schema is what the applied migrations say"),
    look=check_drift,
)
