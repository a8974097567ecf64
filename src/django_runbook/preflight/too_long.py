"""runbook.P406: no text is too long for the narrower column that a pending migration makes."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.databases.misfits import kind_of, stored
from django_runbook.preflight.altered_columns import AlteredColumn, altered_columns
from django_runbook.preflight.base import Check, Finding
from django_runbook.preflight.coming import Coming
from django_runbook.preflight.condemned import condemned, made_finding


def check_too_long(coming: Coming, database: Database) -> Iterator[Finding]:
    """Refused, or cut without a word, as the server and Django's statement do it."""
    if not database.misfits.has_limits:
        return
    for altered in altered_columns(coming, database):
        length = _narrower(altered)
        if length is not None:
            yield from _found(altered, length, coming, database)


def _narrower(altered: AlteredColumn) -> int | None:
    """Characters in the new column, if the old one can hold more."""
    old, new = stored(altered.old), stored(altered.new)
    if kind_of(new) != "text" or kind_of(old) not in ("text", "integer") or new.max_length is None:
        return None
    if old.get_internal_type() == "TextField":
        is_narrower = new.get_internal_type() != "TextField"
    else:
        is_narrower = new.get_internal_type() != "TextField" and (
            kind_of(old) == "integer" or old.max_length is None or old.max_length > new.max_length
        )
    return int(new.max_length) if is_narrower else None


def _found(altered: AlteredColumn, length: int, coming: Coming, database: Database) -> Iterator[Finding]:
    misfits, column = database.misfits, altered.column
    found = condemned(
        coming, altered.model, [column], misfits.too_long(database.quote(column), length), database
    )
    if found is None:
        return
    cut = misfits.cuts(altered.old, altered.new)
    names = {
        "migration": coming.migration,
        "column": f"{coming.today[altered.model].table}.{column}",
        "length": length,
        "count": found.count,
    }
    message = (
        _(
            "%(migration)s makes %(column)s hold at most %(length)d characters, and this server will cut "
            "longer values without a word. Values that are longer: %(count)d."
        )
        if cut
        else _(
            "%(migration)s makes %(column)s hold at most %(length)d characters. Values that are longer: "
            "%(count)d."
        )
    )
    hint = _("Shorten them, or let the column hold more. This lists them all:\n%(query)s") % {
        "query": found.query
    }
    yield made_finding(
        "runbook.P406", coming, altered.model, message % names, hint, found.examples, fails=True
    )


CHECK = Check(
    id="runbook.P406",
    title=gettext_lazy("no text is too long for a column that a pending migration makes narrower"),
    look=check_too_long,
)
