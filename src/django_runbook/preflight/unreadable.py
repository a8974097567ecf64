"""runbook.P408: every value can be changed into the type that a pending migration gives its column."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.databases.misfits import kind_of
from django_runbook.preflight.altered_columns import AlteredColumn, altered_columns
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.coming import Coming
from django_runbook.preflight.condemned import Condemned, condemned, made_finding


def check_unreadable(coming: Coming, database: Database) -> Iterator[Finding]:
    """Texts that are no number, date, identifier and so on; and types with no way from one to the other."""
    for altered in altered_columns(coming, database):
        if kind_of(altered.old) == kind_of(altered.new):
            continue
        words = database.misfits.impossible(altered.old, altered.new)
        if words:
            yield _no_way(altered, words, coming)
        elif kind_of(altered.old) == "text" != kind_of(altered.new):
            yield from _unreadable(altered, coming, database)


def _no_way(altered: AlteredColumn, words: str, coming: Coming) -> Finding:
    """Even for an empty table."""
    return Finding(
        id="runbook.P408",
        severity=Severity.ERROR,
        message=_("%(migration)s gives %(column)s a type that this server cannot change it into: %(words)s.")
        % {
            "migration": coming.migration,
            "column": f"{coming.today[altered.model].table}.{altered.column}",
            "words": words,
        },
        hint=_(
            "Let the migration add a new column, fill it by a RunPython or a backfill, and remove the old "
            "one."
        ),
        subject=coming.today[altered.model].table,
    )


def _unreadable(altered: AlteredColumn, coming: Coming, database: Database) -> Iterator[Finding]:
    misfits, column = database.misfits, database.quote(altered.column)
    table = database.connection.ops.quote_name(coming.today[altered.model].table)
    words = misfits.refusal(table, column, altered.new)
    if misfits.asks_the_server and not words:
        return
    where = misfits.unreadable(column, altered.new)
    found = condemned(coming, altered.model, [altered.column], where, database) if where else None
    if words or found:
        yield _finding(altered, found, words, coming, database)


def _finding(
    altered: AlteredColumn, found: Condemned | None, words: str, coming: Coming, database: Database
) -> Finding:
    misfits = database.misfits
    fails = misfits.is_strict and (misfits.breaks_on_unreadable or kind_of(altered.new) == "JSONField")
    names = {
        "migration": coming.migration,
        "column": f"{coming.today[altered.model].table}.{altered.column}",
        "type": altered.new.db_type(database.connection),
        "count": found.count if found else 0,
        "words": words,
    }
    return made_finding(
        "runbook.P408",
        coming,
        altered.model,
        _message(found, fails=fails, breaks=misfits.breaks_on_unreadable) % names,
        _hint(found),
        found.examples if found else (words,),
        fails=fails,
    )


def _message(found: Condemned | None, *, fails: bool, breaks: bool) -> str:
    if found is None:
        return _(
            "%(migration)s gives %(column)s the type %(type)s, and the server refuses a value: %(words)s."
        )
    if fails:
        return _(
            "%(migration)s gives %(column)s the type %(type)s. Values that cannot be changed into it: "
            "%(count)d."
        )
    if breaks:
        return _(
            "%(migration)s gives %(column)s the type %(type)s, and this server will replace values that are "
            "none without a word. There are %(count)d."
        )
    return _(
        "%(migration)s gives %(column)s the type %(type)s. This server keeps values that are none, and "
        "Django will stumble over them when it reads the rows. There are %(count)d."
    )


def _hint(found: Condemned | None) -> str:
    if found is None:
        return _("Correct the value that the server names, and check again: there may be more.")
    return _("Correct or empty them before. This lists them:\n%(query)s") % {"query": found.query}


CHECK = Check(
    id="runbook.P408",
    title=gettext_lazy("every value can be changed into the type that a pending migration gives its column"),
    look=check_unreadable,
)
