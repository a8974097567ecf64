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
    "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()",
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


def canonical(database: Database) -> list[str]:
    """The database without the ledger, as sorted lines; times of applying left out."""
    tables = [
        table
        for table in database.connection.introspection.table_names()
        if not table.startswith(TABLE_PREFIX) and table != "django_migrations"
    ]
    migrations = database.ask("SELECT app, name FROM django_migrations")
    return [
        *SCHEMA[database.connection.vendor](database, tables),
        *sorted(f"{table}: {row}" for table in tables for row in rows(database, table)),
        *sorted(map(str, migrations)),
    ]


def rows(database: Database, table: str) -> list[tuple[Any, ...]]:
    return database.ask(f"SELECT * FROM {database.quote(table)}")


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
