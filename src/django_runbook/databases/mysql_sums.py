"""The rows of a table as one number, the same in any order, for any session, in any copy of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

LARGE = {"longtext", "mediumtext", "longblob", "mediumblob", "json"}
"""Summed for themselves: several in one row could be longer than max_allowed_packet, and their sum NULL."""
SPATIAL = {
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
    "geomcollection",
}
ASCII_ALWAYS = {
    "tinyint",
    "smallint",
    "mediumint",
    "int",
    "bigint",
    "decimal",
    "date",
    "datetime",
    "time",
    "year",
}
"""Types whose text has neither a zero byte nor a character set."""
PERIOD = {"ROW START", "ROW END"}
COLUMNS = (
    "SELECT COLUMN_NAME, DATA_TYPE, IS_NULLABLE = 'YES', COALESCE(GENERATION_EXPRESSION, '')"
    " FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s"
    " ORDER BY ORDINAL_POSITION"
)
IS_VERSIONED = (
    "SELECT COUNT(*) FROM information_schema.TABLES"
    " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s AND TABLE_TYPE = 'SYSTEM VERSIONED'"
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column, by its quoted name."""

    name: str
    data_type: str
    nullable: bool

    @property
    def exact(self) -> str:
        """An expression that two values share only if they are the same, whatever the session's settings.

        FLOAT has more digits than its text, and a zero no sign: the client programs write none. A TIMESTAMP
        counts from 1970, its text is in the session's time zone.
        """
        if self.data_type in {"float", "double"}:
            return f"CAST({self.name} + 0e0 AS BINARY)"
        if self.data_type == "timestamp":
            return f"UNIX_TIMESTAMP({self.name})"
        if self.data_type in SPATIAL:
            return f"HEX({self.name})"
        if self.data_type in LARGE:
            return f"MD5({self.name})"
        return self.name if self.data_type in ASCII_ALWAYS else f"CAST({self.name} AS BINARY)"

    @property
    def mark(self) -> str:
        """Tells NULL, and how long the value is where it may have a zero byte; empty if there is no need."""
        plain = {"float", "double", "timestamp"} | SPATIAL | LARGE | ASCII_ALWAYS
        if self.data_type not in plain:
            return f"COALESCE(LENGTH({self.name}), -1)"
        return f"ISNULL({self.name})" if self.nullable else ""


def summing_query(ask: Callable[..., list[tuple[Any, ...]]], quote: Callable[[str], str], table: str) -> str:
    """A query for the number of rows of a table and their sum: of 64 bits of each row's MD5.

    Added up, as the exclusive or of two equal rows is nothing; and not of CRC32, under which rows that have
    swapped a value may look the same. Generated columns are left out, as a dump leaves them out; of a table
    with system versioning, its history is part.
    """
    columns, history = list(_columns(ask, quote, table)), ""
    if is_versioned(ask, table):
        columns += [] if _names_period(ask, table) else [Column("ROW_START", "timestamp", nullable=False)]
        columns += [] if _names_period(ask, table) else [Column("ROW_END", "timestamp", nullable=False)]
        history = " FOR SYSTEM_TIME ALL"
    row = ", ".join([*filter(None, (it.mark for it in columns)), *(it.exact for it in columns)])
    digest = f"CAST(CONV(LEFT(MD5(CONCAT_WS(X'00', {row})), 16), 16, 10) AS UNSIGNED)"
    return f"SELECT COUNT(*), COALESCE(SUM({digest}), 0) FROM {quote(table)}{history}"


def is_versioned(ask: Callable[..., list[tuple[Any, ...]]], table: str) -> bool:
    return bool(ask(IS_VERSIONED, [table])[0][0])


def _columns(
    ask: Callable[..., list[tuple[Any, ...]]], quote: Callable[[str], str], table: str
) -> Iterator[Column]:
    for name, data_type, nullable, expression in ask(COLUMNS, [table]):
        if not expression or expression in PERIOD:
            yield Column(quote(name), str(data_type).lower(), bool(nullable))


def _names_period(ask: Callable[..., list[tuple[Any, ...]]], table: str) -> bool:
    return any(expression in PERIOD for *_column, expression in ask(COLUMNS, [table]))
