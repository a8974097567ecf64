"""How long a change of a table will take by its size, whom it keeps waiting, and the gentler form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.databases.ddl_costs import Change, Cost, Costs, Safer, Waits, Work
from django_runbook.databases.sizes import TableSize
from django_runbook.plan import Plan
from django_runbook.preflight.base import Finding, Severity
from django_runbook.preflight.changes import changes
from django_runbook.preflight.coming import Coming, coming

MEGABYTES_PER_SECOND = {Work.REWRITE: 50, Work.READ: 200}
"""Assumed, of a server with ordinary disks; a rehearsal would tell."""
HURTS_FROM = 1.0
"""Seconds. What is over sooner hurts nobody."""

WAITING = {
    Waits.NOBODY: gettext_lazy("Rows can be read and written meanwhile, but disk and replicas are busy."),
    Waits.WRITERS: gettext_lazy("Whoever writes to it waits until then."),
    Waits.EVERYBODY: gettext_lazy("Whoever reads or writes it waits until then."),
}
SAFER = {
    Safer.CONCURRENTLY: gettext_lazy(
        "Use AddIndexConcurrently of django.contrib.postgres.operations, in a migration of its own with "
        "`atomic = False`; for a field, add it with db_index=False, and the index by Meta.indexes."
    ),
    Safer.NOT_VALID: gettext_lazy(
        "Add the constraint without looking at rows, and look in a later migration, while rows can be "
        "written: AddConstraintNotValid, then ValidateConstraint, of django.contrib.postgres.operations; for "
        "a foreign key the same with RunSQL: ADD CONSTRAINT … NOT VALID, then VALIDATE CONSTRAINT. Where a "
        "check IS NOT NULL has been validated, SET NOT NULL does not read the table."
    ),
    Safer.UNIQUE_INDEX: gettext_lazy(
        "Build the index first, in a migration with `atomic = False`, and give it to the constraint, both "
        "with RunSQL within SeparateDatabaseAndState: CREATE UNIQUE INDEX CONCURRENTLY …, then ALTER TABLE … "
        "ADD CONSTRAINT … UNIQUE USING INDEX …"
    ),
    Safer.NEW_COLUMN: gettext_lazy(
        "Add a new column with null=True, fill it with a Backfill step, let the code use it, and remove the "
        "old one in a later release."
    ),
    Safer.OTHER_TABLE: gettext_lazy(
        "Run it when nobody waits, or make the change with gh-ost or pt-online-schema-change, and put the "
        "operation into state_operations of SeparateDatabaseAndState."
    ),
    Safer.WINDOW: gettext_lazy("Run it when nobody waits."),
}
ROOM = gettext_lazy("See that the server's disk has room for the table once more.")
"""Nobody waits: there is no gentler form."""


def slow_changes(plan: Plan, database: Database, works: Mapping[Work, str]) -> Iterator[Finding]:
    """A warning for each operation that does such a work on a table that is large by now.

    `works` has the id of the check by the work that is its subject. Sizes are asked for once.
    """
    costs: Costs | None = None
    sizes: Mapping[str, TableSize] = {}
    held = {key for planned in plan.steps for key in planned.place.held}
    for it in coming(plan, database.alias):
        found: dict[str, tuple[Cost, Change]] = {}
        for key, whole in changes(it):
            if costs is None:
                costs, sizes = database.ddl_costs(), database.table_sizes()
            change = costs.deferred(whole) if it.key in held else whole
            if change is None:
                continue
            cost, table = costs.of(change), it.today[key].table
            if cost.work in works and _hurts(cost) and _is_worse(cost, found.get(table)):
                found[table] = cost, change
        for table, (cost, change) in found.items():
            size = sizes.get(table)
            if costs is not None and size and seconds(size, cost.work) >= HURTS_FROM:
                yield _finding(works[cost.work], it, table, size, cost, costs, change)


def seconds(size: TableSize, work: Work) -> float:
    """How long a work on a table of that size is assumed to take."""
    return size.bytes / (MEGABYTES_PER_SECOND[work] * 1_000_000)


def _hurts(cost: Cost) -> bool:
    return cost.work is Work.REWRITE or cost.waits is not Waits.NOBODY


def _is_worse(cost: Cost, known: tuple[Cost, Change] | None) -> bool:
    ranks = list(Waits)
    return known is None or ranks.index(cost.waits) > ranks.index(known[0].waits)


def _finding(
    id_: str, it: Coming, table: str, size: TableSize, cost: Cost, costs: Costs, change: Change
) -> Finding:
    words = {
        "migration": it.migration,
        "operation": it.words,
        "server": costs.server,
        "table": table,
        "megabytes": round(size.bytes / 1_000_000),
        "seconds": round(seconds(size, cost.work)),
        "rate": MEGABYTES_PER_SECOND[cost.work],
        "waiting": WAITING[cost.waits],
    }
    if cost.work is Work.REWRITE:
        text = _(
            "%(migration)s: %(operation)s. %(server)s writes the whole table %(table)s anew for it "
            "(%(megabytes)s MB): about %(seconds)s s, if it does %(rate)s MB/s. %(waiting)s"
        )
    else:
        text = _(
            "%(migration)s: %(operation)s. %(server)s reads the whole table %(table)s for it "
            "(%(megabytes)s MB): about %(seconds)s s, if it does %(rate)s MB/s. %(waiting)s"
        )
    hint = ROOM if cost.waits is Waits.NOBODY else SAFER[costs.safer.get(change.kind, Safer.WINDOW)]
    return Finding(id=id_, severity=Severity.WARNING, message=text % words, hint=str(hint), subject=table)
