"""Columns with automatic numbers, and foreign keys to them, that will soon be full."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

LIMITS = {
    "tinyint": 2**7 - 1,
    "smallint": 2**15 - 1,
    "mediumint": 2**23 - 1,
    "int": 2**31 - 1,
    "integer": 2**31 - 1,
    "bigint": 2**63 - 1,
}

KEYS_OF_POSTGRESQL = """
WITH counted AS (
    SELECT a.attrelid, a.attnum, a.attname, format_type(a.atttypid, NULL) AS type, q.seqmax,
           CASE WHEN has_sequence_privilege(q.seqrelid, 'USAGE,SELECT')
                THEN pg_sequence_last_value(q.seqrelid) END AS last
    FROM pg_sequence q
    JOIN pg_depend d ON d.objid = q.seqrelid AND d.classid = 'pg_class'::regclass
                    AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
    JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE q.seqincrement > 0 AND NOT q.seqcycle AND pg_table_is_visible(a.attrelid)
)
SELECT attrelid::regclass::text, attname, type, seqmax, last + 1, '' FROM counted
UNION ALL
SELECT f.conrelid::regclass::text, a.attname, format_type(a.atttypid, NULL), NULL, k.last + 1,
       k.attrelid::regclass::text || '.' || k.attname
FROM counted k
JOIN pg_constraint f ON f.contype = 'f' AND f.confrelid = k.attrelid AND f.confkey = ARRAY[k.attnum]
JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = f.conkey[1]
WHERE format_type(a.atttypid, NULL) <> k.type
ORDER BY 1, 2
"""
"""Table, column, its type, the sequence's own limit if any, the next value, the key pointed at if any."""

KEYS_OF_MYSQL = """
SELECT c.TABLE_NAME, c.COLUMN_NAME, c.COLUMN_TYPE, NULL, t.AUTO_INCREMENT, ''
FROM information_schema.COLUMNS c
JOIN information_schema.TABLES t ON t.TABLE_SCHEMA = c.TABLE_SCHEMA AND t.TABLE_NAME = c.TABLE_NAME
WHERE c.TABLE_SCHEMA = DATABASE() AND c.EXTRA LIKE '%auto_increment%' AND t.AUTO_INCREMENT IS NOT NULL
ORDER BY 1, 2
"""
"""As for PostgreSQL. InnoDB takes a foreign key only from a column of the very same type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FillingKey:
    """A column that will be full."""

    table: str
    column: str
    next_value: int
    limit: int
    target: str
    """The key that it points at, "table.column"; empty for one that counts by itself."""


def filling_keys(rows: Iterable[tuple[Any, ...]], part: float) -> list[FillingKey]:
    """Those of which the next value is beyond a part of the limit."""
    found = []
    for table, column, kind, own_limit, value, target in rows:
        limit = _limit(kind, own_limit)
        if value is not None and limit and value > part * limit:
            found.append(
                FillingKey(table=table, column=column, next_value=int(value), limit=limit, target=target)
            )
    return found


def _limit(kind: str, own_limit: int | None) -> int:
    """Of a column's type, as in "int(10) unsigned", and of the sequence, whichever is lower."""
    limit = LIMITS.get(kind.partition("(")[0].partition(" ")[0].lower(), 0)
    if "unsigned" in kind:
        limit = limit * 2 + 1
    return min(limit, own_limit) if own_limit and limit else limit
