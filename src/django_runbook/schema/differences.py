"""In which ways a table can be other than its migrations say, and the sentence for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy


class Kind(StrEnum):
    """In which way a table is not what its migrations say."""

    MISSING_TABLE = "missing table"
    MISSING_COLUMN = "missing column"
    EXTRA_COLUMN = "extra column"
    REQUIRED_COLUMN = "required column"
    """An extra column that a row must have a value in, and that Django's INSERT says nothing of."""
    NOT_NULL = "not null"
    """The column refuses NULL, though the model allows it."""
    NULLABLE = "nullable"
    """The column accepts NULL, though the model does not."""
    WRONG_TYPE = "wrong type"
    NO_NUMBERS = "no numbers"
    """The server does not number the rows, though the key's field says so."""
    WRONG_COLLATION = "wrong collation"
    MISSING_FOREIGN_KEY = "missing foreign key"
    MISSING_UNIQUE = "missing unique"
    MISSING_CHECK = "missing check"
    MISSING_INDEX = "missing index"
    EXTRA_FOREIGN_KEY = "extra foreign key"
    EXTRA_UNIQUE = "extra unique"


TOO_MUCH = (Kind.EXTRA_COLUMN, Kind.REQUIRED_COLUMN, Kind.EXTRA_FOREIGN_KEY, Kind.EXTRA_UNIQUE)
"""What no migration knows."""

DETAILS = frozenset(
    {
        Kind.WRONG_TYPE,
        Kind.NO_NUMBERS,
        Kind.WRONG_COLLATION,
        Kind.MISSING_CHECK,
        Kind.EXTRA_FOREIGN_KEY,
        Kind.EXTRA_UNIQUE,
    }
)
"""What an operation that was cut off does not leave; who made it so has to mend it."""


SENTENCES: Mapping[Kind, Promise | str] = {
    Kind.MISSING_TABLE: gettext_lazy("Table %(table)s is missing."),
    Kind.MISSING_COLUMN: gettext_lazy("Table %(table)s has no column %(column)s."),
    Kind.EXTRA_COLUMN: gettext_lazy("Table %(table)s has a column %(column)s that no migration knows."),
    Kind.REQUIRED_COLUMN: gettext_lazy(
        "Table %(table)s has a column %(column)s that no migration knows, and that refuses NULL and has no "
        "default: Django cannot insert a row."
    ),
    Kind.NOT_NULL: gettext_lazy("Column %(table)s.%(column)s refuses NULL, but its model allows it."),
    Kind.NULLABLE: gettext_lazy("Column %(table)s.%(column)s accepts NULL, but its model does not."),
    Kind.WRONG_TYPE: gettext_lazy(
        "Column %(table)s.%(column)s has the type %(found)s instead of %(expected)s."
    ),
    Kind.NO_NUMBERS: gettext_lazy(
        "Key %(table)s.%(column)s is not numbered by the server: Django cannot insert a row."
    ),
    Kind.WRONG_COLLATION: gettext_lazy(
        "Column %(table)s.%(column)s has the collation %(found)s instead of %(expected)s."
    ),
    Kind.MISSING_FOREIGN_KEY: gettext_lazy(
        "Column %(table)s.%(column)s has no foreign key to %(expected)s: rows can point at nothing."
    ),
    Kind.MISSING_UNIQUE: gettext_lazy(
        "Table %(table)s has no unique constraint on %(column)s: the same values can be there twice."
    ),
    Kind.MISSING_CHECK: gettext_lazy(
        "Table %(table)s has no check constraint %(expected)s: values that it forbids can be there."
    ),
    Kind.MISSING_INDEX: gettext_lazy("Table %(table)s has no index on %(column)s: look-ups by it are slow."),
    Kind.EXTRA_FOREIGN_KEY: gettext_lazy(
        "Column %(table)s.%(column)s has a foreign key %(found)s to %(expected)s that no migration knows."
    ),
    Kind.EXTRA_UNIQUE: gettext_lazy(
        "Table %(table)s has a unique constraint %(found)s on %(column)s that no migration knows."
    ),
}
"""What a Difference says, by its kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One place where the live schema is not what the migrations say."""

    kind: Kind
    table: str
    column: str = ""
    """The column, or several joined by ", "; empty where a whole table is meant."""
    expected: str = ""
    """What should be there: a type, a collation, a check's name; for a foreign key "table.column"."""
    found: str = ""
    """What is there instead: a type, a collation; of what is too much, the name."""

    @property
    def key(self) -> str:
        """The same for the same difference, in every language."""
        return "|".join([self.kind, self.table, self.column, self.expected, self.found])

    def __str__(self) -> str:
        return str(SENTENCES[self.kind]) % {
            "table": self.table,
            "column": self.column,
            "expected": self.expected,
            "found": self.found,
        }
