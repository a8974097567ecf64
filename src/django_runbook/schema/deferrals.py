"""What a migration builds over columns that it adds, so that it can wait. Pure: by its operations alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.db import models
from django.db.migrations import operations
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_runbook.schema.nature import flat


class Built(StrEnum):
    """What can be built later."""

    INDEX = "index"
    UNIQUE = "unique constraint"
    FOREIGN_KEY = "foreign key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferral:
    """One index or constraint."""

    built: Built
    model: str
    """"app.model" in lower case."""
    fields: tuple[str, ...]
    """Sorted names; those of an expression are left out."""
    added: tuple[str, ...]
    """Those of them that the migration adds; empty if it only waits behind others on its table."""


def deferrals(migration: Migration, *, adds_constraints: bool = True) -> list[Deferral]:
    """What is left for later if the migration is held.

    `adds_constraints`: can the database add a constraint to a table without making it anew?
    """
    return list(_Reading(migration.app_label, adds_constraints).read(flat(migration.operations)))


def in_words(found: Sequence[Deferral]) -> str:
    """ "1 index and 1 foreign key over core.service.sous_direction"."""
    found = [it for it in found if it.added]
    counted = [
        _NUMBERS[kind](sum(it.built is kind for it in found))
        for kind in Built
        if any(it.built is kind for it in found)
    ]
    columns = sorted({f"{it.model}.{name}" for it in found for name in it.added})
    return _("%(what)s over %(columns)s") % {"what": _listed(counted), "columns": ", ".join(columns)}


def _listed(words: Sequence[str]) -> str:
    *first, last = words
    return _("%(first)s and %(last)s") % {"first": ", ".join(first), "last": last} if first else last


_NUMBERS = {
    Built.INDEX: lambda n: ngettext("%(n)d index", "%(n)d indexes", n) % {"n": n},
    Built.UNIQUE: lambda n: ngettext("%(n)d unique constraint", "%(n)d unique constraints", n) % {"n": n},
    Built.FOREIGN_KEY: lambda n: ngettext("%(n)d foreign key", "%(n)d foreign keys", n) % {"n": n},
}


class _Reading:
    """How far the operations of a migration have been read."""

    def __init__(self, app_label: str, adds_constraints: bool) -> None:
        self.app_label = app_label
        self.adds_constraints = adds_constraints
        self.created: set[str] = set()
        self.added: dict[str, set[str]] = {}
        """Names of fields by their model's."""
        self.waiting: set[str] = set()
        """Models on whose tables something waits already: what comes later waits behind it."""

    def read(self, found: Iterable[Operation]) -> Iterator[Deferral]:
        for operation in found:
            match operation:
                case operations.CreateModel():
                    self.created.add(operation.name_lower)
                case operations.AddField() if operation.model_name_lower not in self.created:
                    yield from self.field(operation)
                case operations.AddIndex():
                    names = [name for name, _order in operation.index.fields_orders]
                    yield from self.over(operation.model_name_lower, names, Built.INDEX)
                case operations.AddConstraint() if isinstance(operation.constraint, models.UniqueConstraint):
                    constraint = operation.constraint
                    if self.adds_constraints or constraint.condition or constraint.expressions:
                        yield from self.over(operation.model_name_lower, constraint.fields, Built.UNIQUE)
                case operations.AlterUniqueTogether():
                    for group in sorted(operation.option_value or ()):
                        yield from self.over(operation.name_lower, group, Built.UNIQUE)

    def field(self, operation: operations.AddField) -> Iterator[Deferral]:
        field: Any = operation.field
        model = operation.model_name_lower
        if field.many_to_many:
            return
        self.added.setdefault(model, set()).add(operation.name)
        unique = field.unique and not field.primary_key
        if unique and self.adds_constraints:
            yield from self.over(model, [operation.name], Built.UNIQUE)
        if field.db_index and not field.unique:
            yield from self.over(model, [operation.name], Built.INDEX)
        if field.remote_field and field.db_constraint and self.adds_constraints:
            yield from self.over(model, [operation.name], Built.FOREIGN_KEY)

    def over(self, model: str, names: Iterable[str], built: Built) -> Iterator[Deferral]:
        fields = tuple(sorted(names))
        added = tuple(name for name in fields if name in self.added.get(model, ()))
        if added or model in self.waiting:
            self.waiting.add(model)
            yield Deferral(built=built, model=f"{self.app_label}.{model}", fields=fields, added=added)
