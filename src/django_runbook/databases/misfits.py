"""Which values a server refuses, or changes, when their column gets another type."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import DataError, ProgrammingError

TEXTS = frozenset(
    {"CharField", "EmailField", "FileField", "FilePathField", "SlugField", "TextField", "URLField"}
)
INTEGERS = frozenset(
    {
        "AutoField",
        "BigAutoField",
        "BigIntegerField",
        "IntegerField",
        "PositiveBigIntegerField",
        "PositiveIntegerField",
        "PositiveSmallIntegerField",
        "SmallAutoField",
        "SmallIntegerField",
    }
)
TINYINT = (-128, 127)
"""What MySQL and MariaDB store a boolean in takes all of these."""
_NUMBER = r"[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?"
_INTEGER = r"[+-]?[0-9]+"
_UUID = r"[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}"
_DATE = r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
_TIME = r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.][0-9]*)?)?"


def kind_of(field: Any) -> str:
    """ "text", "integer", or Django's name of the field whose type the column has: a foreign key's target."""
    return kind_of_name(str(stored(field).get_internal_type()))


def kind_of_name(name: str) -> str:
    """The same, by Django's name of a field."""
    return "text" if name in TEXTS else "integer" if name in INTEGERS else name


def stored(field: Any) -> Any:
    """The field whose type the column has: a foreign key's target."""
    while field.remote_field:
        field = field.target_field
    return field


class Misfits:
    """Asks one database; `column` is always a quoted name. Changes nothing."""

    has_limits: ClassVar[bool] = True
    """Does a column's type limit the length of its texts and the size of its numbers?"""
    breaks_on_unreadable: ClassVar[bool] = True
    """Is a text that is no value of the new type refused?"""

    asks_the_server: ClassVar[bool] = False
    """Is `refusal` the last word, whatever a condition says?"""

    def __init__(self, database: Any) -> None:
        self.database = database

    @property
    def is_strict(self) -> bool:
        """Is a value that does not fit refused, instead of being cut silently?"""
        return True

    def cuts(self, old: Any, new: Any) -> bool:
        """Does Django's ALTER TABLE cut texts that are too long silently?"""
        return not self.is_strict

    def too_long(self, column: str, length: int) -> str:
        """A condition: the value has more characters than that, not counting spaces at its end."""
        return f"CHAR_LENGTH(RTRIM({self.as_text(column)})) > {length}"

    def as_text(self, column: str) -> str:
        return f"CAST({column} AS CHAR)"

    def unreadable(self, column: str, new: Any) -> str:
        """A condition: the text is no value of the new type; empty if that cannot be said in SQL."""
        return ""

    def zero_date(self, column: str) -> str:
        """A condition: the date is there, but would be refused today; empty if there are no such dates."""
        return ""

    def impossible(self, old: Any, new: Any) -> str:
        """The server's words, if it has no way at all from one type to the other."""
        return ""

    def refusal(self, table: str, column: str, new: Any) -> str:
        """The server's own words about the first value that it could not change, if it can be asked."""
        return ""

    def _type(self, field: Any) -> str:
        return str(field.db_type(self.database.connection))


class PostgreSQLMisfits(Misfits):
    """Django casts explicitly (USING) if the names of the two types differ, else by assignment."""

    asks_the_server = True

    def cuts(self, old: Any, new: Any) -> bool:
        """An explicit cast cuts; an assignment refuses."""
        return bool(self.database.connection.schema_editor()._using_sql(new, old))

    def as_text(self, column: str) -> str:
        return f"{column}::text"

    def impossible(self, old: Any, new: Any) -> str:
        try:
            self.database.ask(f"SELECT NULL::{self._cast(old)}::{self._cast(new)}")
        except ProgrammingError as error:
            return str(error).splitlines()[0]
        return ""

    def refusal(self, table: str, column: str, new: Any) -> str:
        """By casting all values of the table, in one statement that only reads."""
        try:
            self.database.ask(f"SELECT count({column}::{self._cast(new)}) FROM {table}")
        except DataError as error:
            return str(error).splitlines()[0]
        return ""

    def unreadable(self, column: str, new: Any) -> str:
        """By the server's own judgement since PostgreSQL 16; before, as far as a pattern can tell."""
        if self.database.server().version >= (16,):
            return f"NOT pg_input_is_valid({column}::text, '{self._cast(new)}')"
        patterns = {
            "integer": rf"\s*{_INTEGER}\s*",
            "DecimalField": rf"\s*({_NUMBER}|NaN|[+-]?Infinity)\s*",
            "FloatField": rf"\s*({_NUMBER}|NaN|[+-]?Infinity)\s*",
            "UUIDField": rf"(\{{)?{_UUID}(\}})?",
            "BooleanField": r"\s*(t|tr|tru|true|f|fa|fal|fals|false|y|ye|yes|n|no|on|of|off|0|1)\s*",
            "DateField": rf"\s*{_DATE}.*",
            "DateTimeField": rf"\s*{_DATE}.*",
            "TimeField": rf"\s*{_TIME}.*",
        }
        pattern = patterns.get(kind_of(new))
        return f"{column} !~* '^({pattern})$'" if pattern else ""

    def _cast(self, field: Any) -> str:
        return str(field.cast_db_type(self.database.connection) or self._type(field))


class MySQLMisfits(Misfits):
    @property
    def is_strict(self) -> bool:
        return "STRICT_" in self._mode

    @property
    def _mode(self) -> str:
        [(mode,)] = self.database.ask("SELECT @@SESSION.sql_mode")
        return str(mode)

    def zero_date(self, column: str) -> str:
        mode = self._mode
        if "STRICT_" not in mode:
            return ""
        whole = f"{column} = 0" if "NO_ZERO_DATE" in mode else ""
        parts = f"{column} <> 0 AND {column} LIKE '%-00%'" if "NO_ZERO_IN_DATE" in mode else ""
        return " OR ".join(filter(None, (whole, parts)))

    def unreadable(self, column: str, new: Any) -> str:
        kind = kind_of(new)
        if kind == "UUIDField" and not self.database.connection.features.has_native_uuid_field:
            return f"CHAR_LENGTH(RTRIM({column})) > 32"
        if kind == "JSONField":
            return f"NOT JSON_VALID({column})"
        if kind in ("DateField", "DateTimeField"):
            pattern = f"{_DATE}([ T]{_TIME})?|[0-9]+"
            return f"CAST({column} AS DATETIME) IS NULL OR {self._unlike(column, pattern)}"
        if kind == "TimeField":
            pattern = rf"({_DATE}[ T])?{_TIME}|{_NUMBER}"
            longest = f"{self._unlike(column, _TIME)} AND ABS(CAST({column} AS DECIMAL(65, 0))) > 8385959"
            return f"CAST({column} AS TIME) IS NULL OR {self._unlike(column, pattern)} OR {longest}"
        if kind in ("integer", "BooleanField"):
            low, high = self._range(new)
            value = f"CAST({column} AS DECIMAL(65, 0))"
            outside = f"{value} < {low} OR {value} > {high}"
            return f"{self._unlike(column, _INTEGER)} OR {outside}"
        patterns = {
            "DecimalField": _NUMBER,
            "FloatField": _NUMBER,
            "UUIDField": _UUID,
        }
        return self._unlike(column, patterns[kind]) if kind in patterns else ""

    def _range(self, field: Any) -> tuple[int, int]:
        name = stored(field).get_internal_type()
        if name == "BooleanField":
            return TINYINT
        low, high = self.database.connection.ops.integer_field_range(name)
        return int(low), int(high)

    def _unlike(self, column: str, pattern: str) -> str:
        return f"{column} NOT REGEXP '^[[:space:]]*({pattern})[[:space:]]*$'"


class SQLiteMisfits(Misfits):
    """SQLite copies what there is; only Django notices, when it reads."""

    has_limits = False
    breaks_on_unreadable = False

    def unreadable(self, column: str, new: Any) -> str:
        kind = kind_of(new)
        if kind == "JSONField":
            return f"NOT JSON_VALID({column})"
        if kind in ("DateField", "DateTimeField", "TimeField"):
            return f"{'time' if kind == 'TimeField' else 'datetime'}({column}) IS NULL"
        if kind == "integer":
            digits = f"LTRIM(TRIM({column}), '+-')"
            return f"{digits} = '' OR {digits} GLOB '*[^0-9]*'"
        patterns = {"DecimalField": _NUMBER, "FloatField": _NUMBER, "UUIDField": _UUID}
        pattern = patterns.get(kind)
        return f"NOT ({column} REGEXP '^\\s*({pattern})\\s*$')" if pattern else ""
