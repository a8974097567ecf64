"""Which collation a text gets where nobody asks for one, on servers where each table has its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True, slots=True, kw_only=True)
class Collations:
    """The defaults of a database and of its tables; empty where the server has no such thing."""

    database: str = ""
    tables: Mapping[str, str] = field(default_factory=dict)


def default_collations(connection: BaseDatabaseWrapper) -> Collations:
    if connection.vendor != "mysql":
        return Collations()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = DATABASE()"
        )
        [(database,)] = cursor.fetchall()
        cursor.execute(
            "SELECT TABLE_NAME, TABLE_COLLATION FROM information_schema.TABLES"
            " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE'"
        )
        return Collations(database=database, tables=dict(cursor.fetchall()))


def character_set(collation: str) -> str:
    """Its name begins that of the collation; "utf8" is an old name of utf8mb3."""
    name = collation.partition("_")[0]
    return "utf8mb3" if name == "utf8" else name
