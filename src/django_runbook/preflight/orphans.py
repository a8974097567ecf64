"""runbook.P403: rows point at rows that are there where a pending migration demands it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.migrations import operations
from django.db.models import Exists, OuterRef
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.coming import Coming
from django_runbook.preflight.layout import target_of
from django_runbook.preflight.wording import first_keys, listing, severity_of, shown, unless_mended
from django_runbook.schema.touching import ModelKey

ID = "runbook.P403"
NUMBERS = {"AutoField", "BigAutoField", "SmallAutoField"}


@dataclass(frozen=True, slots=True)
class _Link:
    """A column that is made a foreign key, or that has its foreign key made anew."""

    model: ModelKey
    name: str
    to: Any
    """The relation as it will be."""


def check_orphans(coming: Coming, database: Database) -> Iterator[Finding]:
    """Rows of columns that become foreign keys, and those that came in while nobody looked."""
    if coming.ends_first and database.checks_all_foreign_keys:
        yield from _everywhere(coming, database)
    operation = coming.operation
    if isinstance(operation, operations.AddField):
        yield from _default_points_nowhere(operation, coming, database)
    for link in _links(coming, database):
        if coming.is_here(link.model) and link.name in coming.today[link.model].columns:
            yield from _found(link, coming, database)


def _links(coming: Coming, database: Database) -> Iterator[_Link]:
    operation, before = coming.operation, coming.unit.before
    if isinstance(operation, operations.AlterField):
        key = coming.model_key(operation.model_name)
        was, now = before.models[key].fields[operation.name], operation.field
        if not _is_altered(was, now):
            return
        is_new = (
            not (_is_bound(was) and target_of(was, key) == target_of(now, key)) if _is_bound(now) else False
        )
        if _is_bound(now) and (is_new or not database.checks_all_foreign_keys):
            yield _Link(key, operation.name, now)
        if now.unique and not database.checks_all_foreign_keys:
            yield from _pointing_at(key, operation.name, coming)
    elif isinstance(operation, operations.RenameModel) and not database.checks_all_foreign_keys:
        yield from _pointing_at((coming.key[0], operation.old_name_lower), "", coming)


def _pointing_at(key: ModelKey, name: str, coming: Coming) -> Iterator[_Link]:
    """Foreign keys that Django makes anew because their target is altered."""
    models = coming.unit.before.models
    for other, model in models.items():
        for its_name, field in model.fields.items():
            if not (_is_bound(field) and target_of(field, other) == key):
                continue
            to_field = field.remote_field.field_name
            if not name or to_field == name or (not to_field and models[key].fields[name].primary_key):
                yield _Link(other, its_name, field)


def _is_bound(field: Any) -> bool:
    return bool(field.remote_field and not field.many_to_many and field.db_constraint)


def _is_altered(was: Any, now: Any) -> bool:
    """Does Django send anything? As its schema editor decides."""
    parts = []
    for field in (was, now):
        _name, path, args, kwargs = field.deconstruct()
        kept = {name: value for name, value in kwargs.items() if name not in field.non_db_attrs}
        parts.append((path, args, kept))
    return bool(parts[0] != parts[1])


def _found(link: _Link, coming: Coming, database: Database) -> Iterator[Finding]:
    rows = coming.rows_today(link.model)._base_manager.using(database.alias)
    rows = rows.filter(**{f"{link.name}__isnull": False})
    target = target_of(link.to, link.model)
    if _has_rows(target, coming):
        there = _targets(link, target, coming, database)
        if there is None:
            return
        rows = rows.filter(~Exists(there))
    elif coming.done_before or target not in coming.unit.before.models or not _is_managed(target, coming):
        return
    if rows.exists():
        yield _finding(link, target, rows, coming, database)


def _has_rows(target: ModelKey, coming: Coming) -> bool:
    return target in coming.today or target[0] in coming.unit.before.real_apps


def _is_managed(target: ModelKey, coming: Coming) -> bool:
    return bool(coming.unit.before.models[target].options.get("managed", True))


def _targets(link: _Link, target: ModelKey, coming: Coming, database: Database) -> Any:
    """The rows that a row points at; None if the two columns cannot be compared."""
    source: Any = coming.rows_today(link.model)._meta.get_field(link.name)
    model = coming.rows_today(target)
    to_field = link.to.remote_field.field_name or model._meta.pk.name
    if to_field not in {it.name for it in model._meta.concrete_fields}:
        return None
    end: Any = model._meta.get_field(to_field)
    if _kind(source) != _kind(end):
        return None
    return model._base_manager.using(database.alias).filter(**{to_field: OuterRef(source.attname)})


def _kind(field: Any) -> str:
    """What a server compares without being asked to: numbers with numbers, texts with texts."""
    while field.remote_field:
        field = field.target_field
    kind = str(field.get_internal_type())
    if kind in NUMBERS or kind.endswith("IntegerField"):
        return "number"
    return "text" if hasattr(field, "db_collation") else kind


def _finding(link: _Link, target: ModelKey, rows: Any, coming: Coming, database: Database) -> Finding:
    here = coming.today[link.model]
    message = _(
        "%(migration)s (%(operation)s) demands that each %(column)s points at a row of %(target)s, but in "
        "%(rows)s row(s) it points at none."
    ) % {
        "migration": coming.migration,
        "operation": coming.words,
        "column": f"{here.table}.{here.columns[link.name]}",
        "target": _table(target, coming),
        "rows": rows.count(),
    }
    attname = rows.model._meta.get_field(link.name).attname
    return Finding(
        id=ID,
        severity=severity_of(coming, link.model, target),
        message=unless_mended(message, coming, link.model, target),
        hint=_("Delete these rows, point them elsewhere, or at NULL. This lists them all:\n%(query)s")
        % {"query": listing(rows.order_by("pk").values("pk", attname), database)},
        subject=here.table,
        examples=first_keys(rows, attname),
    )


def _table(key: ModelKey, coming: Coming) -> str:
    here = coming.today.get(key)
    return here.table if here else "_".join(key)


def _default_points_nowhere(
    operation: operations.AddField, coming: Coming, database: Database
) -> Iterator[Finding]:
    """A default that Python computes is not asked for."""
    field: Any = operation.field
    key = coming.model_key(operation.model_name)
    if not _is_bound(field) or not field.has_default() or callable(field.default) or field.default is None:
        return
    target = target_of(field, key)
    if not coming.is_here(key) or not _has_rows(target, coming):
        return
    model = coming.rows_today(target)
    to_field = field.remote_field.field_name or "pk"
    there = model._base_manager.using(database.alias).filter(**{to_field: field.default})
    if there.exists() or not coming.rows_today(key)._base_manager.using(database.alias).exists():
        return
    message = _(
        "%(migration)s (%(operation)s) points all rows of %(table)s at the row %(default)s of %(target)s, "
        "which is not there."
    ) % {
        "migration": coming.migration,
        "operation": coming.words,
        "table": coming.today[key].table,
        "default": shown(field.default),
        "target": _table(target, coming),
    }
    yield Finding(
        id=ID,
        severity=severity_of(coming, target, key),
        message=unless_mended(message, coming, target, key),
        hint=_("Create that row first, or give the field the key of another one as its default."),
        subject=coming.today[key].table,
    )


def _everywhere(coming: Coming, database: Database) -> Iterator[Finding]:
    """What the plan's first migration leaves fails at its end, whatever it is about."""
    rewritings = [*coming.done_before, *filter(None, [coming.rewriting])]
    for orphan in database.orphans():
        if _is_gone(orphan.table, orphan.column, coming):
            continue
        step = next((it.words for it in reversed(rewritings) if it.may_change(orphan.table, None)), "")
        message = _(
            "In %(rows)s row(s) %(column)s points at no row of %(target)s. All foreign keys of database "
            "'%(alias)s' are checked at the end of each migration, so that %(migration)s fails, whatever it "
            "does."
        ) % {
            "rows": orphan.rows,
            "column": f"{orphan.table}.{orphan.column}",
            "target": orphan.referenced_table,
            "alias": database.alias,
            "migration": coming.migration,
        }
        if step:
            message = _("%(finding)s It fails unless %(step)s mends it first.") % {
                "finding": message,
                "step": step,
            }
        yield Finding(
            id=ID,
            severity=Severity.WARNING if step else Severity.ERROR,
            message=message,
            hint=_("Delete these rows, point them elsewhere, or at NULL. This lists them all:\n%(query)s")
            % {"query": database.orphan_listing(orphan.table)},
            subject=orphan.table,
        )


def _is_gone(table: str, column: str, coming: Coming) -> bool:
    """Does the first migration drop the column, or its table?"""
    if table not in coming.at_start or column not in coming.at_start[table].columns:
        return False
    later = [stored for stored in coming.layout_after.values() if stored.table == table]
    return not any(column in stored.columns.values() for stored in later)


CHECK = Check(
    id=ID,
    title=gettext_lazy("rows point at rows that are there where a pending migration demands it"),
    look=check_orphans,
)
