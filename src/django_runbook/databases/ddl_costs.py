"""What one change of a table costs on one server: how it is done, and whom it keeps waiting.

From the servers' documentation, and held against real servers by tests:

- PostgreSQL: the notes of ALTER TABLE, CREATE INDEX, and "Explicit Locking";
- MariaDB: "InnoDB Online DDL Operations with the INSTANT, NOCOPY and INPLACE alter algorithms";
- MySQL: "Online DDL Operations";
- SQLite: ALTER TABLE; Django remakes a table for most of what that cannot do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from django.db.backends.base.base import BaseDatabaseWrapper

if TYPE_CHECKING:
    from django_runbook.databases.base import Server

LENGTH_BYTES = 255
"""A VARCHAR of InnoDB that is longer, in bytes, has a longer length field."""
BYTES_OF_CHARACTER = 4
"""In utf8mb4."""


class Kind(StrEnum):
    """What changes in a table."""

    ADD_COLUMN = "add column"
    ADD_REFERENCE = "add column with a foreign key"
    DROP_COLUMN = "drop column"
    ALTER_TYPE = "alter type"
    SET_NOT_NULL = "set not null"
    ADD_INDEX = "add index"
    ADD_UNIQUE = "add unique"
    ADD_FOREIGN_KEY = "add foreign key"
    ADD_CHECK = "add check"


BUILT = (Kind.ADD_INDEX, Kind.ADD_UNIQUE, Kind.ADD_FOREIGN_KEY)
"""What can be deferred, to be built later in a form that lets others write."""


class Work(StrEnum):
    """What the server does; all but the first take longer the larger the table is."""

    NONE = "none"
    READ = "read"
    """All rows, or an index of them is built."""
    REWRITE = "rewrite"
    """All rows are written anew."""


class Waits(StrEnum):
    """Who waits meanwhile."""

    NOBODY = "nobody"
    WRITERS = "writers"
    EVERYBODY = "everybody"


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one change."""

    work: Work
    waits: Waits


class Safer(StrEnum):
    """How the same can be had with less waiting."""

    CONCURRENTLY = "concurrently"
    """Django's AddIndexConcurrently."""
    NOT_VALID = "not valid"
    """A constraint that is validated later, under a lock that lets rows be written."""
    UNIQUE_INDEX = "unique index"
    """Built concurrently, then made the constraint's own."""
    NEW_COLUMN = "new column"
    """Beside the old one, filled in batches."""
    OTHER_TABLE = "other table"
    """A copy that a program fills and swaps: gh-ost, pt-online-schema-change."""
    WINDOW = "window"
    """Nothing but a time at which nobody waits."""


FREE = Cost(Work.NONE, Waits.NOBODY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of one table. `old` and `new` are fields, of the states before and after it."""

    kind: Kind
    old: Any = None
    new: Any = None
    bare: bool = False
    """Is the column added without the index and the constraints that belong to it?"""


class Costs(ABC):
    """Of the changes that Django's schema editor makes, on one server."""

    safer: ClassVar[Mapping[Kind, Safer]] = {}
    """Where there is a better way than a time at which nobody waits."""
    builds_gently: ClassVar[bool] = True
    """Does the server have forms of building that let others write?"""

    def __init__(self, connection: BaseDatabaseWrapper, server: Server) -> None:
        self.connection = connection
        self.server = server

    @abstractmethod
    def of(self, change: Change) -> Cost:
        """What `change` costs; FREE where nothing is known to the contrary."""

    def deferred(self, change: Change) -> Change | None:
        """What is left of it, for others to notice, in a migration of which indexes are deferred."""
        if not self.builds_gently:
            return change
        if change.kind in BUILT:
            return None
        if change.kind is Kind.ADD_REFERENCE:
            return replace(change, kind=Kind.ADD_COLUMN, bare=True)
        return replace(change, bare=change.kind is Kind.ADD_COLUMN)

    def types(self, change: Change) -> tuple[str | None, str | None]:
        """The types of the column before and after."""
        return change.old.db_type(self.connection), change.new.db_type(self.connection)


class PostgreSQLCosts(Costs):
    """Of 12 and newer. A column with a constant default is added without a rewrite since 11."""

    safer: ClassVar[Mapping[Kind, Safer]] = {
        Kind.ADD_INDEX: Safer.CONCURRENTLY,
        Kind.ADD_FOREIGN_KEY: Safer.NOT_VALID,
        Kind.ADD_CHECK: Safer.NOT_VALID,
        Kind.SET_NOT_NULL: Safer.NOT_VALID,
        Kind.ADD_UNIQUE: Safer.UNIQUE_INDEX,
        Kind.ALTER_TYPE: Safer.NEW_COLUMN,
        Kind.ADD_COLUMN: Safer.NEW_COLUMN,
        Kind.ADD_REFERENCE: Safer.NEW_COLUMN,
    }

    def of(self, change: Change) -> Cost:
        match change.kind:
            case Kind.ADD_COLUMN | Kind.ADD_REFERENCE:
                return Cost(Work.REWRITE, Waits.EVERYBODY) if _is_computed(change.new) else FREE
            case Kind.ALTER_TYPE:
                return FREE if self.is_wider(change) else Cost(Work.REWRITE, Waits.EVERYBODY)
            case Kind.SET_NOT_NULL | Kind.ADD_CHECK | Kind.ADD_UNIQUE:
                return Cost(Work.READ, Waits.EVERYBODY)
            case Kind.ADD_INDEX | Kind.ADD_FOREIGN_KEY:
                return Cost(Work.READ, Waits.WRITERS)
        return FREE

    def is_wider(self, change: Change) -> bool:
        """Is every stored value one of the new type as it stands?"""
        before, after = self.types(change)
        if before == after:
            return True
        if "varchar" in str(before) and after == "text":
            return True
        if "varchar" in str(before) and "varchar" in str(after):
            return _at_least(change.new.max_length, change.old.max_length)
        if str(before).startswith("numeric") and str(after).startswith("numeric"):
            return bool(
                change.new.decimal_places == change.old.decimal_places
                and change.new.max_digits >= change.old.max_digits
            )
        return False


class MySQLCosts(Costs):
    """Of InnoDB. A foreign key, checked as Django wants it, and a check copy the table."""

    safer: ClassVar[Mapping[Kind, Safer]] = dict.fromkeys(Kind, Safer.OTHER_TABLE)
    instant_drop_since: tuple[int, ...] = (8, 0, 29)
    instant_add_since: tuple[int, ...] = (8, 0, 12)

    def of(self, change: Change) -> Cost:
        rebuilt, copied = Cost(Work.REWRITE, Waits.NOBODY), Cost(Work.REWRITE, Waits.WRITERS)
        match change.kind:
            case Kind.ADD_COLUMN if _is_computed(change.new):
                return copied
            case Kind.ADD_COLUMN:
                is_plain = change.bare or not change.new.unique
                is_instant = self.server.version >= self.instant_add_since and is_plain
                return FREE if is_instant else rebuilt
            case Kind.DROP_COLUMN:
                return FREE if self.server.version >= self.instant_drop_since else rebuilt
            case Kind.SET_NOT_NULL:
                return rebuilt
            case Kind.ALTER_TYPE:
                return FREE if self.is_wider(change) else copied
            case Kind.ADD_FOREIGN_KEY | Kind.ADD_REFERENCE | Kind.ADD_CHECK:
                return copied
            case Kind.ADD_INDEX | Kind.ADD_UNIQUE:
                return Cost(Work.READ, Waits.NOBODY)
        return FREE

    def is_wider(self, change: Change) -> bool:
        """Is the type the same, or a longer VARCHAR whose length takes as many bytes as before?"""
        before, after = self.types(change)
        if before == after:
            return True
        if not (str(before).startswith("varchar") and str(after).startswith("varchar")):
            return False
        old, new = (field.max_length * BYTES_OF_CHARACTER for field in (change.old, change.new))
        if new < old:
            return False
        return (old > LENGTH_BYTES) == (new > LENGTH_BYTES) or self.grows_long(old)

    def grows_long(self, old: int) -> bool:
        """Can a VARCHAR of `old` bytes grow over 255 without a copy?"""
        return False


class MariaDBCosts(MySQLCosts):
    """Of 10.6 and newer, which MySQL's versions say nothing about."""

    instant_add_since = (10, 3)
    instant_drop_since = (10, 4)

    def grows_long(self, old: int) -> bool:
        return self.server.version >= (10, 4, 3) and old <= LENGTH_BYTES // 2


class SQLiteCosts(Costs):
    """Whoever writes waits for the whole of a migration, on any table: a transaction locks the file."""

    builds_gently = False

    def of(self, change: Change) -> Cost:
        read, remade = Cost(Work.READ, Waits.WRITERS), Cost(Work.REWRITE, Waits.WRITERS)
        match change.kind:
            case Kind.ADD_COLUMN | Kind.ADD_REFERENCE:
                return FREE if change.new.null and not _has_value(change.new) else remade
            case Kind.ADD_INDEX:
                return read
            case Kind.ALTER_TYPE:
                editor: Any = self.connection.schema_editor()
                return remade if editor._field_should_be_altered(change.old, change.new) else FREE
        return remade


def _at_least(new: int | None, old: int | None) -> bool:
    return new is None or (old is not None and new >= old)


def _has_value(field: Any) -> bool:
    return bool(field.has_default() or field.has_db_default() or field.unique or _is_computed(field))


def _is_computed(field: Any) -> bool:
    """Does each row get a value of its own when the column is added?"""
    stored = field.generated and field.db_persist
    return bool(stored or (getattr(field, "db_returning", False) and field.primary_key))
