"""The order of a table's rows: by primary key, of any type, without OFFSET and without counting them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from django.db import models
from django.db.models import Count, Max, Q

AGGREGATED = (models.IntegerField, models.CharField, models.DateTimeField)
"""Types of keys of which every server knows a MAX(), in the order in which it sorts them."""


class Keys:
    """Finds its way through a model's rows. A key is a value, or a tuple where the key is composite.

    Work is always a half-open range: the keys behind `after` (None: from the first one) up to `upto`.
    """

    def __init__(self, rows: models.QuerySet[Any]) -> None:
        """`rows` are all of the model's rows in the right database."""
        self.rows = rows.order_by()
        self._pk: Any = rows.model._meta.pk
        self._fields = list(getattr(rows.model._meta, "pk_fields", [self._pk]))

    def between(self, after: Any, upto: Any) -> models.QuerySet[Any]:
        """The rows of a range."""
        return self.rows.filter(self._behind(after), pk__lte=upto)

    def last(self) -> Any:
        """The last key there is, or None."""
        return self.rows.order_by("-pk").values_list("pk", flat=True).first()

    def span(self) -> int:
        """From the first number to the last: at least as many as there are rows; 0 for other types."""
        if len(self._fields) > 1 or not isinstance(self._pk, models.IntegerField):
            return 0
        first, last = self.first(Q()), self.last()
        return 0 if first is None else int(last) - int(first) + 1

    def first(self, rows: Q) -> Any:
        """The first key of the rows that fulfil a condition, or None."""
        return self.rows.filter(rows).order_by("pk").values_list("pk", flat=True).first()

    def before(self, key: Any) -> Any:
        """The key in front of this one, or None if this is the first."""
        return self.rows.filter(pk__lt=key).order_by("-pk").values_list("pk", flat=True).first()

    def ahead(self, after: Any, upto: Any, count: int) -> tuple[Any, int]:
        """The last of the next `count` keys of a range, and how many there are: (None, 0) at its end."""
        keys = self.between(after, upto).order_by("pk")
        if len(self._fields) == 1 and isinstance(self._pk, AGGREGATED):
            found = keys.values("pk")[:count].aggregate(last=Max("pk"), count=Count("pk"))
            return found["last"], found["count"]
        listed = list(keys.values_list("pk", flat=True)[:count])
        return (listed[-1], len(listed)) if listed else (None, 0)

    def to_text(self, key: Any) -> str:
        """As JSON, exact: each part as Django serializes that field's values."""
        parts = key if len(self._fields) > 1 else [key]
        return json.dumps([_text(field, part) for field, part in zip(self._fields, parts, strict=True)])

    def from_text(self, text: str | None) -> Any:
        if text is None:
            return None
        parts = [field.to_python(it) for field, it in zip(self._fields, json.loads(text), strict=True)]
        return tuple(parts) if len(parts) > 1 else parts[0]

    def _behind(self, after: Any) -> Q:
        """Of a composite key its first field alone too: servers do not use an index to compare rows."""
        if after is None:
            return Q()
        if len(self._fields) == 1:
            return Q(pk__gt=after)
        return Q(pk__gt=after) & Q((f"{self._fields[0].attname}__gte", after[0]))


def _text(field: Any, value: Any) -> str:
    return str(field.value_to_string(SimpleNamespace(**{field.attname: value})))
