"""runbook.P407: no number is out of the range of the column that a pending migration makes."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.databases.misfits import kind_of, stored
from django_runbook.preflight.altered_columns import AlteredColumn, altered_columns
from django_runbook.preflight.base import Check, Finding
from django_runbook.preflight.coming import Coming
from django_runbook.preflight.condemned import condemned, made_finding

NUMBERS = {"integer", "DecimalField", "FloatField"}


def check_out_of_range(coming: Coming, database: Database) -> Iterator[Finding]:
    """A number beyond the range is refused; places behind the point that do not fit are rounded away."""
    for altered in altered_columns(coming, database):
        if {kind_of(altered.old), kind_of(altered.new)} <= NUMBERS and kind_of(altered.new) != "FloatField":
            yield from _beyond(altered, coming, database)
            yield from _rounded(altered, coming, database)


def _beyond(altered: AlteredColumn, coming: Coming, database: Database) -> Iterator[Finding]:
    column = database.quote(altered.column)
    low, high = _range(altered, database)
    slack = _slack(altered)
    where = " OR ".join(
        it
        for it in (
            f"{_as_stored(altered, column)} < {low - slack}" if low is not None else "",
            f"{_as_stored(altered, column)} > {high + slack}" if high is not None else "",
        )
        if it
    )
    found = condemned(coming, altered.model, [altered.column], where, database) if where else None
    if found is None:
        return
    names = {
        "migration": coming.migration,
        "column": f"{coming.today[altered.model].table}.{altered.column}",
        "count": found.count,
        "low": "-∞" if low is None else low,
        "high": "∞" if high is None else high,
    }
    hint = _("Change them, or give the column a wider type. This lists them all:\n%(query)s")
    fails = database.misfits.is_strict
    message = (
        _(
            "%(migration)s lets %(column)s hold numbers from %(low)s to %(high)s only. Values beyond: "
            "%(count)d."
        )
        if fails
        else _(
            "%(migration)s lets %(column)s hold numbers from %(low)s to %(high)s only, and this server will "
            "replace others by the nearest without a word. Values beyond: %(count)d."
        )
    )
    yield made_finding(
        "runbook.P407",
        coming,
        altered.model,
        message % names,
        hint % {"query": found.query},
        found.examples,
        fails=fails,
    )


def _range(altered: AlteredColumn, database: Database) -> tuple[Any, Any]:
    """What the new column takes and the old one may exceed, after rounding; None for no limit."""
    new, has_limits = stored(altered.new), database.misfits.has_limits
    if kind_of(new) == "DecimalField":
        if not has_limits:
            return None, None
        most = Decimal(10) ** (new.max_digits - new.decimal_places) - Decimal(10) ** -new.decimal_places
        return _unless_within(altered, (-most, most), database)
    low, high = database.connection.ops.integer_field_range(new.get_internal_type())
    return _unless_within(altered, (low, high if has_limits else None), database)


def _unless_within(altered: AlteredColumn, bounds: tuple[Any, Any], database: Database) -> tuple[Any, Any]:
    """Bounds that no value of the old type can be beyond say nothing."""
    old = stored(altered.old)
    low, high = bounds
    if kind_of(old) == "FloatField":
        return low, high
    if kind_of(old) == "integer":
        least, most = database.connection.ops.integer_field_range(old.get_internal_type())
    else:
        most = Decimal(10) ** (old.max_digits - old.decimal_places)
        least = -most
    is_low_free = low is None or (least is not None and least >= low)
    is_high_free = high is None or (most is not None and most <= high)
    return (None if is_low_free else low), (None if is_high_free else high)


def _rounded(altered: AlteredColumn, coming: Coming, database: Database) -> Iterator[Finding]:
    places = getattr(stored(altered.new), "decimal_places", 0)
    before = getattr(stored(altered.old), "decimal_places", None)
    if not database.misfits.has_limits or kind_of(altered.old) == "integer":
        return
    if before is not None and before <= places:
        return
    column = database.quote(altered.column)
    exact = f"CAST({column} AS DECIMAL(65, 30))" if before is None else column
    where = f"{exact} <> ROUND({exact}, {places})"
    found = condemned(coming, altered.model, [altered.column], where, database)
    if found is None:
        return
    message = _(
        "%(migration)s leaves %(places)d places behind the point in %(column)s, and this server will round "
        "values without a word. Values that will change: %(count)d."
    ) % {
        "migration": coming.migration,
        "places": places,
        "column": f"{coming.today[altered.model].table}.{altered.column}",
        "count": found.count,
    }
    hint = _("If they must stay as they are, give the column more places. This lists them all:\n%(query)s")
    yield made_finding(
        "runbook.P407",
        coming,
        altered.model,
        message,
        hint % {"query": found.query},
        found.examples,
        fails=False,
    )


def _slack(altered: AlteredColumn) -> Any:
    """By how much a float may be beyond a decimal's range and still be rounded into it."""
    if kind_of(altered.old) == "FloatField" and kind_of(altered.new) == "DecimalField":
        return Decimal(10) ** -stored(altered.new).decimal_places / 2
    return 0


def _as_stored(altered: AlteredColumn, column: str) -> str:
    """The number as the new column would round it."""
    if kind_of(altered.old) == "integer":
        return column
    if kind_of(altered.old) == "FloatField":
        return column if kind_of(altered.new) == "DecimalField" else f"ROUND({column})"
    return f"ROUND({column}, {getattr(stored(altered.new), 'decimal_places', 0)})"


CHECK = Check(
    id="runbook.P407",
    title=gettext_lazy("no number is out of the range of a column that a pending migration makes"),
    look=check_out_of_range,
)
