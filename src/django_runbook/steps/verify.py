"""Check invariants, the declared ones and those that always hold after an upgrade."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from django.apps.registry import Apps
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model, Q, QuerySet
from django.utils.translation import gettext as _

from django_runbook.backfills.task import null_fields
from django_runbook.exceptions import VerificationFailed
from django_runbook.schema.deferrals import deferrals
from django_runbook.schema.differences import Difference, Kind
from django_runbook.schema.drift import compare_schema
from django_runbook.schema.states import applied_migrations
from django_runbook.steps.base import Column, Context, Place, Problem, Step, names_problems, sha256_of

DRIFT = "differences before the run"
"""In the baseline: what the check has named, and the operator has let be."""
SHOWN_KEYS = 5
"""How many of the rows that break an invariant are named."""


class Invariant(ABC):
    """Something that must hold at its place in the runbook."""

    @abstractmethod
    def declaration(self) -> str:
        """The Python expression that makes this invariant."""

    def problems(self, place: Place) -> Iterator[Problem]:
        yield from ()

    @property
    def columns_verified(self) -> frozenset[Column]:
        return frozenset()

    def baseline(self, context: Context) -> object:
        """What to measure before the first step; None for nothing."""
        return None

    @abstractmethod
    def failure(self, context: Context) -> str:
        """Look at the database. Return what is wrong, or the empty string if it holds."""


class _OfModel(Invariant):
    def __init__(self, model: str, *conditions: Q, **lookups: Any) -> None:
        self.model = model
        self.condition = Q(*conditions, **lookups)
        self._words = [*map(repr, conditions), *(f"{key}={value!r}" for key, value in lookups.items())]

    def problems(self, place: Place) -> Iterator[Problem]:
        return names_problems(place, self.model, self.condition)

    def rows(self, context: Context) -> QuerySet[Any]:
        model = context.place.apps.get_model(self.model)
        rows: QuerySet[Any] = model._base_manager.using(context.database.alias).filter(self.condition)
        return rows

    def _declaration(self, *more: str) -> str:
        words = ", ".join([f'"{self.model}"', *more, *self._words])
        return f"{type(self).__name__}({words})"


class NoRows(_OfModel):
    """No row of `model` meets the conditions, which are written as for `filter()`."""

    def declaration(self) -> str:
        return self._declaration()

    @property
    def columns_verified(self) -> frozenset[Column]:
        return frozenset((self.model.lower(), name) for name in null_fields(self.condition))

    def failure(self, context: Context) -> str:
        rows = self.rows(context)
        count = rows.count()
        if not count:
            return ""
        keys = list(rows.order_by("pk").values_list("pk", flat=True)[:SHOWN_KEYS])
        return _("there must be no row, and there are %(count)d; the first have the keys %(keys)s") % {
            "count": count,
            "keys": ", ".join(map(str, keys)),
        }


class RowCount(_OfModel):
    """`model` has so many rows: `equals`, `at_least`, `at_most`, or `unchanged` since before the run."""

    def __init__(
        self,
        model: str,
        *conditions: Q,
        equals: int | None = None,
        at_least: int | None = None,
        at_most: int | None = None,
        unchanged: bool = False,
        **lookups: Any,
    ) -> None:
        super().__init__(model, *conditions, **lookups)
        self.equals, self.at_least, self.at_most, self.unchanged = equals, at_least, at_most, unchanged

    def declaration(self) -> str:
        bounds = {"equals": self.equals, "at_least": self.at_least, "at_most": self.at_most}
        words = [f"{name}={value}" for name, value in bounds.items() if value is not None]
        return self._declaration(*words, *(["unchanged=True"] if self.unchanged else []))

    def problems(self, place: Place) -> Iterator[Problem]:
        if self.equals is self.at_least is self.at_most is None and not self.unchanged:
            yield Problem(
                message=_(
                    "%(invariant)s says no number: give it equals, at_least, at_most or unchanged=True."
                )
                % {"invariant": self.declaration()}
            )
        if self.unchanged and self.condition:
            yield Problem(
                message=_(
                    "%(invariant)s: unchanged=True counts all rows of the model and takes no conditions."
                )
                % {"invariant": self.declaration()}
            )
        yield from super().problems(place)

    def baseline(self, context: Context) -> object:
        if not self.unchanged:
            return None
        return self.rows(context).count() if context.place.model(self.model) else 0

    def failure(self, context: Context) -> str:
        count = self.rows(context).count()
        expected = context.baseline[self.declaration()] if self.unchanged else self.equals
        if expected is not None and count != expected:
            return _("the number of rows is %(count)d instead of %(expected)d") % {
                "count": count,
                "expected": expected,
            }
        if self.at_least is not None and count < self.at_least:
            return _("the number of rows is %(count)d, less than %(bound)d") % {
                "count": count,
                "bound": self.at_least,
            }
        if self.at_most is not None and count > self.at_most:
            return _("the number of rows is %(count)d, more than %(bound)d") % {
                "count": count,
                "bound": self.at_most,
            }
        return ""


class SQL(Invariant):
    """The first value of the first row of a query equals `equals`; without it, the query finds no row."""

    def __init__(self, query: str, *, equals: Any = None) -> None:
        self.query, self.equals = query, equals

    def declaration(self) -> str:
        return (
            f"SQL({self.query!r}, equals={self.equals!r})"
            if self.equals is not None
            else f"SQL({self.query!r})"
        )

    def failure(self, context: Context) -> str:
        with context.database.connection.cursor() as cursor:
            cursor.execute(self.query)
            row = cursor.fetchone()
        if self.equals is None:
            return "" if row is None else _("found %(row)s, where there must be nothing") % {"row": row}
        found = row[0] if row else None
        if found == self.equals:
            return ""
        return _("found %(found)r instead of %(expected)r") % {"found": found, "expected": self.equals}


class Check(Invariant):
    """A function of the historical models holds if it returns None or True; a text says why it fails."""

    def __init__(self, function: Callable[[Apps], object]) -> None:
        self.function = function

    def declaration(self) -> str:
        return self.function.__name__

    @property
    def source(self) -> str:
        return inspect.getsource(self.function)

    def failure(self, context: Context) -> str:
        try:
            answer = self.function(context.place.apps)
        except AssertionError as error:
            return str(error) or _("it does not hold")
        if answer is None or answer is True:
            return ""
        return str(answer) if answer else _("it does not hold")


class Verify(Step):
    """Check `invariants`, and always: foreign keys hold, nothing is pending, models equal the schema."""

    repeatable = True
    reversible = True

    def __init__(self, *invariants: Invariant | Callable[[Apps], object]) -> None:
        self.invariants = [item if isinstance(item, Invariant) else Check(item) for item in invariants]

    def declaration(self) -> str:
        return f"Verify({', '.join(item.declaration() for item in self.invariants)})"

    def fingerprint(self, place: Place) -> str:
        sources = [item.source for item in self.invariants if isinstance(item, Check)]
        return sha256_of(self.declaration(), sources)

    def problems(self, place: Place) -> Iterator[Problem]:
        for invariant in self.invariants:
            yield from invariant.problems(place)
        pending = place.history.pending(place.applied | place.coming)
        if pending:
            yield Problem(
                message=_("It would find %(app)s.%(migration)s pending: no step applies it.")
                % {"app": pending[-1][0], "migration": pending[-1][1]},
                migration=pending[-1],
            )

    def after(self, place: Place) -> Place:
        columns = frozenset[Column]().union(*(item.columns_verified for item in self.invariants))
        return replace(place, verified=place.verified | columns)

    def reason(self, place: Place) -> str:
        if self.invariants:
            return _("here the moved data can be counted; schema, foreign keys and record are checked too")
        return _("checks schema, foreign keys and the record of migrations")

    def baseline(self, context: Context) -> Mapping[str, Any]:
        measured = {item.declaration(): item.baseline(context) for item in self.invariants}
        drift = [it.key for it in compare_schema(context.database.connection, context.place.state)]
        return {name: value for name, value in measured.items() if value is not None} | {DRIFT: drift}

    def run(self, context: Context) -> Mapping[str, Any]:
        results = {}
        for invariant in self.invariants:
            results[invariant.declaration()] = invariant.failure(context)
        for name, failure in _standing(context):
            results[name] = failure
        failures = [f"- {name}: {failure}" for name, failure in results.items() if failure]
        if failures:
            raise VerificationFailed(
                _("Verification failed:\n%(failures)s") % {"failures": "\n".join(failures)},
                _("Mend the data; it is verified again."),
            )
        return {"verified": list(results)}


def _standing(context: Context) -> Iterator[tuple[str, str]]:
    """The invariants that nobody needs to declare."""
    orphans = [
        _("%(rows)d rows of %(table)s.%(column)s point at no row of %(referenced)s")
        % {"rows": it.rows, "table": it.table, "column": it.column, "referenced": it.referenced_table}
        for it in context.database.orphans()
    ]
    yield _("foreign keys hold"), "; ".join(orphans)
    place = context.place
    recorded = applied_migrations(context.database.connection)
    pending = place.history.pending(recorded | place.coming)
    yield _("nothing is pending"), ", ".join(f"{app}.{name}" for app, name in pending)
    known = context.baseline.get(DRIFT, ())
    found = compare_schema(context.database.connection, context.place.state)
    waiting = _waiting(place)
    differences = [it for it in found if it.key not in known and not _is_missing(it, waiting)]
    yield _("schema is what the models say"), "; ".join(map(str, differences))


def _waiting(place: Place) -> set[tuple[str, frozenset[str]]]:
    """Table and columns of what is built later, on purpose."""
    found = set()
    for it in (it for key in place.held for it in deferrals(place.history.migration(key))):
        if model := place.model(it.model):
            columns = frozenset(_column(model, name) for name in it.fields)
            found.add((model._meta.db_table, columns))
    return found


def _column(model: type[Model], name: str) -> str:
    """By the field's name here; one that was renamed or dropped in the meantime has none."""
    try:
        return str(getattr(model._meta.get_field(name), "column", name))
    except FieldDoesNotExist:
        return name


def _is_missing(difference: Difference, waiting: set[tuple[str, frozenset[str]]]) -> bool:
    built_later = difference.kind in (Kind.MISSING_INDEX, Kind.MISSING_UNIQUE, Kind.MISSING_FOREIGN_KEY)
    return built_later and (difference.table, frozenset(difference.column.split(", "))) in waiting
