"""What a server says of the columns that are there, in words that can be compared with Django's."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveColumn:
    """One column of a table or view."""

    type: str
    """As the server writes it."""
    accepts_null: bool
    fills_itself: bool
    """Does a row get a value here that an INSERT says nothing of: a default, a number, a computed one?"""
    counts: bool
    """Does the server number the rows in it?"""
    collation: str = ""
    """Empty for one that the server's default gives, and where it cannot be told."""


Columns = Mapping[str, Mapping[str, LiveColumn]]
"""By name of table, then of column."""

_MYSQL = (
    "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA, COLLATION_NAME"
    " FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()"
    " ORDER BY TABLE_NAME, ORDINAL_POSITION"
)
_POSTGRESQL = (
    "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), NOT (a.attnotnull OR"
    " (t.typtype = 'd' AND t.typnotnull)), pg_get_expr(d.adbin, d.adrelid), a.attidentity <> '',"
    " CASE WHEN a.attcollation <> t.typcollation THEN l.collname ELSE '' END"
    " FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid"
    " LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum"
    " LEFT JOIN pg_collation l ON l.oid = a.attcollation"
    " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND pg_table_is_visible(c.oid) AND a.attnum > 0"
    " AND NOT a.attisdropped AND c.relnamespace::regnamespace::text NOT IN"
    " ('pg_catalog', 'information_schema') ORDER BY c.relname, a.attnum"
)
_SQLITE = (
    'SELECT m.name, p.name, p.type, p."notnull", p.dflt_value, p.pk, p.hidden'
    " FROM sqlite_master m, pragma_table_xinfo(m.name) p WHERE m.type IN ('table', 'view')"
)


def live_columns(connection: BaseDatabaseWrapper) -> Columns:
    """The columns of all tables and views of the database, by one query."""
    sql, make = _READERS[connection.vendor]
    found: dict[str, dict[str, LiveColumn]] = defaultdict(dict)
    with connection.cursor() as cursor:
        cursor.execute(sql)
        for table, column, *rest in cursor.fetchall():
            found[table][column] = make(*rest)
    return dict(found)


def virtual_tables(connection: BaseDatabaseWrapper) -> frozenset[str]:
    """Tables that a module of SQLite serves, such as full text: their columns are not what they look like."""
    if connection.vendor != "sqlite":
        return frozenset()
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL %'")
        return frozenset(name for (name,) in cursor.fetchall())


def comparable_types(connection: BaseDatabaseWrapper, types: Collection[str]) -> Mapping[str, str]:
    """For each type, written by Django or by the server: a text that is the same if the types are.

    A type that the server does not know is left out: it cannot be told.
    """
    return _COMPARABLE[connection.vendor](connection, types)


def _of_mysql(type_: str, null: str, default: str | None, extra: str, collation: str | None) -> LiveColumn:
    extra = extra.lower()
    return LiveColumn(
        type=_text(type_),
        accepts_null=null == "YES",
        fills_itself=default is not None or "auto_increment" in extra or "generated" in extra,
        counts="auto_increment" in extra,
        collation=collation or "",
    )


def _of_postgresql(
    type_: str, null: bool, default: str | None, identity: bool, collation: str | None
) -> LiveColumn:
    return LiveColumn(
        type=type_,
        accepts_null=null,
        fills_itself=default is not None or identity,
        counts=identity or "nextval(" in (default or ""),
        collation=collation or "",
    )


def _of_sqlite(type_: str, notnull: int, default: str | None, key: int, hidden: int) -> LiveColumn:
    """A key of type INTEGER is the number of the row, which SQLite gives."""
    counts = bool(key) and type_.lower() == "integer"
    return LiveColumn(
        type=type_,
        accepts_null=not notnull,
        fills_itself=default is not None or counts or hidden > 1,
        counts=counts,
    )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _comparable_mysql(connection: Any, types: Collection[str]) -> Mapping[str, str]:
    """Without display widths, which no longer mean anything; JSON is another name of LONGTEXT in MariaDB."""
    return {it: _mysql_type(it, connection.mysql_is_mariadb) for it in types}


def _mysql_type(type_: str, is_mariadb: bool) -> str:
    text = re.sub(r"\s*,\s*", ",", type_.lower()).replace(" auto_increment", "")
    text = re.sub(r"^((?:tiny|small|medium|big)?int(?:eger)?)\(\d+\)", r"\1", text)
    text = re.sub(r"\s+", " ", re.sub(r"^(?:bool|boolean)$", "tinyint", text)).strip()
    text = re.sub(r"^integer\b", "int", text)
    text = re.sub(r"^(?:numeric|dec)\b", "decimal", text)
    text = re.sub(r"^(?:double precision|real)\b", "double", text)
    # Before version 1.8 Django made DATETIME and TIME without fractions, and never altered them.
    text = re.sub(r"^(datetime|time)\(6\)$", r"\1", text)
    return "longtext" if is_mariadb and text == "json" else text


def _comparable_postgresql(connection: Any, types: Collection[str]) -> Mapping[str, str]:
    """The name by the server's own words, the length as it stands."""
    parts = {it: _split(it) for it in types}
    names = sorted({name for name, _length in parts.values()})
    with connection.cursor() as cursor:
        cursor.execute("SELECT n, to_regtype(n)::text FROM unnest(%s::text[]) n", [names])
        known = {name: found for name, found in cursor.fetchall() if found}
    return {it: known[name] + length for it, (name, length) in parts.items() if name in known}


def _split(type_: str) -> tuple[str, str]:
    """The size of an array means nothing to PostgreSQL."""
    text = re.sub(r"\[\d+\]", "[]", type_)
    lengths = re.findall(r"\([^()]*\)", text)
    bare = re.sub(r"\s+", " ", re.sub(r"\([^()]*\)", "", text)).replace(" []", "[]").strip()
    return bare, "".join(lengths).replace(" ", "").lower()


def _comparable_sqlite(connection: Any, types: Collection[str]) -> Mapping[str, str]:
    """All that SQLite takes from a type: its affinity. See "Determination Of Column Affinity" in its manual.

    Django leaves the rest as it was when, for instance, the key that a foreign key points at gets longer.
    """
    return {it: _affinity(it.upper()) for it in types}


def _affinity(type_: str) -> str:
    for affinity, signs in _AFFINITIES:
        if any(sign in type_ for sign in signs):
            return affinity
    return "blob" if not type_ else "numeric"


_AFFINITIES = (
    ("integer", ["INT"]),
    ("text", ["CHAR", "CLOB", "TEXT"]),
    ("blob", ["BLOB"]),
    ("real", ["REAL", "FLOA", "DOUB"]),
)
_READERS: Mapping[str, tuple[str, Callable[..., LiveColumn]]] = {
    "mysql": (_MYSQL, _of_mysql),
    "postgresql": (_POSTGRESQL, _of_postgresql),
    "sqlite": (_SQLITE, _of_sqlite),
}
_COMPARABLE: Mapping[str, Callable[[Any, Collection[str]], Mapping[str, str]]] = {
    "mysql": _comparable_mysql,
    "postgresql": _comparable_postgresql,
    "sqlite": _comparable_sqlite,
}
