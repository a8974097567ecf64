"""SQL that writes a column as Django's serializers write its field into JSON, by kind of field.

Each expression gives 'null' for NULL, and NULL for a value of which this server does not surely know how
Python would write it: the row is then read and written by Django. A kind that is missing here is never left
to the server: floats, times, durations, addresses. The rules are those of DjangoJSONEncoder and of
`value_to_string` of the fields, checked value by value in the tests.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

PLACES = 6
"""Decimals of so many places at most are never written with an exponent by Python: str(Decimal("1E-7"))."""


class JsonTexts:
    """What every server does alike. `column` is quoted already; `%` is doubled, for the driver."""

    joins_lines: ClassVar[str] = ""
    """Makes one text of the lines of an ordered subquery: of their column, and of a separator's literal."""
    doubtful: ClassVar[str] = ""
    """What, in a text that the server has written, may stand for what Python writes otherwise."""

    def of(self, kind: str, column: str) -> str:
        """The expression for a column; empty if Django has to write it."""
        write = getattr(self, kind, None)
        return write(column) if write else ""

    def literal(self, text: str) -> str:
        return "'" + text.replace("'", "''").replace("%", "%%") + "'"

    def line(self, parts: Iterable[str]) -> str:
        """One text of several; NULL if any is."""
        return " || ".join(parts)


class PostgreSQLTexts(JsonTexts):
    joins_lines = "string_agg(%s, %s)"

    def integer(self, column: str) -> str:
        return f"COALESCE({column}::text, 'null')"

    def decimal(self, column: str) -> str:
        return f"""COALESCE('"' || {column}::text || '"', 'null')"""

    uuid = decimal

    def boolean(self, column: str) -> str:
        return f"COALESCE({column}::text, 'null')"

    def text(self, column: str) -> str:
        return f"COALESCE(to_json({column})::text, 'null')"

    def file(self, column: str) -> str:
        return f"COALESCE(to_json({column})::text, '\"\"')"

    def date(self, column: str) -> str:
        return (
            f"CASE WHEN {column} IS NULL THEN 'null' WHEN {column} BETWEEN '0001-01-01' AND '9999-12-31' "
            f"THEN to_json({column})::text END"
        )

    def datetime(self, column: str) -> str:
        at = f"{column} AT TIME ZONE 'UTC'"
        return (
            f"CASE WHEN {column} IS NULL THEN 'null' "
            f"WHEN {at} BETWEEN '0001-01-01' AND '9999-12-31 23:59:59.999999' THEN "
            f"""'"' || to_char({at}, 'YYYY-MM-DD"T"HH24:MI:SS') || CASE WHEN """
            f"""date_trunc('second', {column}) = {column} THEN '' """
            f"""ELSE to_char({column}, '.MS') END || 'Z"' END"""
        )

    def binary(self, column: str) -> str:
        return f"""COALESCE('"' || replace(encode({column}, 'base64'), E'\\n', '') || '"', 'null')"""

    def json(self, column: str) -> str:
        """As jsonb, which knows no exponents: only a number with a point may be written otherwise."""
        return (
            f"CASE WHEN {column} IS NULL THEN 'null' WHEN {column}::text ~ '[0-9]\\.[0-9]' THEN NULL "
            f"ELSE {column}::text END"
        )


class MySQLTexts(JsonTexts):
    doubtful = "\\u00"
    """MariaDB writes capitals in \\u000B."""

    def __init__(self, *, has_uuid: bool) -> None:
        self.has_uuid = has_uuid
        """Are UUIDs a type of the server's own?"""

    def literal(self, text: str) -> str:
        return super().literal(text.replace("\\", "\\\\"))

    def line(self, parts: Iterable[str]) -> str:
        return f"CONCAT({', '.join(parts)})"

    def integer(self, column: str) -> str:
        return f"COALESCE({column}, 'null')"

    def decimal(self, column: str) -> str:
        return f"""COALESCE(CONCAT('"', {column}, '"'), 'null')"""

    def uuid(self, column: str) -> str:
        if self.has_uuid:
            return self.decimal(column)
        spans = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
        parts = ", '-', ".join(f"SUBSTR({column}, {start}, {length})" for start, length in spans)
        return (
            f"CASE WHEN {column} IS NULL THEN 'null' WHEN CHAR_LENGTH({column}) = 32 "
            f"""THEN LOWER(CONCAT('"', {parts}, '"')) END"""
        )

    def boolean(self, column: str) -> str:
        others = f"IF({column} IS NULL, 'null', NULL)"
        return f"CASE {column} WHEN 1 THEN 'true' WHEN 0 THEN 'false' ELSE {others} END"

    def text(self, column: str) -> str:
        return f"COALESCE(JSON_QUOTE({column}), 'null')"

    def file(self, column: str) -> str:
        return f"COALESCE(JSON_QUOTE({column}), '\"\"')"

    def date(self, column: str) -> str:
        return (
            f"CASE WHEN {column} IS NULL THEN 'null' WHEN {_is_of_calendar(column)} "
            f"""THEN CONCAT('"', {column}, '"') END"""
        )

    def datetime(self, column: str) -> str:
        whole = f"""CONCAT('"', REPLACE(LEFT({column}, 19), ' ', 'T'), 'Z"')"""
        part = f"""CONCAT('"', REPLACE(LEFT({column}, 23), ' ', 'T'), 'Z"')"""
        return (
            f"CASE WHEN {column} IS NULL THEN 'null' WHEN {_is_of_calendar(column)} "
            f"THEN IF(MICROSECOND({column}) = 0, {whole}, {part}) END"
        )

    def binary(self, column: str) -> str:
        return f"""COALESCE(CONCAT('"', REPLACE(TO_BASE64({column}), CHAR(10), ''), '"'), 'null')"""


def _is_of_calendar(column: str) -> str:
    """A date with a zero in it is none in Python."""
    return f"{column} >= '1000-01-01' AND TO_DAYS({column}) IS NOT NULL"


class SQLiteTexts(JsonTexts):
    """A column holds values of any type, whatever it was declared as: each says which one it is."""

    joins_lines = "group_concat(%s, %s)"

    def integer(self, column: str) -> str:
        return _by_type(column, integer=column)

    def boolean(self, column: str) -> str:
        return f"CASE {column} WHEN 1 THEN 'true' WHEN 0 THEN 'false' ELSE {_by_type(column)} END"

    def text(self, column: str) -> str:
        return _by_type(column, text=f"json_quote({column})")

    def file(self, column: str) -> str:
        return f"CASE typeof({column}) WHEN 'text' THEN json_quote({column}) WHEN 'null' THEN '\"\"' END"

    def uuid(self, column: str) -> str:
        spans = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
        parts = " || '-' || ".join(f"substr({column}, {start}, {length})" for start, length in spans)
        is_whole = f"{column} GLOB '{'[0-9a-f]' * 32}'"
        return f"CASE WHEN {column} IS NULL THEN 'null' WHEN {is_whole} THEN '\"' || {parts} || '\"' END"

    def date(self, column: str) -> str:
        """What is no day of the calendar SQLite counts on into the next month."""
        return (
            f"CASE WHEN {column} IS NULL THEN 'null' "
            f"WHEN length({column}) = 10 AND date({column}) = {column} THEN '\"' || {column} || '\"' END"
        )

    def datetime(self, column: str) -> str:
        """As Django stores it: no fraction, or six digits of it; three where SQLite gives the time.

        Each condition is the cheapest that leaves nothing else: what is behind the point sorts as digits do.
        """
        whole = f"'\"' || replace({column}, ' ', 'T') || 'Z\"'"
        part = f"'\"' || replace(substr({column}, 1, 23), ' ', 'T') || 'Z\"'"
        is_moment = f"datetime({column}) = substr({column}, 1, 19)"
        return (
            f"CASE length({column}) "
            f"WHEN 19 THEN CASE WHEN datetime({column}) = {column} THEN {whole} END "
            f"WHEN 26 THEN CASE WHEN substr({column}, 20) BETWEEN '.000001' AND '.999999' "
            f"AND substr({column}, 26) BETWEEN '0' AND '9' AND {is_moment} THEN {part} END "
            f"WHEN 23 THEN CASE WHEN substr({column}, 20) BETWEEN '.001' AND '.999' "
            f"AND substr({column}, 23) BETWEEN '0' AND '9' AND {is_moment} THEN {part} END "
            f"ELSE CASE WHEN {column} IS NULL THEN 'null' END END"
        )


def _by_type(column: str, **texts: str) -> str:
    known = "".join(f"WHEN '{name}' THEN {text} " for name, text in texts.items())
    return f"CASE typeof({column}) {known}WHEN 'null' THEN 'null' END"
