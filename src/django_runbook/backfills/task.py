"""What moves: the part of a backfill that its author writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.apps.registry import Apps
from django.db import connections
from django.db.models import Q, QuerySet

from django_runbook.databases.dialects import dialect_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BOUNDS = ("%(first)s", "%(last)s")
"""What a statement has to name, so that it keeps to its batch."""


class Task:
    """Which rows, and what to do with a range of them. All models it is handed are historical."""

    model: ClassVar[str]
    """"app_label.Model"."""
    rows: ClassVar[Q] = Q()
    """The rows that are still to be done; the default is all."""
    fills: ClassVar[Sequence[str]] = ()
    """Fields it gives values to, beside those that `rows` wants to be NULL."""
    batch_size: ClassVar[int | None] = None
    """Keys in one transaction; None: as many as fit into the target duration."""
    sql: ClassVar[str | Mapping[str, str]] = ""
    """In place of `batch()`, one statement: "UPDATE … WHERE id BETWEEN %(first)s AND %(last)s".

    Or one for each kind of database: "mysql" (MariaDB too), "postgresql", "sqlite". It says itself which
    rows of the range it means; `rows` are still those that count as to be done.
    """

    def prepare(self, apps: Apps) -> None:
        """Do once, before the first batch, in one transaction: make what the rows will point at."""

    def batch(self, rows: QuerySet[Any]) -> object:
        """Do the rows of one key range, in the transaction that also moves the cursor.

        `rows` is unevaluated: `rows.update(…)` is the fast form. What it returns, if that is a number, is
        how many rows it has changed; otherwise they are counted. If it raises, the batch is rolled back and
        tried again in halves, until the row is found that is in the way.
        """
        connection: Any = connections[rows.db]
        statement = self.sql if isinstance(self.sql, str) else self.sql[dialect_of(rows.db)]
        keys, key = rows.values_list("pk", flat=True), rows.model._meta.pk
        bounds = {"first": keys.order_by("pk").first(), "last": keys.order_by("-pk").first()}
        if bounds["last"] is None:
            return 0
        with connection.cursor() as cursor:
            cursor.execute(
                statement, {name: key.get_db_prep_value(it, connection) for name, it in bounds.items()}
            )
            return cursor.rowcount

    def finish(self, apps: Apps) -> None:
        """Do once, after the last batch, in one transaction."""


def null_fields(rows: Q) -> set[str]:
    """Fields that `rows` wants to be NULL: those that the task is there to fill."""
    return {
        name.removesuffix("__isnull")
        for name, value in _conditions(rows)
        if value is True and name.endswith("__isnull") and name.count("__") == 1
    }


def marks_done(rows: Q) -> bool:
    """Does a row that is done leave `rows`, because a field that they want to be NULL is filled then?"""
    return rows.connector == Q.AND and bool(null_fields(Q(*_plain(rows))))


def _plain(rows: Q) -> list[tuple[str, object]]:
    return [] if rows.negated else [child for child in rows.children if isinstance(child, tuple)]


def _conditions(rows: Q) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for child in rows.children:
        if isinstance(child, Q):
            found += _conditions(child)
        elif isinstance(child, tuple) and not rows.negated:
            found.append(child)
    return found
