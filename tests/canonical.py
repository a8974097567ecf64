"""All that must be the same in two databases: schema, rows, recorded migrations."""

from __future__ import annotations

import re
from typing import Any

from django_runbook.databases import Database
from django_runbook.ledger import TABLE_PREFIX

MYSQL_OBJECTS = (
    "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_STATEMENT"
    " FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()",
    "SELECT ROUTINE_NAME, ROUTINE_DEFINITION FROM information_schema.ROUTINES"
    " WHERE ROUTINE_SCHEMA = DATABASE()",
    "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
    " AND TABLE_NAME NOT LIKE 'django_runbook_%%'",
)

RELATION = "c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE 'django_runbook_%%'"
POSTGRESQL_OBJECTS = (
    "SELECT relname, relkind, obj_description(c.oid) FROM pg_class c WHERE " + RELATION,
    "SELECT c.relname, row_number() OVER (PARTITION BY c.oid ORDER BY attnum), attname,"
    " format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated, attcollation::regcollation,"
    " pg_get_expr(adbin, adrelid), col_description(c.oid, attnum)"
    " FROM pg_class c JOIN pg_attribute ON attrelid = c.oid"
    " LEFT JOIN pg_attrdef ON adrelid = c.oid AND adnum = attnum"
    " WHERE c.relkind IN ('r', 'v', 'm') AND attnum > 0 AND NOT attisdropped AND " + RELATION,
    "SELECT c.relname, conname, pg_get_constraintdef(k.oid), convalidated, condeferrable, condeferred"
    " FROM pg_constraint k JOIN pg_class c ON c.oid = conrelid WHERE " + RELATION,
    "SELECT c.relname, pg_get_indexdef(indexrelid), indisvalid, indisunique"
    " FROM pg_index JOIN pg_class c ON c.oid = indrelid WHERE " + RELATION,
    "SELECT c.relname, pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid"
    " WHERE NOT tgisinternal AND " + RELATION,
    "SELECT extname FROM pg_extension",
    "SELECT collname, collprovider::text, collisdeterministic FROM pg_collation"
    " WHERE collnamespace = 'public'::regnamespace",
)

DRAWN = {
    "a time": re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?(?:\+00:00)?"),
    "a UUID": re.compile(r"\b[0-9a-f]{8}(-?)[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}\b"),
}
"""What differs between two runs, as text."""


def canonical(database: Database) -> list[str]:
    """The database without the ledger, as sorted lines; times of applying left out."""
    tables = compared_tables(database)
    migrations = database.ask("SELECT app, name FROM django_migrations")
    return [
        *SCHEMA[database.connection.vendor](database, tables),
        *sorted(f"{table}: {row}" for table in tables for row in rows(database, table)),
        *sorted(map(str, migrations)),
    ]


def compared_tables(database: Database) -> list[str]:
    return [
        table
        for table in database.connection.introspection.table_names()
        if not table.startswith(TABLE_PREFIX) and table != "django_migrations"
    ]


def rows(database: Database, table: str) -> list[tuple[Any, ...]]:
    return database.ask(f"SELECT * FROM {database.quote(table)}")


def likeness(database: Database) -> list[str]:
    """As `canonical`, with the migrations in their order, and less of what differs between any two runs.

    A time is "a time", a UUID "a UUID". A row goes by its place among its table's primary keys, and so does
    what refers to it: a transaction that is taken back keeps the numbers that it had drawn. Where nothing
    refers to a table, its keys are left out: Django adds many-to-many rows in the order of a set.
    """
    tables = compared_tables(database)
    migrations = database.ask("SELECT app, name FROM django_migrations ORDER BY id")
    relations = {table: relations_of(database, table) for table in tables}
    referred = {target for found in relations.values() for target in found.values()}
    places = {table: places_of(database, table) for table in referred}
    rows = [row for table in tables for row in like_rows(database, table, relations[table], places)]
    return [*SCHEMA[database.connection.vendor](database, tables), *sorted(rows), *map(str, migrations)]


def relations_of(database: Database, table: str) -> dict[str, str]:
    """Columns with a foreign key, and the table that it refers to."""
    with database.connection.cursor() as cursor:
        found = database.connection.introspection.get_relations(cursor, table)
    return {column: target[1] for column, target in found.items()}


def primary_key(database: Database, table: str) -> str | None:
    with database.connection.cursor() as cursor:
        return database.connection.introspection.get_primary_key_column(cursor, table)


def places_of(database: Database, table: str) -> dict[Any, str]:
    """Each primary key of a table, and which one in their order it is."""
    column = database.quote(str(primary_key(database, table)))
    keys = database.ask(f"SELECT {column} FROM {database.quote(table)} ORDER BY {column}")
    return {key: f"{table} {place}" for place, (key,) in enumerate(keys, start=1)}


def like_rows(
    database: Database, table: str, relations: dict[str, str], places: dict[str, dict[Any, str]]
) -> list[str]:
    key = primary_key(database, table)
    named = {
        column: places[target] for column, target in {key: table, **relations}.items() if target in places
    }
    with database.connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {database.quote(table)}")
        columns, found = [column[0] for column in cursor.description], cursor.fetchall()
    return [
        f"{table}: "
        + ", ".join(
            f"{column}={named.get(column, {}).get(value) or like(value)}"
            for column, value in zip(columns, row, strict=True)
            if column != key or column in named
        )
        for row in found
    ]


def like(value: Any) -> str:
    text = str(value)
    for kind, pattern in DRAWN.items():
        text = pattern.sub(kind, text)
    return text


def mysql_schema(database: Database, tables: list[str]) -> list[str]:
    lines = [line for table in tables for line in normalised(table, database.definition(table))]
    return [*lines, *sorted(str(row) for query in MYSQL_OBJECTS for row in database.ask(query))]


def normalised(table: str, definition: str) -> list[str]:
    """Columns with their places, then keys and constraints, whose order says nothing, by name."""
    _create, *lines = [line.strip().removesuffix(",") for line in definition.splitlines()]
    columns = [f"{place} {line}" for place, line in enumerate(lines) if line.startswith("`")]
    return [f"{table}: {line}" for line in [*columns, *sorted(line for line in lines if line[0] != "`")]]


def postgresql_schema(database: Database, tables: list[str]) -> list[str]:
    return sorted(str(row) for query in POSTGRESQL_OBJECTS for row in database.ask(query, []))


def sqlite_schema(database: Database, tables: list[str]) -> list[str]:
    found = database.ask("SELECT tbl_name, type, name, sql FROM sqlite_master ORDER BY type, name")
    return [str(row) for row in found if not re.match(f"{TABLE_PREFIX}|sqlite_sequence", row[0])]


SCHEMA = {"mysql": mysql_schema, "postgresql": postgresql_schema, "sqlite": sqlite_schema}
