"""How large each table is, as its server estimates it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSize:
    """Estimates, which may be some hours old."""

    bytes: int
    """Rows and indexes; where a server cannot tell one table from another, an upper bound."""


ON_MYSQL = (
    "SELECT TABLE_NAME, COALESCE(DATA_LENGTH, 0) + COALESCE(INDEX_LENGTH, 0) FROM information_schema.TABLES"
    " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE'"
)
ROWS_ON_MYSQL = (
    "SELECT TABLE_ROWS FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s"
)
ROWS_ON_POSTGRESQL = "SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(%s)"
ON_POSTGRESQL = (
    "SELECT relname, pg_total_relation_size(oid) FROM pg_class"
    " WHERE relkind IN ('r', 'p', 'm') AND pg_table_is_visible(oid)"
    " AND relnamespace <> 'pg_catalog'::regnamespace"
)
