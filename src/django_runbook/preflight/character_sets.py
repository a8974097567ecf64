"""runbook.P305: each text column can hold what the database can."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.databases.collations import character_set, default_collations
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.schema.drift import compared_models
from django_runbook.schema.live import Live

WHOLE = "utf8mb4"
"""All of Unicode."""
SHOWN = 5
BYTES = ("ascii", "binary")
"""Chosen on purpose, for keys."""


def check_character_sets(plan: Plan, database: Database) -> Iterator[Finding]:
    """Where the database has all of Unicode by default, and a table is from before that.

    No foreign key can go between a text of either kind, and an emoji is refused.
    """
    default = default_collations(database.connection).database
    if character_set(default) != WHOLE:
        return
    live, found = Live(database.connection), defaultdict(list)
    for model in compared_models(database.connection, plan.steps[0].place.state):
        asked_for = {it.column for it in model._meta.local_fields if getattr(it, "db_collation", None)}
        for name, column in live.columns(model._meta.db_table).items():
            narrow = character_set(column.collation)
            if narrow not in (WHOLE, "", *BYTES) and name not in asked_for:
                found[model._meta.db_table].append(f"{name} ({narrow})")
    if not found:
        return
    tables = sorted(found)
    yield Finding(
        id="runbook.P305",
        severity=Severity.WARNING,
        message=_(
            "%(number)d tables have text columns that hold less than database '%(alias)s' could: %(tables)s. "
            "They refuse an emoji, and no foreign key goes between them and new columns."
        )
        % {"number": len(tables), "alias": database.alias, "tables": ", ".join(tables)},
        hint="\n".join(
            [
                "SET FOREIGN_KEY_CHECKS = 0;",
                *(
                    f"ALTER TABLE {database.quote(it)} CONVERT TO CHARACTER SET {WHOLE} COLLATE {default};"
                    for it in tables
                ),
                "SET FOREIGN_KEY_CHECKS = 1;",
            ]
        ),
        examples=tuple(f"{it}: {', '.join(found[it])}" for it in tables[:SHOWN]),
    )


CHECK = Check(
    id="runbook.P305",
    title=gettext_lazy("each text column can hold what the database can"),
    look=check_character_sets,
)
