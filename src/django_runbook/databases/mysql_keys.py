"""Which columns MySQL and MariaDB let a foreign key connect: "FOREIGN KEY Constraints" in their manuals."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from django_runbook.databases.key_types import ColumnType

COLUMN = (
    "SELECT COLUMN_TYPE, COALESCE(COLLATION_NAME, '') FROM information_schema.COLUMNS"
    " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s AND COLUMN_NAME = %s"
)
TABLE = (
    "SELECT TABLE_COLLATION FROM information_schema.TABLES"
    " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s"
)
TEXTS = ("char", "text", "varchar")
SAME = {"bool": "tinyint", "integer": "int", "numeric": "decimal"}
Ask = Callable[[str, list[Any]], list[tuple[Any, ...]]]


def described(ask: Ask, table: str, column: str) -> ColumnType | None:
    """A column that is there."""
    found = ask(COLUMN, [table, column])
    return ColumnType(name=str(found[0][0]), collation=str(found[0][1])) if found else None


def with_collation(ask: Ask, column: ColumnType, table: str) -> ColumnType:
    """A column that is to come: it has the collation of its table, and a new table that of the database."""
    if column.collation or not _kind(column.name).endswith(TEXTS):
        return column
    found = ask(TABLE, [table]) if table else ask("SELECT @@collation_database", [])
    return ColumnType(name=column.name, collation=str(found[0][0]) if found else "")


def are_connectable(key: ColumnType, target: ColumnType) -> bool:
    """Whole numbers need one size and sign, texts one collation, others one type."""
    kinds = [_kind(it.name) for it in (key, target)]
    if all(kind.endswith(TEXTS) for kind in kinds):
        return key.collation == target.collation
    return kinds[0] == kinds[1]


def _kind(name: str) -> str:
    """A type without its length and width."""
    words = re.sub(r"\([^)]*\)", "", name.lower()).split()
    sign = ["unsigned"] if "unsigned" in words else []
    return " ".join([SAME.get(words[0], words[0]), *sign]) if words else ""
