"""runbook.P401: no rows are equal where a pending migration demands that they differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.indexes import OpClass
from django.db import models
from django.db.migrations import operations
from django.db.models import Count, F, Q, Sum, Value
from django.db.models.expressions import Expression, OrderBy
from django.db.models.functions import Coalesce, Collate
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.preflight.base import Check, Finding
from django_runbook.preflight.coming import Coming
from django_runbook.preflight.filling import filled_by_default, one_value_for_all
from django_runbook.preflight.wording import listing, severity_of, shown, unless_mended
from django_runbook.schema.nature import names_in
from django_runbook.schema.touching import ModelKey

ID = "runbook.P401"
SHOWN = 5
"""How many groups of equal rows are named."""
SHOWN_KEYS = 3
"""And how many rows of each."""
NUMBER = "number_of_rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unique:
    """What must differ from row to row."""

    model: ModelKey
    fields: Sequence[str] = ()
    expressions: Sequence[Any] = ()
    condition: Q | None = None
    nulls_are_equal: bool = False


def check_duplicates(coming: Coming, database: Database) -> Iterator[Finding]:
    """Compared as the server compares under a unique key: in the column's own, or its new, collation."""
    for unique in _uniques(coming, database):
        if coming.is_here(unique.model):
            yield from _found(unique, coming, database)


def _uniques(coming: Coming, database: Database) -> Iterator[_Unique]:
    match coming.operation:
        case operations.AddField() as operation:
            if operation.field.unique and not operation.field.generated:
                yield _Unique(model=coming.model_key(operation.model_name), fields=[operation.name])
        case operations.AlterField() as operation:
            yield from _altered(operation, coming)
        case operations.AddConstraint() as operation:
            constraint = operation.constraint
            if isinstance(constraint, models.UniqueConstraint) and _is_made(constraint, database):
                yield _constrained(coming.model_key(operation.model_name), constraint)
        case operations.AlterUniqueTogether() as operation:
            key = coming.model_key(operation.name)
            known = _together(coming.unit.before.models[key].options.get("unique_together"))
            for group in sorted(_together(operation.option_value) - known):
                yield _Unique(model=key, fields=group)


def _altered(operation: operations.AlterField, coming: Coming) -> Iterator[_Unique]:
    key, now = coming.model_key(operation.model_name), operation.field
    model = coming.unit.before.models[key]
    was = model.fields[operation.name]
    is_compared_anew = _collation(was) != _collation(now)
    if now.unique and (not was.unique or is_compared_anew):
        yield _Unique(model=key, fields=[operation.name])
    if is_compared_anew:
        for group in _together(model.options.get("unique_together")):
            if operation.name in group:
                yield _Unique(model=key, fields=group)
        for constraint in model.options.get("constraints", ()):
            if isinstance(constraint, models.UniqueConstraint) and operation.name in constraint.fields:
                yield _constrained(key, constraint)


def _constrained(key: ModelKey, constraint: Any) -> _Unique:
    return _Unique(
        model=key,
        fields=constraint.fields,
        expressions=[_without_order(it) for it in constraint.expressions],
        condition=constraint.condition,
        nulls_are_equal=constraint.nulls_distinct is False,
    )


def _is_made(constraint: Any, database: Database) -> bool:
    """Django passes over a constraint that the server does not know."""
    can = database.connection.features
    return not (
        (constraint.condition and not can.supports_partial_indexes)
        or (constraint.expressions and not can.supports_expression_indexes)
        or (constraint.deferrable and not can.supports_deferrable_unique_constraints)
        or (constraint.include and not can.supports_covering_indexes)
        or (constraint.nulls_distinct is not None and not can.supports_nulls_distinct_unique_constraints)
    )


def _together(value: Any) -> set[tuple[str, ...]]:
    return {tuple(group) for group in value or ()}


def _collation(field: Any) -> str | None:
    return getattr(field, "db_collation", None)


def _without_order(expression: Any) -> Any:
    while isinstance(expression, OrderBy | OpClass):
        [expression] = expression.get_source_expressions()
    return expression


def _found(unique: _Unique, coming: Coming, database: Database) -> Iterator[Finding]:
    values = _values(unique, coming, database)
    if values is None:
        return
    rows = coming.rows_today(unique.model)._base_manager.using(database.alias).order_by()
    rows = rows.filter(unique.condition) if unique.condition else rows
    if not values:
        yield from _same_for_all(rows, unique, coming)
        return
    rows = rows.annotate(**{name: it for name, it in values.items() if not _is_plain(name, it)})
    if not unique.nulls_are_equal:
        rows = rows.filter(**{f"{name}__isnull": False for name in values})
    grouped = rows.values(*values).annotate(**{NUMBER: Count("*")}).filter(**{f"{NUMBER}__gt": 1})
    grouped = grouped.order_by(f"-{NUMBER}", *values)
    with database.many_groups():
        first = list(grouped[:SHOWN])
        total = grouped.order_by().aggregate(groups=Count("*"), rows=Sum(NUMBER)) if first else {}
    if first:
        yield _finding(
            unique, coming, total, [_example(rows, it, unique) for it in first], listing(grouped, database)
        )


def _values(unique: _Unique, coming: Coming, database: Database) -> dict[str, Any] | None:
    """What is compared, by name, without what is the same in all rows; None if that cannot be told, or if
    no two rows can be equal.
    """
    here = coming.today[unique.model]
    asked = names_in(unique.condition) if unique.condition else set()
    asked |= {it.name for expression in unique.expressions for it in _references(expression)}
    if not asked <= {*here.columns, "pk"}:
        return None
    values = {f"value_{number}": it for number, it in enumerate(unique.expressions, start=1)}
    for name in unique.fields:
        if name in here.columns:
            values |= _value(name, unique.model, coming, database)
        elif coming.rewritten_by(unique.model) or not _is_one(name, unique, coming):
            return None
    return values


def _is_one(name: str, unique: _Unique, coming: Coming) -> bool:
    """Do all rows get one and the same value in a column that is new? NULLs are different ones."""
    operation = coming.operation
    field = coming.today[unique.model].added.get(name)
    if isinstance(operation, operations.AddField) and operation.name == name:
        field = operation.field
    if field is None:
        return False
    altered = operation.field if isinstance(operation, operations.AlterField) else None
    if altered and operation.name == name and field.null and not altered.null:  # type: ignore[attr-defined]
        field = altered
    return one_value_for_all(field, null=unique.nulls_are_equal)


def _value(name: str, key: ModelKey, coming: Coming, database: Database) -> dict[str, Any]:
    """The value that the unique key will see: the operation itself may change it."""
    operation, value = coming.operation, F(name)
    was = coming.unit.before.models[key].fields.get(name)
    if not (isinstance(operation, operations.AlterField) and operation.name == name):
        return {name: value}
    changed: Any = value
    default = filled_by_default(operation, was, database)
    if default is not None:
        field: Any = coming.rows_today(key)._meta.get_field(name)
        while field.remote_field:
            field = field.target_field
        changed = Coalesce(changed, Value(default, output_field=field), output_field=field)
    if _collation(operation.field) and _collation(operation.field) != _collation(
        coming.unit.before.models[key].fields[name]
    ):
        changed = Collate(changed, str(_collation(operation.field)))
    return {name: value} if changed is value else {f"{name}_then": changed}


def _references(expression: Any) -> Iterator[Any]:
    if isinstance(expression, F):
        yield expression
    elif isinstance(expression, Expression):
        for it in expression.get_source_expressions():
            yield from _references(it)


def _is_plain(name: str, value: Any) -> bool:
    return isinstance(value, F) and bool(value.name == name)  # type: ignore[attr-defined]


def _example(rows: Any, group: dict[str, Any], unique: _Unique) -> str:
    number = group.pop(NUMBER)
    same = rows.filter(
        **{
            (f"{name}__isnull" if value is None else name): value is None or value
            for name, value in group.items()
        }
    )
    keys = [str(key) for key in same.order_by("pk").values_list("pk", flat=True)[:SHOWN_KEYS]]
    named = zip(_names(unique, group), group.values(), strict=True)
    words = ", ".join(f"{name} = {shown(value)}" for name, value in named)
    return _("%(values)s: %(number)s rows, with the keys %(keys)s") % {
        "values": words,
        "number": number,
        "keys": ", ".join([*keys, *(["…"] if number > len(keys) else [])]),
    }


def _names(unique: _Unique, values: Iterable[str]) -> list[str]:
    """What is compared, in the words of the migration."""
    words = {f"value_{number}": str(it) for number, it in enumerate(unique.expressions, start=1)}
    return [words.get(name, name.removesuffix("_then")) for name in values]


def _words(unique: _Unique) -> str:
    return ", ".join([*unique.fields, *map(str, unique.expressions)])


def _finding(
    unique: _Unique, coming: Coming, total: dict[str, int], examples: Sequence[str], query: str
) -> Finding:
    table = coming.today[unique.model].table
    message = _(
        "%(migration)s (%(operation)s) makes %(fields)s unique in table %(table)s, but %(groups)s value(s) "
        "are there more than once, in %(rows)s rows."
    ) % {
        "migration": coming.migration,
        "operation": coming.words,
        "fields": _words(unique),
        "table": table,
        **total,
    }
    return Finding(
        id=ID,
        severity=severity_of(coming, unique.model),
        message=unless_mended(message, coming, unique.model),
        hint=_("Merge, change or delete rows until none are equal. This lists them all:\n%(query)s")
        % {"query": query},
        subject=table,
        examples=tuple(examples),
    )


def _same_for_all(rows: Any, unique: _Unique, coming: Coming) -> Iterator[Finding]:
    keys = list(rows.order_by("pk").values_list("pk", flat=True)[:2])
    if len(keys) > 1:
        table = coming.today[unique.model].table
        message = _(
            "%(migration)s (%(operation)s) demands different values of %(fields)s in table %(table)s, but "
            "gives all of its rows the same: a default is asked for once, not once for each row."
        ) % {
            "migration": coming.migration,
            "operation": coming.words,
            "fields": _words(unique),
            "table": table,
        }
        yield Finding(
            id=ID,
            severity=severity_of(coming, unique.model),
            message=unless_mended(message, coming, unique.model),
            hint=_(
                "Make three migrations of it: add the field with null=True and without a default and "
                "uniqueness; fill it, row by row; then alter it to what it is to be."
            ),
            subject=table,
        )


CHECK = Check(
    id=ID,
    title=gettext_lazy("no rows are equal where a pending migration demands that they differ"),
    look=check_duplicates,
)
